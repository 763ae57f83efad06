"""What the weight draws of a last stage cost at least: their multiplications, as fast as this processor does any.

    OMP_NUM_THREADS=1 python benchmarks/draw_bound.py --out benchmarks/results/draw_bound.json

With ONNX Runtime, on one thread, in CPU seconds, all alternately. `plain` is the rate of multiplications of a plain
pass of the network, `fastest` the highest of several large matrix products and convolutions, by three libraries, in the
same turn. No way that multiplies as a convolution is defined takes less than `least`: the multiplications of 40 draws
at the fastest rate, by those of 40 plain passes at theirs.

`fewer` is a convolution of three by three with a quarter of the multiplications (Lavin and Gray 2016, F(4x4, 3x3): 36
instead of 144), by the convolution over a chunk of images: whole, `products`, its matrix products alone, as if all else
were free, and `transform`, making a draw's weights ready for it.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bayesian_cost import CASES, DRAWS, Case, cpu_seconds, multiplications, ratio_of_multiplications
from draw_shapes import STAGES, Floats, Graph, Stage, convolution, random

from reference.evaluate import describe_machine
from scanner.graph.bundle import IMAGE
from scanner.graph.session import GraphSession
from scanner.graph.weights import choose_weights, cut_tail
from scanner.models.export import export_network
from scanner.scoring.scorer import STREAMED_CHUNK

REPEATS = 15
TILE = 4
# Lavin and Gray, section 4.3: of a tile's input, of the weights, of its output.
INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
WEIGHT = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


@dataclass(frozen=True)
class Work:
    """Something that multiplies, and how often it does."""

    run: Callable[[], object]
    products: int

    def rate(self) -> float:
        """Thousand millions of multiplications a CPU second."""
        return self.products / cpu_seconds(self.run) / 1e9


def fast_work() -> dict[str, Work]:
    """Large products, which processors and libraries are made for."""
    generator = np.random.default_rng(0)
    ours, theirs = random(generator, 1024, 1024), random(generator, 1024, 1024)
    torch.set_num_threads(1)
    tensors = torch.from_numpy(ours), torch.from_numpy(theirs)
    large, deep = convolution(random(generator, 256, 256, 3, 3)), convolution(random(generator, 512, 4608, 1, 1), pad=0)
    images, columns = random(generator, 8, 256, 14, 14), random(generator, 16, 4608, 7, 7)
    return {
        "NumPy, 1024 by 1024 by 1024": Work(lambda: ours @ theirs, 1024**3),
        "PyTorch, the same": Work(lambda: tensors[0] @ tensors[1], 1024**3),
        "ONNX Runtime, 784 by 4608 by 512": Work(lambda: deep.run({"x": columns}), 784 * 4608 * 512),
        "ONNX Runtime, 256 channels at 14": Work(lambda: large.run({"x": images}), 8 * 196 * 256 * 256 * 9),
    }


def least(case: Case) -> dict[str, Any]:
    """The least ratio of 40 draws to 40 plain passes of one network, and the two rates."""
    torch.manual_seed(0)
    shape = (3, case.size, case.size)
    images = np.random.default_rng(0).normal(size=(case.batch, *shape)).astype(np.float32)
    network = export_network(case.build().eval(), shape, images[:2])
    session = GraphSession(*network.bundle.serialise(), device="cpu")
    plain = Work(
        lambda: session.run({IMAGE: images}), case.batch * sum(dict(multiplications(network.bundle.proto)).values())
    )
    ratio = ratio_of_multiplications(
        network, cut_tail(network.bundle, choose_weights(network.bundle.proto, network.candidates, "last-stage"))
    )
    fast = fast_work()
    for work in (plain, *fast.values()):
        work.run()
    turns = [(plain.rate(), {name: work.rate() for name, work in fast.items()}) for _ in range(REPEATS)]
    bounds = sorted(ratio * mine / max(rates.values()) for mine, rates in turns)
    return {
        "draws": DRAWS,
        "ratio_of_multiplications": round(ratio, 3),
        "plain": round(statistics.median(mine for mine, _ in turns), 1),
        "fastest": round(statistics.median(max(rates.values()) for _, rates in turns), 1),
        "rates": {name: round(statistics.median(rates[name] for _, rates in turns), 1) for name in fast},
        "least": round(statistics.median(bounds), 3),
        "range": [round(bounds[0], 3), round(bounds[-1], 3)],
    }


def transformed(weights: Floats) -> Floats:
    """Weights ``(O, I, 3, 3)`` as they are multiplied with, ``(36, I, O)``."""
    matrix = WEIGHT.astype(np.float32)
    halfway = np.tensordot(matrix, weights, (1, 2))  # (6, O, I, 3)
    both = np.tensordot(halfway, matrix, (3, 1))  # (6, O, I, 6)
    return np.ascontiguousarray(both.transpose(0, 3, 2, 1)).reshape(36, weights.shape[1], weights.shape[0])


def fewer_multiplications(weights: Floats, side: int) -> GraphSession:
    """The convolution of ``(N, H, W, C)``; tiles of all images are the rows of 36 matrix products."""
    graph, tiles, channels = Graph(), -(-side // TILE), weights.shape[:2]
    padded, wide = TILE * tiles + 2, 6 * tiles
    entering, leaving = np.zeros((wide, padded), np.float32), np.zeros((TILE * tiles, wide), np.float32)
    for tile in range(tiles):
        entering[6 * tile : 6 * tile + 6, TILE * tile : TILE * tile + 6] = INPUT
        leaving[TILE * tile : TILE * tile + TILE, 6 * tile : 6 * tile + 6] = OUTPUT

    def shaped(name: str, *shape: int) -> str:
        return graph.node("Reshape", name, graph.constant(shape))

    def both_sides(name: str, matrix: Floats, length: int, depth: int) -> str:
        rows = graph.node("MatMul", graph.constant(matrix), shaped(name, -1, length, length * depth))
        return graph.node("MatMul", graph.constant(matrix), shaped(rows, -1, length, depth))

    last = padded - 1 - side
    x = graph.node("Pad", "x", graph.constant([0, 1, 1, 0, 0, last, last, 0]))
    x = shaped(both_sides(x, entering, padded, channels[1]), -1, tiles, 6, tiles, 6, channels[1])
    x = shaped(graph.node("Transpose", x, perm=[2, 4, 0, 1, 3, 5]), 36, -1, channels[1])
    x = shaped(graph.node("MatMul", x, graph.constant(transformed(weights))), 6, 6, -1, tiles, tiles, channels[0])
    x = graph.node("Transpose", x, perm=[2, 3, 0, 4, 1, 5])
    x = shaped(both_sides(x, leaving, wide, channels[0]), -1, TILE * tiles, TILE * tiles, channels[0])
    return graph.session(graph.node("Slice", x, *(graph.constant(at) for at in ([0, 0], [side, side], [1, 2]))))


def fewer(stage: Stage) -> dict[str, Any]:
    """What that takes by the convolution of a stage, over as many images as a chunk has."""
    generator = np.random.default_rng(0)
    images = stage.images if stage.side * stage.side * stage.channels < 2**13 else STREAMED_CHUNK
    inside = random(generator, images, stage.channels, stage.side, stage.side)
    weights = random(generator, stage.channels, stage.channels, 3, 3)
    direct, other = convolution(weights), fewer_multiplications(weights, stage.side)
    last = np.ascontiguousarray(inside.transpose(0, 2, 3, 1))
    expected = direct.run({"x": inside})["y"]
    error = np.abs(other.run({"x": last})["y"].transpose(0, 3, 1, 2) - expected).max() / np.abs(expected).max()
    assert error <= 1e-4
    graph, rows = Graph(), images * (-(-stage.side // TILE)) ** 2
    multiplied = graph.node("MatMul", "x", graph.constant(transformed(weights)))
    products, tiles = graph.session(multiplied), random(generator, 1, 36, rows, stage.channels)
    ways: dict[str, Callable[[], object]] = {
        "whole": lambda: other.run({"x": last}),
        "products": lambda: products.run({"x": tiles}),
        "transform": lambda: transformed(weights),
    }
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        plainly = cpu_seconds(lambda: direct.run({"x": inside}))
        for name, way in ways.items():
            ratios[name].append(cpu_seconds(way) / plainly)
    return {
        "images": images,
        "largest_error": float(error),
        **{name: round(statistics.median(found), 3) for name, found in ratios.items()},
        "ranges": {name: [round(min(found), 3), round(max(found), 3)] for name, found in ratios.items()},
    }


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="The least cost of weight draws.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = {stage: least(CASES[stage.split()[0]]) | {"fewer": fewer(shape)} for stage, shape in STAGES.items()}
    text = json.dumps({"machine": describe_machine(), "repeats": REPEATS, "networks": found}, indent=2)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
