"""Folders of images: one folder per class, or any tree of files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from scanner.errors import SourceError
from scanner.inputs.files import read_file
from scanner.inputs.source import Item, natural_order

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
_CLUTTER = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class FolderSource:
    """Files below a root, in bytewise order of their relative paths."""

    kind: str
    root: Path
    items: Sequence[Item]
    class_names: tuple[str, ...] | None
    ignored: int

    def read(self, item: Item) -> bytes:
        """Bytes of the file; see :meth:`scanner.inputs.source.Source.read`."""
        return read_file(self.root, item.id)


def open_folder(root: Path, *, labels: bool) -> FolderSource:
    """List a folder. With ``labels``, folders at the top level are classes.

    Raises:
        SourceError: If there is no image in it, or class folders and loose images are mixed.
    """
    try:
        files = list(_walk(root))
    except OSError as error:
        raise SourceError(f"cannot be listed ({error.strerror})", where=str(root)) from None
    paths = sorted((name for name, is_image in files if is_image), key=os.fsencode)
    ignored = len(files) - len(paths)
    if not paths:
        extra = f" ({ignored} other files)" if ignored else ""
        raise SourceError(
            f"contains no image{extra}", where=str(root), hint=f"Known suffixes: {' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    nested = [path for path in paths if "/" in path]
    if not labels or not nested:
        return FolderSource("folder", root, [Item(i, path, None) for i, path in enumerate(paths)], None, ignored)
    if len(nested) < len(paths):
        loose = next(path for path in paths if "/" not in path)
        raise SourceError(
            f"mixes class folders with loose images such as {loose!r}",
            where=str(root),
            hint="Move every image into a class folder, or give --no-labels",
        )
    items = [Item(i, path, path.split("/", 1)[0]) for i, path in enumerate(paths)]
    return FolderSource("class-folders", root, items, natural_order({path.split("/", 1)[0] for path in paths}), ignored)


def open_file(path: Path) -> FolderSource:
    """A single image file as a source of one item."""
    return FolderSource("file", path.parent, [Item(0, path.name, None)], None, 0)


def _walk(root: Path) -> Iterator[tuple[str, bool]]:
    """Relative paths below ``root`` and whether each is named like an image.

    Folders behind links are not entered, so there are no loops. A link to a file, a FIFO or a
    device is listed when it is named like an image: reading it gives the reason it is left out.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _CLUTTER:
                    continue
                relative = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(relative)
                elif not (entry.is_symlink() and entry.is_dir()):
                    yield relative, PurePath(entry.name).suffix.lower() in IMAGE_SUFFIXES
