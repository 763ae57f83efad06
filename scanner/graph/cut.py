"""Cut tensors: the intermediate tensors that every path from the image to the logits goes through.

All that the network knows about an image passes through each cut tensor, so these are the places where
it can be observed completely. In graph terms they are the dominators of the output in the data-flow DAG.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from scanner.base.errors import ModelError

_SHAPE_ONLY = frozenset({"Shape", "Size", "EyeLike", "RandomNormalLike", "RandomUniformLike"})
"""Operators whose output does not depend on the values of their input."""


@dataclass(frozen=True)
class Segment:
    """What lies between one cut tensor and the next.

    Attributes:
        nodes: The nodes on paths between the two, in the graph's order.
        end: The cut tensor that the segment leads to.
    """

    nodes: tuple[onnx.NodeProto, ...]
    end: str


def segments(graph: onnx.GraphProto, source: str, sink: str) -> tuple[Segment, ...]:
    """Split the graph at its cut tensors; the last segment ends at ``sink``.

    Initialisers, constants and values derived from shapes alone are not paths. Linear in the size of
    the graph: with tensors in the order of their production, a tensor is a cut exactly when no data-flow
    edge leads from before it to after it.

    Args:
        graph: A valid ONNX graph, that is, with its nodes in topological order.
        source: The tensor that paths start from.
        sink: The tensor that paths lead to.

    Raises:
        ModelError: No path leads from ``source`` to ``sink``.
    """
    flow = _data_flow(graph, source, sink)
    position = {source: 0}
    for _, _, outputs in flow:
        for name in outputs:
            position[name] = len(position)
    if sink not in position:
        raise ModelError(f"the output {sink!r} does not depend on the input {source!r}")

    reach = [0] * len(position)  # how far the longest edge from each tensor leads
    for _, inputs, outputs in flow:
        furthest = max(position[name] for name in outputs)
        for name in inputs:
            reach[position[name]] = max(reach[position[name]], furthest)

    result: list[Segment] = []
    pending: list[onnx.NodeProto] = []
    horizon = reach[0]
    for node, _, outputs in flow:
        pending.append(node)
        for name in outputs:
            if horizon <= position[name]:
                result.append(Segment(tuple(pending), name))
                pending = []
            horizon = max(horizon, reach[position[name]])
    return tuple(result)


_Step = tuple[onnx.NodeProto, Sequence[str], Sequence[str]]


def _data_flow(graph: onnx.GraphProto, source: str, sink: str) -> list[_Step]:
    """Nodes on paths from source to sink, each with its inputs and outputs that lie on such paths."""
    forward = {source}
    downstream: list[_Step] = []
    for node in graph.node:
        inputs = [name for name in consumed(node) if name in forward]
        if inputs and node.op_type not in _SHAPE_ONLY:
            forward.update(name for name in node.output if name)
            downstream.append((node, inputs, list(node.output)))
    backward = {sink}
    live: list[_Step] = []
    for node, read, produced in reversed(downstream):
        used = [name for name in produced if name in backward]
        if used:
            backward.update(read)
            live.append((node, read, used))
    return live[::-1]


def consumed(node: onnx.NodeProto) -> Iterator[str]:
    """Names of the tensors a node reads, those that its subgraphs capture included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for subgraph in (attribute.g, *attribute.graphs):
            yield from _captured(subgraph)


def _captured(graph: onnx.GraphProto) -> Iterator[str]:
    defined = {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        yield from (name for name in consumed(node) if name not in defined)
        defined.update(node.output)
    yield from (value.name for value in graph.output if value.name not in defined)
