"""The files beside a model's file that hold its weights: regular ones inside its folder, never through a link.

They are the external data of an ONNX file, and the files that an index of weights names.

With one exception that opens nothing else: in the caches of model hubs, the model and its data are both links into one
folder of blobs. Where the model that a person named is a link, a link beside it is read if it leads to a file in the
folder that the model itself is in.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Final

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.base.text import printable

MAX_EXTERNAL_BYTES: Final = 16 * 2**30
_COPY_BYTES: Final = 4 * 2**20


def copy_beside(model: Path, locations: Sequence[str], target: Path) -> None:
    """Copy the files that a model refers to, under the names by which it does, so that nobody can change them.

    Args:
        model: The model, as it was named.
        locations: As the model states them.
        target: A new folder.

    Raises:
        UnsafeModelError: A location outside the folder, or behind a link.
        ModelError: A file that is missing, or too much data.
        OSError: A copy cannot be written.
    """
    target.mkdir()
    copied = 0
    for location in locations:
        with open_named(model, location) as source:
            copy = target / PurePosixPath(location)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if copy.exists():
                continue  # another spelling of the same name
            with copy.open("xb") as file:
                while block := source.read(_COPY_BYTES):
                    copied += len(block)
                    if copied > MAX_EXTERNAL_BYTES:
                        raise too_large(location)
                    file.write(block)


def digest_beside(model: Path, locations: Sequence[str]) -> tuple[dict[str, str], int]:
    """SHA-256 of the files that a model refers to, by the names by which it does, and their bytes together.

    Raises:
        UnsafeModelError: A location outside the folder, or behind a link.
        ModelError: A file that is missing, or too much data.
        OSError: One cannot be read.
    """
    digests: dict[str, str] = {}
    size = 0
    for location in dict.fromkeys(locations):
        with open_named(model, location) as file:
            size += os.fstat(file.fileno()).st_size
            if size > MAX_EXTERNAL_BYTES:
                raise too_large(location)
            digests[location] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests, size


def open_named(model: Path, location: str) -> BufferedReader:
    """Open what a model refers to, as it does.

    Raises:
        UnsafeModelError: It lies outside the model's folder, or is a link that is not one of a hub's cache.
        ModelError: It is missing.
    """
    folder = model.resolve().parent
    return open_beside(folder, _in_cache(model, folder, location))


def _in_cache(model: Path, folder: Path, location: str) -> str:
    """The name, in the model's own folder, of what a link beside the model's link leads to; else the location.

    Raises:
        UnsafeModelError: It leads elsewhere.
    """
    if not model.is_symlink() or not location or {"/", "\\", "\0"} & set(location) or location in (".", ".."):
        return location
    beside = model.parent / location
    if not beside.is_symlink():
        return location
    try:
        data = beside.resolve(strict=True)
    except (OSError, RuntimeError):
        return location
    if data.parent != folder:
        raise UnsafeModelError(f"{_shown(location)} is a link that leads out of the folder of the model")
    return data.name


def open_beside(folder: Path, location: str) -> BufferedReader:
    """Open ``location`` below ``folder``, one path component at a time and none of them a link.

    Raises:
        UnsafeModelError: It lies outside, is a link, or has other names, too.
        ModelError: It is missing.
    """
    parts = PurePosixPath(location).parts
    shown = _shown(location)
    if not parts or location.startswith(("/", "\\")) or ".." in parts or "\\" in location or "\0" in location:
        raise UnsafeModelError(f"{shown} lies outside the model's folder")
    no_links = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    # Folders are entered, not listed: a process that is locked down may do no more with some.
    folders = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
    opened: list[int] = []
    try:
        opened.append(os.open(folder, folders))
        for part in parts[:-1]:
            opened.append(os.open(part, folders | os.O_NOFOLLOW, dir_fd=opened[-1]))
        opened.append(os.open(parts[-1], no_links, dir_fd=opened[-1]))
        state = os.fstat(opened[-1])
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
            raise UnsafeModelError(f"{shown} is not a regular file of its own (a link, or linked elsewhere)")
        if state.st_size > MAX_EXTERNAL_BYTES:
            raise too_large(location)
        return os.fdopen(os.dup(opened[-1]), "rb")
    except FileNotFoundError as error:
        raise ModelError(f"{shown} is missing", hint="It belongs into the folder of the model") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a valid path"
        raise UnsafeModelError(f"{shown} cannot be opened without following links ({why})") from error
    finally:
        for descriptor in opened:
            os.close(descriptor)


def too_large(location: str) -> ModelError:
    """The error for more data than is read."""
    return ModelError(f"{_shown(location)} is too large: at most 16 GiB are read")


def _shown(location: str) -> str:
    return f"the file of weights '{printable(location, 120)}'"
