"""Which execution providers really work here: the library lists those it was built with."""

from __future__ import annotations

import contextlib

from scanner.base.errors import DeviceError
from scanner.graph.session import GraphSession

# ONNX model of one node, Identity(x) -> y, opset 20, serialised.
_IDENTITY = bytes.fromhex(
    "08083a390a100a017812017922084964656e746974791201675a100a0178120b0a09080112050a0312016e62100a0179120b"
    "0a09080112050a0312016e42040a001014"
)


def usable_providers() -> list[str]:
    """Names of the providers that a session really gets, best first."""
    providers = [GraphSession(_IDENTITY, device="cpu").provider]
    with contextlib.suppress(DeviceError):
        providers.insert(0, GraphSession(_IDENTITY, device="cuda").provider)
    return providers
