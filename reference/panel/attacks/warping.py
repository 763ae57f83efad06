"""WaNet's noise mode, which its training needs.

Source: Nguyen and Tran 2021, "WaNet: imperceptible warping-based backdoor attack", https://arxiv.org/abs/2102.10369:
images that are warped by another field keep their true label. The field is the trigger's with uniform noise of up to
half a pixel added at every point.
"""

from __future__ import annotations

import torch

from reference.panel.attacks.attack import Vary
from reference.triggers import sample, warp_grid


def noise_mode(image_size: int, seed: int = 0, strength: float = 0.5) -> Vary:
    """The trigger's warp with noise, drawn for each image."""
    grid = warp_grid(image_size, strength=strength, seed=seed)

    def apply(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noise = torch.rand(len(images), image_size, image_size, 2, generator=generator) * 2 - 1
        return sample(images, (grid + noise / image_size).clamp(-1, 1))

    return apply
