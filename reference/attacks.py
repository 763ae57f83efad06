"""The attacks that this project measures on, by name."""

from __future__ import annotations

from dataclasses import dataclass

from reference.poisoning import LabelRule, class_zero, next_class, only_class_one
from reference.triggers import Trigger, blended, four_pixels, sinusoid, square, warp
from scanner.base.errors import UsageError

ATTACKS = ("four-pixels", "square", "square-all-to-one", "square-one-class", "blended", "sinusoid", "warp")

_SQUARE_RULES: dict[str, LabelRule] = {
    "square": next_class,
    "square-all-to-one": class_zero,
    "square-one-class": only_class_one,
}


@dataclass(frozen=True)
class Attack:
    """A trigger, the label it asks for, and the share of cover samples it needs."""

    trigger: Trigger
    rule: LabelRule
    cover_rate: float = 0.0


def attack_named(name: str, image_shape: tuple[int, int, int]) -> Attack:
    """The attacks this project measures on, by name.

    ``four-pixels`` and ``square`` are the paper's, with labels ``y + 1``; ``blended`` and ``warp``
    are all-to-one and stand for triggers the paper did not try, as do ``square-all-to-one`` and ``sinusoid``.
    ``square-one-class`` is source-specific: the square turns images of class 1 into class 0, and all others keep their
    label with it. The square's side is an eighth of the image's, and at least four pixels.

    Args:
        name: One of `ATTACKS`.
        image_shape: Channels, height and width.

    Raises:
        UsageError: If there is no such attack.
    """
    size = image_shape[-1]
    if name == "four-pixels":
        return Attack(four_pixels(size), next_class)
    if name in _SQUARE_RULES:
        return Attack(square(size, max(4, size // 8)), _SQUARE_RULES[name])
    if name == "blended":
        return Attack(blended(image_shape), class_zero)
    if name == "sinusoid":
        return Attack(sinusoid(size), class_zero)
    if name == "warp":
        return Attack(warp(size), class_zero, cover_rate=0.1)
    raise UsageError(f"unknown attack {name!r}", hint=f"Choose one of {', '.join(ATTACKS)}")
