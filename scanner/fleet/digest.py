"""Digests of what a row names, by which a changed model or other images are told apart from those that are done.

Nothing is understood here, only read: bytes of models and of single files, and of folders the names, sizes and times of
what is in them. What a URL leads to is not asked for.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from scanner.base.errors import ModelError, SourceError
from scanner.base.text import printable
from scanner.inputs.urls import url_of
from scanner.models.stored_bytes import open_stored

_BESIDE: Final = ("config.json", "preprocessor_config.json")
"""Files beside a model that say how to load it, or how to preprocess images for it."""


def digest_of_model(path: Path) -> str:
    """SHA-256 over the bytes of a model's files, those that it refers to and what stands beside it included.

    Raises:
        ModelError: One of them cannot be read.
    """
    total = hashlib.sha256()
    try:
        for stream in open_stored(path):
            total.update(hashlib.file_digest(stream, "sha256").digest())
        folder = path if path.is_dir() else path.parent
        for beside in (folder / name for name in _BESIDE):
            if beside.is_file():
                total.update(beside.name.encode() + b"\0" + _of_file(beside))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read ({_why(error)})", where=printable(str(path))) from None
    return total.hexdigest()


def digest_of_images(place: str) -> str:
    """SHA-256 of a file's bytes; of a folder, over what is in it; of a URL, of its text.

    Raises:
        SourceError: It cannot be read.
    """
    if url_of(Path(place)) is not None:
        return hashlib.sha256(b"url\0" + place.encode()).hexdigest()
    try:
        if not os.path.isdir(place):  # noqa: PTH112 - the name may be anything
            return _of_file(Path(place)).hex()
        total = hashlib.sha256(b"folder\0")
        _add_folder(place, "", total)
        return total.hexdigest()
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be read ({_why(error)})", where=printable(place)) from None


def _of_file(path: Path) -> bytes:
    # Never waits on a pipe: what is no file is told when it is opened for what it is.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _add_folder(folder: str, below: str, total: hashlib._Hash) -> None:
    """Names, sizes and times below a folder, one folder of them in memory at a time."""
    folders = []
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in found:
        status = entry.stat(follow_symlinks=False)
        name = f"{below}{entry.name}"
        total.update(f"{status.st_size} {status.st_mtime_ns} ".encode() + os.fsencode(name) + b"\0")
        if entry.is_symlink():
            total.update(os.fsencode(os.readlink(entry.path)) + b"\0")  # noqa: PTH115 - as it is written
        elif entry.is_dir():
            folders.append(entry.name)
    for name in folders:
        _add_folder(os.path.join(folder, name), f"{below}{name}/", total)  # noqa: PTH118


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or "not a valid path").lower()
