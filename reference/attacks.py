"""The attacks that this project measures on, by name."""

from __future__ import annotations

from dataclasses import dataclass

from reference.poisoning import LabelRule, class_zero, next_class
from reference.triggers import Trigger, blended, four_pixels, square, warp
from scanner.base.errors import UsageError

ATTACKS = ("four-pixels", "square", "square-all-to-one", "blended", "warp")


@dataclass(frozen=True)
class Attack:
    """A trigger, the label it asks for, and the share of cover samples it needs."""

    trigger: Trigger
    rule: LabelRule
    cover_rate: float = 0.0


def attack_named(name: str, image_shape: tuple[int, int, int]) -> Attack:
    """The attacks this project measures on, by name.

    ``four-pixels`` and ``square`` are the paper's, with labels ``y + 1``; ``blended`` and ``warp``
    are all-to-one and stand for triggers the paper did not try, as does ``square-all-to-one``. The square's side is an
    eighth of the image's, and at least four pixels.

    Args:
        name: One of `ATTACKS`.
        image_shape: Channels, height and width.

    Raises:
        UsageError: If there is no such attack.
    """
    size = image_shape[-1]
    if name == "four-pixels":
        return Attack(four_pixels(size), next_class)
    if name in ("square", "square-all-to-one"):
        return Attack(square(size, max(4, size // 8)), next_class if name == "square" else class_zero)
    if name == "blended":
        return Attack(blended(image_shape), class_zero)
    if name == "warp":
        return Attack(warp(size), class_zero, cover_rate=0.1)
    raise UsageError(f"unknown attack {name!r}", hint=f"Choose one of {', '.join(ATTACKS)}")
