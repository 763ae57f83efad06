"""Read a profile of unknown origin.

HDF5 is a container with room for surprises: links into other files, data stored in other files, plug-in filters,
shapes of a terabyte in a file of a kilobyte, groups that contain themselves. A profile has none of that. So nothing
is read before its kind, type, shape and storage are known to be plain, and nothing is allocated beyond what the file
really holds. The format is specified in docs/profile-format.md.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydantic
from h5py import h5a, h5d, h5g, h5l, h5o, h5s, h5t
from numpy.typing import NDArray

from scanner.base.errors import ProfileError
from scanner.base.text import printable
from scanner.profile.content import (
    BAYESIAN_DATASETS,
    BYTE_DATASETS,
    FORMAT,
    GROUPS,
    MAX_ARRAYS,
    MAX_BYTES,
    MAX_DIMENSIONS,
    MAX_HEADER_BYTES,
    MAX_NAME_BYTES,
    OPTIONAL_BYTE_DATASETS,
    Profile,
    quote,
    unquote,
)
from scanner.profile.header import SCHEMA_VERSION, ProfileHeader, canonical_json
from scanner.profile.posterior import Posterior, WeightBlock

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_ATTRIBUTE_BYTES = 128
_TYPES = {"uint8": h5t.STD_U8LE, "float64": h5t.IEEE_F64LE}

_COPY_AGAIN = "Copy the file again, or run 'modelscan fit' again"
_NOT_OURS = "Give a profile that 'modelscan fit' wrote"


def read_profile(path: Path) -> Profile:
    """Read and verify the profile at `path`.

    Memory use is bounded by the size of the file, and no other file is opened.

    Raises:
        ProfileError: The file is missing, is not a profile, is damaged or altered, was written in another version of
            the format, or holds anything that a profile does not hold.
    """
    with _reported(path):
        size = _size_of_hdf5(path)
        # No lock: a profile is replaced whole and never changed in place, and read-only mounts may refuse locks.
        with h5py.File(path, "r", locking=False) as file:
            root = h5g.open(file.id, b"/")
            version = _check_format(root)
            return _verified(_read(_plain_datasets(root, size)), version, _attribute(root, b"sha256"))


class _Refused(Exception):
    """What is wrong with the file, and what to do."""

    def __init__(self, what: str, hint: str = _NOT_OURS) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    where = printable(str(path))
    try:
        yield
    except _Refused as refused:
        raise ProfileError(refused.what, where=where, hint=refused.hint) from refused
    except MemoryError as error:
        raise ProfileError("does not fit into memory", where=where, hint="Use a machine with more memory") from error
    except Exception as error:
        # On a damaged file the HDF5 library raises whatever the damage leads to, from OSError to KeyError.
        what = "is truncated" if "truncated" in str(error) else "is a damaged HDF5 file"
        raise ProfileError(what, where=where, hint=_COPY_AGAIN) from error


def _size_of_hdf5(path: Path) -> int:
    """The size of the file in bytes, once it is known to be a regular file that starts as HDF5 does."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _Refused("is a folder, not a profile")
        if not stat.S_ISREG(status.st_mode):
            raise _Refused("is not a regular file")
        with path.open("rb") as file:
            start = file.read(len(_SIGNATURE))
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise _Refused("there is no such profile", "Run 'modelscan fit' first, or check the path") from None
    except OSError as error:
        raise _Refused(f"cannot be read: {(error.strerror or 'error').lower()}", "Check the path") from error
    except ValueError as error:  # a NUL in the name
        raise _Refused("is not a valid path", "Check the path") from error
    if not start:
        raise _Refused("is empty", _COPY_AGAIN)
    if start != _SIGNATURE:
        raise _Refused("is not a profile: it is not an HDF5 file")
    return size


