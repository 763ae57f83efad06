"""Confidence from logits, against PyTorch's softmax; and how much surer than right a network is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.baselines.confidence import confidence, log_softmax, overconfidence

logits = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-1e3, 1e3))


@given(logits)
@settings(deadline=None)
def test_is_the_softmax(values: np.ndarray) -> None:
    expected = torch.log_softmax(torch.from_numpy(values), 1)
    np.testing.assert_allclose(log_softmax(values), expected.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(confidence(values), expected.exp().amax(1).numpy(), rtol=1e-9)


def test_logits_that_are_not_finite_have_no_confidence() -> None:
    values = np.array([[np.inf, 0.0], [np.nan, 0.0], [0.0, -np.inf], [1.0, 1.0]])
    np.testing.assert_array_equal(confidence(values), [np.nan, np.nan, np.nan, 0.5])


def test_overconfidence_covers_the_truth_95_times_in_100() -> None:
    """A network that is 90% sure and right 70% of the time, on many samples of 200 images."""
    generator = np.random.default_rng(0)
    limits = [overconfidence(np.full(200, 0.9), generator.random(200) < 0.7) for _ in range(2000)]
    assert np.mean(np.array(limits) <= 0.2) == pytest.approx(0.95, abs=0.015)
    assert max(limits) < 0.3
    assert overconfidence(np.full(4, 0.75), np.ones(4, bool)) == pytest.approx(-0.25)
