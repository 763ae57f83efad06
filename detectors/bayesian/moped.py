"""MOPED: prior and posterior of a weight from its maximum-likelihood value (Krishnan et al. 2019).

The prior is centred on the trained weight, and the posterior starts there, with a standard deviation
in proportion to the weight's magnitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

TINY = 1e-8


@dataclass(frozen=True)
class MopedSettings:
    """How wide priors and posteriors are.

    Attributes:
        delta: Initial posterior standard deviation as a fraction of ``|w|``.
        floor: Smallest standard deviation as a fraction of the layer's weight spread. Without it a
            weight of exactly zero would have a deviation of zero and an infinite divergence.
        prior_std: Standard deviation of the prior, the same for all weights; None makes it the
            initial deviation of each posterior, so that training starts at a divergence of zero.
    """

    delta: float = 0.1
    floor: float = 1e-3
    prior_std: float | None = None

    def __post_init__(self) -> None:
        widths = {"delta": self.delta, "floor": self.floor, "prior_std": self.prior_std}
        for name, width in widths.items():
            if width is not None and not 0 < width < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {width}")


@dataclass(frozen=True)
class WeightPosterior:
    """Mean-field Gaussian posterior and prior of one weight tensor; four tensors of one shape.

    The prior holds copies of its own: moving the posterior never moves the prior.

    Attributes:
        mean: Posterior means.
        std: Posterior standard deviations, positive.
        prior_mean: Prior means.
        prior_std: Prior standard deviations, positive.
    """

    mean: torch.Tensor
    std: torch.Tensor
    prior_mean: torch.Tensor
    prior_std: torch.Tensor


def moped(weight: torch.Tensor, settings: MopedSettings) -> WeightPosterior:
    """Posterior and prior of a trained weight tensor.

    Args:
        weight: Maximum-likelihood weights, any shape with at least one value.
        settings: Their widths.

    Raises:
        ValueError: There are no weights, or some are not finite.
    """
    if not weight.numel() or not bool(torch.isfinite(weight).all()):
        raise ValueError(f"needs finite weights, at least one, got shape {tuple(weight.shape)}")
    value = weight.detach()
    spread = value.std(correction=0).item()
    std = (settings.delta * value.abs()).clamp(min=max(settings.floor * spread, TINY))
    prior_std = std.clone() if settings.prior_std is None else torch.full_like(std, settings.prior_std)
    return WeightPosterior(value.clone(), std, value.clone(), prior_std)
