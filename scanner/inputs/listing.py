"""The inputs of a plan in a file: a line for each, in canonical order. Read in blocks, so that it may be of any length.

A line is a JSON object: ``id``, and where they are known ``size`` in bytes, ``etag`` and ``label``; ``path`` where
the name that it is read by is another than the one that is shown.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, overload

from scanner.base.errors import SourceError
from scanner.inputs.archive import ArchiveSource
from scanner.inputs.files import open_regular
from scanner.inputs.folder import FolderSource
from scanner.inputs.items import Item, Source, UnreadableInput
from scanner.inputs.manifest import ManifestSource
from scanner.inputs.remote import RemoteSource

BLOCK: Final = 1024
_KEPT: Final = 16
_MAX_BLOCK: Final = 64 * 2**20
_CHUNK: Final = 2**20


def listing_lines(source: Source) -> Iterator[bytes]:
    """The lines of a source's listing."""
    path_of, size_of, tag_of = _paths(source), _sizes(source), _tags(source)
    for item in source.items:
        path, size = path_of(item.index), size_of(item.index)
        line: dict[str, Any] = {"id": item.id}
        line |= {} if (tag := tag_of(item.index)) is None else {"etag": tag}
        line |= {} if item.label is None else {"label": item.label}
        line |= {} if path in (None, item.id) else {"path": path}
        line |= {} if size is None else {"size": size}
        yield json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"


def _tags(source: Source) -> Callable[[int], str | None]:
    """What an object store calls an object's content."""
    if isinstance(source, RemoteSource):
        return source.etag
    return lambda index: None


def _paths(source: Source) -> Callable[[int], str | None]:
    if isinstance(source, FolderSource | ManifestSource | RemoteSource):
        paths = source.items.paths
        return lambda index: paths[index]
    return lambda index: None


def _sizes(source: Source) -> Callable[[int], int | None]:
    """Sizes as far as they are known without reading: of files, and of an archive's members by its own word."""
    if isinstance(source, FolderSource | ManifestSource):
        reader, paths = source.reader, source.items.paths
        return lambda index: reader.size(paths[index])
    if isinstance(source, ArchiveSource):
        stated = {member.name: member.size for member in source.reader.members}
        names = source.items.paths
        return lambda index: stated[names[index]]
    if isinstance(source, RemoteSource):
        return source.size
    return lambda index: None


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        item: The input.
        path: The name that it is read by.
        size: In bytes; None where it was not known.
    """

    item: Item
    path: str
    size: int | None


class Listing(Sequence[Item]):
    """The inputs of a listing. May be asked from several threads at once.

    Args:
        path: The file. It is read once as a whole, to know its digest and where its blocks begin.

    Attributes:
        sha256: Digest of the file.

    Raises:
        SourceError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._kept: OrderedDict[int, list[Entry]] = OrderedDict()
        try:
            self._descriptor = open_regular(path)
        except UnreadableInput as error:
            raise SourceError(f"cannot be read ({error.detail})", where=str(path)) from None
        weakref.finalize(self, os.close, self._descriptor)
        self._starts, self._length, self.sha256 = _scan(self._descriptor)

    def __len__(self) -> int:
        """Number of inputs."""
        return self._length

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """The input at a position, or those of a slice."""
        if isinstance(index, slice):
            return [self.entry(position).item for position in range(*index.indices(self._length))]
        return self.entry(range(self._length)[index]).item

    def entry(self, index: int) -> Entry:
        """The line of an input.

        Raises:
            SourceError: It is damaged.
        """
        block, within = divmod(index, BLOCK)
        with self._lock:
            if block not in self._kept:
                self._kept[block] = self._read(block)
            self._kept.move_to_end(block)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[block][within]

    def _read(self, block: int) -> list[Entry]:
        start, end = self._starts[block], self._starts[block + 1]
        if end - start > _MAX_BLOCK:
            raise SourceError("has lines that are too long", where=str(self._path))
        data = os.pread(self._descriptor, end - start, start)
        try:
            parsed = [json.loads(line) for line in data.splitlines()]
            return [_entry(line, block * BLOCK + place) for place, line in enumerate(parsed)]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise SourceError("is a damaged listing", where=str(self._path)) from None


def _entry(line: dict[str, Any], index: int) -> Entry:
    name, label, size = line["id"], line.get("label"), line.get("size")
    path = line.get("path", name)
    texts = (name, path) if label is None else (name, path, label)
    if not all(isinstance(text, str) for text in texts) or not isinstance(size, int | None):
        raise TypeError
    name.encode()
    return Entry(Item(index, name, label), path, size)


def _scan(descriptor: int) -> tuple[array[int], int, str]:
    """Where every block of lines begins, and the file's end; the number of lines; and the digest."""
    starts, lines, position, digest = array("q", [0]), 0, 0, hashlib.sha256()
    while data := os.pread(descriptor, _CHUNK, position):
        digest.update(data)
        end = data.find(b"\n")
        while end >= 0:
            lines += 1
            if lines % BLOCK == 0:
                starts.append(position + end + 1)
            end = data.find(b"\n", end + 1)
        position += len(data)
    if lines % BLOCK:
        starts.append(position)
    return starts, lines, digest.hexdigest()
