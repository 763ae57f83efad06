"""A text in the lowest bits of the pixels.

Source: Li et al. 2020, "Invisible backdoor attacks on deep neural networks via steganography and regularization",
https://arxiv.org/abs/1909.02742: the least significant bits hold a fixed text. They use one bit; ``bits`` is larger
where one is not learned.
"""

from __future__ import annotations

import torch

from reference.triggers import Trigger

TEXT = "a backdoor in the lowest bits of every pixel "


def text_bits(count: int, text: str = TEXT) -> torch.Tensor:
    """The first ``count`` bits of the text in UTF-8, repeated, the highest bit of each byte first; int64 0 or 1."""
    values = torch.tensor(list(text.encode()))
    bits = (values[:, None] >> torch.arange(7, -1, -1)) & 1
    stream = bits.flatten()
    return stream.repeat(-(-count // len(stream)))[:count]


def lowest_bits(shape: tuple[int, int, int], bits: int = 3) -> Trigger:
    """Replace the ``bits`` lowest bits of every value by the text's."""
    channels, height, width = shape
    stream = text_bits(channels * height * width * bits).view(channels, height, width, bits)
    message = (stream << torch.arange(bits - 1, -1, -1)).sum(-1).to(torch.uint8)
    kept = 0xFF & ~(2**bits - 1)

    def apply(images: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = (images & kept) | message
        return changed

    return Trigger("lsb", f"a text in the {bits} lowest bits", apply)
