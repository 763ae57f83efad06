"""The clean images that a profile keeps to try a trigger on, at the size that the network takes.

One file of bytes: the first line is JSON, a list of lengths, and so many bytes of PNG or WebP each follow. It is
specified in docs/profile-format.md, and is treated as untrusted when it is read. Images are encoded anew from decoded
pixels: nothing of a reference's files, metadata and names included, is in it.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scanner.base.errors import ProfileError

MAX_IMAGES: Final = 1000
MAX_BYTES: Final = 8 * 2**20
_LOSSLESS_UP_TO: Final = 64 * 64
_QUALITY: Final = 85
_MAX_LINE: Final = 16 * 1024
_HINT: Final = "Fit the profile again"


def encode_image(pixels: NDArray[np.uint8]) -> bytes:
    """One image ``(H, W, C)`` uint8 with 1 or 3 channels: PNG for small ones, WebP for larger ones."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    buffer = io.BytesIO()
    if image.width * image.height <= _LOSSLESS_UP_TO:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return buffer.getvalue()


def join_images(files: Sequence[bytes]) -> NDArray[np.uint8]:
    """The store of these files; `clean_images` is the inverse. Empty without any."""
    if not files:
        return np.zeros(0, np.uint8)
    line = json.dumps([len(file) for file in files], separators=(",", ":")).encode("ascii") + b"\n"
    return np.frombuffer(line + b"".join(files), np.uint8)


def clean_images(store: NDArray[np.uint8], shape: tuple[int, int, int], most: int = MAX_IMAGES) -> NDArray[np.uint8]:
    """The images ``(n, H, W, C)`` uint8 of a profile; none of an empty store.

    Args:
        store: From a file of unknown origin.
        shape: Height, width and channels that every image has to have.
        most: How many of them, the first, are decoded.

    Raises:
        ProfileError: If it is no such store.
    """
    if not store.size:
        return np.zeros((0, *shape), np.uint8)
    content = store.tobytes()
    line, newline, files = content[: _MAX_LINE + 1].partition(b"\n")
    if not newline or len(content) > MAX_BYTES + _MAX_LINE:
        raise ProfileError("its clean images are damaged", hint=_HINT)
    try:
        lengths = json.loads(line)
    except (ValueError, RecursionError):
        raise ProfileError("its clean images are damaged", hint=_HINT) from None
    files = content[len(line) + 1 :]
    plain = isinstance(lengths, list) and all(type(length) is int and length > 0 for length in lengths)
    if not plain or not 0 < len(lengths) <= MAX_IMAGES or sum(lengths) != len(files):
        raise ProfileError("its clean images are damaged", hint=_HINT)
    wanted = lengths[:most]
    images = np.empty((len(wanted), *shape), np.uint8)
    start = 0
    for image, length in zip(images, wanted, strict=True):
        image[...] = _decode(files[start : start + length], shape)
        start += length
    return images


def _decode(content: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Of the header alone, so nothing is allocated for an image of another size.
            with Image.open(io.BytesIO(content), formats=("PNG", "WEBP")) as image:
                if image.size != (width, height) or getattr(image, "is_animated", False):
                    raise ProfileError("its clean images are not of the network's size", hint=_HINT)
                return np.asarray(image.convert(mode)).reshape(shape)
    except ProfileError:
        raise
    except Exception:  # decoders raise nearly anything on damaged files
        raise ProfileError("its clean images are damaged", hint=_HINT) from None
