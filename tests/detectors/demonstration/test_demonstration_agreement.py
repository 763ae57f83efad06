"""Whether flagged inputs end in one class: the exact test is Fisher's, and holds its level."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.stats import fisher_exact

from detectors.demonstration.agreement import agreement

SOME = arrays(np.int64, st.integers(0, 60), elements=st.integers(0, 3))


@settings(max_examples=60)
@given(SOME, SOME, st.integers(0, 3))
def test_the_p_value_is_fishers(suspicious: np.ndarray, ordinary: np.ndarray, target: int) -> None:
    found = agreement(suspicious, ordinary, target)
    hits = [int((those == target).sum()) for those in (suspicious, ordinary)]
    table = [[hits[0], len(suspicious) - hits[0]], [hits[1], len(ordinary) - hits[1]]]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert (found.suspicious_hits, found.ordinary_hits) == tuple(hits)
    assert found.p_value == pytest.approx(expected, rel=1e-9)


def test_inputs_that_are_flagged_at_random_seldom_agree() -> None:
    generator = np.random.default_rng(0)
    p_values = []
    for _ in range(2000):
        classes = generator.integers(0, 10, 300)
        flagged = generator.permutation(300)[:12]
        p_values.append(agreement(classes[flagged], np.delete(classes, flagged), 4).p_value)
    for level in (0.2, 0.05, 0.01):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(level / 2000)


def test_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="classes"):
        agreement(np.zeros((2, 2), np.int64), np.zeros(2, np.int64), 0)
