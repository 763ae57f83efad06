"""STRIP: does the prediction survive another picture laid over the image?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""From uint8 images ``(N, ...)`` to class probabilities ``(N, C)``."""


def strip(
    images: NDArray[np.uint8],
    overlays: NDArray[np.uint8],
    predict: Predict,
    *,
    draws: int = 100,
    weight: float = 1.0,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Mean negative entropy ``(N,)``, in nats, of the predictions under overlays: a trigger keeps them certain.

    .. math:: -\\frac1n \\sum_{i=1}^n H(f(\\min(x + w z_i, 255)))

    The overlays ``z_i`` are drawn for each image, without repetition where there are enough. The paper draws 100 and
    adds them with weight 1. ``draws`` forward passes an image.

    Args:
        images: uint8 ``(N, ...)``.
        overlays: Clean images, uint8 ``(M, ...)``.
        predict: The network's class probabilities.
        draws: Overlays for each image.
        weight: Of the overlay.
        seed: Of the draw.

    Raises:
        ValueError: If the shapes differ, or there is no overlay or draw.

    Example:
        >>> always_the_first = lambda images: np.tile([1.0, 0.0], (len(images), 1))
        >>> pictures = np.zeros((3, 2, 2), np.uint8)
        >>> strip(pictures, pictures, always_the_first, draws=2) + 0.0
        array([0., 0., 0.])

    References:
        Gao, Xu, Wang, Chen, Ranasinghe and Nepal (2019), STRIP: a defence against trojan attacks on deep neural
        networks, https://arxiv.org/abs/1902.06531.
    """
    if images.shape[1:] != overlays.shape[1:] or not len(overlays) or draws < 1:
        raise ValueError(f"images and overlays of one shape are needed, got {images.shape} and {overlays.shape}")
    generator = np.random.default_rng(seed)
    enough = draws <= len(overlays)
    chosen = np.stack([generator.choice(len(overlays), draws, replace=not enough) for _ in images])
    total = np.zeros(len(images))
    for draw in range(draws):
        mixed = images + weight * overlays[chosen[:, draw]].astype(np.float32)
        total += _entropy(predict(np.clip(np.rint(mixed), 0, 255).astype(np.uint8)))
    return -total / draws


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy ``(N,)`` over the classes, in nats; ``0 log 0`` is 0."""
    positive = np.where(probabilities > 0, probabilities, 1.0)
    return np.asarray(-(probabilities * np.log(positive)).sum(1), np.float64)
