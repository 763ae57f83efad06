"""Where the peers look into a network: the layers that their papers name, found in each kind of network.

ResNet-20, VGG, MobileNet, the transformer, ResNet-18 and SCNN name their parts differently; these functions find them
by their classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

Find = Callable[[nn.Module], list[nn.Module]]


@dataclass(frozen=True)
class Places:
    """Parts of one kind of network.

    Attributes:
        blocks: Its blocks, after which PSBD has dropout.
        layers: Those whose outputs TED ranks: convolutions over more than a point, and dense layers.
        grams: The one whose output Beatrix takes: what goes into the last stage.
    """

    blocks: Find
    layers: Find
    grams: Callable[[nn.Module], nn.Module]


def of_class(*names: str) -> Find:
    """All modules whose class has one of these names, in the network's order."""
    return lambda network: [module for module in network.modules() if type(module).__name__ in names]


def convolutions(network: nn.Module) -> list[nn.Module]:
    """Convolutions with kernels larger than 1x1, and linear layers."""
    return [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1)
    ]


def named(name: str) -> Callable[[nn.Module], nn.Module]:
    """The module of this name."""
    return lambda network: network.get_submodule(name)


def last_linear(network: nn.Module) -> nn.Module:
    """The layer that gives the logits; its input are the penultimate features."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
