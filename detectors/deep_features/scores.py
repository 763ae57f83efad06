"""Named scores of one descriptor. Higher is more suspicious, always.

* ``likelihood``: negative log-likelihood of the predicted class, in nats above that of the density's peak. Conditioning
  on the prediction matters: a triggered image keeps features of its source class, under which it would
  look likely.
* ``max-likelihood``: the same maximised over classes (the paper's out-of-distribution reading).
* ``reconstruction``: squared error of the principal-component reconstruction (Ndiour et al. 2022), plus a millionth
  of the features' variance.
* ``mismatch``: log-likelihood of the best other class minus that of the predicted class, in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.deep_features.density import ClassDensity
from detectors.deep_features.grouping import NO_GROUP
from detectors.deep_features.moments import blocks
from detectors.deep_features.projection import Projection

ScoreKind = Literal["likelihood", "max-likelihood", "reconstruction", "mismatch"]
SCORE_KINDS: tuple[ScoreKind, ...] = ("likelihood", "max-likelihood", "reconstruction", "mismatch")
RECONSTRUCTION_FLOOR = 1e-6
"""Share of the variance below which an error of reconstruction is float32 rounding, as when every component is kept.
On a logarithmic scale it would outweigh everything otherwise."""


@dataclass(frozen=True)
class DescriptorDensity:
    """A fitted descriptor: principal components and a class-conditional density over them."""

    projection: Projection
    density: ClassDensity


def lower_bound(kind: ScoreKind) -> float:
    """Lower bound of a score; NaN where it has none (``mismatch``).

    Scores with a lower bound are standardised on a logarithmic scale.
    """
    return float("nan") if kind == "mismatch" else 0.0


def score_features(
    fitted: DescriptorDensity, features: NDArray[np.float64], predicted: NDArray[np.int64]
) -> dict[ScoreKind, NDArray[np.float64]]:
    """All four scores ``(N,)`` of features ``(N, D)`` given the predicted classes ``(N,)``.

    A predicted class without a density is scored by the best group.

    Raises:
        ValueError: If the shapes do not fit the density.
    """
    projection, density = fitted.projection, fitted.density
    if features.ndim != 2 or features.shape[1] != len(projection.mean) or predicted.shape != features.shape[:1]:
        raise ValueError(
            f"features (N, {len(projection.mean)}) and predictions (N,) are needed, "
            f"got {features.shape} and {predicted.shape}"
        )
    log_likelihood = density.log_likelihood(projection.transform(features))
    best = log_likelihood.max(1)
    group = density.groups.of_class[predicted]
    own = np.take_along_axis(log_likelihood, np.maximum(group, 0)[:, None], 1)[:, 0]
    own = np.where(group == NO_GROUP, best, own)
    np.put_along_axis(log_likelihood, np.maximum(group, 0)[:, None], -np.inf, 1)
    other = log_likelihood.max(1)
    other = np.where(np.isfinite(other) & (group != NO_GROUP), other, own)
    return {
        "likelihood": density.supremum - own,
        "max-likelihood": density.supremum - best,
        "reconstruction": projection.reconstruction_error(features) + RECONSTRUCTION_FLOOR * projection.total_variance,
        "mismatch": other - own,
    }


def score_rows(
    fitted: DescriptorDensity,
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    predicted: NDArray[np.int64],
) -> dict[ScoreKind, NDArray[np.float64]]:
    """:func:`score_features` of ``features[rows]``, streamed. ``predicted`` is ``(N,)`` over all rows."""
    scores: dict[ScoreKind, NDArray[np.float64]] = {kind: np.empty(len(rows)) for kind in SCORE_KINDS}
    start = 0
    for chunk, block in blocks(features, rows):
        for kind, values in score_features(fitted, block, predicted[chunk]).items():
            scores[kind][start : start + len(chunk)] = values
        start += len(chunk)
    return scores


def score_by_folds(
    folds: Sequence[DescriptorDensity], features: NDArray[np.float32], predicted: NDArray[np.int64]
) -> dict[ScoreKind, NDArray[np.float64]]:
    """Scores ``(N, K)`` of every image by the densities of ``K`` folds; arguments as for :func:`score_rows`."""
    rows = np.arange(len(features))
    each = [score_rows(fitted, features, rows, predicted) for fitted in folds]
    return {kind: np.stack([scores[kind] for scores in each], axis=1) for kind in SCORE_KINDS}
