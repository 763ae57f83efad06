"""Find strata for a reference: classes with enough images, and clusters of similar images for the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import ClusterNode, linkage, to_tree

from detectors.shared_units.strata import Strata, logarithmic

MIN_CLASS_IMAGES = 5
"""Clean images that a class needs for a stratum of its own."""
MIN_CLUSTER_IMAGES = 8
MOST_CLUSTERED = 4000
"""Images that are clustered; the tree needs the distances of all pairs."""


def fit_strata(
    values: NDArray[np.float32], predicted: NDArray[np.int64], num_classes: int, columns: tuple[int, int]
) -> Strata:
    """Strata of a reference.

    Classes that the network predicts for five clean images or more have one of their own. All images are clustered by
    some columns, those of one descriptor: Ward's tree is split from the top as long as a half keeps eight images. A
    half with fewer goes to the nearest clusters: a picture that is like no other must not keep the rest together.

    Args:
        values: ``(n, U)`` float32 of the clean images, finite.
        predicted: ``(n,)`` predicted classes.
        num_classes: Number of classes ``C``.
        columns: First of the columns that images are likened by, and the one after the last.

    Raises:
        ValueError: If there is no image, something is not finite, or the columns or classes are not there.

    Example:
        >>> values = np.repeat([[0.0], [5.0]], 8, axis=0).astype(np.float32)
        >>> strata = fit_strata(values, np.repeat([0, 1, 2, 3], 4), 4, (0, 1))
        >>> np.bincount(strata.of(np.repeat([0, 1, 2, 3], 4), values)).tolist()
        [8, 8]

    References:
        Ward (1963), Hierarchical grouping to optimize an objective function, Journal of the American Statistical
        Association 58, 236-244.
    """
    first, last = columns
    if values.ndim != 2 or predicted.shape != values.shape[:1] or not 0 <= first < last <= values.shape[1]:
        raise ValueError(f"values (n, U), predictions (n,) and columns are needed, got {values.shape}, {columns}")
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"finite values of clean images are needed, got {len(values)} images")
    if predicted.min() < 0 or predicted.max() >= num_classes:
        raise ValueError(f"predictions are classes 0 to {num_classes - 1}, got {predicted.min()} to {predicted.max()}")
    raw = logarithmic(values[:, first:last])
    location, spread = raw.mean(0), raw.std(0)
    scale = np.where(spread > 1e-6 * max(1.0, float(spread.max())), spread, 1.0).astype(np.float32)
    likened = (raw - location) / scale
    number = _clusters(likened[:MOST_CLUSTERED])
    centroids = np.stack([likened[:MOST_CLUSTERED][number == k].mean(0) for k in range(int(number.max()) + 1)])
    own = np.flatnonzero(np.bincount(predicted, minlength=num_classes) >= MIN_CLASS_IMAGES)
    of_class = np.full(num_classes, -1, np.int64)
    of_class[own] = len(centroids) + np.arange(len(own))
    return Strata(of_class, first, location.astype(np.float32), scale, centroids.astype(np.float32))


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
