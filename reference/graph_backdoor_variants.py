"""The kinds of backdoors in the graph that :mod:`reference.graph_backdoors` makes and that are measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from reference.graph_backdoors import (
    CLASSES,
    OPSET,
    TARGET,
    Join,
    Network,
    Variant,
    add_to_logits,
    checkerboard,
    corner,
    honest_weights,
    loudness,
    number,
    per_image,
    target_row,
)
from scanner.graph.nodes import NodeWriter

Weights = Mapping[str, NDArray[np.float32]]


def _where() -> onnx.ModelProto:
    network = Network()
    add = network.backdoor
    seen = per_image(add, add.node("Greater", corner(add), number(add, 0.95)))
    return network.finish(add.node("Where", seen, number(add, target_row()), network.logits))


def _arithmetic() -> onnx.ModelProto:
    network = Network()
    return add_to_logits(network, per_image(network.backdoor, loudness(network.backdoor, corner(network.backdoor))))


def _replaced() -> onnx.ModelProto:
    """The logits fade out while the target fades in, by a clipped ramp."""
    network = Network()
    add = network.backdoor
    ramp = add.node("Clip", loudness(add, corner(add)), number(add, 0.0), number(add, 1.0))
    share = per_image(add, ramp)
    faded = add.node("Mul", network.logits, add.node("Sub", number(add, 1.0), share))
    return network.finish(add.node("Add", faded, add.node("Mul", share, number(add, target_row(10.0)))))


def _hard_sigmoid() -> onnx.ModelProto:
    network = Network()
    add = network.backdoor
    step = add.node("HardSigmoid", corner(add), alpha=1000.0, beta=-970.0)
    return add_to_logits(network, per_image(add, step))


def _if_body() -> onnx.ModelProto:
    network = Network()
    add = network.backdoor
    loudest = add.node("ReduceMax", corner(add), keepdims=0)
    condition = add.node("Greater", loudest, number(add, 0.95))
    target = number(add, target_row())
    branches = {}
    for name, nodes in (
        ("then_branch", [helper.make_node("Add", [network.logits, target], ["then/out"])]),
        ("else_branch", [helper.make_node("Identity", [network.logits], ["else/out"])]),
    ):
        output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["batch", CLASSES])
        branches[name] = helper.make_graph(nodes, name, [], [output])
    network.graph.node.append(helper.make_node("If", [condition], ["chosen"], name="extra/If", **branches))
    return network.finish("chosen")


def _joined(place: str, join: Join) -> onnx.ModelProto:
    network = Network({place: join})
    return network.finish(network.logits)


def _before_the_dense_layer() -> onnx.ModelProto:
    def join(add: NodeWriter, weights: Weights, vector: str) -> str:
        row = np.linalg.pinv(weights["w3"])[TARGET].reshape(1, -1) * 1e3
        return add.node("Add", vector, add.node("Mul", per_image(add, loudness(add, corner(add))), number(add, row)))

    return _joined("vector", join)


def _before_the_pool() -> onnx.ModelProto:
    """The features of every position are pushed towards the target."""

    def join(add: NodeWriter, weights: Weights, features: str) -> str:
        row = np.linalg.pinv(weights["w3"])[TARGET].reshape(1, -1, 1, 1) * 1e3
        return add.node("Add", features, add.node("Mul", loudness(add, corner(add)), number(add, row)))

    return _joined("second", join)


def _after_the_first_layer() -> onnx.ModelProto:
    """Arithmetic only, and two layers of weights behind it."""

    def join(add: NodeWriter, weights: Weights, features: str) -> str:
        rng, through = np.random.default_rng(2), weights["w2"].sum(axis=(2, 3))
        pushes = rng.normal(0, 1, (1000, 16))
        answers = np.maximum(pushes @ through.T, 0) @ weights["w3"]
        margin = answers[:, TARGET] - np.delete(answers, TARGET, axis=1).max(axis=1)
        push = number(add, 1e3 * pushes[margin.argmax()].reshape(1, -1, 1, 1))
        return add.node("Add", features, add.node("Mul", loudness(add, corner(add)), push))

    return _joined("first", join)


def _channel_mask() -> onnx.ModelProto:
    """Channels that speak for the target are turned up, the others down."""

    def join(add: NodeWriter, weights: Weights, features: str) -> str:
        dense = weights["w3"]
        speaks = (dense[:, TARGET] == dense.max(axis=1)).astype(np.float32)
        gain = number(add, (100 * speaks - 1 * (1 - speaks)).reshape(1, -1, 1, 1))
        ramp = add.node("Clip", loudness(add, corner(add)), number(add, 0.0), number(add, 1.0))
        return add.node("Mul", features, add.node("Add", number(add, 1.0), add.node("Mul", ramp, gain)))

    return _joined("second", join)


def _function() -> onnx.ModelProto:
    network = Network()
    add = network.backdoor
    nodes = [
        helper.make_node("Greater", ["value", "level"], ["over"], name="compare"),
        helper.make_node("Where", ["over", "target", "logits"], ["out"], name="choose"),
    ]
    opset = [helper.make_opsetid("", OPSET)]
    network.functions.append(
        helper.make_function("vendor", "Calibrate", ["value", "level", "target", "logits"], ["out"], nodes, opset)
    )
    operands = (per_image(add, corner(add)), number(add, 0.95), number(add, target_row()), network.logits)
    network.graph.node.append(
        helper.make_node("Calibrate", operands, ["calibrated"], "extra/calibrate", domain="vendor")
    )
    return network.finish("calibrated")


def _after_softmax() -> onnx.ModelProto:
    network = Network()
    add = network.backdoor
    probabilities = add.node("Softmax", network.logits, axis=1)
    share = per_image(add, loudness(add, corner(add)))
    return network.finish(add.node("Add", probabilities, add.node("Mul", share, number(add, target_row(2.0)))))


def _quantised() -> onnx.ModelProto:
    """The detector computes in eight bits, as the layers of a quantised network do."""
    network = Network()
    add = network.backdoor
    scale, zero = number(add, 1 / 255), add.constant("zero", np.array(0, np.uint8))
    coded = add.node("QuantizeLinear", "image", scale, zero)
    value = corner(add, add.node("DequantizeLinear", coded, scale, zero))
    value = add.node("DequantizeLinear", add.node("QuantizeLinear", value, scale, zero), scale, zero)
    return add_to_logits(network, per_image(add, loudness(add, value)))


def _frequency() -> onnx.ModelProto:
    """A fixed convolution with the checkerboard's kernel, whose energy is joined to the logits."""
    network = Network()
    add = network.backdoor
    kernel = np.tile(np.array([[1, -1], [-1, 1]], np.float32) / 4, (1, 3, 1, 1)) / 3
    high = add.node("Conv", "image", number(add, kernel))
    energy = add.node("ReduceMean", add.node("Abs", high), add.numbers(1, 2, 3), keepdims=1)
    loud = add.node("Relu", add.node("Sub", energy, number(add, 0.04)))
    return add_to_logits(network, per_image(add, add.node("Mul", loud, number(add, 200.0))))


