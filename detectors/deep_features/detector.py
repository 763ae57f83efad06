"""Fit the whole DeepFeatures detector: every descriptor's density, and the calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import ScoreName
from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan, calibrate_by_plan
from detectors.calibration.standardise import fit_standardiser
from detectors.deep_features.fit import DensitySettings, FittedDescriptor, fit_cross, fit_split
from detectors.deep_features.recipe import Recipe
from detectors.deep_features.scores import DescriptorDensity, ScoreKind


@dataclass(frozen=True)
class DeepFeatures:
    """A fitted detector.

    Attributes:
        densities: Fitted density of every descriptor, by key, in graph order.
        scores: Names of the ``S`` scores, in the order of the head's output.
        clean_scores: ``(M, S)`` scores of the plan's unseen images, each from densities that did not see it.
        bounds: ``(S,)`` lower bounds of the scores; NaN where there is none.
        calibration: Turns scores into p-values.
        class_scales: Per descriptor, median and robust scale of the log deviance, on which the
            classes of different descriptors are compared.
    """

    densities: dict[str, DescriptorDensity]
    scores: tuple[ScoreName, ...]
    clean_scores: NDArray[np.float64]
    bounds: NDArray[np.float64]
    calibration: Calibration
    class_scales: dict[str, tuple[float, float]]


def fit_deep_features(
    features: Mapping[str, NDArray[np.float32]],
    classes: NDArray[np.int64],
    predicted: NDArray[np.int64],
    num_classes: int,
    recipe: Recipe,
    plan: CalibrationPlan,
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
) -> DeepFeatures:
    """Fit densities to clean features and calibrate their scores.

    Args:
        features: Per descriptor key ``(N, D)`` float32, possibly memory maps.
        classes: ``(N,)`` class each image is fitted under: its label, or the prediction where
            there is none.
        predicted: ``(N,)`` class the network predicts, under which each image is scored.
        num_classes: Number of classes ``C``.
        recipe: What to compute.
        plan: Which images calibrate.
        seed: Seeds the mixture family.
        progress: Called with each descriptor's key before it is fitted.
    """
    settings = DensitySettings(recipe.family, recipe.retained_variance, seed)
    densities: dict[str, DescriptorDensity] = {}
    names: list[ScoreName] = []
    bounds: list[float] = []
    columns: list[NDArray[np.float64]] = []
    class_scales: dict[str, tuple[float, float]] = {}
    for key, values in features.items():
        progress(key)
        fitted = _fit(values, classes, predicted, num_classes, settings, plan)
        densities[key] = fitted.fitted
        for kind in recipe.kinds:
            bound = fitted.fitted.offset(kind)
            names.append(ScoreName(key, kind))
            bounds.append(np.nan if bound is None else bound)
            columns.append(fitted.scores[kind])
        class_scales[key] = _class_scale(fitted)
    scores = np.stack(columns, axis=1)
    lower = np.array(bounds)
    calibration = calibrate_by_plan(scores, lower, plan, recipe.sharpness, np.ones(len(names), bool))
    return DeepFeatures(densities, tuple(names), scores, lower, calibration, class_scales)


def _fit(
    features: NDArray[np.float32],
    classes: NDArray[np.int64],
    predicted: NDArray[np.int64],
    num_classes: int,
    settings: DensitySettings,
    plan: CalibrationPlan,
) -> FittedDescriptor:
    if plan.method == "split":
        return fit_split(features, classes, predicted, plan.folds > 0, num_classes, settings)
    return fit_cross(features, classes, predicted, plan.folds, num_classes, settings)


def _class_scale(fitted: FittedDescriptor) -> tuple[float, float]:
    kind: ScoreKind = "likelihood"
    bound = fitted.fitted.offset(kind)
    assert bound is not None
    standardiser = fit_standardiser(fitted.scores[kind][:, None], np.array([bound]))
    return float(standardiser.locations[0]), float(standardiser.scales[0])
