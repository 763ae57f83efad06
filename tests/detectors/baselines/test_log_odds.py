"""Log-odds of the predicted class, against SciPy's softmax."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special

from detectors.baselines.confidence import log_odds

NAN = float("nan")


@given(arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 6)), elements=st.floats(-30, 30)))
def test_log_odds_are_those_of_the_softmax(logits: np.ndarray) -> None:
    probability = special.softmax(logits, axis=1).max(1)
    others = np.partition(special.softmax(logits, axis=1), -1, axis=1)[:, :-1].sum(1)
    np.testing.assert_allclose(log_odds(logits), np.log(probability) - np.log(others), atol=1e-9)


def test_log_odds_at_the_ends() -> None:
    assert log_odds(np.array([[1e300, -1e300]])).tolist() == [2e300]
    assert log_odds(np.array([[1e4, 0.0, 0.0]]))[0] == pytest.approx(1e4 - np.log(2))
    assert np.isnan(log_odds(np.array([[np.inf, 0.0], [np.nan, 1.0], [-np.inf, 0.0]]))).all()
    assert log_odds(np.array([[3.0], [NAN]]))[0] == np.inf
    for wrong in (np.zeros(3), np.zeros((2, 0))):
        with pytest.raises(ValueError, match="at least one class"):
            log_odds(wrong)
