"""How much the default loses where few clean images are held, and to what, on the development half.

    python -m reference.panel.few_images --data DATA --runs RUNS --out reference/results/few_images.json

For every cell of the development half that counts, references of several sizes are drawn several times from the clean
images that are held out, and the default is calibrated with five folds and with ten. Beside what it flags stands what
it would flag if 1% of the clean inputs set its threshold: the difference is what a threshold of few images costs, the
rest is what densities of few images do.

What the result file has is not measured again; once all is there, the same command prints the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.folds import stratified_folds
from detectors.calibration.plan import CalibrationPlan, plan_calibration
from detectors.deep_features.detector import ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT
from reference.datasets import DataSet, load
from reference.features import Features, joined, keys_of
from reference.metrics import detection_rate_at
from reference.panel.cells import Cell
from reference.panel.networks import network_named
from reference.panel.open_cell import bench_of
from reference.panel.plan import development
from reference.panel.run import SUCCESS
from reference.power import draw
from reference.resumable import run_script

DRAWS: Final[Mapping[int, int]] = {10: 20, 20: 10, 50: 5}
"""Clean images a class, and how many references of that size are drawn."""
FOLDS: Final = (5, 10)
NETWORKS: Final = ("scnn", "resnet20")
LEVEL: Final = 0.01


def extract(cell: Cell, data: DataSet, runs: Path) -> tuple[Features, Features, Features, NDArray[np.bool_]]:
    """Clean images to draw from, clean inputs, triggered ones, and on which of these the attack succeeds."""
    bench = bench_of(cell, data, runs)
    pictures = bench.pictures
    parts = (pictures.fit, pictures.held_out, pictures.clean, pictures.triggered)
    fit, held_out, clean, triggered = (_late(bench.features(part.images, part.labels)) for part in parts)
    succeeds = np.asarray(triggered.predicted == pictures.aim.numpy())
    return joined(fit, held_out), clean, triggered, succeeds


def _late(features: Features) -> Features:
    return Features(features.only(keys_of(DEFAULT, list(features.values))), features.logits, features.labels)


def figures(reference: Features, clean: Features, triggered: Features, folds: int | None) -> dict[str, float]:
    """What one reference finds at 1%.

    Args:
        reference: Its images.
        clean: Clean inputs.
        triggered: Triggered inputs.
        folds: Of the calibration; None for what the product chooses.

    Returns:
        ``detection`` and ``false_alarms`` by p-values, and ``at_exact_threshold``, detection above a threshold that 1%
        of the clean inputs exceed.
    """
    labels = reference.labels
    plan = plan_calibration(labels, 0)
    if folds is not None:
        plan = CalibrationPlan("cross-conformal", stratified_folds(labels, folds, 0))
    seen = ImageClasses(labels, reference.predicted, reference.logits.shape[1], reference.confidence)
    fitted = fit_deep_features(reference.values, seen, DEFAULT, plan, seed=0)
    one, other = (
        fitted.calibration.judge(fitted.score(part.values, part.predicted, part.confidence))
        for part in (clean, triggered)
    )
    truth = np.arange(len(one.combined) + len(other.combined)) >= len(one.combined)
    return {
        "detection": float((other.p_values <= LEVEL * (1 + 1e-12)).mean()),
        "false_alarms": float((one.p_values <= LEVEL * (1 + 1e-12)).mean()),
        "at_exact_threshold": detection_rate_at(LEVEL, truth, np.concatenate([one.combined, other.combined])),
    }


def measure(reference: Features, clean: Features, triggered: Features) -> dict[str, dict[str, float]]:
    """Means over the draws of every size and number of folds, and the whole reference as the product takes it."""
    classes = reference.logits.shape[1]
    found = {"all": _rounded([figures(reference, clean, triggered, None)])}
    for size, times in DRAWS.items():
        drawn = [reference.take(draw(reference.labels, size * classes, classes, seed)) for seed in range(times)]
        for folds in FOLDS:
            found[f"{size}/{folds}"] = _rounded([figures(one, clean, triggered, folds) for one in drawn])
    return found


def _rounded(drawn: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([one[name] for one in drawn])), 5) for name in drawn[0]}


def run(result: dict[str, Any], data_folder: Path, runs: Path) -> Iterator[str]:
    """Add what is missing to a result; yields a line after each cell."""
    for network in NETWORKS:
        missing = [cell for cell in development((network,)) if cell.name not in result["cells"]]
        data = load(network_named(network).data, data_folder) if missing else None
        for cell in missing:
            assert data is not None
            reference, clean, triggered, succeeds = extract(cell, data, runs)
            success = round(float(succeeds.mean()), 5)
            found = measure(reference, clean, triggered) if success >= SUCCESS else {}
            result["cells"][cell.name] = {"success": success, "found": found}
            yield f"{cell.name}: attack success {success:.1%}"


def table(result: Mapping[str, Any]) -> list[str]:
    """Rows of a Markdown table: means over the cells that count, and the worst of them."""
    counts = [cell["found"] for cell in result["cells"].values() if cell["found"]]
    rows = [
        f"{len(counts)} cells count.",
        "",
        "| clean images a class | folds | detection at 1% | worst cell | false alarms | detection at an exact 1% |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for key in counts[0]:
        size, _, folds = key.partition("/")
        detection, alarms, exact = (
            [one[key][name] for one in counts] for name in ("detection", "false_alarms", "at_exact_threshold")
        )
        rows.append(
            f"| {size} | {folds or '-'} | {np.mean(detection):.3f} | {min(detection):.3f} | {np.mean(alarms):.4f} "
            f"| {np.mean(exact):.3f} |"
        )
    return rows


def main() -> int:
    """Command line of this module; returns the exit code."""
    about = {"command": "python -m reference.panel.few_images", "draws": DRAWS, "cells": {}}
    described = "Measure the default on few clean images, on the development half."
    return run_script(described, ("data", "runs"), about, run, table)


if __name__ == "__main__":
    sys.exit(main())
