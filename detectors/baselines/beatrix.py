"""Beatrix: are the correlations of a layer's channels those of clean images of the predicted class?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDERS = (1, 2, 3, 4)
WIDTH = 10.0
"""Half of the band's width in median absolute deviations."""
_EPSILON = 1e-6


def gram_features(maps: NDArray[np.float32], orders: tuple[int, ...] = ORDERS) -> NDArray[np.float32]:
    """Upper triangles of the channels' Gram matrices of several orders, float32 ``(N, orders * C (C + 1) / 2)``.

    .. math:: G^p = \\mathrm{sign} \\cdot |v^p (v^p)^\\top|^{1/p}

    with the power element by element.

    Args:
        maps: One layer's output ``(N, C, positions)``.
        orders: ``p``.

    Raises:
        ValueError: If the maps have other dimensions.

    Example:
        >>> gram_features(np.array([[[1.0, 2.0], [0.0, 1.0]]], np.float32), orders=(1,))
        array([[5., 2., 1.]], dtype=float32)

    References:
        Ma, Wang, Sun, Xue, Wang, Qiu, Xue and Zhang (2023), The "Beatrix" resurrections: robust backdoor detection via
        Gram matrices, https://arxiv.org/abs/2209.11715, section 4.
    """
    if maps.ndim != 3 or not maps.shape[1]:
        raise ValueError(f"maps (N, C, positions) are needed, got shape {maps.shape}")
    rows, columns = np.triu_indices(maps.shape[1])
    parts = []
    for order in orders:
        powered = maps.astype(np.float64) ** order
        gram = (powered @ powered.transpose(0, 2, 1))[:, rows, columns]
        parts.append((np.sign(gram) * np.abs(gram) ** (1 / order)).astype(np.float32))
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Beatrix:
    """Bands of clean Gram features, by predicted class.

    Attributes:
        low: ``(C, D)``, NaN for a class without clean images.
        high: ``(C, D)``, as well.

    Example:
        >>> clean = np.array([[1.0], [2.0], [3.0]], np.float32)
        >>> fitted = fit_beatrix(clean, np.zeros(3, np.int64), num_classes=2)
        >>> fitted.score(np.array([[2.0], [24.0]], np.float32), np.zeros(2, np.int64)).round(3)
        array([0., 1.])

    References:
        Ma, Wang, Sun, Xue, Wang, Qiu, Xue and Zhang (2023), The "Beatrix" resurrections: robust backdoor detection via
        Gram matrices, https://arxiv.org/abs/2209.11715.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def score(self, grams: NDArray[np.float32], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean deviation from the band, relative to its edge, ``(N,)``; infinite for a class without clean images.

        Args:
            grams: ``(N, D)`` of :func:`gram_features`.
            predicted: ``(N,)`` predicted classes.
        """
        low, high = self.low[predicted], self.high[predicted]
        below = np.maximum(low - grams, 0) / (np.abs(low) + _EPSILON)
        above = np.maximum(grams - high, 0) / (np.abs(high) + _EPSILON)
        scores = (below + above).astype(np.float64).mean(1)
        return np.where(np.isnan(scores), np.inf, scores)


def fit_beatrix(grams: NDArray[np.float32], predicted: NDArray[np.int64], num_classes: int) -> Beatrix:
    """Median plus and minus ten median absolute deviations of every entry, for each predicted class.

    Args:
        grams: ``(N, D)`` Gram features of clean images.
        predicted: ``(N,)`` their predicted classes.
        num_classes: ``C``.

    Raises:
        ValueError: If there are not as many predictions as images.

    Example:
        >>> fit_beatrix(np.array([[1.0], [2.0], [3.0]], np.float32), np.zeros(3, np.int64), 1).high
        array([[12.]], dtype=float32)

    References:
        Ma, Wang, Sun, Xue, Wang, Qiu, Xue and Zhang (2023), The "Beatrix" resurrections: robust backdoor detection via
        Gram matrices, https://arxiv.org/abs/2209.11715.
    """
    if grams.ndim != 2 or predicted.shape != grams.shape[:1]:
        raise ValueError(f"features (N, D) and predictions (N,) are needed, got {grams.shape} and {predicted.shape}")
    low = np.full((num_classes, grams.shape[1]), np.nan, np.float32)
    high = low.copy()
    for label in np.unique(predicted):
        own = grams[predicted == label]
        middle = np.median(own, axis=0)
        spread = WIDTH * np.median(np.abs(own - middle), axis=0)
        low[label], high[label] = middle - spread, middle + spread
    return Beatrix(low, high)
