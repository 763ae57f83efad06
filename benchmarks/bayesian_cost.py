"""Measure what weight draws cost: T = 40 draws against 40 plain passes of the same network, in one run.

    python benchmarks/bayesian_cost.py --out benchmarks/results/bayesian_cpu.json

Both are run by ONNX Runtime on one thread, alternately, in CPU seconds. The draws include everything a
scan does for them: the trunk, all passes of the tail, and the entropies. Networks have random weights:
speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
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

DRAWS = 40
REPEATS = 3
AIMS = {"all": 0.6, "last-stage": 0.15}
NETWORKS = (("resnet20", ResNet20, 32, 64), ("resnet18", torchvision.models.resnet18, 224, 8))


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(build: Callable[[], nn.Module], size: int, batch: int) -> dict[str, Any]:
    """Ratios for one network."""
    torch.manual_seed(0)
    module = build().eval()
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, 3, size, size)).astype(np.float32)
    network = export_network(module, (3, size, size), images[:2])
    plain = GraphSession(*network.bundle.serialise(), device="cpu")
    result: dict[str, Any] = {"input": f"{batch}x3x{size}x{size}"}
    for which, aim in AIMS.items():
        tail = cut_tail(network.bundle, choose_weights(network.bundle.proto, network.candidates, which))
        posterior = untrained_posterior(tail, MopedSettings(), DRAWS, 0)
        trunk = GraphSession(*expose(network.bundle, tail).serialise(), device="cpu")
        names = [LOGITS, *(item for item in posterior.inputs if item != IMAGE)]
        scorer = DrawScorer(posterior, "cpu")

        def draws(trunk: GraphSession = trunk, names: list[str] = names, scorer: DrawScorer = scorer) -> object:
            return scorer.score(trunk.run({IMAGE: images}, names) | {IMAGE: images})

        def passes() -> object:
            return [plain.run({IMAGE: images}) for _ in range(DRAWS)]

        draws(), passes()
        pairs = [(cpu_seconds(draws), cpu_seconds(passes)) for _ in range(REPEATS)]
        ratios = sorted(ours / theirs for ours, theirs in pairs)
        result[which] = {
            "weight_tensors": len(tail.weights),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
            "aim": aim,
            "seconds_per_1000_images": round(1000 * statistics.median(ours for ours, _ in pairs) / batch, 2),
            "draws_in_memory": scorer.resident,
            "tail_megabytes": round(len(posterior.weights) / 2**20, 1),
        }
    result["peak_memory_mebibytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Cost of 40 weight draws against 40 plain passes.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figures = {name: measure(build, size, batch) for name, build, size, batch in NETWORKS}
    text = json.dumps({"draws": DRAWS, "machine": describe_machine(), "networks": figures}, indent=2)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
