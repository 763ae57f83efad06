"""Which classes have enough images for a density of their own.

The mean of a class that has an image or two is that image, and what is left within the class is zero: no covariance at
all. Worse, a calibration image would then be scored by a density that lacks its class, and a new input by one that has
it. So a class needs an image in every fold. The others share one group, which lies around the mean of all images.

Where most images are of classes with too few, all share that group: what is left within the few others is small beside
the variety of all images, and one covariance for both describes neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_CLASS_IMAGES = 5
"""Images that a class needs for a density of its own: one in every fold, so that the density of each knows it."""

MIN_OWN_SHARE = 0.5
"""Share of the images that must be of classes with enough of them, for any class to have a density of its own."""

NO_GROUP = -1

UNLIKE = 1e4
"""Added to the evidence for a class without a density of its own, so that no input is ever said to look like it.
Standardised deviances are far smaller, and float16, in which the gallery stores evidence, holds it."""


@dataclass(frozen=True)
class ClassGroups:
    """Groups of classes, each of which gets one density.

    Attributes:
        of_class: ``(C,)`` int64, group of each class; :data:`NO_GROUP` for one without images, where
            no group is shared.
        count: Number of groups ``G``.
        shared: The group of all classes with too few images, which is the last; None where there is none.

    Raises:
        ValueError: If there is no class, a group that is not one of those counted, or a shared one that is not last.

    Example:
        >>> ClassGroups(np.array([0, 1, 1]), count=2, shared=1).own.tolist()
        [True, False, False]

    References:
        docs/method.md, section Scores: this project's own rule.
    """

    of_class: NDArray[np.int64]
    count: int
    shared: int | None

    def __post_init__(self) -> None:
        """Refuse groups that do not exist."""
        if self.of_class.ndim != 1 or not len(self.of_class) or self.count < 1:
            raise ValueError(f"groups of classes (C,) are needed, got {self.of_class.shape} and {self.count} groups")
        low, high = self.of_class.min(), self.of_class.max()
        if low < NO_GROUP or high >= self.count or self.shared not in (None, self.count - 1):
            raise ValueError(
                f"groups in [0, {self.count}), the shared one last, are needed, got {low} to {high} and {self.shared}"
            )

    @property
    def own(self) -> NDArray[np.bool_]:
        """``(C,)``: whether a class has a density of its own."""
        own: NDArray[np.bool_] = self.of_class != NO_GROUP
        return own if self.shared is None else own & (self.of_class != self.shared)

    @property
    def own_count(self) -> int:
        """Number of classes with a density of their own, whose groups are the first."""
        return self.count - (self.shared is not None)


def group_classes(counts: NDArray[np.int64], minimum: int = MIN_CLASS_IMAGES) -> ClassGroups:
    """Give classes with ``minimum`` images a group each, and those with fewer one in common.

    If less than half of the images are of classes with so many, all classes have one in common.

    Classes without any image belong to the common group as well, if there is one. Otherwise they have none, and the
    nearest group stands in for them.

    Args:
        counts: ``(C,)`` images of each class.
        minimum: Images that a class needs; at least 1.

    Raises:
        ValueError: If no class has an image, or the minimum is below 1.

    Example:
        >>> group_classes(np.array([7, 1, 0, 9])).of_class.tolist()
        [0, 2, 2, 1]
        >>> group_classes(np.array([7, 0, 9])).of_class.tolist()
        [0, -1, 1]
        >>> group_classes(np.array([6, 3, 2, 4])).of_class.tolist()
        [0, 0, 0, 0]

    References:
        docs/method.md, section Scores: this project's own rule.
    """
    if minimum < 1:
        raise ValueError(f"a minimum of at least 1 image is needed, got {minimum}")
    if counts.ndim != 1 or not (counts > 0).any():
        raise ValueError(f"images of at least one class are needed, got counts of shape {counts.shape}")
    own = counts >= minimum
    own &= counts[own].sum() >= MIN_OWN_SHARE * counts.sum()
    few = (counts > 0) & ~own
    number = int(own.sum())
    of_class = np.full(len(counts), number if few.any() else NO_GROUP, np.int64)
    of_class[own] = np.arange(number)
    return ClassGroups(of_class, number + bool(few.any()), number if few.any() else None)
