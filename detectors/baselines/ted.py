"""TED: at which depth does an image come close to clean images of its predicted class?"""

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

    def ranks(self, layers: Sequence[NDArray[np.float32]], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many clean images are nearer than the nearest of the predicted class, ``(N, L)``.

        Args:
            layers: For each layer ``(N, D_l)``.
            predicted: ``(N,)`` predicted classes.
        """
        return _ranks(layers, predicted, self.bank, self.labels, leave_out=False)

    def score(self, layers: Sequence[NDArray[np.float32]], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """How unusual the ranks are ``(N,)``: squared principal components over their variances, summed."""
        z = (self.ranks(layers, predicted) - self.mean) / self.scale
        return np.asarray(np.einsum("nl,lk,nk->n", z, self.inverse, z), np.float64)


def fit_ted(layers: Sequence[NDArray[np.float32]], labels: NDArray[np.int64]) -> Ted:
    """Keep clean activations, and rank each image among the others.

    The outlier score of the ranks is that of a principal component classifier with all components (Shyu et al. 2003).

    Args:
        layers: For each layer ``(M, D_l)`` of correctly classified clean images.
        labels: ``(M,)`` their classes.

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
    """
    if not layers or len(labels) < 2 or any(len(layer) != len(labels) for layer in layers):
        raise ValueError(f"a layer and at least two images are needed, got {len(layers)} and {len(labels)}")
    own = _ranks(layers, labels, layers, labels, leave_out=True)
    scale = own.std(0)
    scale[scale == 0] = 1.0
    z = (own - own.mean(0)) / scale
    return Ted(tuple(layers), labels, own.mean(0), scale, np.linalg.pinv(z.T @ z / len(z)))


def _ranks(
    layers: Sequence[NDArray[np.float32]],
    predicted: NDArray[np.int64],
    bank: Sequence[NDArray[np.float32]],
    labels: NDArray[np.int64],
    leave_out: bool,
) -> NDArray[np.float64]:
    """Rank in each layer; the size of the bank where no image in it has the class."""
    ranks = np.empty((len(predicted), len(layers)))
    for number, (rows, clean) in enumerate(zip(layers, bank, strict=True)):
        squares = np.einsum("md,md->m", clean, clean)
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            # Without the image's own square: the order is the same.
            distance = squares - 2 * (rows[part] @ clean.T)
            if leave_out:
                distance[np.arange(len(distance)), np.arange(start, start + len(distance))] = np.inf
            same = labels == predicted[part, None]
            nearest = np.where(same, distance, np.inf).min(1, keepdims=True)
            nearer = (distance < nearest).sum(1)
            ranks[part, number] = np.where(np.isfinite(nearest[:, 0]), nearer, len(labels))
    return ranks
