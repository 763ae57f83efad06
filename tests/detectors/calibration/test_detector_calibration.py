"""The whole detector on clean data: false alarms over many references, split and crossed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats

from detectors.calibration.plan import plan_calibration
from detectors.deep_features.detector import ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT

CLASSES, DIMS = 4, (6, 10)


def draw(
    rng: np.random.Generator, count: int, world: np.random.Generator, dims: tuple[int, ...] = DIMS
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Heavy-tailed class-conditional features of some descriptors, and their classes."""
    labels = rng.integers(0, CLASSES, count)
    features = {}
    for index, dim in enumerate(dims):
        means, mixing = world.normal(size=(CLASSES, dim)) * 2, world.normal(size=(dim, dim))
        noise = rng.standard_t(6, size=(count, dim)) @ mixing
        features[f"tap{index}:mean"] = (means[labels] + noise).astype(np.float32)
    return features, labels


def sure(features: dict[str, np.ndarray]) -> np.ndarray:
    """Confidences that fall where features are far out, as those of a network do."""
    first = next(iter(features.values())).astype(float)
    return 10.0 - np.log1p(np.square(first).mean(1))


def fresh_p_values(seed: int, count: int, fresh: int = 400, dims: tuple[int, ...] = DIMS) -> np.ndarray:
    """P-values of new clean inputs, by a detector that was fitted on ``count`` images."""
    rng = np.random.default_rng(seed)
    features, labels = draw(rng, count, np.random.default_rng(99), dims)
    fitted = fit_deep_features(
        features, ImageClasses(labels, labels, CLASSES, sure(features)), DEFAULT, plan_calibration(labels, seed), seed
    )
    inputs, predicted = draw(rng, fresh, np.random.default_rng(99), dims)
    return fitted.calibration.judge(fitted.score(inputs, predicted, sure(inputs))).p_values


def test_split_p_values_are_uniform_over_references() -> None:
    """One fresh input for each of many references: exactly uniform on the grid, by chi-squared."""
    p = np.array([fresh_p_values(seed, 2000, fresh=1)[0] for seed in range(300)])
    counts = np.histogram(p, bins=10, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(("count", "dims"), [(120, DIMS), (400, DIMS), (100, (512,)), (60, (64, 200))])
def test_crossed_false_alarms_are_near_alpha(count: int, dims: tuple[int, ...]) -> None:
    """Far more dimensions than images included.

    A density fitted on all images knows every one of them by heart there: judged by it, two thirds of new clean inputs
    used to be flagged.
    """
    runs = 60 if dims == DIMS else 12
    rates = np.array([(fresh_p_values(seed, count, dims=dims) <= 0.05).mean() for seed in range(runs)])
    error = rates.std(ddof=1) / np.sqrt(len(rates))
    assert rates.mean() < 0.05 + 3 * error
    assert rates.mean() > 0.02, "so conservative that it would miss triggers"


def test_descriptors_may_be_fitted_by_several_threads() -> None:
    features, labels = draw(np.random.default_rng(0), 200, np.random.default_rng(1), (8, 300, 20, 4))
    features["tap9:mean"] = np.ones((200, 3), np.float32)  # which has no density
    classes, plan = ImageClasses(labels, labels, CLASSES, sure(features)), plan_calibration(labels, 0)
    alone = fit_deep_features(features, classes, DEFAULT, plan, 0)
    with ThreadPoolExecutor(4) as pool:
        together = fit_deep_features(features, classes, DEFAULT, plan, 0, pool.map)
    assert (together.scores, together.constant) == (alone.scores, ("tap9:mean",))
    np.testing.assert_array_equal(together.clean_scores, alone.clean_scores)
