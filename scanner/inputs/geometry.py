"""Resize and crop as torchvision's transforms do on Pillow images, bit for bit."""

from __future__ import annotations

from typing import Final

from PIL import Image

from scanner.inputs.items import MAX_PIXELS, UnreadableInput
from scanner.inputs.spec import PreprocessSpec

_FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Largest image a resize may make or pass through: a network's input may be larger than MAX_PIXELS,
# a thin image must not become billions of pixels.
_MAX_RESIZED: Final = 2 * MAX_PIXELS


def resize_and_crop(image: Image.Image, spec: PreprocessSpec) -> Image.Image:
    """Bring an image to the network's input size.

    Raises:
        UnreadableInput: If resizing would need too much memory, or the result has another size.
    """
    target = require_size(image.width, image.height, spec)
    if target != image.size:
        image = image.resize(target, _FILTERS[spec.interpolation])
    if spec.crop:
        image = _center_crop(image, spec.size)
    return image


def require_size(width: int, height: int, spec: PreprocessSpec) -> tuple[int, int]:
    """Refuse, by its size alone, an image that can not be brought to the network's.

    Returns:
        Width and height after the resize.

    Raises:
        UnreadableInput: If resizing would need too much memory, or the result has another size.
    """
    target = resized_size(width, height, spec.resize)
    # Pillow resizes along rows first: what lies between has the new width and the old height.
    if target[0] * max(target[1], height) > _MAX_RESIZED:
        raise UnreadableInput("too-large", f"{width}x{height} pixels are too long and thin to resize")
    if not spec.crop and (target[1], target[0]) != spec.size:
        raise UnreadableInput("bad-shape", f"{target[0]}x{target[1]} pixels, expected {spec.size[1]}x{spec.size[0]}")
    return target


def resized_size(width: int, height: int, resize: int | tuple[int, int] | None) -> tuple[int, int]:
    """Width and height after ``torchvision.transforms.Resize``; the longer side is rounded down."""
    if resize is None:
        return width, height
    if not isinstance(resize, int):
        return resize[1], resize[0]
    if width <= height:
        return resize, int(resize * height / width)
    return int(resize * width / height), resize


def _center_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """``torchvision.transforms.CenterCrop``: where the image is smaller, pad it with black first."""
    height, width = size
    missing_width, missing_height = max(0, width - image.width), max(0, height - image.height)
    if missing_width or missing_height:
        padded = Image.new(image.mode, (image.width + missing_width, image.height + missing_height))
        padded.paste(image, (missing_width // 2, missing_height // 2))
        image = padded
    # round() goes to the even neighbour, as in torchvision.
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))
