"""A profile's graph with inner tensors as its outputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from scanner.base.errors import ProfileError
from scanner.graph.bundle import GraphBundle
from scanner.graph.measure import open_tensors
from scanner.graph.session import GraphSession
from scanner.profile.content import Profile


def open_inner_tensors(profile: Profile, names: Sequence[str]) -> GraphSession:
    """A session on the CPU from ``pixels`` to the named tensors.

    Raises:
        ProfileError: If the graph is damaged, or does not have them.
    """
    try:
        proto = onnx.load_model_from_string(profile.graph)
    except Exception as error:  # protobuf raises its own classes
        raise ProfileError(f"the profile's graph is not a valid ONNX model ({type(error).__name__})") from None
    produced = {name for node in proto.graph.node for name in node.output}
    if missing := sorted(set(names) - produced):
        raise ProfileError(f"its graph has no tensor {missing[0]!r}", hint="Fit the profile again")
    return open_tensors(GraphBundle(proto, profile.weights.tobytes()), names)
