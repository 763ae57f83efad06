"""Fitting the density families to streamed, projected features.

``separate`` and ``mixture`` are the paper's two families (Ahuja et al. 2019: Gaussians with
separate covariances, and mixtures with the order chosen by BIC). ``tied`` pools the within-class
covariance; ``-shrunk`` applies Ledoit-Wolf shrinkage, which is what makes a density from a few
images a class usable.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from detectors.deep_features.density import ClassDensity, Family, gaussian_log_scale, whitener_of
from detectors.deep_features.moments import ClassMoments, blocks
from detectors.deep_features.projection import Projection
from detectors.deep_features.shrinkage import ledoit_wolf

MAX_MIXTURE_COMPONENTS = 4
MIN_IMAGES_PER_COMPONENT = 20


def fit_density(
    family: Family,
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    moments: ClassMoments,
    projection: Projection,
    seed: int,
) -> ClassDensity:
    """Fit one family.

    Args:
        family: Which density.
        features: ``(N, D)`` float32, possibly a memory map.
        rows: ``(M,)`` rows to fit on, those behind ``moments``.
        classes: ``(N,)`` class of every row.
        moments: Moments of ``features[rows]``.
        projection: Principal components to work in.
        seed: Seeds the mixture's initialisation; the Gaussians are deterministic.
    """
    means = projection.transform(moments.class_means())
    present = moments.counts > 0
    if family in ("tied", "tied-shrunk"):
        within = _within_covariance(moments, projection, means)
        if family == "tied-shrunk":
            fourth = _fourth_moment(features, rows, classes, projection, means)
            within, _ = ledoit_wolf(within, fourth, len(rows))
        whitener = whitener_of(within)
        scales = np.where(present, gaussian_log_scale(whitener), -np.inf)
        return ClassDensity(means[:, None], whitener[None, None], scales[:, None])
    if family == "mixture":
        return _fit_mixtures(features, rows, classes, projection, means, present, seed)
    return _fit_separate(features, rows, classes, projection, means, present, shrink=family == "separate-shrunk")


def _within_covariance(
    moments: ClassMoments, projection: Projection, means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pooled within-class covariance in principal coordinates, from moments alone."""
    total = projection.components.T @ moments.total_covariance() @ projection.components
    offsets = means - projection.transform(moments.mean()[None])
    between = (offsets * moments.counts[:, None]).T @ offsets / moments.total
    return np.asarray(total - between, np.float64)


def _fourth_moment(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    projection: Projection,
    means: NDArray[np.float64],
) -> float:
    total = 0.0
    for chunk, block in blocks(features, rows):
        residual = projection.transform(block) - means[classes[chunk]]
        total += float((np.einsum("nk,nk->n", residual, residual) ** 2).sum())
    return total / len(rows)


def _members(features: NDArray[np.float32], rows: NDArray[np.int64], projection: Projection) -> NDArray[np.float64]:
    """Projected features of one class, ``(n_c, k)``: bounded by the class, not the reference."""
    return np.concatenate([projection.transform(block) for _, block in blocks(features, rows)])


def _fit_separate(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    projection: Projection,
    means: NDArray[np.float64],
    present: NDArray[np.bool_],
    shrink: bool,
) -> ClassDensity:
    num_classes, dim = means.shape
    whiteners = np.tile(np.eye(dim), (num_classes, 1, 1, 1))
    scales = np.full((num_classes, 1), -np.inf)
    for label in np.flatnonzero(present):
        residual = _members(features, rows[classes[rows] == label], projection) - means[label]
        covariance = residual.T @ residual / len(residual)
        if shrink:
            fourth = float((np.einsum("nk,nk->n", residual, residual) ** 2).mean())
            covariance, _ = ledoit_wolf(covariance, fourth, len(residual))
        whiteners[label, 0] = whitener_of(covariance)
        scales[label, 0] = gaussian_log_scale(whiteners[label, 0])
    return ClassDensity(means[:, None], whiteners, scales)


def _fit_mixtures(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    projection: Projection,
    class_means: NDArray[np.float64],
    present: NDArray[np.bool_],
    seed: int,
) -> ClassDensity:
    """Diagonal mixtures per class, the order by BIC.

    Diagonal because a full covariance per component has no data behind it at the sizes of a
    reference; principal coordinates make the diagonal a fair choice.
    """
    num_classes, dim = class_means.shape
    means = np.tile(class_means[:, None], (1, MAX_MIXTURE_COMPONENTS, 1))
    whiteners = np.tile(np.eye(dim), (num_classes, MAX_MIXTURE_COMPONENTS, 1, 1))
    scales = np.full((num_classes, MAX_MIXTURE_COMPONENTS), -np.inf)
    for label in np.flatnonzero(present):
        members = _members(features, rows[classes[rows] == label], projection)
        for index, (weight, mean, variance) in enumerate(_best_mixture(members, seed)):
            means[label, index] = mean
            whiteners[label, index] = np.diag(1.0 / np.sqrt(variance))
            scales[label, index] = np.log(weight) + gaussian_log_scale(whiteners[label, index])
    return ClassDensity(means, whiteners, scales)


def _best_mixture(
    members: NDArray[np.float64], seed: int
) -> list[tuple[float, NDArray[np.float64], NDArray[np.float64]]]:
    """Components ``(weight, mean, variances)`` of the mixture with the smallest BIC."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    # A floor on the variances, relative to the data: a component on few images must not collapse.
    floor = 1e-3 * float(members.var(0).mean()) + np.finfo(np.float64).tiny
    best, best_bic = None, np.inf
    for order in range(1, MAX_MIXTURE_COMPONENTS + 1):
        if order > 1 and len(members) < order * MIN_IMAGES_PER_COMPONENT:
            break
        if len(members) < 2:
            return [(1.0, members[0], np.full(members.shape[1], floor))]
        mixture = GaussianMixture(order, covariance_type="diag", reg_covar=floor, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(members)
        bic = mixture.bic(members)
        if bic < best_bic:
            best, best_bic = mixture, bic
    assert best is not None
    return [
        (float(weight), mean, variance)
        for weight, mean, variance in zip(best.weights_, best.means_, best.covariances_, strict=True)
    ]
