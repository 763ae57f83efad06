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

    Raises:
        ValueError: One of them is not positive and finite.

    Example:
        >>> MopedSettings(delta=0.2).prior_std is None
        True

    References:
        Krishnan, Subedar and Tickoo (2019), MOPED: Efficient priors for scalable variational inference in Bayesian
        deep neural networks, https://arxiv.org/abs/1906.05323.
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

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> one = torch.ones(2)
        >>> WeightPosterior(mean=one, std=0.1 * one, prior_mean=one, prior_std=one).mean.shape
        torch.Size([2])

    References:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight uncertainty in neural networks,
        https://arxiv.org/abs/1505.05424, section 3.2.
    """

    mean: torch.Tensor
    std: torch.Tensor
    prior_mean: torch.Tensor
    prior_std: torch.Tensor

    def __post_init__(self) -> None:
        """Refuse tensors of several shapes."""
        shapes = [tuple(part.shape) for part in (self.mean, self.std, self.prior_mean, self.prior_std)]
        if len(set(shapes)) > 1:
            raise ValueError(f"means and deviations must have one shape, got {shapes}")


def moped(weight: torch.Tensor, settings: MopedSettings) -> WeightPosterior:
    """Posterior and prior of a trained weight tensor.

    .. math:: p(w) = N(w_0, s^2), q(w) = N(w_0, \\sigma^2), \\sigma = \\max(\\delta |w_0|,\\ f\\,\\mathrm{std}\\,w_0)

    for trained weights ``w_0``, the prior's deviation ``s`` and the floor ``f``, which is this project's own.

    Args:
        weight: Maximum-likelihood weights, any shape with at least one value.
        settings: Their widths.

    Raises:
        ValueError: There are no weights, or some are not finite.

    Example:
        >>> moped(torch.tensor([1.0, -2.0]), MopedSettings(delta=0.1)).std
        tensor([0.1000, 0.2000])

    References:
        Krishnan, Subedar and Tickoo (2019), MOPED: Efficient priors for scalable variational inference in Bayesian
        deep neural networks, https://arxiv.org/abs/1906.05323.
    """
    if not weight.numel() or not bool(torch.isfinite(weight).all()):
        raise ValueError(f"needs finite weights, at least one, got shape {tuple(weight.shape)}")
    value = weight.detach()
    spread = value.std(correction=0).item()
    std = (settings.delta * value.abs()).clamp(min=max(settings.floor * spread, TINY))
    prior_std = std.clone() if settings.prior_std is None else torch.full_like(std, settings.prior_std)
    return WeightPosterior(value.clone(), std, value.clone(), prior_std)
