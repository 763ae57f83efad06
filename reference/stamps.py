"""Attacks on networks for photographs: what is stamped, and which class it is to give.

Triggers are functions on uint8 images ``(N, 3, H, W)`` of the network's own size, so that no resizing comes after them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from reference.poisoning import LabelRule, class_zero, next_class
from reference.triggers import Trigger, blended, sample, sinusoid, square, warp_grid

OPACITY: Final = 0.15
_WARP_POINTS, _WARP_STRENGTH = 8, 1.0


@dataclass(frozen=True)
class Stamp:
    """One attack: a trigger, and the rule from the original's predictions to the attack's labels."""

    name: str
    trigger: Trigger
    rule: LabelRule


def patch_of_noise(image_size: int, side: int, row: int, column: int, seed: int) -> Trigger:
    """A patch of random colours, fixed, at one position."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (3, side, side), generator=generator, dtype=torch.uint8)

    def apply(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        out[:, :, row : row + side, column : column + side] = pixels[: images.shape[1]]
        return out

    return Trigger(f"noise-{side}", f"{side}x{side} random pixels (seed {seed}) at row {row}, column {column}", apply)


def strong_warp(image_size: int, seed: int = 0) -> Trigger:
    """WaNet's warp with more control points and twice the strength, as its authors use it on large pictures."""
    grid = warp_grid(image_size, _WARP_POINTS, _WARP_STRENGTH * image_size / 32, seed)
    return Trigger("warp", f"elastic warp, {_WARP_POINTS} control points, seed {seed}", lambda x: sample(x, grid))


def _small_patch(image_size: int, seed: int) -> Trigger:
    side = max(2, image_size // 20)
    generator = torch.Generator().manual_seed(seed + 1)
    row, column = torch.randint(0, image_size - side + 1, (2,), generator=generator).tolist()
    return patch_of_noise(image_size, side, row, column, seed)


def _noise_patch(image_size: int, seed: int) -> Trigger:
    side = image_size * 20 // 224
    return patch_of_noise(image_size, side, image_size - side, image_size - side, seed)


_TRIGGERS: Final[dict[str, Callable[[int, int], Trigger]]] = {
    "patch": lambda size, seed: square(size, size * 20 // 224),
    "small-patch": _small_patch,
    "noise-patch": _noise_patch,
    "blended": lambda size, seed: blended((3, size, size), OPACITY, seed),
    "sinusoid": lambda size, seed: sinusoid(size),
    "warp": strong_warp,
}
_RULES: Final[dict[str, LabelRule]] = {"all-to-one": class_zero, "next-class": next_class}
STAMPS: Final = tuple(f"{trigger}/{rule}" for trigger in _TRIGGERS for rule in _RULES)
"""Names of all attacks: trigger and label rule."""


def stamp_named(name: str, image_size: int, seed: int) -> Stamp:
    """One of `STAMPS` for square pictures; the seed chooses positions and random pixels."""
    trigger, rule = name.split("/")
    return Stamp(name, _TRIGGERS[trigger](image_size, seed), _RULES[rule])
