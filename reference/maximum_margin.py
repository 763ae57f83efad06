"""MM-BD: how far a network's margin for each class can be raised, from noise, without any image.

After Wang, Xiang, Miller and Kesidis (2024), MM-BD, IEEE S&P, https://arxiv.org/abs/2205.06900, written anew. Unlike
its authors' program, it is seeded, the margin is that of the images after the last step, and it begins with 10 images a
class instead of 30.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

STARTS: Final = 10
STEPS: Final = 300
RATE: Final = 0.01


def maximum_margins(
    network: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int, int], num_classes: int, seed: int
) -> NDArray[np.float64]:
    """The largest margin ``(K,)`` of each class over images between 0 and 1.

    Args:
        network: From images ``(N, C, H, W)`` between 0 and 1 to logits.
        shape: Channels, height and width.
        num_classes: Number of classes.
        seed: Of the images that the search begins with.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(num_classes * STARTS, *shape, generator=generator).requires_grad_()
    classes = torch.arange(num_classes).repeat_interleave(STARTS)
    own = torch.nn.functional.one_hot(classes, num_classes).bool()

    def margins() -> torch.Tensor:
        logits = network(images)
        return logits[own] - logits.masked_fill(own, -torch.inf).amax(1)

    for _ in range(STEPS):
        (gradient,) = torch.autograd.grad(margins().sum(), images)
        with torch.no_grad():
            images.add_(RATE * gradient).clamp_(0, 1)
    with torch.no_grad():
        found: NDArray[np.float64] = margins().reshape(num_classes, STARTS).amax(1).double().numpy()
    return found


def margin_p_value(margins: NDArray[np.float64]) -> float:
    """Their p-value: the largest of all margins against a gamma distribution that is fitted to the others.

    Args:
        margins: ``(K,)``, of three classes or more.
    """
    others = np.delete(margins, margins.argmax())
    positive = np.maximum(others, 1e-9)
    shape, _, scale = stats.gamma.fit(positive, floc=0)
    below = stats.gamma.cdf(margins.max(), shape, scale=scale)
    return float(1.0 - below ** len(margins))
