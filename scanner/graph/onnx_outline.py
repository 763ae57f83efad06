"""What an ONNX file holds, told from its bytes without building the model: nothing is expanded, mapped or fetched.

A small reader of protobuf's wire format walks the messages that matter. Its work is bounded, its memory is that of
the answer, and it is Python, so that no length in the file can make it read or write where it should not.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.base.text import printable
from scanner.graph.onnx_rules import INLINE, KNOWN_DOMAINS, MAX_DEPTH, MAX_NODES, UNBOUNDED, WITHOUT_LOOPS

_MAX_FIELDS: Final = 8_000_000
_MAX_TEXT: Final = 4096
_MAX_LISTED: Final = 10_000
_LARGEST: Final = 5

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Tensor:
    """A stored tensor: its name, bytes in the file, and elements that its shape claims."""

    name: str
    stored: int
    elements: int


@dataclass
class OnnxOutline:
    """What an ONNX file holds.

    Attributes:
        opsets: Version by domain.
        operators: Number of nodes by ``domain.operator``, plain ``operator`` for ONNX's own.
        domains: Domains of the nodes.
        own_domains: Domains of the functions that the file defines.
        nodes: Number of nodes, those in bodies and functions included.
        functions: Number of functions that the file defines.
        depth: Levels of bodies within bodies; 1 for a plain graph.
        initialisers: Number of stored tensors.
        stored: Their bytes in the file.
        largest: The largest of them.
        external: Files that initialisers of the main graph refer to, as written, in order.
        hidden: Whether a constant or an initialiser of a body refers to another file.
        metadata: Keys of the file's metadata.
        training: Whether it holds training graphs, which are not looked at here or run.
    """

    opsets: dict[str, int] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)
    domains: set[str] = field(default_factory=set)
    own_domains: set[str] = field(default_factory=set)
    nodes: int = 0
    functions: int = 0
    depth: int = 0
    initialisers: int = 0
    stored: int = 0
    largest: list[Tensor] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    hidden: bool = False
    metadata: list[str] = field(default_factory=list)
    training: bool = False

    @property
    def foreign(self) -> list[str]:
        """Domains of operators that are not known here and not defined in the file."""
        return sorted(self.domains - self.own_domains - KNOWN_DOMAINS)

    @property
    def unbounded(self) -> list[str]:
        """Operators in use that may run without an end."""
        return sorted(name for name in self.operators if name.rpartition(".")[2] in UNBOUNDED)


def outline_file(file: IO[bytes], size: int) -> OnnxOutline:
    """The outline of an open file.

    Raises:
        ModelError: Damaged, or larger or more deeply nested than any network.
    """
    walk = _Walk(file)
    walk.model(0, size)
    return walk.outline


def outline_bytes(data: bytes) -> OnnxOutline:
    """The outline of a model in memory; see :func:`outline_file`."""
    return outline_file(BytesIO(data), len(data))


def outline_path(path: Path) -> OnnxOutline:
    """The outline of a file; see :func:`outline_file`."""
    from scanner.base.files import open_regular

    with open_regular(path) as file:
        return outline_file(file, os.fstat(file.fileno()).st_size)


def refuse_unsafe(outline: OnnxOutline) -> None:
    """Refuse what no network needs and an attacker would like.

    Raises:
        UnsafeModelError: Operators that would need foreign code, or data hidden in other files.
        ModelError: Operators that may run for ever.
    """
    if outline.foreign:
        names = ", ".join(printable(name, 60) for name in outline.foreign[:5])
        raise UnsafeModelError(
            f"the graph uses operators of {names}, which are not known here",
            hint="Export it with standard ONNX operators only",
        )
    if outline.hidden:
        raise UnsafeModelError("constants within the graph refer to external data", hint=INLINE)
    if outline.unbounded:
        names = ", ".join(printable(name, 60) for name in outline.unbounded[:5])
        raise ModelError(f"the graph uses {names}, which may run without an end", hint=WITHOUT_LOOPS)


@dataclass(frozen=True)
class _Field:
    number: int
    wire: int
    value: int
    """Of a varint."""
    start: int
    end: int
    """Where the content of a length-delimited field lies."""


class _Walk:
    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.outline = OnnxOutline()
        self._fields = 0

    def model(self, start: int, end: int) -> None:
        for part in self._in(start, end):
            if part.number == 7:
                self._graph(part, 1)
            elif part.number == 8:
                self._opset(part)
            elif part.number == 14 and len(self.outline.metadata) < _MAX_LISTED:
                self.outline.metadata.append(self._entry(part)[0])
            elif part.number == 20:
                self.outline.training = True
            elif part.number == 25:
                self.outline.functions += 1
                self._function(part)

    def _function(self, function: _Field) -> None:
        for part in self._inside(function):
            if part.number == 7:
                self._node(part, 1)
            elif part.number == 10:
                self.outline.own_domains.add(self._text(part))

    def _graph(self, graph: _Field, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ModelError(f"its graphs are nested more than {MAX_DEPTH} deep, like an attack")
        self.outline.depth = max(self.outline.depth, depth)
        for part in self._inside(graph):
            if part.number == 1:
                self._node(part, depth)
            elif part.number == 5:
                self._tensor(part, main=depth == 1)
            elif part.number == 15:
                self._sparse(part)

    def _node(self, node: _Field, depth: int) -> None:
        self.outline.nodes += 1
        if self.outline.nodes > MAX_NODES:
            raise ModelError(f"the graph has more than {MAX_NODES} nodes")
        operator = domain = ""
        for part in self._inside(node):
            if part.number == 4:
                operator = self._text(part)
            elif part.number == 7:
                domain = self._text(part)
            elif part.number == 5:
                self._attribute(part, depth)
        self.outline.domains.add(domain)
        if len(self.outline.operators) < _MAX_LISTED:
            self.outline.operators[operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"] += 1

    def _attribute(self, attribute: _Field, depth: int) -> None:
        for part in self._inside(attribute):
            if part.number in (5, 10):
                self._tensor(part, main=False)
            elif part.number in (6, 11):
                self._graph(part, depth + 1)
            elif part.number in (22, 23):
                self._sparse(part)

    def _sparse(self, sparse: _Field) -> None:
        for part in self._inside(sparse):
            if part.number in (1, 2):
                self._tensor(part, main=False)

    def _tensor(self, tensor: _Field, *, main: bool) -> None:
        name, elements = "", 1
        for part in self._inside(tensor):
            if part.number == 8:
                name = self._text(part)
            elif part.number == 1:
                for size in self._integers(part):
                    elements = min(elements * size, 2**63)
            elif part.number == 13:
                self._external(self._entry(part), main=main)
        self.outline.initialisers += 1
        self.outline.stored += tensor.end - tensor.start
        self.outline.largest.append(Tensor(name, tensor.end - tensor.start, elements))
        self.outline.largest.sort(key=lambda item: (-item.elements, -item.stored, item.name))
        del self.outline.largest[_LARGEST:]

    def _external(self, entry: tuple[str, str], *, main: bool) -> None:
        key, value = entry
        if not main:
            self.outline.hidden = True
        elif key == "location" and value not in self.outline.external:
            if len(self.outline.external) >= _MAX_LISTED:
                raise ModelError(f"it refers to more than {_MAX_LISTED} other files")
            self.outline.external.append(value)

    def _opset(self, opset: _Field) -> None:
        domain, version = "", 0
        for part in self._inside(opset):
            if part.number == 1:
                domain = self._text(part)
            elif part.number == 2 and part.wire == _VARINT:
                version = part.value
        if len(self.outline.opsets) < _MAX_LISTED:
            self.outline.opsets[domain] = version

    def _entry(self, entry: _Field) -> tuple[str, str]:
        key = value = ""
        for part in self._inside(entry):
            if part.number == 1:
                key = self._text(part)
            elif part.number == 2:
                value = self._text(part)
        return key, value

    def _integers(self, part: _Field) -> Iterator[int]:
        """Repeated integers: one by one, or packed."""
        if part.wire == _VARINT:
            yield part.value
            return
        if part.wire != _BYTES or part.end - part.start > _MAX_TEXT:
            raise _damaged()
        self.file.seek(part.start)
        data, position = self.file.read(part.end - part.start), 0
        while position < len(data):
            value, used = _varint(data[position : position + 10])
            position += used
            yield value

    def _text(self, part: _Field) -> str:
        """Text of a field; more than 4096 bytes are cut."""
        if part.wire != _BYTES:
            raise _damaged()
        self.file.seek(part.start)
        return self.file.read(min(part.end - part.start, _MAX_TEXT)).decode("utf-8", "replace")

    def _inside(self, part: _Field) -> Iterator[_Field]:
        if part.wire != _BYTES:
            raise _damaged()
        return self._in(part.start, part.end)

    def _in(self, position: int, end: int) -> Iterator[_Field]:
        """The fields of a message. Nothing is copied but their heads."""
        while position < end:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise ModelError("the ONNX file has more parts than any network")
            self.file.seek(position)
            head = self.file.read(20)
            key, used = _varint(head)
            number, wire = key >> 3, key & 7
            position += used
            value = 0
            if wire in (_VARINT, _BYTES):
                value, length = _varint(head[used:])
                position += length
            start = position
            position += {_VARINT: 0, _FIXED64: 8, _BYTES: value, _FIXED32: 4}.get(wire, end + 1)
            if position > end or number == 0:
                raise _damaged()
            yield _Field(number, wire, value, start, position)


def _varint(data: bytes) -> tuple[int, int]:
    """A protobuf varint and its length."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2**64 - 1), index + 1
    raise _damaged()


def _damaged() -> ModelError:
    return ModelError("the ONNX file is damaged: it cannot be parsed")
