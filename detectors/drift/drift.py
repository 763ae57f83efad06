"""Whether inputs that are not flagged are like clean images: a trigger is in a part of a batch, drift in all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.drift.kolmogorov import distance_to_quantiles, distance_to_uniform, kolmogorov_p_value

MIN_REST: Final = 20
"""Inputs that have to be left, once those that are flagged are put aside."""
MAX_P_VALUE: Final = 1e-3
"""P-value, of all that is compared together, up to which a difference counts."""
MIN_DISTANCE: Final = 0.1
"""Distance from which on it does: of a million inputs, every difference is significant."""


@dataclass(frozen=True)
class Shift:
    """How the distribution of one quantity differs from that of clean images.

    Attributes:
        name: The quantity.
        distance: Largest distance of the distribution functions.
        p_value: Of that distance, Bonferroni-adjusted for the number of quantities.

    Example:
        >>> Shift("brightness", distance=0.3, p_value=1e-9).drifted
        True

    References:
        Smirnov (1948), Annals of Mathematical Statistics 19, 279-281.
    """

    name: str
    distance: float
    p_value: float

    @property
    def drifted(self) -> bool:
        """Whether it is more than chance, and enough to matter."""
        return self.p_value <= MAX_P_VALUE and self.distance >= MIN_DISTANCE


def score_shift(
    ranks: NDArray[np.float64], names: tuple[str, ...], level: float, calibration_size: int
) -> Shift | None:
    """The score whose distribution differs most from that of clean images; None for too few inputs.

    Args:
        ranks: ``(N, S + 1)`` of :func:`~detectors.drift.fold_ranks.fold_ranks`, of inputs that are not flagged.
        names: Of the scores, and of the combined one.
        level: Level at which inputs are flagged: what is left of the combined ranks begins there.
        calibration_size: Clean images.

    Raises:
        ValueError: If the names do not fit the ranks.

    Example:
        >>> ranks = np.random.default_rng(0).random((200, 2))
        >>> score_shift(ranks, ("layer", "combined"), 0.0, 500).drifted
        False
        >>> score_shift(ranks**3, ("layer", "combined"), 0.0, 500).drifted
        True

    References:
        Smirnov (1948), Annals of Mathematical Statistics 19, 279-281.
    """
    if ranks.ndim != 2 or ranks.shape[1] != len(names):
        raise ValueError(f"ranks (N, {len(names)}) are needed, got {ranks.shape}")
    if len(ranks) < MIN_REST:
        return None
    values = ranks.copy()
    # Ranks of one fold are no p-values, so some lie below the level: they stay at its lower end.
    values[:, -1] = np.clip((values[:, -1] - level) / (1 - level), 0, 1)
    distances = distance_to_uniform(values)
    return _largest(dict(zip(names, distances.tolist(), strict=True)), len(ranks), calibration_size)


def appearance_shifts(
    statistics: NDArray[np.float64], names: tuple[str, ...], quantiles: NDArray[np.float64], clean: int
) -> tuple[Shift, ...]:
    """How pictures differ from clean ones in what they look like, the largest difference first; none for too few.

    Args:
        statistics: ``(N, A)`` of :func:`~detectors.drift.appearance.appearance`, of inputs that are not flagged.
        names: Of the statistics.
        quantiles: ``(A, Q)`` of those of the clean images.
        clean: Number of these.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> clean = np.random.default_rng(0).normal(size=(500, 1))
        >>> quantiles = np.quantile(clean, np.linspace(0, 1, 101), axis=0).T
        >>> [shift.drifted for shift in appearance_shifts(clean[:200] + 1, ("brightness",), quantiles, 500)]
        [True]

    References:
        Smirnov (1948), Annals of Mathematical Statistics 19, 279-281.
    """
    if statistics.ndim != 2 or statistics.shape[1] != len(names) or len(quantiles) != len(names):
        raise ValueError(f"{len(names)} statistics are needed, got {statistics.shape} and {quantiles.shape}")
    if len(statistics) < MIN_REST:
        return ()
    shifts = [
        _shift(name, distance_to_quantiles(statistics[:, i], quantiles[i]), len(statistics), clean, len(names))
        for i, name in enumerate(names)
    ]
    return tuple(sorted(shifts, key=lambda shift: -shift.distance))


def _largest(distances: dict[str, float], inputs: int, clean: int) -> Shift:
    name = max(distances, key=lambda key: distances[key])
    return _shift(name, distances[name], inputs, clean, len(distances))


def _shift(name: str, distance: float, inputs: int, clean: int, compared: int) -> Shift:
    return Shift(name, distance, min(1.0, compared * kolmogorov_p_value(distance, inputs, clean)))
