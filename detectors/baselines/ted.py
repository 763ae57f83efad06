"""TED and TED++: at which depth does an image come close to clean images of its predicted class?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK = 128


@dataclass(frozen=True)
class Ted:
    """Clean activations, and what their own ranks look like.

    Attributes:
        bank: For each layer ``(M, D_l)`` float32 activations of clean, correctly classified images.
        labels: ``(M,)`` int64 their classes.
        mean: ``(L,)`` mean of the clean images' own rank vectors.
        scale: ``(L,)`` their standard deviations; 1 where they do not vary.
        inverse: ``(L, L)`` pseudo-inverse of the correlations.
        radii: For each layer ``(M,)`` how far from each image its class reaches, squared; infinite without TED++.

    Example:
        >>> layer = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.3]], np.float32)
        >>> fitted = fit_ted([layer], np.array([0, 0, 0, 1, 1, 1]))
        >>> fitted.ranks([np.array([[0.0], [9.0]], np.float32)], np.array([0, 0])).tolist()
        [[0.0], [3.0]]

    References:
        Mo, Zhang, Zhang, Luo, Sun, Hu, Chen, Dong, Zhu and Wang (2024), Robust backdoor detection for deep learning via
        topological evolution dynamics, https://arxiv.org/abs/2312.02673.
    """

    bank: tuple[NDArray[np.float32], ...]
    labels: NDArray[np.int64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    inverse: NDArray[np.float64]
    radii: tuple[NDArray[np.float32], ...]

    def ranks(self, layers: Sequence[NDArray[np.float32]], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many clean images are nearer than the nearest of the predicted class, ``(N, L)``.

        Args:
            layers: For each layer ``(N, D_l)``.
            predicted: ``(N,)`` predicted classes.
        """
        bank = _Bank(self.bank, self.labels, self.radii)
        return _ranks(layers, predicted, bank, leave_out=False)

    def score(self, layers: Sequence[NDArray[np.float32]], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """How unusual the ranks are ``(N,)``: squared principal components over their variances, summed."""
        z = (self.ranks(layers, predicted) - self.mean) / self.scale
        return np.asarray(np.einsum("nl,lk,nk->n", z, self.inverse, z), np.float64)


def fit_ted(layers: Sequence[NDArray[np.float32]], labels: NDArray[np.int64], neighbours: float | None = None) -> Ted:
    """Keep clean activations, and rank each image among the others.

    The outlier score of the ranks is that of a principal component classifier with all components (Shyu et al. 2003).

    Args:
        layers: For each layer ``(M, D_l)`` of correctly classified clean images.
        labels: ``(M,)`` their classes.
        neighbours: None for TED. For TED++ a share of the images of a class, 0.5 in its paper: an input that is farther
            from its nearest image of the predicted class than that image from this share of its own class lies outside
            the class's tube, and gets the rank ``M - 1``.

    Raises:
        ValueError: Without a layer, or with fewer than two images.

    Example:
        >>> layer = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.3]], np.float32)
        >>> fit_ted([layer], np.array([0, 0, 0, 1, 1, 1])).mean
        array([0.])

    References:
        Mo, Zhang, Zhang, Luo, Sun, Hu, Chen, Dong, Zhu and Wang (2024), Robust backdoor detection for deep learning via
        topological evolution dynamics, https://arxiv.org/abs/2312.02673.
        Shyu, Chen, Sarinnapakorn and Chang (2003), A novel anomaly detection scheme based on principal component
        classifier, IEEE Foundations and New Directions of Data Mining Workshop.
        Le, Liao, Zhang, Pan and Luo (2025), TED++: submanifold-aware backdoor detection via layerwise
        tubular-neighbourhood screening, https://arxiv.org/abs/2510.14299.
    """
    if not layers or len(labels) < 2 or any(len(layer) != len(labels) for layer in layers):
        raise ValueError(f"a layer and at least two images are needed, got {len(layers)} and {len(labels)}")
    radii = tuple(_radii(layer, labels, neighbours) for layer in layers)
    own = _ranks(layers, labels, _Bank(tuple(layers), labels, radii), leave_out=True)
    scale = own.std(0)
    scale[scale == 0] = 1.0
    z = (own - own.mean(0)) / scale
    return Ted(tuple(layers), labels, own.mean(0), scale, np.linalg.pinv(z.T @ z / len(z)), radii)


@dataclass(frozen=True)
class _Bank:
    """Clean activations, their classes, and how far these reach."""

    layers: tuple[NDArray[np.float32], ...]
    labels: NDArray[np.int64]
    radii: tuple[NDArray[np.float32], ...]


def _radii(layer: NDArray[np.float32], labels: NDArray[np.int64], neighbours: float | None) -> NDArray[np.float32]:
    """Squared distance of each image to the farthest of the nearest ones of its class."""
    radii = np.full(len(labels), np.inf, np.float32)
    if neighbours is None:
        return radii
    for label in np.unique(labels):
        own = layer[labels == label]
        distances = np.sort(_squares(own, own), axis=1)[:, 1:]  # without the image itself
        count = max(1, int(np.ceil(neighbours * len(own))))
        if distances.shape[1]:
            radii[labels == label] = distances[:, min(count, distances.shape[1]) - 1]
    return radii


def _squares(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distances ``(N, M)``."""
    both = np.einsum("nd,nd->n", rows, rows)[:, None] + np.einsum("md,md->m", others, others)
    return np.asarray(np.maximum(both - 2 * (rows @ others.T), 0), np.float32)


def _ranks(
    layers: Sequence[NDArray[np.float32]], predicted: NDArray[np.int64], bank: _Bank, leave_out: bool
) -> NDArray[np.float64]:
    """Rank in each layer; the size of the bank where no image in it has the class."""
    ranks, size = np.empty((len(predicted), len(layers))), len(bank.labels)
    for number, (rows, clean, radii) in enumerate(zip(layers, bank.layers, bank.radii, strict=True)):
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            distance = _squares(rows[part], clean)
            if leave_out:
                distance[np.arange(len(distance)), np.arange(start, start + len(distance))] = np.inf
            same = np.where(bank.labels == predicted[part, None], distance, np.inf)
            nearest = same.min(1)
            nearer = (distance < nearest[:, None]).sum(1)
            inside = np.where(nearest <= radii[same.argmin(1)], nearer, size - 1)
            ranks[part, number] = np.where(np.isfinite(nearest), inside, size)
    return ranks
