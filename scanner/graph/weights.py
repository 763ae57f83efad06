"""The weight tensors of a graph's linear and convolutional operators, and the graph from the first of them on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from scanner.base.errors import UsageError
from scanner.graph.bundle import LOGITS, GraphBundle, WeightsBuffer, element_count, external_range, is_external, refer
from scanner.graph.cut import consumed
from scanner.graph.shapes import BATCH, TensorType, tensor_types
from scanner.graph.taps import Tap

LAST_STAGE, ALL = "last-stage", "all"
_RESOLUTION_LOSS = 2
_LAST_SHARE = 0.75
_DIGITS = 9


@dataclass(frozen=True)
class WeightTensor:
    """One weight tensor: an initialiser that convolutions or matrix products multiply by.

    Attributes:
        name: Name of the initialiser.
        nodes: Names of the first outputs of the nodes that use it.
        shape: Its shape.
        transposed: Whether it is stored as (inputs, outputs).
    """

    name: str
    nodes: tuple[str, ...]
    shape: tuple[int, ...]
    transposed: bool


@dataclass(frozen=True)
class TailInput:
    """A tensor that leads into a tail: name, and shape without the batch where it is known."""

    name: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Tail:
    """The part of a graph that depends on chosen weights.

    Attributes:
        bundle: A graph from ``inputs`` to the output ``logits``; all chosen weights are in its buffer.
        inputs: What the rest of the network, the trunk, hands over. Float32, batch first.
        weights: The chosen weights, in the order of the graph.
        offsets: Where each starts in the buffer, in bytes.
    """

    bundle: GraphBundle
    inputs: tuple[TailInput, ...]
    weights: tuple[WeightTensor, ...]
    offsets: tuple[int, ...]


def weight_tensors(model: onnx.ModelProto) -> tuple[WeightTensor, ...]:
    """All float32 weight tensors, in the order in which the graph uses them first.

    An initialiser that is also used in another way (as a table of embeddings, say) is none.
    """
    initialisers = {tensor.name: tensor for tensor in model.graph.initializer}
    users: dict[str, list[tuple[onnx.NodeProto, bool | None]]] = {}
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            if name in initialisers:
                users.setdefault(name, []).append((node, _orientation(node, position)))
    found = []
    for name, uses in users.items():
        tensor, orientations = initialisers[name], {orientation for _, orientation in uses}
        rank = len(tensor.dims)
        if tensor.data_type != TensorProto.FLOAT or len(orientations) != 1 or None in orientations:
            continue
        if any(rank != 2 if node.op_type != "Conv" else rank < 3 for node, _ in uses):
            continue
        outputs = tuple(node.output[0] for node, _ in uses)
        found.append(WeightTensor(name, outputs, tuple(tensor.dims), bool(orientations.pop())))
    return tuple(found)


def _orientation(node: onnx.NodeProto, position: int) -> bool | None:
    """Whether the node's weight is stored as (inputs, outputs); None if this input is no weight."""
    if position != 1:
        return None
    if node.op_type == "Conv":
        return False
    if node.op_type == "MatMul":
        return True
    if node.op_type == "Gemm":
        flags = {item.name: item.i for item in node.attribute}
        return None if flags.get("transA", 0) else not flags.get("transB", 0)
    return None


def check_layer_choice(which: str) -> None:
    """Refuse what is no choice of layers, before there is a network.

    Raises:
        UsageError: If it is neither ``last-stage``, ``all`` nor a positive number.
    """
    number = which.isascii() and which.isdigit() and len(which) <= _DIGITS and int(which) >= 1
    if which not in (LAST_STAGE, ALL) and not number:
        raise UsageError(
            f"{which!r} is no choice of layers", where="--bayesian-layers", hint="Use all, last-stage or a number"
        )


def choose_weights(model: onnx.ModelProto, candidates: Sequence[Tap], which: str) -> tuple[WeightTensor, ...]:
    """The weight tensors that a choice of layers stands for.

    Args:
        model: The network.
        candidates: Its candidate taps, in order of depth.
        which: ``all``; ``last-stage``, the layers after the last loss of resolution (where there is none,
            as in a transformer, the last quarter of the layers); or a number, of layers from the end.

    Raises:
        UsageError: If the choice is none of these, or no layer is left.
    """
    check_layer_choice(which)
    found = weight_tensors(model)
    if which == LAST_STAGE:
        chosen = _last_stage(model, candidates, found)
    elif which == ALL:
        chosen = found
    else:
        chosen = found[-int(which) :]
    if not chosen:
        raise UsageError(
            "the network has no linear or convolutional layer with float32 weights",
            where="--bayesian",
            hint="Fit without --bayesian",
        )
    return chosen


def _last_stage(
    model: onnx.ModelProto, candidates: Sequence[Tap], found: Sequence[WeightTensor]
) -> tuple[WeightTensor, ...]:
    start = None
    for before, after in pairwise(candidates):
        if before.positions >= _RESOLUTION_LOSS * after.positions:
            start = before.tensor
    if start is not None:
        after_start = _reachable(model.graph, {start})
        chosen = tuple(weight for weight in found if set(weight.nodes) <= after_start)
        if chosen:
            return chosen
    return tuple(found[int(_LAST_SHARE * len(found)) :])


