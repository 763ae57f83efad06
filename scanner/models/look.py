"""A closer look at a file for a person: members, operators, references and sizes. Nothing of it is loaded."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Final

from scanner.base.errors import ModelError
from scanner.base.files import open_regular
from scanner.base.text import printable
from scanner.graph.onnx_outline import OnnxOutline, outline_file, refuse_unsafe
from scanner.models.identify import MAX_PICKLE_BYTES, FileKind, ModelFile
from scanner.models.look_weights import describe_weights
from scanner.models.pickles import PROTOCOLS, whole_pickles

_SHOWN: Final = 20
_SUSPICIOUS_RATIO: Final = 200
_MAX_MEMBERS: Final = 200_000
_NAME: Final = 80

Line = tuple[str, str]


def look_closer(file: ModelFile, key: str | None = None) -> Iterator[Line]:
    """What a file holds, as pairs of a heading and a printable line.

    Args:
        file: The file.
        key: Where in a checkpoint the weights are, or None.

    Raises:
        ModelError: It cannot be read.
        UsageError: There is nothing at ``key``.
    """
    weights: list[Line] = []
    if file.kind in (FileKind.STATE_DICT, FileKind.SAFETENSORS):
        weights = list(describe_weights(file, key))
    yield from weights
    with open_regular(file.path) as stream:
        if file.kind is FileKind.ONNX:
            outline = outline_file(stream, os.fstat(stream.fileno()).st_size)
            yield from _onnx(outline)
        elif (head := stream.read(2)) == b"PK":
            stream.seek(0)
            try:
                with zipfile.ZipFile(stream) as archive:
                    members = archive.infolist()
            except Exception:  # zipfile raises nearly anything on damaged archives
                return  # the description says so
            yield from _archive(members[:_MAX_MEMBERS], listed=all(heading != "tensor" for heading, _ in weights))
        elif len(head) == 2 and head[0] == 0x80 and head[1] in PROTOCOLS:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(0)
            yield from _pickles(BytesIO(stream.read(MAX_PICKLE_BYTES)), size)


def _onnx(outline: OnnxOutline) -> Iterator[Line]:
    versions = sorted(outline.opsets.items())[:_SHOWN]
    yield "opsets", ", ".join(f"{printable(domain or 'ai.onnx', _NAME)} {version}" for domain, version in versions)
    frequent = [f"{printable(name, _NAME)} {count}" for name, count in outline.operators.most_common(_SHOWN)]
    more = len(outline.operators) - len(frequent)
    yield "operators", f"{outline.nodes} nodes: {', '.join(frequent)}" + (f" and {more} more kinds" if more > 0 else "")
    nesting = "no graphs within graphs" if outline.depth < 2 else f"graphs {outline.depth} deep"
    yield "structure", f"{nesting}, {outline.functions} functions" + (", training graphs" if outline.training else "")
    largest = [
        f"{printable(tensor.name or '(unnamed)', _NAME)} of {tensor.elements} elements in {tensor.stored} bytes"
        for tensor in outline.largest
    ]
    yield "tensors", f"{outline.initialisers} stored in {outline.stored} bytes; largest: {', '.join(largest) or 'none'}"
    for location in outline.external[:_SHOWN]:
        yield "external", f"refers to the file '{printable(location, _NAME)}'"
    if len(outline.external) > _SHOWN:
        yield "external", f"and {len(outline.external) - _SHOWN} more files"
    if outline.metadata:
        yield "metadata", ", ".join(printable(key, _NAME) for key in outline.metadata[:_SHOWN])
    try:
        refuse_unsafe(outline)
    except ModelError as error:
        yield "refused", printable(error.what, 1000)


def _pickles(stream: BytesIO, size: int) -> Iterator[Line]:
    count, end = whole_pickles(stream)
    rest = size - end
    behind = f"; {rest} bytes behind them are none, and not looked into" if rest else ""
    yield "pickles", f"{count} whole pickles one after the other, all imports of which are listed{behind}"


def _archive(members: list[zipfile.ZipInfo], *, listed: bool) -> Iterator[Line]:
    """Sizes and oddities; the members, too, where they say more than the tensors in them."""
    packed, unpacked = sum(m.compress_size for m in members), sum(m.file_size for m in members)
    yield "archive", f"{len(members)} members, {packed} bytes unpacking to {unpacked}"
    repeated = len(members) - len({member.filename for member in members})
    if repeated:
        yield "warning", f"{repeated} members share a name with another: readers may disagree on which counts"
    for member in sorted(members, key=lambda item: (-item.file_size, item.filename))[:_SHOWN]:
        ratio = member.file_size / max(member.compress_size, 1)
        if not listed and ratio <= _SUSPICIOUS_RATIO:
            continue
        note = ", as a decompression bomb has" if ratio > _SUSPICIOUS_RATIO else ""
        yield "member", f"{printable(member.filename, _NAME)}  {member.file_size} bytes, ratio {ratio:.1f}{note}"
    if listed and len(members) > _SHOWN:
        yield "member", f"and {len(members) - _SHOWN} more, smaller ones"
    outside = [m.filename for m in members if m.filename.startswith(("/", "\\")) or ".." in m.filename.split("/")]
    if outside:
        yield "warning", f"{len(outside)} members are named outside the archive, such as {printable(outside[0], _NAME)}"
    hidden = [member.filename for member in members if not member.filename.isprintable()]
    if hidden:
        yield "warning", f"{len(hidden)} members have invisible characters in their names, such as {_quoted(hidden[0])}"


def _quoted(name: str) -> str:
    return f"'{printable(name, _NAME)}'"
