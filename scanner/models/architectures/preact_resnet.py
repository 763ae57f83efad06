"""PreAct-ResNet-18 for 32x32 images (He et al., 2016b): normalisation and ReLU come before each convolution.

In the two spellings of :mod:`scanner.models.architectures.cifar_resnet`, and with or without the normalisation behind
the last block, which much of the code in use leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from scanner.models.architectures.cifar_resnet import SHORT, Naming


class PreActBlock(nn.Module):
    """Two normalised 3x3 convolutions; the projection reads what the first normalisation gives."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, naming: Naming) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, padding=1, bias=False)
        self._shortcut = naming.shortcut if stride != 1 or in_channels != out_channels else None
        if self._shortcut is not None:
            self.add_module(self._shortcut, nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H/stride, W/stride)``."""
        out = F.relu(self.bn1(x))
        shortcut = x if self._shortcut is None else self.get_submodule(self._shortcut)(out)
        out = self.conv1(out)
        result: torch.Tensor = self.conv2(F.relu(self.bn2(out))) + shortcut
        return result


class PreActResNet(nn.Module):
    """Four stages of pre-activation blocks with 64 to 512 channels.

    Args:
        blocks: Blocks of each stage.
        num_classes: Number of outputs.
        naming: Spelling of the parts.
        last_norm: Whether ``bn`` and a ReLU follow the last block.
    """

    def __init__(
        self, blocks: Sequence[int], num_classes: int = 10, naming: Naming = SHORT, last_norm: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, padding=1, bias=False)
        channels = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            layers = []
            for block in range(count):
                layers.append(PreActBlock(channels, width, 2 if stage and not block else 1, naming))
                channels = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.bn = nn.BatchNorm2d(channels) if last_norm else None
        self._head = naming.head
        self.add_module(naming.head, nn.Linear(channels, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.conv1(x)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        if self.bn is not None:
            x = F.relu(self.bn(x))
        logits: torch.Tensor = self.get_submodule(self._head)(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return logits
