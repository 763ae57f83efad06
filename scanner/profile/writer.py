"""Write a profile: the same content gives the same bytes, and a failure leaves nothing behind."""

from __future__ import annotations

import io
from operator import itemgetter
from pathlib import Path

import h5py
import numpy as np

from scanner.base.atomic import atomic_writer
from scanner.base.errors import OutputError, ProfileError
from scanner.base.text import printable
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

_BLOCK = 2**20


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
        image = memoryview(_hdf5_image(profile))
        for start in range(0, len(image), _BLOCK):
            file.write(image[start : start + _BLOCK])


def _hdf5_image(profile: Profile) -> bytes:
    """The file, built in memory: HDF5 does not survive a failed or interrupted write reliably.

    The bytes depend on the content alone: no time stamps, and a fixed version of the format.
    """
    with h5py.File(
        "profile", "w", driver="core", backing_store=False, libver=("v110", "v110"), track_order=False
    ) as hdf5:
        hdf5.attrs["format"] = np.bytes_(FORMAT)
        hdf5.attrs["schema_version"] = np.bytes_(profile.header.schema_version)
        hdf5.attrs["sha256"] = np.bytes_(profile.digest)
        for group in GROUPS:
            hdf5.create_group(group)
        for name, array in sorted(profile.datasets(), key=itemgetter(0)):
            hdf5.create_dataset(name, data=array, track_times=False)
        hdf5.flush()
        return bytes(hdf5.id.get_file_image())


def _check_limits(profile: Profile) -> None:
    if len(profile.calibration) > MAX_ARRAYS:
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
