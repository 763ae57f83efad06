"""How well scores tell triggered images from clean ones.

Scores are higher for what is more suspicious, and triggered images are the positives. All figures are exact: equal
scores count as equal, no curve is interpolated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def auroc(triggered: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a triggered image scores above a clean one, ties counting half.

    Args:
        triggered: ``(N,)`` bool.
        scores: ``(N,)`` floats, infinities allowed.

    Raises:
        ValueError: Without both kinds of image, or with a score that is not a number.
    """
    positive, ranked = _checked(triggered, scores)
    _, group, size = np.unique(ranked, return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    middle_rank = last - (size - 1) / 2  # the mean of the ranks that equal scores share, counted from 1
    positives = int(positive.sum())
    negatives = len(positive) - positives
    wins = float(middle_rank[group][positive].sum()) - positives * (positives + 1) / 2
    return wins / (positives * negatives)


def average_precision(triggered: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall curve (AUPR) as average precision: precision summed over steps in recall.

    Args:
        triggered: ``(N,)`` bool.
        scores: ``(N,)`` floats, infinities allowed.

    Raises:
        ValueError: Without both kinds of image, or with a score that is not a number.
    """
    true_alarms, false_alarms = _alarms(*_checked(triggered, scores))
    precision = true_alarms / (true_alarms + false_alarms)
    recall_steps = np.diff(true_alarms, prepend=0) / true_alarms[-1]
    return float((precision * recall_steps).sum())


def detection_rate_at(false_alarm_rate: float, triggered: ArrayLike, scores: ArrayLike) -> float:
    """Largest share of triggered images above any threshold that at most this share of clean ones is above.

    Args:
        false_alarm_rate: Share of clean images that may be above the threshold, in [0, 1].
        triggered: ``(N,)`` bool.
        scores: ``(N,)`` floats, infinities allowed.

    Raises:
        ValueError: Without both kinds of image, or with a score that is not a number.
    """
    true_alarms, false_alarms = _alarms(*_checked(triggered, scores))
    # 0.29 * 100 is 28.999999999999996: the share is meant, not its last bit.
    allowed = int(np.floor(false_alarm_rate * false_alarms[-1] + 1e-9))
    affordable = true_alarms[false_alarms <= allowed]
    return float(affordable[-1] / true_alarms[-1]) if len(affordable) else 0.0


def curves(
    triggered: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The ROC and the precision-recall curve, a point for each distinct score as the threshold, highest first.

    Args:
        triggered: ``(N,)`` bool.
        scores: ``(N,)`` floats, infinities allowed.

    Returns:
        Shares ``(K,)`` in [0, 1]: of the clean images that are above (false alarms), of the triggered ones that
        are (recall), and of all above that are triggered (precision).

    Raises:
        ValueError: Without both kinds of image, or with a score that is not a number.
    """
    true_alarms, false_alarms = _alarms(*_checked(triggered, scores))
    precision = true_alarms / (true_alarms + false_alarms)
    return false_alarms / false_alarms[-1], true_alarms / true_alarms[-1], precision


def _checked(triggered: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    positive = np.asarray(triggered, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    if positive.ndim != 1 or positive.shape != values.shape:
        raise ValueError(f"expected one score per image, got shapes {positive.shape} and {values.shape}")
    if np.isnan(values).any():
        raise ValueError("a score is not a number")
    if positive.all() or not positive.any():
        raise ValueError("needs clean and triggered images")
    return positive, values


def _alarms(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and false alarms at each distinct score as the threshold (inclusive), highest score first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last_of_equals = np.append(ordered[1:] != ordered[:-1], True)
    true_alarms = np.cumsum(positive[order], dtype=np.int64)
    false_alarms = np.cumsum(~positive[order], dtype=np.int64)
    return true_alarms[last_of_equals], false_alarms[last_of_equals]
