"""Whether the inputs that are not flagged are like the clean reference, by what the network and an eye make of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.drift.appearance import STATISTICS, statistics_of
from detectors.drift.drift import Shift, appearance_shifts, score_shift
from detectors.drift.fold_ranks import fold_ranks
from detectors.shared_units.learn import PARTS
from scanner.profile.header import ProfileHeader
from scanner.profile.looks import ReferenceLooks
from scanner.scanning.sample import INDEX, Sample
from scanner.scanning.shared_units import BatchUnits

COMBINED = "combined"
AFFECTED = 5
_TIES = 9973


@dataclass(frozen=True)
class Look:
    """One statistic of what pictures look like.

    Attributes:
        shift: How it differs.
        inputs: Its median over the inputs.
        reference: That over the clean images.
    """

    shift: Shift
    inputs: float
    reference: float


@dataclass(frozen=True)
class BatchDrift:
    """What distinguishes the inputs that are not flagged from clean images.

    Attributes:
        rest: Inputs of the sample that are not flagged, each picture once, those of the reference left out.
        looked_at: The same with flagged ones.
        score: The score that differs most; None for too few inputs.
        looks: What pictures look like, what differs most first; empty for too few, or a profile that keeps none.
        most_affected: Index of the inputs that lie farthest off in what differs most.
    """

    rest: int
    looked_at: int
    score: Shift | None
    looks: tuple[Look, ...]
    most_affected: tuple[int, ...]


def batch_drift(
    sample: Sample,
    units: BatchUnits | None,
    header: ProfileHeader,
    calibration: Calibration,
    clean: ReferenceLooks | None,
    alpha: float,
) -> BatchDrift:
    """Compare the inputs that are not flagged with the clean images.

    Args:
        sample: Inputs, each picture once.
        units: What their units say, as it counts in who is flagged. The direction in which suspects differ does not:
            where all inputs drifted, the suspects are those that drifted most.
        header: Names of the scores.
        calibration: Of the profile.
        clean: What clean images look like; None in a profile of an older format.
        alpha: Level at which inputs are flagged.
    """
    limit = alpha * (1 + 1e-12)
    flagged = sample.values["p_values"] <= limit
    scores = sample.values["scores"]
    if units is not None and units.by_units is not None:
        flagged |= units.by_units <= limit
    # Densities saw the reference's own images, which are therefore less suspicious than any others.
    own = np.array([clean is not None and clean.has(digest) for digest in sample.digests])
    rest = np.flatnonzero(~flagged & ~own)
    folds, ties = _chance(sample.digests, calibration.num_folds)
    ranks = fold_ranks(calibration, scores[rest], folds[rest], ties[rest])
    names = (*(score.key for score in header.scores), COMBINED)
    looks: tuple[Look, ...] = ()
    affected: tuple[int, ...] = ()
    if clean is not None:
        quantiles = clean.quantiles
        statistics = statistics_of(sample.values["appearance"][rest]).astype(np.float64)
        found = appearance_shifts(statistics, STATISTICS, quantiles, header.reference.images)
        looks = tuple(_look(shift, statistics, quantiles) for shift in found)
        if looks:
            off = statistics[:, STATISTICS.index(looks[0].shift.name)] * np.sign(looks[0].inputs - looks[0].reference)
            index = sample.values[INDEX][rest]
            affected = tuple(index[np.lexsort((index, -off))[:AFFECTED]].tolist())
    score = score_shift(ranks, names, alpha, calibration.size) if len(rest) else None
    return BatchDrift(len(rest), int((~own).sum()), score, looks, affected)


def _look(shift: Shift, statistics: NDArray[np.float64], quantiles: NDArray[np.float64]) -> Look:
    column = STATISTICS.index(shift.name)
    return Look(shift, float(np.median(statistics[:, column])), float(np.median(quantiles[column])))


def _chance(digests: tuple[int, ...], folds: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A fold for every input, and what breaks its ties: of its content alone, and of nothing that scores depend on."""
    numbers = [digest // PARTS for digest in digests]
    return (
        np.array([number % folds for number in numbers], np.int64),
        np.array([(number // folds % _TIES + 0.5) / _TIES for number in numbers]),
    )
