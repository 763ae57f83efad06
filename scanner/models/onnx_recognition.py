"""Whether a file is an ONNX model, which has no magic number."""

from __future__ import annotations

from io import BufferedReader
from typing import Final

_MODEL_PROTO_WIRE_TYPES: Final = {
    1: 0,  # ir_version
    2: 2,  # producer_name
    3: 2,  # producer_version
    4: 2,  # domain
    5: 0,  # model_version
    6: 2,  # doc_string
    7: 2,  # graph
    8: 2,  # opset_import
    14: 2,  # metadata_props
    20: 2,  # training_info
    25: 2,  # functions
    26: 2,  # configuration
}
_GRAPH_FIELD, _OPSET_FIELD = 7, 8


def is_onnx(file: BufferedReader, size: int) -> bool:
    """Whether the top level of the file is a ``ModelProto``: known fields, up to exactly the end, with a graph."""
    position = 0
    seen: set[int] = set()
    for _ in range(100_000):
        if position == size:
            return {_GRAPH_FIELD, _OPSET_FIELD} <= seen
        file.seek(position)
        buffer = file.read(20)
        key, used = _varint(buffer)
        value, length = _varint(buffer[used:])
        field, wire = key >> 3, key & 7
        if not used or not length or _MODEL_PROTO_WIRE_TYPES.get(field) != wire:
            return False
        position += used + length + (value if wire == 2 else 0)
        if position > size:
            return False
        seen.add(field)
    return False


def _varint(buffer: bytes) -> tuple[int, int]:
    """The value of a protobuf varint and its length in bytes; length 0 when there is none."""
    value = 0
    for index, byte in enumerate(buffer[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    return 0, 0
