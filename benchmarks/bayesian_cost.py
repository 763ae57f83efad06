"""Measure what weight draws cost: T = 40 draws against 40 plain passes of the same network, in one run.

    python benchmarks/bayesian_cost.py --out benchmarks/results/bayesian_cpu.json

Both are run by ONNX Runtime on one thread, alternately, in CPU seconds. The draws include everything a
scan does for them: the trunk, all passes of the tail, and the entropies. Networks have random weights:
speed does not depend on them. Beside each ratio stands that of the multiplications, below which nothing gets that
convolves as a convolution is defined.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn

from detectors.bayesian.moped import MopedSettings
from reference.evaluate import describe_machine
from scanner.fitting.bayesian.fit_posterior import untrained_posterior
from scanner.graph.bundle import IMAGE, LOGITS
from scanner.graph.session import GraphSession
from scanner.graph.shapes import static_shapes, tensor_types
from scanner.graph.weights import Tail, choose_weights, cut_tail, expose, weight_tensors
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.export import Exported, export_network
from scanner.scoring.draw_scorer import DrawScorer
from scanner.scoring.scorer import DRAWN_AT_ONCE, STREAMED_CHUNK

DRAWS = 40
AIMS = {"all": 0.6, "last-stage": 0.2}
LAYERS = ("all", "last-stage", "3", "1")


@dataclass(frozen=True)
class Case:
    """A network, and how a scan would run it: images at once, images a run, repeats."""

    build: Callable[[], nn.Module]
    size: int
    chunk: int
    batch: int
    repeats: int


CASES = {
    "resnet20": Case(ResNet20, 32, 64, 64, 5),
    # Once: forty passes of this network over a chunk take minutes.
    "resnet18": Case(torchvision.models.resnet18, 224, STREAMED_CHUNK, 8, 1),
}


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(case: Case) -> dict[str, Any]:
    """Ratios for one network."""
    torch.manual_seed(0)
    shape = (3, case.size, case.size)
    images = np.random.default_rng(0).normal(size=(case.chunk, *shape)).astype(np.float32)
    network = export_network(case.build().eval(), shape, images[:2])
    plain = GraphSession(*network.bundle.serialise(), device="cpu")
    batches = [images[start : start + case.batch] for start in range(0, case.chunk, case.batch)]
    variants = {which: _Draws(network, which, batches) for which in LAYERS}

    def passes() -> object:
        return [plain.run({IMAGE: batch}) for _ in range(DRAWS) for batch in batches]

    plain.run({IMAGE: batches[0]})
    theirs: list[float] = []
    ours: dict[str, list[float]] = {which: [] for which in LAYERS}
    for _ in range(case.repeats):
        theirs.append(cpu_seconds(passes))
        for which, draws in variants.items():
            ours[which].append(cpu_seconds(draws))
    result: dict[str, Any] = {"images": case.chunk, "batch": case.batch, "size": case.size, "repeats": case.repeats}
    result["seconds_per_1000_images_and_plain_pass"] = round(1000 * statistics.median(theirs) / case.chunk / DRAWS, 3)
    for which, draws in variants.items():
        ratios = sorted(mine / plainly for mine, plainly in zip(ours[which], theirs, strict=True))
        result[which] = draws.describe() | {
            "ratio": round(statistics.median(ratios), 3),
            "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
            "ratio_of_multiplications": round(ratio_of_multiplications(network, draws.tail), 3),
            "aim": AIMS.get(which),
            "seconds_per_1000_images": round(1000 * statistics.median(ours[which]) / case.chunk, 2),
        }
    return result


def ratio_of_multiplications(network: Exported, tail: Tail) -> float:
    """Multiplications of the trunk once and of the tail for every draw, by those of the network as often."""
    own = {name for node in tail.bundle.proto.graph.node for name in node.output}
    products = dict(multiplications(network.bundle.proto))
    whole = sum(products.values())
    drawn = sum(count for name, count in products.items() if name in own)
    return (DRAWS * drawn + whole - drawn) / (DRAWS * whole)


def multiplications(model: onnx.ModelProto) -> Iterator[tuple[str, int]]:
    """By the first output of every convolution and matrix product, how many an image takes."""
    shapes = static_shapes(tensor_types(model))
    users = {name: weight for weight in weight_tensors(model) for name in weight.nodes}
    for node in model.graph.node:
        if node.output[0] in users:
            weight, out = users[node.output[0]], shapes[node.output[0]]
            positions = math.prod(int(size or 1) for size in out[2:]) if node.op_type == "Conv" else 1
            yield node.output[0], positions * math.prod(weight.shape)


class _Draws:
    """Everything a scan does for the weight draws of one choice of layers."""

    def __init__(self, network: Exported, which: str, batches: list[NDArray[np.float32]]) -> None:
        self._batches = batches
        self.tail = cut_tail(network.bundle, choose_weights(network.bundle.proto, network.candidates, which))
        self._posterior = untrained_posterior(self.tail, MopedSettings(), DRAWS, 0)
        self._trunk = GraphSession(*expose(network.bundle, self.tail).serialise(), device="cpu")
        self._names = [LOGITS, *(item for item in self._posterior.inputs if item != IMAGE)]
        self._scorer = DrawScorer(self._posterior, "cpu")
        self._trunk.run({IMAGE: batches[0]}, self._names)

    def __call__(self) -> object:
        parts = [self._trunk.run({IMAGE: batch}, self._names) | {IMAGE: batch} for batch in self._batches]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in self._scorer.inputs}
        return self._scorer.score(joined, max(len(self._batches[0]), DRAWN_AT_ONCE))

    def describe(self) -> dict[str, Any]:
        return {
            "weight_tensors": len(self.tail.weights),
            "draws_in_memory": self._scorer.resident,
            "tail_megabytes": round(len(self._posterior.weights) / 2**20, 1),
        }


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Cost of 40 weight draws against 40 plain passes.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figures = {name: measure(case) for name, case in CASES.items()}
    text = json.dumps({"draws": DRAWS, "machine": describe_machine(), "networks": figures}, indent=2)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
