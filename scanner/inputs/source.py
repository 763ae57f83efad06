"""Open a source of images: a folder, a manifest, an array file, an archive, a table or one image."""

from __future__ import annotations

import hashlib
import os
import stat
import weakref
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from scanner.base.errors import SourceError
from scanner.base.leftovers import scratch_folder
from scanner.base.text import printable
from scanner.inputs.archive import ArchiveSource, open_archive
from scanner.inputs.arrays import ArraySource, open_array
from scanner.inputs.folder import IMAGE_SUFFIXES, FolderSource, looks_like_image, open_file, open_folder
from scanner.inputs.items import Content, Item, Source, UnreadableInput, natural_order
from scanner.inputs.manifest import open_manifest
from scanner.inputs.remote import Store, open_remote
from scanner.inputs.table import TableSource, open_table
from scanner.inputs.tar import TarReader
from scanner.inputs.urls import url_of
from scanner.inputs.zipped import ZipReader

__all__ = [
    "ARRAY_SUFFIXES",
    "KNOWN_SUFFIXES",
    "MANIFEST_SUFFIXES",
    "Item",
    "Source",
    "UnreadableInput",
    "natural_order",
    "open_source",
    "require_images",
]

ARRAY_SUFFIXES: Final = (".npy", ".npz")
MANIFEST_SUFFIXES: Final = (".csv", ".tsv", ".jsonl")
TAR_SUFFIXES: Final = (".tar", ".tgz", ".tar.gz")
TABLE_SUFFIXES: Final = (".parquet", ".arrow")
_CONTAINERS: Final = (*ARRAY_SUFFIXES, *TAR_SUFFIXES, ".zip", *TABLE_SUFFIXES)
KNOWN_SUFFIXES: Final = (*MANIFEST_SUFFIXES, *_CONTAINERS, *sorted(IMAGE_SUFFIXES))


def open_source(path: Path, *, labels: bool = True, follow_links: bool = False) -> Source:
    """Open whatever ``path`` is. Images themselves are not read yet, and there may be none.

    Args:
        path: Folder (of images, or of one folder per class), ``.csv``, ``.tsv`` or ``.jsonl`` manifest,
            ``.npy`` or ``.npz`` array, ``.tar`` or ``.zip`` archive, Parquet or Arrow table, a single image file, or
            the URL of a folder, an array, an archive or a table in an object store.
        labels: Whether labels are wanted: class folders and label columns are ignored otherwise.
        follow_links: Whether links in a folder, and names in a manifest, may lead anywhere.

    Raises:
        SourceError: If the path is missing, damaged, or of no known kind.
    """
    if (url := url_of(path)) is not None:
        if url.lower().endswith(_CONTAINERS):
            return _open_copy(url, path, labels)
        return open_remote(url, path, labels=labels)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(
            f"cannot be opened ({error.strerror})", where=str(path), hint="Give a folder, manifest, array or image"
        ) from None
    except ValueError:  # a NUL byte
        raise SourceError("is not a valid path", where=repr(str(path))) from None
    if stat.S_ISDIR(mode):
        return _with_what_is_beside(open_folder(path, labels=labels, follow_links=follow_links))
    if not stat.S_ISREG(mode):
        raise SourceError("is neither a file nor a folder", where=str(path))
    return _open_file(path, labels, follow_links)


def _with_what_is_beside(folder: FolderSource) -> FolderSource:
    """The folder, saying which file in it could have been given in its place.

    Raises:
        SourceError: There are such files alone, and no images.
    """
    if not folder.ignored:
        return folder
    suffixes = MANIFEST_SUFFIXES if len(folder.items) else (*MANIFEST_SUFFIXES, *_CONTAINERS)
    try:
        with os.scandir(folder.root) as entries:
            found = sorted(entry.name for entry in entries if entry.name.lower().endswith(suffixes))
    except OSError:
        return folder
    if not found:
        return folder
    shown = repr(printable(found[0], 60))
    if len(folder.items):
        return replace(folder, layout=f"{folder.layout} ({shown} in it is not read; give that file to have its labels)")
    several = f"{len(found)} lists, archives or tables of images, such as {shown}, and none by themselves"
    raise SourceError(f"holds {several}", where=str(folder.root), hint="Give one of these files")


def _open_copy(url: str, path: Path, labels: bool) -> Source:
    """Open an array, an archive or a table in an object store: a copy of it, kept as long as the source is.

    A connection that breaks is an error here, once and for all, and never an image that cannot be read.
    """
    with ExitStack() as stack:
        copy = stack.enter_context(scratch_folder()) / url.rpartition("/")[2]
        Store(url).copy(copy)
        try:
            opened: Any = _open_file(copy, labels, False)
        except SourceError as error:
            raise SourceError(error.what, where=printable(url), hint=error.hint) from None
        with copy.open("rb") as file:
            content = Content(copy.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
        source: Source = replace(opened, root=path, copied=content)
        weakref.finalize(source, stack.pop_all().close)
    return source


def copied_content(source: Source) -> Content | None:
    """What was copied from an object store; None where nothing was."""
    return source.copied if isinstance(source, ArraySource | ArchiveSource | TableSource) else None


def _open_file(path: Path, labels: bool, follow_links: bool) -> Source:
    name = path.name.lower()
    if name.endswith(ARRAY_SUFFIXES):
        return open_array(path, labels=labels)
    if name.endswith(MANIFEST_SUFFIXES):
        return open_manifest(path, labels=labels, follow_links=follow_links)
    if name.endswith(TAR_SUFFIXES):
        return open_archive(path, TarReader(path), labels=labels)
    if name.endswith(".zip"):
        return open_archive(path, ZipReader(path), labels=labels)
    if name.endswith(TABLE_SUFFIXES):
        return open_table(path, labels=labels)
    if path.suffix.lower() in IMAGE_SUFFIXES or looks_like_image(path):
        return open_file(path)
    raise SourceError(
        "is no image, manifest, array, archive or table by its suffix",
        where=str(path),
        hint=f"Known: {' '.join(KNOWN_SUFFIXES)}",
    )


def require_images(source: Source) -> None:
    """Refuse a source without any image.

    Raises:
        SourceError: If there is none.
    """
    if not len(source.items):
        other = f" ({source.ignored} other entries)" if source.ignored else ""
        raise SourceError(
            f"contains no image{other}",
            where=str(source.root),
            hint=f"Known suffixes: {' '.join(sorted(IMAGE_SUFFIXES))}; images without one are told by their content",
        )
