"""Square roots of rectified features, whose spread grows with their size.

Behind a rectifier most values are small and a few are very large, on clean images as well: a Gaussian calls every image
with one of those unusual. The square root makes the spread about the same everywhere, as it does for counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def signed_root(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square roots of features of any shape, with the sign that they have.

    .. math:: r(x) = \\mathrm{sign}(x) \\sqrt{|x|}

    An input may have what no clean image had: a negative value in features that seemed rectified.

    Example:
        >>> signed_root(np.array([4.0, 0.0, -9.0])).tolist()
        [2.0, 0.0, -3.0]

    References:
        Bartlett (1936), The square root transformation in analysis of variance, Supplement to the Journal of the Royal
        Statistical Society 3, 68-78.
    """
    return np.asarray(np.sign(features) * np.sqrt(np.abs(features)), np.float64)


def is_rectified(features: NDArray[np.float32]) -> bool:
    """Whether no value of features ``(N, D)``, possibly a memory map, is below zero.

    Raises:
        ValueError: If the features have another shape, or there are none.

    Example:
        >>> is_rectified(np.array([[0.0, 2.0]], np.float32)), is_rectified(np.array([[0.0, -2.0]], np.float32))
        (True, False)

    References:
        docs/method.md, section Scores: this project's own rule.
    """
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features (N, D) are needed, got shape {features.shape}")
    return bool(features.min() >= 0)
