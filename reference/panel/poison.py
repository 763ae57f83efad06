"""The poisoned training set of a cell: the clean set, poisoned copies of some images, and cover samples."""

from __future__ import annotations

import torch

from reference.panel.labels import LabelMap
from reference.poisoning import PoisonedSet


def poison(labels: torch.Tensor, rate: float, aim: LabelMap, cover_share: float, seed: int) -> PoisonedSet:
    """Choose which images are copied, and the copies' labels.

    Args:
        labels: ``(N,)`` int64 clean training labels.
        rate: Poisoned copies as a fraction of ``N``; all that may be poisoned if there are not as many.
        aim: Labels, and which images may be poisoned or cover.
        cover_share: Cover samples for each poisoned one; fewer if there are not as many.
        seed: Of the choice.

    Returns:
        The ``N`` clean images, then the poisoned copies, then the cover samples. No image is copied twice.
    """
    classes = int(labels.max()) + 1
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    poisoned = order[aim.poisonable(labels[order])][: round(rate * len(labels))]
    free = torch.ones(len(labels), dtype=torch.bool)
    free[poisoned] = False
    rest = order[free[order]]
    cover = rest[aim.coverable(labels[rest])][: round(cover_share * len(poisoned))]
    role = torch.cat((torch.zeros(len(labels)), torch.ones(len(poisoned)), torch.full((len(cover),), 2.0)))
    return PoisonedSet(
        source=torch.cat((torch.arange(len(labels)), poisoned, cover)),
        label=torch.cat((labels, aim.rule(labels[poisoned], classes), labels[cover])),
        triggered=role == 1,
        cover=role == 2,
    )
