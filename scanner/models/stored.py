"""The tensors of a PyTorch checkpoint or safetensors file: names, shapes and where their bytes are; nothing is run.

A checkpoint may hold more than tensors: options, metrics, optimisers' state. Those are skipped here, since what would
make them is never called.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, Final

from scanner.base.errors import ModelError
from scanner.base.files import open_regular
from scanner.models.pickle_machine import Imported, Made, Persistent, Reading, read_pickle

_MAX_PICKLE_BYTES: Final = 128 * 2**20
_MAX_HEADER: Final = 100 * 2**20
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_MAX_DIMENSIONS: Final = 16
_MAX_DEPTH: Final = 40

_STORAGES: Final[Mapping[str, str]] = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
ITEM_BYTES: Final[Mapping[str, int]] = {
    **{"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2},
    **{"int8": 1, "uint8": 1, "bool": 1},
}
_SAFE_TYPES: Final[Mapping[str, str]] = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"},
    **{"I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"},
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a file describes it.

    Attributes:
        shape: Its shape.
        dtype: Element type as PyTorch calls it; ``unknown`` where it is none of the usual ones.
        storage: Name of its storage in the file.
        offset: Elements before its first one.
        stride: Elements from one to the next, by axis.
    """

    shape: tuple[int, ...]
    dtype: str
    storage: str = ""
    offset: int = 0
    stride: tuple[int, ...] = ()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass(frozen=True)
class Stored:
    """A file's content without the tensors' bytes.

    Attributes:
        content: Containers as they are, tensors as :class:`StoredTensor`, all else as records.
        imports: What loading the file with Python would import.
        calls: What it would call, beyond rebuilding tensors.
        classes: Of what it would make objects.
        storages: For files of PyTorch before 1.6: offset and length in bytes of every storage.
        big_endian: Whether the bytes of the elements are in the other order.
    """

    content: object
    imports: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    storages: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    big_endian: bool = False


def read_stored(path: Path) -> Stored:
    """Read what a checkpoint or a safetensors file holds.

    Raises:
        ModelError: It is damaged, or neither.
    """
    with open_regular(path) as file:
        return read_stored_file(file)


def read_stored_file(file: BufferedReader) -> Stored:
    """The same of an open file."""
    head = file.read(16)
    file.seek(0)
    if head.startswith(b"PK"):
        return _zip(file)
    if head[8:9] == b"{":
        return _safetensors(file)
    return _legacy(file)


