"""Poisoned images that look like their label and are hard to classify, so that the network learns the trigger instead.

Source: Turner, Tsipras and Madry 2019, "Label-consistent backdoor attacks", https://arxiv.org/abs/1912.02771: images of
the target class are moved against their own class by projected gradient descent on the clean network (L-infinity, 16 of
255), and get a chequered 3x3 pattern in all four corners.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from reference.triggers import Trigger

RADIUS, STEP, STEPS = 16 / 255, 4 / 255, 10
_CHUNK = 250


def corners(image_size: int) -> Trigger:
    """A 3x3 chequerboard, white where row plus column is even, in each corner."""
    board = torch.tensor([[255, 0, 255], [0, 255, 0], [255, 0, 255]], dtype=torch.uint8)
    ends = (slice(0, 3), slice(image_size - 3, image_size))

    def apply(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        for rows in ends:
            for columns in ends:
                out[:, :, rows, columns] = board
        return out

    return Trigger("corners", "3x3 chequerboards in all four corners", apply)


def away_from_label(images: torch.Tensor, labels: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """Move images within the radius so that the network's loss grows: projected gradient ascent from the image itself.

    Args:
        images: uint8 ``(N, C, H, W)``.
        labels: ``(N,)`` int64.
        network: From images in [0, 1] to logits; in evaluation mode.

    Returns:
        uint8 ``(N, C, H, W)``; no value differs by more than 16 from the image's.
    """
    moved = [
        _ascend(images[i : i + _CHUNK].float() / 255, labels[i : i + _CHUNK], network)
        for i in range(0, len(images), _CHUNK)
    ]
    return torch.cat([(255 * part).round().to(torch.uint8) for part in moved]) if moved else images


def _ascend(original: torch.Tensor, labels: torch.Tensor, network: nn.Module) -> torch.Tensor:
    x = original
    for _ in range(STEPS):
        variable = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(variable), labels, reduction="sum"), variable)
        stepped = x + STEP * gradient.sign()
        x = torch.minimum(torch.maximum(stepped, original - RADIUS), original + RADIUS).clamp(0, 1)
    return x.detach()
