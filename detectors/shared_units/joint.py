"""How an input is judged together with others: by the densities, and by what suspects or shared units show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.shared_units.combine import Surprise, joint_p_values
from detectors.shared_units.detector import SharedUnits
from detectors.shared_units.learn import LearnedUnits
from detectors.shared_units.learn_direction import LearnedDirections


@dataclass(frozen=True)
class BatchInputs:
    """What is known of ``N`` inputs.

    Attributes:
        values: ``(N, U)`` float32, their units.
        combined: ``(N, K)`` the densities' combined scores, by every fold.
        features: ``(N, D)`` float16, standardised features of the last layer; None where the reference has none.
        predicted: ``(N,)`` predicted classes, -1 where there is none.
        parts: ``(N,)`` part of the batch that each is of.

    Raises:
        ValueError: If lengths differ.

    Example:
        >>> zeros = np.zeros(2, int)
        >>> BatchInputs(np.zeros((2, 5), np.float32), np.zeros((2, 1)), None, zeros, zeros).combined.shape
        (2, 1)

    References:
        docs/method.md, section Shared units.
    """

    values: NDArray[np.float32]
    combined: NDArray[np.float64]
    features: NDArray[np.float16] | None
    predicted: NDArray[np.int64]
    parts: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        count = len(self.parts)
        if self.combined.ndim != 2 or not len(self.combined) == len(self.predicted) == count:
            raise ValueError(
                f"combined scores (N, K) and classes of {count} inputs are needed, got {self.combined.shape} and "
                f"{self.predicted.shape}"
            )
        if len(self.values) != count or (self.features is not None and len(self.features) != count):
            raise ValueError(f"units and features of {count} inputs are needed, got {self.values.shape}")


@dataclass(frozen=True)
class Joint:
    """What inputs get, ``N`` of them.

    Attributes:
        p_values: ``(N,)`` conformal p-value of everything together.
        evidence: ``(N,)`` what it is of, in nats, averaged over folds.
        units: ``(N,)`` the shared units' part of it.
        direction: ``(N,)`` the part of the direction in which suspects differ.
        above: ``(N,)`` bool, whether the input's units are louder than any clean image's, by every fold.

    Example:
        >>> one = np.ones(1)
        >>> Joint(one, one, one, one, np.ones(1, bool)).p_values
        array([1.])

    References:
        docs/method.md, section Shared units.
    """

    p_values: NDArray[np.float64]
    evidence: NDArray[np.float64]
    units: NDArray[np.float64]
    direction: NDArray[np.float64]
    above: NDArray[np.bool_]


@dataclass(frozen=True)
class JointJudge:
    """Judges the inputs of one batch.

    Attributes:
        units: Units that the batch shares, for every part of it and every fold; None where they do not count.
        directions: Likewise directions in which its suspects differ. The purer these are, the less units count beside.
        surprise: Turns the densities' scores into nats.
        folds: ``(c,)`` fold of each clean image that calibrates.
        clean: ``(c, P)`` joint evidence of those images, for every part.
        loudest: ``(P, K)`` the largest score of the units alone, over the clean images of each fold.

    Example:
        >>> from detectors.shared_units.clean_scores import CleanScores
        >>> from detectors.shared_units.learn import learn_units
        >>> from detectors.shared_units.similar_images import fit_shared_units
        >>> generator = np.random.default_rng(0)
        >>> clean, values = generator.random((40, 50), np.float32), generator.random((40, 50), np.float32)
        >>> values[::2, 3] += 1
        >>> zeros, fifths = np.zeros(40, int), np.arange(40) // 2 % 5
        >>> known = CleanScores(generator.random(40), np.ones(40, bool), fifths)
        >>> fitted = fit_shared_units({"layer": clean}, "layer", zeros, 1, known)
        >>> learned = learn_units(fitted.reference, values, fitted.strata.of(zeros, values), fifths)
        >>> inputs = BatchInputs(values, generator.random((40, 5)), None, zeros, fifths)
        >>> joint = joint_judge(fitted, learned, None).judge(inputs)
        >>> bool(joint.units[::2].min() > joint.units[1::2].max()), float(joint.direction.max())
        (True, 0.0)

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    units: LearnedUnits | None
    directions: LearnedDirections | None
    surprise: Surprise
    folds: NDArray[np.int64]
    clean: NDArray[np.float64]
    loudest: NDArray[np.float64]

    def judge(self, inputs: BatchInputs) -> Joint:
        """Judge inputs.

        Raises:
            ValueError: If they have other folds, units or features.
        """
        units = direction = np.zeros(inputs.combined.shape)
        if self.units is not None:
            units = self.units.score(inputs.values, inputs.parts)
        counted = units
        if self.directions is not None:
            if inputs.features is None:
                raise ValueError("features of the inputs are needed")
            direction = self.directions.score(inputs.features, inputs.predicted, inputs.parts)
            counted = units * (1 - self.directions.purities[inputs.parts])
        if not units.shape == direction.shape == inputs.combined.shape:
            raise ValueError(f"combined scores {units.shape} are needed, got {inputs.combined.shape}")
        evidence = self.surprise(inputs.combined) + counted + direction
        return Joint(
            joint_p_values(self.clean, self.folds, evidence, inputs.parts),
            evidence.mean(1),
            units.mean(1),
            direction.mean(1),
            np.asarray((units > self.loudest[inputs.parts]).all(1)),
        )


def joint_judge(fitted: SharedUnits, units: LearnedUnits | None, directions: LearnedDirections | None) -> JointJudge:
    """Calibrate what a batch has taught, together with the densities.

    Args:
        fitted: Of the clean images.
        units: What :func:`~detectors.shared_units.learn.learn_units` learned with them; None where it does not count.
        directions: Likewise of :func:`~detectors.shared_units.learn_direction.learn_directions`.

    Raises:
        ValueError: If neither counts, or directions do of clean images without features.

    Example:
        See :class:`JointJudge`.

        >>> joint_judge.__name__
        'joint_judge'

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    if units is None and directions is None:
        raise ValueError("units or directions that count are needed")
    calibrates = fitted.reference.folds >= 0
    folds, combined = fitted.reference.folds[calibrates], fitted.scores.combined[calibrates]
    surprise = Surprise(np.sort(combined))
    parts = len(units.units) if units is not None else len(directions.directions)  # type: ignore[union-attr]
    own = counted = np.zeros((len(folds), parts))
    if units is not None:
        own = counted = units.clean_scores(fitted.reference)[calibrates]
    clean = surprise(combined)[:, None]
    if directions is not None:
        if fitted.features is None:
            raise ValueError("features of the clean images are needed")
        counted = own * (1 - directions.purities[:, folds].T)
        clean = clean + directions.clean_scores(fitted.features, fitted.reference.folds)[calibrates]
    loudest = np.stack([own[folds == fold].max(0) for fold in range(int(folds.max()) + 1)], axis=1)
    return JointJudge(units, directions, surprise, folds, clean + counted, loudest)
