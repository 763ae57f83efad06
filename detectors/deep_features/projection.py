"""Principal component analysis at a retained share of variance (Ahuja et al. 2019: 0.995)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RETAINED_VARIANCE = 0.995


@dataclass(frozen=True)
class Projection:
    """An orthogonal projection onto the leading principal components.

    Attributes:
        mean: ``(D,)`` float64.
        components: ``(D, k)`` float64 with orthonormal columns, leading component first.
        variances: ``(k,)`` float64, variance along each component.
        total_variance: Variance along all ``D`` components together.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    variances: NDArray[np.float64]
    total_variance: float

    @property
    def dim(self) -> int:
        """Number of components ``k``."""
        return int(self.components.shape[1])

    def transform(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates ``(N, k)`` of features ``(N, D)``."""
        return (features - self.mean) @ self.components

    def reconstruction_error(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared distance ``(N,)`` between features and their reconstruction (Ndiour et al. 2022, FRE)."""
        centred = features - self.mean
        residual = centred - (centred @ self.components) @ self.components.T
        error: NDArray[np.float64] = np.einsum("nd,nd->n", residual, residual)
        return error


def fit_projection(
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    count: int,
    retained: float = RETAINED_VARIANCE,
    components: int | None = None,
) -> Projection:
    """Keep the fewest leading components whose share of variance reaches ``retained``, inclusively.

    At least one component is kept, and at most ``count - 1``: with fewer images than dimensions the
    remaining eigenvalues are zero up to rounding, and dividing by them later would score noise.

    Args:
        mean: ``(D,)``.
        covariance: ``(D, D)``, symmetric.
        count: Number of images behind the covariance.
        retained: Share of variance to keep, in (0, 1].
        components: Keep this many instead, as far as ``count`` allows.
    """
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = np.maximum(variances[::-1], 0.0), vectors[:, ::-1]
    share = np.cumsum(variances) / max(variances.sum(), np.finfo(np.float64).tiny)
    rank = int(np.count_nonzero(variances > variances[0] * len(variances) * np.finfo(np.float64).eps))
    needed = int(np.searchsorted(share, retained)) + 1 if components is None else components
    kept = max(1, min(needed, rank, count - 1))
    # A fixed sign makes refits comparable and files reproducible across LAPACK builds.
    leading = vectors[:, :kept]
    signs = np.sign(leading[np.abs(leading).argmax(0), np.arange(kept)])
    return Projection(mean, np.ascontiguousarray(leading * signs), variances[:kept].copy(), float(variances.sum()))
