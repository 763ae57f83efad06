"""Principal component analysis at a retained share of variance (Ahuja et al. 2019: 0.995)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

RETAINED_VARIANCE = 0.995
PYTHAGORAS = 1e-3


@dataclass(frozen=True)
class Projection:
    """An orthogonal projection onto the leading principal components.

    Attributes:
        mean: ``(D,)`` float64.
        components: ``(D, k)`` float64 with orthonormal columns that float32 holds exactly.
        variances: ``(k,)`` float64, variance along each component, the largest first.
        total_variance: Variance along all ``D`` components together.

    Raises:
        ValueError: If shapes differ, or there is no component.

    Example:
        >>> projection = Projection(np.zeros(2), np.array([[1.0], [0.0]]), np.array([4.0]), 5.0)
        >>> projection.transform(np.array([[3.0, 2.0]])), projection.reconstruction_error(np.array([[3.0, 2.0]]))
        (array([[3.]]), array([4.]))

    References:
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
        Ndiour, Ahuja and Tickoo (2022), Subspace modeling for fast out-of-distribution and anomaly detection,
        https://arxiv.org/abs/2203.10422, for the reconstruction error.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    variances: NDArray[np.float64]
    total_variance: float

    def __post_init__(self) -> None:
        """Refuse parts of different dimensions."""
        shapes = self.mean.shape, self.components.shape, self.variances.shape
        if self.components.ndim != 2 or 0 in shapes[1] or shapes[::2] != (shapes[1][:1], shapes[1][1:]):
            raise ValueError(f"mean (D,), components (D, k) and variances (k,) are needed, got {shapes}")

    @property
    def dim(self) -> int:
        """Number of components ``k``."""
        return int(self.components.shape[1])

    @property
    def leaves_enough(self) -> bool:
        """Whether errors of reconstruction are large enough for Pythagoras.

        Rounded components are orthonormal to about 1e-7, which is nothing against a thousandth of the variance.
        """
        return bool(self.total_variance - self.variances.sum() > PYTHAGORAS * self.total_variance)

    def transform(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates ``(N, k)`` of features ``(N, D)``.

        .. math:: z = V^T (x - \\bar x)

        Raises:
            ValueError: If the features are of another dimension.
        """
        self._require_dimension(features)
        return (features - self.mean) @ self.components

    def reconstruction_error(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared distance ``(N,)`` between features and their reconstruction (Ndiour et al. 2022, FRE).

        .. math:: \\|(x - \\bar x) - V V^T (x - \\bar x)\\|^2

        Where it :attr:`leaves_enough`, as the difference of squared lengths before and after: half the work.

        Raises:
            ValueError: If the features are of another dimension.
        """
        self._require_dimension(features)
        centred = features - self.mean
        coordinates = centred @ self.components
        if self.leaves_enough:
            lengths = np.einsum("nd,nd->n", centred, centred) - np.einsum("nk,nk->n", coordinates, coordinates)
            return np.asarray(lengths, np.float64)
        residual = centred - coordinates @ self.components.T
        error: NDArray[np.float64] = np.einsum("nd,nd->n", residual, residual)
        return error

    def _require_dimension(self, features: NDArray[np.float64]) -> None:
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features (N, {len(self.mean)}) are needed, got {features.shape}")

    def leading(self, number: int) -> Projection:
        """The projection onto the first components alone.

        Raises:
            ValueError: If there are not as many, or none is left.
        """
        if not 1 <= number <= self.dim:
            raise ValueError(f"1 to {self.dim} components are needed, got {number}")
        return replace(
            self,
            components=np.ascontiguousarray(self.components[:, :number]),
            variances=self.variances[:number],
        )

    def rotated(self, rotation: NDArray[np.float64]) -> Projection:
        """The projection onto the same space with its axes turned by an orthogonal ``(k, k)`` matrix.

        Variances stay those of the axes before; only their sum means something then.

        Raises:
            ValueError: If the matrix has another shape.
        """
        if rotation.shape != (self.dim, self.dim):
            raise ValueError(f"a rotation ({self.dim}, {self.dim}) is needed, got {rotation.shape}")
        return replace(self, components=_as_stored(self.components @ rotation))


def projection_from_covariance(
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    count: int,
    retained: float = RETAINED_VARIANCE,
    most: int | None = None,
) -> Projection:
    """Keep the fewest leading components whose share of variance reaches ``retained``, inclusively.

    .. math:: k = \\min\\{m : \\sum_{i \\le m} \\lambda_i \\ge \\mathrm{retained} \\sum_i \\lambda_i\\}

    At least one component is kept, and at most ``count - 1``: with fewer images than dimensions the
    remaining eigenvalues are zero up to rounding, and dividing by them later would score noise.

    Args:
        mean: ``(D,)``.
        covariance: ``(D, D)``, symmetric.
        count: Number of images behind the covariance.
        retained: Share of variance to keep, in (0, 1].
        most: Keep no more components than this.

    Raises:
        ValueError: If the covariance is of another shape, or not finite, or a number is out of range.

    Example:
        >>> projection = projection_from_covariance(np.zeros(3), np.diag([6.0, 3.0, 1.0]), count=10, retained=0.9)
        >>> projection.dim, projection.variances
        (2, array([6., 3.]))

    References:
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
        Jolliffe (2002), Principal component analysis, second edition, section 6.1.1, for the share of variance.
    """
    _check_share(count, retained, most)
    if mean.ndim != 1 or not len(mean):
        raise ValueError(f"a mean (D,) of at least one feature is needed, got shape {mean.shape}")
    if covariance.shape != (len(mean), len(mean)) or not np.isfinite(covariance).all():
        raise ValueError(f"a finite covariance for {len(mean)} features is needed, got shape {covariance.shape}")
    variances, vectors = np.linalg.eigh(covariance)
    variances = np.maximum(variances[::-1], 0.0)
    kept = _kept(variances, count, retained, most)
    components = _as_stored(vectors[:, ::-1][:, :kept])
    return Projection(mean, components, variances[:kept], float(variances.sum()))


def projection_from_images(
    features: NDArray[np.float64], retained: float = RETAINED_VARIANCE, most: int | None = None
) -> Projection:
    """As :func:`projection_from_covariance`, for few images: ``(N, D)`` with ``N`` below ``D``.

    The eigenvectors of the ``(N, N)`` matrix of inner products give the same components; a covariance of
    thousands of dimensions would take minutes.

    Args:
        features: ``(N, D)``, finite.
        retained: Share of variance to keep, in (0, 1].
        most: Keep no more components than this.

    Raises:
        ValueError: If there is no image, or features are not finite, or a number is out of range.

    Example:
        >>> projection = projection_from_images(np.array([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]]))
        >>> projection.components.ravel().tolist(), projection.variances
        ([1.0, 0.0, 0.0], array([1.]))

    References:
        Turk and Pentland (1991), Eigenfaces for recognition, Journal of Cognitive Neuroscience 3, 71-86.
    """
    if features.ndim != 2 or 0 in features.shape or not np.isfinite(features).all():
        raise ValueError(f"finite features (N, D) of at least one image are needed, got shape {features.shape}")
    count = len(features)
    _check_share(count, retained, most)
    mean = features.mean(0)
    centred = features - mean
    values, vectors = np.linalg.eigh(centred @ centred.T)
    variances = np.maximum(values[::-1], 0.0) / count
    kept = _kept(variances, count, retained, most)
    lengths = np.sqrt(np.maximum(variances[:kept] * count, np.finfo(np.float64).tiny))
    components = centred.T @ (vectors[:, ::-1][:, :kept] / lengths)
    return Projection(mean, _as_stored(components), variances[:kept], float(variances.sum()))


def _check_share(count: int, retained: float, most: int | None) -> None:
    if count < 1 or not 0.0 < retained <= 1.0 or (most is not None and most < 1):
        raise ValueError(
            "at least one image, a share of variance in (0, 1] and at least one component are needed, "
            f"got {count}, {retained} and {most}"
        )


def _kept(variances: NDArray[np.float64], count: int, retained: float, most: int | None) -> int:
    share = np.cumsum(variances) / max(variances.sum(), np.finfo(np.float64).tiny)
    rank = int(np.count_nonzero(variances > variances[0] * len(variances) * np.finfo(np.float64).eps))
    needed = int(np.searchsorted(share, retained)) + 1
    return max(1, min(needed, rank, count - 1, needed if most is None else most))


def _as_stored(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Components as a profile stores them, in float32 at half the size, and with a fixed sign.

    Rounding is part of the density, then, and not a difference between ``fit`` and ``scan``. The sign makes refits
    comparable and files reproducible across LAPACK builds.
    """
    signs = np.sign(components[np.abs(components).argmax(0), np.arange(components.shape[1])])
    signed = components * np.where(signs == 0, 1.0, signs)
    return np.ascontiguousarray(signed.astype(np.float32).astype(np.float64))
