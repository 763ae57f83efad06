"""Named scores of one descriptor. Higher is more suspicious, always.

* ``likelihood``: negative log-likelihood of the predicted class, in nats above that of the density's peak. Conditioning
  on the prediction matters: a triggered image keeps features of its source class, under which it would
  look likely.
* ``max-likelihood``: the same maximised over classes (the paper's out-of-distribution reading).
* ``reconstruction``: squared error of the principal-component reconstruction (Ndiour et al. 2022), plus a millionth
  of the features' variance.
* ``mismatch``: log-likelihood of the best other class minus that of the predicted class, in nats. Only classes with a
  density of their own are others: the one that small classes share lies around the mean of all images, differs from
  fold to fold, and is no class.
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
from detectors.rows import Rows

ScoreKind = Literal["likelihood", "max-likelihood", "reconstruction", "mismatch"]
SCORE_KINDS: tuple[ScoreKind, ...] = ("likelihood", "max-likelihood", "reconstruction", "mismatch")
RECONSTRUCTION_FLOOR = 1e-6
"""Share of the variance below which an error of reconstruction is float32 rounding, as when every component is kept.
On a logarithmic scale it would outweigh everything otherwise."""


@dataclass(frozen=True)
class DescriptorDensity:
    """A fitted descriptor: principal components and a class-conditional density over them.

    Attributes:
        projection: From features to coordinates.
        density: Over as many coordinates.

    Raises:
        ValueError: If the density is of another dimension.

    Example:
        >>> from detectors.deep_features.fit import fit_rows
        >>> from detectors.deep_features.settings import DensitySettings
        >>> from detectors.deep_features.grouping import group_classes
        >>> features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        >>> classes, groups = np.arange(60) % 2, group_classes(np.array([30, 30]))
        >>> fit_rows(features, np.arange(60), classes, groups, DensitySettings()).projection.dim
        3

    References:
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
    """

    projection: Projection
    density: ClassDensity

    def __post_init__(self) -> None:
        """Refuse a density over other coordinates."""
        dim = self.density.means.shape[2]
        if dim != self.projection.dim:
            raise ValueError(f"a density over {self.projection.dim} coordinates is needed, got one over {dim}")


def lower_bound(kind: ScoreKind) -> float:
    """Lower bound of a score; NaN where it has none (``mismatch``).

    Scores with a lower bound are standardised on a logarithmic scale.

    Raises:
        ValueError: If there is no such score.

    Example:
        >>> lower_bound("likelihood"), lower_bound("mismatch")
        (0.0, nan)

    References:
        docs/method.md, section Scores, for what each measures.
    """
    if kind not in SCORE_KINDS:
        raise ValueError(f"a score of {', '.join(SCORE_KINDS)} is needed, got {kind!r}")
    return float("nan") if kind == "mismatch" else 0.0


def score_features(
    fitted: DescriptorDensity, features: NDArray[np.float64], predicted: NDArray[np.int64]
) -> dict[ScoreKind, NDArray[np.float64]]:
    """All four scores ``(N,)`` of features ``(N, D)`` given the predicted classes ``(N,)``.

    With the predicted class ``c``, the groups ``g`` of classes, the projected features ``z``, and the upper bound ``b``
    of all log-likelihoods (:attr:`ClassDensity.supremum`):

    .. math::
        \\mathrm{likelihood} &= b - \\log p(z | c) \\\\
        \\mathrm{max\\text{-}likelihood} &= b - \\max_g \\log p(z | g) \\\\
        \\mathrm{reconstruction} &= \\|(x - \\bar x) - V V^T (x - \\bar x)\\|^2 + 10^{-6}\\,\\mathrm{tr}\\,S \\\\
        \\mathrm{mismatch} &= \\max_{g \\ne c,\\, g \\text{ own}} \\log p(z | g) - \\log p(z | c)

    where ``S`` is the covariance of the features. A predicted class without a density is scored by the best group.
    Where fewer than two classes have a density of their own, there is no mismatch, and it is zero.

    Raises:
        ValueError: If the shapes do not fit the density, or a predicted class does not exist.

    Example:
        >>> from detectors.deep_features.fit import fit_rows
        >>> from detectors.deep_features.settings import DensitySettings
        >>> from detectors.deep_features.grouping import group_classes
        >>> classes, groups = np.arange(60) % 2, group_classes(np.array([30, 30]))
        >>> features = np.random.default_rng(0).normal(9.0 * classes[:, None], size=(60, 3)).astype(np.float32)
        >>> fitted = fit_rows(features, np.arange(60), classes, groups, DensitySettings())
        >>> scores = score_features(fitted, features.astype(np.float64), 1 - classes)  # every prediction wrong
        >>> bool((scores["mismatch"] > 0).all()), bool((scores["likelihood"] > scores["max-likelihood"]).all())
        (True, True)

    References:
        Subedar, Ahuja, Krishnan, Ndiour and Tickoo (2019), Deep probabilistic models to detect data poisoning attacks,
        https://arxiv.org/abs/1912.01206, section 2.
        Ndiour, Ahuja and Tickoo (2022), Subspace modeling for fast out-of-distribution and anomaly detection,
        https://arxiv.org/abs/2203.10422, for the reconstruction error.
    """
    projection, density = fitted.projection, fitted.density
    if features.ndim != 2 or features.shape[1] != len(projection.mean) or predicted.shape != features.shape[:1]:
        raise ValueError(
            f"features (N, {len(projection.mean)}) and predictions (N,) are needed, "
            f"got {features.shape} and {predicted.shape}"
        )
    num_classes = len(density.groups.of_class)
    if len(predicted) and (predicted.min() < 0 or predicted.max() >= num_classes):
        raise ValueError(f"predictions in [0, {num_classes}) are needed, got {predicted.min()} to {predicted.max()}")
    log_likelihood = density.log_likelihood(projection.transform(features))
    best = log_likelihood.max(1)
    group = density.groups.of_class[predicted]
    own = np.take_along_axis(log_likelihood, np.maximum(group, 0)[:, None], 1)[:, 0]
    own = np.where(group == NO_GROUP, best, own)
    other = own
    if density.groups.own_count > 1:
        np.put_along_axis(log_likelihood, np.maximum(group, 0)[:, None], -np.inf, 1)
        other = np.where(group == NO_GROUP, own, log_likelihood[:, : density.groups.own_count].max(1))
    return {
        "likelihood": density.supremum - own,
        "max-likelihood": density.supremum - best,
        "reconstruction": projection.reconstruction_error(features) + RECONSTRUCTION_FLOOR * projection.total_variance,
        "mismatch": other - own,
    }


def score_rows(
    fitted: DescriptorDensity,
    features: Rows,
    rows: NDArray[np.int64],
    predicted: NDArray[np.int64],
) -> dict[ScoreKind, NDArray[np.float64]]:
    """:func:`score_features` of ``features[rows]``, streamed.

    Args:
        fitted: The density.
        features: ``(N, D)`` float32.
        rows: ``(M,)`` rows to score.
        predicted: ``(N,)`` predicted class of every row of the features.

    Returns:
        Scores ``(M,)`` of each kind.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> from detectors.deep_features.fit import fit_rows
        >>> from detectors.deep_features.settings import DensitySettings
        >>> from detectors.deep_features.grouping import group_classes
        >>> features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        >>> classes, groups = np.arange(60) % 2, group_classes(np.array([30, 30]))
        >>> fitted = fit_rows(features, np.arange(40), classes, groups, DensitySettings())
        >>> score_rows(fitted, features, np.arange(40, 60), classes)["likelihood"].shape
        (20,)

    References:
        Subedar, Ahuja, Krishnan, Ndiour and Tickoo (2019), Deep probabilistic models to detect data poisoning attacks,
        https://arxiv.org/abs/1912.01206, section 2.
    """
    if predicted.shape != features.shape[:1]:
        raise ValueError(f"a prediction for each of {len(features)} images is needed, got shape {predicted.shape}")
    scores: dict[ScoreKind, NDArray[np.float64]] = {kind: np.empty(len(rows)) for kind in SCORE_KINDS}
    start = 0
    for chunk, block in blocks(features, rows):
        for kind, values in score_features(fitted, block, predicted[chunk]).items():
            scores[kind][start : start + len(chunk)] = values
        start += len(chunk)
    return scores


def score_by_folds(
    folds: Sequence[DescriptorDensity], features: Rows, predicted: NDArray[np.int64]
) -> dict[ScoreKind, NDArray[np.float64]]:
    """Scores ``(N, K)`` of every image by the densities of ``K`` folds; arguments as for :func:`score_rows`.

    Raises:
        ValueError: If there is no fold, or the shapes do not fit together.

    Example:
        >>> from detectors.deep_features.fit import fit_rows
        >>> from detectors.deep_features.settings import DensitySettings
        >>> from detectors.deep_features.grouping import group_classes
        >>> features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        >>> classes, groups = np.arange(60) % 2, group_classes(np.array([30, 30]))
        >>> halves = np.arange(60).reshape(2, 30)
        >>> folds = [fit_rows(features, rows, classes, groups, DensitySettings()) for rows in halves]
        >>> score_by_folds(folds, features, classes)["reconstruction"].shape
        (60, 2)

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    if not folds:
        raise ValueError("the densities of at least one fold are needed, got none")
    rows = np.arange(len(features))
    each = [score_rows(fitted, features, rows, predicted) for fitted in folds]
    return {kind: np.stack([scores[kind] for scores in each], axis=1) for kind in SCORE_KINDS}
