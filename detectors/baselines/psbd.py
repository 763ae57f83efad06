"""PSBD: does the prediction survive dropout within the network?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

PASSES = 3
SHIFT = 0.8
"""Share of clean predictions that dropout has to change."""
RATES = tuple(rate / 10 for rate in range(1, 10))


def prediction_shift(
    network: nn.Module, places: Sequence[nn.Module], images: torch.Tensor, rate: float, seed: int = 0
) -> tuple[NDArray[np.float64], float]:
    """How much of the predicted class's probability dropout leaves, and how often it changes the class.

    .. math:: \\frac1k \\sum_{i=1}^k P_i(\\hat y) - P(\\hat y)

    The negative of the paper's uncertainty: higher is more suspicious, for a backdoor's prediction stays. One forward
    pass and three with dropout.

    Args:
        network: In evaluation mode.
        places: Modules after whose output there is dropout: each residual block, in the paper.
        images: ``(N, ...)`` as the network takes them.
        rate: Of dropout, in (0, 1).
        seed: Of dropout.

    Returns:
        ``(N,)`` scores, and the share of changed classes over images and passes.

    Raises:
        ValueError: Without a place.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)).eval()
        >>> scores, shift = prediction_shift(network, [network[0]], torch.ones(3, 2), 0.5)
        >>> scores.shape, 0 <= shift <= 1
        ((3,), True)

    References:
        Li, Li, Wang, Xie, Zhao and Wang (2025), PSBD: prediction shift uncertainty unlocks backdoor detection,
        https://arxiv.org/abs/2406.05826.
    """
    if not places:
        raise ValueError("at least one place for dropout is needed")
    with torch.no_grad():
        certain = network(images).double().softmax(1)
        predicted = certain.argmax(1, keepdim=True)
        left, changed = torch.zeros(len(images), dtype=torch.float64), 0
        generator = torch.Generator(images.device).manual_seed(seed)
        with _dropout(places, rate, generator):
            for _ in range(PASSES):
                probabilities = network(images).double().softmax(1)
                left += probabilities.gather(1, predicted)[:, 0].cpu()
                changed += int((probabilities.argmax(1, keepdim=True) != predicted).sum())
    scores = left / PASSES - certain.gather(1, predicted)[:, 0].cpu()
    return np.asarray(scores.numpy(), np.float64), changed / (PASSES * len(images))


def choose_rate(network: nn.Module, places: Sequence[nn.Module], clean: torch.Tensor, seed: int = 0) -> float:
    """The smallest rate in steps of 0.1 at which dropout changes at least 80% of clean predictions, 0.9 if none does.

    The paper chooses among such rates by a suspicious training set, which somebody who only has inputs does not have.

    Args:
        network: In evaluation mode.
        places: As in :func:`prediction_shift`.
        clean: Clean images as the network takes them.
        seed: Of dropout.

    Raises:
        ValueError: Without a place.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)).eval()
        >>> 0.1 <= choose_rate(network, [network[0]], torch.ones(8, 2)) <= 0.9
        True

    References:
        Li, Li, Wang, Xie, Zhao and Wang (2025), PSBD: prediction shift uncertainty unlocks backdoor detection,
        https://arxiv.org/abs/2406.05826.
    """
    for rate in RATES:
        if prediction_shift(network, places, clean, rate, seed)[1] >= SHIFT:
            return rate
    return RATES[-1]


@contextmanager
def _dropout(places: Sequence[nn.Module], rate: float, generator: torch.Generator) -> Iterator[None]:
    def drop(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        del module, inputs
        kept = torch.rand(output.shape, generator=generator, device=output.device) >= rate
        return output * kept / (1 - rate)

    handles = [place.register_forward_hook(drop) for place in places]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
