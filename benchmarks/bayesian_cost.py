"""Measure what weight draws cost: T = 40 draws against 40 plain passes of the same network, in one run.

    python benchmarks/bayesian_cost.py --out benchmarks/results/bayesian_cpu.json

Both are run by ONNX Runtime on one thread, alternately, in CPU seconds. The draws include everything a
scan does for them: the trunk, all passes of the tail, and the entropies. Networks have random weights:
speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from detectors.bayesian.moped import MopedSettings
from reference.evaluate import describe_machine
from scanner.bayesian.fit_posterior import untrained_posterior
from scanner.bayesian.scorer import DrawScorer
from scanner.graph.bundle import IMAGE, LOGITS
from scanner.graph.session import GraphSession
from scanner.graph.weights import choose_weights, cut_tail, expose
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.export import export_network
from scanner.score import STREAMED_CHUNK

DRAWS = 40
AIMS = {"all": 0.6, "last-stage": 0.15}


@dataclass(frozen=True)
class Case:
    """A network, and how a scan would run it: images at once, images a run, choices of layers, repeats."""

    build: Callable[[], nn.Module]
    size: int
    chunk: int
    batch: int
    layers: tuple[str, ...]
    repeats: int


CASES = {
    "resnet20": Case(ResNet20, 32, 64, 64, ("all", "last-stage"), 3),
    # All layers are left out: forty passes of the whole network over a chunk take a quarter of an hour on one core.
    "resnet18": Case(torchvision.models.resnet18, 224, STREAMED_CHUNK, 8, ("last-stage",), 1),
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
    result: dict[str, Any] = {"images": case.chunk, "batch": case.batch, "size": case.size, "repeats": case.repeats}
    for which in case.layers:
        tail = cut_tail(network.bundle, choose_weights(network.bundle.proto, network.candidates, which))
        posterior = untrained_posterior(tail, MopedSettings(), DRAWS, 0)
        trunk = GraphSession(*expose(network.bundle, tail).serialise(), device="cpu")
        names = [LOGITS, *(item for item in posterior.inputs if item != IMAGE)]
        scorer = DrawScorer(posterior, "cpu")

        def draws(trunk: GraphSession = trunk, names: list[str] = names, scorer: DrawScorer = scorer) -> object:
            parts = [trunk.run({IMAGE: batch}, names) | {IMAGE: batch} for batch in batches]
            joined = {name: np.concatenate([part[name] for part in parts]) for name in scorer.inputs}
            return scorer.score(joined, case.batch)

        def passes() -> object:
            return [plain.run({IMAGE: batch}) for _ in range(DRAWS) for batch in batches]

        trunk.run({IMAGE: batches[0]}, names), plain.run({IMAGE: batches[0]})
        pairs = [(cpu_seconds(draws), cpu_seconds(passes)) for _ in range(case.repeats)]
        ratios = sorted(ours / theirs for ours, theirs in pairs)
        result[which] = {
            "weight_tensors": len(tail.weights),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
            "aim": AIMS[which],
            "seconds_per_1000_images": round(1000 * statistics.median(ours for ours, _ in pairs) / case.chunk, 2),
            "draws_in_memory": scorer.resident,
            "tail_megabytes": round(len(posterior.weights) / 2**20, 1),
        }
    return result


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
