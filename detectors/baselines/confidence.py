"""What the network's own output says: log-softmax, confidence, log-odds and entropy (the paper's DNN row).

Every function takes logits ``(N, C)`` with ``C >= 1`` and raises ``ValueError`` for another shape. A row with a logit
that is not finite gives NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities ``(N, C)`` of logits ``(N, C)``, in nats.

    .. math:: \\log p_c = z_c - m - \\log \\sum_j e^{z_j - m}, \\quad m = \\max_j z_j

    Example:
        >>> log_softmax(np.array([[1000.0, 1000.0]])).round(4)
        array([[-0.6931, -0.6931]])

    References:
        Blanchard, Higham and Higham (2021), Accurately computing the log-sum-exp and softmax functions, IMA Journal of
        Numerical Analysis 41, 2311-2330.
    """
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must be (N, C) with at least one class, got shape {logits.shape}")
    kept = np.where(np.isfinite(logits).all(1, keepdims=True), logits, np.nan)
    shifted = kept - kept.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), np.float64)


def entropy(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy ``(N,)`` of the softmax, in nats; higher is less certain.

    .. math:: H = -\\sum_c p_c \\log p_c

    Example:
        >>> entropy(np.array([[0.0, 0.0]])).round(4)
        array([0.6931])

    References:
        Shannon (1948), A mathematical theory of communication, Bell System Technical Journal 27, section 6.
    """
    log_p = log_softmax(logits)
    return np.asarray(-(np.exp(log_p) * log_p).sum(1), np.float64)


def confidence(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest softmax probability ``(N,)``.

    .. math:: \\max_c p_c

    Example:
        >>> confidence(np.array([[0.0, 0.0, 0.0, 0.0]]))
        array([0.25])

    References:
        Hendrycks and Gimpel (2017), A baseline for detecting misclassified and out-of-distribution examples in neural
        networks, https://arxiv.org/abs/1610.02136.
    """
    return np.asarray(np.exp(log_softmax(logits).max(1)), np.float64)


def log_odds(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds ``(N,)`` of the predicted class against all others, in nats; of a single class, infinity.

    .. math:: \\log p_c - \\log \\sum_{j \\ne c} p_j, \\quad c = \\arg\\max_j p_j

    Unlike the probability, it goes on rising where that rounds to 1.

    Example:
        >>> log_odds(np.array([[0.0, 0.0], [3.0, 0.0]])).tolist()
        [0.0, 3.0]

    References:
        Blanchard, Higham and Higham (2021), Accurately computing the log-sum-exp and softmax functions, IMA Journal of
        Numerical Analysis 41, 2311-2330.
    """
    log_p = log_softmax(logits)
    best = log_p.max(1)
    if log_p.shape[1] == 1:
        return np.where(np.isnan(best), np.nan, np.inf)
    np.put_along_axis(log_p, logits.argmax(1)[:, None], -np.inf, 1)
    second = log_p.max(1)
    return np.asarray(best - second - np.log(np.exp(log_p - second[:, None]).sum(1)), np.float64)


def overconfidence(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Lower 95% limit of how much surer a network is than it is right, on average over ``N`` images.

    .. math:: \\bar d - 1.645\\, s_d / \\sqrt N, \\quad d_i = \\mathrm{confidence}_i - \\mathrm{correct}_i

    with the standard deviation ``s_d``: one-sided, by the normal approximation.

    Args:
        confidences: ``(N,)`` probability of the predicted class.
        correct: ``(N,)`` bool, whether it is the right one.

    Raises:
        ValueError: If the lengths differ, or there is no image.

    Example:
        >>> round(overconfidence(np.full(100, 0.9), np.arange(100) < 50), 4)
        0.3177

    References:
        Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks,
        https://arxiv.org/abs/1706.04599, section 2.
    """
    if confidences.ndim != 1 or not len(confidences) or correct.shape != confidences.shape:
        raise ValueError(f"confidences and answers (N,) are needed, got {confidences.shape} and {correct.shape}")
    excess = confidences - correct
    return float(excess.mean() - 1.645 * excess.std() / len(excess) ** 0.5)
