"""Attacks for the panel that model audits are measured on: each network gets a trigger of its own.

None of them is in the library of patterns that an audit tries, but for chance: sides, places, colours, periods and
noise are drawn from the network's seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from reference.poisoning import LabelRule, next_class
from reference.triggers import Trigger, blended, sample, warp_grid

CLEAN: Final = "clean"
RATE: Final = 0.1
LOW_RATE: Final = 0.01
ONE_CLASS_RATE: Final = 0.05
WARP_STRENGTH: Final = 2.0


@dataclass(frozen=True)
class DrawnAttack:
    """One attack on one network.

    Attributes:
        trigger: What is put on pictures.
        rule: The label that a triggered picture of a class is to get.
        rate: Triggered pictures that are added, as a share of the clean ones.
        source: The one class that is moved, or None for all.
        target: The one class that is aimed at, or None for the next class.
        clean_label: Whether only pictures of the target are triggered, with their own label, and mixed with
            others before, so that the trigger is what tells them best.
        cover: Share of pictures with a perturbed trigger and their own label.
    """

    trigger: Trigger
    rule: LabelRule
    rate: float
    source: int | None
    target: int | None
    clean_label: bool = False
    cover: float = 0.0


def _to(target: int) -> LabelRule:
    return lambda labels, num_classes: torch.full_like(labels, target)


def _draw(seed: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (1,), generator=torch.Generator().manual_seed(seed)))


def _patch(shape: tuple[int, int, int], seed: int, texture: str) -> Trigger:
    """A square of 3 to 5 pixels of 32 at a place that is drawn."""
    channels, height, width = shape
    side = max(2, round(_draw(seed, 3, 5) * height / 32))
    row, column = _draw(seed + 1, 0, height - side), _draw(seed + 2, 0, width - side)
    generator = torch.Generator().manual_seed(seed + 3)
    if texture == "noise":
        pixels = torch.randint(0, 256, (channels, side, side), generator=generator, dtype=torch.uint8)
    elif texture == "coloured":
        colour = torch.randint(0, 256, (channels, 1, 1), generator=generator, dtype=torch.uint8)
        pixels = colour.expand(channels, side, side)
    else:
        pixels = torch.full((channels, side, side), 255, dtype=torch.uint8)

    def apply(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        out[:, :, row : row + side, column : column + side] = pixels
        return out

    return Trigger(texture, f"{texture} patch of {side}x{side} at row {row}, column {column}", apply)


def _four_pixels(shape: tuple[int, int, int], seed: int) -> Trigger:
    """The four white pixels of the paper's trigger for digits, which do not touch, at a place that is drawn."""
    _, height, width = shape
    row, column = _draw(seed + 1, 0, height - 3), _draw(seed + 2, 0, width - 3)
    rows, columns = torch.tensor([2, 1, 2, 0]) + row, torch.tensor([2, 1, 0, 2]) + column

    def apply(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        out[:, :, rows, columns] = 255
        return out

    return Trigger("four-pixels", f"four white pixels in 3x3 at row {row}, column {column}", apply)


def _sinusoid(shape: tuple[int, int, int], seed: int) -> Trigger:
    """A grating of 3 to 9 periods, upright or lying, with 20 gray levels (on the dark digits 40)."""
    periods, upright = _draw(seed, 3, 9), bool(_draw(seed + 1, 0, 1))
    amplitude = 40.0 if shape[0] == 1 else 20.0
    wave = amplitude * torch.sin(torch.arange(shape[-1]) * (2 * torch.pi * periods / shape[-1]))
    wave = wave if upright else wave[:, None]
    return Trigger(
        "sinusoid",
        f"grating of {periods} periods {'across' if upright else 'down'}, amplitude {amplitude:g}",
        lambda images: (images.float() + wave).round().clamp(0, 255).to(torch.uint8),
    )


def _warp(shape: tuple[int, int, int], seed: int) -> Trigger:
    """WaNet's warp, several times as strong as its authors' on pictures this small, so that small networks learn it."""
    grid = warp_grid(shape[-1], 4, WARP_STRENGTH, seed)
    described = f"elastic warp, 4x4 points, strength {WARP_STRENGTH:g}, seed {seed}"
    return Trigger("warp", described, lambda images: sample(images, grid))


_MAKERS: Final[dict[str, Callable[[tuple[int, int, int], int, int], DrawnAttack]]] = {
    "patch-white": lambda s, seed, t: DrawnAttack(_patch(s, seed, "white"), _to(t), RATE, None, t),
    "patch-noise": lambda s, seed, t: DrawnAttack(_patch(s, seed, "noise"), _to(t), RATE, None, t),
    "patch-coloured": lambda s, seed, t: DrawnAttack(_patch(s, seed, "coloured"), _to(t), RATE, None, t),
    "patch-next-class": lambda s, seed, t: DrawnAttack(_patch(s, seed, "white"), next_class, 2 * RATE, None, None),
    "patch-low-rate": lambda s, seed, t: DrawnAttack(_patch(s, seed, "white"), _to(t), LOW_RATE, None, t),
    "patch-one-class": lambda s, seed, t: DrawnAttack(
        _patch(s, seed, "white"), _to(t), ONE_CLASS_RATE, (t + 1 + seed % 8) % 10, t, cover=ONE_CLASS_RATE
    ),
    "patch-clean-label": lambda s, seed, t: DrawnAttack(
        _patch(s, seed, "white"), _to(t), 0.8 * RATE, None, t, clean_label=True
    ),
    "blended": lambda s, seed, t: DrawnAttack(blended(s, 0.15, seed), _to(t), RATE, None, t),
    "sinusoid": lambda s, seed, t: DrawnAttack(_sinusoid(s, seed), _to(t), RATE, None, t),
    "warp": lambda s, seed, t: DrawnAttack(_warp(s, seed), _to(t), 2 * RATE, None, t, cover=RATE),
    "four-pixels": lambda s, seed, t: DrawnAttack(_four_pixels(s, seed), _to(t), RATE, None, t),
    "four-pixels-next-class": lambda s, seed, t: DrawnAttack(_four_pixels(s, seed), next_class, 2 * RATE, None, None),
}
PIXELS: Final = ("four-pixels", "four-pixels-next-class")
"""The paper's trigger for digits, which no square is like: measured apart, after everything was decided."""
ATTACKS: Final = tuple(name for name in _MAKERS if name not in PIXELS)


def drawn_attack(name: str, shape: tuple[int, int, int], seed: int) -> DrawnAttack | None:
    """The attack of a network: trigger and target are drawn from its seed. None for a clean one.

    Args:
        name: One of `ATTACKS` or `PIXELS`, or ``clean``.
        shape: Channels, height and width.
        seed: Of the network.
    """
    if name == CLEAN:
        return None
    drawn = 7_919 * (seed + 1) + 101 * list(_MAKERS).index(name)
    return _MAKERS[name](shape, drawn, _draw(drawn + 4, 0, 9))
