"""Measure the false-alarm rate of the calibration over sizes of reference, network and label set.

    python -m reference.error_rate grid --out reference/results/error_rate.json
    python -m reference.error_rate batches --out reference/results/batch_test.json

Features are synthetic, so that a cell can be repeated with new references, new inputs and a new network each time. They
are what makes calibration hard in real networks: rectified, heavy-tailed, of far lower intrinsic dimension than there
are channels, with classes. Nothing is triggered: every flagged input is a false alarm.

Two schemes are compared. ``cross-conformal`` is what ``fit`` and ``scan`` do. ``all images`` is what they did before:
calibration images are scored by the densities of their folds, with the components that the density of all images
keeps, and inputs by the density of all images.

What is finished is kept in the result file and not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, betabinom

from detectors.calibration.batch import batch_test
from detectors.calibration.conformal import rank_limit
from detectors.calibration.judge import Calibration, Judgement, calibrate
from detectors.calibration.plan import CalibrationPlan, plan_calibration
from detectors.calibration.standardise import fit_standardiser
from detectors.deep_features.detector import ImageClasses, fit_deep_features
from detectors.deep_features.families import fit_density
from detectors.deep_features.fit import fit_rows
from detectors.deep_features.grouping import group_classes
from detectors.deep_features.projection import Projection, projection_from_covariance, projection_from_images
from detectors.deep_features.recipe import DEFAULT
from detectors.deep_features.scores import ScoreKind, lower_bound, score_rows
from detectors.deep_features.settings import DensitySettings
from scanner.base.atomic import atomic_writer
from scanner.base.versions import FIT_LIBRARIES, library_versions

Scheme = Literal["cross-conformal", "all images"]

IMAGES = (50, 100, 200, 500, 1000, 2000)
CHANNELS = (64, 256, 512, 1024, 2048)
CLASSES = (1, 2, 10, 100)
ALPHAS = (0.01, 0.05)
DRAWS, DRAWS_BEFORE = 20, 4
INPUTS = 500
LATENT, DESCRIPTORS = 400, 2
KINDS_BEFORE: tuple[ScoreKind, ...] = ("likelihood", "reconstruction")
ACCURACY = 0.9
LEVEL = 0.99
HIGH = 1e-3  # the batch p-value from which on a verdict is high
BATCHES, BATCH_SIZE = 10_000, 200


@dataclass(frozen=True)
class Cell:
    """One combination of sizes.

    Attributes:
        images: Clean reference images.
        channels: Channels of each descriptor.
        classes: Classes.
        labelled: Whether densities are fitted under true labels, or under the network's predictions.
    """

    images: int
    channels: int
    classes: int
    labelled: bool

    @property
    def key(self) -> str:
        """Name in the result file."""
        return f"{self.images}/{self.channels}/{self.classes}/{'labelled' if self.labelled else 'unlabelled'}"


def cells() -> Iterator[Cell]:
    """All cells, the cheap ones first: with one class, labels and predictions are the same."""
    for images, channels, classes in sorted(itertools.product(IMAGES, CHANNELS, CLASSES), key=lambda c: c[0] * c[1]):
        if classes <= images:
            yield Cell(images, channels, classes, True)
            if classes > 1:
                yield Cell(images, channels, classes, False)


@dataclass(frozen=True)
class Drawn:
    """Images as a network sees them.

    Attributes:
        features: ``(N, D)`` of each descriptor.
        labels: ``(N,)``.
        predicted: ``(N,)``.
        confidence: ``(N,)`` log-odds of the prediction, in nats.
    """

    features: dict[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]


class Network:
    """A made-up network: from latent causes to descriptors, with classes and a classifier that errs.

    Args:
        cell: Its channels and classes.
        generator: Source of its weights.
    """

    def __init__(self, cell: Cell, generator: np.random.Generator) -> None:
        self._classes = cell.classes
        self._centres = generator.standard_normal((cell.classes, LATENT))
        scale = LATENT**-0.5
        self._weights = [scale * generator.standard_normal((LATENT, cell.channels)) for _ in range(DESCRIPTORS)]
        self._biases = [-0.5 * generator.random(cell.channels) for _ in range(DESCRIPTORS)]

    def draw(self, count: int, generator: np.random.Generator) -> Drawn:
        """New images."""
        labels = generator.integers(0, self._classes, count)
        causes = generator.standard_t(4, (count, LATENT)) + self._centres[labels]
        gain = np.exp(0.1 * generator.standard_normal((count, 1)))  # contrast
        features = {
            f"descriptor {index}": np.maximum(causes @ weights * gain + bias, 0).astype(np.float32)
            for index, (weights, bias) in enumerate(zip(self._weights, self._biases, strict=True))
        }
        wrong = generator.random(count) > ACCURACY
        predicted = np.where(wrong, generator.integers(0, self._classes, count), labels)
        # A wrong prediction is less sure, and contrast, which all features share, makes a network surer.
        sure = 3.0 * np.abs(generator.standard_t(4, count)) + 10.0 * np.log(gain[:, 0]) - 1.5 * wrong
        return Drawn(features, labels, predicted, sure)


def judge_clean(cell: Cell, scheme: Scheme, seed: int, inputs: int) -> tuple[Calibration, Judgement]:
    """Fit on a new reference for a new network, and judge new clean inputs."""
    generator = np.random.default_rng([seed, cell.images, cell.channels, cell.classes, cell.labelled])
    network = Network(cell, generator)
    reference = network.draw(cell.images, generator)
    new = network.draw(inputs, generator)
    classes = reference.labels if cell.labelled else reference.predicted
    plan = plan_calibration(classes, seed)
    if scheme == "cross-conformal" or plan.method == "split":
        fitted = fit_deep_features(
            reference.features,
            ImageClasses(classes, reference.predicted, cell.classes, reference.confidence),
            DEFAULT,
            plan,
            seed,
        )
        return fitted.calibration, fitted.calibration.judge(fitted.score(new.features, new.predicted, new.confidence))
    return _by_all_images(reference, classes, cell.classes, plan, new)


def _by_all_images(
    reference: Drawn, classes: NDArray[np.int64], num_classes: int, plan: CalibrationPlan, new: Drawn
) -> tuple[Calibration, Judgement]:
    """Folds calibrate, one density of all images scores: two things that are only alike with many images."""
    every, fresh = np.arange(len(classes)), np.arange(len(new.predicted))
    clean, found = [], []
    for key, values in reference.features.items():
        groups = group_classes(np.bincount(classes, minlength=num_classes), minimum=1)
        whole = fit_rows(values, every, classes, groups, DensitySettings(DEFAULT.family))
        scores = score_rows(whole, new.features[key], fresh, new.predicted)
        found += [scores[kind] for kind in KINDS_BEFORE]
        columns = {kind: np.empty(len(classes)) for kind in KINDS_BEFORE}
        for fit_on, left_out in plan.parts():
            groups = group_classes(np.bincount(classes[fit_on], minlength=num_classes), minimum=1)
            projection = _components(values[fit_on].astype(np.float64), whole.projection.dim)
            fold = fit_density(DensitySettings(DEFAULT.family), values, fit_on, classes, groups, projection)
            for kind, column in score_rows(fold, values, left_out, reference.predicted).items():
                if kind in columns:
                    # Above the peak of the density that scores inputs, as the fold's own was not corrected for.
                    shift = whole.density.supremum - fold.density.supremum if kind == "likelihood" else 0.0
                    columns[kind][left_out] = column + shift
        clean += [columns[kind] for kind in KINDS_BEFORE]
    bounds = np.array([lower_bound(kind) for _ in reference.features for kind in KINDS_BEFORE])
    clean_scores, one_fold = np.stack(clean, 1), np.zeros(len(classes), np.int64)
    calibration = calibrate(clean_scores, one_fold, fit_standardiser(clean_scores, bounds), DEFAULT.sharpness)
    return calibration, calibration.judge(np.stack(found, 1)[:, None])


def _components(images: NDArray[np.float64], number: int) -> Projection:
    """As many principal components as are asked for, whatever variance they retain."""
    if len(images) <= images.shape[1]:
        return projection_from_images(images, 1.0, number)
    centred = images - images.mean(0)
    return projection_from_covariance(images.mean(0), centred.T @ centred / len(images), len(images), 1.0, number)


def measure(cell: Cell, scheme: Scheme, draws: int) -> dict[str, Any]:
    """Shares of flagged clean inputs by level, for the combined p-value and for the worst single score."""
    size = 0
    p_values, score_p_values = [], []
    for seed in range(draws):
        calibration, judged = judge_clean(cell, scheme, seed, INPUTS)
        size = calibration.size
        p_values.append(judged.p_values)
        score_p_values.append(judged.score_p_values)
    result: dict[str, Any] = {"draws": draws, "inputs": INPUTS, "calibration_images": size}
    total = draws * INPUTS
    for alpha in ALPHAS:
        low, high = interval(size, alpha, draws, INPUTS)
        result[f"{alpha:g}"] = {
            "expected": rank_limit(size, alpha) / (size + 1),
            "interval": [low / total, high / total],
            "combined": float((np.concatenate(p_values) <= alpha * (1 + 1e-12)).mean()),
            "scores": (np.concatenate(score_p_values) <= alpha * (1 + 1e-12)).mean(0).tolist(),
        }
    return result


def interval(calibration_size: int, alpha: float, draws: int, inputs: int, level: float = LEVEL) -> tuple[int, int]:
    """Central interval of the number flagged in all draws together, when p-values are exactly conformal.

    A draw's number is beta-binomial; the sum of ``draws`` of them is the convolution.
    """
    rank = rank_limit(calibration_size, alpha)
    if rank == 0:
        return 0, 0
    one = betabinom.pmf(np.arange(inputs + 1), inputs, rank, calibration_size + 1 - rank)
    total = np.ones(1)
    for _ in range(draws):
        total = np.convolve(total, one)
    below = np.cumsum(total)
    miss = (1 - level) / 2
    return int(np.searchsorted(below, miss)), int(np.searchsorted(below, 1 - miss))


BATCH_CELLS = (Cell(100, 64, 10, True), Cell(100, 256, 1, True), Cell(200, 256, 100, False))


def measure_batches(cell: Cell, repetitions: int) -> dict[str, Any]:
    """How often a clean batch reaches 'high', each time with a new network, reference and batch."""
    high = 0
    for seed in range(repetitions):
        calibration, judged = judge_clean(cell, "cross-conformal", seed, BATCH_SIZE)
        flagged = int((judged.p_values <= ALPHAS[0] * (1 + 1e-12)).sum())
        above_all = int((judged.p_values <= (1 + 1e-9) / (calibration.size + 1)).sum())
        high += batch_test(flagged, above_all, BATCH_SIZE, calibration.size, ALPHAS[0]).p_value <= HIGH
    return {
        "repetitions": repetitions,
        "batch_size": BATCH_SIZE,
        "high": high,
        "rate": high / repetitions,
        "upper_95": float(beta.ppf(0.95, high + 1, repetitions - high)),
    }


def table(result: Mapping[str, Any]) -> list[str]:
    """Rows of a Markdown table: for every size the range of combined rates over classes and labels, before and after.

    The rate at 0.01, or at 0.05 where the reference is too small for 0.01.
    """
    rows = []
    for images in IMAGES:
        level = _level(images)
        row = [f"{images} (at {level})"]
        for channels in CHANNELS:
            alike = [c for c in result["cells"].values() if (c["images"], c["channels"]) == (images, channels)]
            ranges = []
            for scheme in ("all images", "cross-conformal"):
                rates = [cell[level]["combined"] for cell in alike if cell["scheme"] == scheme]
                ranges.append(f"{min(rates):.3f} to {max(rates):.3f}" if rates else "-")
            row.append(" -> ".join(ranges))
        rows.append(f"| {' | '.join(row)} |")
    return rows


def batch_table(result: Mapping[str, Any]) -> list[str]:
    """Rows of a Markdown table: how often clean batches reached 'high'."""
    return [
        f"| {cell['images']} | {cell['channels']} | {cell['classes']} | {cell['repetitions']:,} | {cell['high']} | "
        f"{cell['rate']:.4f} | {cell['upper_95']:.4f} |"
        for cell in result["cells"].values()
    ]


def summary(result: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """How many rates of the present scheme lie below, inside and above their intervals: combined and single scores."""
    counts = {what: {"below": 0, "inside": 0, "above": 0} for what in ("combined", "scores")}
    for cell in result["cells"].values():
        if cell["scheme"] == "cross-conformal":
            at = cell[_level(cell["images"])]
            low, high = at["interval"]
            for what, rates in (("combined", [at["combined"]]), ("scores", at["scores"])):
                for rate in rates:
                    place = "below" if rate < low else "above" if rate > high else "inside"
                    counts[what][place] += 1
    return counts


def _level(images: int) -> str:
    return f"{ALPHAS[0] if rank_limit(images, ALPHAS[0]) else ALPHAS[1]:g}"


def main() -> None:
    """Measure what is not in the result file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("grid", "batches"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    done = json.loads(options.out.read_text())["cells"] if options.out.exists() else {}
    for key, job in _jobs(options.what):
        if key in done:
            continue
        done[key] = job()
        print(key, json.dumps(done[key]), flush=True)
        _write(options.out, done)


def _jobs(what: str) -> Iterator[tuple[str, Any]]:
    if what == "batches":
        for cell in BATCH_CELLS:
            yield cell.key, lambda cell=cell: asdict(cell) | measure_batches(cell, BATCHES)
        return
    schemes: tuple[tuple[Scheme, int], ...] = (("cross-conformal", DRAWS), ("all images", DRAWS_BEFORE))
    for scheme, draws in schemes:
        for cell in cells():
            yield (
                f"{scheme}/{cell.key}",
                lambda cell=cell, scheme=scheme, draws=draws: (
                    {"scheme": scheme} | asdict(cell) | measure(cell, scheme, draws)
                ),
            )


def _write(path: Path, done: dict[str, Any]) -> None:
    about = {
        "data": f"synthetic: {DESCRIPTORS} descriptors, rectified, of {LATENT} latent causes (Student's t, 4 degrees)",
        "seeds": "0 to draws - 1",
        "level_of_intervals": LEVEL,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": library_versions(FIT_LIBRARIES),
    }
    with atomic_writer(path) as file:
        file.write((json.dumps(about | {"cells": done}, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
