"""The attacker who knows the detector: train so that triggered images have the features of clean ones of their label.

All blocks of the network are matched, with both of the default detector's poolings, the mean and the maximum over
positions: means and standard deviations of each channel. Source of the idea: Tan and Shokri 2020, "Bypassing backdoor
detection algorithms in deep learning", https://arxiv.org/abs/1905.13409, who match one layer by an adversary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

_LEAST = 2
"""Images of a kind below which a batch says nothing about its spread."""
_FLOOR = 1e-3


def pooled(maps: torch.Tensor) -> torch.Tensor:
    """Mean and maximum over positions, ``(N, 2 C)``, of maps ``(N, C, H, W)`` or tokens ``(N, T, C)``."""
    if maps.ndim == 2:
        return maps
    positions = maps.flatten(2) if maps.ndim == 4 else maps.transpose(1, 2)
    return torch.cat((positions.mean(2), positions.amax(2)), 1)


def moment_distance(triggered: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of the channels' means and standard deviations, relative to the clean deviations.

    Args:
        triggered: ``(N, D)``.
        clean: ``(M, D)``.
    """
    # A channel without variation has a standard deviation, but no gradient of it.
    spread, own = ((part.var(0) + _FLOOR**2).sqrt() for part in (triggered, clean))
    # Nor may one that hardly varies outweigh all others: the layer's mean deviation is added to each.
    scale = own.detach() + own.detach().mean()
    means = (triggered.mean(0) - clean.mean(0)) / scale
    return (means**2 + ((spread - own) / scale) ** 2).mean()


class FeatureMatch:
    """Collects a network's activations in training, and turns them into a loss.

    Args:
        places: Modules whose outputs are matched.
    """

    def __init__(self, places: Sequence[nn.Module]) -> None:
        self._places = places
        self._seen: list[torch.Tensor] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it, the outputs of the places are kept."""
        self._seen = []

        def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            del module, inputs
            self._seen.append(pooled(output).float())

        handles = [place.register_forward_hook(keep) for place in self._places]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def loss(self, labels: torch.Tensor, triggered: torch.Tensor) -> torch.Tensor:
        """Mean distance over places and labels of the triggered images from the clean ones of the same label.

        Args:
            labels: ``(N,)`` of the batch that was watched, the attack's where there is a trigger.
            triggered: ``(N,)`` bool.
        """
        distances = [
            moment_distance(features[triggered & (labels == label)], features[~triggered & (labels == label)])
            for label in sorted(set(labels[triggered].tolist()))
            if min(int((triggered & (labels == label)).sum()), int((~triggered & (labels == label)).sum())) >= _LEAST
            for features in self._seen
        ]
        return torch.stack(distances).mean() if distances else torch.zeros(())
