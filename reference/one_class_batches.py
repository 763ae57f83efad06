"""Whether clean batches of one class are taken for inputs that share a trigger, and why.

    python -m reference.one_class_batches --data DATA --runs RUNS --out reference/results/one_class_batches.json

The panel's clean networks of ten classes, references without labels, and batches of 200 other images: of one class by
the network's prediction, of one class by the label, and of one class by the label of which the network gets each right.
Inputs are compared with clean images that are predicted alike, so the first kind is exchangeable with them, and the
test has to be at its level. A class by its label is not: of the clean images that are predicted as it some are of other
classes, and those of the class that are predicted as another one are all of one kind. What the result file has is not
measured again; the same command prints the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.binomial import clopper_pearson
from reference.batch import fit_batch
from reference.datasets import load
from reference.features import Features
from reference.panel.bench import Bench, open_network
from reference.panel.networks import network_named
from reference.panel.open_cell import pictures_of
from reference.panel.plan import REPORTED, cells
from reference.panel.train_cells import clean_cell, trained
from reference.resumable import run_script
from scanner.fitting.fit_detectors import likened_by

NETWORKS: Final = ("scnn", "vgg", "resnet18")
REFERENCES: Final = (100, 250, 500)
DRAWS: Final = 2
INPUTS: Final = 200
CLASSES: Final = 10
KINDS: Final = ("predicted", "label", "label, predicted right")
LEVELS: Final = (0.001, 0.01, 0.05, 0.1)


def rows_of(kind: str, features: Features, label: int) -> NDArray[np.int64]:
    """Rows of one class."""
    predicted, own = features.predicted == label, features.labels == label
    return np.flatnonzero({KINDS[0]: predicted, KINDS[1]: own, KINDS[2]: own & predicted}[kind])


def draw(features: Features, key: str, count: int, seed: int) -> dict[str, list[float]]:
    """P-values of a batch of each class, by kind: one reference, and inputs that are not in it."""
    order = np.random.default_rng(seed).permutation(len(features.labels))
    reference, rest = features.take(order[:count]), features.take(order[count:])
    fitted = fit_batch(reference, None, key, CLASSES, seed)
    found: dict[str, list[float]] = {}
    for kind in KINDS:
        found[kind] = []
        for label in range(CLASSES):
            batch = rest.take(rows_of(kind, rest, label)[:INPUTS])
            p = fitted.units.test(fitted.values(batch), batch.predicted).balanced.p_value
            found[kind].append(float(f"{p:.4g}"))
    return found


def extract(network: str, data_folder: Path, runs: Path) -> tuple[Features, str, float]:
    """All test images of a clean network, the descriptor by which they are likened, and its accuracy."""
    data = load(network_named(network).data, data_folder)
    cell = cells(REPORTED[:1], [network], 0)[0]
    clean = open_network(network_named(network), trained(clean_cell(cell), data, runs), data)
    bench = Bench(clean, data, pictures_of(cell, data))
    features = bench.features(data.test.images, data.test.labels)
    accuracy = float((features.predicted == features.labels).mean())
    return features, likened_by(bench.opened.descriptors).key, accuracy


def run(result: dict[str, Any], data_folder: Path, runs: Path) -> Iterator[str]:
    """Add what is missing to a result; yields a line after each draw."""
    for network in NETWORKS:
        known = result["networks"].setdefault(network, {"draws": {}})
        wanted = [(count, seed) for count in REFERENCES for seed in range(DRAWS)]
        missing = [(count, seed) for count, seed in wanted if f"{count}/{seed}" not in known["draws"]]
        if not missing:
            continue
        features, key, known["accuracy"] = extract(network, data_folder, runs)
        for count, seed in missing:
            known["draws"][f"{count}/{seed}"] = draw(features, key, count, seed)
            yield f"{network}, {count} clean images, draw {seed}"


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """How many batches of each kind are below the levels, with intervals as if they were independent."""
    yield "| one class by its | batches | " + " | ".join(f"p at most {level:g}" for level in LEVELS) + " |"
    yield "| --- |" + " --- |" * (1 + len(LEVELS))
    for kind in KINDS:
        p = [value for one in result["networks"].values() for some in one["draws"].values() for value in some[kind]]
        yield f"| {kind} | {len(p)} | {' | '.join(_counted(p, level) for level in LEVELS)} |"


def _counted(p: list[float], level: float) -> str:
    count = sum(value <= level for value in p)
    low, high = clopper_pearson(count, len(p), 0.95)
    return f"{count}: {count / len(p):.1%} ({low:.1%} to {high:.1%})"


def main() -> int:
    """Command line of this module; returns the exit code."""
    return run_script("Measure clean batches of one class.", ("data", "runs"), {"networks": {}}, run, table)


if __name__ == "__main__":
    sys.exit(main())
