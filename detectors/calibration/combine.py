"""Combine standardised scores into one.

A soft maximum: the evidence of a backdoor sits in a few layers, which a sum over all of them would
drown, while a hard maximum throws away what the other layers confirm.

Scores are of two kinds. Some say that features are strange for the predicted class, the others that they are another
class'. A picture that is merely odd has much of the first, one that the network merely mistakes has much of the
second, and a triggered input has both: so each kind is combined by itself, and the mean of the two is what counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARPNESS = 1.0


def soft_maximum(z: NDArray[np.float64], sharpness: float = SHARPNESS) -> NDArray[np.float64]:
    """Log-sum-exp ``(N,)`` of standardised scores ``(N, S)``.

    .. math:: \\frac1t \\log \\sum_s \\exp(t z_s)

    Args:
        z: Standardised scores, higher is more suspicious.
        sharpness: ``t``; the hard maximum is the limit of large ``t``.

    Raises:
        ValueError: If there is no score, or the sharpness is not positive.

    Example:
        >>> soft_maximum(np.array([[0.0, 3.0]])).round(4)
        array([3.0486])

    References:
        Boyd and Vandenberghe (2004), Convex optimization, section 3.1.5: log-sum-exp lies between the maximum and the
        maximum plus ``log S`` (here ``log S / t``).
    """
    if z.ndim != 2 or not z.shape[1] or not sharpness > 0:
        raise ValueError(f"scores (N, S) and a positive sharpness are needed, got {z.shape} and {sharpness}")
    return np.asarray(np.logaddexp.reduce(sharpness * z, axis=1) / sharpness, np.float64)


LEAST, MOST = -1.0, 4.0
"""What a score of the second kind counts as at the least and at the most, in standard deviations. The few clean images
that a good network mistakes may lie at any height, so that more says nothing; and that features are far from every
other class must not excuse that they are strange."""


def combine_kinds(
    z: NDArray[np.float64], contradicts: NDArray[np.bool_], sharpness: float = SHARPNESS
) -> NDArray[np.float64]:
    """Combined score ``(N,)`` of standardised scores ``(N, S)`` of two kinds.

    .. math:: \\tfrac12 \\left(M_t(z_s : s \\text{ of the first kind})
        + M_t(\\min(\\max(z_s, -1), 4) : s \\text{ of the second})\\right)

    where ``M_t`` is the :func:`soft_maximum`; that of all where they are of one kind. Infinity is not cut.

    Args:
        z: Standardised scores, higher is more suspicious.
        contradicts: ``(S,)``, which are of the second kind: that features are another class'.
        sharpness: ``t``.

    Raises:
        ValueError: If there is no score, shapes do not fit together, or the sharpness is not positive.

    Example:
        >>> combine_kinds(np.array([[2.0, 9.0]]), np.array([False, True])).tolist()
        [3.0]

    References:
        docs/method.md, section From scores to one p-value.
    """
    if contradicts.shape != z.shape[1:]:
        raise ValueError(f"the kind of each score is needed, got {contradicts.shape} for scores {z.shape}")
    if contradicts.all() or not contradicts.any():
        return soft_maximum(z, sharpness)
    second = z[:, contradicts]
    cut = np.where(np.isfinite(second), np.clip(second, LEAST, MOST), second)
    return (soft_maximum(z[:, ~contradicts], sharpness) + soft_maximum(cut, sharpness)) / 2
