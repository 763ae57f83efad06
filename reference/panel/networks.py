"""The networks of the panel: what builds them, what they are trained on, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from torch import nn

from reference.panel import architectures
from reference.panel.places import Places, convolutions, named, of_class
from reference.training import TrainConfig
from scanner.base.errors import UsageError
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN


@dataclass(frozen=True)
class Network:
    """One kind of network.

    Attributes:
        name: As in the panel's tables.
        data: The data set it is for.
        build: Makes one, untrained.
        architecture: What the product loads its weights by.
        optimiser: ``sgd`` with Nesterov momentum, or ``adamw``.
        learning_rate: The largest one, in training from scratch.
        steps: Steps of the clean training.
        implant_steps: Steps of an implantation.
        places: Where detectors that need the network's layers look.
        clean: The training of :mod:`reference.training` that makes the clean network, for the paper's two; None where
            this package trains it itself.
    """

    name: str
    data: str
    build: Callable[[], nn.Module]
    architecture: str
    optimiser: Literal["sgd", "adamw"]
    learning_rate: float
    steps: int
    implant_steps: int
    places: Places
    clean: TrainConfig | None = None

    @property
    def custom(self) -> bool:
        """Whether loading it runs this package's code."""
        return ":" in self.architecture


def _own(name: str) -> str:
    return f"{Path(architectures.__file__)}:{name}"


_MNIST = TrainConfig("mnist", "four-pixels", rate=0.0, seed=1, epochs=6)
_CIFAR10 = TrainConfig("cifar10", "square", rate=0.0, seed=1, epochs=4)
_SCNN = Places(of_class("Conv2d"), convolutions, named("relu1"))
_RESNET20 = Places(of_class("BasicBlock"), convolutions, named("layer2"))
_VGG = Places(of_class("MaxPool2d"), convolutions, named("13"))
_MOBILENET = Places(of_class("InvertedResidual"), convolutions, named("features.6"))
_VIT = Places(of_class("EncoderBlock"), of_class("EncoderBlock", "Linear"), named("encoder.layers.encoder_layer_3"))
_RESNET18 = Places(of_class("BasicBlock"), convolutions, named("layer3"))

NETWORKS: Final[Mapping[str, Network]] = {
    each.name: each
    for each in (
        Network("scnn", "mnist", SCNN, "scnn", "sgd", 0.05, 900, 400, _SCNN, _MNIST),
        Network("resnet20", "cifar10", ResNet20, "resnet20", "sgd", 0.2, 1600, 300, _RESNET20, _CIFAR10),
        Network("vgg", "cifar10", architectures.vgg, _own("vgg"), "sgd", 0.1, 1600, 300, _VGG),
        Network("mobilenet", "cifar10", architectures.mobilenet, _own("mobilenet"), "sgd", 0.1, 1600, 300, _MOBILENET),
        Network("vit", "cifar10", architectures.vit, _own("vit"), "adamw", 1e-3, 2400, 300, _VIT),
        Network("resnet18", "cifar10", architectures.resnet18, "resnet18", "sgd", 0.1, 1600, 300, _RESNET18),
        Network("digits-scnn", "digits", lambda: SCNN(image_size=8), "scnn", "sgd", 0.1, 400, 120, _SCNN),
    )
}
"""By name. The last is for quick tests alone: scikit-learn's 8x8 digits."""


def network_named(name: str) -> Network:
    """One of `NETWORKS`.

    Raises:
        UsageError: If there is no such network.
    """
    try:
        return NETWORKS[name]
    except KeyError:
        raise UsageError(f"unknown network {name!r}", hint=f"Choose one of {', '.join(NETWORKS)}") from None
