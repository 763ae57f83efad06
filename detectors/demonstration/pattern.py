"""A trigger as one affine map of pixels, estimated from images that carry it.

A fixed patch, a blended picture and an additive pattern are all of the form ``T(x) = s * x + b`` with a scale and an
offset for every pixel and channel: ``s = 0`` within a patch, ``s = 1 - opacity`` for a blend, ``s = 1`` for a pattern
that is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.demonstration.moments import Moments

Kind = Literal["patch", "pattern", "patch and pattern"]

KINDS: Final[tuple[Kind, ...]] = ("patch", "pattern", "patch and pattern")
SAME: Final = 6.0
"""Distance from the median, in gray levels, up to which a pixel counts as the same: compression moves it."""
_CHANCE: Final = 1e-3
"""Chance that any pixel of a picture is taken for one of a patch."""
_VARIES: Final = 8.0
"""Median absolute deviation of a pixel, in gray levels, from which on its scale can be told."""
_LEAST_SCALE, _MOST_SCALE = 0.5, 0.9
_LARGEST_PATCH: Final = 0.25
"""Share of a picture beyond which what is constant is no patch, but the picture."""


@dataclass(frozen=True)
class Pattern:
    """The map ``T(x) = scale * x + offset`` of pixels from 0 to 255.

    Attributes:
        scale: ``(H, W, C)`` float32.
        offset: ``(H, W, C)`` float32, in gray levels.
        patch: ``(H, W)`` bool, where the map does not depend on the picture.

    Example:
        >>> ones = np.ones((2, 2, 1), np.float32)
        >>> pattern = Pattern(ones, 5 * ones, np.zeros((2, 2), bool))
        >>> pattern.stamp(np.full((1, 2, 2, 1), 252, np.uint8)).ravel()
        array([255, 255, 255, 255], dtype=uint8)

    References:
        Chen et al. (2017), Targeted backdoor attacks on deep learning systems using data poisoning,
        https://arxiv.org/abs/1712.05526, for blending.
    """

    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    patch: NDArray[np.bool_]

    @property
    def changes(self) -> bool:
        """Whether it is anything but the identity."""
        return bool(self.patch.any() or np.abs(self.offset).max() >= 0.5 or np.abs(self.scale - 1).max() > 1e-3)

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The images ``(N, H, W, C)`` uint8 with the pattern on them.

        Raises:
            ValueError: If they have another shape.
        """
        if pixels.shape[1:] != self.scale.shape:
            raise ValueError(f"images (N, {', '.join(map(str, self.scale.shape))}) are needed, got {pixels.shape}")
        return np.asarray(np.clip(np.rint(self.scale * pixels + self.offset), 0, 255), np.uint8)


def estimate_pattern(suspicious: Moments, clean: Moments, kind: Kind) -> Pattern:
    """The affine map from clean images to suspicious ones.

    A pixel belongs to a patch if more than half of the ``m`` suspicious images have the same value there, a share
    ``k/m``, and so few clean ones do, a share ``q``, that chance does not explain it at any pixel (Chernoff):

    .. math:: m \\, \\mathrm{KL}(k/m \\,\\|\\, q) \\ge \\log(HWC / 10^{-3})

    Elsewhere there is one scale for the whole picture, and the offset is what the means differ by without their smooth
    parts, which are what the pictures show, shrunk by what chance explains of it:

    .. math:: s = \\mathrm{median}\\left(\\frac{\\mathrm{MAD}(x')}{\\mathrm{MAD}(x)}\\right), \\quad
        b = d \\max\\left(0, 1 - \\frac{\\sigma^2}{d^2}\\right)

    Args:
        suspicious: Of images that carry the trigger, false alarms among them.
        clean: Of clean images.
        kind: The patch alone, the pattern alone, or both.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> from detectors.demonstration.moments import moments
        >>> clean = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), np.uint8)
        >>> stamped = clean.copy()
        >>> stamped[:, 6:, 6:] = 255
        >>> pattern = estimate_pattern(moments(stamped), moments(clean), "patch")
        >>> int(pattern.patch.sum()), float(pattern.offset[7, 7, 0])
        (4, 255.0)

    References:
        Chernoff (1952), A measure of asymptotic efficiency for tests of a hypothesis based on the sum of observations,
        Annals of Mathematical Statistics 23, 493-507. James and Stein (1961), Estimation with quadratic loss,
        Proceedings of the Fourth Berkeley Symposium 1, 361-379, for the shrinkage.
    """
    shape = suspicious.median.shape
    if clean.median.shape != shape:
        raise ValueError(f"images of one shape are needed, got {shape} and {clean.median.shape}")
    scale, offset = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    constant = _constant(suspicious, clean)
    if kind != "patch":
        common = _scale(suspicious, clean, ~constant)
        scale[:], offset[:] = common, _additive(suspicious, clean, common)
    patch: NDArray[np.bool_] = np.zeros(shape[:2], bool)
    if kind != "pattern":
        patch = np.asarray(constant.all(2), bool)
        patch &= patch.mean() <= _LARGEST_PATCH
        scale[patch], offset[patch] = 0.0, suspicious.median[patch]
    return Pattern(scale, offset, patch)


