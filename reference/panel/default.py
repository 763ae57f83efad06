"""The product's default on a cell's pictures: each input by itself, and all of them in one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reference.batch import fit_batch, judge_alone, judge_batch
from reference.features import joined
from reference.panel.bench import Bench, Cost
from reference.panel.figures import LEVELS, Judged, figures
from scanner.fitting.fit_detectors import likened_by

T = TypeVar("T")
ALONE, BATCH = "latentscan", "latentscan-batch"
MOST_DRAWS = 5
"""References of one size, without a common image, over which the figures are means."""


@dataclass(frozen=True)
class DefaultFigures:
    """What was measured.

    Attributes:
        detectors: By :data:`ALONE` and :data:`BATCH`, figures by number of clean images a class, and what they cost.
        succeeds: ``(M,)`` bool, on which triggered inputs the attack succeeds.
        accuracy: Share of clean inputs that the network gets right.
    """

    detectors: dict[str, dict[str, Any]]
    succeeds: NDArray[np.bool_]
    accuracy: float


def measure_default(bench: Bench, sizes: Sequence[int], seed: int) -> DefaultFigures:
    """What ``fit`` and ``scan`` do without options, with a labelled reference.

    An input by itself is judged by the densities. A scan of a folder judges its inputs together; here they are all the
    clean and all the triggered ones.

    Args:
        bench: Network and pictures.
        sizes: Clean images a class.
        seed: Of the calibration plan, and of the order of the batch.
    """
    pictures = bench.pictures
    fit, held_out = (bench.features(one.images, one.labels) for one in (pictures.fit, pictures.held_out))
    triggered = bench.features(pictures.triggered.images, pictures.triggered.labels)
    passes = bench.cost.copy()
    with bench.paid():
        clean = bench.features(pictures.clean.images, pictures.clean.labels)
    forward = bench.cost.since(passes).each(len(clean.labels))
    succeeds = np.asarray(triggered.predicted == pictures.aim.numpy())
    # A scan's order has nothing to do with what is in its inputs.
    order = np.random.default_rng(seed).permutation(len(clean.labels) + len(triggered.labels))
    batch = joined(clean, triggered).take(order)
    place = np.argsort(order)
    key = likened_by(bench.opened.descriptors).key
    found: dict[str, dict[str, Any]] = {ALONE: {}, BATCH: {}}
    for size in sizes:
        drawn: dict[str, list[Mapping[str, float | None]]] = {ALONE: [], BATCH: []}
        for rows in _disjoint(pictures.rows(size), len(pictures.fit)):
            reference = joined(fit.take(rows), held_out.take(rows))
            fitted = fit_batch(reference, reference.labels, key, pictures.classes, seed)
            alone, first = _timed(bench, partial(judge_alone, fitted, batch))
            judged, second = _timed(bench, partial(judge_batch, fitted, batch, seed, LEVELS[0]))
            for name, one, spent in ((ALONE, alone, first), (BATCH, judged.together, second)):
                milliseconds = forward["milliseconds"] + spent.each(len(order))["milliseconds"]
                found[name] = {"passes": forward["passes"], "milliseconds": round(milliseconds, 3)} | found[name]
                parts = _apart(one.scores[place], one.p_values[place], len(clean.labels))
                drawn[name].append(figures(parts, succeeds))
        for name, some in drawn.items():
            found[name][str(size)] = _mean(some)
    return DefaultFigures(found, succeeds, float((clean.predicted == clean.labels).mean()))


def _timed(bench: Bench, judge: Callable[[], T]) -> tuple[T, Cost]:
    """What is judged, and what that costs."""
    before = bench.cost.copy()
    with bench.paid():
        result = judge()
    return result, bench.cost.since(before)


def _apart(scores: NDArray[np.float64], p: NDArray[np.float64], clean: int) -> Judged:
    return Judged(scores[:clean], scores[clean:], p[:clean], p[clean:])


def _disjoint(count: int, every: int) -> list[NDArray[np.int64]]:
    """Rows of the references of one size: small ones differ more from one another."""
    draws = min(MOST_DRAWS, every // count)
    return [np.arange(draw * count, (draw + 1) * count) for draw in range(draws)]


def _mean(drawn: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Means of figures over references; what is None in one is None in all."""
    columns = {name: [one[name] for one in drawn] for name in drawn[0]}
    numbers = {name: [value for value in column if value is not None] for name, column in columns.items()}
    return {name: round(fmean(some), 5) if some else None for name, some in numbers.items()}
