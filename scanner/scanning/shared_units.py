"""What the inputs' units say: the test of the batch, and what an input gets by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.batch import batch_test_of
from detectors.calibration.judge import Calibration
from detectors.shared_units.detector import MIN_INPUTS, SharedUnits, UnitsTests
from detectors.shared_units.joint import BatchInputs, JointJudge, joint_judge
from detectors.shared_units.learn import PARTS, learn_units
from detectors.shared_units.learn_scores import learn_scores
from scanner.base.errors import ProfileError
from scanner.inputs.pipeline import Batch
from scanner.profile.header import DescriptorInfo, ProfileHeader
from scanner.scanning.sample import Sample, digest_number


def batch_units(sample: Sample, fitted: SharedUnits, calibration: Calibration, alpha: float) -> BatchUnits | None:
    """The tests of a sample, and where they say so a judge; None for too few inputs.

    Args:
        sample: Inputs, each picture once.
        fitted: What a profile keeps of the clean images.
        calibration: Of the densities.
        alpha: Flagging level.
    """
    if len(sample) < MIN_INPUTS:
        return None
    values = sample.values["units"]
    tests = fitted.test(values, sample.values["predicted"])
    densities_p = batch_test_of(sample.values["p_values"], calibration.size, alpha).p_value
    width, inputs = fitted.reference.units, inputs_of(sample, calibration)
    if not tests.suspects_count(densities_p) or np.unique(inputs.parts).size < PARTS:
        return BatchUnits(tests, None, None, width)
    units = scores = by_units = None
    if tests.count(densities_p):
        units = learn_units(fitted.reference, values, tests.strata, inputs.parts)
        by_units = joint_judge(fitted, units, None)
    if fitted.scores.z.shape[1]:
        scores = learn_scores(fitted.scores, inputs.combined, inputs.z, inputs.parts)
    judge = by_units if scores is None else joint_judge(fitted, units, scores)
    return BatchUnits(tests, by_units, judge, width)


def inputs_of(sample: Sample, calibration: Calibration) -> BatchInputs:
    """The inputs of a sample, as judges take them."""
    parts = np.array([digest % PARTS for digest in sample.digests])
    return BatchInputs.of(sample.values["scores"], calibration, sample.values["units"], parts)


@dataclass(frozen=True)
class BatchUnits:
    """What the inputs of a batch say together.

    Attributes:
        tests: Tests of its units.
        by_units: Judges inputs by densities and the units that the batch shares; None where it shares none beyond
            chance.
        judge: Judges inputs by the scores that suspects have in common as well; None where neither counts. A profile of
            an older format has not what the scores take.
        width: Units that were looked at.
    """

    tests: UnitsTests
    by_units: JointJudge | None
    judge: JointJudge | None
    width: int

    @property
    def p_value(self) -> float:
        """P-value that holds whatever classes the batch is of."""
        return self.tests.balanced.p_value

    def descriptor_of(self, header: ProfileHeader, unit: int) -> tuple[DescriptorInfo, int]:
        """Descriptor and channel of a unit: the channels of the last descriptors stand side by side.

        Raises:
            ProfileError: If there is none.
        """
        unit += sum(descriptor.dim for descriptor in header.descriptors) - self.width
        for descriptor in header.descriptors:
            if 0 <= unit < descriptor.dim:
                return descriptor, unit
            unit -= descriptor.dim
        raise ProfileError("its units are not those of its descriptors", hint="Fit the profile again")


@dataclass(frozen=True)
class Place:
    """Where one unit is loudest.

    Attributes:
        row: From 0 at the top to 1 at the bottom.
        column: From 0 at the left to 1 at the right.
        inputs: Inputs that are loudest there.
        looked_at: Of how many.
    """

    row: float
    column: float
    inputs: int
    looked_at: int


def loud_only(values: NDArray[np.float32], fitted: SharedUnits) -> dict[str, NDArray[Any]]:
    """Units ``(N, U)`` in few bytes: row, unit and value of those that may speak up.

    The arrays are not one row an input: they are for a chunk.
    """
    rows, units = np.nonzero(values > fitted.reference.floor)
    return {
        "loud_rows": rows.astype(np.int32),
        "loud_units": units.astype(np.int32),
        "loud_values": values[rows, units],
    }


def with_shared_units(
    batch: Batch, units: BatchUnits | None, calibration: Calibration, fitted: SharedUnits | None
) -> dict[str, NDArray[Any]]:
    """The outputs of a chunk with what the units say: final p-values beside those of the densities alone."""
    out = dict(batch.outputs)
    count = len(batch.readable)
    if not count:
        return out
    out["density_p_values"], out["evidence"] = out["p_values"], out["combined"]
    out["nats"], out["common"], out["above"] = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    if units is None or units.judge is None or fitted is None:
        return out
    values = np.full((count, fitted.reference.units), -np.inf, np.float32)
    values[out["loud_rows"], out["loud_units"]] = out["loud_values"]
    parts = np.array([digest_number(batch, position) % PARTS for position in range(count)])
    finite = out["finite"]
    scores = np.where(finite[:, None, None], out["scores"], 0.0)
    joint = units.judge.judge(BatchInputs.of(scores, calibration, values, parts))
    out["p_values"] = np.where(finite, joint.p_values, out["p_values"])
    out["evidence"] = np.where(finite, joint.evidence, np.inf)
    out["nats"], out["common"] = np.where(finite, joint.units, 0.0), np.where(finite, joint.scores, 0.0)
    out["above"] = finite & joint.above
    return out
