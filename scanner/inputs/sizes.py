"""Sizes of some images of a source, from their headers."""

from __future__ import annotations

from scanner.inputs.decode import image_size
from scanner.inputs.items import Source, UnreadableInput


def sample_sizes(source: Source, limit: int = 64) -> tuple[tuple[int, int], ...]:
    """Height and width of up to ``limit`` images, spread evenly over the source.

    Items that cannot be read are left out, so that the result may be empty.
    """
    count = len(source.items)
    sizes = []
    for index in sorted({round(i * (count - 1) / max(1, limit - 1)) for i in range(min(limit, count))}):
        try:
            sizes.append(image_size(source.read(source.items[index])))
        except UnreadableInput:
            continue
    return tuple(sizes)
