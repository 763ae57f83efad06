"""Small pictures of what the network sees.

A picture is always encoded anew from decoded pixels: nothing of an untrusted file's bytes, metadata included, reaches
a report.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scanner.profile.picture import Picture

LONGEST_SIDE: Final = 96
_LOSSLESS_UP_TO: Final = 36 * 36
_QUALITY: Final = 75


def picture(pixels: NDArray[np.uint8]) -> Picture:
    """A thumbnail of at most 96 pixels a side: PNG for tiny images, WebP for larger ones.

    Args:
        pixels: ``(height, width, channels)`` uint8 with 1 or 3 channels, as `scanner.inputs.decode.decode` returns.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    if image.width * image.height <= _LOSSLESS_UP_TO:
        image.save(buffer, "PNG", optimize=True)
        return Picture.of("image/png", buffer.getvalue(), image.width, image.height)
    image.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return Picture.of("image/webp", buffer.getvalue(), image.width, image.height)