def amplified(pattern: Pattern, strength: float) -> Pattern:
    """The pattern with its offset, around its mean level, so many times as strong outside of the patch.

    Shrinkage and false alarms among the suspicious images make an estimate weaker than the trigger.

    Raises:
        ValueError: If the strength is not positive.

    Example:
        >>> offset = np.array([-1.0, 3.0], np.float32).reshape(1, 2, 1)
        >>> pattern = Pattern(np.ones((1, 2, 1), np.float32), offset, np.zeros((1, 2), bool))
        >>> amplified(pattern, 2).offset.ravel()
        array([-3.,  5.], dtype=float32)

    References:
        docs/method.md, section Demonstration.
    """
    if not strength > 0:
        raise ValueError(f"a strength above 0 is needed, got {strength}")
    outside = ~pattern.patch
    if not outside.any():
        return pattern
    level = pattern.offset[outside].mean(0)
    offset = np.where(pattern.patch[:, :, None], pattern.offset, level + strength * (pattern.offset - level))
    return Pattern(pattern.scale, np.asarray(offset, np.float32), pattern.patch)


def _constant(suspicious: Moments, clean: Moments) -> NDArray[np.bool_]:
    """Where more suspicious images have one value than chance explains, ``(H, W, C)``."""
    count = len(suspicious.pixels)
    same = _near(suspicious.pixels, suspicious.median) / count
    usual = (_near(clean.pixels, suspicious.median) + 1) / (len(clean.pixels) + 1)
    share = np.clip(same, 1e-9, 1 - 1e-9)
    usual = np.clip(usual, 1e-9, 1 - 1e-9)
    divergence = share * np.log(share / usual) + (1 - share) * np.log((1 - share) / (1 - usual))
    enough = count * divergence >= np.log(same.size / _CHANCE)
    return np.asarray((same > 0.5) & (same > usual) & enough)


def _near(pixels: NDArray[np.uint8], median: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(sum((np.abs(image - median) <= SAME for image in pixels), np.zeros(median.shape)), np.float64)


def _scale(suspicious: Moments, clean: Moments, where: NDArray[np.bool_]) -> float:
    """One scale for the picture; 1 where there is no doubt that pictures are all there."""
    varies = (clean.deviation >= _VARIES) & where
    if not varies.any():
        return 1.0
    ratio = float(np.median(suspicious.deviation[varies] / clean.deviation[varies]))
    return 1.0 if ratio > _MOST_SCALE else max(ratio, _LEAST_SCALE)


def _additive(suspicious: Moments, clean: Moments, scale: float) -> NDArray[np.float32]:
    """What is added to a picture that is darkened by ``scale``."""
    sharp = suspicious.sharp - scale * clean.sharp
    noise = np.square(suspicious.error) + np.square(scale * clean.error)
    kept = sharp * np.maximum(0, 1 - noise / np.maximum(np.square(sharp), 1e-12))
    if scale < 1:
        # A blend has a level of its own. Without one, a difference of levels is what the pictures show.
        kept = kept + (suspicious.mean - scale * clean.mean).mean((0, 1))
    return np.asarray(kept, np.float32)