def _reachable(graph: onnx.GraphProto, start: set[str]) -> set[str]:
    """All tensors computed from those in ``start``."""
    reached = set(start)
    for node in graph.node:
        if any(name in reached for name in consumed(node)):
            reached.update(name for name in node.output if name)
    return reached - start


def cut_tail(bundle: GraphBundle, weights: Sequence[WeightTensor]) -> Tail:
    """Split off everything that depends on the chosen weights.

    Args:
        bundle: The network, from ``pixels`` to ``logits`` (its first output).
        weights: The chosen weights, at least one.
    """
    graph = bundle.proto.graph
    types = tensor_types(bundle.proto)
    names = {weight.name for weight in weights}
    users = [node for node in graph.node if names & set(consumed(node))]
    inside = {name for node in users for name in node.output if name}
    inside |= _reachable(graph, inside)
    initialisers = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [node for node in graph.node if set(node.output) & inside]
    producers = {name: node for node in graph.node for name in node.output}
    entering = list(dict.fromkeys(_entering(nodes, inside, initialisers)))
    while unfit := [name for name in entering if name in producers and not _is_batch(types.get(name))]:
        # A shape, an index or another value that belongs to no image: the tail computes it itself.
        inside.update(name for entry in unfit for name in producers[entry].output if name)
        nodes = [node for node in graph.node if set(node.output) & inside]
        entering = list(dict.fromkeys(_entering(nodes, inside, initialisers)))
    proto = bundle.copy_proto()
    del proto.graph.node[:], proto.graph.input[:], proto.graph.output[:], proto.graph.value_info[:]
    del proto.graph.initializer[:]
    proto.graph.node.extend(nodes)
    proto.graph.output.append(next(value for value in graph.output if value.name == LOGITS))
    inputs = [TailInput(name, _sizes(types.get(name))) for name in entering]
    for item in inputs:
        sizes: list[str | int | None] | None = None if item.shape is None else [BATCH, *item.shape]
        element = types[item.name].element if item.name in types else TensorProto.FLOAT
        proto.graph.input.append(helper.make_tensor_value_info(item.name, element, sizes))
    buffer = WeightsBuffer()
    used = set().union(*(consumed(node) for node in nodes))
    offsets = {}
    for name, tensor in initialisers.items():
        if name not in used:
            continue
        copy = proto.graph.initializer.add()
        copy.CopyFrom(tensor)
        if name in names or is_external(tensor):
            data = _raw(tensor, bundle.weights)
            offsets[name] = buffer.append(data)
            refer(copy, offsets[name], len(data))
    return Tail(
        GraphBundle(proto, buffer.to_bytes()),
        tuple(inputs),
        tuple(weights),
        tuple(offsets[weight.name] for weight in weights),
    )


def expose(bundle: GraphBundle, tail: Tail) -> GraphBundle:
    """The network with the tail's inputs as further outputs, where they are not its own input."""
    proto = bundle.copy_proto()
    known = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    proto.graph.output.extend(value for value in tail.bundle.proto.graph.input if value.name not in known)
    return GraphBundle(proto, bundle.weights)


def _entering(nodes: Sequence[onnx.NodeProto], inside: set[str], initialisers: dict[str, TensorProto]) -> Iterator[str]:
    for node in nodes:
        yield from (name for name in consumed(node) if name not in inside and name not in initialisers)


def _is_batch(kind: TensorType | None) -> bool:
    return (
        kind is not None
        and kind.element == TensorProto.FLOAT
        and kind.shape is not None
        and len(kind.shape) > 1
        and kind.shape[0] == BATCH
    )


def _sizes(kind: TensorType | None) -> tuple[int, ...] | None:
    if kind is None or kind.shape is None or not all(isinstance(size, int) for size in kind.shape[1:]):
        return None
    return tuple(size for size in kind.shape[1:] if isinstance(size, int))


def _raw(tensor: TensorProto, weights: bytes) -> bytes:
    if is_external(tensor):
        start, length = external_range(tensor, len(weights))
        return weights[start : start + length]
    return numpy_helper.to_array(tensor).astype("<f4", copy=False).tobytes()


def weight_values(tail: Tail) -> list[NDArray[np.float32]]:
    """Values of the tail's weights, in order; read-only views of its buffer."""
    return [
        np.frombuffer(tail.bundle.weights, "<f4", element_count(weight.shape), offset).reshape(weight.shape)
        for weight, offset in zip(tail.weights, tail.offsets, strict=True)
    ]


def require_finite(tail: Tail) -> None:
    """Refuse weights that no Gaussian can be centred on.

    Raises:
        UsageError: If one is empty or not finite.
    """
    for weight, values in zip(tail.weights, weight_values(tail), strict=True):
        if not values.size or not bool(np.isfinite(values).all()):
            raise UsageError(
                f"the weight {weight.name!r} is empty or has values that are not finite",
                where="--bayesian",
                hint="Fit without --bayesian",
            )
