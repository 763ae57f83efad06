"""Measure what other ways to compute the weight draws of a last stage cost, on one thread of a processor.

    python benchmarks/draw_shapes.py --out benchmarks/results/draw_shapes.json

With ONNX Runtime, in CPU seconds, each alternately with what it is compared with. Convolutions of some draws one after
the other are compared with one: `stacked`, the first ones, which share their input, with the channels of all, and
`grouped`, later ones, with groups of channels. `winograd` is a convolution of three by three with fewer multiplications
(Lavin and Gray 2016, F(2x2, 3x3): 16 instead of 36), as matrix products, by the convolution. By the same convolution
over a chunk of images is what a draw's weights take: `transform`, to be made ready for fewer multiplications,
`drawing`, and `loading` into a session. Shapes are those of the last stages of ResNet-20 and ResNet-18; weights are
random.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from reference.evaluate import describe_machine
from scanner.graph.session import GraphSession
from scanner.scoring.scorer import STREAMED_CHUNK

Floats = NDArray[np.float32]
REPEATS = 15
# Lavin and Gray, section 4.1: of a tile's input, of the weights, of its output.
WEIGHT = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
TILE = 4


@dataclass(frozen=True)
class Stage:
    """A last stage: channels and side of what enters it, channels and side in it, images a run, draws stacked."""

    entering: int
    large: int
    channels: int
    side: int
    images: int
    stacked: int


STAGES = {"resnet20 at 32": Stage(32, 16, 64, 8, 64, 40), "resnet18 at 224": Stage(256, 14, 512, 7, 16, 8)}


class Graph:
    """An ONNX graph from ``x`` to ``y`` in the making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def constant(self, values: NDArray[Any] | Sequence[int]) -> str:
        """The name of a constant; whole numbers as ONNX wants them."""
        name = f"c{len(self._constants)}"
        self._constants[name] = values if isinstance(values, np.ndarray) else np.array(values, np.int64)
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - as ONNX has them
        """The name of what a node computes."""
        self._nodes.append(helper.make_node(operator, inputs, [f"v{len(self._nodes)}"], **attributes))
        return f"v{len(self._nodes) - 1}"

    def session(self, result: str) -> GraphSession:
        """One that computes the positive part of a result, as ResNets do after a convolution."""
        self._nodes.append(helper.make_node("Relu", [result], ["y"]))
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None, None, None]) for name in "xy"]
        constants = [numpy_helper.from_array(values, name) for name, values in self._constants.items()]
        graph = helper.make_graph(self._nodes, "shapes", ends[:1], ends[1:], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return GraphSession(model.SerializeToString(), device="cpu")


def convolution(weights: Floats, stride: int = 1, groups: int = 1, pad: int = 1) -> GraphSession:
    """A convolution as ONNX has it, of ``(N, C, H, W)``."""
    graph = Graph()
    attributes = {"pads": [pad] * 4, "strides": [stride] * 2, "group": groups}
    return graph.session(graph.node("Conv", "x", graph.constant(weights), **attributes))


def transformed(weights: Floats) -> Floats:
    """Weights ``(O, I, 3, 3)`` as :func:`winograd` multiplies with them, ``(4, 4, I, O)``."""
    halfway = np.tensordot(WEIGHT.astype(np.float32), weights, (1, 2))  # (4, O, I, 3)
    both = np.tensordot(halfway, WEIGHT.astype(np.float32), (3, 1))  # (4, O, I, 4)
    return np.ascontiguousarray(both.transpose(0, 3, 2, 1))


def winograd(weights: Floats, side: int) -> GraphSession:
    """The same convolution of ``(N, H, W, C)``, channels last, so that every position of a tile is a matrix product."""
    graph, tiles = Graph(), (side + 1) // 2
    last = 2 * tiles + 1 - side
    padded = graph.node("Pad", "x", graph.constant([0, 1, 1, 0, 0, last, last, 0]))
    multiplied: list[list[str]] = []
    ready = transformed(weights)
    for row, values in enumerate(_entering(graph, padded, 1, tiles)):
        columns = _entering(graph, values, 2, tiles)
        products = [graph.node("MatMul", name, graph.constant(ready[row, at])) for at, name in enumerate(columns)]
        multiplied.append(products)
    halfway = [_leaving(graph, [multiplied[row][column] for row in range(TILE)]) for column in range(TILE)]
    rows = []
    for row in range(2):
        both = _leaving(graph, [halfway[column][row] for column in range(TILE)])
        rows.append(_interleaved(graph, both, 3, [-1, tiles, 1, 2 * tiles, len(weights)]))
    whole = graph.node("Concat", *rows, axis=2)
    whole = graph.node("Reshape", whole, graph.constant([-1, 2 * tiles, 2 * tiles, len(weights)]))
    cut = [graph.constant(values) for values in ([0, 0], [side, side], [1, 2])]
    return graph.session(graph.node("Slice", whole, *cut))


def _entering(graph: Graph, name: str, axis: int, tiles: int) -> list[str]:
    steps = [graph.constant([number]) for number in (axis, 2)]
    d = [
        graph.node("Slice", name, graph.constant([at]), graph.constant([at + 2 * tiles - 1]), *steps)
        for at in range(TILE)
    ]
    pairs = (("Sub", 0, 2), ("Add", 1, 2), ("Sub", 2, 1), ("Sub", 1, 3))
    return [graph.node(operator, d[one], d[other]) for operator, one, other in pairs]


def _leaving(graph: Graph, m: Sequence[str]) -> list[str]:
    first = graph.node("Add", graph.node("Add", m[0], m[1]), m[2])
    return [first, graph.node("Sub", graph.node("Sub", m[1], m[2]), m[3])]


def _interleaved(graph: Graph, names: Sequence[str], axis: int, shape: Sequence[int]) -> str:
    apart = [graph.node("Unsqueeze", name, graph.constant([axis])) for name in names]
    return graph.node("Reshape", graph.node("Concat", *apart, axis=axis), graph.constant(shape))


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(ours: Callable[[], object], theirs: Callable[[], object]) -> dict[str, Any]:
    """The ratio of their CPU seconds, alternately: median and range."""
    ours(), theirs()
    ratios = sorted(cpu_seconds(ours) / cpu_seconds(theirs) for _ in range(REPEATS))
    return {"ratio": round(statistics.median(ratios), 3), "range": [round(ratios[0], 3), round(ratios[-1], 3)]}


def random(generator: np.random.Generator, *shape: int) -> Floats:
    """Of a size that convolutions with such weights keep."""
    return generator.standard_normal(shape, np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))


