"""All that is kept of a clean reference to find units that inputs share, and the tests of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.rows import Rows
from detectors.shared_units.batch import SharedUnitsTest, shared_units_test
from detectors.shared_units.class_balance import balance_classes
from detectors.shared_units.clean_features import CleanFeatures
from detectors.shared_units.clean_scores import CleanScores
from detectors.shared_units.reference import UnitReference
from detectors.shared_units.strata import Strata

MIN_INPUTS = 20
"""Distinct inputs that a batch needs for its units to be looked at."""
EVIDENCE = 0.01
"""P-value of the batch up to which an input's own units count."""


@dataclass(frozen=True)
class SharedUnits:
    """A fitted detector.

    Attributes:
        reference: The loudest clean images of every unit.
        strata: Which images are compared with one another.
        predicted: ``(n,)`` int64, predicted class of each clean image; -1 where it is not known.
        scores: The densities' scores of the clean images.
        features: Their features of the last layer; None of a profile of an older format.

    Raises:
        ValueError: If lengths or folds differ, or no image calibrates.

    Example:
        >>> from detectors.shared_units.similar_images import fit_shared_units
        >>> values, zeros = np.arange(12.0, dtype=np.float32)[:, None], np.zeros(12, int)
        >>> scores = CleanScores(np.zeros(12), np.ones(12, bool), zeros)
        >>> fitted = fit_shared_units({"layer": values}, "layer", zeros, 1, scores)
        >>> fitted.reference.units, fitted.reference.size
        (1, 12)

    References:
        docs/method.md, section Shared units.
    """

    reference: UnitReference
    strata: Strata
    predicted: NDArray[np.int64]
    scores: CleanScores
    features: CleanFeatures | None = None

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        each = self.reference.folds.shape
        if self.predicted.shape != each or not np.array_equal(self.scores.folds, self.reference.folds):
            raise ValueError(
                f"scores and a class for each of {self.reference.size} images are needed, got {self.predicted.shape} "
                "classes, or other folds"
            )
        if self.features is not None and self.features.predicted.shape != each:
            raise ValueError(f"features of {self.reference.size} images are needed, got {self.features.features.shape}")
        if not (self.reference.folds >= 0).any():
            raise ValueError("images that calibrate are needed")

    def test(self, values: NDArray[np.float32], predicted: NDArray[np.int64]) -> UnitsTests:
        """Test the inputs of a batch, in an order that has nothing to do with what is in them.

        Args:
            values: ``(N, U)`` float32.
            predicted: ``(N,)`` predicted classes.

        Raises:
            ValueError: If shapes do not fit, or there is no such class.
        """
        strata = self.strata.of(predicted, values)
        every = shared_units_test(self.reference, values, strata)
        balanced = balance_classes((self.reference.strata, self.predicted), (strata, predicted))
        if np.array_equal(balanced, strata):
            return UnitsTests(strata, every, every)
        return UnitsTests(strata, shared_units_test(self.reference, values, balanced), every)


@dataclass(frozen=True)
class UnitsTests:
    """What a batch's units say.

    Attributes:
        strata: ``(N,)`` int64, stratum of each input.
        balanced: Test of no more inputs of a class than the reference has: it holds whatever classes a batch is of.
        every: Test of all inputs. It shows more, but a batch of a class that the reference hardly has looks to it like
            one with a trigger.

    Example:
        >>> from detectors.shared_units.similar_images import fit_shared_units
        >>> values, zeros = np.arange(12.0, dtype=np.float32)[:, None], np.zeros(12, int)
        >>> scores = CleanScores(np.zeros(12), np.ones(12, bool), zeros)
        >>> fitted = fit_shared_units({"layer": values}, "layer", zeros, 1, scores)
        >>> tests = fitted.test(values, zeros)
        >>> tests.balanced == tests.every, tests.count(densities_p=1.0)
        (True, False)

    References:
        docs/method.md, section Shared units.
    """

    strata: NDArray[np.int64]
    balanced: SharedUnitsTest
    every: SharedUnitsTest

    def count(self, densities_p: float) -> bool:
        """Whether an input's own units count: all inputs share some, and that is not for their classes alone.

        Args:
            densities_p: P-value of the densities' test of the batch.
        """
        return self.every.p_value <= EVIDENCE and min(self.balanced.p_value, densities_p) <= EVIDENCE


def side_by_side(features: Mapping[str, Rows], name: str) -> tuple[int, int]:
    """Where a descriptor's columns are when all descriptors stand side by side, in their order.

    Raises:
        ValueError: If there is no such descriptor.

    Example:
        >>> side_by_side({"a": np.zeros((1, 3)), "b": np.zeros((1, 2))}, "b")
        (3, 5)

    References:
        docs/method.md, section Shared units.
    """
    start = 0
    for key, value in features.items():
        if key == name:
            return start, start + value.shape[1]
        start += value.shape[1]
    raise ValueError(f"no descriptor {name!r} among {list(features)[:10]}")
