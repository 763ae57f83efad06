"""Figures of detection: thresholds from held-out clean images, and what the areas are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from reference.panel.figures import conformal_p, figures, judge

scores = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=40)


@given(scores, scores)
def test_p_values_are_counts(held_out: list[float], new: list[float]) -> None:
    expected = [(1 + sum(one >= score for one in held_out)) / (len(held_out) + 1) for score in new]
    np.testing.assert_allclose(conformal_p(np.array(held_out), np.array(new)), expected)


def test_false_alarms_keep_the_level_on_average() -> None:
    generator = np.random.default_rng(0)
    rates = [np.mean(conformal_p(generator.normal(size=199), generator.normal(size=50)) <= 0.05) for _ in range(2000)]
    assert np.mean(rates) == pytest.approx(0.05, abs=0.003)


def test_figures_of_all_inputs_and_of_those_that_succeed() -> None:
    held_out = np.arange(1000.0)
    clean = np.array([5.0, 500.0, 970.0, 2000.0])
    triggered = np.array([1500.0, 985.0, 3.0, 995.0])
    succeeds = np.array([True, True, False, False])
    found = figures(judge(held_out, clean, triggered), succeeds)
    assert found["false_alarms_at_0.01"] == 0.25
    assert found["false_alarms_at_0.05"] == 0.5
    assert found["detection_at_0.01"] == 0.5
    assert found["detection_at_0.05"] == 0.75
    assert found["succeeds_detection_at_0.01"] == 0.5
    assert found["succeeds_detection_at_0.05"] == 1.0
    truth = np.array([0] * 4 + [1] * 4)
    everything = np.concatenate([clean, triggered])
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, everything), abs=1e-5)
    assert found["aupr"] == pytest.approx(average_precision_score(truth, everything), abs=1e-5)
    assert found["succeeds_auroc"] == pytest.approx(roc_auc_score(truth[:6], everything[:6]), abs=1e-5)


def test_too_few_clean_images_flag_nothing() -> None:
    found = figures(judge(np.zeros(50), np.zeros(9), np.ones(9)), np.ones(9, bool))
    assert found["detection_at_0.01"] == 0
    assert found["detection_at_0.05"] == 1


def test_nothing_is_said_of_an_attack_that_never_succeeds() -> None:
    found = figures(judge(np.arange(200.0), np.arange(9.0), np.arange(9.0)), np.zeros(9, bool))
    assert found["succeeds_auroc"] is found["succeeds_detection_at_0.01"] is None
    assert found["auroc"] == 0.5


@given(scores, scores, scores)
@settings(max_examples=50)
def test_a_monotone_change_of_scores_changes_nothing(
    held_out: list[float], clean: list[float], more: list[float]
) -> None:
    parts = [np.array(one) for one in (held_out, clean, more)]
    succeeds = np.ones(len(more), bool)
    assert figures(judge(*parts), succeeds) == figures(judge(*(np.exp(part) for part in parts)), succeeds)
