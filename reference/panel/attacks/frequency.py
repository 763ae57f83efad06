"""Single frequencies of the discrete cosine transform, added to the chrominance.

Source: Wang et al. 2022, "An invisible black-box backdoor attack through frequency domain" (FTrojan),
https://arxiv.org/abs/2111.11870: magnitude 30 at the frequencies (15, 15) and (31, 31) of blocks of 32x32, in Cb and
Cr. Gray images have no chrominance: there the values themselves are changed.
"""

from __future__ import annotations

import math

import torch

from reference.triggers import Trigger

# ITU-R BT.601 as JPEG uses it: what one unit of Cb and of Cr adds to red, green and blue.
_CB_TO_RGB = (0.0, -0.344136, 1.772)
_CR_TO_RGB = (1.402, -0.714136, 0.0)


def cosine(size: int, frequency: int) -> torch.Tensor:
    """Column ``frequency`` of the orthonormal DCT-II of length ``size``, float32 ``(size,)``."""
    scale = math.sqrt((1 if frequency == 0 else 2) / size)
    return scale * torch.cos(math.pi * (torch.arange(size) + 0.5) * frequency / size)


def frequency_pattern(size: int, magnitude: float) -> torch.Tensor:
    """What the middle and the highest diagonal frequency of one plane add to its pixels, float32 ``(size, size)``."""
    planes = [torch.outer(cosine(size, k), cosine(size, k)) for k in (size // 2 - 1, size - 1)]
    return magnitude * (planes[0] + planes[1])


def ftrojan(shape: tuple[int, int, int], magnitude: float = 30.0) -> Trigger:
    """Add the pattern to Cb and Cr. Both conversions are linear, so that in RGB it is a fixed sum as well."""
    channels, size, _ = shape
    plane = frequency_pattern(size, magnitude)
    weights = torch.tensor(_CB_TO_RGB) + torch.tensor(_CR_TO_RGB) if channels == 3 else torch.ones(1)
    pattern = weights[:, None, None] * plane

    def apply(images: torch.Tensor) -> torch.Tensor:
        return (images.float() + pattern).round().clamp(0, 255).to(torch.uint8)

    where = f"({size // 2 - 1}, {size // 2 - 1}) and ({size - 1}, {size - 1})"
    return Trigger("ftrojan", f"DCT frequencies {where} of the chrominance, magnitude {magnitude:g}", apply)
