"""Many tests at once: p-values that account for how many were made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values ``(M,)`` adjusted for all ``M`` tests, in the same order.

    Where none of the tests has anything to find, the chance that any adjusted p-value is at most ``a`` is at most
    ``a``. Where some do, the same holds of the others. Both hold however the tests depend on one another.

    .. math:: \\tilde p_{(k)} = \\min\\Bigl(1, \\max_{j \\le k} (M - j + 1) \\, p_{(j)}\\Bigr)

    Args:
        p_values: ``(M,)`` p-values, from 0 to 1; 1 for a test that could not be made.

    Raises:
        ValueError: If they are no list of numbers from 0 to 1.

    Example:
        >>> holm(np.array([0.01, 0.5, 0.004]))
        array([0.02 , 0.5  , 0.012])

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    p_values = np.asarray(p_values, np.float64)
    if p_values.ndim != 1 or not np.all((p_values >= 0) & (p_values <= 1)):
        raise ValueError(f"p-values (M,) from 0 to 1 are needed, got {p_values.shape}")
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
