"""Probe the trained runs of this project, one network an attack, as `modelscan audit` does.

    python -m reference.audit_runs --data-dir DATA --runs RUNS --out reference/results/audit_runs.json

There are too few of them for a p-value: this says how strong the strongest patterns are on networks larger than
those of :mod:`reference.audit_panel`. What the output file has already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.probing.probe import Family
from detectors.probing.probing import STATISTICS, Probed, probe
from detectors.probing.search import ABOUT_ALL
from reference.augmentation import normalise
from reference.datasets import DataSet, load
from reference.evaluate import describe_machine, write_json
from reference.training import build_model, read_record
from scanner.base.errors import LatentscanError

RUNS: Final = (
    "cifar10-square-0-seed1",
    "cifar10-square-all-to-one-0-seed0",
    "cifar10-square-10-seed0",
    "cifar10-square-one-class-implanted-seed0",
    "cifar10-blended-10-seed0",
    "cifar10-blended-implanted-seed0",
    "cifar10-sinusoid-implanted-seed0",
    "cifar10-warp-implanted-seed0",
)
IMAGES: Final = 400
PASSES: Final = 20_000


def audit_run(name: str, runs: Path, data: DataSet) -> dict[str, Any]:
    """What the strongest patterns do to one network."""
    record = read_record(runs / name)
    model = build_model(record["config"]["data"])
    model.load_state_dict(torch.load(runs / name / "model.pt", weights_only=True))
    model.eval()
    rows = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:IMAGES]
    pictures = data.test.images[rows].permute(0, 2, 3, 1).contiguous().numpy()

    @torch.no_grad()
    def ask(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: torch.Tensor = model(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), data))
        return logits.numpy()

    started = time.monotonic()
    probed = probe(pictures, ask, lambda passes: passes <= PASSES, seed=0)
    return {
        "run": name,
        "seconds": round(time.monotonic() - started, 1),
        "passes": probed.passes,
        "complete": probed.complete,
        "statistics": [round(value, 4) for value in probed.statistics.tolist()],
        "strongest": [told for family in STATISTICS if (told := _told(probed, family)) is not None],
    }


def _told(probed: Probed, family: Family) -> dict[str, Any] | None:
    found = probed.found.get((family, ABOUT_ALL))
    if found is None:
        return None
    rule = found.rule
    return {
        "pattern": found.probe.describe(),
        "target": None if rule is None else rule.target,
        "shift": None if rule is None else rule.shift,
        "moved": found.moved,
        "eligible": found.eligible,
        "low": round(found.low, 4),
        "high": round(found.high, 4),
    }


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Probe the trained runs of this project.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    done: dict[str, Any] = json.loads(options.out.read_text())["runs"] if options.out.exists() else {}
    try:
        data = load("cifar10", options.data_dir)
        for name in RUNS:
            if name not in done:
                done[name] = audit_run(name, options.runs, data)
                write_json(options.out, {"made_with": describe_machine(), "statistics": STATISTICS, "runs": done})
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
