"""A source whose inputs are those of a listing: nothing is listed again, and what changed since then is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import SourceError
from scanner.base.text import printable
from scanner.inputs.files import FolderReader
from scanner.inputs.items import Content, Item, UnreadableInput
from scanner.inputs.listing import Listing
from scanner.inputs.remote import KIND, Store
from scanner.inputs.source import copied_content, open_source
from scanner.inputs.urls import url_of

FOLDERS: Final = ("folder", "class-folders")
Read = Callable[[Item], bytes | NDArray[np.uint8]]


@dataclass(frozen=True)
class Listed:
    """What a listing is of.

    Attributes:
        root: What the user pointed at.
        kind: As :attr:`scanner.inputs.items.Source.kind`.
        layout: Likewise.
        ignored: Likewise.
        follow_links: Whether links may lead anywhere.
        content: Of the file that holds all of them; None where there is none.
    """

    root: Path
    kind: str
    layout: str
    ignored: int
    follow_links: bool
    content: Content | None


@dataclass(frozen=True)
class ListedSource:
    """The inputs of a listing; see :class:`scanner.inputs.items.Source`."""

    kind: str
    root: Path
    items: Listing
    layout: str
    ignored: int
    fetch: Read

    @property
    def class_names(self) -> None:
        """A scan counts labels and needs no list of them."""

    def read(self, item: Item) -> bytes | NDArray[np.uint8]:
        """As :meth:`scanner.inputs.items.Source.read`; a file of another size than when it was listed has changed."""
        data = self.fetch(item)
        size = self.items.entry(item.index).size
        if size is not None and isinstance(data, bytes) and len(data) != size:
            raise UnreadableInput("changed", f"{len(data)} bytes, and {size} when the scan was planned")
        return data


def open_listed(listed: Listed, items: Listing) -> ListedSource:
    """Open what a listing is of.

    Raises:
        SourceError: It is missing, or a container that is not the one that was listed.
    """
    return ListedSource(listed.kind, listed.root, items, listed.layout, listed.ignored, _reader(listed, items))


def _reader(listed: Listed, items: Listing) -> Read:
    root = listed.root
    url = url_of(root)
    if url is not None and listed.kind == KIND:
        store = Store(url)
        return lambda item: store.read(items.entry(item.index).path)
    if url is None and not root.exists():
        raise SourceError("cannot be opened (No such file or directory)", where=str(root))
    if url is None and listed.content is not None:
        _require(listed, _content_of_file(root, digest=listed.content.sha256 is not None))
    if listed.kind in FOLDERS or listed.kind == "manifest":
        folder = FolderReader(root if listed.kind in FOLDERS else root.parent, follow_links=listed.follow_links)
        return lambda item: folder.read(items.entry(item.index).path)
    source: Any = open_source(root, labels=False, follow_links=listed.follow_links)
    if listed.content is not None and (copied := copied_content(source)) is not None:
        _require(listed, copied)
    if source.kind != listed.kind or len(source.items) != len(items):
        raise SourceError("is not what it was when the scan was planned", where=str(root), hint="Make another plan")

    def read(item: Item) -> bytes | NDArray[np.uint8]:
        data: bytes | NDArray[np.uint8] = source.read(source.items[item.index])
        return data

    return read


def _content_of_file(path: Path, *, digest: bool) -> Content:
    try:
        if not digest:
            return Content(path.stat().st_size, None)
        with path.open("rb") as file:
            return Content(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise SourceError(f"cannot be opened ({error.strerror})", where=printable(str(path))) from None


def _require(listed: Listed, found: Content) -> None:
    planned = listed.content
    assert planned is not None
    if found.bytes != planned.bytes:
        what = f"has {found.bytes} bytes, and {planned.bytes} when the scan was planned"
    elif planned.sha256 is not None and found.sha256 != planned.sha256:
        what = f"has another SHA-256 than when the scan was planned ({found.sha256}, and {planned.sha256} then)"
    else:
        return
    raise SourceError(what, where=printable(url_of(listed.root) or str(listed.root)), hint="Make another plan")
