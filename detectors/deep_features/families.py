"""Fitting the density families to streamed, projected features.

``separate`` and ``mixture`` are the paper's two families (Ahuja et al. 2019: Gaussians with
separate covariances, and mixtures with the order chosen by BIC). ``tied`` pools the covariance within
groups of classes; ``-shrunk`` applies Ledoit-Wolf shrinkage, which is what makes a density from a few
images a class usable.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.deep_features.density import (
    ClassDensity,
    gaussian_log_scale,
    principal_whitener,
    whitener_of,
)
from detectors.deep_features.grouping import NO_GROUP, ClassGroups
from detectors.deep_features.moments import blocks
from detectors.deep_features.projection import Projection
from detectors.deep_features.scores import DescriptorDensity
from detectors.deep_features.settings import DensitySettings
from detectors.deep_features.shrinkage import ledoit_wolf
from detectors.rows import Rows

MAX_MIXTURE_COMPONENTS = 4
MIN_IMAGES_PER_COMPONENT = 20
NEGLIGIBLE = 1e-12
"""Share of the variance below which what is left within a group is rounding."""


@dataclass(frozen=True)
class _Sample:
    """The images to fit on, in groups, and the principal components to work in.

    Attributes:
        features: ``(N, D)`` float32.
        rows: ``(M,)`` rows to fit on.
        group: ``(N,)`` group of every row.
        groups: What the groups are.
        projection: Principal components.
    """

    features: Rows
    rows: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: ClassGroups
    projection: Projection

    def coordinates(self, group: int) -> NDArray[np.float64]:
        """Coordinates of one group, ``(n_g, k)``: bounded by the group, not by the reference."""
        members = self.rows[self.group[self.rows] == group]
        return np.concatenate([self.projection.transform(block) for _, block in blocks(self.features, members)])

    def means(self) -> NDArray[np.float64]:
        """Where each group lies, ``(G, k)``: at its mean, the shared group at that of all images.

        The shared group is of classes whose own mean says nothing. A group without images among the rows, as a fold
        can leave it, lies there as well.
        """
        counts = np.bincount(self.group[self.rows], minlength=self.groups.count)
        sums = np.zeros((self.groups.count, self.projection.dim))
        for chunk, block in blocks(self.features, self.rows):
            np.add.at(sums, self.group[chunk], self.projection.transform(block))
        means = sums / np.maximum(counts, 1)[:, None]
        common = np.zeros(self.projection.dim)  # coordinates are taken from the mean of all rows
        means[counts == 0] = common
        if self.groups.shared is not None:
            means[self.groups.shared] = common
        return means

    def pooled(self, means: NDArray[np.float64], shrink: bool) -> NDArray[np.float64]:
        """Covariance ``(k, k)`` around the groups' means; where nothing is left there, around the common mean.

        Raises:
            ValueError: If the images do not differ at all.
        """
        covariance, fourth = self._around(means)
        if np.trace(covariance) <= NEGLIGIBLE * self.projection.total_variance:
            covariance, fourth = self._around(np.zeros_like(means))
        return ledoit_wolf(covariance, fourth, len(self.rows))[0] if shrink else covariance

    def _around(self, means: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        dim = self.projection.dim
        scatter, fourth = np.zeros((dim, dim)), 0.0
        for chunk, block in blocks(self.features, self.rows):
            residual = self.projection.transform(block) - means[self.group[chunk]]
            scatter += residual.T @ residual
            fourth += float((np.einsum("nk,nk->n", residual, residual) ** 2).sum())
        return scatter / len(self.rows), fourth / len(self.rows)


def fit_density(
    settings: DensitySettings,
    features: Rows,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    groups: ClassGroups,
    projection: Projection,
) -> DescriptorDensity:
    """Fit one family.

    Args:
        settings: Which density; the seed is that of the mixture's initialisation, the Gaussians are deterministic.
        features: ``(N, D)`` float32.
        rows: ``(M,)`` rows to fit on, whose mean is that of the projection.
        classes: ``(N,)`` class of every row.
        groups: Which classes get a density of their own.
        projection: Principal components to work in.

    Raises:
        ValueError: If the images do not differ in these features, or an argument does not fit the others.

    Example:
        >>> from detectors.deep_features.grouping import group_classes
        >>> from detectors.deep_features.projection import projection_from_covariance
        >>> features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        >>> rows, classes, groups = np.arange(60), np.arange(60) % 2, group_classes(np.array([30, 30]))
        >>> projection = projection_from_covariance(features.mean(0, np.float64), np.eye(3), 60)
        >>> settings = DensitySettings("separate")
        >>> fit_density(settings, features, rows, classes, groups, projection).density.whiteners.shape
        (2, 1, 3, 3)

    References:
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
        Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, Journal of
        Multivariate Analysis 88, 365-411, for ``-shrunk``.
        Schwarz (1978), Estimating the dimension of a model, The Annals of Statistics 6, 461-464, for BIC.
    """
    _check(features, rows, classes, groups, projection)
    family = settings.family
    sample = _Sample(features, rows, groups.of_class[classes], groups, projection)
    means = sample.means()
    if family in ("tied", "tied-shrunk"):
        return _fit_tied(sample, means, shrink=family == "tied-shrunk")
    if family == "mixture":
        return DescriptorDensity(projection, _fit_mixtures(sample, means, settings.seed))
    return DescriptorDensity(projection, _fit_separate(sample, means, shrink=family == "separate-shrunk"))


def _check(
    features: Rows,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    groups: ClassGroups,
    projection: Projection,
) -> None:
    if features.ndim != 2 or features.shape[1] != len(projection.mean) or classes.shape != features.shape[:1]:
        raise ValueError(
            f"features (N, {len(projection.mean)}) and classes (N,) are needed, "
            f"got {features.shape} and {classes.shape}"
        )
    if rows.ndim != 1 or not len(rows):
        raise ValueError(f"rows (M,) of at least one image are needed, got shape {rows.shape}")
    low, high = classes[rows].min(), classes[rows].max()
    if low < 0 or high >= len(groups.of_class) or (groups.of_class[classes[rows]] == NO_GROUP).any():
        raise ValueError(f"classes with a group, of {len(groups.of_class)}, are needed, got {low} to {high}")


def _fit_tied(sample: _Sample, means: NDArray[np.float64], shrink: bool) -> DescriptorDensity:
    """One covariance for all, in its own principal axes, so that whitening is a division."""
    axes, reciprocals = principal_whitener(sample.pooled(means, shrink))
    projection = sample.projection.rotated(axes)
    turned = replace(sample, projection=projection)
    whitener = np.diag(reciprocals)
    scales = np.full((sample.groups.count, 1), gaussian_log_scale(whitener))
    centres = turned.means().astype(np.float32).astype(np.float64)  # as a profile stores them
    density = ClassDensity(centres[:, None], whitener[None, None], scales, sample.groups, tied=True)
    return DescriptorDensity(projection, density)


def _fit_separate(sample: _Sample, means: NDArray[np.float64], shrink: bool) -> ClassDensity:
    pooled = sample.pooled(means, shrink)
    whiteners, scales = [], []
    for group, mean in enumerate(means):
        members = sample.coordinates(group) if (sample.group[sample.rows] == group).any() else mean[None]
        residual = members - mean
        covariance = residual.T @ residual / len(residual)
        if np.trace(covariance) <= NEGLIGIBLE * np.trace(pooled):
            covariance = pooled  # copies of one image, or none: no spread of its own to estimate
        elif shrink:
            fourth = float((np.einsum("nk,nk->n", residual, residual) ** 2).mean())
            covariance, _ = ledoit_wolf(covariance, fourth, len(residual))
        whiteners.append(whitener_of(covariance))
        scales.append(gaussian_log_scale(whiteners[-1]))
    return ClassDensity(
        means[:, None], np.stack(whiteners)[:, None], np.array(scales)[:, None], sample.groups, tied=False
    )


def _fit_mixtures(sample: _Sample, group_means: NDArray[np.float64], seed: int) -> ClassDensity:
    """Diagonal mixtures per group, the order by BIC.

    Diagonal because a full covariance per component has no data behind it at the sizes of a
    reference; principal coordinates make the diagonal a fair choice.
    """
    number, dim = group_means.shape
    pooled = np.diag(sample.pooled(group_means, shrink=False))
    means = np.tile(group_means[:, None], (1, MAX_MIXTURE_COMPONENTS, 1))
    whiteners = np.tile(np.eye(dim), (number, MAX_MIXTURE_COMPONENTS, 1, 1))
    scales = np.full((number, MAX_MIXTURE_COMPONENTS), -np.inf)
    for group in range(number):
        empty = not (sample.group[sample.rows] == group).any()
        members = group_means[group][None] if empty else sample.coordinates(group)
        for index, (weight, mean, variance) in enumerate(_best_mixture(members, pooled, seed)):
            means[group, index] = mean
            whiteners[group, index] = np.diag(1.0 / np.sqrt(variance))
            scales[group, index] = np.log(weight) + gaussian_log_scale(whiteners[group, index])
    return ClassDensity(means, whiteners, scales, sample.groups, tied=False)


def _best_mixture(
    members: NDArray[np.float64], pooled: NDArray[np.float64], seed: int
) -> list[tuple[float, NDArray[np.float64], NDArray[np.float64]]]:
    """Components ``(weight, mean, variances)`` of the mixture with the smallest BIC."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    # A floor on the variances, relative to the data: a component on few images must not collapse.
    if len(members) < 2:
        return [(1.0, members[0], np.maximum(pooled, 1e-3 * float(pooled.mean())))]
    floor = 1e-3 * max(float(members.var(0).mean()), 1e-3 * float(pooled.mean()))
    best, best_bic = None, np.inf
    for order in range(1, MAX_MIXTURE_COMPONENTS + 1):
        if order > 1 and len(members) < order * MIN_IMAGES_PER_COMPONENT:
            break
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
