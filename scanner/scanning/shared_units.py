"""What the inputs' units say: the test of the batch, and what an input gets by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.batch import batch_test_of
from detectors.calibration.judge import Calibration
from detectors.shared_units.detector import MIN_INPUTS, SharedUnits, UnitsTests
from detectors.shared_units.joint import BatchInputs, JointJudge, joint_judge
from detectors.shared_units.learn import PARTS, learn_units
from detectors.shared_units.learn_direction import Suspects, learn_directions
from scanner.base.errors import ProfileError
from scanner.inputs.pipeline import Batch
from scanner.profile.header import DescriptorInfo, ProfileHeader
from scanner.scanning.sample import Sample, digest_number

FEATURES: Final = "features"
"""What chunks keep of every input for a direction that is not known yet."""


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
    width, inputs = fitted.reference.units, inputs_of(sample, calibration, fitted)
    if np.unique(inputs.parts).size < PARTS:
        return BatchUnits(tests, None, None, width)
    units = by_units = judge = None
    if tests.count(densities_p):
        units = learn_units(fitted.reference, values, tests.strata, inputs.parts)
        judge = joint_judge(fitted, units, None)
        by_units = judge.judge(inputs).p_values
    if fitted.features is not None and inputs.features is not None:
        suspects = Suspects(inputs.combined, inputs.features, inputs.predicted, inputs.parts)
        directions = learn_directions(fitted.scores, fitted.features, suspects)
        if directions.purities.any():
            judge = joint_judge(fitted, units, directions)
    return BatchUnits(tests, by_units, judge, width)


def inputs_of(sample: Sample, calibration: Calibration, fitted: SharedUnits) -> BatchInputs:
    """The inputs of a sample, as judges take them."""
    values = sample.values
    parts = np.array([digest % PARTS for digest in sample.digests])
    features = features_of(values["units"], fitted)
    return BatchInputs(values["units"], calibration.combine(values["scores"]), features, values["predicted"], parts)


def features_of(units: NDArray[np.float32], fitted: SharedUnits) -> NDArray[np.float16] | None:
    """Standardised features ``(N, D)`` of inputs, of their units ``(N, U)``; None for a profile of an older format."""
    return None if fitted.features is None else fitted.features.standardised(units)


@dataclass(frozen=True)
class BatchUnits:
    """What the inputs of a batch say together.

    Attributes:
        tests: Tests of its units.
        by_units: ``(n,)`` p-values of the sample's inputs by densities and the units that the batch shares; None where
            it shares none beyond chance.
        judge: Judges inputs by the direction in which suspects differ and, the less pure these are, by those units;
            None where neither counts. A profile of an older format has no features to find a direction in.
        width: Units that were looked at.
    """

    tests: UnitsTests
    by_units: NDArray[np.float64] | None
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
    out["nats"], out["direction"], out["above"] = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    if units is None or units.judge is None or fitted is None:
        return out
    values = np.full((count, fitted.reference.units), -np.inf, np.float32)
    values[out["loud_rows"], out["loud_units"]] = out["loud_values"]
    parts = np.array([digest_number(batch, position) % PARTS for position in range(count)])
    finite = out["finite"]
    scores = np.where(finite[:, None, None], out["scores"], 0.0)
    inputs = BatchInputs(values, calibration.combine(scores), out.get(FEATURES), out["predicted"], parts)
    joint = units.judge.judge(inputs)
    out["p_values"] = np.where(finite, joint.p_values, out["p_values"])
    out["evidence"] = np.where(finite, joint.evidence, np.inf)
    out["nats"], out["direction"] = np.where(finite, joint.units, 0.0), np.where(finite, joint.direction, 0.0)
    out["above"] = finite & joint.above
    return out
