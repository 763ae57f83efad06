"""How an input is judged together with others: by the densities, the units that they share, and what suspects show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.shared_units.combine import Surprise, joint_p_values
from detectors.shared_units.detector import SharedUnits
from detectors.shared_units.learn import LearnedUnits
from detectors.shared_units.learn_scores import LearnedScores


@dataclass(frozen=True)
class BatchInputs:
    """What is known of ``N`` inputs.

    Attributes:
        values: ``(N, U)`` float32, their units.
        combined: ``(N, K)`` the densities' combined scores, by every fold.
        z: ``(N, K, S)`` the standardised scores that enter them.
        parts: ``(N,)`` part of the batch that each is of.

    Raises:
        ValueError: If lengths differ.

    Example:
        >>> BatchInputs(np.zeros((2, 5), np.float32), np.zeros((2, 1)), np.zeros((2, 1, 3)), np.zeros(2, int)).z.shape
        (2, 1, 3)

    References:
        docs/method.md, section Shared units.
    """

    values: NDArray[np.float32]
    combined: NDArray[np.float64]
    z: NDArray[np.float64]
    parts: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        scores: NDArray[np.float64],
        calibration: Calibration,
        values: NDArray[np.float32],
        parts: NDArray[np.int64],
    ) -> BatchInputs:
        """From raw scores ``(N, K, S)``.

        Raises:
            ValueError: If there are not as many scores as the calibration has, or lengths differ.
        """
        z = calibration.entering(scores)
        return cls(values, calibration.combine_entering(z), z, parts)

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        count = len(self.parts)
        if self.combined.ndim != 2 or self.z.shape[:2] != self.combined.shape or len(self.combined) != count:
            raise ValueError(
                f"combined scores (N, K) and scores (N, K, S) of {count} inputs are needed, got {self.combined.shape} "
                f"and {self.z.shape}"
            )
        if len(self.values) != count:
            raise ValueError(f"units of {count} inputs are needed, got {self.values.shape}")


@dataclass(frozen=True)
class Joint:
    """What inputs get, ``N`` of them.

    Attributes:
        p_values: ``(N,)`` conformal p-value of everything together.
        evidence: ``(N,)`` what it is of, in nats, averaged over folds.
        units: ``(N,)`` the shared units' part of it.
        scores: ``(N,)`` the part of the scores that suspects have in common.
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
    scores: NDArray[np.float64]
    above: NDArray[np.bool_]


@dataclass(frozen=True)
class JointJudge:
    """Judges the inputs of one batch.

    Attributes:
        units: Units that the batch shares, for every part of it and every fold; None where they do not count.
        scores: Likewise the scores that its suspects have in common.
        surprise: Turns the densities' scores into nats.
        folds: ``(c,)`` fold of each clean image that calibrates.
        clean: ``(c, P)`` joint evidence of those images, for every part.
        loudest: ``(P, K)`` the largest score of the units alone, over the clean images of each fold.

    Example:
        >>> from detectors.shared_units.learn import learn_units
        >>> from detectors.shared_units.learn_scores import CleanScores
        >>> from detectors.shared_units.similar_images import fit_shared_units
        >>> generator = np.random.default_rng(0)
        >>> clean, values = generator.random((40, 50), np.float32), generator.random((40, 50), np.float32)
        >>> values[::2, 3] += 1
        >>> zeros, fifths = np.zeros(40, int), np.arange(40) // 2 % 5
        >>> known = CleanScores(np.zeros((40, 1)), np.ones(40, bool), generator.random(40), fifths)
        >>> fitted = fit_shared_units({"layer": clean}, "layer", zeros, 1, known)
        >>> learned = learn_units(fitted.reference, values, fitted.strata.of(zeros, values), fifths)
        >>> inputs = BatchInputs(values, generator.random((40, 5)), np.zeros((40, 5, 1)), fifths)
        >>> joint = joint_judge(fitted, learned, None).judge(inputs)
        >>> bool(joint.units[::2].min() > joint.units[1::2].max()), float(joint.scores.max())
        (True, 0.0)

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    units: LearnedUnits | None
    scores: LearnedScores | None
    surprise: Surprise
    folds: NDArray[np.int64]
    clean: NDArray[np.float64]
    loudest: NDArray[np.float64]

    def judge(self, inputs: BatchInputs) -> Joint:
        """Judge inputs.

        Raises:
            ValueError: If they have other folds, units or scores.
        """
        nothing = np.zeros(inputs.combined.shape)
        units = nothing if self.units is None else self.units.score(inputs.values, inputs.parts)
        scores = nothing if self.scores is None else self.scores.score(inputs.z, inputs.parts)
        if not units.shape == scores.shape == inputs.combined.shape:
            raise ValueError(f"combined scores {units.shape} are needed, got {inputs.combined.shape}")
        evidence = self.surprise(inputs.combined) + units + scores
        return Joint(
            joint_p_values(self.clean, self.folds, evidence, inputs.parts),
            evidence.mean(1),
            units.mean(1),
            scores.mean(1),
            np.asarray((units > self.loudest[inputs.parts]).all(1)),
        )


def joint_judge(fitted: SharedUnits, units: LearnedUnits | None, scores: LearnedScores | None) -> JointJudge:
    """Calibrate what a batch has taught, together with the densities.

    Args:
        fitted: Of the clean images.
        units: What :func:`~detectors.shared_units.learn.learn_units` learned with them; None where it does not count.
        scores: Likewise of :func:`~detectors.shared_units.learn_scores.learn_scores`.

    Raises:
        ValueError: If neither counts.

    Example:
        See :class:`JointJudge`.

        >>> joint_judge.__name__
        'joint_judge'

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    parts = [units.clean_scores(fitted.reference)] if units is not None else []
    parts += [scores.clean_scores(fitted.scores)] if scores is not None else []
    if not parts:
        raise ValueError("units or scores that count are needed")
    calibrates = fitted.reference.folds >= 0
    folds, combined = fitted.reference.folds[calibrates], fitted.scores.combined[calibrates]
    surprise = Surprise(np.sort(combined))
    clean = surprise(combined)[:, None] + sum(part[calibrates] for part in parts)
    own = parts[0][calibrates] if units is not None else np.zeros(clean.shape)
    loudest = np.stack([own[folds == fold].max(0) for fold in range(int(folds.max()) + 1)], axis=1)
    return JointJudge(units, scores, surprise, folds, clean, loudest)
