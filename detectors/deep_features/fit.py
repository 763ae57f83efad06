"""Fit one descriptor's densities, and score the reference with densities that did not see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.plan import CalibrationPlan
from detectors.deep_features.families import fit_density
from detectors.deep_features.grouping import ClassGroups
from detectors.deep_features.moments import Moments, blocks, moments_of
from detectors.deep_features.projection import (
    Projection,
    projection_from_covariance,
    projection_from_images,
)
from detectors.deep_features.scores import SCORE_KINDS, DescriptorDensity, ScoreKind, score_rows
from detectors.deep_features.settings import DensitySettings
from detectors.rows import CHUNK_ROWS, Rows


@dataclass(frozen=True)
class FittedDescriptor:
    """Densities, and the scores of the calibration images.

    Attributes:
        folds: The density of every fold, fitted without the fold; one alone for a split.
        scores: Scores ``(n_cal,)`` of each kind for the calibration images, each from the density
            that did not see the image.

    Example:
        >>> from detectors.deep_features.grouping import group_classes
        >>> features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        >>> classes, groups = np.arange(60) % 2, group_classes(np.array([30, 30]))
        >>> plan = CalibrationPlan("cross-conformal", np.arange(60) // 2 % 5)
        >>> fitted = fit_descriptor(features, classes, classes, groups, plan, DensitySettings())
        >>> len(fitted.folds), sorted(fitted.scores)
        (5, ['likelihood', 'max-likelihood', 'mismatch', 'reconstruction'])

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    folds: tuple[DescriptorDensity, ...]
    scores: dict[ScoreKind, NDArray[np.float64]]


def fit_rows(
    features: Rows,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    groups: ClassGroups,
    settings: DensitySettings,
) -> DescriptorDensity:
    """Fit one density.

    Args:
        features: ``(N, D)`` float32.
        rows: ``(M,)`` rows to fit on.
        classes: ``(N,)`` class to fit each image under.
        groups: Which classes get a density of their own.
        settings: Family, retained variance, seed.

    Raises:
        ValueError: If the images do not differ in these features, or the arrays do not fit together.

    Example:
        >>> from detectors.deep_features.grouping import group_classes
        >>> features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        >>> classes, groups = np.arange(60) % 2, group_classes(np.array([30, 30]))
        >>> fit_rows(features, np.arange(60), classes, groups, DensitySettings()).density.means.shape
        (2, 1, 3)

    References:
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
    """
    if features.ndim != 2 or rows.ndim != 1 or not len(rows):
        raise ValueError(f"features (N, D) and at least one row are needed, got {features.shape} and {rows.shape}")
    projection = _projection(features, rows, settings, None)
    return fit_density(settings, features, rows, classes, groups, projection)


def _projection(
    features: Rows, rows: NDArray[np.int64], settings: DensitySettings, moments: Moments | None
) -> Projection:
    """Principal components of some rows, whose moments may be known."""
    most = settings.most_components(len(rows))
    if _few(rows, features):
        images = np.concatenate([block for _, block in blocks(features, rows)])
        return projection_from_images(images, settings.retained_variance, most)
    moments = moments_of(features, rows, _pilot(features)) if moments is None else moments
    return projection_from_covariance(
        moments.mean(), moments.covariance(), moments.count, settings.retained_variance, most
    )


def fit_descriptor(
    features: Rows,
    classes: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: ClassGroups,
    plan: CalibrationPlan,
    settings: DensitySettings,
) -> FittedDescriptor:
    """Fit the densities of a plan, and score every image that calibrates with the one that did not see it.

    Nothing of an image enters the density that scores it, but for the number of components, which all folds share.

    Args:
        features: ``(N, D)`` float32.
        classes: ``(N,)`` class to fit each image under.
        predicted: ``(N,)`` class the network predicts, under which it is scored.
        groups: Which classes get a density of their own.
        plan: Which images each density fits, and which it scores.
        settings: Family, retained variance, seed.

    Raises:
        ValueError: If the images of a fold do not differ in these features, or the arrays do not fit together.

    Example:
        >>> from detectors.deep_features.grouping import group_classes
        >>> features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        >>> classes, groups = np.arange(60) % 2, group_classes(np.array([30, 30]))
        >>> plan = CalibrationPlan("cross-conformal", np.arange(60) // 2 % 5)
        >>> fit_descriptor(features, classes, classes, groups, plan, DensitySettings()).scores["likelihood"].shape
        (60,)

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
    """
    shapes = classes.shape, predicted.shape, plan.folds.shape
    if features.ndim != 2 or shapes != (features.shape[:1],) * 3:
        raise ValueError(
            f"features (N, D), classes, predictions and folds (N,) are needed, got {features.shape} and {shapes}"
        )
    unseen = plan.unseen()
    position = np.full(len(features), -1)
    position[unseen] = np.arange(len(unseen))
    scores: dict[ScoreKind, NDArray[np.float64]] = {kind: np.empty(len(unseen)) for kind in SCORE_KINDS}
    parts = list(plan.parts())
    projections = [
        _projection(features, fit_on, settings, moments)
        for (fit_on, _), moments in zip(parts, _moments_of_parts(features, plan), strict=True)
    ]
    # As many components in every fold: one that keeps them all has no error of reconstruction but rounding, and the
    # scores of all folds are standardised together.
    kept = min(projection.dim for projection in projections)
    folds = []
    for (fit_on, scored), projection in zip(parts, projections, strict=True):
        leading = projection.leading(kept)
        folds.append(fit_density(settings, features, fit_on, classes, groups, leading))
        for kind, values in score_rows(folds[-1], features, scored, predicted).items():
            scores[kind][position[scored]] = values
    return FittedDescriptor(tuple(folds), scores)


def _moments_of_parts(features: Rows, plan: CalibrationPlan) -> Iterator[Moments | None]:
    """Moments of what each part fits: the total minus the fold, so that two passes serve all folds.

    None where a part has fewer images than dimensions, for which there is a cheaper way.
    """
    parts, pilot = list(plan.parts()), _pilot(features)
    if plan.method == "split" or any(_few(fit_on, features) for fit_on, _ in parts):
        yield from (None for _ in parts)
        return
    total = moments_of(features, np.arange(len(features)), pilot)
    yield from (total - moments_of(features, left_out, pilot) for _, left_out in parts)


def _few(rows: NDArray[np.int64], features: Rows) -> bool:
    return bool(len(rows) <= features.shape[1])


def _pilot(features: Rows) -> NDArray[np.float64]:
    """A point near the data, ``(D,)``: the mean of the first chunk."""
    _, block = next(blocks(features, np.arange(min(len(features), CHUNK_ROWS))))
    return np.asarray(block.mean(0), np.float64)
