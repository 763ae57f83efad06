"""What a model file is, told from its content alone; nothing of it is executed.

The suffix ``.pt`` alone stands for four formats. What is said here serves messages and refusals; whether a
pickle is safe is decided by PyTorch's restricted unpickler when it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Final

from scanner.base.errors import ModelError
from scanner.base.files import open_regular
from scanner.base.text import printable
from scanner.graph.onnx_outline import outline_file
from scanner.models.beside import digest_beside, open_named
from scanner.models.conversions import COREML, KERAS_2, OPENVINO, TFLITE, YOLO
from scanner.models.folder import model_file
from scanner.models.foreign import unusual_calls
from scanner.models.onnx_recognition import is_onnx
from scanner.models.pickles import (
    PROTOCOLS,
    UNREADABLE,
    PickleImports,
    legacy_checkpoint_imports,
    loose_pickle_imports,
    pickle_imports,
    rebuilds_tensors,
)
from scanner.models.select_state import find_states
from scanner.models.shards import Index, digest_of, read_index
from scanner.models.stored import read_stored_file

MAX_FILE_BYTES: Final = 16 * 2**30
MAX_PICKLE_BYTES: Final = 128 * 2**20
"""What is looked at of pickles."""

_MAX_SAFETENSORS_HEADER = 100 * 2**20  # the limit of the safetensors library
_MAX_ZIP_MEMBERS = 200_000
_MAX_IMPORTS = 100
_MAX_LOOSE_BYTES = 16 * 2**20
_MODEL_SUFFIXES = (".safetensors", ".onnx", ".bin", ".pt", ".pth")
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".p", ".joblib")
_HEAD_BYTES = 4096


class FileKind(StrEnum):
    """The kinds of file that matter here."""

    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    STATE_DICT = "state-dict"
    TORCHSCRIPT = "torchscript"
    EXPORTED_PROGRAM = "exported-program"
    PICKLED_MODULE = "pickled-module"
    PICKLE = "pickle"
    KERAS = "keras"
    HDF5_PROFILE = "hdf5"
    UNKNOWN = "unknown"


PROGRAMS: Final = frozenset({FileKind.TORCHSCRIPT, FileKind.EXPORTED_PROGRAM, FileKind.PICKLED_MODULE, FileKind.PICKLE})
"""Kinds whose loading runs code from the file."""

WEIGHTS: Final = (FileKind.SAFETENSORS, FileKind.STATE_DICT)
"""Kinds that hold tensors alone, or nothing else that is read."""


@dataclass(frozen=True)
class ModelFile:
    """A file and what its content is.

    Attributes:
        path: As given.
        kind: Told from the content.
        sha256: Hexadecimal digest of the whole file; where others beside it hold its weights, that of what
            ``sha256sum`` prints for it and then for them.
        size: In bytes, of all of them.
        description: What the content is, for a sentence: "a PyTorch state dict".
        imports: What unpickling the file would import, as ``module.name``, what does more than rebuild
            tensors first; empty for other formats.
        shards: Names of the files beside this one that hold its weights, where it is an index of them.
    """

    path: Path
    kind: FileKind
    sha256: str
    size: int
    description: str
    imports: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Finding:
    kind: FileKind
    description: str
    imports: tuple[str, ...] = ()


def identify(path: Path) -> ModelFile:
    """Read a file and tell what it is; of a folder, the model in it.

    Raises:
        ModelError: The file is missing, not a regular file, empty, unreadable, or larger than 16 GiB; or a folder
            without a model, or with several.
    """
    path = model_file(path)
    with open_regular(path) as file:
        found = _identify(path, file)
        if found.kind is FileKind.ONNX:
            return _with_external(found, file)
        try:
            index = read_index(file) if found.kind is FileKind.UNKNOWN else None
        except ModelError as error:
            raise type(error)(error.what, where=str(path), hint=error.hint) from None
    return found if index is None else _with_shards(found, index)


def _identify(path: Path, file: BufferedReader) -> ModelFile:
    """What one open file is."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise ModelError("the file is empty", where=str(path), hint="Check how it was copied or downloaded")
    if size > MAX_FILE_BYTES:
        raise ModelError(f"the file has {size / 2**30:.0f} GiB; at most 16 GiB are read", where=str(path))
    try:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        finding = _look(file, size)
    except OSError as error:
        raise ModelError(f"the file cannot be read ({error.strerror})", where=str(path)) from error
    return ModelFile(path, finding.kind, digest, size, finding.description, finding.imports)


def _with_external(found: ModelFile, file: BufferedReader) -> ModelFile:
    """With what an ONNX file refers to; as it is where that cannot be told or read, of which loading it says why."""
    try:
        file.seek(0)
        digests, size = digest_beside(found.path, outline_file(file, found.size).external)
    except (ModelError, OSError):
        return found
    digest = digest_of((found.path.name, found.sha256), digests) if digests else found.sha256
    return replace(found, sha256=digest, size=found.size + size)


