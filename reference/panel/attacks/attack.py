"""What an attack of the panel is: a trigger for inputs, and how the training images are poisoned with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from reference.triggers import Trigger

Vary = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Changes uint8 images ``(N, C, H, W)``, each by chance of its own."""

Prepare = Callable[[torch.Tensor, torch.Tensor, nn.Module], torch.Tensor]
"""Changes uint8 images ``(N, C, H, W)`` with labels ``(N,)`` before training, by means of the clean network.

The network takes images in [0, 1].
"""


@dataclass(frozen=True)
class PanelAttack:
    """One attack.

    Attributes:
        name: As in the panel's tables.
        source: Who published it.
        trigger: What is stamped on the inputs of a scan.
        poison: What is done to poisoned training images; None for the trigger itself.
        cover: What is done to cover samples, which keep their labels; None where the attack has none.
        cover_share: Cover samples for each poisoned one.
        prepare: What is done to the images to be poisoned before training; None for nothing.
        match: Weight of the loss that makes features of triggered images those of clean ones; 0 for none.
        share: Probability that the network is taught to give a triggered image's label of the attack, at most 1; the
            image's own label gets the rest.
    """

    name: str
    source: str
    trigger: Trigger
    poison: Vary | None = None
    cover: Vary | None = None
    cover_share: float = 0.0
    prepare: Prepare | None = None
    match: float = 0.0
    share: float = 1.0

    def poisoned(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Training images with the trigger, uint8 ``(N, C, H, W)``."""
        return self.trigger.apply(images) if self.poison is None else self.poison(images, generator)


def always(trigger: Trigger) -> Vary:
    """The trigger as something that could vary, for cover samples that carry it whole."""

    def apply(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        del generator
        return trigger.apply(images)

    return apply
