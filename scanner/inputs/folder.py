"""Folders of images: one folder per class, or any tree of files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.base.errors import SourceError
from scanner.inputs.files import FolderReader, open_regular
from scanner.inputs.formats import has_image_magic
from scanner.inputs.items import LABELS_UNUSED, EncodedLabels, Item, NamedItems, UnreadableInput, printable
from scanner.inputs.layout import find_layout
from scanner.inputs.sorted_names import sort_names

IMAGE_SUFFIXES: Final = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"),
    }
)
_CLUTTER: Final = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class FolderSource:
    """Files below a folder, in bytewise order of their relative paths."""

    kind: str
    root: Path
    items: NamedItems
    class_names: tuple[str, ...] | None
    ignored: int
    reader: FolderReader
    layout: str

    def read(self, item: Item) -> bytes:
        """Bytes of the file; see :meth:`scanner.inputs.items.Source.read`."""
        return self.reader.read(self.items.paths[item.index])


def open_folder(root: Path, *, labels: bool, follow_links: bool = False) -> FolderSource:
    """List a folder. With ``labels``, folders are classes where their layout says so.

    Args:
        root: The folder.
        labels: Whether labels are wanted.
        follow_links: Whether links to folders are entered, and links may lead out of the folder.

    Raises:
        SourceError: If it cannot be listed, or with ``labels`` the layout does not tell what the classes
            are; see :func:`scanner.inputs.layout.find_layout`.
    """
    closed: set[str] = set()
    ignored = 0

    def found() -> Iterator[str]:
        nonlocal ignored
        for path, wanted, is_folder in _walk(root, follow_links):
            if not wanted:
                ignored += 1
                continue
            if is_folder:
                closed.add(path)
            yield path

    try:
        paths = sort_names(found())
    except OSError as error:
        raise SourceError(f"cannot be listed ({error.strerror})", where=str(root)) from None
    if not follow_links:
        _refuse_only_links(root, paths, closed)
    reader = FolderReader(root, follow_links=follow_links)
    if not labels:
        return FolderSource("folder", root, NamedItems(paths, None), None, ignored, reader, LABELS_UNUSED)
    layout = find_layout(paths, closed, root)
    if not layout.labelled:
        return FolderSource("folder", root, NamedItems(paths, None), None, ignored, reader, layout.described)
    classes = EncodedLabels.of_each(lambda: (printable(layout.class_of(path)) for path in paths), len(paths))
    return FolderSource(
        "class-folders", root, NamedItems(paths, classes), classes.names, ignored, reader, layout.described
    )


def open_file(path: Path) -> FolderSource:
    """A single image file as a source of one item. A link is followed: the user pointed at it."""
    target = Path(os.path.realpath(path))
    item = _OneFile(target.name, path.name)
    return FolderSource("file", path, item, None, 0, FolderReader(target.parent), "one image")


class _OneFile(NamedItems):
    """One file, called as the user called it."""

    __slots__ = ("_shown",)

    def __init__(self, path: str, shown: str) -> None:
        super().__init__([path], None)
        self._shown = printable(shown)

    def _id(self, index: int) -> str:
        return self._shown


def _refuse_only_links(root: Path, paths: Sequence[str], closed: set[str]) -> None:
    """Say at once that nothing is there but folders behind links: class folders that point elsewhere."""
    links = [path for path in paths if path in closed and (root / path).is_symlink() and (root / path).is_dir()]
    if len(links) > 1 and len(links) == len(paths):
        raise SourceError(
            f"holds {len(links)} links to folders, such as {printable(links[0])!r}, and no images: links may lead "
            "anywhere and are not entered",
            where=str(root),
            hint="Allow it with --follow-links if you trust where they lead",
        )


def _walk(root: Path, follow_links: bool) -> Iterator[tuple[str, bool, bool]]:
    """Entries below ``root``: relative path, whether it is an input, and whether it is a folder.

    Folders behind links are not entered unless the user says so, and then each once, so that there are
    no loops; otherwise nothing outside is listed, and they are inputs that cannot be read, as are FIFOs,
    devices and folders that cannot be listed. Hidden folders are one ignored entry each. Hidden files
    count by their suffix like others: what is skipped could be what matters.
    """
    pending = [""]
    entered = {os.path.realpath(root)}
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
                        entered.add(os.path.realpath(root / path) if follow_links else "")
                elif follow_links and entry.is_symlink() and _leads_to_folder(entry):
                    target = os.path.realpath(root / path)
                    if target not in entered and not any(top.startswith(target + "/") for top in entered):
                        entered.add(target)
                        pending.append(path)
                elif not _is_clutter(entry.name):
                    yield path, _is_input(entry), _leads_to_folder(entry)


def _is_input(entry: os.DirEntry[str]) -> bool:
    if _has_image_suffix(entry.name):
        return True
    if entry.is_symlink():
        return _leads_to_folder(entry)
    if not entry.is_file(follow_symlinks=False):
        return True
    return not _has_word_suffix(entry.name) and looks_like_image(Path(entry.path))


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


def looks_like_image(path: Path) -> bool:
    """Whether a regular file starts as images of the formats that are read do."""
    try:
        descriptor = open_regular(path)
    except UnreadableInput:
        return False
    try:
        return has_image_magic(os.pread(descriptor, 16, 0))
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _has_word_suffix(name: str) -> bool:
    """Whether a name ends like those of files do: letters after a dot, and not only a number."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - a path object each time is slow
    return any(character.isalpha() for character in suffix) and len(suffix) < 10


def _has_image_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a path object each time is slow
