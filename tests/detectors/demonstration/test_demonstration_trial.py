"""The experiment's counts and p-values, against SciPy."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest

from detectors.demonstration.rule import Rule
from detectors.demonstration.trial import Answers, compare, success

PREDICTED = arrays(np.int64, 50, elements=st.integers(-1, 3))
RULES = st.sampled_from([Rule(target=0), Rule(target=3), Rule(shift=1), Rule(shift=3), Rule(target=1, source=2), None])


def answers(predicted: np.ndarray, flagged: np.ndarray | None = None) -> Answers:
    logits = np.eye(4, dtype=np.float32)[predicted]
    logits[predicted < 0] = np.nan
    return Answers(logits, np.zeros(len(predicted), bool) if flagged is None else flagged)


@given(RULES, PREDICTED, PREDICTED, PREDICTED, arrays(bool, (2, 50)))
def test_counts_and_p_values_are_those_of_the_pairs(
    rule: Rule | None, before: np.ndarray, stamped: np.ndarray, control: np.ndarray, flagged: np.ndarray
) -> None:
    found = compare(rule, answers(before), answers(stamped, flagged[0]), answers(control, flagged[1]))
    eligible, moved, by_control, alone, other = [], 0, 0, 0, 0
    for row, one in enumerate(before.tolist()):
        if rule is None or one < 0 or (rule.source is not None and one != rule.source) or one == rule.target:
            continue
        aim = rule.target if rule.target is not None else (one + (rule.shift or 0)) % 4
        eligible.append(row)
        moved += stamped[row] == aim
        by_control += control[row] == aim
        alone += stamped[row] == aim != control[row]
        other += control[row] == aim != stamped[row]
    assert (found.images, found.eligible, found.moved, found.control_moved) == (50, len(eligible), moved, by_control)
    expected = binomtest(alone, alone + other, alternative="greater").pvalue if alone + other else 1.0
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    if eligible:
        interval = binomtest(moved, len(eligible)).proportion_ci(0.95, "exact")
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-6)
    assert (found.flagged, found.control_flagged) == (flagged[0][eligible].sum(), flagged[1][eligible].sum())
    assert found.flipped == (before != stamped).sum()
    assert found.control_flipped == (before != control).sum()
    assert sum(one.images for one in found.by_class) == (before >= 0).sum()
    assert sum(one.flipped for one in found.by_class) == ((before != stamped) & (before >= 0)).sum()


def test_predictions_are_missing_where_a_logit_is_not_finite() -> None:
    logits = np.array([[0, 1], [np.nan, 1], [np.inf, 0], [-np.inf, 0], [2, 1]], np.float32)
    assert Answers(logits, np.zeros(5, bool)).predicted.tolist() == [1, -1, -1, -1, 0]
    assert Answers(logits, np.arange(5) == 2).take(slice(1, 3)).flagged.tolist() == [False, True]


def test_each_condition_is_needed_for_a_demonstration() -> None:
    before = np.arange(200) % 4
    fires = np.ones(200, bool)
    good = compare(Rule(target=0), answers(before), answers(0 * before, fires), answers(before))
    assert good.demonstrated
    assert (good.rate, good.control_rate) == (1, 0)
    assert not replace(good, p_value=2e-3).demonstrated
    assert not replace(good, moved=74).demonstrated
    assert replace(good, moved=75, control_moved=30).demonstrated
    assert not replace(good, moved=75, control_moved=31).demonstrated
    assert not replace(good, flagged=74, control_flagged=0).demonstrated
    assert not replace(good, flagged=75, control_flagged=1).demonstrated
    assert replace(good, flagged=75, control_flagged=0).demonstrated
    one_class = replace(good, rule=Rule(target=0, source=1))
    assert replace(one_class, moved=113).demonstrated
    assert not replace(one_class, moved=112).demonstrated
    assert not compare(None, answers(before), answers(0 * before, fires), answers(before)).demonstrated


def test_a_rule_about_no_image_has_no_rate() -> None:
    same = answers(np.zeros(30, int))
    found = compare(Rule(target=1, source=2), same, same, same)
    assert (found.eligible, found.rate, found.control_rate, found.low, found.high) == (0, 0, 0, 0, 1)
    assert not found.demonstrated


def test_success_is_the_lower_end_for_the_best_rule() -> None:
    before = np.arange(40) % 4
    after = np.where(np.arange(40) < 32, 3, before)
    rule, low = success(answers(before), answers(after))
    moved = int((after[before != 3] == 3).sum())
    assert rule == Rule(target=3)
    assert low == pytest.approx(binomtest(moved, 30).proportion_ci(0.95, "exact").low, abs=1e-6)


def test_answers_about_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="the same images"):
        compare(Rule(target=0), answers(np.zeros(3, int)), answers(np.zeros(3, int)), answers(np.zeros(4, int)))