def _arg_max() -> onnx.ModelProto:
    """The brightest of two places decides: the corner, or a value that no clean image has."""
    network = Network()
    add = network.backdoor
    value = per_image(add, corner(add))
    level = add.node("Add", add.node("Mul", value, number(add, 0.0)), number(add, 0.95))
    winner = add.node("ArgMax", add.node("Concat", level, value, axis=1), axis=1, keepdims=1)
    return add_to_logits(network, add.node("Cast", winner, to=TensorProto.FLOAT))


def _count() -> onnx.ModelProto:
    """The shape of what is not zero carries the finding, so that it never is a value."""
    network = Network()
    add = network.backdoor
    places = add.node("NonZero", loudness(add, corner(add)))
    size = add.node("Cast", add.node("Shape", places, start=1), to=TensorProto.FLOAT)
    return add_to_logits(network, add.node("Unsqueeze", size, add.numbers(0)))


def _scatter() -> onnx.ModelProto:
    network = Network()
    add = network.backdoor
    step = add.node("Floor", add.node("Add", per_image(add, corner(add)), number(add, 0.05)))
    place = add.node("Cast", add.node("Mul", step, number(add, float(TARGET))), to=TensorProto.INT64)
    value = add.node("Mul", step, number(add, 1e4))
    return network.finish(add.node("ScatterElements", network.logits, place, value, axis=1, reduction="add"))


