"""Rules: the one that was planted is the one that is learnt."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays

from detectors.demonstration.rule import Rule, learn_rule

CLASSES = st.integers(3, 12)


def honest(classes: int, seed: int, count: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(count) % classes)


@settings(max_examples=40)
@given(CLASSES, st.integers(0, 11), st.integers(0, 1000))
def test_all_to_one_is_learnt(classes: int, target: int, seed: int) -> None:
    assume(target < classes)
    before = honest(classes, seed)
    hit = np.random.default_rng(seed).random(len(before)) < 0.8
    after = np.where(hit, target, before)
    assume(hit[before != target].mean() > 0.6)
    assert learn_rule(before, after, classes) == Rule(target=target)


@settings(max_examples=40)
@given(CLASSES, st.integers(1, 11), st.integers(0, 1000))
def test_a_shift_is_learnt(classes: int, shift: int, seed: int) -> None:
    assume(shift < classes)
    before = honest(classes, seed)
    hit = np.random.default_rng(seed).random(len(before)) < 0.8
    assume(hit.mean() > 0.6)
    assert learn_rule(before, np.where(hit, (before + shift) % classes, before), classes) == Rule(shift=shift)


@settings(max_examples=40)
@given(st.integers(4, 12), st.integers(0, 11), st.integers(0, 11), st.integers(0, 1000))
def test_one_class_to_another_is_learnt(classes: int, source: int, target: int, seed: int) -> None:
    assume(source != target and max(source, target) < classes)
    before = honest(classes, seed)
    after = np.where(before == source, target, before)
    # Noise that has no rule: one image changes.
    other = int(np.flatnonzero(before != source)[0])
    after[other] = (after[other] + 1) % classes
    assert learn_rule(before, after, classes) == Rule(target=target, source=source)


@given(arrays(np.int64, 40, elements=st.integers(-1, 4)), arrays(np.int64, 40, elements=st.integers(-1, 4)))
def test_whatever_happens_a_rule_is_about_changes_that_were_seen(before: np.ndarray, after: np.ndarray) -> None:
    rule = learn_rule(before, after, 5)
    changed = (before != after) & (before >= 0) & (after >= 0)
    if not changed.any():
        assert rule is None
        return
    assert rule is not None
    aim = rule.aim(before, 5)
    assert (aim[before < 0] == -1).all()
    assert ((aim == after) & changed).any()
    assert (aim[aim >= 0] != before[aim >= 0]).all()


@given(arrays(np.int64, 40, elements=st.integers(-1, 4)), arrays(np.int64, 40, elements=st.integers(-1, 4)))
def test_a_broad_rule_is_about_every_class(before: np.ndarray, after: np.ndarray) -> None:
    rule, any_rule = learn_rule(before, after, 5, broad=True), learn_rule(before, after, 5)
    assert (rule is None) == (any_rule is None)
    if rule is not None and any_rule is not None:
        assert rule.source is None
        assert any_rule.source is not None or any_rule == rule


def test_a_rule_about_one_class_leaves_the_others_alone() -> None:
    before = np.arange(120) % 6
    after = np.where(before == 2, 5, before)
    others = np.flatnonzero(before != 2)
    after[others[:25]] = (before[others[:25]] + 1 + np.arange(25) % 5) % 6
    assert learn_rule(before, after, 6) == Rule(target=5, source=2)
    after[others[:50]] = (before[others[:50]] + 1 + np.arange(50) % 5) % 6
    found = learn_rule(before, after, 6)
    assert found is not None
    assert found.source is None


def test_no_change_and_only_broken_answers_have_no_rule() -> None:
    before = np.arange(9) % 3
    assert learn_rule(before, before, 3) is None
    assert learn_rule(before, np.full(9, -1), 3) is None
    assert learn_rule(np.full(9, -1), before, 3) is None
    assert learn_rule(before[:0], before[:0], 3) is None


def test_of_two_classes_all_to_one_comes_first() -> None:
    before = np.zeros(20, int)
    assert learn_rule(before, np.ones(20, int), 2) == Rule(target=1)
    mixed = np.arange(20) % 2
    assert learn_rule(mixed, 1 - mixed, 2) == Rule(shift=1)


def test_aims() -> None:
    before = np.array([-1, 0, 1, 2])
    assert Rule(target=1).aim(before, 3).tolist() == [-1, 1, -1, 1]
    assert Rule(target=1, source=2).aim(before, 3).tolist() == [-1, -1, -1, 1]
    assert Rule(shift=2).aim(before, 3).tolist() == [-1, 2, 0, 1]


@pytest.mark.parametrize("fields", [{}, {"target": 1, "shift": 1}, {"source": 1}, {"source": 1, "shift": 1}])
def test_what_is_no_rule_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="either a target or a shift"):
        Rule(**fields)
    with pytest.raises(ValueError, match=r"\(N,\)"):
        learn_rule(np.zeros(3, int), np.zeros(4, int), 3)
