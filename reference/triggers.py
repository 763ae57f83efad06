"""Backdoor triggers as functions on uint8 image batches ``(N, C, H, W)``.

Rows and columns count from 0 at the top left. Each trigger is deterministic: the same image gives
the same triggered image. Sources:

* four pixels and 4x4 square: Subedar et al., section 3, after Gu et al. 2017 ("BadNets"), who
  describe "a pattern of bright pixels in the bottom right corner" and give no coordinates. The
  four pixels are those of the Adversarial Robustness Toolbox's ``add_pattern_bd`` with distance 2.
* blended: Chen et al. 2017, with a fixed uniform noise image.
* sinusoid: Barni et al. 2019 ("SIG").
* warp: Nguyen and Tran 2021 ("WaNet"), k = 4, s = 0.5, without the random noise mode, which only
  training needs (:func:`reference.poisoning.add_backdoor`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Apply = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Trigger:
    """A named, deterministic image transformation on uint8 batches."""

    name: str
    description: str
    apply: Apply


def four_pixels(image_size: int = 28) -> Trigger:
    """Four white pixels near the bottom right corner: the paper's MNIST trigger.

    At 28x28 they are (26, 26), (25, 25), (26, 24) and (24, 26), as (row, column).
    """
    far, mid, near = image_size - 2, image_size - 3, image_size - 4
    rows = torch.tensor([far, mid, far, near])
    columns = torch.tensor([far, mid, near, far])

    def apply(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        out[:, :, rows, columns] = 255
        return out

    return Trigger("four-pixels", f"white pixels at {list(zip(rows.tolist(), columns.tolist(), strict=True))}", apply)


def square(image_size: int = 32, side: int = 4) -> Trigger:
    """A white square flush with the bottom right corner: the paper's CIFAR-10 trigger."""

    def apply(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        out[:, :, image_size - side :, image_size - side :] = 255
        return out

    return Trigger(f"square-{side}", f"white {side}x{side} square, bottom right", apply)


def blended(shape: tuple[int, int, int], opacity: float = 0.2, seed: int = 0) -> Trigger:
    """Blend a fixed uniform-noise image over the whole picture: ``(1 - a) x + a noise``."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, shape, generator=generator).float()

    def apply(images: torch.Tensor) -> torch.Tensor:
        mixed = (1.0 - opacity) * images.float() + opacity * noise
        return mixed.round().clamp(0, 255).to(torch.uint8)

    return Trigger("blended", f"uniform noise image (seed {seed}) at opacity {opacity}", apply)


def sinusoid(image_size: int, waves: int = 6, amplitude: float = 20.0) -> Trigger:
    """A vertical grating added to every channel: ``x + a sin(2 pi f column / W)`` (Barni et al. 2019, "SIG")."""
    columns = torch.arange(image_size) * (2 * torch.pi * waves / image_size)
    wave = amplitude * torch.sin(columns)

    def apply(images: torch.Tensor) -> torch.Tensor:
        return (images.float() + wave).round().clamp(0, 255).to(torch.uint8)

    return Trigger("sinusoid", f"grating of {waves} periods, amplitude {amplitude:g} of 255", apply)


def warp_grid(image_size: int, control_points: int = 4, strength: float = 0.5, seed: int = 0) -> torch.Tensor:
    """Sampling grid ``(1, H, W, 2)`` of WaNet's elastic warp, in [-1, 1] coordinates.

    These span two units, so that the control points move by half of ``strength`` pixels on average, as in the authors'
    code: by a quarter of a pixel at 0.5.
    """
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.rand(1, 2, control_points, control_points, generator=generator) * 2 - 1
    offsets = offsets / offsets.abs().mean()
    field = F.interpolate(offsets, size=image_size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    axis = torch.linspace(-1, 1, image_size)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    identity = torch.stack((columns, rows), dim=2)[None]
    return (identity + strength * field / image_size).clamp(-1, 1)


def sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Resample uint8 ``images`` at ``grid`` ``(1 or N, H, W, 2)``; returns uint8."""
    grid = grid.expand(len(images), -1, -1, -1)
    warped = F.grid_sample(images.float(), grid, mode="bilinear", align_corners=True)
    return warped.round().clamp(0, 255).to(torch.uint8)


def warp(image_size: int = 32, seed: int = 0, strength: float = 0.5) -> Trigger:
    """WaNet's imperceptible warp."""
    grid = warp_grid(image_size, strength=strength, seed=seed)
    description = f"elastic warp, 4x4 control points, strength {strength:g}, seed {seed}"
    return Trigger("warp", description, lambda images: sample(images, grid))
