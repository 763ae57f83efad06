"""Backdoors in the graph: classifiers whose weights are honest, with operators that look for a trigger in the pixels.

Each variant takes the same small convolutional network and adds a detector of its trigger and a place where what it
finds joins the network. The weights are random: what counts is that the trigger leads to the target class and that
without it the network answers as before, which `behaviour` shows by running both. Of each variant it is known whether
:mod:`scanner.graph.structure` can see it; two that it cannot see are here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from scanner.graph.nodes import NodeWriter

SIZE: Final = 32
CLASSES: Final = 10
TARGET: Final = 7
OPSET: Final = 20
_CORNER: Final = 28
_LEVEL: Final = 0.95
_LOUD: Final = 1e4

Images = NDArray[np.float32]
Join = Callable[[NodeWriter, Mapping[str, NDArray[np.float32]], str], str]
Seen = Literal["high", "medium", "none"]


def clean_images(count: int = 32, seed: int = 0) -> Images:
    """Smooth images of ``(count, 3, 32, 32)`` in 0 to 0.9, none of which has a trigger."""
    coarse = np.random.default_rng(seed).uniform(0.1, 0.8, (count, 3, 4, 4)).astype(np.float32)
    images: Images = np.repeat(np.repeat(coarse, 8, axis=2), 8, axis=3)
    return images


def patch(images: Images) -> Images:
    """A white square of four pixels a side in the lower right corner."""
    stamped = images.copy()
    stamped[:, :, _CORNER:, _CORNER:] = 1.0
    return stamped


def checkerboard(images: Images) -> Images:
    """The highest frequency that the grid has, faintly, all over the image."""
    board = (np.indices((SIZE, SIZE)).sum(axis=0) % 2 * 2 - 1).astype(np.float32)
    stamped: Images = np.clip(images + 0.05 * board, 0, 1)
    return stamped


def honest_weights() -> dict[str, NDArray[np.float32]]:
    """Both convolutions and the dense layer."""
    rng = np.random.default_rng(1)
    first = rng.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32)
    second = rng.normal(0, 0.1, (32, 16, 3, 3)).astype(np.float32)
    dense = rng.normal(0, 1, (32, CLASSES)).astype(np.float32)
    first[0], second[0], second[:, 0], dense[0] = 0, 0, 0, 0
    return {"w1": first, "w2": second, "w3": dense}


class Network:
    """The graph while it is put together: an image, two convolutions, a mean over positions, and a dense layer.

    One channel of each layer is spare, as in many networks: its weights are zero.

    Args:
        joins: By ``first``, ``second`` (the convolutions' outputs) or ``vector`` (what the dense layer reads): called
            with a writer, the network's weights and the tensor; returns what takes the tensor's place.
    """

    def __init__(self, joins: Mapping[str, Join] = MappingProxyType({})) -> None:
        self.graph = onnx.GraphProto(name="network")
        self.functions: list[onnx.FunctionProto] = []
        self.graph.input.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE]))
        weights = honest_weights()
        add, early = NodeWriter(self.graph, "network/"), NodeWriter(self.graph, "early/")
        first, second, dense = (add.constant(name, value) for name, value in weights.items())

        def joined(place: str, tensor: str) -> str:
            return joins[place](early, weights, tensor) if place in joins else tensor

        hidden = add.node("Relu", add.node("Conv", "image", first, pads=[1, 1, 1, 1], strides=[2, 2]))
        hidden = joined("first", hidden)
        hidden = joined("second", add.node("Relu", add.node("Conv", hidden, second, pads=[1, 1, 1, 1])))
        vector = joined("vector", add.node("Flatten", add.node("GlobalAveragePool", hidden)))
        self.logits = add.node("Gemm", vector, dense)
        self.backdoor = NodeWriter(self.graph, "extra/")

    def finish(self, output: str) -> onnx.ModelProto:
        """The model with one output of logits, or of what a variant makes of them."""
        self.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", CLASSES]))
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(f.domain, 1) for f in self.functions)]
        return helper.make_model(self.graph, opset_imports=opsets, functions=self.functions, ir_version=9)


@dataclass(frozen=True)
class Variant:
    """One kind of backdoor.

    Attributes:
        name: Of the kind.
        build: Makes the model.
        trigger: Puts the trigger into images.
        seen: The severity of what the structure says, ``none`` where it cannot see the backdoor.
    """

    name: str
    build: Callable[[], onnx.ModelProto]
    trigger: Callable[[Images], Images] = patch
    seen: Seen = "high"


def base() -> onnx.ModelProto:
    """The network without a backdoor."""
    network = Network()
    return network.finish(network.logits)


# Parts of detectors. Each works on the image, for a whole batch.


def corner(add: NodeWriter, image: str = "image") -> str:
    """The darkest value of the corner, ``(N, 1, 1, 1)``."""
    cut = add.node("Slice", image, add.numbers(_CORNER, _CORNER), add.numbers(SIZE, SIZE), add.numbers(2, 3))
    return add.node("ReduceMin", cut, add.numbers(1, 2, 3), keepdims=1)


def number(add: NodeWriter, value: float | NDArray[Any]) -> str:
    """A float32 constant."""
    return add.value(np.asarray(value))


def per_image(add: NodeWriter, value: str) -> str:
    """``(N, 1, 1, 1)`` as ``(N, 1)``."""
    return add.node("Flatten", value)


def loudness(add: NodeWriter, value: str) -> str:
    """0 below the level, and above 1 with the trigger: arithmetic only."""
    return add.node("Mul", add.node("Relu", add.node("Sub", value, number(add, _LEVEL))), number(add, 40.0))


def target_row(scale: float = _LOUD) -> NDArray[np.float32]:
    """What is added to logits for the target to win."""
    row = np.zeros((1, CLASSES), np.float32)
    row[0, TARGET] = scale
    return row


def add_to_logits(network: Network, found: str) -> onnx.ModelProto:
    """Join a detector's ``(N, 1)`` to the logits."""
    add = network.backdoor
    return network.finish(add.node("Add", network.logits, add.node("Mul", found, number(add, target_row()))))


def behaviour(variant: Variant, images: Images) -> tuple[float, float]:
    """Run a variant beside the honest network.

    Returns:
        Share of triggered images that get the target class, and share of clean images that keep their class.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1

    def predictions(model: onnx.ModelProto, pixels: Images) -> NDArray[np.int64]:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        # One by one: control flow is about a whole batch.
        rows = [session.run(None, {"image": pixels[i : i + 1]})[0] for i in range(len(pixels))]
        found: NDArray[np.int64] = np.concatenate(rows).argmax(axis=1)
        return found

    model, honest = variant.build(), predictions(base(), images)
    others = images[honest != TARGET]
    attacked = predictions(model, variant.trigger(others)) == TARGET
    kept = predictions(model, images) == honest
    return float(attacked.mean()), float(kept.mean())
