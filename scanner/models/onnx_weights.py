"""Fetching the external data of an ONNX file from regular files beside it. Runs in the child process."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import onnx

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.graph.bundle import GraphBundle, WeightsBuffer, element_count, element_type, is_external, refer
from scanner.graph.onnx_rules import DENSE, INLINE
from scanner.models.beside import MAX_EXTERNAL_BYTES, open_beside, too_large
from scanner.models.onnx_walk import constant_tensors, printable


def with_weights(model: onnx.ModelProto, folder: Path) -> tuple[GraphBundle, list[str]]:
    """The model as a bundle, external data fetched; never through links, never from outside ``folder``.

    Args:
        model: Taken over and changed.
        folder: Where the model file lies.

    Returns:
        The bundle, and a note with name and digest for every file that was read.

    Raises:
        UnsafeModelError: Data outside the folder, behind a link, or where only initialisers may refer to it.
        ModelError: Data that is missing, truncated or malformed.
    """
    graph = model.graph
    if graph.sparse_initializer:
        raise ModelError("the graph has sparse initialisers, which are not supported", hint=DENSE)
    if any(is_external(tensor) for tensor in constant_tensors(graph)):
        raise UnsafeModelError("constants within the graph refer to external data", hint=INLINE)
    external = [tensor for tensor in graph.initializer if is_external(tensor)]
    buffer = WeightsBuffer()
    notes: list[str] = []
    files: dict[str, memoryview] = {}
    for tensor in external:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in files:
            files[location] = memoryview(_read_beside(folder, location, sum(map(len, files.values()))))
            digest = hashlib.sha256(files[location]).hexdigest()
            notes.append(f"external data {printable(location)!r}, sha256 {digest}")
        offset, length = _range(tensor, entries, len(files[location]))
        refer(tensor, buffer.append(files[location][offset : offset + length]), length)
    return GraphBundle.from_model_proto(model, buffer.to_bytes(), in_place=True), notes


def _range(tensor: onnx.TensorProto, entries: dict[str, str], size: int) -> tuple[int, int]:
    element = element_type(tensor)
    if element is None or any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"external tensor {printable(tensor.name)!r} has an unsupported type or shape")
    length = element_count(tensor.dims) * element.itemsize
    offset = entries.get("offset", "0")
    stated = entries.get("length", str(length))
    if not (offset.isascii() and offset.isdigit()) or len(offset) > 19 or stated != str(length):
        raise ModelError(f"external tensor {printable(tensor.name)!r} has a malformed reference")
    if int(offset) + length > size:
        raise ModelError(f"the external data of tensor {printable(tensor.name)!r} is truncated")
    return int(offset), length


def _read_beside(folder: Path, location: str, already: int) -> bytes:
    with open_beside(folder, location) as file:
        size = os.fstat(file.fileno()).st_size
        if already + size > MAX_EXTERNAL_BYTES:
            raise too_large(location)
        return file.read(size)
