"""Tables 1, 2 and 3 of Subedar et al., in percent, as printed. Their CIFAR-10 is the official, lossless one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

RATES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Backdoored samples that are added, as a share of the clean training set."""

Series = tuple[float | None, ...]
"""One figure for each of `RATES`; None where the paper has none."""

ACCURACY: Final[Mapping[tuple[str, str, str], Series]] = MappingProxyType(
    {
        ("mnist", "clean", "dnn"): (99.21, 99.28, 99.26, 99.35, 99.32, 99.24),
        ("mnist", "clean", "df"): (None, 99.04, 98.74, 98.94, 99.04, 98.97),
        ("mnist", "clean", "bnn"): (None, 99.56, 99.64, 99.56, 99.51, 99.5),
        ("mnist", "triggered", "dnn"): (None, 98.78, 98.87, 99.16, 99.12, 99.29),
        ("mnist", "triggered", "df"): (None, 35.54, 17.55, 11.87, 7.32, 20.54),
        ("mnist", "triggered", "bnn"): (None, 99.54, 99.44, 99.5, 99.59, 99.43),
        ("cifar10", "clean", "dnn"): (88.9, 88.36, 88.23, 87.39, 87.87, 88.74),
        ("cifar10", "clean", "df"): (None, 88.16, 88.32, 88.20, 88.95, 88.26),
        ("cifar10", "clean", "bnn"): (None, 89.48, 89.63, 89.80, 90.00, 90.05),
        ("cifar10", "triggered", "dnn"): (None, 84.08, 81.95, 86.4, 86.94, 88.29),
        ("cifar10", "triggered", "df"): (None, 69.66, 64.37, 75.00, 75.86, 80.52),
        ("cifar10", "triggered", "bnn"): (None, 88.30, 88.96, 88.82, 90.02, 90.05),
    }
)
"""Table 1, by data set, images and method. A triggered image counts as correct when it gets the attacker's label."""

AUPR: Final[Mapping[tuple[str, str], Series]] = MappingProxyType(
    {
        ("mnist", "dnn"): (None, 83.18, 81.58, 68.30, 54.31, 53.14),
        ("mnist", "df"): (None, 99.43, 99.70, 99.91, 99.96, 99.96),
        ("mnist", "bnn"): (None, 97.47, 86.24, 72.90, 58.46, 46.46),
        ("cifar10", "dnn"): (None, 40.62, 64.16, 36.39, 38.68, 41.99),
        ("cifar10", "df"): (None, 91.87, 74.58, 90.94, 91.81, 85.17),
        ("cifar10", "bnn"): (None, 92.24, 82.03, 70.95, 58.89, 49.22),
    }
)
"""Table 2, by data set and method."""

AUROC: Final[Mapping[tuple[str, str], Series]] = MappingProxyType(
    {
        ("mnist", "dnn"): (None, 83.60, 83.31, 73.41, 57.65, 51.66),
        ("mnist", "df"): (None, 99.67, 99.83, 99.96, 99.98, 99.98),
        ("mnist", "bnn"): (None, 83.22, 69.94, 61.91, 55.75, 51.55),
        ("cifar10", "dnn"): (None, 53.95, 71.24, 51.09, 51.02, 55.09),
        ("cifar10", "df"): (None, 95.75, 85.09, 95.57, 95.78, 91.96),
        ("cifar10", "bnn"): (None, 58.64, 55.23, 53.03, 50.34, 50.13),
    }
)
"""Table 3, by data set and method."""


def at(series: Series | None, rate: float) -> float | None:
    """The figure at a rate, or None where the paper has none."""
    return series[RATES.index(rate)] if series is not None and rate in RATES else None
