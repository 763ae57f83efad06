"""Write a profile: the same content gives the same bytes, and a failure leaves nothing behind."""

from __future__ import annotations

import io
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from scanner.atomic import atomic_writer
from scanner.errors import OutputError, ProfileError
from scanner.profile.content import (
    FORMAT,
    GROUPS,
    MAX_ARRAYS,
    MAX_BYTES,
    MAX_DIMENSIONS,
    MAX_HEADER_BYTES,
    MAX_NAME_BYTES,
    Profile,
)
from scanner.report.text import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


def write_profile(path: Path, profile: Profile) -> None:
    """Write `profile` to `path`, atomically.

    Args:
        path: Destination; an existing file is replaced.
        profile: The profile.

    Raises:
        OutputError: The file cannot be written.
        ProfileError: The content exceeds what a profile may hold, so that no reader would accept it.
    """
    _check_limits(profile)
    with atomic_writer(path) as file:
        if not isinstance(file, io.BufferedRandom):
            raise OutputError("is a pipe or a device", where=printable(str(path)), hint="Give the name of a file")
        shielded = _Shield(file)
        try:
            _write_hdf5(shielded, profile)
        except Exception:
            # What HDF5 raises after a failed write is a consequence; the failure itself is what the user needs.
            if shielded.failure is not None:
                raise shielded.failure from None
            raise
        if shielded.failure is not None:
            raise shielded.failure


def _write_hdf5(file: _Shield, profile: Profile) -> None:
    # The bytes depend on the content alone: no time stamps, and a fixed version of the format.
    with h5py.File(file, "w", libver=("v110", "v110"), track_order=False) as hdf5:
        hdf5.attrs["format"] = np.bytes_(FORMAT)
        hdf5.attrs["schema_version"] = np.bytes_(profile.header.schema_version)
        hdf5.attrs["sha256"] = np.bytes_(profile.digest)
        for group in GROUPS:
            hdf5.create_group(group)
        for name, array in sorted(profile.datasets(), key=itemgetter(0)):
            hdf5.create_dataset(name, data=array, track_times=False)


class _Shield(io.RawIOBase):
    """A file that never fails in the eyes of HDF5, which does not survive a failed write reliably.

    The first failure is kept; from then on nothing reaches the disk, and the caller raises the failure at the end. It
    may be a full disk, and as well an interrupt, which Python delivers inside these methods.
    """

    def __init__(self, file: io.BufferedRandom) -> None:
        self._file = file
        self.failure: BaseException | None = None

    def _attempt(self, operation: Callable[..., int], *arguments: object, otherwise: int) -> int:
        if self.failure is None:
            try:
                return operation(*arguments)
            except BaseException as failure:
                self.failure = failure
        return otherwise

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._attempt(self._file.seek, offset, whence, otherwise=offset)

    def tell(self) -> int:
        return self._attempt(self._file.tell, otherwise=0)

    def truncate(self, size: int | None = None, /) -> int:
        return self._attempt(self._file.truncate, size, otherwise=size or 0)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._attempt(self._file.readinto, buffer, otherwise=0)

    def write(self, data: ReadableBuffer, /) -> int:
        return self._attempt(self._file.write, data, otherwise=memoryview(data).nbytes)

    def flush(self) -> None:
        """Nothing: the file is flushed once, at the end."""


def _check_limits(profile: Profile) -> None:
    if len(profile.detector) + len(profile.calibration) > MAX_ARRAYS:
        raise ProfileError(f"more than {MAX_ARRAYS} arrays for one profile", hint="Use fewer layers")
    total = 0
    for name, array in profile.datasets():
        if name == "header" and array.nbytes > MAX_HEADER_BYTES:
            raise ProfileError(f"header of {array.nbytes} bytes, {MAX_HEADER_BYTES} allowed", hint="Shorten the names")
        if array.ndim > MAX_DIMENSIONS or len(name) > MAX_NAME_BYTES:
            raise ProfileError("array with too many dimensions or too long a name", hint="Rename the layer")
        if name.endswith("/"):
            raise ProfileError("array without a name", hint="Name every array")
        total += array.nbytes
    if total > MAX_BYTES:
        raise ProfileError(f"{total} bytes of content, {MAX_BYTES} allowed", hint="Use fewer layers")
    for name, column in profile.calibration.items():
        if np.isnan(column).any():
            raise ProfileError(f"calibration {name!r} holds NaN", hint="Look for NaN in the model's activations")
