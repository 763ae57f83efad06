"""The whole detector on clean data: false alarms over many references, split and cross-fitted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from detectors.calibration.plan import plan_calibration
from detectors.deep_features.detector import fit_deep_features
from detectors.deep_features.recipe import DEFAULT
from detectors.deep_features.scores import score_rows

CLASSES, DIMS = 4, (6, 10)


def draw(rng: np.random.Generator, count: int, world: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Heavy-tailed class-conditional features of two descriptors, and predictions that are wrong at times."""
    labels = rng.integers(0, CLASSES, count)
    features = {}
    for index, dim in enumerate(DIMS):
        means, mixing = world.normal(size=(CLASSES, dim)) * 2, world.normal(size=(dim, dim))
        noise = rng.standard_t(6, size=(count, dim)) @ mixing
        features[f"tap{index}:mean"] = (means[labels] + noise).astype(np.float32)
    return features, labels


def false_alarm_rate(seed: int, count: int, fresh: int = 400) -> tuple[float, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    features, labels = draw(rng, count, np.random.default_rng(99))
    fitted = fit_deep_features(features, labels, labels, CLASSES, DEFAULT, plan_calibration(labels, seed), seed)
    inputs, predicted = draw(rng, fresh, np.random.default_rng(99))
    columns = []
    for key, density in fitted.densities.items():
        scores = score_rows(density, inputs[key], np.arange(fresh), predicted)
        columns += [scores[kind] for kind in DEFAULT.kinds]
    p = fitted.calibration.judge(np.stack(columns, axis=1)).p_values
    return float((p <= 0.05).mean()), p, fitted.calibration.size


def test_split_p_values_are_uniform_over_references() -> None:
    """One fresh input for each of many references: exactly uniform on the grid, by chi-squared."""
    p = np.array([false_alarm_rate(seed, 2000, fresh=1)[1][0] for seed in range(300)])
    counts = np.histogram(p, bins=10, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("count", [120, 400])
def test_cross_fitted_false_alarms_do_not_exceed_alpha(count: int) -> None:
    rates = np.array([false_alarm_rate(seed, count)[0] for seed in range(60)])
    error = rates.std(ddof=1) / np.sqrt(len(rates))
    assert rates.mean() < 0.05 + 3 * error
    assert rates.mean() > 0.02, "so conservative that it would miss triggers"
