"""Which Flipout layers see a batch's examples on their first axis, and may therefore draw signs for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from detectors.bayesian.layers import FlipoutLayer, flipout_layers

Fetch = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""The network's inputs for image indices ``(B,)`` int64."""


@torch.no_grad()
def mark_batch_axes(module: nn.Module, fetch: Fetch) -> None:
    """Set ``per_example`` of every Flipout layer by what the layer is given.

    Attention puts tokens first, or windows and examples together. Signs along such an axis would differ within an
    example, as if each token had weights of its own, and most of the variance of what tokens have in common would be
    lost. So a layer keeps its signs only if its first axis is as long as the batch, for two batch sizes.

    Args:
        module: A converted network.
        fetch: Gives the inputs of a batch; asked for the first image, two and three times.

    Example:
        >>> from detectors.bayesian.convert import convert
        >>> from detectors.bayesian.moped import MopedSettings
        >>> tokens = nn.Flatten(0, 1)  # of two positions each, beside the examples on the first axis
        >>> network = convert(nn.Sequential(nn.Linear(3, 3), tokens, nn.Linear(3, 3)), MopedSettings()).module
        >>> mark_batch_axes(network, lambda index: [torch.zeros(len(index), 2, 3)])
        >>> [layer.per_example for _, layer in flipout_layers(network)]
        [True, False]

    References:
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient pseudo-independent weight perturbations on
        mini-batches, https://arxiv.org/abs/1803.04386, section 3.
    """
    layers = [layer for _, layer in flipout_layers(module)]
    stochastic = [layer.stochastic for layer in layers]
    for layer in layers:
        layer.per_example, layer.stochastic = True, False
    size = 0

    def see(layer: nn.Module, given: tuple[Any, ...]) -> None:
        assert isinstance(layer, FlipoutLayer)
        layer.per_example = layer.per_example and len(given[0]) == size

    handles = [layer.register_forward_pre_hook(see) for layer in layers]
    try:
        for size in (2, 3):
            module(*fetch(torch.zeros(size, dtype=torch.long)))
    finally:
        for handle in handles:
            handle.remove()
        for layer, mode in zip(layers, stochastic, strict=True):
            layer.stochastic = mode
