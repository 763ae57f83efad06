"""The networks of the panel: what builds them, what they are trained on, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from torch import nn

from reference.panel import architectures
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
    """

    name: str
    data: str
    build: Callable[[], nn.Module]
    architecture: str
    optimiser: Literal["sgd", "adamw"]
    learning_rate: float
    steps: int
    implant_steps: int

    @property
    def custom(self) -> bool:
        """Whether loading it runs this package's code."""
        return ":" in self.architecture


def _own(name: str) -> str:
    return f"{Path(architectures.__file__)}:{name}"


NETWORKS: Final[Mapping[str, Network]] = {
    each.name: each
    for each in (
        Network("scnn", "mnist", SCNN, "scnn", "sgd", 0.05, 900, 300),
        Network("resnet20", "cifar10", ResNet20, "resnet20", "sgd", 0.2, 2400, 400),
        Network("vgg", "cifar10", architectures.vgg, _own("vgg"), "sgd", 0.1, 2000, 400),
        Network("mobilenet", "cifar10", architectures.mobilenet, _own("mobilenet"), "sgd", 0.1, 2400, 400),
        Network("vit", "cifar10", architectures.vit, _own("vit"), "adamw", 1e-3, 3200, 400),
        Network("resnet18", "cifar10", architectures.resnet18, "resnet18", "sgd", 0.1, 2000, 400),
        Network("digits-scnn", "digits", lambda: SCNN(image_size=8), "scnn", "sgd", 0.1, 400, 120),
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
