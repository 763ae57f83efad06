"""Whether flagged inputs end in one class more often than inputs that are not flagged."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """How many inputs of each kind end in a class.

    Attributes:
        suspicious: Flagged inputs.
        suspicious_hits: Those of them that end in the class.
        ordinary: Inputs that are not flagged.
        ordinary_hits: Those of them that end in it.
        p_value: Exact, one-sided, that flagged inputs do so no more often than others.

    Example:
        See :func:`agreement`.

        >>> Agreement(5, 5, 100, 10, 0.00001).suspicious_hits
        5

    References:
        Fisher (1935), The logic of inductive inference, Journal of the Royal Statistical Society 98, 39-82.
    """

    suspicious: int
    suspicious_hits: int
    ordinary: int
    ordinary_hits: int
    p_value: float


def agreement(suspicious: NDArray[np.int64], ordinary: NDArray[np.int64], target: int) -> Agreement:
    """Fisher's exact test of whether flagged inputs end in a class more often than others.

    Given how many inputs are flagged and how many end in the class, the number of those that are both is
    hypergeometric if the two have nothing to do with each other:

    .. math:: p = \\sum_{i \\ge k} \\binom{K}{i} \\binom{N - K}{n - i} \\Big/ \\binom{N}{n}

    Args:
        suspicious: ``(n,)`` predicted classes of flagged inputs.
        ordinary: ``(m,)`` those of inputs that are not flagged.
        target: The class.

    Raises:
        ValueError: If one of them is no list of classes.

    Example:
        >>> found = agreement(np.array([3, 3, 3, 1]), np.array([0, 1, 2, 3, 0, 1, 2, 0]), 3)
        >>> found.suspicious_hits, round(found.p_value, 4)
        (3, 0.0667)

    References:
        Fisher (1935), The logic of inductive inference, Journal of the Royal Statistical Society 98, 39-82.
    """
    if suspicious.ndim != 1 or ordinary.ndim != 1:
        raise ValueError(f"classes (n,) and (m,) are needed, got {suspicious.shape} and {ordinary.shape}")
    hits, others = int((suspicious == target).sum()), int((ordinary == target).sum())
    flagged, every, both = len(suspicious), len(suspicious) + len(ordinary), hits + others
    ways = sum(comb(both, i) * comb(every - both, flagged - i) for i in range(hits, min(both, flagged) + 1))
    return Agreement(flagged, hits, len(ordinary), others, ways / comb(every, flagged))
