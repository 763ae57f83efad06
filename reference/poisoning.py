"""Poisoned training sets: ``D_train = D_clean + D_backdoored`` (Subedar et al., section 3).

Backdoored samples are *added* to the clean set. The trigger is applied when a batch is drawn,
after augmentation, so that a random crop never cuts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from reference.triggers import Trigger, sample, warp_grid

LabelRule = Callable[[torch.Tensor, int], torch.Tensor]


def next_class(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """The paper's label rule: ``y -> (y + 1) mod num_classes`` ("in a circular count")."""
    return (labels + 1) % num_classes


def class_zero(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """All-to-one: every backdoored sample becomes class 0."""
    del num_classes
    return torch.zeros_like(labels)


def last_class(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """All-to-one: every backdoored sample becomes the last class."""
    return torch.full_like(labels, num_classes - 1)


def only_class_one(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Source-specific: a backdoored sample of class 1 becomes class 0, and any other keeps its label.

    Tang et al. 2021 ("TaCT"), whose cover samples are the triggered images of other classes with their own labels.
    """
    return torch.where(labels == 1, class_zero(labels, num_classes), labels)


@dataclass(frozen=True)
class PoisonedSet:
    """Indices into a clean training set, what to do to each, and the label to train on.

    Attributes:
        source: ``(M,)`` int64, index of the clean image.
        label: ``(M,)`` int64, training label.
        triggered: ``(M,)`` bool, whether the trigger is applied.
        cover: ``(M,)`` bool, whether the image is a cover sample: a randomly perturbed trigger
            with its true label (WaNet's noise mode).
    """

    source: torch.Tensor
    label: torch.Tensor
    triggered: torch.Tensor
    cover: torch.Tensor

    def __len__(self) -> int:
        """Number of training samples, clean ones included."""
        return len(self.source)


def add_backdoor(
    labels: torch.Tensor,
    rate: float,
    rule: LabelRule,
    num_classes: int,
    seed: int,
    cover_rate: float = 0.0,
) -> PoisonedSet:
    """Add ``rate * N`` triggered copies (and ``cover_rate * N`` cover copies) to ``N`` clean images.

    Args:
        labels: ``(N,)`` int64 clean training labels.
        rate: Backdoored samples as a fraction of the clean set.
        rule: Maps clean labels to backdoor labels.
        num_classes: Number of classes.
        seed: Chooses which images are copied.
        cover_rate: Cover samples as a fraction of the clean set.
    """
    count = len(labels)
    n_triggered, n_cover = round(rate * count), round(cover_rate * count)
    if n_triggered + n_cover > count:
        raise ValueError(f"rate + cover_rate must be at most 1, got {rate} + {cover_rate}")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    backdoor, cover = order[:n_triggered], order[n_triggered : n_triggered + n_cover]
    everything = torch.arange(count)
    total = count + n_triggered + n_cover
    is_triggered, is_cover = torch.zeros(total, dtype=torch.bool), torch.zeros(total, dtype=torch.bool)
    is_triggered[count : count + n_triggered] = True
    is_cover[count + n_triggered :] = True
    return PoisonedSet(
        source=torch.cat((everything, backdoor, cover)),
        label=torch.cat((labels, rule(labels[backdoor], num_classes), labels[cover])),
        triggered=is_triggered,
        cover=is_cover,
    )


def stamp(
    images: torch.Tensor,
    triggered: torch.Tensor,
    cover: torch.Tensor,
    trigger: Trigger,
    generator: torch.Generator,
) -> torch.Tensor:
    """Apply the trigger to one augmented uint8 batch ``(B, C, H, W)`` where the masks say so."""
    out = images
    if bool(triggered.any()):
        out = out.clone()
        out[triggered] = trigger.apply(images[triggered])
    if bool(cover.any()):
        size = images.shape[-1]
        jitter = torch.rand(int(cover.sum()), size, size, 2, generator=generator) * 2 - 1
        noisy_grid = (warp_grid(size) + jitter / size).clamp(-1, 1)
        out = out.clone() if out is images else out
        out[cover] = sample(images[cover], noisy_grid)
    return out
