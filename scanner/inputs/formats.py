"""Formats of images by their first bytes, and whether one can be read that needs more than Pillow's safest parts."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Final

MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_BOXES: Final = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc")
"""Brands of AVIF and HEIF files."""
_SHORTEST: Final = 12


def has_image_magic(head: bytes) -> bool:
    """Whether bytes start a file of a format that is read.

    Args:
        head: The first 16 bytes.
    """
    if len(head) < _SHORTEST:
        return False
    if head.startswith(b"BM"):  # two letters alone could start any text
        return head[6:10] == b"\0\0\0\0"
    if head[:1] == b"P":
        return head[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6") and head[2:3].isspace()
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    return is_box(head) or any(head.startswith(magic) for magic, _ in MAGIC)


def is_box(head: bytes) -> bool:
    """Whether bytes start an AVIF or HEIF file."""
    return head[4:8] == b"ftyp" and head[8:12] in _BOXES


@cache
def box_formats() -> tuple[str, ...]:
    """Names that Pillow has for AVIF and HEIF, once their decoder is installed; empty otherwise.

    Its decoders are large libraries written in C that have had holes, so nothing but their presence turns them on.
    """
    if importlib.util.find_spec("pillow_heif") is None:
        return ()
    heif = importlib.import_module("pillow_heif")
    heif.register_heif_opener(thumbnails=False)
    try:
        importlib.import_module("PIL.AvifImagePlugin")
    except ImportError:
        return ("HEIF",)
    return ("HEIF", "AVIF")
