"""Corruptions of small images at five severities, for TeCo: those of ImageNet-C that are plain arithmetic.

Source: Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations",
https://arxiv.org/abs/1903.12261, with strengths near those of CIFAR-10-C. Glass blur, motion blur, zoom blur, snow,
frost and fog are left out: they need other libraries, or photographs. Functions on uint8 images ``(N, H, W, C)``; each
is deterministic.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from detectors.baselines.teco import Corrupt

Images = NDArray[np.uint8]
_SEED: Final = 0


def _grey_levels(values: NDArray[np.float64]) -> Images:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def gaussian_noise(images: Images, severity: int) -> Images:
    """Normal noise."""
    deviation = 255 * (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return _grey_levels(images + np.random.default_rng(_SEED).normal(0, deviation, images.shape))


def shot_noise(images: Images, severity: int) -> Images:
    """Poisson noise."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    return _grey_levels(np.random.default_rng(_SEED).poisson(images / 255 * photons) / photons * 255)


def impulse_noise(images: Images, severity: int) -> Images:
    """Values that become 0 or 255."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    chance = np.random.default_rng(_SEED).random(images.shape)
    salted = np.where(chance < share / 2, 0, images)
    return np.where(chance > 1 - share / 2, 255, salted).astype(np.uint8)


def speckle_noise(images: Images, severity: int) -> Images:
    """Normal noise in proportion to the value."""
    deviation = (0.06, 0.1, 0.12, 0.16, 0.2)[severity - 1]
    return _grey_levels(images * (1 + np.random.default_rng(_SEED).normal(0, deviation, images.shape)))


def gaussian_blur(images: Images, severity: int) -> Images:
    """Blur, each channel for itself."""
    width = (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1]
    return _grey_levels(ndimage.gaussian_filter(images.astype(np.float64), (0, width, width, 0), mode="nearest"))


def defocus_blur(images: Images, severity: int) -> Images:
    """Mean over a disk."""
    radius = (0.6, 0.9, 1.2, 1.6, 2.1)[severity - 1]
    offsets = np.arange(-3, 4)
    inside = np.clip(radius + 0.5 - np.hypot(offsets[:, None], offsets[None]), 0, 1)
    disk = (inside / inside.sum())[None, :, :, None]
    return _grey_levels(ndimage.convolve(images.astype(np.float64), disk, mode="nearest"))


def brightness(images: Images, severity: int) -> Images:
    """Brighter by a constant."""
    return _grey_levels(images.astype(np.float64) + 255 * (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1])


def contrast(images: Images, severity: int) -> Images:
    """Closer to the channel's mean."""
    factor = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    values = images.astype(np.float64)
    means = values.mean((1, 2), keepdims=True)
    closer: NDArray[np.float64] = factor * values
    closer += (1 - factor) * means
    return _grey_levels(closer)


def elastic_transform(images: Images, severity: int) -> Images:
    """A smooth random displacement of the pixels, the same for all images."""
    strength = (0.5, 0.8, 1.2, 1.6, 2.0)[severity - 1]
    height, width = images.shape[1:3]
    fields = np.random.default_rng(_SEED).uniform(-1, 1, (2, height, width))
    smooth = ndimage.gaussian_filter(fields, (0, 3, 3))
    rows, columns = strength * smooth / smooth.std((1, 2), keepdims=True) + np.indices((height, width))
    flat = images.transpose(0, 3, 1, 2).reshape(-1, height, width).astype(np.float64)
    moved = np.stack([ndimage.map_coordinates(one, [rows, columns], order=1, mode="reflect") for one in flat])
    return _grey_levels(moved.reshape(len(images), -1, height, width).transpose(0, 2, 3, 1))


def pixelate(images: Images, severity: int) -> Images:
    """Reduced, and enlarged again."""
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    height, width = images.shape[1:3]
    small = (int(width * share), int(height * share))
    return _each(
        images,
        lambda picture: picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.NEAREST),
    )


def jpeg_compression(images: Images, severity: int) -> Images:
    """Stored as JPEG."""

    def stored(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=(80, 65, 58, 50, 40)[severity - 1])
        return Image.open(io.BytesIO(buffer.getvalue()))

    return _each(images, stored)


def _each(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    gray = images.shape[3] == 1
    pictures = (Image.fromarray(image[:, :, 0] if gray else np.ascontiguousarray(image)) for image in images)
    return np.stack([np.asarray(change(picture)).reshape(images.shape[1:]) for picture in pictures])


CORRUPTIONS: Final[tuple[Corrupt, ...]] = (
    gaussian_noise,
    shot_noise,
    impulse_noise,
    speckle_noise,
    gaussian_blur,
    defocus_blur,
    brightness,
    contrast,
    elastic_transform,
    pixelate,
    jpeg_compression,
)
"""All of them: 11 where the paper has 15."""
