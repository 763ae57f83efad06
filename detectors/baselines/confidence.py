"""What the network's own output says: log-softmax, confidence and entropy (the paper's DNN row).

Every function takes logits ``(N, C)`` with ``C >= 1`` and raises ``ValueError`` for another shape. A row with a logit
that is not finite gives NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities ``(N, C)`` of logits ``(N, C)``, in nats."""
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must be (N, C) with at least one class, got shape {logits.shape}")
    kept = np.where(np.isfinite(logits).all(1, keepdims=True), logits, np.nan)
    shifted = kept - kept.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), np.float64)


def entropy(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy ``(N,)`` of the softmax, in nats; higher is less certain."""
    log_p = log_softmax(logits)
    return np.asarray(-(np.exp(log_p) * log_p).sum(1), np.float64)


def confidence(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest softmax probability ``(N,)``."""
    return np.asarray(np.exp(log_softmax(logits).max(1)), np.float64)


def overconfidence(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Lower 95% limit of how much surer a network is than it is right, on average over ``N`` images.

    Args:
        confidences: ``(N,)`` probability of the predicted class.
        correct: ``(N,)`` bool, whether it is the right one.
    """
    excess = confidences - correct
    return float(excess.mean() - 1.645 * excess.std() / len(excess) ** 0.5)
