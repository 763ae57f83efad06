"""Named scores of one descriptor. Higher is more suspicious, always.

* ``likelihood``: negative log-likelihood of the predicted class, in nats. Conditioning on the
  prediction matters: a triggered image keeps features of its source class, under which it would
  look likely.
* ``max-likelihood``: negative log-likelihood maximised over classes, in nats (the paper's
  out-of-distribution reading).
* ``reconstruction``: squared error of the principal-component reconstruction (Ndiour et al. 2022).
* ``mismatch``: log-likelihood of the best other class minus that of the predicted class, in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.deep_features.density import ClassDensity
from detectors.deep_features.moments import blocks
from detectors.deep_features.projection import Projection

ScoreKind = Literal["likelihood", "max-likelihood", "reconstruction", "mismatch"]
RECONSTRUCTION_FLOOR = 1e-6
SCORE_KINDS: tuple[ScoreKind, ...] = ("likelihood", "max-likelihood", "reconstruction", "mismatch")


@dataclass(frozen=True)
class DescriptorDensity:
    """A fitted descriptor: principal components and a class-conditional density over them."""

    projection: Projection
    density: ClassDensity

    def offset(self, kind: ScoreKind) -> float | None:
        """Lower bound of a score, or None where it has none (``mismatch``).

        Scores with a lower bound are standardised on a logarithmic scale.
        """
        if kind == "mismatch":
            return None
        if kind == "reconstruction":
            # Errors below this share of the variance are float32 rounding, as when every component
            # is kept. On a logarithmic scale they would outweigh everything without it.
            return -RECONSTRUCTION_FLOOR * self.projection.total_variance
        return -self.density.supremum


def score_features(
    fitted: DescriptorDensity, features: NDArray[np.float64], predicted: NDArray[np.int64]
) -> dict[ScoreKind, NDArray[np.float64]]:
    """All four scores ``(N,)`` of features ``(N, D)`` given the predicted classes ``(N,)``.

    A predicted class without reference images has no density; the best class stands in for it.
    """
    coordinates = fitted.projection.transform(features)
    log_likelihood = fitted.density.log_likelihood(coordinates)
    best = log_likelihood.max(1)
    own = np.take_along_axis(log_likelihood, predicted[:, None], 1)[:, 0]
    own = np.where(np.isfinite(own), own, best)
    np.put_along_axis(log_likelihood, predicted[:, None], -np.inf, 1)
    other = log_likelihood.max(1)
    other = np.where(np.isfinite(other), other, own)
    return {
        "likelihood": -own,
        "max-likelihood": -best,
        "reconstruction": fitted.projection.reconstruction_error(features),
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
