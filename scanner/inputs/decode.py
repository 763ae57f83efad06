"""Decode one image exactly as training did: Pillow's decoders, filters and rounding.

Limits are checked on the header, before pixels are allocated. What would need a guess is refused
with a reason: animations, 16-bit and floating-point images.
"""

from __future__ import annotations

import io
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from scanner.inputs.preprocess import PreprocessSpec
from scanner.inputs.source import UnreadableInput

FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
MAX_PIXELS: Final = 50_000_000
_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr"})
_FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def decode(data: bytes | NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Decode, convert, resize and crop one image.

    Colour conversion is Pillow's ``convert("RGB")`` or ``convert("L")``; the orientation tag of EXIF
    is not applied; resize and crop follow torchvision's transforms for Pillow images.

    Args:
        data: Encoded file, or pixels ``(H, W)`` or ``(H, W, C)`` uint8.
        spec: Geometry to produce.

    Returns:
        ``(height, width, channels)`` uint8, colours in the order RGB.

    Raises:
        UnreadableInput: If it is no image, or one this tool refuses.
    """
    image = _from_array(data) if isinstance(data, np.ndarray) else _from_file(data)
    image = image.convert("RGB" if spec.channels == 3 else "L")
    image = _resize(image, spec)
    if spec.crop:
        image = _center_crop(image, spec.size)
    pixels = np.asarray(image)
    if pixels.shape[:2] != spec.size:
        raise UnreadableInput(
            "bad-size", f"{pixels.shape[1]}x{pixels.shape[0]} pixels, expected {spec.size[1]}x{spec.size[0]}"
        )
    return pixels.reshape(*spec.size, spec.channels)


def image_size(data: bytes | NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width from the header alone.

    Raises:
        UnreadableInput: If it is no image, or one this tool refuses.
    """
    if isinstance(data, np.ndarray):
        return int(data.shape[0]), int(data.shape[1])
    with _open(data) as image:
        return image.height, image.width


def _from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return Image.fromarray(pixels)


def _from_file(data: bytes) -> Image.Image:
    with _open(data) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image.load()
                return image.copy()
        except Exception as error:
            raise _unreadable(error) from None


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            pixels, frames = image.width * image.height, getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        raise UnreadableInput("too-large", f"more than {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableInput("not-an-image", "no known image format") from None
    except Exception as error:
        raise _unreadable(error) from None
    if pixels > MAX_PIXELS:
        raise UnreadableInput("too-large", f"{image.width}x{image.height} pixels, the limit is {MAX_PIXELS}")
    if frames != 1:
        raise UnreadableInput("animated", f"{frames} frames")
    if image.mode not in _MODES:
        raise UnreadableInput("unsupported-mode", f"pixel mode {image.mode!r}, expected 8 bits a channel")
    return image


def _unreadable(error: Exception) -> UnreadableInput:
    text = (str(error).splitlines() or [type(error).__name__])[0][:200]
    truncated = "truncated" in text.lower() or isinstance(error, EOFError)
    return UnreadableInput("truncated" if truncated else "damaged", text)


def _resize(image: Image.Image, spec: PreprocessSpec) -> Image.Image:
    if spec.resize is None:
        return image
    if isinstance(spec.resize, int):
        width, height = image.size
        short, long = min(width, height), max(width, height)
        new_long = int(spec.resize * long / short)
        if new_long > 8 * MAX_PIXELS // max(spec.resize, 1):
            raise UnreadableInput("too-large", f"{width}x{height} pixels cannot be resized sensibly")
        target = (spec.resize, new_long) if width <= height else (new_long, spec.resize)
    else:
        target = (spec.resize[1], spec.resize[0])
    return image if image.size == target else image.resize(target, _FILTERS[spec.interpolation])


def _center_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Torchvision's CenterCrop: pad with black first where the image is smaller."""
    height, width = size
    if width > image.width or height > image.height:
        left = (width - image.width) // 2 if width > image.width else 0
        top = (height - image.height) // 2 if height > image.height else 0
        right = (width - image.width + 1) // 2 if width > image.width else 0
        bottom = (height - image.height + 1) // 2 if height > image.height else 0
        padded = Image.new(image.mode, (image.width + left + right, image.height + top + bottom))
        padded.paste(image, (left, top))
        image = padded
    top = round((image.height - height) / 2.0)
    left = round((image.width - width) / 2.0)
    return image.crop((left, top, left + width, top + height))
