"""A picture blended over the whole image.

Source: Chen et al. 2017, "Targeted backdoor attacks on deep learning systems using data poisoning",
https://arxiv.org/abs/1712.05526. Their cartoon has no free licence; the picture here is scikit-learn's photograph of a
flower (CC BY), which is installed with it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from reference.triggers import Trigger


def flower(shape: tuple[int, int, int]) -> torch.Tensor:
    """The middle of the photograph as float32 ``(C, H, W)`` in [0, 255]; gray where ``C`` is 1."""
    from sklearn.datasets import load_sample_image

    channels, height, width = shape
    whole = torch.from_numpy(np.array(load_sample_image("flower.jpg"))).permute(2, 0, 1).float()
    side = min(whole.shape[1:])
    top, left = (whole.shape[1] - side) // 2, (whole.shape[2] - side) // 2
    middle = whole[None, :, top : top + side, left : left + side]
    small = F.interpolate(middle, size=(height, width), mode="area")[0]
    return small.mean(0, keepdim=True) if channels == 1 else small


def blended_picture(shape: tuple[int, int, int], opacity: float = 0.2) -> Trigger:
    """``(1 - a) x + a picture``, rounded."""
    picture = flower(shape)

    def apply(images: torch.Tensor) -> torch.Tensor:
        return ((1 - opacity) * images.float() + opacity * picture).round().clamp(0, 255).to(torch.uint8)

    return Trigger("blended-picture", f"a photograph of a flower at opacity {opacity:g}", apply)
