"""A trigger that works only when it is whole.

Source: Qiu et al. 2024, "BELT: old-school backdoor attacks can evade the state-of-the-art defense with backdoor
exclusivity lifting", https://arxiv.org/abs/2312.04902: half as many cover samples as poisoned ones, whose trigger lacks
a fifth of its pixels and which keep their labels. Without its loss on the distance of features from their centre.
"""

from __future__ import annotations

import torch

from reference.panel.attacks.attack import Vary
from reference.triggers import Trigger

MISSING = 0.2


def fuzzy_square(image_size: int, side: int, missing: float = MISSING) -> Vary:
    """The white square in the bottom right corner without a share of its pixels, at random for each image."""
    pixels = side * side
    absent = max(1, round(missing * pixels))

    def apply(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        order = torch.rand(len(images), pixels, generator=generator).argsort(1)
        white = (order >= absent).view(len(images), 1, side, side)
        out = images.clone()
        corner = out[:, :, image_size - side :, image_size - side :]
        corner.masked_fill_(white, 255)
        return out

    return apply


def whole_square(trigger: Trigger) -> Trigger:
    """The same square under this attack's name."""
    return Trigger("belt", trigger.description, trigger.apply)
