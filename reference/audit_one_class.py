"""Whether plain patches give away a backdoor in one class alone, searched for by pairs of classes.

    python -m reference.audit_one_class --data-dir DATA --networks NETWORKS --out reference/results/audit_one_class.json

On the networks of :mod:`reference.audit_panel` that are clean, or whose backdoor moves one class alone. Every patch of
the audit's library, and every neighbour of one that is best, is put on one half of the clean pictures; for each pair of
a source and a target, the patch that moves most of the source to the target beyond what it changes of the others goes
to the other half, and is counted there. Pairs are compared with the same pairs of clean networks. How was decided on
the development part; `--test` measures the others. What the output file has already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.calibration.binomial import clopper_pearson
from detectors.probing.catalogue import library
from detectors.probing.null import USUAL, compare_networks
from detectors.probing.probe import Probe, Shape
from detectors.probing.probing import split
from reference.audit_attacks import CLEAN
from reference.audit_networks import Made, logits, network, qualities
from reference.audit_panel import clean_pictures, panel
from reference.audit_summary import LEVEL
from reference.datasets import DataSet, load
from reference.evaluate import describe_machine, write_json
from scanner.base.errors import LatentscanError

ATTACK: Final = "patch-one-class"
Predict = Callable[[NDArray[np.uint8]], NDArray[np.int64]]
Table = NDArray[np.float64]


def pairs(before: NDArray[np.int64], after: NDArray[np.int64], classes: int) -> Table:
    """Of each source and target ``(S, T)``: the share that is moved, less the share of the others that change."""
    changed = before != after
    found = np.zeros((classes, classes))
    for source in range(classes):
        own = before == source
        if own.any():
            hits = np.bincount(after[own & changed], minlength=classes) / own.sum()
            found[source] = np.maximum(0.0, hits - changed[~own].mean())
    return found


def strongest(pictures: NDArray[np.uint8], predict: Predict) -> Table:
    """What the best patch of each pair moves on pictures that it was not chosen on."""
    before, shape = predict(pictures), Shape(*pictures.shape[1:])
    classes = int(before.max()) + 1
    choosing, judging = split(before, 0)
    patches: list[Probe] = [probe for probe in library(shape) if probe.family == "patch"]
    best, chosen = np.zeros((classes, classes)), np.full((classes, classes), -1)

    def consider(first: int) -> None:
        for position in range(first, len(patches)):
            after = predict(patches[position].stamp(pictures[choosing]))
            value = pairs(before[choosing], after, classes)
            better = value > best
            best[better], chosen[better] = value[better], position

    consider(0)
    tried = len(patches)
    around = (near for position in np.unique(chosen[chosen >= 0]) for near in patches[position].neighbours(shape))
    patches += [near for near in dict.fromkeys(around) if near not in set(patches[:tried])]
    consider(tried)
    counted = np.zeros((classes, classes))
    for position in np.unique(chosen[chosen >= 0]).tolist():
        after = predict(patches[position].stamp(pictures[judging]))
        mine = chosen == position
        counted[mine] = pairs(before[judging], after, classes)[mine]
    return counted


def measure(part: str, made: Made, data: DataSet, folder: Path) -> dict[str, Any]:
    """One network."""
    model, started = network(made, data, folder), time.monotonic()

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = logits(model, torch.from_numpy(pixels).permute(0, 3, 1, 2), data).argmax(1).numpy()
        return found

    counted = strongest(clean_pictures(made, data), predict)
    _, success = qualities(model, made, data)
    return {
        "part": part,
        "name": made.name,
        "attack": made.attack,
        "attack_success_rate": None if success is None else round(success, 4),
        "seconds": round(time.monotonic() - started, 1),
        "pairs": np.round(counted, 3).tolist(),
    }


def statistics(networks: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Of each network: the largest value of any pair, and the largest excess over what is usual of the same pair."""
    tables = np.array([one["pairs"] for one in networks])
    usual = np.quantile(tables, USUAL, axis=0)
    return {
        "the most that any pair is moved": tables.max((1, 2)),
        "the most beyond what is usual of the same pair": (tables - usual).max((1, 2)),
    }


def auroc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """How often a network with a backdoor has the larger value; ties count half."""
    difference = values[positive][:, None] - values[~positive][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def table(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Both statistics on the development part, as rows of a Markdown table."""
    networks = [one for one in measured if one["part"] == "development"]
    positive = np.array([one["attack"] != CLEAN for one in networks])
    rows = []
    for name, values in statistics(networks).items():
        backdoored = ", ".join(f"{value:.2f}" for value in values[positive])
        clean = f"{np.median(values[~positive]):.2f}, {values[~positive].max():.2f}"
        rows.append(f"| {name} | {clean} | {backdoored} | {auroc(values, positive):.2f} |")
    return rows


def tested(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every network of the test that is unusual at 5% among the clean ones of the other parts, or has a backdoor."""
    clean = np.array([np.ravel(one["pairs"]) for one in measured if one["part"] != "test" and one["attack"] == CLEAN])
    rows, alarms = [], []
    for one in (each for each in measured if each["part"] == "test"):
        found = compare_networks(np.ravel(one["pairs"]), clean, LEVEL)
        if one["attack"] == CLEAN:
            alarms.append(found.p_value <= LEVEL)
        else:
            source, target = divmod(found.loudest, len(one["pairs"]))
            rows.append(
                f"| {one['name']} | {one['attack_success_rate']:.0%} | {source} to {target} | "
                f"{one['pairs'][source][target]:.2f} | {found.p_value:.3f} |"
            )
    low, high = clopper_pearson(sum(alarms), len(alarms), 0.95)
    return [*rows, f"| clean: unusual | | | | {sum(alarms)} of {len(alarms)} ({low:.2f} to {high:.2f}) |"]


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Search small networks for backdoors in one class, by pairs.")
    for name in ("data-dir", "networks", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--test", action="store_true", help="measure the null and the test as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"machine": describe_machine(), "networks": []}
    if options.out.exists():
        result = json.loads(options.out.read_text(encoding="utf-8"))
    known = {one["name"] for one in result["networks"]}
    try:
        data = load("mnist", options.data_dir)
        # Those with a backdoor first; clean ones in turns.
        for part, made in sorted(panel("mnist"), key=lambda one: one[1].attack == CLEAN):
            wanted = options.test or part == "development"
            if wanted and made.attack in (CLEAN, ATTACK) and made.name not in known:
                result["networks"].append(measure(part, made, data, options.networks))
                write_json(options.out, result)
                print(made.name, result["networks"][-1]["seconds"], flush=True)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(*table(result["networks"]), sep="\n")
    if options.test:
        print(*tested(result["networks"]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
