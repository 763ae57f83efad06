"""Honest changes of inputs, and copies of one picture: what must not be taken for triggers.

Functions on uint8 images ``(N, H, W, C)``; each is deterministic.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Images = NDArray[np.uint8]
Change = Callable[[Images], Images]


def _levels(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Change:
    return lambda images: np.clip(np.rint(change(images.astype(np.float64))), 0, 255).astype(np.uint8)


def _each(change: Callable[[Image.Image], Image.Image]) -> Change:
    def apply(images: Images) -> Images:
        gray = images.shape[3] == 1
        pictures = (Image.fromarray(image[:, :, 0] if gray else np.ascontiguousarray(image)) for image in images)
        return np.stack([np.asarray(change(picture)).reshape(images.shape[1:]) for picture in pictures])

    return apply


def _jpeg(quality: int) -> Change:
    def change(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(io.BytesIO(buffer.getvalue()))

    return _each(change)


def _hue(picture: Image.Image) -> Image.Image:
    if picture.mode == "L":
        return picture
    turned = np.array(picture.convert("HSV"))
    turned[..., 0] += 18  # of 256: 25 degrees, and past the end it begins anew
    return Image.fromarray(turned, "HSV").convert("RGB")


def _resized(picture: Image.Image) -> Image.Image:
    small = picture.resize((round(0.75 * picture.width), round(0.75 * picture.height)), Image.Resampling.BILINEAR)
    return small.resize(picture.size, Image.Resampling.BILINEAR)


def noisy(images: Images, sigma: float = 8.0, seed: int = 0) -> Images:
    """Gaussian noise, in gray levels."""
    noise = np.random.default_rng(seed).normal(0.0, sigma, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


DRIFTS: Final[Mapping[str, Change]] = {
    "brightness x1.25": _levels(lambda x: 1.25 * x),
    "contrast x0.7": _levels(lambda x: 128 + 0.7 * (x - 128)),
    "gamma 1.5": _levels(lambda x: 255 * (x / 255) ** 1.5),
    "hue 25 degrees": _each(_hue),
    "noise sigma 8": noisy,
    "blur radius 0.7": _each(lambda picture: picture.filter(ImageFilter.GaussianBlur(0.7))),
    "JPEG quality 50": _jpeg(50),
    "JPEG quality 30": _jpeg(30),
    "resized to 75% and back": _each(_resized),
    "shifted by a pixel": lambda images: np.roll(images, 1, axis=2),
    "mirrored": lambda images: np.ascontiguousarray(images[:, :, ::-1]),
}


def frames(image: Images, count: int, seed: int) -> Images:
    """A scene ``(H, W, C)`` as so many frames of a shaking camera: shifts by a pixel, flicker, and noise."""
    generator = np.random.default_rng(seed)
    shifted = [np.roll(image, tuple(generator.integers(-1, 2, 2).tolist()), (0, 1)) for _ in range(count)]
    light = generator.uniform(0.95, 1.05, (count, 1, 1, 1))
    noise = generator.normal(0.0, 4.0, (count, *image.shape))
    return np.clip(np.rint(light * np.stack(shifted) + noise), 0, 255).astype(np.uint8)