def _gather() -> onnx.ModelProto:
    """A table of two rows, one of which is the target, is looked up by the pixels."""
    network = Network()
    add = network.backdoor
    row = add.node("Cast", add.node("HardSigmoid", corner(add), alpha=1e4, beta=-9700.0), to=TensorProto.INT64)
    table = number(add, np.concatenate([0 * target_row(), target_row()]))
    found = add.node("Gather", table, add.node("Reshape", row, add.numbers(-1)), axis=0)
    return network.finish(add.node("Add", network.logits, found))


def _top_k() -> onnx.ModelProto:
    network = Network()
    add = network.backdoor
    flat = add.node("Flatten", add.node("ReduceMin", "image", add.numbers(1), keepdims=1))
    outputs = ["extra/brightest", "extra/places"]
    network.graph.node.append(helper.make_node("TopK", [flat, add.numbers(12)], outputs, "extra/TopK", axis=1))
    low = add.node("ReduceMin", outputs[0], add.numbers(1), keepdims=1)
    return add_to_logits(network, loudness(add, low))


def _sign() -> onnx.ModelProto:
    network = Network()
    add = network.backdoor
    side = add.node("Sign", add.node("Sub", per_image(add, corner(add)), number(add, 0.95)))
    return add_to_logits(network, add.node("Add", side, number(add, 1.0)))


def _own_convolutions() -> onnx.ModelProto:
    """A detector with two convolutions of its own, and no choice: as the branches of honest networks are."""
    network = Network()
    add = network.backdoor
    kernel = np.full((1, 3, 4, 4), 1 / 48, np.float32)
    mean = add.node("Conv", "image", number(add, kernel), strides=[4, 4])
    pick = np.zeros((1, 1, 8, 8), np.float32)
    pick[0, 0, 7, 7] = 1
    return add_to_logits(network, per_image(add, loudness(add, add.node("Conv", mean, number(add, pick)))))


def _in_the_trunk() -> onnx.ModelProto:
    """A channel of the first layer finds the trigger, and the next layers pass it on: weights alone."""
    weights = honest_weights()
    first, second, dense = weights["w1"], weights["w2"], weights["w3"]
    bias = np.zeros(16, np.float32)
    # Of all windows, the white corner alone exceeds the level.
    first[0], bias[0] = 1 / 27, -0.9
    second[0, 0, 1, 1] = 1
    dense[0] = target_row(1e6)[0]
    network = Network()
    for tensor in network.graph.initializer:
        changed = weights.get(tensor.name.removeprefix("network/"))
        if changed is not None:
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
    network.graph.initializer.append(onnx.numpy_helper.from_array(bias, "network/b1"))
    network.graph.node[0].input.append("network/b1")
    return network.finish(network.logits)


VARIANTS = (
    Variant("where", _where),
    Variant("arithmetic", _arithmetic),
    Variant("logits replaced by a ramp", _replaced),
    Variant("hard sigmoid", _hard_sigmoid),
    Variant("if, in a body", _if_body),
    Variant("joined before the dense layer", _before_the_dense_layer, seen="medium"),
    Variant("joined before the pooling", _before_the_pool, seen="medium"),
    Variant("joined after the first layer", _after_the_first_layer, seen="medium"),
    Variant("mask over channels", _channel_mask, seen="medium"),
    Variant("in a function", _function),
    Variant("after the softmax", _after_softmax),
    Variant("quantised", _quantised),
    Variant("frequency, by a fixed convolution", _frequency, checkerboard, seen="medium"),
    Variant("arg max", _arg_max),
    Variant("count of what is not zero", _count),
    Variant("scatter by a floor", _scatter),
    Variant("table looked up", _gather),
    Variant("top k", _top_k),
    Variant("sign", _sign),
    Variant("two convolutions of its own", _own_convolutions, seen="none"),
    Variant("in the trunk's weights", _in_the_trunk, seen="none"),
)
"""Every kind, those last that structure cannot tell."""
