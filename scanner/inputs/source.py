"""Open a source of images: a folder, a manifest, an array file or one image."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from scanner.base.errors import SourceError
from scanner.inputs.arrays import open_array
from scanner.inputs.folder import IMAGE_SUFFIXES, open_file, open_folder
from scanner.inputs.items import Item, Source, UnreadableInput, natural_order
from scanner.inputs.manifest import open_manifest

__all__ = [
    "ARRAY_SUFFIXES",
    "MANIFEST_SUFFIXES",
    "Item",
    "Source",
    "UnreadableInput",
    "natural_order",
    "open_source",
    "require_images",
]

ARRAY_SUFFIXES: Final = (".npy", ".npz")
MANIFEST_SUFFIXES: Final = (".csv", ".jsonl")


def open_source(path: Path, *, labels: bool = True) -> Source:
    """Open whatever ``path`` is. Images themselves are not read yet, and there may be none.

    Args:
        path: Folder (of images, or of one folder per class), ``.csv`` or ``.jsonl`` manifest,
            ``.npy`` or ``.npz`` array, or a single image file.
        labels: Whether labels are wanted: class folders and label columns are ignored otherwise.

    Raises:
        SourceError: If the path is missing, damaged, or of no known kind.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(
            f"cannot be opened ({error.strerror})", where=str(path), hint="Give a folder, manifest, array or image"
        ) from None
    except ValueError:  # a NUL byte
        raise SourceError("is not a valid path", where=repr(str(path))) from None
    if stat.S_ISDIR(mode):
        return open_folder(path, labels=labels)
    if not stat.S_ISREG(mode):
        raise SourceError("is neither a file nor a folder", where=str(path))
    suffix = path.suffix.lower()
    if suffix in ARRAY_SUFFIXES:
        return open_array(path, labels=labels)
    if suffix in MANIFEST_SUFFIXES:
        return open_manifest(path, labels=labels)
    if suffix in IMAGE_SUFFIXES:
        return open_file(path)
    raise SourceError(
        "is no image, manifest or array by its suffix",
        where=str(path),
        hint=f"Known: {' '.join((*MANIFEST_SUFFIXES, *ARRAY_SUFFIXES, *sorted(IMAGE_SUFFIXES)))}",
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
            hint=f"Known suffixes: {' '.join(sorted(IMAGE_SUFFIXES))}",
        )
