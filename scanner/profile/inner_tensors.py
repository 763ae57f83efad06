"""A profile's graph with inner tensors as further outputs, without the library that a scan does not bring.

Two serialised messages one after the other are their merger (protobuf's encoding, "Last One Wins"): a model that has
nothing but a graph with the wanted outputs is appended to the profile's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scanner.base.errors import ProfileError
from scanner.graph.session import GraphSession
from scanner.profile.content import Profile

_MODEL_GRAPH: Final = 7
_GRAPH_OUTPUT: Final = 12
_VALUE_NAME: Final = 1


def open_inner_tensors(profile: Profile, names: Sequence[str], present: Sequence[str]) -> GraphSession:
    """A session on the CPU from ``pixels`` to the named tensors.

    Args:
        profile: A profile whose graph was found to be safe.
        names: Tensors of its graph.
        present: Outputs that the graph has anyway.

    Raises:
        ProfileError: If the graph does not have them.
    """
    graph = with_outputs(profile.graph, [name for name in names if name not in present])
    return GraphSession(graph, profile.weights, device="cpu", error=ProfileError)


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """A serialised ONNX model with further outputs, of whatever type they are.

    >>> with_outputs(b"", ["a"]).hex(" ")
    '3a 05 62 03 0a 01 61'
    """
    outputs = b"".join(_field(_GRAPH_OUTPUT, _field(_VALUE_NAME, name.encode())) for name in names)
    return model + _field(_MODEL_GRAPH, outputs) if names else model


def _field(number: int, content: bytes) -> bytes:
    """One field of bytes: key, length, content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    result = b""
    while value >= 0x80:
        result += bytes([value & 0x7F | 0x80])
        value >>= 7
    return result + bytes([value])
