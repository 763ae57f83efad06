"""Fit the whole DeepFeatures detector: every descriptor's densities, and the calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import ScoreName
from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan, calibrate_by_plan
from detectors.calibration.standardise import FLOOR, fit_standardiser
from detectors.deep_features.confidence import ConfidenceSlopes, fit_confidence_slopes
from detectors.deep_features.fit import FittedDescriptor, fit_descriptor
from detectors.deep_features.grouping import UNLIKE, ClassGroups, group_classes
from detectors.deep_features.recipe import Recipe
from detectors.deep_features.scores import DescriptorDensity, ScoreKind, lower_bound, score_by_folds
from detectors.deep_features.settings import DensitySettings
from detectors.rows import Rows, chunks

Fit = Callable[[str], FittedDescriptor | None]
CONSTANT = 1e-6
"""Largest range of a descriptor's features, relative to their size, that is one value and rounding."""


@dataclass(frozen=True)
class DeepFeatures:
    """A fitted detector.

    Attributes:
        densities: Fitted densities of every descriptor, one for each of ``K`` folds, by key, in graph order.
        constant: Keys of the descriptors that do not vary over the reference, for which there is no density.
        scores: Names of the ``S`` scores, in the order of the head's output.
        clean_scores: ``(M, S)`` scores of the plan's unseen images, each from densities that did not see it.
        bounds: ``(S,)`` lower bounds of the scores; NaN where there is none.
        confidence: How scores depend on the network's confidence; None where that is not looked at.
        calibration: Turns scores into p-values.
        groups: Which classes have densities of their own.
        class_scales: Per descriptor, median and robust scale of the log deviance, on which the
            classes of different descriptors are compared.

    Example:
        >>> from detectors.calibration.plan import plan_calibration
        >>> from detectors.deep_features.recipe import DEFAULT
        >>> classes = np.arange(60) % 2
        >>> values = np.random.default_rng(0).normal(9.0 * classes[:, None], size=(60, 3)).astype(np.float32)
        >>> features, plan = {"layer:mean": values}, plan_calibration(classes, seed=0)
        >>> seen = ImageClasses(classes, classes, 2, np.ones(60))
        >>> detector = fit_deep_features(features, seen, DEFAULT, plan, seed=0)
        >>> unusual = {"layer:mean": np.full((1, 3), 30.0, np.float32)}
        >>> scores = detector.score(unusual, np.zeros(1, np.int64), np.ones(1))
        >>> round(float(detector.calibration.judge(scores).p_values[0]), 4)
        0.0164

    References:
        Subedar, Ahuja, Krishnan, Ndiour and Tickoo (2019), Deep probabilistic models to detect data poisoning attacks,
        https://arxiv.org/abs/1912.01206, section 2.
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    densities: dict[str, tuple[DescriptorDensity, ...]]
    constant: tuple[str, ...]
    scores: tuple[ScoreName, ...]
    clean_scores: NDArray[np.float64]
    bounds: NDArray[np.float64]
    confidence: ConfidenceSlopes | None
    calibration: Calibration
    groups: ClassGroups
    class_scales: dict[str, tuple[float, float]]

    def kinds(self, key: str) -> tuple[ScoreKind, ...]:
        """The kinds of scores that one descriptor has."""
        return tuple(name.kind for name in self.scores if name.descriptor == key)  # type: ignore[misc]

    def score(
        self,
        features: Mapping[str, NDArray[np.float32]],
        predicted: NDArray[np.int64],
        confidence: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Scores ``(N, K, S)`` of ``N`` inputs.

        Args:
            features: ``(N, D)`` by descriptor key.
            predicted: ``(N,)`` predicted classes.
            confidence: ``(N,)`` log-odds of the predicted class, in nats
                (:func:`~detectors.baselines.confidence.log_odds`).

        Raises:
            ValueError: If a descriptor is missing, or the shapes do not fit its densities.
        """
        self._require(features)
        columns = []
        for key, folds in self.densities.items():
            by_kind = score_by_folds(folds, features[key], predicted)
            columns += [by_kind[kind] for kind in self.kinds(key)]
        scores = np.stack(columns, axis=2)
        return scores if self.confidence is None else self.confidence(scores, confidence)

    def class_evidence(self, features: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """How little features look like each class, ``(N, C)``: log deviance by the first fold's densities.

        Standardised for each descriptor and averaged over them; a class without a density of its own looks like
        nothing (:data:`~detectors.deep_features.grouping.UNLIKE`).

        Raises:
            ValueError: If a descriptor is missing, or of another dimension.
        """
        self._require(features)
        total: NDArray[np.float64] | float = 0.0
        for key, folds in self.densities.items():
            location, scale = self.class_scales[key]
            coordinates = folds[0].projection.transform(features[key].astype(np.float64))
            deviance = folds[0].density.supremum - folds[0].density.log_likelihood(coordinates)
            total = total + (np.log(np.maximum(deviance, FLOOR)) - location) / scale
        mean = np.asarray(total, np.float64) / len(self.densities)
        spread = mean[:, np.maximum(self.groups.of_class, 0)]
        return np.asarray(spread + np.where(self.groups.own, 0.0, UNLIKE), np.float64)

    def _require(self, features: Mapping[str, NDArray[np.float32]]) -> None:
        missing = [key for key in self.densities if key not in features]
        if missing:
            raise ValueError(f"features of {len(self.densities)} descriptors are needed, {missing[:4]} are missing")


@dataclass(frozen=True)
class ImageClasses:
    """What ``N`` clean images are fitted and scored under.

    Attributes:
        fitted: ``(N,)`` class each image is fitted under: its label, or the prediction where there is none.
        predicted: ``(N,)`` class the network predicts, under which each image is scored.
        count: Number of classes ``C``.
        confidence: ``(N,)`` log-odds of the predicted class, in nats.

    Example:
        >>> ImageClasses(np.array([0, 1]), np.array([0, 0]), count=2, confidence=np.ones(2)).count
        2

    References:
        docs/method.md, section Scores: conditioning on the predicted class.
    """

    fitted: NDArray[np.int64]
    predicted: NDArray[np.int64]
    count: int
    confidence: NDArray[np.float64]


def fit_deep_features(
    features: Mapping[str, Rows],
    classes: ImageClasses,
    recipe: Recipe,
    plan: CalibrationPlan,
    seed: int,
    each: Callable[[Fit, Iterable[str]], Iterable[FittedDescriptor | None]] = map,
) -> DeepFeatures:
    """Fit densities to clean features and calibrate their scores.

    Args:
        features: Per descriptor key ``(N, D)`` float32; finite.
        classes: What they are fitted and scored under.
        recipe: What to compute.
        plan: Which images calibrate.
        seed: Seeds the mixture family.
        each: Applies a function to every descriptor's key and gives the results in order, as ``map`` does; a pool of
            threads does so several at a time. The result is the same.

    Raises:
        ValueError: If there is no descriptor that varies, nothing but a mismatch to score where fewer than two
            classes have a density of their own, or shapes or classes do not fit together.

    Example:
        >>> from detectors.calibration.plan import plan_calibration
        >>> from detectors.deep_features.recipe import DEFAULT
        >>> classes = np.arange(60) % 2
        >>> values = np.random.default_rng(0).normal(9.0 * classes[:, None], size=(60, 3)).astype(np.float32)
        >>> features, plan = {"layer:mean": values}, plan_calibration(classes, seed=0)
        >>> seen = ImageClasses(classes, classes, 2, np.ones(60))
        >>> detector = fit_deep_features(features, seen, DEFAULT, plan, seed=0)
        >>> [name.kind for name in detector.scores], detector.calibration.num_folds
        (['likelihood', 'reconstruction', 'mismatch'], 5)

    References:
        Subedar, Ahuja, Krishnan, Ndiour and Tickoo (2019), Deep probabilistic models to detect data poisoning attacks,
        https://arxiv.org/abs/1912.01206, section 2.
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    _check(features, classes, plan)
    settings = DensitySettings(recipe.family, recipe.retained_variance, recipe.images_per_component, seed)
    groups = group_classes(np.bincount(classes.fitted[plan.fit_rows()], minlength=classes.count))
    kinds = tuple(kind for kind in recipe.kinds if kind != "mismatch" or groups.own_count > 1)
    if not kinds:
        raise ValueError("a mismatch needs two classes with a density of their own: use another score")
    densities: dict[str, tuple[DescriptorDensity, ...]] = {}
    names: list[ScoreName] = []
    columns: list[NDArray[np.float64]] = []
    class_scales: dict[str, tuple[float, float]] = {}

    def fit(key: str) -> FittedDescriptor | None:
        values = features[key]
        if _is_constant(key, values):
            return None
        return fit_descriptor(values, classes.fitted, classes.predicted, groups, plan, settings)

    for key, fitted in zip(features, each(fit, features), strict=True):
        if fitted is None:
            continue
        densities[key] = fitted.folds
        names += [ScoreName(key, kind) for kind in kinds]
        columns += [fitted.scores[kind] for kind in kinds]
        class_scales[key] = _class_scale(fitted)
    if not densities:
        raise ValueError(f"none of {len(features)} descriptors varies over the images: there is nothing to fit")
    scores = np.stack(columns, axis=1)
    bounds = np.array([lower_bound(kind) for _ in densities for kind in kinds])
    slopes = None
    if recipe.given_confidence:
        unseen, used = plan.unseen(), plan.standardising()
        slopes = fit_confidence_slopes(scores[used], bounds, classes.confidence[unseen[used]])
        scores = slopes(scores, classes.confidence[unseen])
    contradicts = np.array([name.kind == "mismatch" for name in names])
    calibration = calibrate_by_plan(scores, bounds, plan, recipe.sharpness, np.ones(len(names), bool), contradicts)
    constant = tuple(key for key in features if key not in densities)
    return DeepFeatures(densities, constant, tuple(names), scores, bounds, slopes, calibration, groups, class_scales)


def _check(features: Mapping[str, Rows], classes: ImageClasses, plan: CalibrationPlan) -> None:
    count, predicted = len(classes.fitted), classes.predicted
    if not features:
        raise ValueError("at least one descriptor is needed, got none")
    for key, values in features.items():
        if values.ndim != 2 or len(values) != count or values.shape[1] < 1:
            raise ValueError(f"descriptor {key!r} has shape {values.shape}, ({count}, D) is needed")
    shapes = (predicted.shape, classes.confidence.shape, plan.folds.shape)
    if shapes != ((count,),) * 3:
        raise ValueError(f"predictions, confidences and folds of {count} images are needed, got shapes {shapes}")
    for what, numbers in (("classes", classes.fitted), ("predictions", predicted)):
        if numbers.min() < 0 or numbers.max() >= classes.count:
            raise ValueError(f"{what} lie in {numbers.min()} to {numbers.max()}, 0 to {classes.count - 1} is needed")


def _is_constant(key: str, features: Rows) -> bool:
    """Whether nothing but rounding distinguishes the images."""
    extremes = [(chunk.min(0), chunk.max(0)) for chunk in chunks(features)]
    low = np.min([least for least, _ in extremes], axis=0).astype(np.float64)
    high = np.max([most for _, most in extremes], axis=0).astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"descriptor {key!r} is not finite")
    return bool((high - low).max() <= CONSTANT * max(np.abs(low).max(), np.abs(high).max()))


def _class_scale(fitted: FittedDescriptor) -> tuple[float, float]:
    standardiser = fit_standardiser(fitted.scores["likelihood"][:, None], np.array([lower_bound("likelihood")]))
    return float(standardiser.locations[0]), float(standardiser.scales[0])
