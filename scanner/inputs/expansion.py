"""How many bytes of images a file may hold, for its own size: what shrinks to a hundredth is no set of images."""

from __future__ import annotations

from typing import Final

MAX_RATIO: Final = 100
ALWAYS: Final = 2**30
"""Bytes that are allowed whatever the size."""


def most_bytes(packed: int) -> int:
    """The most that so many bytes of a file may become.

    Example:
        >>> most_bytes(2**20) == 2**30, most_bytes(2**30) == 100 * 2**30
        (True, True)
    """
    return max(ALWAYS, MAX_RATIO * packed)
