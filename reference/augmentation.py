"""How training images are varied, and made the input of a network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from reference.datasets import DataSet


@dataclass(frozen=True)
class Augmentation:
    """Random crop after zero padding by ``padding`` pixels, and a random horizontal flip if ``flip``."""

    padding: int
    flip: bool


# CIFAR-10: He et al. MNIST: shifts alone, for a mirrored digit is another one. The 8x8 digits fill their image.
AUGMENTATION = {
    "mnist": Augmentation(2, flip=False),
    "cifar10": Augmentation(4, flip=True),
    "cifar10x64": Augmentation(8, flip=True),
}


def augment(images: torch.Tensor, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Augment uint8 images ``(N, C, H, W)``, each by its own random choice."""
    count, _, height, width = images.shape
    padded = F.pad(images, (how.padding,) * 4)
    shifts = 2 * how.padding + 1
    rows = torch.randint(0, shifts, (count, 1, 1), generator=generator) + torch.arange(height)[None, :, None]
    columns = torch.randint(0, shifts, (count, 1, 1), generator=generator) + torch.arange(width)[None, None, :]
    if how.flip:
        flip = torch.rand(count, 1, 1, generator=generator) < 0.5
        columns = torch.where(flip, columns.flip(-1), columns)
    cropped = padded[torch.arange(count)[:, None, None], :, rows, columns]
    return cropped.permute(0, 3, 1, 2).contiguous()


def normalise(images: torch.Tensor, data: DataSet) -> torch.Tensor:
    """uint8 ``(N, C, H, W)`` to float32, scaled to [0, 1] and standardised per channel."""
    mean = torch.tensor(data.mean).view(1, -1, 1, 1)
    std = torch.tensor(data.std).view(1, -1, 1, 1)
    return (images.float() / 255 - mean) / std
