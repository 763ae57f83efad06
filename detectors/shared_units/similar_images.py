"""Fit the detector: strata of a reference, classes with enough images and clusters of similar ones, and its units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import ClusterNode, linkage, to_tree

from detectors.rows import CHUNK_ROWS, Rows, chunks
from detectors.shared_units.clean_features import fit_clean_features
from detectors.shared_units.clean_scores import CleanScores
from detectors.shared_units.detector import SharedUnits, side_by_side
from detectors.shared_units.reference import UnitReference, fit_units
from detectors.shared_units.strata import Strata, logarithmic

MIN_CLASS_IMAGES = 5
"""Clean images that a class needs for a stratum of its own."""
MIN_CLUSTER_IMAGES = 8
MOST_CLUSTERED = 2000
"""Images that are clustered; the tree needs the distances of all pairs, 16 bytes each."""


def fit_strata(values: Rows, predicted: NDArray[np.int64], num_classes: int, first: int = 0) -> Strata:
    """Strata of a reference.

    Classes that the network predicts for five clean images or more have one of their own. All images, of more than
    2,000 as many from everywhere among them, are clustered by some columns, those of one descriptor: Ward's tree is
    split from the top as long as a half keeps eight images. A half with fewer goes to the nearest clusters: a picture
    that is like no other must not keep the rest together.

    Args:
        values: ``(n, D)`` float32 of the clean images, finite: the columns that they are likened by.
        predicted: ``(n,)`` predicted classes.
        num_classes: Number of classes ``C``.
        first: Where these columns start among all.

    Raises:
        ValueError: If there is no image or no column, something is not finite, or lengths or classes do not fit.

    Example:
        >>> values = np.repeat([[0.0], [5.0]], 8, axis=0).astype(np.float32)
        >>> strata = fit_strata(values, np.repeat([0, 1, 2, 3], 4), 4)
        >>> np.bincount(strata.of(np.repeat([0, 1, 2, 3], 4), values)).tolist()
        [8, 8]

    References:
        Ward (1963), Hierarchical grouping to optimize an objective function, Journal of the American Statistical
        Association 58, 236-244.
    """
    if values.ndim != 2 or 0 in values.shape or predicted.shape != values.shape[:1] or first < 0:
        raise ValueError(
            f"values (n, D) from column 0 on and predictions (n,) are needed, got {values.shape} from {first}, "
            f"{predicted.shape}"
        )
    if predicted.min() < 0 or predicted.max() >= num_classes:
        raise ValueError(f"predictions are classes 0 to {num_classes - 1}, got {predicted.min()} to {predicted.max()}")
    location, spread = _moments(values)
    scale = np.where(spread > 1e-6 * max(1.0, float(spread.max())), spread, 1.0).astype(np.float32)
    # A folder's images come class by class, so those that are clustered are from everywhere.
    some = np.unique(np.linspace(0, len(values) - 1, MOST_CLUSTERED).astype(np.int64))
    likened = (logarithmic(values[some]) - location) / scale
    number = _clusters(likened)
    centroids = np.stack([likened[number == k].mean(0) for k in range(int(number.max()) + 1)])
    own = np.flatnonzero(np.bincount(predicted, minlength=num_classes) >= MIN_CLASS_IMAGES)
    of_class = np.full(num_classes, -1, np.int64)
    of_class[own] = len(centroids) + np.arange(len(own))
    return Strata(of_class, first, location.astype(np.float32), scale, centroids.astype(np.float32))


def _moments(values: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation ``(D,)`` float32 of all rows on a logarithmic scale.

    Raises:
        ValueError: If something is not finite.
    """
    count, total = len(values), np.zeros((1, values.shape[1]), np.float32)
    for chunk in chunks(values):
        if not np.isfinite(chunk).all():
            raise ValueError(f"finite values are needed, got {int((~np.isfinite(chunk)).sum())} others")
        total = np.concatenate((total, logarithmic(chunk))).sum(0, keepdims=True)
    mean, squares = total / count, np.zeros_like(total)
    for chunk in chunks(values):
        squares = np.concatenate((squares, (logarithmic(chunk) - mean) ** 2)).sum(0, keepdims=True)
    return mean[0], np.sqrt(squares[0] / count)


def _clusters(likened: NDArray[np.float32]) -> NDArray[np.int64]:
    """Cluster of every image ``(n,)``, from 0; -1 for those that are in none."""
    if len(likened) < 2 * MIN_CLUSTER_IMAGES:
        return np.zeros(len(likened), np.int64)
    numbers = np.full(len(likened), -1, np.int64)
    pending: list[ClusterNode] = [to_tree(linkage(likened, "ward"))]
    found = 0
    while pending:
        node = pending.pop()
        if not node.is_leaf():
            halves = [half for half in (node.get_left(), node.get_right()) if half.get_count() >= MIN_CLUSTER_IMAGES]
            if halves:
                pending += halves
                continue
        numbers[node.pre_order()] = found
        found += 1
    return numbers


def fit_shared_units(
    features: Mapping[str, Rows],
    likened_by: str,
    predicted: NDArray[np.int64],
    num_classes: int,
    scores: CleanScores,
    last: Sequence[str] = (),
) -> SharedUnits:
    """Fit to clean images, descriptor by descriptor.

    Args:
        features: By descriptor, ``(n, D)`` float32 each.
        likened_by: The descriptor by which images are likened.
        predicted: ``(n,)`` predicted classes.
        num_classes: Number of classes ``C``.
        scores: The densities' scores of the images, and their folds.
        last: The last descriptors, those of the last layer, in which a direction of suspects is looked for; by default
            the last one.

    Raises:
        ValueError: If lengths differ, something is not finite, there is no such descriptor, or others are the last.

    Example:
        >>> values, zeros = np.arange(12.0, dtype=np.float32)[:, None], np.zeros(12, int)
        >>> scores = CleanScores(np.zeros(12), np.ones(12, bool), zeros)
        >>> fit_shared_units({"layer": values}, "layer", zeros, 1, scores).strata.of(zeros, values).max()
        np.int64(1)

    References:
        docs/method.md, section Shared units.
    """
    names = list(features)
    last = tuple(last) or tuple(names[-1:])
    if not last or tuple(names[-len(last) :]) != last:
        raise ValueError(f"the last descriptors are {names[-len(last) :]}, not {list(last)}")
    first, _ = side_by_side(features, likened_by)
    likened = features[likened_by]
    strata = fit_strata(likened, predicted, num_classes, first)
    # Its own columns only, so they are the first.
    own = Strata(strata.of_class, 0, strata.location, strata.scale, strata.centroids)
    starts = range(0, len(predicted), CHUNK_ROWS)
    of_image = np.concatenate(
        [
            own.of(predicted[start : start + CHUNK_ROWS], chunk)
            for start, chunk in zip(starts, chunks(likened), strict=True)
        ]
    )
    parts = [fit_units(values, of_image, scores.folds) for values in features.values()]
    reference = UnitReference(
        np.concatenate([part.values for part in parts], axis=1),
        np.concatenate([part.images for part in parts], axis=1),
        np.concatenate([part.cut for part in parts]),
        of_image,
        scores.folds,
    )
    kept = fit_clean_features([features[name] for name in last], predicted, num_classes)
    return SharedUnits(reference, strata, predicted.astype(np.int64), scores, kept)
