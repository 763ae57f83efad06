"""The fitted densities as a module that is merged onto the network's graph.

In float64 and eager mode it equals :func:`detectors.deep_features.scores.score_features`; its
float32 export is what a scan runs. Nothing is rewritten by hand in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detectors.deep_features.scores import DescriptorDensity, ScoreKind

# Stands for log 0 where -inf would turn into NaN: far below any log-likelihood of finite features.
LOG_ZERO = -1e30


class DescriptorHead(nn.Module):
    """Scores of one descriptor.

    Args:
        fitted: Density and projection, float64.
        kinds: Scores to compute, in this order.
        location: Median of the standardised class score (see :class:`ScoringHead`).
        scale: Robust scale of it.
    """

    mean: torch.Tensor
    components: torch.Tensor
    whiteners: torch.Tensor
    centres: torch.Tensor
    log_scales: torch.Tensor

    def __init__(self, fitted: DescriptorDensity, kinds: Sequence[ScoreKind], location: float, scale: float) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.location, self.scale, self.supremum = location, scale, fitted.density.supremum
        density = fitted.density
        self.num_classes, self.num_components, dim = density.means.shape
        self.tied = density.whiteners.shape[0] == 1
        flat_means = density.means.reshape(-1, dim)
        flat_whiteners = density.whiteners.reshape(-1, dim, dim)
        centres = flat_means @ flat_whiteners[0] if self.tied else np.einsum("pk,pkj->pj", flat_means, flat_whiteners)
        self.register_buffer("mean", torch.from_numpy(fitted.projection.mean))
        self.register_buffer("components", torch.from_numpy(fitted.projection.components))
        self.register_buffer("whiteners", torch.from_numpy(np.concatenate(list(flat_whiteners), axis=1)))
        self.register_buffer("centres", torch.from_numpy(np.ascontiguousarray(centres)))
        self.register_buffer("log_scales", torch.from_numpy(np.maximum(density.log_scales, LOG_ZERO)))

    def log_likelihood(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Class log-likelihoods ``(N, C)`` in nats of coordinates ``(N, k)``."""
        white = coordinates @ self.whiteners
        if self.tied:
            # Expanding the square costs one product instead of N x C x k differences. Features are
            # centred by the projection, so the terms that cancel are of the size of the result.
            squared = (
                (white * white).sum(1, keepdim=True)
                - 2.0 * (white @ self.centres.T)
                + (self.centres * self.centres).sum(1)
            )
        else:
            difference = white.reshape(-1, *self.centres.shape) - self.centres
            squared = (difference * difference).sum(2)
        exponents = self.log_scales.flatten() - 0.5 * squared
        if self.num_components == 1:
            return exponents
        return torch.logsumexp(exponents.reshape(-1, self.num_classes, self.num_components), dim=2)

    def forward(self, features: torch.Tensor, predicted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map features ``(N, D)`` and predicted classes ``(N, 1)`` to scores and class scores.

        Returns:
            Scores ``(N, len(kinds))`` and standardised log deviance under every class ``(N, C)``.
        """
        centred = features - self.mean
        coordinates = centred @ self.components
        log_likelihood = self.log_likelihood(coordinates)
        best = log_likelihood.amax(1, keepdim=True)
        own = log_likelihood.gather(1, predicted)
        own = torch.where(own > 0.1 * LOG_ZERO, own, best)
        columns: dict[ScoreKind, torch.Tensor] = {}
        for kind in self.kinds:
            if kind == "likelihood":
                columns[kind] = -own
            elif kind == "max-likelihood":
                columns[kind] = -best
            elif kind == "reconstruction":
                residual = centred - coordinates @ self.components.T
                columns[kind] = (residual * residual).sum(1, keepdim=True)
            else:
                others = log_likelihood.scatter(1, predicted, LOG_ZERO)
                other = others.amax(1, keepdim=True)
                columns[kind] = torch.where(other > 0.1 * LOG_ZERO, other, own) - own
        deviance = (self.supremum - log_likelihood).clamp(min=1e-12)
        class_scores = (deviance.log() - self.location) / self.scale
        return torch.cat([columns[kind] for kind in self.kinds], dim=1), class_scores


class ScoringHead(nn.Module):
    """All descriptors' scores, and how far the input is from every class.

    Args:
        heads: One head per descriptor.
    """

    def __init__(self, heads: Sequence[DescriptorHead]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.num_classes = heads[0].num_classes

    def forward(self, features: list[torch.Tensor], logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map descriptor features and logits ``(N, C)`` to scores and class evidence.

        Returns:
            ``scores`` ``(N, S)``: every head's scores, concatenated in order. ``class_evidence``
            ``(N, C)``: the standardised log deviance under each class, averaged over descriptors;
            lower means that the input looks more like that class.
        """
        predicted = logits.argmax(1, keepdim=True)
        scores, evidence = [], []
        for head, feature in zip(self.heads, features, strict=True):
            score, class_score = head(feature, predicted)
            scores.append(score)
            evidence.append(class_score)
        return torch.cat(scores, dim=1), torch.stack(evidence).mean(0)


def evaluate(
    head: ScoringHead, features: Sequence[NDArray[np.float64]], logits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Run a head in float64 and eager mode: the reference for its float32 export."""
    with torch.no_grad():
        scores, evidence = head.double()([torch.from_numpy(f) for f in features], torch.from_numpy(logits))
    return scores.numpy(), evidence.numpy()
