"""McNemar's test against SciPy's binomial test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from detectors.mcnemar import mcnemar


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=300))
@settings(deadline=None)
def test_is_the_exact_binomial_test_of_the_pairs_that_differ(pairs: list[tuple[bool, bool]]) -> None:
    one = np.array([pair[0] for pair in pairs], bool)
    other = np.array([pair[1] for pair in pairs], bool)
    better, worse = int((one & ~other).sum()), int((other & ~one).sum())
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(one, other) == mcnemar(other, one)


def test_lengths_must_match() -> None:
    with pytest.raises(ValueError, match="same images"):
        mcnemar(np.ones(3, bool), np.ones(4, bool))
