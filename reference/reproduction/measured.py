"""Figures and curves of one row: clean images against their triggered copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.metrics import auroc, average_precision, curves, detection_rate_at

CURVE_POINTS = 101
BINS = 40
_WIDE = 10.0
_LEAST = 1e-12


@dataclass(frozen=True)
class Measured:
    """What one detector says of ``N`` clean images and of their ``N`` triggered copies, in the same order.

    Attributes:
        clean: ``(N,)`` scores of the clean images, higher is more suspicious.
        triggered: ``(N,)`` scores of the copies.
        clean_classes: ``(N,)`` the class that the method gives each clean image.
        triggered_classes: ``(N,)`` likewise of the copies.
    """

    clean: NDArray[np.float64]
    triggered: NDArray[np.float64]
    clean_classes: NDArray[np.int64]
    triggered_classes: NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """What the images are: ``(N,)`` true labels, attack labels, and whether the attack on the network succeeds."""

    labels: NDArray[np.int64]
    attack_labels: NDArray[np.int64]
    succeeds: NDArray[np.bool_]


def figures(measured: Measured, truth: Truth) -> dict[str, Any]:
    """Accuracies, areas, detection rates, and what the plots need; shares are in [0, 1].

    A triggered image counts as correctly classified when it gets the attacker's label (table 1).
    """
    triggered, scores = _joined(measured.clean, measured.triggered)
    effective, effective_scores = _joined(measured.clean, measured.triggered[truth.succeeds])
    shown = {
        "clean_accuracy": float((measured.clean_classes == truth.labels).mean()),
        "triggered_accuracy": float((measured.triggered_classes == truth.attack_labels).mean()),
        "auroc": auroc(triggered, scores),
        "aupr": average_precision(triggered, scores),
        "detection_at_1_percent": detection_rate_at(0.01, triggered, scores),
        "detection_at_5_percent": detection_rate_at(0.05, triggered, scores),
    }
    if truth.succeeds.any():
        shown["aupr_where_the_attack_succeeds"] = average_precision(effective, effective_scores)
        shown["detection_at_1_percent_where_the_attack_succeeds"] = detection_rate_at(0.01, effective, effective_scores)
    return {name: round(value, 6) for name, value in shown.items()} | {"plots": _plots(measured, triggered, scores)}


def _joined(
    clean: NDArray[np.float64], triggered: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth = np.concatenate((np.zeros(len(clean), bool), np.ones(len(triggered), bool)))
    return truth, np.concatenate((clean, triggered))


def _plots(measured: Measured, triggered: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any]:
    """Thinned curves and histograms."""
    false_alarms, true_alarms, precision = curves(triggered, scores)
    kept = np.unique(np.linspace(0, len(false_alarms) - 1, CURVE_POINTS).astype(int))
    # Evenly in both axes: a good detector's whole curve lies in its first points.
    kept = np.union1d(kept, np.searchsorted(true_alarms, np.linspace(0, 1, CURVE_POINTS)).clip(0, len(true_alarms) - 1))
    return {
        "roc": [_rounded(false_alarms[kept]), _rounded(true_alarms[kept])],
        "precision_recall": [_rounded(true_alarms[kept]), _rounded(precision[kept])],
        "histogram": _histogram(measured.clean, measured.triggered),
    }


def _histogram(clean: NDArray[np.float64], triggered: NDArray[np.float64]) -> dict[str, Any]:
    """Counts over the middle 99.8% of both kinds; the outermost bins hold what lies beyond.

    Scores have long tails. Where the spread of the clean ones is a small part of the whole, the axis is
    logarithmic: ``log10`` of scores that are never negative, else ``sign(s) log10(1 + |s|)``.
    """
    values, scale = [np.nan_to_num(clean), np.nan_to_num(triggered)], "linear"
    both = np.concatenate(values)
    low, middle, high = np.quantile(both, [0.001, 0.5, 0.999]).tolist()
    if high - low > _WIDE * max(middle - low, np.finfo(float).tiny):
        if both.min() >= 0:
            scale, values = "log10", [np.log10(np.maximum(v, _LEAST)) for v in values]
        else:
            scale, values = "signed log10", [np.sign(v) * np.log10(1 + np.abs(v)) for v in values]
        low, high = np.quantile(np.concatenate(values), [0.001, 0.999]).tolist()
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts = [np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0].tolist() for v in values]
    return {
        "scale": scale,
        "edges": [float(f"{edge:.6g}") for edge in edges],
        "clean": counts[0],
        "triggered": counts[1],
    }


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]
