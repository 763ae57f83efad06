"""Folders of images: one folder per class, or any tree of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.errors import SourceError
from scanner.inputs.files import FolderReader
from scanner.inputs.items import EncodedLabels, Item, NamedItems, printable

IMAGE_SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
_CLUTTER: Final = frozenset({"thumbs.db", "desktop.ini"})
_SPLITS: Final = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


@dataclass(frozen=True)
class FolderSource:
    """Files below a folder, in bytewise order of their relative paths."""

    kind: str
    root: Path
    items: NamedItems
    class_names: tuple[str, ...] | None
    ignored: int
    reader: FolderReader

    def read(self, item: Item) -> bytes:
        """Bytes of the file; see :meth:`scanner.inputs.items.Source.read`."""
        return self.reader.read(self.items.paths[item.index])


def open_folder(root: Path, *, labels: bool) -> FolderSource:
    """List a folder. With ``labels``, folders at the top level are classes.

    Raises:
        SourceError: If it cannot be listed, class folders and loose images are mixed, or the folders
            are the parts of a data set rather than classes.
    """
    paths: list[str] = []
    ignored = 0
    loose = None
    nested = False
    try:
        for path, wanted, is_folder in _walk(root):
            if not wanted:
                ignored += 1
                continue
            paths.append(path)
            if is_folder or "/" in path:
                nested = True
            else:
                loose = path
    except OSError as error:
        raise SourceError(f"cannot be listed ({error.strerror})", where=str(root)) from None
    paths.sort(key=os.fsencode)
    reader = FolderReader(root)
    if not labels or not nested:
        return FolderSource("folder", root, NamedItems(paths, None), None, ignored, reader)
    if loose is not None:
        raise SourceError(
            f"mixes class folders with loose images such as {printable(loose)!r}",
            where=str(root),
            hint="Move every image into a class folder, or use it without labels",
        )
    classes = EncodedLabels.of([printable(path.partition("/")[0]) for path in paths])
    _require_classes(classes.names, root)
    return FolderSource("class-folders", root, NamedItems(paths, classes), classes.names, ignored, reader)


def open_file(path: Path) -> FolderSource:
    """A single image file as a source of one item. A link is followed: the user pointed at it."""
    target = Path(os.path.realpath(path))
    item = _OneFile(target.name, path.name)
    return FolderSource("file", path, item, None, 0, FolderReader(target.parent))


class _OneFile(NamedItems):
    """One file, called as the user called it."""

    __slots__ = ("_shown",)

    def __init__(self, path: str, shown: str) -> None:
        super().__init__([path], None)
        self._shown = printable(shown)

    def _id(self, index: int) -> str:
        return self._shown


def _require_classes(names: tuple[str, ...], root: Path) -> None:
    if len(names) > 1 and all(name.lower() in _SPLITS for name in names):
        raise SourceError(
            f"holds the parts of a data set ({', '.join(names)}), not classes",
            where=str(root),
            hint=f"Point at one part, for example {root / names[0]}",
        )


def _walk(root: Path) -> Iterator[tuple[str, bool, bool]]:
    """Entries below ``root``: relative path, whether it is an input, and whether it is a folder.

    Folders behind links are not entered, so there are no loops and nothing outside is listed; they
    are inputs that cannot be read, as are FIFOs, devices and folders that cannot be listed. Hidden
    folders are one ignored entry each. Hidden files count by their suffix like others: what is
    skipped could be what matters.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = os.scandir(root / folder)
        except OSError:
            if not folder:
                raise
            yield folder, True, True
            continue
        with entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name.startswith("."):
                        yield path, False, True
                    else:
                        pending.append(path)
                elif not _is_clutter(entry.name):
                    yield path, _is_input(entry), _leads_to_folder(entry)


def _is_input(entry: os.DirEntry[str]) -> bool:
    if _has_image_suffix(entry.name):
        return True
    if entry.is_symlink():
        return _leads_to_folder(entry)
    return not entry.is_file(follow_symlinks=False)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a loop: the name has to tell
        return not _has_image_suffix(entry.name)


def _is_clutter(name: str) -> bool:
    """What operating systems leave behind, and hidden files that are no images."""
    if name.startswith("._") or name.lower() in _CLUTTER:
        return True
    return name.startswith(".") and not _has_image_suffix(name)


def _has_image_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a path object each time is slow
