"""A network graph together with its weights, kept apart.

Every initialiser larger than a kibibyte lives in one flat buffer and is referred to from the graph as
ONNX external data. The graph itself stays small, so that editing it is cheap, and networks larger than
the 2 GB which protobuf can serialise are carried the same way as small ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from scanner.base.errors import LatentscanError, ModelError

WEIGHTS: Final = "weights"
"""Name of the weights buffer: the ``location`` of all external data in a bundle's graph."""

IMAGE: Final = "image"
LOGITS: Final = "logits"
OPSET: Final = 20
IR_VERSION: Final = 10

_ALIGNMENT = 64
_INLINE_BYTES = 1024
_PROTOBUF_LIMIT = 2**31 - 2**20  # serialised messages end at 2 GiB; leave room for the graph's own bytes
_ELEMENT_TYPES: Mapping[int, np.dtype[np.generic]] = {
    onnx.TensorProto.FLOAT: np.dtype("<f4"),
    onnx.TensorProto.DOUBLE: np.dtype("<f8"),
    onnx.TensorProto.FLOAT16: np.dtype("<f2"),
    onnx.TensorProto.INT8: np.dtype("i1"),
    onnx.TensorProto.UINT8: np.dtype("u1"),
    onnx.TensorProto.INT16: np.dtype("<i2"),
    onnx.TensorProto.UINT16: np.dtype("<u2"),
    onnx.TensorProto.INT32: np.dtype("<i4"),
    onnx.TensorProto.UINT32: np.dtype("<u4"),
    onnx.TensorProto.INT64: np.dtype("<i8"),
    onnx.TensorProto.UINT64: np.dtype("<u8"),
    onnx.TensorProto.BOOL: np.dtype("?"),
}


@dataclass(frozen=True)
class GraphBundle:
    """A graph and the buffer with its large initialisers.

    Treat ``proto`` as read-only: to edit the graph, take :meth:`copy_proto`, change the copy, and call
    :meth:`from_model_proto` with the copy and the same weights.

    Attributes:
        proto: The model; its large initialisers are external data in ``weights``.
        weights: The flat buffer. Offsets into it are multiples of 64.
    """

    proto: onnx.ModelProto = field(repr=False)
    weights: bytes = field(repr=False)

    @classmethod
    def from_model_proto(cls, model: onnx.ModelProto, weights: bytes = b"", *, in_place: bool = False) -> GraphBundle:
        """Move every inline initialiser of more than a kibibyte into the weights buffer.

        Args:
            model: The model. It is not changed, unless ``in_place`` allows it.
            weights: A buffer that external data of the model already refers to; moved initialisers
                are appended to it. So a graph made of a bundle's graph and new nodes becomes a bundle
                again.
            in_place: Take ``model`` over instead of a copy: half the memory, for a model of one's own.

        Raises:
            ModelError: External data that does not lie within ``weights``.
        """
        proto = model
        if not in_place:
            proto = onnx.ModelProto()
            proto.CopyFrom(model)
        buffer = WeightsBuffer(weights)
        moved = False
        for tensor in proto.graph.initializer:
            if is_external(tensor):
                external_range(tensor, len(weights))
                continue
            data = _inline_bytes(tensor)
            if data is not None and len(data) > _INLINE_BYTES:
                refer(tensor, buffer.append(data), len(data))
                moved = True
        return cls(_compact(proto) if moved else proto, buffer.to_bytes())

    def copy_proto(self) -> onnx.ModelProto:
        """The graph as a message of its own, safe to edit."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return proto

    def to_model_proto(self, *, error: type[LatentscanError] = ModelError) -> onnx.ModelProto:
        """The model as one self-contained message, with all weights inline.

        Raises:
            ModelError: (or ``error``) The result would exceed what an ONNX file can hold in one piece.
        """
        if len(self.weights) > _PROTOBUF_LIMIT:
            raise error(
                f"the graph has {len(self.weights) / 2**30:.1f} GiB of weights, and a single ONNX file holds 2 GiB",
                hint="Keep the weights beside the graph as external data",
            )
        proto = self.copy_proto()
        for tensor in proto.graph.initializer:
            if is_external(tensor):
                start, length = external_range(tensor, len(self.weights))
                tensor.ClearField("external_data")
                tensor.data_location = onnx.TensorProto.DEFAULT
                tensor.raw_data = self.weights[start : start + length]
        return proto

    def serialise(self) -> tuple[bytes, bytes]:
        """The graph as protobuf bytes, the same for the same graph, and the weights buffer."""
        return self.proto.SerializeToString(deterministic=True), self.weights


class WeightsBuffer:
    """A growing weights buffer that aligns what is appended."""

    def __init__(self, initial: bytes = b"") -> None:
        self._initial = initial
        self._added = BytesIO()

    def append(self, data: bytes | memoryview) -> int:
        """Add ``data`` and return its offset, a multiple of 64."""
        end = len(self._initial) + self._added.tell()
        self._added.write(b"\0" * (-end % _ALIGNMENT))
        offset = len(self._initial) + self._added.tell()
        self._added.write(data)
        return offset

    def to_bytes(self) -> bytes:
        """The whole buffer; the initial one itself when nothing was added. Nothing is copied where it was empty."""
        return self._initial + self._added.getvalue() if self._added.tell() else self._initial


def _compact(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same message without the room of values that were taken out of it, which protobuf keeps."""
    compact = onnx.ModelProto()
    compact.ParseFromString(proto.SerializeToString())
    return compact


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor's values are stored outside the message."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def refer(tensor: onnx.TensorProto, offset: int, length: int) -> None:
    """Replace the values of ``tensor`` by a reference to ``length`` bytes of the weights buffer."""
    for values in ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data"):
        tensor.ClearField(values)
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def external_range(tensor: onnx.TensorProto, size: int) -> tuple[int, int]:
    """Offset and length of a tensor's values in a weights buffer of ``size`` bytes.

    Raises:
        ModelError: The reference is not into the buffer, or disagrees with the tensor's type and shape.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    element = _ELEMENT_TYPES.get(tensor.data_type)
    offset, length = _decimal(entries.get("offset", "0")), _decimal(entries.get("length", ""))
    if entries.get("location") != WEIGHTS or offset is None or length is None or element is None:
        raise ModelError(f"initialiser {tensor.name!r} refers to data outside the weights buffer")
    if any(dim < 0 for dim in tensor.dims) or length != element_count(tensor.dims) * element.itemsize:
        raise ModelError(f"the data of initialiser {tensor.name!r} does not fit its shape")
    if offset + length > size:
        raise ModelError(f"the data of initialiser {tensor.name!r} ends beyond the weights buffer")
    return offset, length


def element_count(dims: Iterable[int]) -> int:
    """Product of dimensions, in Python integers: hostile ones cannot overflow."""
    count = 1
    for dim in dims:
        count *= int(dim)
    return count


def element_type(tensor: onnx.TensorProto) -> np.dtype[np.generic] | None:
    """NumPy type of the tensor's elements as they are stored, or None for types that stay inline."""
    return _ELEMENT_TYPES.get(tensor.data_type)


def _decimal(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else None


def _inline_bytes(tensor: onnx.TensorProto) -> bytes | None:
    element = _ELEMENT_TYPES.get(tensor.data_type)
    if element is None:
        return None
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    return numpy_helper.to_array(tensor).astype(element, copy=False).tobytes()