def _with_shards(index_file: ModelFile, index: Index) -> ModelFile:
    """The files of an index as one model: weights, or what the worst of them is."""
    found: dict[str, ModelFile] = {}
    path = index_file.path
    try:
        for name in index.files:
            with open_named(path, name) as file:
                found[name] = _identify(path.with_name(name), file)
        odd = next((each for each in found.values() if each.kind not in WEIGHTS), None)
        size = index_file.size + sum(each.size for each in found.values())
        if odd is None and len(kinds := {each.kind for each in found.values()}) > 1:
            raise ModelError(f"the index of the weights names files of several formats: {', '.join(sorted(kinds))}")
        if odd is not None and odd.kind not in PROGRAMS:
            raise ModelError(f"the index of the weights names '{printable(odd.path.name)}': {odd.description}")
        if size > MAX_FILE_BYTES:
            raise ModelError(f"the files have {size / 2**30:.0f} GiB; at most 16 GiB are read")
    except ModelError as error:
        raise type(error)(error.what, where=error.where or str(path), hint=error.hint) from error
    shown = odd or found[index.files[0]]
    several = f"weights in {len(found)} files with an index"
    told = f"{several}, each {shown.description}" if odd is None else f"{several}; one is {shown.description}"
    digest = digest_of((path.name, index_file.sha256), {name: each.sha256 for name, each in found.items()})
    imports = _shown({name for each in found.values() for name in each.imports})
    return ModelFile(path, shown.kind, digest, size, told, imports, index.files)


def _look(file: BufferedReader, size: int) -> _Finding:
    head = file.read(_HEAD_BYTES)
    for magic, recognise in _BY_MAGIC:
        if head.startswith(magic):
            return recognise(file, size, head)
    if _is_safetensors(file, size, head):
        return _Finding(FileKind.SAFETENSORS, "a safetensors file: tensors only")
    if is_onnx(file, size):
        return _Finding(FileKind.ONNX, "an ONNX model")
    if (loose := _loose_pickle(file, size)) is not None:
        return _other(loose)
    return _Finding(FileKind.UNKNOWN, _resemblance(head))


def _zip_archive(file: BufferedReader, _size: int, _head: bytes) -> _Finding:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > _MAX_ZIP_MEMBERS:
                return _Finding(FileKind.UNKNOWN, f"a zip archive of {len(members)} members, more than any model has")
            return _torch_zip(file, archive, {_below_root(member.filename): member for member in members})
    except OSError:
        raise
    except Exception:  # zipfile and its decompressors raise nearly anything on damaged archives
        return _Finding(FileKind.UNKNOWN, "a damaged or truncated zip archive (PyTorch checkpoints are zip archives)")


