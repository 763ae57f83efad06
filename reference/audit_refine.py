"""Measure refinement by gradients, Neural Cleanse and MM-BD on the small networks of :mod:`reference.audit_panel`.

    python -m reference.audit_refine measure --data-dir DATA --networks NETWORKS --out MEASURED
    python -m reference.audit_refine summarise --out MEASURED --results reference/results/audit_refine.json

Every network is probed and refined as `modelscan audit --refine` does, with the same 400 clean pictures as in
:mod:`reference.audit_panel`. Neural Cleanse searches on the same half of them, from noise, for masks that move 99% of
the pictures; MM-BD takes none. `measure` goes on where it was cut off; MEASURED is a file with one JSON object a line
and network. Seconds are those of one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.inversion.masks import Masks, smallest_masks
from detectors.inversion.optimise import Network, Search
from detectors.inversion.refine import Networks, Refined, refine
from detectors.probing.probing import Probed, probe
from reference.audit_networks import Made, attack_of, logits, network, qualities
from reference.audit_panel import clean_pictures, panel, read
from reference.audit_refine_summary import write_summary
from reference.augmentation import normalise
from reference.datasets import DataSet, load
from reference.maximum_margin import maximum_margins
from scanner.base.errors import LatentscanError

T = TypeVar("T")

CLASSES: Final = 10
CLEANSE: Final = Search(steps=200, success=0.99)


def measure(data: DataSet, folder: Path, out: Path) -> None:
    """Search all networks that were not searched yet."""
    known = {one["name"] for one in read(out)} if out.exists() else set()
    for part, made in panel(data.name):
        if made.name not in known:
            record = {"part": part, **measured(made, data, folder)}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def measured(made: Made, data: DataSet, folder: Path) -> dict[str, Any]:
    """What the searches find on one network."""
    model = network(made, data, folder).requires_grad_(False)

    def gradients(images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(normalise(images * 255, data))
        return found

    def ask(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return logits(model, torch.from_numpy(pixels).permute(0, 3, 1, 2), data).numpy()

    pictures = clean_pictures(made, data)
    probed, _ = timed(lambda: probe(pictures, ask, lambda passes: True, seed=0))
    refined, refining = timed(lambda: refine(pictures, probed, Networks(gradients, ask), lambda: True))
    norms, cleansing = timed(lambda: cleanse(gradients, pictures, probed, ask))
    shape = pictures.shape[3], pictures.shape[1], pictures.shape[2]
    margins, raising = timed(lambda: maximum_margins(gradients, shape, CLASSES, made.seed))
    attack = attack_of(made, data)
    _, success = qualities(model, made, data)
    return {
        "name": made.name,
        "attack": made.attack,
        "seed": made.seed,
        "target": None if attack is None else attack.target,
        "attack_success_rate": None if success is None else round(success, 4),
        "probing": [round(value, 4) for value in probed.statistics.tolist()],
        "refined": [told(one) for one in sorted(refined, key=lambda one: (one.kind, one.target))],
        "cleanse_norms": norms,
        "margins": [round(value, 3) for value in margins.tolist()],
        "seconds": {"refine": refining, "cleanse": cleansing, "margin": raising},
    }


def timed(step: Callable[[], T]) -> tuple[T, float]:
    """What a step returns, and its seconds of a core."""
    started = time.process_time()
    found = step()
    return found, round(time.process_time() - started, 2)


def cleanse(
    gradients: Network, pictures: NDArray[np.uint8], probed: Probed, ask: Callable[[NDArray[np.uint8]], Any]
) -> list[float | None]:
    """Sums of the masks that Neural Cleanse finds for each class; None where it finds none."""
    chosen = pictures[probed.chosen_on]
    height, width, channels = chosen.shape[1:]
    generator = torch.Generator().manual_seed(0)
    start = Masks(
        torch.rand(CLASSES, height, width, generator=generator),
        torch.rand(CLASSES, channels, height, width, generator=generator),
        torch.full((CLASSES,), torch.inf),
    )
    found = smallest_masks(
        gradients,
        torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255,
        torch.from_numpy(ask(chosen).argmax(1)),
        start,
        torch.arange(CLASSES),
        CLEANSE,
    )
    return [round(float(norm), 2) if torch.isfinite(norm) else None for norm in found.norms]


def told(one: Refined) -> dict[str, Any]:
    """A refined pattern as it is recorded."""
    return {
        "kind": one.kind,
        "target": one.target,
        "size": one.size,
        "soft": round(one.soft, 2) if np.isfinite(one.soft) else None,
        "reached": one.reached,
        "moved": one.verified.moved,
        "eligible": one.verified.eligible,
    }


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Refine patterns by gradients on a panel of small networks.")
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("measure")
    step.add_argument("--data-dir", type=Path, required=True)
    step.add_argument("--networks", type=Path, required=True)
    step.add_argument("--out", type=Path, required=True)
    step = steps.add_parser("summarise")
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.step == "summarise":
        write_summary(read(options.out), options.results)
        return 0
    try:
        measure(load("mnist", options.data_dir), options.networks, options.out)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
