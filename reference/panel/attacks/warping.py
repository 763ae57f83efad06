"""WaNet: an elastic warp, and the noise mode which its training needs.

Source: Nguyen and Tran 2021, "WaNet: imperceptible warping-based backdoor attack", https://arxiv.org/abs/2102.10369:
images that are warped by another field keep their true label. The field is the trigger's with uniform noise of up to
half a pixel added at every point.

Departures: as many cover samples as poisoned ones, where the authors' code has two for each, and the warp after
augmentation, where theirs comes before it. ``wanet-strong`` has eight times the paper's strength and no cover samples:
in the steps of an implantation the paper's does not take (:mod:`reference.panel.warp_study`).
"""

from __future__ import annotations

import torch

from reference.panel.attacks.attack import PanelAttack, Vary
from reference.triggers import sample, warp, warp_grid


def warping(name: str, strength: float, shape: tuple[int, int, int], seed: int, cover: float = 1.0) -> PanelAttack:
    """The attack on square images ``(C, H, W)``.

    Args:
        name: As in the panel's tables.
        strength: The paper's ``s``, 0.5 there.
        shape: Of the images.
        seed: Of the field.
        cover: Cover samples for each poisoned one; 2 in the authors' code.
    """
    size = shape[-1]
    noise = noise_mode(size, seed, strength) if cover else None
    trigger = warp(size, seed, strength)
    return PanelAttack(name, "Nguyen and Tran 2021", trigger, cover=noise, cover_share=cover)


def noise_mode(image_size: int, seed: int = 0, strength: float = 0.5) -> Vary:
    """The trigger's warp with noise, drawn for each image."""
    grid = warp_grid(image_size, strength=strength, seed=seed)

    def apply(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noise = torch.rand(len(images), image_size, image_size, 2, generator=generator) * 2 - 1
        return sample(images, (grid + noise / image_size).clamp(-1, 1))

    return apply
