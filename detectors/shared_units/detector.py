"""All that is kept of a clean reference to find units that inputs share, and how a batch is judged by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.rows import Rows
from detectors.shared_units.batch import SharedUnitsTest, shared_units_test
from detectors.shared_units.class_balance import balance_classes
from detectors.shared_units.combine import Surprise, joint_p_values
from detectors.shared_units.learn import LearnedUnits, learn_units
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
        combined: ``(n,)`` float64, the densities' combined score of each clean image by its fold; 0 for one that
            calibrates nothing.

    Raises:
        ValueError: If lengths differ, or no image calibrates.

    Example:
        >>> from detectors.shared_units.similar_images import fit_shared_units
        >>> values, zeros = np.arange(12.0, dtype=np.float32)[:, None], np.zeros(12, int)
        >>> fitted = fit_shared_units({"layer": values}, "layer", zeros, 1, zeros, np.zeros(12))
        >>> fitted.reference.units, fitted.reference.size
        (1, 12)

    References:
        docs/method.md, section Shared units.
    """

    reference: UnitReference
    strata: Strata
    predicted: NDArray[np.int64]
    combined: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        each = self.reference.folds.shape
        if self.combined.shape != each or self.predicted.shape != each or not (self.reference.folds >= 0).any():
            raise ValueError(
                f"a score and a class for each of {self.reference.size} images are needed, got {self.combined.shape}, "
                f"{self.predicted.shape}, and images that calibrate"
            )

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
        >>> fitted = fit_shared_units({"layer": values}, "layer", zeros, 1, zeros, np.zeros(12))
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


@dataclass(frozen=True)
class Joint:
    """What inputs get, ``N`` of them.

    Attributes:
        p_values: ``(N,)`` conformal p-value of densities and shared units together.
        evidence: ``(N,)`` what it is of, in nats, averaged over folds.
        nats: ``(N,)`` the shared units' part of it.
        above: ``(N,)`` bool, whether the input's units are louder than any clean image's, by every fold.

    Example:
        >>> one = np.ones(1)
        >>> Joint(one, one, one, np.ones(1, bool)).p_values
        array([1.])

    References:
        docs/method.md, section Shared units.
    """

    p_values: NDArray[np.float64]
    evidence: NDArray[np.float64]
    nats: NDArray[np.float64]
    above: NDArray[np.bool_]


@dataclass(frozen=True)
class JointJudge:
    """Judges the inputs of one batch, by the units that it shares.

    Attributes:
        learned: Those units, for every part of the batch and every fold.
        surprise: Turns the densities' scores into nats.
        folds: ``(c,)`` fold of each clean image that calibrates.
        clean: ``(c, P)`` joint evidence of those images, for every part.
        loudest: ``(P, K)`` the largest score of the units alone, over the clean images of each fold.

    Example:
        >>> from detectors.shared_units.similar_images import fit_shared_units
        >>> generator = np.random.default_rng(0)
        >>> clean, inputs = generator.random((40, 50), np.float32), generator.random((40, 50), np.float32)
        >>> inputs[::2, 3] += 1
        >>> zeros, fifths = np.zeros(40, int), np.arange(40) // 2 % 5
        >>> fitted = fit_shared_units({"layer": clean}, "layer", zeros, 1, fifths, generator.random(40))
        >>> judge = judge_by_shared_units(fitted, inputs, fitted.strata.of(zeros, inputs), fifths)
        >>> joint = judge.judge(generator.random((40, 5)), inputs, fifths)
        >>> bool(joint.nats[::2].min() > joint.nats[1::2].max())
        True

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    learned: LearnedUnits
    surprise: Surprise
    folds: NDArray[np.int64]
    clean: NDArray[np.float64]
    loudest: NDArray[np.float64]

    def judge(self, combined: NDArray[np.float64], values: NDArray[np.float32], parts: NDArray[np.int64]) -> Joint:
        """Judge inputs.

        Args:
            combined: ``(N, K)`` the densities' combined scores, by every fold.
            values: ``(N, U)`` float32.
            parts: ``(N,)`` part of each.

        Raises:
            ValueError: If lengths differ.
        """
        units = self.learned.score(values, parts)
        if combined.shape != units.shape:
            raise ValueError(f"combined scores {units.shape} are needed, got {combined.shape}")
        evidence = self.surprise(combined) + units
        return Joint(
            joint_p_values(self.clean, self.folds, evidence, parts),
            evidence.mean(1),
            units.mean(1),
            np.asarray((units > self.loudest[parts]).all(1)),
        )


def judge_by_shared_units(
    fitted: SharedUnits, values: NDArray[np.float32], strata: NDArray[np.int64], parts: NDArray[np.int64]
) -> JointJudge:
    """Learn the units of a batch, and calibrate what they say together with the densities.

    Args:
        fitted: Of the clean images.
        values: ``(N, U)`` float32 of the batch, or of a sample of it.
        strata: ``(N,)`` strata of those inputs.
        parts: ``(N,)`` their parts, all of 0 to ``PARTS - 1``.

    Raises:
        ValueError: If lengths differ.

    Example:
        See :class:`JointJudge`.

        >>> MIN_INPUTS >= 20
        True

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    learned = learn_units(fitted.reference, values, strata, parts)
    calibrates = fitted.reference.folds >= 0
    folds = fitted.reference.folds[calibrates]
    scores = learned.clean_scores(fitted.reference)[calibrates]
    surprise = Surprise(np.sort(fitted.combined[calibrates]))
    clean = surprise(fitted.combined[calibrates])[:, None] + scores
    loudest = np.stack([scores[folds == fold].max(0) for fold in range(int(folds.max()) + 1)], axis=1)
    return JointJudge(learned, surprise, folds, clean, loudest)


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
