"""A whole graph as a PyTorch module, from images to logits, for gradients with respect to images."""

from __future__ import annotations

from scanner.graph.bundle import IMAGE, GraphBundle
from scanner.graph.torch_network import GraphNetwork
from scanner.graph.weights import Tail, TailInput


def image_network(bundle: GraphBundle) -> GraphNetwork:
    """The network as a module without parameters: nothing in it is trained.

    Args:
        bundle: From ``image`` to ``logits``, its first output.

    Raises:
        UnsupportedNodeError: If a node has no PyTorch form.
    """
    return GraphNetwork(Tail(bundle, (TailInput(IMAGE, None),), (), ()))
