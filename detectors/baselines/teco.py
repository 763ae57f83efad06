"""TeCo: do different corruptions change the prediction at different severities?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.strip import Predict

SEVERITIES = (1, 2, 3, 4, 5)

Corrupt = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""From uint8 images ``(N, ...)`` and a severity, 1 to 5, to corrupted ones."""


def corruption_robustness_deviation(
    images: NDArray[np.uint8], predict: Predict, corruptions: Sequence[Corrupt]
) -> NDArray[np.float64]:
    """How unequally corruptions act ``(N,)``; higher is more suspicious.

    For each corruption, the first of five severities at which the predicted class changes, 6 where none does; of these
    numbers, the population's standard deviation. Each severity is applied to the image itself, never to one corrupted
    before. One forward pass, and five for each corruption: 76 with the paper's fifteen.

    Args:
        images: uint8 ``(N, ...)``.
        predict: The network's class probabilities.
        corruptions: At least one.

    Raises:
        ValueError: Without a corruption.

    Example:
        >>> is_bright = lambda images: np.stack([images[:, 0] < 10, images[:, 0] >= 10], 1) * 1.0
        >>> darker, same = (lambda x, severity: x - 2 * severity), (lambda x, severity: x)
        >>> corruption_robustness_deviation(np.array([[13]], np.uint8), is_bright, [darker, same])
        array([2.])

    References:
        Liu, Li, Wang, Hu, Ye, Jin, Wu and Xiao (2023), Detecting backdoors during the inference stage based on
        corruption robustness consistency, https://arxiv.org/abs/2303.18191.
    """
    if not corruptions:
        raise ValueError("at least one corruption is needed")
    predicted = predict(images).argmax(1)
    first = np.full((len(corruptions), len(images)), len(SEVERITIES) + 1.0)
    for row, corrupt in zip(first, corruptions, strict=True):
        for severity in reversed(SEVERITIES):
            changed = predict(corrupt(images, severity)).argmax(1) != predicted
            row[changed] = severity
    return np.asarray(first.std(0), np.float64)
