"""WideResNet for 32x32 images (Zagoruyko and Komodakis, 2016), as the two implementations in use spell and compute it.

They differ in more than names: where the stride is, what the projection reads, and whether convolutions have biases.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_STAGES = ((1, 1), (2, 2), (4, 2))
"""Width and stride of the three stages."""


class _Block(nn.Module):
    """The stride is in the first convolution, and the projection reads normalised values."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, padding=1, bias=False)
        self.convShortcut = (
            None if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(out)
        result: torch.Tensor = shortcut + self.conv2(F.relu(self.bn2(self.conv1(out))))
        return result


class _Stage(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layer = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x)
        return result


class WideResNet(nn.Module):
    """Stages called ``block1.layer`` to ``block3.layer``, no biases in convolutions, head ``fc``.

    Args:
        depth: Layers, six times the blocks of a stage and four.
        width: Factor on the channels 16, 32 and 64.
        num_classes: Number of outputs.
    """

    def __init__(self, depth: int, width: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, padding=1, bias=False)
        channels = 16
        for number, (factor, stride) in enumerate(_STAGES, start=1):
            layers: list[nn.Module] = []
            for block in range((depth - 4) // 6):
                layers.append(_Block(channels, 16 * width * factor, 1 if block else stride))
                channels = 16 * width * factor
            self.add_module(f"block{number}", _Stage(layers))
        self.bn1 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.conv1(x)
        for number in range(1, 4):
            x = self.get_submodule(f"block{number}")(x)
        x = F.adaptive_avg_pool2d(F.relu(self.bn1(x)), 1)
        logits: torch.Tensor = self.fc(torch.flatten(x, 1))
        return logits


class _BiasedBlock(nn.Module):
    """The stride is in the second convolution, and the projection reads the block's own input."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, 1, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, padding=1)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        result: torch.Tensor = self.conv2(F.relu(self.bn2(out))) + self.shortcut(x)
        return result


class BiasedWideResNet(nn.Module):
    """Stages called ``layer1`` to ``layer3``, biases in convolutions, head ``linear``.

    Args:
        depth: Layers, six times the blocks of a stage and four.
        width: Factor on the channels 16, 32 and 64.
        num_classes: Number of outputs.
    """

    def __init__(self, depth: int, width: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, padding=1)
        channels = 16
        for number, (factor, stride) in enumerate(_STAGES, start=1):
            layers = []
            for block in range((depth - 4) // 6):
                layers.append(_BiasedBlock(channels, 16 * width * factor, 1 if block else stride))
                channels = 16 * width * factor
            self.add_module(f"layer{number}", nn.Sequential(*layers))
        self.bn1 = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.conv1(x)
        for number in range(1, 4):
            x = self.get_submodule(f"layer{number}")(x)
        x = F.adaptive_avg_pool2d(F.relu(self.bn1(x)), 1)
        logits: torch.Tensor = self.linear(torch.flatten(x, 1))
        return logits
