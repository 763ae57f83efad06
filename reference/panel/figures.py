"""What scores say about detection, by the same rules for every detector.

The threshold comes from clean images that nothing was fitted to, and from nothing else: an input is flagged when its
conformal p-value among them is at most the level. False alarms are then counted on other clean images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference.metrics import auroc, average_precision

LEVELS = (0.01, 0.05)

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Scores and p-values of clean and triggered inputs, higher and lower for what is more suspicious.

    Attributes:
        clean: ``(N,)`` scores.
        triggered: ``(M,)`` scores.
        clean_p: ``(N,)`` p-values.
        triggered_p: ``(M,)`` p-values.
    """

    clean: Scores
    triggered: Scores
    clean_p: Scores
    triggered_p: Scores


def conformal_p(held_out: Scores, scores: Scores) -> Scores:
    """Share of clean images with a score as high, ``(1 + #{clean >= s}) / (n + 1)``: ties speak for the input."""
    ordered = np.sort(held_out)
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((1 + at_least) / (len(ordered) + 1), np.float64)


def judge(held_out: Scores, clean: Scores, triggered: Scores) -> Judged:
    """Scores of inputs beside those of held-out clean images."""
    return Judged(clean, triggered, conformal_p(held_out, clean), conformal_p(held_out, triggered))


def figures(judged: Judged, succeeds: NDArray[np.bool_]) -> dict[str, float | None]:
    """Detection over all triggered inputs, and (``succeeds_...``) over those on which the attack succeeds.

    Args:
        judged: Scores and p-values.
        succeeds: ``(M,)``, whether a triggered input is predicted as the attack wants.
    """
    found: dict[str, float | None] = {}
    for level in LEVELS:
        found[f"false_alarms_at_{level:g}"] = float((judged.clean_p <= level * (1 + 1e-12)).mean())
    for name, kept in (("", np.ones(len(succeeds), bool)), ("succeeds_", succeeds)):
        some = bool(kept.any())
        for level in LEVELS:
            flagged = judged.triggered_p[kept] <= level * (1 + 1e-12)
            found[f"{name}detection_at_{level:g}"] = float(flagged.mean()) if some else None
        scores = np.nan_to_num(np.concatenate([judged.clean, judged.triggered[kept]]), nan=np.inf)
        truth = np.arange(len(scores)) >= len(judged.clean)
        found[f"{name}auroc"] = auroc(truth, scores) if some else None
        found[f"{name}aupr"] = average_precision(truth, scores) if some else None
    return {name: None if value is None else round(value, 5) for name, value in found.items()}