def _torch_zip(file: BufferedReader, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> _Finding:
    """PyTorch puts everything below one folder named after the file."""
    names = set(members)
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return _Finding(FileKind.TORCHSCRIPT, "a TorchScript archive: a program, which loading would run")
    if {"archive_format", "serialized_exported_program.json"} & names or any(
        name.startswith("models/") and name.endswith(".json") for name in names
    ):
        return _Finding(FileKind.EXPORTED_PROGRAM, "a torch.export program (.pt2), which may hold pickles")
    if "data.pkl" in names:
        return _from_imports(file, _all_imports(archive, archive.infolist()), "a PyTorch checkpoint")
    if any(name.endswith(".npy") for name in names):
        return _Finding(FileKind.UNKNOWN, "a NumPy archive (.npz), not a model")
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return _Finding(FileKind.KERAS, "a Keras archive (.keras)")
    if "Manifest.json" in names and any(name.endswith(".mlmodel") for name in names):
        return _Finding(FileKind.UNKNOWN, f"a Core ML package, which is not supported: {COREML}")
    if packed := [name for name in sorted(names) if name.endswith(_MODEL_SUFFIXES)]:
        return _Finding(FileKind.UNKNOWN, f"a zip archive with '{printable(packed[0], 60)}' in it: unpack it first")
    return _Finding(FileKind.UNKNOWN, "a zip archive, but not one of PyTorch's")


def _all_imports(archive: zipfile.ZipFile, members: Iterable[zipfile.ZipInfo]) -> PickleImports:
    """Of every pickle in an archive, whatever it is called: which of them are loaded depends on who loads."""
    names: set[str] = set()
    left = MAX_PICKLE_BYTES
    for member in members:
        with archive.open(member) as stream:
            head = stream.read(2)
            named = member.filename.endswith(_PICKLE_SUFFIXES)
            if not named and not (len(head) == 2 and head[0] == 0x80 and head[1] in PROTOCOLS):
                continue
            data = head + stream.read(max(left, 0))
        left -= len(data)
        found = pickle_imports(data)
        # Weights may begin like a pickle by chance: those that are none import nothing that can be told.
        if named or not found.damaged or found.names - {UNREADABLE}:
            names.update(found.names)
    return PickleImports(frozenset(names))


def _below_root(name: str) -> str:
    return name.partition("/")[2] or name


def _legacy_pickle(file: BufferedReader, _size: int, _head: bytes) -> _Finding:
    file.seek(0)
    imports, is_torch = legacy_checkpoint_imports(BytesIO(file.read(MAX_PICKLE_BYTES)))
    if not is_torch:
        return _other(imports)
    return _from_imports(file, imports, "a PyTorch checkpoint in the format before 1.6")


def _loose_pickle(file: BufferedReader, size: int) -> PickleImports | None:
    """A pickle of protocol 0 or 1, which begins with any instruction."""
    if size > _MAX_LOOSE_BYTES:
        return None
    file.seek(0)
    return loose_pickle_imports(file.read(size))


def _other(imports: PickleImports) -> _Finding:
    return _Finding(FileKind.PICKLE, "a Python pickle, which loading would run", _shown(imports.names))


def _from_imports(file: BufferedReader, imports: PickleImports, what: str) -> _Finding:
    names = _shown(imports.names)
    if imports.only_tensors:
        return _Finding(FileKind.STATE_DICT, f"{what} of tensors only", names)
    if _has_weights(file):
        more = "a PyTorch checkpoint that holds more than tensors, which is skipped"
        return _Finding(FileKind.STATE_DICT, what.replace("a PyTorch checkpoint", more, 1), names)
    if imports.holds_module:
        yolo = f"; for Ultralytics: {YOLO}" if any(name.startswith("ultralytics.") for name in imports.names) else ""
        described = f"{what} of a whole pickled module, which loading would run{yolo}"
        return _Finding(FileKind.PICKLED_MODULE, described, names)
    return _Finding(FileKind.PICKLE, f"{what} that holds more than tensors, which loading would run", names)


def _has_weights(file: BufferedReader) -> bool:
    """Whether there are weights beside other objects, none of which is a call that no training script writes."""
    file.seek(0)
    try:
        stored = read_stored_file(file)
    except ModelError:
        return False
    return not unusual_calls(stored) and bool(find_states(stored.content))


def _shown(names: Iterable[str]) -> tuple[str, ...]:
    """Bounded and printable, because these come from the file; what does more than rebuild tensors first."""
    clean = ("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name) for name in names)
    return tuple(sorted((name[:200] for name in clean), key=lambda name: (rebuilds_tensors(name), name))[:_MAX_IMPORTS])


def _hdf5(_file: BufferedReader, _size: int, _head: bytes) -> _Finding:
    return _Finding(FileKind.HDF5_PROFILE, f"an HDF5 file: a profile, or a model of Keras 2 (not supported: {KERAS_2})")


def _named(description: str) -> Callable[[BufferedReader, int, bytes], _Finding]:
    def finding(_file: BufferedReader, _size: int, _head: bytes) -> _Finding:
        return _Finding(FileKind.UNKNOWN, description)

    return finding


_BY_MAGIC: Final[tuple[tuple[bytes, Callable[[BufferedReader, int, bytes], _Finding]], ...]] = (
    (b"PK\x03\x04", _zip_archive),
    (b"PK\x05\x06", _named("an empty zip archive")),
    *((bytes((0x80, protocol)), _legacy_pickle) for protocol in range(2, 6)),
    (b"\x89HDF\r\n\x1a\n", _hdf5),
    (b"version https://git-lfs", _named("a Git LFS pointer, not the model itself: run `git lfs pull`")),
    (b"GGUF", _named("a GGUF language model, not an image classifier")),
    (b"\x93NUMPY", _named("a NumPy array (.npy), not a model")),
    (b"\x1f\x8b", _named("a gzip archive: unpack it first")),
    (b"\x89PNG", _named("a PNG image, not a model")),
    (b"\xff\xd8\xff", _named("a JPEG image, not a model")),
    (b"\x7fELF", _named("an ELF program, not a model")),
    (b"<!DOCTYPE html", _named("an HTML page, not a model: the download went wrong")),
    (b"<html", _named("an HTML page, not a model: the download went wrong")),
)


def _is_safetensors(file: BufferedReader, size: int, head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    if size < 10 or head[8:9] != b"{" or not 2 <= length <= min(size - 8, _MAX_SAFETENSORS_HEADER):
        return False
    file.seek(8)
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and all(
        key == "__metadata__" or (isinstance(value, dict) and "data_offsets" in value) for key, value in header.items()
    )


def _resemblance(head: bytes) -> str:
    if head[4:8] == b"TFL3":
        return f"a TensorFlow Lite model, which is not supported: {TFLITE}"
    if len(head) > 262 and head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start > len(head) - 4 else ""
    if text.lstrip().startswith("<?xml") and "<net " in text:
        return f"an OpenVINO model, which is not supported: {OPENVINO}"
    if text and all(char.isprintable() or char in "\r\n\t" for char in text):
        return f"a text file that starts with {' '.join(text.split())[:40]!r}"
    return "in no format that is known here"
