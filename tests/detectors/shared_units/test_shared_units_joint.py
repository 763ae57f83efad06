"""Densities, direction and units together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.shared_units.clean_features import CleanFeatures
from detectors.shared_units.clean_scores import CleanScores
from detectors.shared_units.detector import SharedUnits
from detectors.shared_units.joint import BatchInputs, joint_judge
from detectors.shared_units.learn import learn_units
from detectors.shared_units.learn_direction import Suspects, learn_directions
from detectors.shared_units.similar_images import fit_shared_units

CLEAN, INPUTS, UNITS, TRIGGERED = 150, 120, 40, 50


def batch(seed: int, triggered: int = TRIGGERED) -> tuple[SharedUnits, BatchInputs]:
    """Half of the triggered inputs are suspicious by their score; all of them have two units raised."""
    rng = np.random.default_rng(seed)
    clean, values = (np.maximum(rng.normal(size=(n, UNITS)), 0).astype(np.float32) for n in (CLEAN, INPUTS))
    values[:triggered, :2] += 3
    known = CleanScores(rng.normal(size=CLEAN), np.ones(CLEAN, bool), rng.permutation(CLEAN) % 5)
    fitted = fit_shared_units({"a:max": clean}, "a:max", np.zeros(CLEAN, int), 1, known)
    combined = rng.normal(size=(INPUTS, 1)) + 3.0 * (np.arange(INPUTS) < triggered // 2)[:, None]
    assert fitted.features is not None
    features = fitted.features.standardised(values)
    zeros = np.zeros(INPUTS, int)
    return fitted, BatchInputs(values, np.repeat(combined, 5, axis=1), features, zeros, rng.permutation(INPUTS) % 5)


def learned(fitted: SharedUnits, inputs: BatchInputs) -> tuple:
    units = learn_units(
        fitted.reference, inputs.values, fitted.strata.of(inputs.predicted, inputs.values), inputs.parts
    )
    assert isinstance(fitted.features, CleanFeatures)
    assert inputs.features is not None
    suspects = Suspects(inputs.combined, inputs.features, inputs.predicted, inputs.parts)
    return units, learn_directions(fitted.scores, fitted.features, suspects)


def test_units_count_as_much_as_suspects_are_impure() -> None:
    fitted, inputs = batch(0)
    units, directions = learned(fitted, inputs)
    judged = joint_judge(fitted, units, directions).judge(inputs)
    calibrates = fitted.reference.folds >= 0
    densities = joint_judge(fitted, units, None).surprise(inputs.combined)
    purity = directions.purities[inputs.parts]
    assert 0 < purity.min() <= purity.max() < 1
    nats = units.score(inputs.values, inputs.parts)
    expected = densities + directions.score(inputs.features, inputs.predicted, inputs.parts) + (1 - purity) * nats
    np.testing.assert_allclose(judged.evidence, expected.mean(1))
    np.testing.assert_allclose(judged.units, nats.mean(1))
    clean = joint_judge(fitted, units, directions).clean
    assert clean.shape == (calibrates.sum(), 5)


def test_clean_images_get_what_inputs_like_them_get() -> None:
    fitted, inputs = batch(1)
    units, directions = learned(fitted, inputs)
    judge = joint_judge(fitted, units, directions)
    folds, table = fitted.reference.folds, fitted.reference.table
    for part in range(5):
        as_inputs = BatchInputs(
            np.where(np.isfinite(table), table, -np.inf).astype(np.float32),
            np.repeat(fitted.scores.combined[:, None], 5, axis=1),
            fitted.features.features if fitted.features is not None else None,
            np.zeros(CLEAN, int),
            np.full(CLEAN, part),
        )
        nats = judge.surprise(as_inputs.combined) + directions.score(
            as_inputs.features, as_inputs.predicted, as_inputs.parts
        )
        nats = nats + units.score(as_inputs.values, as_inputs.parts) * (1 - directions.purities[as_inputs.parts])
        np.testing.assert_allclose(nats[np.arange(CLEAN), folds], judge.clean[:, part])


def test_both_find_more_than_densities_and_clean_inputs_stay_at_alpha() -> None:
    found, alarms = [], []
    for seed in range(40):
        fitted, inputs = batch(seed)
        units, directions = learned(fitted, inputs)
        flagged = joint_judge(fitted, units, directions).judge(inputs).p_values <= 0.05
        found.append(flagged[:TRIGGERED].mean())
        alarms.append(flagged[TRIGGERED:].mean())
    assert np.mean(found) > 0.95
    assert np.mean(alarms) < 0.05 + 3 * np.std(alarms, ddof=1) / np.sqrt(len(alarms))


def test_without_features_directions_are_refused() -> None:
    fitted, inputs = batch(2)
    units, directions = learned(fitted, inputs)
    with pytest.raises(ValueError, match="clean images are needed"):
        joint_judge(replace(fitted, features=None), units, directions)
    with pytest.raises(ValueError, match="of the inputs are needed"):
        joint_judge(fitted, units, directions).judge(replace(inputs, features=None))
    with pytest.raises(ValueError, match="that count"):
        joint_judge(fitted, None, None)
    with pytest.raises(ValueError, match="units and features of"):
        replace(inputs, values=inputs.values[1:])
    with pytest.raises(ValueError, match="classes of"):
        replace(inputs, predicted=inputs.predicted[1:])
    short = fitted.features
    assert short is not None
    with pytest.raises(ValueError, match="features of 150"):
        replace(fitted, features=replace(short, features=short.features[1:], predicted=short.predicted[1:]))
