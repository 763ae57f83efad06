"""Fit one descriptor's density, and score the reference with densities that did not see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.deep_features.density import Family
from detectors.deep_features.families import fit_density
from detectors.deep_features.moments import CHUNK_ROWS, ClassMoments, class_moments
from detectors.deep_features.projection import RETAINED_VARIANCE, fit_projection
from detectors.deep_features.scores import SCORE_KINDS, DescriptorDensity, ScoreKind, score_rows


@dataclass(frozen=True)
class DensitySettings:
    """What to fit: the family, the share of variance the projection keeps, and a seed."""

    family: Family = "tied-shrunk"
    retained_variance: float = RETAINED_VARIANCE
    seed: int = 0


@dataclass(frozen=True)
class FittedDescriptor:
    """A density and the scores of the calibration images.

    Attributes:
        fitted: Density that a scan uses.
        scores: Scores ``(n_cal,)`` of each kind for the calibration images, each from a density
            that did not see the image.
    """

    fitted: DescriptorDensity
    scores: dict[ScoreKind, NDArray[np.float64]]


def fit_cross(
    features: NDArray[np.float32],
    classes: NDArray[np.int64],
    predicted: NDArray[np.int64],
    folds: NDArray[np.int64],
    num_classes: int,
    settings: DensitySettings,
) -> FittedDescriptor:
    """Fit on all images; score each one with the density fitted without its fold.

    Nothing of a fold enters the density that scores it, but for the number of components.

    Args:
        features: ``(N, D)`` float32, possibly a memory map.
        classes: ``(N,)`` class to fit each image under.
        predicted: ``(N,)`` class the network predicts, under which it is scored.
        folds: ``(N,)`` fold of each image, 0 to K-1.
        num_classes: Number of classes ``C``.
        settings: Family, retained variance, seed.
    """
    pilot = pilot_point(features)
    by_fold = [
        class_moments(features, np.flatnonzero(folds == fold), classes, num_classes, pilot)
        for fold in range(int(folds.max()) + 1)
    ]
    total = by_fold[0]
    for part in by_fold[1:]:
        total = total + part
    whole = _fit(features, np.arange(len(features)), classes, total, settings)
    # One number of components for all folds: near the retained share it would differ by one from
    # fold to fold, and with it the reconstruction error of a whole fold.
    components = whole.projection.dim
    scores: dict[ScoreKind, NDArray[np.float64]] = {kind: np.empty(len(features)) for kind in SCORE_KINDS}
    for fold, part in enumerate(by_fold):
        unseen = np.flatnonzero(folds == fold)
        fitted = _fit(features, np.flatnonzero(folds != fold), classes, total - part, settings, components)
        for kind, values in score_rows(fitted, features, unseen, predicted).items():
            scores[kind][unseen] = values
    return FittedDescriptor(whole, scores)


def fit_split(
    features: NDArray[np.float32],
    classes: NDArray[np.int64],
    predicted: NDArray[np.int64],
    calibration: NDArray[np.bool_],
    num_classes: int,
    settings: DensitySettings,
) -> FittedDescriptor:
    """Fit on one part of the reference, score the disjoint other part (``calibration``, ``(N,)`` bool)."""
    rows = np.flatnonzero(~calibration)
    moments = class_moments(features, rows, classes, num_classes, pilot_point(features))
    fitted = _fit(features, rows, classes, moments, settings)
    return FittedDescriptor(fitted, score_rows(fitted, features, np.flatnonzero(calibration), predicted))


def pilot_point(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """A point near the data, ``(D,)``: the mean of the first chunk."""
    return np.asarray(features[:CHUNK_ROWS].mean(0, dtype=np.float64), np.float64)


def _fit(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    moments: ClassMoments,
    settings: DensitySettings,
    components: int | None = None,
) -> DescriptorDensity:
    projection = fit_projection(
        moments.mean(), moments.total_covariance(), moments.total, settings.retained_variance, components
    )
    density = fit_density(settings.family, features, rows, classes, moments, projection, settings.seed)
    return DescriptorDensity(projection, density)
