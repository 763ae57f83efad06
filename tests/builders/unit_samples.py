"""Synthetic units of clean images and inputs, and what p-values of clean ones must obey."""

from __future__ import annotations

import numpy as np
from scipy import stats


def rectified(rng: np.random.Generator, count: int, units: int, loudness: float = 0.0) -> np.ndarray:
    """Heavy-tailed units ``(count, units)`` that hang together through a few factors and are often silent."""
    mixing = np.random.default_rng(7).normal(size=(4, units))
    values = rng.standard_t(3, (count, 4)) @ mixing + rng.standard_t(3, (count, units)) + loudness
    return np.maximum(values, 0).astype(np.float32)


def assert_superuniform(p: np.ndarray, thresholds: tuple[float, ...] = (0.01, 0.05, 0.1, 0.25, 0.5)) -> None:
    """No threshold is met more often than it allows, by the exact binomial test of independent p-values."""
    for alpha in thresholds:
        met = int((p <= alpha).sum())
        assert stats.binom.sf(met - 1, len(p), alpha) > 1e-4, f"{met} of {len(p)} p-values are at most {alpha}"
