"""What ``fit`` and ``scan`` do without options, on features in memory: densities, and units that a batch shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.batch import batch_test_of
from detectors.calibration.plan import plan_calibration
from detectors.deep_features.detector import DeepFeatures, ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT
from detectors.shared_units.clean_scores import clean_scores
from detectors.shared_units.detector import MIN_INPUTS, SharedUnits, UnitsTests
from detectors.shared_units.joint import BatchInputs, JointJudge, joint_judge
from detectors.shared_units.learn import PARTS, learn_units
from detectors.shared_units.learn_direction import Suspects, learn_directions
from detectors.shared_units.similar_images import fit_shared_units
from reference.features import Features, keys_of

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """Both detectors, fitted to one reference.

    Attributes:
        deep: The densities.
        units: The shared units.
        late: Keys of the descriptors whose units are looked at.
    """

    deep: DeepFeatures
    units: SharedUnits
    late: tuple[str, ...]

    def values(self, inputs: Features) -> NDArray[np.float32]:
        """Their units ``(N, U)``."""
        return np.concatenate([inputs.values[key] for key in self.late], axis=1)

    def scores(self, inputs: Features) -> Scores:
        """Scores of the densities, as the calibration takes them."""
        return self.deep.score(inputs.values, inputs.predicted, inputs.confidence)


def late_keys(likened_by: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Keys of the layer by which pictures are likened, and of all layers after it: their units are looked at."""
    layers = [key.rsplit(":", 1)[0] for key in keys]
    return tuple(keys[layers.index(likened_by.rsplit(":", 1)[0]) :])


def last_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """Keys of the last layer."""
    return tuple(key for key in keys if key.rsplit(":", 1)[0] == keys[-1].rsplit(":", 1)[0])


def fit_batch(
    reference: Features, labels: NDArray[np.int64] | None, likened_by: str, num_classes: int, seed: int
) -> Fitted:
    """Fit the default.

    Args:
        reference: Clean pictures.
        labels: Their labels; None for what ``fit --no-labels`` does.
        likened_by: Key of the descriptor by which pictures are likened.
        num_classes: Number of classes.
        seed: Of the calibration plan.
    """
    of = reference.predicted if labels is None else labels
    plan = plan_calibration(of, seed)
    classes = ImageClasses(of, reference.predicted, num_classes, reference.confidence)
    deep = fit_deep_features(reference.only(keys_of(DEFAULT, list(reference.values))), classes, DEFAULT, plan, seed)
    late = late_keys(likened_by, list(reference.values))
    known = clean_scores(plan, deep.calibration, deep.clean_scores)
    units = fit_shared_units(reference.only(late), likened_by, reference.predicted, num_classes, known, last_keys(late))
    return Fitted(deep, units, late)


@dataclass(frozen=True)
class Judged:
    """What the inputs of a batch get.

    Attributes:
        scores: ``(N,)`` what their p-values are of.
        p_values: ``(N,)`` p-values.
    """

    scores: Scores
    p_values: Scores


@dataclass(frozen=True)
class JudgedBatch:
    """What a batch says.

    Attributes:
        alone: Each input by itself.
        by_units: The inputs, with the units that they share where these count.
        together: The inputs, with the direction in which suspects differ and, the less pure these are, those units.
        densities_p: P-value of the densities' test of the batch.
        units: Whether the inputs share units; None for too few of them.
    """

    alone: Judged
    by_units: Judged
    together: Judged
    densities_p: float
    units: UnitsTests | None


def judge_alone(fitted: Fitted, inputs: Features) -> Judged:
    """Judge inputs of which each is looked at by itself."""
    judged = fitted.deep.calibration.judge(fitted.scores(inputs))
    return Judged(judged.combined, judged.p_values)


def judge_batch(fitted: Fitted, inputs: Features, seed: int, alpha: float) -> JudgedBatch:
    """Judge inputs that are looked at together.

    Their order must have nothing to do with what is in them; a scan's is by digest.

    Args:
        fitted: Detectors.
        inputs: The batch.
        seed: Numbers its parts, which a scan does by digest.
        alpha: Flagging level of the densities' test.
    """
    alone = judge_alone(fitted, inputs)
    calibration = fitted.deep.calibration
    densities_p = batch_test_of(alone.p_values, calibration.size, alpha).p_value
    if len(inputs.labels) < MIN_INPUTS:
        return JudgedBatch(alone, alone, alone, densities_p, None)
    values = fitted.values(inputs)
    tests = fitted.units.test(values, inputs.predicted)
    parts = np.random.default_rng(seed).permutation(len(values)) % PARTS
    reference, features = fitted.units.reference, fitted.units.features
    assert features is not None
    combined, own = calibration.combine(fitted.scores(inputs)), features.standardised(values)
    batch = BatchInputs(values, combined, own, inputs.predicted, parts)
    by_units, units = alone, None
    if tests.count(densities_p):
        units = learn_units(reference, values, tests.strata, parts)
        by_units = _judged(joint_judge(fitted.units, units, None), batch)
    suspects = Suspects(combined, own, inputs.predicted, parts)
    directions = learn_directions(fitted.units.scores, features, suspects)
    together = _judged(joint_judge(fitted.units, units, directions), batch)
    return JudgedBatch(alone, by_units, together, densities_p, tests)


def _judged(judge: JointJudge, inputs: BatchInputs) -> Judged:
    joint = judge.judge(inputs)
    return Judged(joint.evidence, joint.p_values)