def _check_format(root: h5g.GroupID) -> str:
    """The version of the format, once it is known to be one that this reads."""
    if not h5a.exists(root, b"format") or _attribute(root, b"format") != FORMAT:
        raise _Refused("is an HDF5 file, but not a profile")
    version = _attribute(root, b"schema_version")
    match = re.fullmatch(r"(\d{1,6})\.(\d{1,6})", version)
    if match is None:
        raise _Refused("states no version of the profile format")
    major, minor = (int(part) for part in SCHEMA_VERSION.split("."))
    if int(match[1]) < major:
        raise _Refused(
            f"has profile format {version}, this version reads {SCHEMA_VERSION}", "Run 'modelscan fit' again"
        )
    # A newer minor version may hold what must not be ignored when scoring.
    if (int(match[1]), int(match[2])) > (major, minor):
        raise _Refused(f"has profile format {version}, this version reads {SCHEMA_VERSION}", "Upgrade latentscan")
    return version


def _attribute(root: h5g.GroupID, name: bytes) -> str:
    if not h5a.exists(root, name):
        raise _Refused(f"has no attribute {name.decode()}")
    attribute = h5a.open(root, name)
    kind = attribute.get_type()
    if kind.get_class() != h5t.STRING or kind.is_variable_str() or kind.get_size() > _MAX_ATTRIBUTE_BYTES:
        raise _Refused(f"has an attribute {name.decode()} of another type")
    if attribute.get_space().get_simple_extent_type() != h5s.SCALAR:
        raise _Refused(f"has an attribute {name.decode()} of another shape")
    value = np.zeros((), dtype=f"S{kind.get_size()}")
    attribute.read(value)
    return printable(value.item().decode("latin-1"))


@dataclass(frozen=True)
class _Dataset:
    """A data set that was found to be plain, not read yet."""

    name: str
    handle: h5d.DatasetID
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def _plain_datasets(root: h5g.GroupID, file_size: int) -> list[_Dataset]:
    """Every data set of the file, checked; together they claim no more bytes than the file has."""
    children = _children(
        root, limit=len(BYTE_DATASETS) + len(BAYESIAN_DATASETS) + len(OPTIONAL_BYTE_DATASETS) + len(GROUPS)
    )
    byte_datasets = BYTE_DATASETS + (BAYESIAN_DATASETS if BAYESIAN_DATASETS[0] in children else ())
    byte_datasets += tuple(name for name in OPTIONAL_BYTE_DATASETS if name in children)
    if children.keys() != {*byte_datasets, *GROUPS}:
        raise _Refused("does not hold what a profile holds")
    found = [_plain(name, children[name], "uint8", file_size) for name in byte_datasets]
    for group in GROUPS:
        if not isinstance(children[group], h5g.GroupID):
            raise _Refused(f"{group} is not a group")
        arrays = _children(children[group], limit=MAX_ARRAYS)
        found += [_plain(f"{group}/{name}", handle, "float64", file_size) for name, handle in arrays.items()]
    # Data sets may share bytes, one data set may have many names: the sum bounds what reading allocates.
    if sum(dataset.nbytes for dataset in found) > min(file_size, MAX_BYTES):
        raise _Refused("claims more data than it has")
    return found


def _children(group: h5g.GroupID, limit: int) -> dict[str, object]:
    if group.get_num_objs() > limit:
        raise _Refused(f"has a group of more than {limit} members")
    children = {}
    for raw in group:
        name = raw.decode("latin-1")
        if len(raw) > MAX_NAME_BYTES or quote(unquote(name)) != name:
            raise _Refused(f"has a member with an improper name, {printable(name, limit=100)}")
        if group.links.get_info(raw).type != h5l.TYPE_HARD:
            raise _Refused(f"{name} is a link to somewhere else")
        children[name] = h5o.open(group, raw)
    return children


