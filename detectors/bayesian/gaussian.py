"""Diagonal Gaussians over weights: the softplus parametrisation and the Kullback-Leibler divergence."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def softplus(rho: torch.Tensor) -> torch.Tensor:
    """Standard deviation of an unconstrained parameter, ``log(1 + exp(rho))``, exact at both ends."""
    return F.softplus(rho, threshold=30.0)


def inverse_softplus(std: torch.Tensor) -> torch.Tensor:
    """The ``rho`` whose softplus is ``std``.

    Written as ``s + log(1 - exp(-s))``, which neither overflows for large values nor cancels for small ones,
    as ``log(exp(s) - 1)`` does.

    Args:
        std: Positive values.

    Raises:
        ValueError: Some are not.
    """
    if not bool((std > 0).all()):
        raise ValueError(f"standard deviations must be positive, got {float(std.min()):g} at least")
    return std + torch.log(-torch.expm1(-std))


def kl_divergence(
    mean: torch.Tensor, std: torch.Tensor, prior_mean: torch.Tensor, prior_std: torch.Tensor
) -> torch.Tensor:
    """KL divergence of a diagonal Gaussian posterior from a diagonal Gaussian prior, summed, in nats.

    .. math:: \\sum_i \\log\\frac{s_i}{\\sigma_i} + \\frac{\\sigma_i^2 + (\\mu_i - m_i)^2}{2 s_i^2} - \\frac12

    Summed and not averaged over weights: the evidence lower bound is a sum over weights and images.

    Args:
        mean: Posterior means, any shape.
        std: Posterior standard deviations, of the same shape.
        prior_mean: Prior means, of the same shape.
        prior_std: Prior standard deviations, of the same shape.

    Raises:
        ValueError: The shapes differ.
    """
    shapes = [tuple(part.shape) for part in (mean, std, prior_mean, prior_std)]
    if len(set(shapes)) > 1:
        raise ValueError(f"means and deviations must have one shape, got {shapes}")
    variance_ratio = (std / prior_std) ** 2
    distance = ((mean - prior_mean) / prior_std) ** 2
    return 0.5 * (variance_ratio + distance - 1.0 - variance_ratio.log()).sum()
