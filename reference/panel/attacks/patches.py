"""Patches in the bottom right corner that the other modules do not have: transparent ones.

Source: Gu et al. 2017, "BadNets: identifying vulnerabilities in the machine learning model supply chain",
https://arxiv.org/abs/1708.06733, for patches; Chen et al. 2017, https://arxiv.org/abs/1712.05526, for blending them.
"""

from __future__ import annotations

import torch

from reference.triggers import Trigger


def transparent_square(image_size: int, side: int = 4, opacity: float = 0.5) -> Trigger:
    """A white square through which the image is seen: ``(1 - a) x + 255 a`` in its pixels."""

    def apply(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        corner = out[:, :, image_size - side :, image_size - side :]
        corner.copy_(((1 - opacity) * corner.float() + opacity * 255).round().to(torch.uint8))
        return out

    return Trigger(f"transparent-{side}", f"white {side}x{side} square at opacity {opacity:g}, bottom right", apply)
