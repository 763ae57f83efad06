"""Measure model audits on a panel of small networks, clean ones and ones with a backdoor.

    python -m reference.audit_panel train --data mnist --data-dir DATA --networks NETWORKS
    python -m reference.audit_panel measure --data mnist --data-dir DATA --networks NETWORKS --out MEASURED
    python -m reference.audit_panel summarise --out MEASURED --results reference/results/audit.json

`train` makes the networks, and `measure` probes them as `modelscan audit` does, with 400 clean pictures of the test set
each; both go on where they were cut off. MEASURED is a file with one JSON object a line and network. `summarise` writes
what is in docs/audit.md. The clean networks that the program ships are written by :mod:`reference.audit_shipped`.

Networks are in three parts. What a statistic is worth was decided on `development`. Others are compared with the clean
networks of `null` and of `development`, which are also what the program ships. `test` was looked at once. No two parts
share a seed, and so neither pictures nor triggers nor recipes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detectors.probing.probe import Family
from detectors.probing.probing import STATISTICS, Probed, probe
from detectors.probing.search import ABOUT_ALL
from reference.audit_attacks import ATTACKS, CLEAN
from reference.audit_networks import Made, attack_of, logits, network, panel_data, qualities
from reference.audit_summary import write_summary
from reference.datasets import DataSet
from scanner.base.errors import LatentscanError

IMAGES: Final = 400
DEVELOPED_ON: Final = ("patch-white", "patch-next-class", "patch-one-class", "blended", "sinusoid")
"""Attacks of the development part; the others were first seen in the test."""
PARTS: Final = ("development", "null", "test")
FIRST_SEED: Final = {"development": 0, "null": 1000, "test": 2000}
CLEAN_NETWORKS: Final = {"development": 20, "null": 40, "test": 30}
BACKDOORED: Final = {"development": 4, "null": 0, "test": 5}


def panel(data: str) -> Iterator[tuple[str, Made]]:
    """Every network with its part, in an order in which all kinds come early."""
    found: list[tuple[float, str, Made]] = []
    for part in PARTS:
        first = FIRST_SEED[part]
        attacks = DEVELOPED_ON if part == "development" else ATTACKS
        for name, count in [(CLEAN, CLEAN_NETWORKS[part]), *((attack, BACKDOORED[part]) for attack in attacks)]:
            found += [(number / count, part, Made(data, name, first + number)) for number in range(count)]
    found.sort(key=lambda one: (one[1] != "development", one[0]))
    return ((part, made) for _, part, made in found)


def train(data: DataSet, folder: Path) -> None:
    """Make all networks that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for _, made in panel(data.name):
        if not (folder / f"{made.name}.pt").exists():
            started = time.monotonic()
            network(made, data, folder)
            print(f"{made.name} {time.monotonic() - started:.1f}s", flush=True)


def measure(data: DataSet, folder: Path, out: Path) -> None:
    """Probe all networks that are there and were not probed yet."""
    known = {one["name"] for one in read(out)} if out.exists() else set()
    for part, made in panel(data.name):
        if made.name in known or not (folder / f"{made.name}.pt").exists():
            continue
        record = {"part": part, **_measured(made, network(made, data, folder), data)}
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read(out: Path) -> list[dict[str, Any]]:
    """What was measured."""
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def clean_pictures(made: Made, data: DataSet) -> NDArray[np.uint8]:
    """Pictures ``(400, H, W, C)`` of the test set that an audit of a network is given."""
    rows = torch.randperm(len(data.test) - 2000, generator=torch.Generator().manual_seed(made.seed))[:IMAGES]
    return data.test.images[rows].permute(0, 2, 3, 1).contiguous().numpy()


def _measured(made: Made, model: nn.Module, data: DataSet) -> dict[str, Any]:
    def ask(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return logits(model, torch.from_numpy(pixels).permute(0, 3, 1, 2), data).numpy()

    accuracy, success = qualities(model, made, data)
    pictures, started = clean_pictures(made, data), time.monotonic()
    probed = probe(pictures, ask, lambda passes: True, seed=0)
    attack = attack_of(made, data)
    return {
        "name": made.name,
        "data": made.data,
        "attack": made.attack,
        "seed": made.seed,
        "trigger": None if attack is None else attack.trigger.description,
        "target": None if attack is None else attack.target,
        "accuracy": round(accuracy, 4),
        "attack_success_rate": None if success is None else round(success, 4),
        "seconds": round(time.monotonic() - started, 2),
        "passes": probed.passes,
        "statistics": [round(value, 4) for value in probed.statistics.tolist()],
        "one_class": [round(_one_class(probed, family), 4) for family in STATISTICS],
        "look": [round(float(value), 3) for value in (pictures.mean(), pictures.std())],
        "strongest": _strongest(probed),
    }


def _one_class(probed: Probed, family: Family) -> float:
    """How much of one class the best pattern of a family moves, beyond the others."""
    return probed.found[family, "one class"].statistic


def _strongest(probed: Probed) -> dict[str, Any]:
    """The pattern that moves most by a rule about all classes."""
    found = max((probed.found[family, ABOUT_ALL] for family in STATISTICS), key=lambda one: one.statistic)
    rule = found.rule
    return {
        "pattern": found.probe.describe(),
        "target": None if rule is None else rule.target,
        "shift": None if rule is None else rule.shift,
        "moved": found.moved,
        "eligible": found.eligible,
    }


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure model audits on a panel of small networks.")
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("train", "measure"):
        step = steps.add_parser(name)
        step.add_argument("--data", choices=("mnist", "cifar10"), required=True)
        step.add_argument("--data-dir", type=Path, required=True)
        step.add_argument("--networks", type=Path, required=True)
        if name == "measure":
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
        data = panel_data(options.data, options.data_dir)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.step == "train":
        train(data, options.networks)
    else:
        measure(data, options.networks, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
