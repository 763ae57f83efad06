"""IBD-PSC: does the prediction survive larger batch normalisations?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

FACTOR, ERROR, AMPLIFIED = 1.5, 0.6, 5
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def first_depth(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """How many of the last normalisations to amplify at least: the fewest with a clean error above 0.6.

    Where no number of them goes that far, which the paper leaves open, it is so many that five deeper ones are left.

    Args:
        network: In evaluation mode, with batch normalisations.
        images: Clean images as it takes them.
        labels: ``(N,)`` int64.

    Raises:
        ValueError: If there are fewer than five batch normalisations.

    Example:
        >>> layers = [layer for _ in range(5) for layer in (nn.Linear(2, 2), nn.BatchNorm1d(2))]
        >>> network = nn.Sequential(*layers).eval()
        >>> first_depth(network, torch.zeros(4, 2), network(torch.zeros(4, 2)).argmax(1))
        1

    References:
        Hou, Feng, Hua, Luo, Zhang and Li (2024), IBD-PSC: input-level backdoor detection via parameter-oriented
        scaling consistency, https://arxiv.org/abs/2405.09786, algorithm 1.
    """
    norms = _normalisations(network)
    for depth in range(1, len(norms) + 1):
        with amplified(norms[-depth:]), torch.no_grad():
            error = float((network(images).argmax(1) != labels).float().mean())
        if error > ERROR:
            return min(depth, len(norms) - AMPLIFIED + 1)
    return len(norms) - AMPLIFIED + 1


def parameter_scaling_consistency(network: nn.Module, images: torch.Tensor, depth: int) -> NDArray[np.float64]:
    """Mean probability ``(N,)`` of the predicted class in five amplified networks; higher is more suspicious.

    .. math:: \\frac1n \\sum_{i=k}^{k+n-1} \\mathrm{softmax}\\, F_i(x)_{\\arg\\max F(x)}

    ``F_i`` has scale and shift of its last ``i`` batch normalisations multiplied by 1.5, as in the paper's equation 4.
    Six forward passes an image.

    Args:
        network: In evaluation mode, with batch normalisations.
        images: As it takes them.
        depth: ``k``, of :func:`first_depth`.

    Raises:
        ValueError: If there are fewer than ``depth + 4`` batch normalisations.

    Example:
        >>> layers = [layer for _ in range(5) for layer in (nn.Linear(2, 2), nn.BatchNorm1d(2))]
        >>> parameter_scaling_consistency(nn.Sequential(*layers).eval(), torch.zeros(3, 2), 1).shape
        (3,)

    References:
        Hou, Feng, Hua, Luo, Zhang and Li (2024), IBD-PSC: input-level backdoor detection via parameter-oriented
        scaling consistency, https://arxiv.org/abs/2405.09786.
    """
    norms = _normalisations(network)
    if depth + AMPLIFIED - 1 > len(norms):
        raise ValueError(f"{depth + AMPLIFIED - 1} batch normalisations are needed, got {len(norms)}")
    total = torch.zeros(len(images), dtype=torch.float64)
    with torch.no_grad():
        predicted = network(images).argmax(1, keepdim=True)
        for count in range(depth, depth + AMPLIFIED):
            with amplified(norms[-count:]):
                total += network(images).double().softmax(1).gather(1, predicted)[:, 0]
    return np.asarray((total / AMPLIFIED).numpy(), np.float64)


@contextmanager
def amplified(norms: Sequence[nn.Module], factor: float = FACTOR) -> Iterator[None]:
    """Within it, scale and shift of some normalisations are larger; after it, they are what they were, to the bit.

    Example:
        >>> norm = nn.BatchNorm2d(1)
        >>> with amplified([norm]):
        ...     inside = norm.weight.item()
        >>> inside, norm.weight.item()
        (1.5, 1.0)

    References:
        Hou, Feng, Hua, Luo, Zhang and Li (2024), IBD-PSC: input-level backdoor detection via parameter-oriented
        scaling consistency, https://arxiv.org/abs/2405.09786.
    """
    parameters = [one for norm in norms for one in norm.parameters(recurse=False)]
    before = [one.detach().clone() for one in parameters]
    try:
        with torch.no_grad():
            for one in parameters:
                one.mul_(factor)
        yield
    finally:
        with torch.no_grad():
            for one, value in zip(parameters, before, strict=True):
                one.copy_(value)


def _normalisations(network: nn.Module) -> list[nn.Module]:
    """In the order in which the network names its layers."""
    norms: list[nn.Module] = [layer for layer in network.modules() if isinstance(layer, _BATCH_NORMS)]
    if len(norms) < AMPLIFIED:
        raise ValueError(f"at least {AMPLIFIED} batch normalisations are needed, got {len(norms)}")
    return norms
