"""Metrics against scikit-learn's, ties and infinities included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from reference.metrics import auroc, average_precision, detection_rate_at

few_values = st.integers(min_value=-3, max_value=3).map(float)
any_values = st.floats(allow_nan=False, allow_infinity=False, width=32)


@st.composite
def scored(draw):
    values = draw(st.sampled_from([few_values, any_values]))
    clean = draw(st.lists(values, min_size=1, max_size=40))
    triggered = draw(st.lists(values, min_size=1, max_size=40))
    order = draw(st.permutations(range(len(clean) + len(triggered))))
    labels = np.array([False] * len(clean) + [True] * len(triggered))[list(order)]
    return labels, np.array(clean + triggered)[list(order)]


@given(scored())
def test_auroc_is_that_of_scikit_learn(sample):
    assert auroc(*sample) == pytest.approx(roc_auc_score(*sample), abs=1e-12)


@given(scored())
def test_auroc_counts_pairs(sample):
    labels, scores = sample
    difference = scores[labels][:, None] - scores[~labels][None, :]
    assert auroc(labels, scores) == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean(), abs=1e-12)


@given(scored())
def test_average_precision_is_that_of_scikit_learn(sample):
    assert average_precision(*sample) == pytest.approx(average_precision_score(*sample), abs=1e-12)


@given(scored(), st.sampled_from([0.0, 0.01, 0.05, 0.25, 0.29, 0.5, 1.0]))
def test_detection_rate_is_the_best_on_scikit_learns_roc_curve(sample, rate):
    false_alarms, detections, _ = roc_curve(*sample, drop_intermediate=False)
    assert detection_rate_at(rate, *sample) == pytest.approx(detections[false_alarms <= rate + 1e-9].max(), abs=1e-12)


@given(scored())
def test_only_the_order_of_the_scores_matters(sample):
    labels, scores = sample
    ranks = np.unique(scores, return_inverse=True)[1].astype(float)
    for metric in (auroc, average_precision):
        assert metric(labels, scores) == metric(labels, ranks)


def test_infinite_scores_are_scores():
    labels, scores = [True, True, False, False], [np.inf, np.inf, np.inf, -np.inf]
    assert auroc(labels, scores) == 0.75
    assert average_precision(labels, scores) == pytest.approx(2 / 3)
    assert detection_rate_at(0.0, labels, scores) == 0.0
    assert detection_rate_at(0.5, labels, scores) == 1.0


def test_exactly_one_percent_is_allowed():
    # 100 clean images, the highest above all but one triggered: at 1% that one may be paid for, at 0.9% it may not.
    labels = np.array([False] * 100 + [True] * 4)
    scores = np.array([*range(99), 1000, 500, 501, 502, 2000], dtype=float)
    assert detection_rate_at(0.01, labels, scores) == 1.0
    assert detection_rate_at(0.009, labels, scores) == 0.25


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([True, True], [0.0, 1.0], "clean and triggered"),
        ([False, False], [0.0, 1.0], "clean and triggered"),
        ([], [], "clean and triggered"),
        ([True, False], [0.0, np.nan], "not a number"),
        ([True, False], [0.0], "one score per image"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels, scores, reason):
    for metric in (auroc, average_precision, lambda *sample: detection_rate_at(0.1, *sample)):
        with pytest.raises(ValueError, match=reason):
            metric(labels, scores)
