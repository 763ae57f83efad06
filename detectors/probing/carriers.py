"""Which inputs carry a pattern that is known: by their pixels, beside clean images that do not."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probe import Probe

SAME: Final = 6
"""Distance in gray levels up to which a pixel is the pattern's: compression moves it."""
_GRAY: Final = 128


def likeness(probe: Probe, images: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """How much of a pattern is in each image.

    Of a pattern that hides what is beneath it, the share of its values that an image has, within 6 gray levels. Of one
    that is added or blended in, by how much of it the picture differs from what it would be without, estimated by least
    squares, if pictures have nothing to do with the pattern: with ``t`` what it does to gray,

    .. math:: a = \\frac{\\langle x - 128, t \\rangle}{\\langle t, t \\rangle}

    Args:
        probe: The pattern.
        images: ``(N, H, W, C)`` uint8.

    Returns:
        ``(N,)``, larger for more; None of a pattern that moves pixels, which leaves nothing to compare.

    Raises:
        ValueError: If there is no image.

    Example:
        >>> from detectors.probing.patch import Patch
        >>> clean = np.full((1, 8, 8, 1), 9, np.uint8)
        >>> patch = Patch(2, 0, 0, "white")
        >>> likeness(patch, np.concatenate([clean, patch.stamp(clean)]))
        array([0., 1.])

    References:
        North (1963), An analysis of the factors which determine signal/noise discrimination in pulsed-carrier systems,
        Proceedings of the IEEE 51, 1016-1027, for matched filters.
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"images (N, H, W, C) are needed, got {images.shape}")
    dark, gray, light = (probe.stamp(np.full_like(images[:1], level))[0] for level in (0, _GRAY, 255))
    hidden = dark == light
    if hidden.any():
        distance = np.abs(images[:, hidden].astype(np.int16) - gray[hidden])
        return np.asarray((distance <= SAME).mean(1), np.float64)
    template = gray.astype(np.float64).ravel() - _GRAY
    energy = float(template @ template)
    if energy == 0.0:
        return None
    return np.array([(image.astype(np.float64).ravel() - _GRAY) @ template / energy for image in images])


def carriers_p_value(carrying: int, inputs: int, clean: int) -> float:
    """Chance that so many inputs or more are above all clean images, if none carries the pattern. Exact.

    Inputs that are exchangeable with ``n`` clean images are the ``k`` largest of all with a probability of

    .. math:: p = \\prod_{i=0}^{k-1} \\frac{N - i}{N + n - i}

    and ties make it less. An input alone is above all of them with a probability of at most ``1 / (n + 1)``.

    Args:
        carrying: Inputs ``k`` that are above all clean images.
        inputs: All inputs ``N``.
        clean: Clean images ``n``.

    Raises:
        ValueError: If a number is negative, or more inputs carry it than there are.

    Example:
        >>> carriers_p_value(0, 5, 99), carriers_p_value(1, 1, 99), round(carriers_p_value(2, 10, 90), 5)
        (1.0, 0.01, 0.00909)

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world, chapter 2.
    """
    if not 0 <= carrying <= inputs or clean < 0:
        raise ValueError(f"0 <= carrying <= inputs and clean >= 0 are needed, got {carrying}, {inputs} and {clean}")
    done = np.arange(carrying)
    return float(np.exp(np.sum(np.log(inputs - done) - np.log(inputs + clean - done))))
