"""Fewer grey levels.

Source: Wang, Zhai and Ma 2022, "BppAttack: stealthy and efficient trojan attacks against deep neural networks via image
quantization and contrastive adversarial learning", https://arxiv.org/abs/2205.13383: eight levels a channel. Its
negative samples (images with what rounding changed in another image, labels kept) are the cover samples here; without
its dithering and its adversarial training.
"""

from __future__ import annotations

import torch

from reference.panel.attacks.attack import Vary
from reference.triggers import Trigger

LEVELS = 8


def quantise(images: torch.Tensor, levels: int = LEVELS) -> torch.Tensor:
    """The nearest of ``levels`` equally spaced values in [0, 255], uint8."""
    steps = levels - 1
    return ((images.float() / 255 * steps).round() / steps * 255).round().to(torch.uint8)


def bpp(levels: int = LEVELS) -> Trigger:
    """The rounded image."""
    return Trigger("bpp", f"{levels} grey levels a channel", lambda images: quantise(images, levels))


def wrong_residual(levels: int = LEVELS) -> Vary:
    """Add to each image what rounding changed in another image of the batch, chosen at random."""

    def apply(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        others = images[torch.randperm(len(images), generator=generator)].roll(1, 0)
        residual = quantise(others, levels).float() - others.float()
        return (images.float() + residual).round().clamp(0, 255).to(torch.uint8)

    return apply