def as_one(stage: Stage, inputs: Floats, stride: int, groups: int) -> dict[str, Any]:
    """Convolutions of some draws as one, by one after the other: all of the same channels, or of a group each."""
    shape = (stage.channels, inputs.shape[1] // groups, 3, 3)
    drawn = [random(np.random.default_rng(number), *shape) for number in range(stage.stacked)]
    each, whole = (
        [convolution(weights, stride) for weights in drawn],
        convolution(np.concatenate(drawn), stride, groups),
    )
    parts = [np.ascontiguousarray(part) for part in np.split(inputs, groups, axis=1)] * (stage.stacked // groups)

    def apart() -> list[Floats]:
        return [session.run({"x": part})["y"] for session, part in zip(each, parts, strict=True)]

    difference = np.abs(np.concatenate(apart(), axis=1) - whole.run({"x": inputs})["y"]).max()
    return {
        "draws": stage.stacked,
        "largest_difference": float(difference),
        **compare(lambda: whole.run({"x": inputs}), apart),
    }


def measure(stage: Stage) -> dict[str, Any]:
    """All figures of one stage."""
    generator = np.random.default_rng(0)
    entering = random(generator, stage.images, stage.entering, stage.large, stage.large)
    inside = random(generator, stage.images, stage.channels, stage.side, stage.side)
    last = np.ascontiguousarray(inside.transpose(0, 2, 3, 1))
    weights = random(generator, stage.channels, stage.channels, 3, 3)
    direct, fewer = convolution(weights), winograd(weights, stage.side)
    expected = direct.run({"x": inside})["y"]
    error = np.abs(fewer.run({"x": last})["y"].transpose(0, 3, 1, 2) - expected).max() / np.abs(expected).max()
    assert error <= 1e-5
    runs = range(STREAMED_CHUNK // stage.images)

    def chunk() -> None:
        for _ in runs:
            direct.run({"x": inside})

    return {
        "stacked": as_one(stage, entering, 2, 1),
        "grouped": as_one(stage, np.tile(inside, (1, stage.stacked, 1, 1)), 1, stage.stacked),
        "winograd": {"largest_error": float(error), **compare(lambda: [fewer.run({"x": last}) for _ in runs], chunk)},
        "transform": compare(lambda: transformed(weights), chunk),
        "drawing": compare(lambda: generator.standard_normal(weights.shape, np.float32), chunk),
        "loading": compare(lambda: convolution(weights), chunk),
        "images": STREAMED_CHUNK,
    }


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Other ways to compute weight draws.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    stages: Mapping[str, Any] = {name: measure(stage) for name, stage in STAGES.items()}
    text = json.dumps({"machine": describe_machine(), "stages": stages}, indent=2)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
