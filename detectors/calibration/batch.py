"""What a whole batch of inputs says: exact tests, share of triggered inputs, target classes.

Conformal p-values of one batch share their calibration set, so they are not independent and a
binomial test of the flag rate raises too many alarms. Under exchangeability the rate at which clean
inputs are flagged is itself random, ``Beta(r, n_cal + 1 - r)`` with ``r = floor(alpha (n_cal + 1))``,
hence the number flagged is beta-binomial, and the test below is exact at any size of calibration
set and batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.binomial import beta_binomial_tail, beta_quantile, clopper_pearson
from detectors.calibration.conformal import rank_limit

INTERVAL_LEVEL = 0.95


@dataclass(frozen=True)
class BatchTest:
    """Outcome of the batch test.

    Attributes:
        flagged: Inputs with ``p <= alpha``.
        above_all: Inputs that score above every calibration image.
        flagged_p_value: Exact p-value of ``flagged``.
        above_all_p_value: Exact p-value of ``above_all``.
        p_value: Both together, by Bonferroni.
        smallest_attainable: ``p_value`` if every input had been above everything: when this is
            large, the batch is too small to convince anybody.
    """

    flagged: int
    above_all: int
    flagged_p_value: float
    above_all_p_value: float
    p_value: float
    smallest_attainable: float


def batch_test(flagged: int, above_all: int, inputs: int, calibration_size: int, alpha: float) -> BatchTest:
    """Test that a batch is clean.

    The count at alpha has power when many inputs are triggered; the count above the calibration
    maximum when few are, but those few stand out.

    Args:
        flagged: Inputs with a combined p-value of at most alpha.
        above_all: Inputs with the smallest possible p-value.
        inputs: Scanned inputs.
        calibration_size: Calibration images.
        alpha: Flagging level.

    Raises:
        ValueError: If more inputs are counted than there are, or there is no calibration image.
    """
    if calibration_size < 1 or not (0 <= flagged <= inputs and 0 <= above_all <= inputs):
        raise ValueError(
            f"{flagged} flagged and {above_all} above all of {inputs} inputs and {calibration_size} calibration images"
        )
    r = rank_limit(calibration_size, alpha)

    def tail(count: int, rank: int) -> float:
        return beta_binomial_tail(count, inputs, rank, calibration_size + 1 - rank) if rank else 1.0

    by_rate, by_maximum = tail(flagged, r), tail(above_all, 1)
    attainable = 2 * min(tail(inputs, r), tail(inputs, 1))
    return BatchTest(
        flagged,
        above_all,
        by_rate,
        by_maximum,
        min(1.0, 2 * min(by_rate, by_maximum)),
        min(1.0, attainable),
    )


@dataclass(frozen=True)
class TriggeredShare:
    """Estimated share of inputs that are flagged beyond what clean inputs would be.

    It estimates the share of triggered inputs if every triggered input is flagged, and is a lower
    bound of it otherwise.
    """

    estimate: float
    low: float
    high: float
    level: float


def triggered_share(flagged: int, inputs: int, calibration_size: int, alpha: float) -> TriggeredShare:
    """Estimate and confidence interval of the share of triggered inputs.

    With flag rate ``f`` and false-alarm rate ``a`` the share is ``(f - a) / (1 - a)``. The interval
    takes the exact interval of ``f`` (Clopper and Pearson) and the exact range of ``a`` given the
    calibration size (beta), each at half the error, so its level is at least the nominal one.
    """
    r = rank_limit(calibration_size, alpha)
    half = 1.0 - (1.0 - INTERVAL_LEVEL) / 2.0
    rate_low, rate_high = clopper_pearson(flagged, inputs, half)
    alarm_low = beta_quantile((1.0 - half) / 2.0, r, calibration_size + 1 - r)
    alarm_high = beta_quantile((1.0 + half) / 2.0, r, calibration_size + 1 - r)
    alarm = r / (calibration_size + 1)
    return TriggeredShare(
        _excess(flagged / inputs, alarm),
        _excess(rate_low, alarm_high),
        _excess(rate_high, alarm_low),
        INTERVAL_LEVEL,
    )


def _excess(rate: float, alarm: float) -> float:
    return float(np.clip((rate - alarm) / (1.0 - alarm), 0.0, 1.0))


@dataclass(frozen=True)
class ClassCount:
    """Flagged inputs among those predicted as one class, with the exact p-value, Bonferroni-adjusted."""

    label: int
    inputs: int
    flagged: int
    p_value: float


def target_classes(
    flagged: NDArray[np.int64], inputs: NDArray[np.int64], calibration_size: int, alpha: float
) -> list[ClassCount]:
    """Classes ordered by how strongly their inputs are flagged beyond alpha.

    The calibration is global, so a class whose clean images score high can be flagged more often
    than alpha: read the order, and the p-values only together with the batch test.

    Args:
        flagged: ``(C,)`` flagged inputs per predicted class.
        inputs: ``(C,)`` scanned inputs per predicted class.
        calibration_size: Calibration images.
        alpha: Flagging level.
    """
    r = rank_limit(calibration_size, alpha)
    seen = np.flatnonzero(inputs)
    counts = [
        ClassCount(
            int(c),
            int(inputs[c]),
            int(flagged[c]),
            min(
                1.0,
                len(seen)
                * (beta_binomial_tail(int(flagged[c]), int(inputs[c]), r, calibration_size + 1 - r) if r else 1.0),
            ),
        )
        for c in seen
    ]
    return sorted(counts, key=lambda c: (c.p_value, -c.flagged / c.inputs, c.label))
