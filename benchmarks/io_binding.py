"""Measure what binding memory to a session once saves over handing it arrays, on a processor.

    python benchmarks/io_binding.py --out benchmarks/results/io_binding.json

Bound, a batch is copied into an input and its outputs are left in an array, both allocated once; otherwise ONNX Runtime
reads the caller's array and allocates what it gives. Both alternately in one process, in CPU seconds. gpu.py measures
the same on a GPU, where both ways copy. Networks have random weights: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
import torchvision
from numpy.typing import NDArray

from reference.evaluate import describe_machine
from scanner.graph.pool import add_pixel_input
from scanner.graph.session import GraphSession, images_per_run
from scanner.inputs.presets import preset
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.export import export_network

BATCHES = 4
REPEATS = {"resnet20": 41, "resnet18": 15}


class Bound:
    """A session with memory of its own for one batch of pixels, on its device, and for the logits, on the host.

    Not for several threads at once: each wants its own.

    Args:
        session: A graph from ``pixels`` to ``logits``.
        device: Where its pixels are: ``cpu`` or ``cuda``.
        pixels: A first batch; all others have its shape.
    """

    def __init__(self, session: GraphSession, device: str, pixels: NDArray[np.uint8]) -> None:
        self._session = session._session
        first = session.run({"pixels": pixels}, ["logits"])["logits"]
        # Of a shape, not from the array: on a processor that would be the array itself.
        self._pixels = ort.OrtValue.ortvalue_from_shape_and_type(pixels.shape, pixels.dtype, device, 0)
        self._pixels.update_inplace(pixels)
        self._logits = np.empty_like(first)
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input("pixels", self._pixels)
        self._binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(self._logits, "cpu", 0))

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits of a batch, copied to where the session reads it; valid until the next run."""
        self._pixels.update_inplace(pixels)
        return self.run_again()

    def run_again(self) -> NDArray[np.float32]:
        """Logits of the batch that is there: what no way of copying could beat."""
        self._session.run_with_iobinding(self._binding)
        return self._logits


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(name: str, size: int) -> dict[str, Any]:
    """CPU seconds of runs with bound memory by those of runs with arrays, for one network."""
    torch.manual_seed(0)
    network = ResNet20() if name == "resnet20" else torchvision.models.get_model(name)
    probe = np.random.default_rng(0).normal(size=(4, 3, size, size)).astype(np.float32)
    exported, spec = export_network(network.eval(), (3, size, size), probe), preset("cifar10", 3, (size, size))
    assert spec is not None
    session = GraphSession(*add_pixel_input(exported.bundle, spec).serialise(), device="cpu")
    shape = (BATCHES, images_per_run((size, size)), size, size, 3)
    batches = list(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    bound = Bound(session, "cpu", batches[0])

    def by_arrays() -> list[NDArray[np.float32]]:
        return [session.run({"pixels": batch}, ["logits"])["logits"] for batch in batches]

    def by_binding() -> list[NDArray[np.float32]]:
        return [bound.run(batch).copy() for batch in batches]

    assert all((one == other).all() for one, other in zip(by_arrays(), by_binding(), strict=True))
    ratios = sorted(cpu_seconds(by_binding) / cpu_seconds(by_arrays) for _ in range(REPEATS[name]))
    quartiles = statistics.quantiles(ratios, n=4)
    return {
        "size": size,
        "batch": shape[1],
        "repeats": REPEATS[name],
        "bound_by_arrays": round(statistics.median(ratios), 4),
        "quartiles": [round(quartiles[0], 4), round(quartiles[2], 4)],
    }


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Memory bound to a session against arrays, on a processor.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = {name: measure(name, size) for name, size in (("resnet20", 32), ("resnet18", 224))}
    text = json.dumps({"machine": describe_machine(), "networks": networks}, indent=2)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
