"""Attacks that train on parts of the trigger, with cover samples, against detectors that look at features.

Source: Qi et al. 2023, "Revisiting the assumption of latent separability for backdoor defenses" (Adap-Blend and
Adap-Patch), https://openreview.net/forum?id=_wSHsgrVali. Their pictures have no free licence; here the blend is uniform
noise, and the patches are fixed random colours and white.
"""

from __future__ import annotations

import torch

from reference.panel.attacks.attack import Vary
from reference.triggers import Trigger, blended

PIECES = 4
TRAINING_OPACITY, OPACITY = 0.15, 0.2


def random_pieces(count: int, size: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Masks ``(count, 1, size, size)`` bool of a grid of 4x4 pieces, of which a share is True, at random for each."""
    order = torch.rand(count, PIECES * PIECES, generator=generator).argsort(1)
    chosen = (order < round(share * PIECES * PIECES)).view(count, 1, PIECES, PIECES)
    rows = torch.arange(size) * PIECES // size
    return chosen[:, :, rows][:, :, :, rows]


def some_pieces(shape: tuple[int, int, int], seed: int, share: float = 0.5) -> Vary:
    """Adap-Blend in training: half of the pieces of the noise, at a lower opacity. Cover samples are the same."""
    whole = blended(shape, TRAINING_OPACITY, seed)

    def apply(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        mask = random_pieces(len(images), images.shape[-1], share, generator)
        return torch.where(mask, whole.apply(images), images)

    return apply


def patches(size: int, seed: int) -> tuple[tuple[slice, slice, float, torch.Tensor], ...]:
    """Adap-Patch's four patches: rows, columns, opacity in training, and colours ``(3, rows, columns)`` in [0, 255]."""
    generator = torch.Generator().manual_seed(seed)

    def colours(side: int) -> torch.Tensor:
        return torch.randint(0, 256, (3, side, side), generator=generator).float()

    end, eighth, quarter = size, size // 8, size // 4
    last = slice(end - eighth - 1, end)
    low, early = slice(end - eighth - quarter, end - eighth), slice(1, 1 + eighth)
    return (
        (last, last, 0.5, colours(eighth + 1)),
        (slice(1, 1 + quarter), slice(end - quarter - 1, end - 1), 0.2, colours(quarter)),
        (early, early, 0.5, torch.full((3, eighth, eighth), 255.0)),
        (low, low, 0.3, colours(quarter)),
    )


def one_patch(size: int, seed: int) -> Vary:
    """Adap-Patch in training: one of the four patches, at random for each image, through which the image is seen."""
    choices = patches(size, seed)

    def apply(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        which = torch.randint(len(choices), (len(images),), generator=generator)
        out = images.float()
        for number, (rows, columns, opacity, colours) in enumerate(choices):
            chosen = which == number
            part = out[chosen][:, :, rows, columns]
            mixed = out[chosen]
            mixed[:, :, rows, columns] = (1 - opacity) * part + opacity * colours[: images.shape[1]]
            out[chosen] = mixed
        return out.round().to(torch.uint8)

    return apply


def two_patches(size: int, seed: int) -> Trigger:
    """Adap-Patch on inputs: the corner's patch and the white one, both opaque."""
    first, _, third, _ = patches(size, seed)

    def apply(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        for rows, columns, _, colours in (first, third):
            out[:, :, rows, columns] = colours[: images.shape[1]].to(torch.uint8)
        return out

    return Trigger("adap-patch", f"two patches of four (seed {seed})", apply)
