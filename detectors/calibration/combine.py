"""Combine standardised scores into one.

A soft maximum: the evidence of a backdoor sits in a few layers, which a sum over all of them would
drown, while a hard maximum throws away what the other layers confirm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARPNESS = 1.5


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
        array([3.0074])

    References:
        Boyd and Vandenberghe (2004), Convex optimization, section 3.1.5: log-sum-exp lies between the maximum and the
        maximum plus ``log S`` (here ``log S / t``).
    """
    if z.ndim != 2 or not z.shape[1] or not sharpness > 0:
        raise ValueError(f"scores (N, S) and a positive sharpness are needed, got {z.shape} and {sharpness}")
    return np.asarray(np.logaddexp.reduce(sharpness * z, axis=1) / sharpness, np.float64)
