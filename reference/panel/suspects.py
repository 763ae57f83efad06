"""What a batch tells beside each input by itself: units that inputs share, and scores that suspects have in common.

    python -m reference.panel.suspects --data DATA --runs RUNS --out reference/results/panel_suspects.json

On the development half, on which the weighting of scores was chosen: these are development figures. For every cell,
references of three sizes, and batches of a thousand inputs of which a share is triggered, several draws each. What the
result file has is not measured again; the same command prints the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reference.batch import Fitted, fit_batch, judge_batch
from reference.datasets import DataSet, load
from reference.features import Features, joined
from reference.panel.cells import Cell
from reference.panel.networks import network_named
from reference.panel.open_cell import bench_of
from reference.panel.plan import DEVELOPMENT_SEED, Row, cells
from reference.resumable import run_script
from scanner.fitting.fit_detectors import likened_by

ROWS: Final[Mapping[str, tuple[Row, ...]]] = {
    "scnn": (
        ("patch-random", "all-to-all", 0.05),
        ("four-pixels", "all-to-all", 0.1),
        ("blended-picture", "all-to-all", 0.1),
        ("wanet-strong", "all-to-last", 0.1),
    ),
    "vgg": (
        ("patch-random", "all-to-last", 0.1),
        ("patch-transparent", "all-to-last", 0.1),
        ("blended-noise", "all-to-last", 0.1),
        ("sig", "all-to-last", 0.1),
        ("wanet-strong", "all-to-last", 0.1),
    ),
    "resnet18": (
        ("patch-random", "all-to-last", 0.1),
        ("blended-noise", "all-to-last", 0.1),
        ("blended-picture", "all-to-last", 0.2),
        ("sig", "all-to-last", 0.1),
    ),
}
"""Rows of the development half, by network."""
SIZES: Final[Mapping[int, int]] = {400: 1, 50: 3, 10: 5}
"""Clean images a class, and how many references of that size are drawn."""
SHARES: Final = (0.0, 0.01, 0.05, 0.5)
INPUTS: Final = 1000
ALPHA: Final = 0.01
HOW: Final = ("alone", "by_units", "together")
CLASSES: Final = 10
COUNTED: Final = 0.75
"""Least success rate of a cell in the tables: less than the reported half asks for, so that there is a warp in each."""


def draws(cell: Cell, data: DataSet, runs: Path) -> dict[str, Any]:
    """Figures of one cell: by size and share, means over references."""
    bench = bench_of(cell, data, runs)
    pictures = bench.pictures
    parts = (pictures.fit, pictures.held_out, pictures.clean, pictures.triggered)
    fit, held_out, clean, triggered = (bench.features(part.images, part.labels) for part in parts)
    succeeds = np.asarray(triggered.predicted == pictures.aim.numpy())
    found: dict[str, Any] = {"attack_success_rate": round(float(succeeds.mean()), 5)}
    key = likened_by(bench.opened.descriptors).key
    for size, times in SIZES.items():
        drawn: dict[float, list[Mapping[str, float]]] = {share: [] for share in SHARES}
        half = size * CLASSES // 2
        for draw in range(times):
            rows = np.arange(draw * half, (draw + 1) * half)
            reference = joined(fit.take(rows), held_out.take(rows))
            fitted = fit_batch(reference, reference.labels, key, CLASSES, cell.seed)
            for share in SHARES:
                drawn[share].append(judge(fitted, clean, triggered, succeeds, share, draw))
        found |= {f"{size}/{share:g}": _means(some) for share, some in drawn.items()}
    return found


def judge(
    fitted: Fitted, clean: Features, triggered: Features, succeeds: NDArray[np.bool_], share: float, seed: int
) -> dict[str, float]:
    """What is flagged of one batch, of the triggered inputs on which the attack succeeds and of the clean ones."""
    generator = np.random.default_rng(seed)
    number = min(round(share * INPUTS), len(succeeds))
    bad = generator.permutation(len(succeeds))[:number]
    good = generator.permutation(len(clean.labels))[: INPUTS - number]
    order = generator.permutation(len(good) + number)
    batch = joined(clean.take(good), triggered.take(bad)).take(order)
    is_clean = order < len(good)
    works = np.concatenate([np.zeros(len(good), bool), succeeds[bad]])[order]
    judged = judge_batch(fitted, batch, seed, ALPHA)
    found = {"densities_p": judged.densities_p}
    for how in HOW:
        flagged = getattr(judged, how).p_values <= ALPHA * (1 + 1e-12)
        found[f"false_alarms_{how}"] = float(flagged[is_clean].mean())
        if works.any():
            found[f"detection_{how}"] = float(flagged[works].mean())
    return found


def _means(drawn: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(f"{np.mean([one[name] for one in drawn]):.5g}") for name in drawn[0]}


def run(result: dict[str, Any], data_folder: Path, runs: Path) -> Iterator[str]:
    """Add what is missing to a result; yields a line after each cell."""
    for network, rows in ROWS.items():
        missing = [cell for cell in cells(rows, [network], DEVELOPMENT_SEED) if cell.name not in result["cells"]]
        data = load(network_named(network).data, data_folder) if missing else None
        for cell in missing:
            assert data is not None
            result["cells"][cell.name] = draws(cell, data, runs)
            yield f"{cell.name}: {result['cells'][cell.name]['attack_success_rate']:.1%} success"


def tables(result: Mapping[str, Any]) -> Iterator[str]:
    """What is found where the attack succeeds, as Markdown: a line a cell, then means."""
    counted = {name: one for name, one in result["cells"].items() if one["attack_success_rate"] >= COUNTED}
    columns = [(size, share) for size in SIZES for share in SHARES if share >= 0.05]
    yield "| cell | " + " | ".join(f"{size} a class, {share:.0%}" for size, share in columns) + " |"
    yield "| --- |" + " --- |" * len(columns)
    for name, one in counted.items():
        yield f"| {name} | {' | '.join(_three(one[f'{size}/{share:g}'], 'detection') for size, share in columns)} |"
    for what in ("detection", "false_alarms"):
        cells = []
        for size, share in columns:
            figures = [one[f"{size}/{share:g}"] for one in counted.values()]
            cells.append(" / ".join(f"{np.mean([f[f'{what}_{how}'] for f in figures]):.3f}" for how in HOW))
        yield f"| mean, {what.replace('_', ' ')} | {' | '.join(cells)} |"


def _three(figures: Mapping[str, float], what: str) -> str:
    return " / ".join(f"{figures[f'{what}_{how}']:.3f}" for how in HOW)


def clean_batches(result: Mapping[str, Any]) -> str:
    """False alarms in batches without a triggered input."""
    figures = [one[f"{size}/0"] for one in result["cells"].values() for size in SIZES]
    means = ", ".join(f"{np.mean([f[f'false_alarms_{how}'] for f in figures]):.4f}" for how in HOW)
    return f"clean batches, {len(figures)} of them: {means}"


def main() -> int:
    """Command line of this module; returns the exit code."""
    about = "Measure what a batch tells beside each input by itself."
    return run_script(about, ("data", "runs"), {"cells": {}}, run, lambda found: [*tables(found), clean_batches(found)])


if __name__ == "__main__":
    sys.exit(main())
