"""The networks for small images that papers on backdoors use, each in the spellings that are in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from torch import nn

from scanner.models.architectures.cifar_resnet import SHORT, TORCHVISION, CifarResNet
from scanner.models.architectures.preact_resnet import PreActResNet
from scanner.models.architectures.wide_resnet import BiasedWideResNet, WideResNet

_18, _34 = (2, 2, 2, 2), (3, 4, 6, 3)

SMALL_IMAGE_NETWORKS: Final[Mapping[str, tuple[Callable[[], nn.Module], ...]]] = MappingProxyType(
    {
        "cifar_resnet18": tuple(partial(CifarResNet, _18, naming=naming) for naming in (SHORT, TORCHVISION)),
        "cifar_resnet34": tuple(partial(CifarResNet, _34, naming=naming) for naming in (SHORT, TORCHVISION)),
        "preact_resnet18": tuple(
            partial(PreActResNet, _18, naming=naming, last_norm=last)
            for naming in (SHORT, TORCHVISION)
            for last in (False, True)
        ),
        "wide_resnet28_10": (partial(WideResNet, 28, 10), partial(BiasedWideResNet, 28, 10)),
    }
)
"""Builders of every spelling by name; each makes 10 classes of images of 3 channels."""

SIDE: Final = 32
"""Height and width of the images that they were made for, in pixels."""
