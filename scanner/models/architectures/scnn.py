"""SCNN: the paper's simple convolutional network for MNIST.

Subedar et al., section 3: "a simple convolutional neural network (SCNN) architecture consisting
of two convolutional layers followed by two dense layers". The paper gives no widths; these are
the usual ones for MNIST (32 and 64 channels, 3x3 kernels, 128 hidden units).
"""

from __future__ import annotations

import torch
from torch import nn


class SCNN(nn.Module):
    """Two convolutions, one pooling, two dense layers.

    Args:
        num_classes: Number of outputs.
        in_channels: Channels of the input image.
        image_size: Height and width of the square input, in pixels; must be at least 6.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        if image_size < 6:
            raise ValueError(f"SCNN needs images of at least 6x6 pixels, got {image_size}")
        pooled = (image_size - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, 32, kernel_size=3)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.dense1 = nn.Linear(64 * pooled * pooled, 128)
        self.relu3 = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.dense2 = nn.Linear(128, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(N, in_channels, image_size, image_size)`` to logits ``(N, num_classes)``."""
        x = self.relu1(self.conv1(x))
        x = self.pool(self.relu2(self.conv2(x)))
        x = self.relu3(self.dense1(self.flatten(x)))
        logits: torch.Tensor = self.dense2(self.dropout(x))
        return logits
