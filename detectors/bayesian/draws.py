"""Seeded draws from a Gaussian posterior over weights. NumPy only.

All inputs share the same ``T`` weight draws, so that a score depends on the input alone. The noise is
NumPy's Philox counter generator keyed by seed and draw: each draw can be made again without the ones
before it, on any machine, and none has to be kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]


def draw_weights(means: Sequence[Weights], stds: Sequence[Weights], seed: int, draw: int) -> list[Weights]:
    """Draw number ``draw`` of all weight tensors, float32, in the order and shapes of ``means``.

    .. math:: w = \\mu + \\sigma \\varepsilon, \\quad \\varepsilon \\sim N(0, 1)

    Args:
        means: Posterior means.
        stds: Posterior standard deviations, in the same shapes.
        seed: Seed of all draws, 0 to 2^63 - 1.
        draw: Number of the draw, from 0.

    Raises:
        ValueError: Means and deviations differ in number or shape, or seed or draw is out of range.

    Example:
        >>> means, stds = [np.zeros((2, 3), np.float32)], [np.ones((2, 3), np.float32)]
        >>> third = draw_weights(means, stds, seed=0, draw=3)
        >>> third[0].shape, bool((third[0] == draw_weights(means, stds, seed=0, draw=3)[0]).all())
        ((2, 3), True)

    References:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight uncertainty in neural networks,
        https://arxiv.org/abs/1505.05424, section 3.2.
        Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, International Conference for
        High Performance Computing, for Philox.
    """
    if [mean.shape for mean in means] != [std.shape for std in stds]:
        raise ValueError("means and stds must have the same shapes, got " + _shapes(means, stds))
    if not (0 <= seed < 2**63 and 0 <= draw < 2**63):
        raise ValueError(f"seed and draw must lie in [0, 2^63), got {seed} and {draw}")
    generator = np.random.Generator(np.random.Philox(key=(seed << 64) | draw))
    drawn = []
    for mean, std in zip(means, stds, strict=True):
        noise = generator.standard_normal(mean.shape, np.float32)
        noise *= std
        noise += mean
        drawn.append(noise)
    return drawn


def _shapes(means: Sequence[Weights], stds: Sequence[Weights]) -> str:
    return f"{[mean.shape for mean in means][:4]} and {[std.shape for std in stds][:4]}"


def draws_digest(means: Sequence[Weights], stds: Sequence[Weights], seed: int) -> str:
    """SHA-256 of the first draw: tells whether another NumPy makes the same noise.

    Args:
        means: Posterior means.
        stds: Posterior standard deviations, in the same shapes.
        seed: Seed of all draws, 0 to 2^63 - 1.

    Raises:
        ValueError: As :func:`draw_weights` does.

    Example:
        >>> means, stds = [np.zeros(3, np.float32)], [np.ones(3, np.float32)]
        >>> draws_digest(means, stds, seed=0) == draws_digest(means, stds, seed=1)
        False

    References:
        National Institute of Standards and Technology (2015), Secure hash standard, FIPS 180-4.
    """
    digest = hashlib.sha256()
    for weight in draw_weights(means, stds, seed, 0):
        digest.update(np.ascontiguousarray(weight, "<f4").data)
    return digest.hexdigest()
