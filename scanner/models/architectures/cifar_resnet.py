"""ResNet-18 and ResNet-34 for 32x32 images: a 3x3 first convolution without pooling (He et al., 2016, adapted).

The networks that papers on backdoors train on CIFAR-10 and GTSRB. Two spellings are in use: that of the code most of
them started from (``shortcut``, ``linear``), and torchvision's (``downsample``, ``fc``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Naming:
    """What the parts are called on which the code in use differs.

    Attributes:
        shortcut: The projection beside a block.
        head: The last layer.
    """

    shortcut: str = "shortcut"
    head: str = "linear"


SHORT = Naming()
TORCHVISION = Naming("downsample", "fc")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and a projection where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, naming: Naming) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self._shortcut = naming.shortcut
        projection = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.add_module(naming.shortcut, projection)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H/stride, W/stride)``."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.get_submodule(self._shortcut)(x))


class CifarResNet(nn.Module):
    """Four stages of basic blocks with 64 to 512 channels.

    Args:
        blocks: Blocks of each stage.
        num_classes: Number of outputs.
        naming: Spelling of the parts.
    """

    def __init__(self, blocks: Sequence[int], num_classes: int = 10, naming: Naming = SHORT) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            layers = []
            for block in range(count):
                layers.append(BasicBlock(channels, width, 2 if stage and not block else 1, naming))
                channels = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self._head = naming.head
        self.add_module(naming.head, nn.Linear(channels, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        logits: torch.Tensor = self.get_submodule(self._head)(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return logits
