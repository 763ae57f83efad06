"""Walking all of an ONNX graph, and showing its strings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx

_MAX_CALLS = 100


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of a control-flow node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of the graph and of all graphs within it."""
    for node in graph.node:
        yield node
        for part in subgraphs(node):
            yield from all_nodes(part)


def expanded_nodes(model: onnx.ModelProto) -> float:
    """Nodes of the model once all calls of its own functions are expanded; infinite where they call themselves."""
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    sizes: dict[tuple[str, str], float] = {}

    def size(nodes: Iterable[onnx.NodeProto], within: frozenset[tuple[str, str]]) -> float:
        total = 0.0
        for node in nodes:
            total += 1 + sum(size(part.node, within) for part in subgraphs(node))
            key = (node.domain, node.op_type)
            if key in bodies:
                if key in within or len(within) > _MAX_CALLS:
                    return math.inf
                if key not in sizes:
                    sizes[key] = size(bodies[key], within | {key})
                total += sizes[key]
        return total

    return size(model.graph.node, frozenset())


def constant_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All stored tensors but the main graph's initialisers."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse = [
                *attribute.sparse_tensors,
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            ]
            for tensor in sparse:
                yield from (tensor.values, tensor.indices)
        for part in subgraphs(node):
            yield from part.initializer
            for tensor in part.sparse_initializer:
                yield from (tensor.values, tensor.indices)
            yield from constant_tensors(part)


def printable(text: str, limit: int = 120) -> str:
    """Text from a file, for a message."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:limit])


def one_line(error: Exception) -> str:
    """A library's message in one line."""
    return printable(" ".join(str(error)[:1000].split()), 200) or type(error).__name__
