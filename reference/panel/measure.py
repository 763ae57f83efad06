"""All detectors on one network and one cell's pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.plan import plan_calibration
from detectors.deep_features.detector import DeepFeatures, ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT
from reference.datasets import ImageSet
from reference.features import Features, keys_of
from reference.panel.bench import Bench, Cost
from reference.panel.figures import Judged, figures, judge
from reference.panel.peers import Peer
from reference.panel.pictures import SIZES

DEFAULT_NAME = "latentscan"
MOST_DRAWS = 5
"""References of one size, without a common image, over which the default's figures are means."""


def measure(
    bench: Bench,
    peers: Sequence[Peer],
    seed: int,
    sizes: Sequence[int] = SIZES,
    said: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Figures of the product's default and of peers.

    Args:
        bench: Network and pictures.
        peers: Other detectors.
        seed: Of the default's calibration plan.
        sizes: Clean images a class.
        said: Called with the name of each detector when it begins.

    Returns:
        ``clean_accuracy``, ``attack_success_rate``, and ``detectors``: by name and number of clean images a class, and
        what they cost; a detector that the network does not suit is None.
    """
    pictures = bench.pictures
    said(DEFAULT_NAME)
    default, succeeds, accuracy = _default(bench, sizes, seed)
    detectors: dict[str, Any] = {DEFAULT_NAME: default}
    for peer in peers:
        said(peer.name)
        detectors[peer.name] = _peer(bench, peer, sizes, succeeds)
    return {
        "clean_accuracy": round(accuracy, 5),
        "attack_success_rate": round(float(succeeds.mean()), 5),
        "images": {"clean": len(pictures.clean), "triggered": len(pictures.triggered)},
        "detectors": detectors,
    }


def _default(bench: Bench, sizes: Sequence[int], seed: int) -> tuple[dict[str, Any], NDArray[np.bool_], float]:
    """The product's own, as ``fit`` and ``scan`` do it; where the attack succeeds; and clean accuracy."""
    pictures = bench.pictures
    fit, held_out = (bench.features(one.images, one.labels) for one in (pictures.fit, pictures.held_out))
    triggered = bench.features(pictures.triggered.images, pictures.triggered.labels)
    before = _copy(bench.cost)
    with bench.paid():
        clean = bench.features(pictures.clean.images, pictures.clean.labels)
    succeeds = np.asarray(triggered.predicted == pictures.aim.numpy())
    found: dict[str, Any] = {}
    cost: dict[str, float] = {}
    for size in sizes:
        drawn = []
        for rows in _disjoint(pictures.rows(size), len(pictures.fit)):
            detector = _fitted(_joined(fit.take(rows), held_out.take(rows)), pictures.classes, seed)
            with bench.paid():
                first = _judged(detector, clean)
            cost = cost or _cost(bench.cost, before, len(pictures.clean))
            second = _judged(detector, triggered)
            drawn.append(figures(Judged(first[0], second[0], first[1], second[1]), succeeds))
        found[str(size)] = _mean(drawn)
    return {**found, **cost}, succeeds, float((clean.predicted == clean.labels).mean())


def _disjoint(count: int, every: int) -> list[NDArray[np.int64]]:
    """Rows of the references of one size: small ones differ more from one another."""
    draws = min(MOST_DRAWS, every // count)
    return [np.arange(draw * count, (draw + 1) * count) for draw in range(draws)]


def _mean(drawn: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Means of figures over references; what is None in one is None in all."""
    columns = {name: [one[name] for one in drawn] for name in drawn[0]}
    numbers = {name: [value for value in column if value is not None] for name, column in columns.items()}
    return {name: round(fmean(some), 5) if some else None for name, some in numbers.items()}


def _joined(first: Features, second: Features) -> Features:
    values = {key: np.concatenate([first.values[key], second.values[key]]) for key in first.values}
    return Features(
        values, np.concatenate([first.logits, second.logits]), np.concatenate([first.labels, second.labels])
    )


def _fitted(reference: Features, classes: int, seed: int) -> DeepFeatures:
    """What ``fit`` fits to a labelled reference."""
    return fit_deep_features(
        reference.only(keys_of(DEFAULT, list(reference.values))),
        ImageClasses(reference.labels, reference.predicted, classes, reference.confidence),
        DEFAULT,
        plan_calibration(reference.labels, seed),
        seed,
    )


def _judged(detector: DeepFeatures, features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Combined scores and p-values."""
    judged = detector.calibration.judge(detector.score(features.values, features.predicted, features.confidence))
    return judged.combined, judged.p_values


def _peer(bench: Bench, peer: Peer, sizes: Sequence[int], succeeds: NDArray[np.bool_]) -> dict[str, Any] | None:
    pictures = bench.pictures
    parts = [_first(one, peer.most) for one in (pictures.held_out, pictures.clean, pictures.triggered)]
    found: dict[str, Any] = {}
    scores: list[NDArray[np.float64]] = []
    cost: dict[str, float] = {}
    for size in sizes:
        if peer.fits or not scores:
            score = peer.prepare(bench, pictures.rows(size))
            if score is None:
                return None
            held_out = score(parts[0])
            before = _copy(bench.cost)
            with bench.paid():
                clean = score(parts[1])
            cost = cost or _cost(bench.cost, before, len(parts[1]))
            scores = [held_out, clean, score(parts[2])]
        judged = judge(scores[0][: pictures.rows(size)], scores[1], scores[2])
        found[str(size)] = figures(judged, succeeds[: len(parts[2])])
    return {**found, **cost}


def _first(images: ImageSet, most: int) -> ImageSet:
    return images if len(images) <= most else ImageSet(images.images[:most], images.labels[:most])


def _copy(cost: Cost) -> Cost:
    return Cost(cost.passes, cost.seconds)


def _cost(now: Cost, before: Cost, images: int) -> dict[str, float]:
    return {
        "passes": round((now.passes - before.passes) / images, 2),
        "milliseconds": round(1000 * (now.seconds - before.seconds) / images, 3),
    }
