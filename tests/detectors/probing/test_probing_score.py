"""The best rules, against a search through all of them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from detectors.demonstration.rule import Rule
from detectors.probing.score import MIN_OF_CLASS, broad, one_class

BEFORE = arrays(np.int64, 14, elements=st.integers(0, 3))
AFTER = arrays(np.int64, 14, elements=st.integers(-1, 3))


def followed(rule: Rule, before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    aim = rule.aim(before, 4)
    return int(((aim >= 0) & (aim == after)).sum()), int((aim >= 0).sum())


@given(BEFORE, AFTER)
def test_no_rule_about_all_classes_is_better(before, after):
    found = broad(before, after, 4)
    values = []
    for rule in [Rule(target=t) for t in range(4)] + [Rule(shift=s) for s in (1, 2, 3)]:
        hits, about = followed(rule, before, after)
        values.append(hits / max(about, 7))
    assert found.value == pytest.approx(max(values))
    if found.rule is not None:
        hits, about = followed(found.rule, before, after)
        assert found.value == pytest.approx(hits / max(about, 7))


@given(BEFORE, AFTER)
def test_no_rule_about_one_class_is_better(before, after):
    best = 0.0
    for source in range(4):
        for target in range(4):
            own = before == source
            if source == target or own.sum() < MIN_OF_CLASS:
                continue
            others = (before != after) & (after >= 0) & ~own
            best = max(best, (after[own] == target).mean() - (others.sum() / (~own).sum() if (~own).any() else 0))
    assert one_class(before, after, 4).value == pytest.approx(best)


def test_lengths_are_checked():
    with pytest.raises(ValueError, match="classes"):
        broad(np.zeros(3, int), np.zeros(4, int), 2)
    with pytest.raises(ValueError, match="classes"):
        one_class(np.zeros(0, int), np.zeros(0, int), 2)
