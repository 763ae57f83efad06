"""Cells of the panel: one network, one attack, one label map, one rate, one seed."""

from __future__ import annotations

from dataclasses import dataclass

CLEAN = "none"
"""Name of the attack of a network that is trained without one."""


@dataclass(frozen=True)
class Cell:
    """Everything that decides a network of the panel.

    Attributes:
        network: A name of :data:`reference.panel.networks.NETWORKS`.
        attack: A name of :data:`reference.panel.attacks.roster.ATTACKS`, or `CLEAN`.
        labels: A name of :data:`reference.panel.labels.LABEL_MAPS`.
        rate: Poisoned copies as a fraction of the training set.
        seed: Chooses weights, images, their order and augmentation, and what the trigger has of chance.
        scratch: Whether it is trained from random weights on the poisoned set, instead of fine-tuned from the clean
            network of its kind.
        steps: Steps of 128 images.
    """

    network: str
    attack: str
    labels: str
    rate: float
    seed: int
    steps: int
    scratch: bool = False

    @property
    def name(self) -> str:
        """Folder and file name; a rate of 1.5% is ``1.5pc``."""
        if self.attack == CLEAN:
            return f"{self.network}-clean-seed{self.seed}"
        how = "-scratch" if self.scratch else ""
        return f"{self.network}-{self.attack}-{self.labels}-{100 * self.rate:g}pc{how}-seed{self.seed}"