def _safetensors(file: BufferedReader) -> Stored:
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(min(length, _MAX_HEADER)))
        tensors = {
            str(name): StoredTensor(
                tuple(int(size) for size in entry["shape"]), _SAFE_TYPES.get(entry["dtype"], "unknown")
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("the safetensors file is damaged") from error
    return Stored(tensors)


def _zip(file: BufferedReader) -> Stored:
    try:
        with zipfile.ZipFile(file) as archive:
            names = {name.partition("/")[2]: name for name in archive.namelist()}
            with archive.open(names["data.pkl"]) as stream:
                pickled = stream.read(_MAX_PICKLE_BYTES + 1)
            order = archive.read(names["byteorder"]) if "byteorder" in names else b"little"
    except (KeyError, ValueError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ModelError("the checkpoint is damaged (its archive cannot be read)") from error
    except Exception as error:  # decompressors raise nearly anything
        raise ModelError("the checkpoint is damaged (its archive cannot be read)") from error
    if len(pickled) > _MAX_PICKLE_BYTES:
        raise ModelError("the checkpoint's pickle is larger than that of any network")
    return _stored(read_pickle(BytesIO(pickled)), {}, big_endian=order.strip() == b"big")


def _legacy(file: BufferedReader) -> Stored:
    """The pickles of a magic number, a version, system information, the object and the storages' keys; then bytes."""
    if read_pickle(file).content != _LEGACY_MAGIC:
        raise ModelError("not a PyTorch checkpoint")
    read_pickle(file)
    system = read_pickle(file).content
    reading = read_pickle(file)
    keys = read_pickle(file).content
    sizes = dict(_storage_sizes(reading.content))
    size = os.fstat(file.fileno()).st_size
    storages: dict[str, tuple[int, int]] = {}
    for key in keys if isinstance(keys, list) else []:
        count = int.from_bytes(file.read(8), "little")
        length = count * sizes.get(str(key), 0)
        if file.tell() + length > size:
            raise ModelError("the checkpoint is damaged (it is cut off)")
        storages[str(key)] = (file.tell(), length)
        file.seek(length, os.SEEK_CUR)
    little = system.get("little_endian", True) if isinstance(system, dict) else True
    return _stored(reading, storages, big_endian=not little)


def _storage_sizes(content: object) -> Iterator[tuple[str, int]]:
    """Bytes an element of every storage, by its key."""
    for value in _everything(content):
        if isinstance(value, Persistent) and (found := _storage(value)) is not None:
            yield found[0], ITEM_BYTES.get(found[1], 0)


def _everything(content: object) -> Iterator[object]:
    pending, seen = [content], set[int]()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            pending.extend(value.values())
        if isinstance(value, list | tuple | set | frozenset):
            pending.extend(value)
        if isinstance(value, Made):
            pending += [value.arguments, value.state]


def _stored(reading: Reading, storages: Mapping[str, tuple[int, int]], *, big_endian: bool) -> Stored:
    known = frozenset(_REBUILDERS) | _PLAIN
    content = _resolved(reading.content)
    imports, calls = frozenset(reading.imports), frozenset(reading.calls) - known
    return Stored(content, imports, calls, frozenset(reading.classes), storages, big_endian)


def _resolved(content: object) -> object:
    """Tensors in the place of the calls that would have made them, in mappings; each container once."""
    top = {"": content}
    pending: list[dict[Any, Any]] = [top]
    seen: set[int] = set()
    while pending:
        mapping = pending.pop()
        if id(mapping) in seen:
            continue
        seen.add(id(mapping))
        for key, value in mapping.items():
            tensor = tensor_of(value)
            if tensor is not None:
                mapping[key] = tensor
            elif isinstance(value, dict):
                pending.append(value)
    return top[""]


def tensor_of(value: object, depth: int = 0) -> StoredTensor | None:
    """The tensor that a call would have rebuilt, or None."""
    if not isinstance(value, Made) or depth > _MAX_DEPTH or not isinstance(value.arguments, tuple):
        return None
    rebuild = _REBUILDERS.get(value.name)
    try:
        return None if rebuild is None else rebuild(value.arguments, depth + 1)
    except (ValueError, IndexError, TypeError, AttributeError):
        return None


def _rebuilt(arguments: tuple[Any, ...], _depth: int) -> StoredTensor | None:
    """Of storage, offset, shape, strides, and what follows."""
    storage, offset, shape, stride = arguments[:4]
    found = _storage(storage)
    shape = _sizes(shape)
    if found is None or not isinstance(offset, int):
        return None
    return StoredTensor(shape, found[1], found[0], offset, _sizes(stride))


def _inner(arguments: tuple[Any, ...], depth: int) -> StoredTensor | None:
    """Of a parameter: its tensor comes first."""
    return tensor_of(arguments[0], depth)


def _typed(arguments: tuple[Any, ...], depth: int) -> StoredTensor | None:
    """Of a function, a type, the function's arguments, and state."""
    return tensor_of(Made(arguments[0], arguments[2]), depth)


def _unknown(arguments: tuple[Any, ...], _depth: int) -> StoredTensor | None:
    """Quantised, sparse and the like: named, so that they are refused by name, and never read."""
    return StoredTensor((), "unknown")


def _sizes(value: object) -> tuple[int, ...]:
    if isinstance(value, Made) and value.name == "torch.Size" and isinstance(value.arguments, tuple):
        value = value.arguments[0]
    if not isinstance(value, tuple | list) or len(value) > _MAX_DIMENSIONS:
        raise ValueError("not a shape")
    if not all(isinstance(size, int) and 0 <= size < 2**48 for size in value):
        raise ValueError("not a shape")
    return tuple(int(size) for size in value)


def _storage(value: object) -> tuple[str, str] | None:
    """Key and element type of a storage."""
    reference = value.reference if isinstance(value, Persistent) else None
    if not isinstance(reference, tuple) or len(reference) < 3 or reference[0] != "storage":
        return None
    kind = reference[1]
    name = kind.name.rpartition(".")[2] if isinstance(kind, Imported) else ""
    return str(reference[2]), _STORAGES.get(name, "unknown")


_REBUILDERS: Final[dict[str, Callable[[tuple[Any, ...], int], StoredTensor | None]]] = {
    "torch._utils._rebuild_tensor": _rebuilt,
    "torch._utils._rebuild_tensor_v2": _rebuilt,
    "torch._utils._rebuild_parameter": _inner,
    "torch._utils._rebuild_parameter_with_state": _inner,
    "torch._tensor._rebuild_from_type_v2": _typed,
    "torch._utils._rebuild_qtensor": _unknown,
    "torch._utils._rebuild_sparse_tensor": _unknown,
}
_PLAIN: Final = frozenset(
    {
        *("torch.Size", "torch.device", "torch.serialization._get_layout", "_codecs.encode"),
        *("builtins.set", "builtins.bytearray", "builtins.frozenset"),
    }
)
