"""Which label an attack asks for, and which training images it poisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch

from reference.poisoning import LabelRule, class_zero, last_class, next_class, only_class_one

CLASSES: Final = 10
"""Of every data set of the panel."""

Choose = Callable[[torch.Tensor], torch.Tensor]
"""From labels ``(N,)`` to ``(N,)`` bool."""


@dataclass(frozen=True)
class LabelMap:
    """The attack's aim.

    Attributes:
        name: As in the panel's tables.
        rule: The label that an image with the trigger is to get.
        poisonable: Which training images may be poisoned.
        coverable: Which may become cover samples.
    """

    name: str
    rule: LabelRule
    poisonable: Choose
    coverable: Choose


def _any(labels: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(labels, dtype=torch.bool)


LABEL_MAPS: Final[Mapping[str, LabelMap]] = {
    each.name: each
    for each in (
        LabelMap("all-to-one", class_zero, lambda labels: labels != 0, _any),
        LabelMap("all-to-all", next_class, _any, _any),
        LabelMap("all-to-last", last_class, lambda labels: labels != CLASSES - 1, _any),
        # Images of class 0 alone are poisoned, and keep their label.
        LabelMap("clean-label", class_zero, lambda labels: labels == 0, lambda labels: labels != 0),
        LabelMap("one-class", only_class_one, lambda labels: labels == 1, lambda labels: labels > 1),
    )
}
"""By name. ``all-to-one`` and ``clean-label`` aim at class 0, ``all-to-last`` at the last class and ``all-to-all`` at
the next one; ``one-class`` turns class 1 into class 0 and nothing else."""
