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

    Example:
        >>> test = batch_test(flagged=0, above_all=0, inputs=100, calibration_size=199, alpha=0.01)
        >>> test.p_value, test.smallest_attainable < 1e-30
        (1.0, True)

    References:
        Marques F. (2023), Universal distribution of the empirical coverage in split conformal prediction,
        https://arxiv.org/abs/2303.02770, for the beta-binomial distribution.
    """

    flagged: int
    above_all: int
    flagged_p_value: float
    above_all_p_value: float
    p_value: float
    smallest_attainable: float


def batch_test(flagged: int, above_all: int, inputs: int, calibration_size: int, alpha: float) -> BatchTest:
    """Test that a batch is clean.

    .. math:: K_\\alpha \\sim \\mathrm{BetaBinomial}(N, r, n + 1 - r), \\quad r = \\lfloor\\alpha (n + 1)\\rfloor

    for the count at alpha of a clean batch of ``N``, and the same with ``r = 1`` for that above all. The first has
    power when many inputs are triggered; the second when few are, but those few stand out.

    Args:
        flagged: Inputs with a combined p-value of at most alpha.
        above_all: Inputs with the smallest possible p-value.
        inputs: Scanned inputs.
        calibration_size: Calibration images.
        alpha: Flagging level.

    Raises:
        ValueError: If more inputs are counted than there are, there is no calibration image, or alpha is not in [0, 1].

    Example:
        >>> batch_test(flagged=1, above_all=0, inputs=100, calibration_size=199, alpha=0.01).p_value
        1.0
        >>> batch_test(flagged=30, above_all=20, inputs=100, calibration_size=199, alpha=0.01).p_value < 1e-6
        True

    References:
        Marques F. (2023), Universal distribution of the empirical coverage in split conformal prediction,
        https://arxiv.org/abs/2303.02770, for the beta-binomial distribution.
        Dunn (1961), Multiple comparisons among means, Journal of the American Statistical Association 56, 52-64, for
        Bonferroni's correction.
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


def batch_test_of(p_values: NDArray[np.float64], calibration_size: int, alpha: float) -> BatchTest:
    """Test that a batch is clean, by the p-values of its inputs.

    Args:
        p_values: ``(N,)`` conformal p-values.
        calibration_size: Calibration images.
        alpha: Flagging level.

    Raises:
        ValueError: As :func:`batch_test`.

    Example:
        >>> batch_test_of(np.array([0.005, 0.01, 0.5]), 199, 0.01).flagged
        2

    References:
        Marques F. (2023), Universal distribution of the empirical coverage in split conformal prediction,
        https://arxiv.org/abs/2303.02770, as in :func:`batch_test`.
    """
    # P-values are quotients: one that equals a level must not miss it by rounding.
    flagged, above = p_values <= alpha * (1 + 1e-12), p_values <= (1 + 1e-9) / (calibration_size + 1)
    return batch_test(int(flagged.sum()), int(above.sum()), len(p_values), calibration_size, alpha)


def joint_p_value(*p_values: float) -> float:
    """P-value of several tests together, whatever depends on what: the smallest times their number.

    Example:
        >>> joint_p_value(0.01, 0.4)
        0.02

    References:
        Bonferroni (1936), Teoria statistica delle classi e calcolo delle probabilita, Florence.
    """
    return min(1.0, len(p_values) * min(p_values))


@dataclass(frozen=True)
class TriggeredShare:
    """Estimated share of inputs that are flagged beyond what clean inputs would be.

    It estimates the share of triggered inputs if every triggered input is flagged, and is a lower
    bound of it otherwise.

    Attributes:
        estimate: The share.
        low: Lower end of its confidence interval.
        high: Upper end.
        level: Level of the interval, at least.

    Example:
        >>> triggered_share(flagged=0, inputs=100, calibration_size=199, alpha=0.01).estimate
        0.0

    References:
        Rogan and Gladen (1978), Estimating prevalence from the results of a screening test, American Journal of
        Epidemiology 107, 71-76.
    """

    estimate: float
    low: float
    high: float
    level: float


def triggered_share(flagged: int, inputs: int, calibration_size: int, alpha: float) -> TriggeredShare:
    """Estimate and confidence interval of the share of triggered inputs.

    With flag rate ``f`` and false-alarm rate ``a``

    .. math:: \\mathrm{share} = \\frac{f - a}{1 - a}

    which is the estimator of Rogan and Gladen for a test that misses nothing. The interval
    takes the exact interval of ``f`` (Clopper and Pearson) and the exact range of ``a`` given the
    calibration size (beta), each at half the error, so its level is at least the nominal one.

    Args:
        flagged: Inputs with a combined p-value of at most alpha.
        inputs: Scanned inputs, at least one.
        calibration_size: Calibration images, at least one.
        alpha: Flagging level, below 1.

    Raises:
        ValueError: If the counts are not such, or alpha is not in [0, 1).

    Example:
        >>> share = triggered_share(flagged=51, inputs=100, calibration_size=199, alpha=0.01)
        >>> round(share.estimate, 3), share.low < share.estimate < share.high
        (0.505, True)

    References:
        Rogan and Gladen (1978), Estimating prevalence from the results of a screening test, American Journal of
        Epidemiology 107, 71-76. Clopper and Pearson (1934), Biometrika 26, 404-413, for the interval of ``f``. Vovk
        (2013), Conditional validity of inductive conformal predictors, Machine Learning 92, 349-376, for that of ``a``.
    """
    if not (inputs >= 1 and 0 <= flagged <= inputs and calibration_size >= 1 and alpha < 1.0):
        raise ValueError(
            f"{flagged} flagged of {inputs} inputs by {calibration_size} calibration images at {alpha}: at least one "
            "input, one image and an alpha below 1 are needed"
        )
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
    """Flagged inputs among those predicted as one class.

    Attributes:
        label: The class.
        inputs: Scanned inputs that the network predicts as it.
        flagged: Those of them that are flagged.
        p_value: Exact p-value of their number, Bonferroni-adjusted.

    Example:
        >>> target_classes(np.array([0, 9]), np.array([50, 50]), 199, 0.01)[0].label
        1

    References:
        Marques F. (2023), Universal distribution of the empirical coverage in split conformal prediction,
        https://arxiv.org/abs/2303.02770, for the beta-binomial distribution.
    """

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

    Raises:
        ValueError: If the shapes differ, more inputs of a class are flagged than there are, or there is no
            calibration image.

    Example:
        >>> [(c.label, c.flagged) for c in target_classes(np.array([1, 9, 0]), np.array([50, 50, 0]), 199, 0.01)]
        [(1, 9), (0, 1)]

    References:
        Marques F. (2023), Universal distribution of the empirical coverage in split conformal prediction,
        https://arxiv.org/abs/2303.02770, for the beta-binomial distribution.
        Dunn (1961), Multiple comparisons among means, Journal of the American Statistical Association 56, 52-64, for
        Bonferroni's correction.
    """
    if flagged.ndim != 1 or flagged.shape != inputs.shape or calibration_size < 1:
        raise ValueError(
            f"flagged and scanned inputs (C,) and calibration images are needed, got {flagged.shape}, {inputs.shape} "
            f"and {calibration_size} images"
        )
    if (flagged < 0).any() or (flagged > inputs).any():
        label = int(np.flatnonzero((flagged < 0) | (flagged > inputs))[0])
        raise ValueError(f"{flagged[label]} of {inputs[label]} inputs of class {label} cannot be flagged")
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
