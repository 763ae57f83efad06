"""Networks of the panel that are not the paper's: small ones of four usual kinds, for images of 32x32 pixels.

``modelscan fit MODEL --arch reference/panel/architectures.py:vgg --trust-code`` loads their state dicts.
"""

from __future__ import annotations

from torch import nn

_STAGES = ((32, 32), (64, 64), (128, 128))


def vgg(num_classes: int = 10) -> nn.Module:
    """Three stages of two 3x3 convolutions with batch normalisation, each ended by max pooling (Simonyan 2015)."""
    layers: list[nn.Module] = []
    before = 3
    for stage in _STAGES:
        for channels in stage:
            layers += [nn.Conv2d(before, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))


def mobilenet(num_classes: int = 10) -> nn.Module:
    """torchvision's MobileNetV2 at half width, with strides for small images: 16x16 to 4x4 positions."""
    from torchvision.models import MobileNetV2

    # Expansion, channels, blocks, stride of the first.
    setting = [[1, 16, 1, 1], [4, 32, 2, 1], [4, 64, 3, 2], [4, 128, 2, 2]]
    network: nn.Module = MobileNetV2(num_classes, width_mult=0.5, inverted_residual_setting=setting, dropout=0.0)
    return network


def vit(num_classes: int = 10) -> nn.Module:
    """torchvision's vision transformer with 4x4 patches, five blocks of 96 dimensions, and a class token."""
    from torchvision.models import VisionTransformer

    network: nn.Module = VisionTransformer(
        image_size=32, patch_size=4, num_layers=5, num_heads=4, hidden_dim=96, mlp_dim=192, num_classes=num_classes
    )
    return network


def resnet18(num_classes: int = 10) -> nn.Module:
    """torchvision's ResNet-18, whose last stage has 512 channels at a single position for images of this size."""
    from torchvision.models import resnet18 as build

    network: nn.Module = build(num_classes=num_classes)
    return network
