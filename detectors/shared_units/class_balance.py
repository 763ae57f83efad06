"""No more inputs of a class than clean images of it: a class that the reference hardly has is no trigger.

Where a class has too few clean images for a stratum of its own, its inputs are compared with clean images of other
classes that look alike. They share what makes them that class, and the more of them there are, the less those few
images can tell. So within a stratum at most as many inputs of a class count as evidence as it has clean images of that
class, and of a class without any clean image one input in all.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

LEFT_OUT = -1
"""Stratum of inputs that are not compared: no clean image is in it."""


def balance_classes(
    clean: tuple[NDArray[np.int64], NDArray[np.int64]], inputs: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Strata ``(N,)`` of inputs, :data:`LEFT_OUT` for those beyond their class's share.

    In a stratum whose clean images are all of one class nothing of that class is left out.

    Args:
        clean: Strata and predicted classes of the clean images, ``(n,)`` int64 each.
        inputs: Strata and predicted classes of the inputs, ``(N,)`` int64 each, in an order that has nothing to do with
            what is in them: of a class the first count.

    Raises:
        ValueError: If lengths differ.

    Example:
        >>> clean = np.zeros(3, int), np.array([0, 0, 1])
        >>> balance_classes(clean, (np.zeros(6, int), np.array([0, 0, 0, 1, 2, 2]))).tolist()
        [0, 0, -1, 0, 0, -1]

    References:
        docs/method.md, section Shared units.
    """
    for strata, classes in (clean, inputs):
        if strata.ndim != 1 or strata.shape != classes.shape:
            raise ValueError(f"strata and classes (N,) of each image are needed, got {strata.shape}, {classes.shape}")
    own = _single_class_strata(*clean)
    known = set(clean[1].tolist())
    there = Counter(zip(*(column.tolist() for column in clean), strict=True))
    result = inputs[0].copy()
    seen: Counter[tuple[int, int]] = Counter()
    for row, (stratum, label) in enumerate(zip(*(column.tolist() for column in inputs), strict=True)):
        if own.get(stratum) == label:
            continue
        # Inputs of a class without any clean image are all counted as if they were in one stratum.
        cell = (stratum, label) if label in known else (LEFT_OUT, label)
        seen[cell] += 1
        if seen[cell] > (there[cell] if label in known else 1):
            result[row] = LEFT_OUT
    return result


def _single_class_strata(strata: NDArray[np.int64], classes: NDArray[np.int64]) -> dict[int, int]:
    """The class of every stratum whose clean images are all of one."""
    pairs = np.unique(np.stack((strata, classes), axis=1), axis=0)
    numbers, first, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    return {int(numbers[i]): int(pairs[first[i], 1]) for i in np.flatnonzero(count == 1)}
