"""Decode one image exactly as training did: Pillow's decoders, filters and rounding.

Limits are checked on the header, before pixels are allocated, and on the number of the file's parts, before a decoder
walks through them; what takes long all the same is given up. What would need a guess is refused with a reason:
animations, 16-bit grey and floating-point images.
"""

from __future__ import annotations

import io
import logging
import time
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Imported here so that no thread has to look for a plugin later. The list is short on purpose: nearly
# all of Pillow's security fixes are in the others.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from scanner.inputs.anatomy import require_few_parts
from scanner.inputs.formats import MAGIC, box_formats, is_box
from scanner.inputs.geometry import require_size, resize_and_crop, resized_size
from scanner.inputs.items import MAX_PIXELS, UnreadableInput
from scanner.inputs.spec import PreprocessSpec

FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
MAX_SECONDS: Final = 10.0
"""Processor time that one image may take."""
_BLOCK: Final = 16_384
"""Bytes that a decoder is given at a time."""
_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr"})

_FOREIGN_MAGIC: Final = (
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\1\0", "icon"),
    (b"DDS ", "DirectDraw"),
    (b"v/1\1", "OpenEXR"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"SIMPLE", "FITS"),
    (b"DICM", "DICOM"),
)

# Once, here: worker threads cannot each change the filters of the process safely. Notes on odd metadata
# are no news for a user, and sizes are checked below whatever Pillow thinks of them.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Without a handler, what Pillow logs about damaged files would go to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(data: bytes | NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.uint8]:
    """The pixels of :func:`decode_sized`."""
    return decode_sized(data, spec)[0]


def decode_sized(data: bytes | NDArray[np.uint8], spec: PreprocessSpec) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode, convert, resize and crop one image.

    Colour conversion is Pillow's ``convert("RGB")`` or ``convert("L")``, as in torchvision's image
    folders; the orientation tag of EXIF is not applied (Pillow itself applies it to TIFF); resize and
    crop follow torchvision's transforms for Pillow images.

    Args:
        data: Encoded file, or pixels ``(H, W)`` or ``(H, W, C)`` uint8 with 1 or 3 channels.
        spec: Geometry to produce. Its normalisation and channel order are the graph's work.

    Returns:
        ``(height, width, channels)`` uint8, colours in the order RGB, which may be read-only and may be
        ``data`` itself; and the height and width that the image had.

    Raises:
        UnreadableInput: If it is no image, one this tool refuses, or of a size that ``spec`` cannot
            bring to the network's.
    """
    if isinstance(data, np.ndarray):
        pixels = _as_channels_last(data)
        height, width, channels = pixels.shape
        unchanged = resized_size(width, height, spec.resize) == (width, height)
        if unchanged and channels == spec.channels and (height, width) == spec.size:
            return pixels, (height, width)
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    else:
        image = _open(data)
        # Before pixels are decoded that nobody can use. Pillow turns a TIFF as its orientation says while loading it.
        if image.format != "TIFF":
            require_size(image.width, image.height, spec)
    try:
        image.load()
        image.info = {}  # convert() would carry a transparent colour over, which changes no pixel
        mode = "RGB" if spec.channels == 3 else "L"
        image = image if image.mode == mode else image.convert(mode)  # which would copy it all the same
        size = (image.height, image.width)
        return np.asarray(resize_and_crop(image, spec)).reshape(*spec.size, spec.channels), size
    except UnreadableInput:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise _unreadable(error) from None


def image_size(data: bytes | NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width from the header alone.

    Raises:
        UnreadableInput: If it is no image, or one this tool refuses.
    """
    if isinstance(data, np.ndarray):
        pixels = _as_channels_last(data)
        return int(pixels.shape[0]), int(pixels.shape[1])
    with _open(data) as image:
        return image.height, image.width


class _Timed(io.BytesIO):
    """Gives a decoder its bytes for so long, in processor time of its thread: decoders ask again and again."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._end = time.thread_time() + MAX_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes.

        Raises:
            UnreadableInput: If the time is over.
        """
        if time.thread_time() > self._end:
            raise UnreadableInput("too-slow", f"decoding takes more than {MAX_SECONDS:g} seconds")
        return super().read(size)


def _as_channels_last(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """View ``(H, W)`` or ``(H, W, C)`` as ``(H, W, C)``."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise UnreadableInput("bad-shape", f"{pixels.dtype} pixels of shape {pixels.shape}")
    _check_pixels(pixels.shape[1], pixels.shape[0])
    return pixels


def _open(data: bytes) -> Image.Image:
    """Read the header. Pixels are decoded later."""
    require_few_parts(data)
    try:
        formats = (*FORMATS, *box_formats()) if is_box(data) else FORMATS
        image = Image.open(_Timed(data), formats=formats)
        if isinstance(image, ImageFile.ImageFile):
            image.decodermaxblock = _BLOCK
        # Not n_frames, which walks through all of a hostile file.
        animated = bool(getattr(image, "is_animated", False))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableInput("too-large", f"more pixels than the limit of {MAX_PIXELS}") from None
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except UnreadableInput:
        raise
    except Exception as error:
        raise _unreadable(error) from None
    _check_pixels(image.width, image.height)
    # Cameras append previews to a JPEG, which makes it an MPO; its first picture is the image.
    if animated and image.format != "MPO":
        raise UnreadableInput("animated", f"{image.format} with more than one frame")
    if image.mode not in _MODES:
        raise UnreadableInput("unsupported-mode", f"pixel mode {image.mode!r}, expected 8 bits a channel")
    return image


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableInput("too-large", f"{width}x{height} pixels, the limit is {MAX_PIXELS}")
    if width < 1 or height < 1:
        raise UnreadableInput("damaged", f"{width}x{height} pixels")


def _unidentified(data: bytes) -> UnreadableInput:
    if not data:
        return UnreadableInput("empty", "the file has no bytes")
    for magic, name in _FOREIGN_MAGIC:
        if data.startswith(magic):
            return UnreadableInput("unsupported-format", f"{name} files are not read")
    if is_box(data) and not box_formats():
        return UnreadableInput("unsupported-format", "AVIF and HEIC files need pip install 'latentscan[heif]'")
    if data[4:8] == b"ftyp":
        return UnreadableInput("unsupported-format", "AVIF, HEIF and video files of this kind are not read")
    for magic, name in MAGIC:
        if data.startswith(magic):
            return UnreadableInput("damaged", f"starts like {name} but has no readable header")
    return UnreadableInput("not-an-image", "no known image format")


def _unreadable(error: Exception) -> UnreadableInput:
    if isinstance(error, MemoryError):
        return UnreadableInput("too-large", "does not fit into memory")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return UnreadableInput("too-large", f"more pixels than the limit of {MAX_PIXELS}")
    text = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
    truncated = "truncated" in text.lower() or isinstance(error, EOFError)
    return UnreadableInput("truncated" if truncated else "damaged", text)
