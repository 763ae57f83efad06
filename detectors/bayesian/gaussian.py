"""Diagonal Gaussians over weights: the softplus parametrisation and the Kullback-Leibler divergence."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def softplus(rho: torch.Tensor) -> torch.Tensor:
    """Standard deviation of an unconstrained parameter, exact at both ends.

    .. math:: \\sigma = \\log(1 + e^\\rho)

    Raises:
        ValueError: The parameter is of an integer type.

    Example:
        >>> softplus(torch.tensor([-20.0, 0.0, 100.0]))
        tensor([2.0612e-09, 6.9315e-01, 1.0000e+02])

    References:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight uncertainty in neural networks,
        https://arxiv.org/abs/1505.05424, section 3.2.
    """
    if not rho.is_floating_point():
        raise ValueError(f"a parameter of a floating-point type is needed, got {rho.dtype}")
    return F.softplus(rho, threshold=30.0)


def inverse_softplus(std: torch.Tensor) -> torch.Tensor:
    """The ``rho`` whose softplus is ``std``.

    .. math:: \\rho = \\sigma + \\log(1 - e^{-\\sigma})

    Written so, it neither overflows for large values nor cancels for small ones,
    as ``log(exp(s) - 1)`` does.

    Args:
        std: Positive values.

    Raises:
        ValueError: Some are not.

    Example:
        >>> softplus(inverse_softplus(torch.tensor([0.001, 100.0])))
        tensor([1.0000e-03, 1.0000e+02])

    References:
        Mächler (2012), Accurately computing log(1 - exp(-|a|)), vignette of the R package Rmpfr.
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

    Example:
        >>> one = torch.ones(3)
        >>> kl_divergence(2 * one, one, one, one)
        tensor(1.5000)

    References:
        Bishop (2006), Pattern recognition and machine learning, exercise 2.13.
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight uncertainty in neural networks,
        https://arxiv.org/abs/1505.05424, section 3, for its place in the objective.
    """
    shapes = [tuple(part.shape) for part in (mean, std, prior_mean, prior_std)]
    if len(set(shapes)) > 1:
        raise ValueError(f"means and deviations must have one shape, got {shapes}")
    variance_ratio = (std / prior_std) ** 2
    distance = ((mean - prior_mean) / prior_std) ** 2
    return 0.5 * (variance_ratio + distance - 1.0 - variance_ratio.log()).sum()
