"""What is kept of the clean images: the loudest values of every unit, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from detectors.rows import Rows, chunks

KEPT_SHARE = 0.15
KEPT_LEAST, KEPT_MOST = 24, 128
INPUTS_PER_IMAGE = 4
"""Most inputs for each clean image of a stratum."""
BLOCK = 2**21
"""Values of images and units that are looked at together: what is kept of a unit is little, a table of it is not."""
SORTED_AT_ONCE = 500_000
"""Values of clean images that are sorted at once."""
LEVELS = 4
"""An input speaks up in a unit if fewer than this many clean images are at least as loud."""


@dataclass(frozen=True)
class UnitReference:
    """The ``m`` loudest of ``n`` clean images in each of ``U`` units.

    A unit is a channel of a descriptor. What lies at or below :attr:`cut` is not kept and counts as silence, in clean
    images and in inputs alike.

    Attributes:
        values: ``(m, U)`` float32, the largest first; -inf where fewer lie above the cut.
        images: ``(m, U)`` int32, which image each value is of, 0 to n - 1.
        cut: ``(U,)`` float32.
        strata: ``(n,)`` int64 stratum of each image.
        folds: ``(n,)`` int64 calibration fold of each image; -1 for an image that calibrates nothing.

    Raises:
        ValueError: If the shapes do not fit together, or there is no such image or fold.

    Example:
        >>> kept = fit_units(np.array([[1.0], [3.0], [2.0]], np.float32), np.zeros(3, int), np.zeros(3, int))
        >>> kept.values.T.tolist(), kept.images.T.tolist()
        ([[3.0, 2.0, 1.0]], [[1, 2, 0]])

    References:
        docs/method.md, section Shared units.
    """

    values: NDArray[np.float32]
    images: NDArray[np.int32]
    cut: NDArray[np.float32]
    strata: NDArray[np.int64]
    folds: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        shapes = (self.values.shape, self.images.shape, self.cut.shape, self.strata.shape, self.folds.shape)
        if (
            self.values.ndim != 2
            or 0 in self.values.shape
            or self.images.shape != self.values.shape
            or self.cut.shape != self.values.shape[1:]
            or self.strata.ndim != 1
            or self.folds.shape != self.strata.shape
        ):
            raise ValueError(f"values and images (m, U), cut (U,), strata and folds (n,) are needed, got {shapes}")
        for name, numbers, least in (("images", self.images, 0), ("folds", self.folds, -1)):
            lowest, highest = int(numbers.min(initial=0)), int(numbers.max(initial=0))
            if lowest < least or highest >= max(self.size, 1):
                raise ValueError(f"{name} are numbered {least} to {self.size - 1}, got {lowest} to {highest}")

    @property
    def size(self) -> int:
        """Number of clean images ``n``."""
        return len(self.strata)

    @property
    def units(self) -> int:
        """Number of units ``U``."""
        return len(self.cut)

    @cached_property
    def table(self) -> NDArray[np.float32]:
        """``(n, U)`` float32: each image's values above the cut, -inf elsewhere.

        Large where there are many images: of a few :meth:`blocks` of units at a time it is not.
        """
        table = np.full((self.size, self.units), -np.inf, np.float32)
        np.put_along_axis(table, self.images.astype(np.int64), self.values, 0)
        return table

    @cached_property
    def floor(self) -> NDArray[np.float32]:
        """``(U,)`` float32: what is not above it adds nothing to an input's score, whatever fold it is scored by."""
        lowest = np.full(self.units, np.inf, np.float32)
        for fold in range(int(self.folds.max()) + 1):
            lowest = np.minimum(lowest, self.levels(fold)[-1])
        return lowest

    def of_units(self, units: slice | NDArray[np.int64]) -> UnitReference:
        """What is kept of some units alone."""
        return replace(self, values=self.values[:, units], images=self.images[:, units], cut=self.cut[units])

    def blocks(self, inputs: int) -> Iterator[slice]:
        """Units in runs so short that their values of all clean images and of so many inputs are few."""
        length = max(1, BLOCK // (self.size + inputs))
        return (slice(start, start + length) for start in range(0, self.units, length))

    def levels(self, fold: int) -> NDArray[np.float32]:
        """``(LEVELS, U)`` float32: the loudest values of the images that are not of `fold`, the largest first.

        Where fewer lie above the cut, it is the cut: silence in clean images is silence in inputs, which come with all
        their values.
        """
        others = np.where(self.folds[self.images] != fold, self.values, np.float32(-np.inf))
        loudest = -np.sort(-others, axis=0)[:LEVELS]
        missing = LEVELS - len(loudest)
        padded = np.pad(loudest, ((0, max(missing, 0)), (0, 0)), constant_values=-np.inf)
        return np.asarray(np.maximum(padded, self.cut), np.float32)

    def balanced(self, strata: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the inputs that are compared: of each stratum the first, four times as many as clean images there.

        A stratum that is nearly all inputs would fill the loudest ranks of every unit and say nothing by it, and one
        without clean images has nothing to be compared with.

        Args:
            strata: ``(N,)`` strata of the inputs.

        Returns:
            Sorted rows ``(M,)``.
        """
        clean = dict(zip(*np.unique(self.strata, return_counts=True), strict=True))
        chosen = [np.flatnonzero(strata == s)[: INPUTS_PER_IMAGE * clean.get(s, 0)] for s in np.unique(strata)]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))

    def loud(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Inputs' values ``(N, U)`` with -inf for what is not above the cut.

        Raises:
            ValueError: If the number of units is another.
        """
        if values.ndim != 2 or values.shape[1] != self.units:
            raise ValueError(f"values (N, {self.units}) are needed, got {values.shape}")
        return np.where(values > self.cut, values, np.float32(-np.inf))


def fit_units(values: Rows, strata: NDArray[np.int64], folds: NDArray[np.int64]) -> UnitReference:
    """Keep what is needed of clean images.

    A share of 15% of the images is kept of each unit, at least 24 and at most 128 of them. Tests look at fewer.

    Args:
        values: ``(n, U)`` float32, every descriptor's channels side by side, finite.
        strata: ``(n,)`` int64.
        folds: ``(n,)`` int64, as in :class:`UnitReference`.

    Raises:
        ValueError: If there is no image or no unit, something is not finite, or lengths differ.

    Example:
        >>> fit_units(np.zeros((3, 2), np.float32), np.zeros(3, int), np.zeros(3, int)).cut.tolist()
        [-inf, -inf]

    References:
        docs/method.md, section Shared units.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"finite values (n, U) are needed, got {values.shape}")
    if not strata.shape == folds.shape == values.shape[:1]:
        raise ValueError(
            f"strata and folds of {len(values)} images are needed, got {values.shape}, {strata.shape}, {folds.shape}"
        )
    count = len(values)
    kept = min(count, min(KEPT_MOST, max(KEPT_LEAST, int(np.ceil(KEPT_SHARE * count)))))
    loudest, images = _loudest(values, kept + 1)
    cut = loudest[kept] if kept < count else np.full(values.shape[1], -np.inf, np.float32)
    return UnitReference(
        np.where(loudest[:kept] > cut, loudest[:kept], np.float32(-np.inf)),
        images[:kept].astype(np.int32),
        np.asarray(cut, np.float32),
        strata.astype(np.int64),
        folds.astype(np.int64),
    )


def _loudest(values: Rows, most: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The largest values of every unit, and the images they are of, ``(<= most, U)`` each; the first of equals first.

    Raises:
        ValueError: If something is not finite.
    """
    units = values.shape[1]
    loudest, images = np.zeros((0, units), np.float32), np.zeros((0, units), np.int64)
    seen = 0
    for chunk in chunks(values):
        if not np.isfinite(chunk).all():
            raise ValueError(f"finite values (n, U) are needed, got {values.shape} with others")
        width = max(1, SORTED_AT_ONCE // len(chunk))
        parts = [slice(start, start + width) for start in range(0, units, width)]
        numbers = np.arange(seen, seen + len(chunk))[:, None]
        merged = [_merge(loudest[:, part], images[:, part], chunk[:, part], numbers, most) for part in parts]
        loudest, images = (np.concatenate(arrays, axis=1) for arrays in zip(*merged, strict=True))
        seen += len(chunk)
    return loudest, images


def _merge(
    loudest: NDArray[np.float32],
    images: NDArray[np.int64],
    values: NDArray[np.float32],
    numbers: NDArray[np.int64],
    most: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The largest of those known and of new ones ``(n, U)``, whose images are numbered ``(n, 1)``."""
    together = np.concatenate((loudest, values))
    order = np.argsort(-together, axis=0, kind="stable")[:most]
    of = np.concatenate((images, np.broadcast_to(numbers, values.shape)))
    return np.take_along_axis(together, order, 0), np.take_along_axis(of, order, 0)
