"""A small residual network for colour pictures, so that networks which are compared are not of one architecture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation, whose result is added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map ``(N, W, H, H)`` to the same shape."""
        return F.relu(maps + self.second(F.relu(self.first(maps))))


class ResidualNetwork(nn.Module):
    """A convolution with pooling, two residual blocks at a half and a quarter of the side, and a dense layer."""

    def __init__(self, width: int, dropout: float, channels: int, size: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            ResidualBlock(width),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            ResidualBlock(2 * width),
        )
        inner = 2 * width * (size // 8) ** 2
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(dropout), nn.Linear(inner, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map ``(N, C, H, W)`` to logits ``(N, 10)``."""
        logits: torch.Tensor = self.head(self.blocks(self.stem(images)))
        return logits