def _plain(name: str, handle: object, dtype: str, file_size: int) -> _Dataset:
    if not isinstance(handle, h5d.DatasetID):
        raise _Refused(f"{name} is not a data set")
    # Storage before shape: asking a virtual data set for its shape may open the files it draws from.
    storage = handle.get_create_plist()
    if storage.get_layout() != h5d.CONTIGUOUS or storage.get_nfilters() or storage.get_external_count():
        raise _Refused(f"{name} is not stored plainly: chunked, compressed, virtual or in another file")
    if not handle.get_type().equal(_TYPES[dtype]):
        raise _Refused(f"{name} is not of type {dtype}")
    space = handle.get_space()
    if space.get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
        raise _Refused(f"{name} has no shape")
    dataset = _Dataset(name, handle, tuple(space.get_simple_extent_dims()), dtype)
    if len(dataset.shape) > (1 if dtype == "uint8" else MAX_DIMENSIONS):
        raise _Refused(f"{name} has too many dimensions")
    offset = handle.get_offset() or 0
    if handle.get_storage_size() != dataset.nbytes or offset + dataset.nbytes > file_size:
        raise _Refused(f"{name} claims more data than the file has")
    return dataset


def _read(datasets: list[_Dataset]) -> Profile:
    plan = {dataset.name: dataset for dataset in datasets}
    if plan["header"].nbytes > MAX_HEADER_BYTES:
        raise _Refused("has too large a header")
    text = _values(plan["header"]).tobytes()
    header = _header(text)
    grouped: dict[str, dict[str, NDArray[np.float64]]] = {group: {} for group in GROUPS}
    for dataset in datasets:
        group, slash, name = dataset.name.partition("/")
        if slash:
            grouped[group][unquote(name)] = _values(dataset)
    graph = _values(plan["graph"]).tobytes()
    posterior = _posterior(header, {name: _values(plan[name]) for name in BAYESIAN_DATASETS if name in plan})
    optional = {name: _values(plan[name]) for name in OPTIONAL_BYTE_DATASETS if name in plan}
    return Profile(
        header, graph, _values(plan["weights"]), grouped["calibration"], posterior, stored_header=text, **optional
    )


def _posterior(header: ProfileHeader, parts: dict[str, NDArray[Any]]) -> Posterior | None:
    """The posterior, once its blocks are known to lie within its buffers."""
    info = header.bayesian
    if info is None and not parts:
        return None
    if info is None or not parts:
        raise _Refused("has half of a Bayesian part", _COPY_AGAIN)
    graph, weights, stds = (parts[name] for name in BAYESIAN_DATASETS)
    blocks = tuple(WeightBlock(item.name, item.offset, item.shape) for item in info.weights)
    beyond = any(block.offset + 4 * block.size > len(weights) for block in blocks)
    if beyond or len(stds) != 4 * sum(block.size for block in blocks):
        raise _Refused("has Gaussian weights that do not fit its buffers", _COPY_AGAIN)
    deviations = stds.view("<f4")
    if not np.isfinite(deviations).all() or (deviations < 0).any():
        raise _Refused("has standard deviations that are negative or not finite", _COPY_AGAIN)
    return Posterior(graph.tobytes(), weights, deviations, blocks, info.inputs, info.samples, info.seed)


def _values(dataset: _Dataset) -> NDArray[Any]:
    values = np.empty(dataset.shape, dataset.dtype)
    if values.size:
        dataset.handle.read(h5s.ALL, h5s.ALL, values)
    return values


def _header(text: bytes) -> ProfileHeader:
    try:
        header = ProfileHeader.model_validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = printable(".".join(map(str, first["loc"])) or "header", limit=100)
        raise _Refused(f"has an invalid header: {field}: {printable(first['msg'], limit=200)}", _COPY_AGAIN) from error
    # JSON readers disagree about members of one name and the like: what is signed off is what everybody reads.
    if not _is_canonical(text):
        raise _Refused("has an invalid header: it is not in canonical form", _COPY_AGAIN)
    return header


def _is_canonical(text: bytes) -> bool:
    try:
        return canonical_json(json.loads(text)) == text
    except (ValueError, RecursionError):
        return False


def _verified(profile: Profile, version: str, digest: str) -> Profile:
    if profile.header.schema_version != version:
        raise _Refused(f"states profile format {version}, and its header {profile.header.schema_version}", _COPY_AGAIN)
    if profile.digest != digest:
        raise _Refused("does not match its own digest: it was altered or damaged", _COPY_AGAIN)
    if any(np.isnan(column).any() for column in profile.calibration.values()):
        raise _Refused("holds NaN in its calibration")
    return profile
