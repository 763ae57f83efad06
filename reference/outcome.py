"""What a scan said about each input, beside what the input really is.

Read from the scan's rows file (JSON lines: ``id``, ``status``, ``p_value``, ``score``, ``flagged``,
``predicted_class``, ``source_class``) and a truth file (:mod:`reference.files`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reference.files import TruthRow, read_truth
from reference.metrics import auroc, average_precision, detection_rate_at
from scanner.base.errors import SourceError


@dataclass(frozen=True)
class Outcome:
    """One scanned input.

    Attributes:
        truth: What it is.
        flagged: Whether the scan flagged it.
        score: Its combined score, higher is more suspicious.
        predicted_class: Class that the model gave, where the rows name it.
        source_class: Class that the scan believes a flagged picture to show, where the rows name it.
    """

    truth: TruthRow
    flagged: bool
    score: float
    predicted_class: str | None
    source_class: str | None


@dataclass(frozen=True)
class Rates:
    """How well a set of outcomes matches the truth; shares are in [0, 1].

    Attributes:
        clean: Number of clean inputs.
        triggered: Number of triggered inputs.
        detection_rate: Share of the triggered that were flagged.
        false_alarm_rate: Share of the clean that were flagged.
        auroc: Area under the ROC curve of the scores.
        aupr: Area under their precision-recall curve, the triggered being the positives.
        detection_at_1_percent: Share of the triggered found where exactly 1% of the clean are flagged.
        detection_at_5_percent: The same for 5%.
    """

    clean: int
    triggered: int
    detection_rate: float
    false_alarm_rate: float
    auroc: float
    aupr: float
    detection_at_1_percent: float
    detection_at_5_percent: float


def read_outcomes(rows: Path, truth: Path) -> tuple[list[Outcome], int]:
    """Join a scan's rows with the truth.

    Args:
        rows: The scan's rows, JSON lines.
        truth: The truth file of the inputs that were scanned.

    Returns:
        The inputs that were scored, in the rows' order, and the number of those that were not.

    Raises:
        SourceError: If a file cannot be read, or the two are not about the same inputs.
    """
    known = {row.file_name: row for row in read_truth(truth)}
    outcomes, unscored = [], 0
    for row in _read_rows(rows):
        what_it_is = known.pop(str(row.get("id")), None)
        if what_it_is is None:
            raise SourceError(f"has a row for {row.get('id')!r}, of which {truth} does not know", where=str(rows))
        if row.get("status") == "scanned":
            outcomes.append(_outcome(row, what_it_is, rows))
        else:
            unscored += 1
    if known:
        raise SourceError(f"has no row for {len(known)} of the inputs in {truth}", where=str(rows))
    return outcomes, unscored


def _outcome(row: dict[str, Any], truth: TruthRow, rows: Path) -> Outcome:
    predicted, source = row.get("predicted_class"), row.get("source_class")
    try:
        score = _score(row)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"has no score for {truth.file_name}", where=str(rows)) from error
    return Outcome(
        truth=truth,
        flagged=bool(row.get("flagged")),
        score=score,
        predicted_class=None if predicted is None else str(predicted),
        source_class=None if source is None else str(source),
    )


def _score(row: dict[str, Any]) -> float:
    if row.get("score") is not None:
        return float(row["score"])
    # JSON has no infinity: a score beyond all numbers is null, and the p-value tells on which side.
    return math.inf if row["p_value"] < 0.5 else -math.inf


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise SourceError("is not a file of JSON lines", where=str(path)) from error
    if not all(isinstance(row, dict) for row in rows):
        raise SourceError("has a line that is not a JSON object", where=str(path))
    return rows


def rates(outcomes: Sequence[Outcome]) -> Rates:
    """Summarise outcomes.

    Raises:
        SourceError: Unless there are both clean and triggered ones.
    """
    triggered = np.array([outcome.truth.triggered for outcome in outcomes], dtype=bool)
    flagged = np.array([outcome.flagged for outcome in outcomes], dtype=bool)
    scores = np.array([outcome.score for outcome in outcomes], dtype=np.float64)
    if triggered.all() or not triggered.any():
        raise SourceError("the scored inputs are all clean or all triggered: nothing to tell apart")
    return Rates(
        clean=int((~triggered).sum()),
        triggered=int(triggered.sum()),
        detection_rate=float(flagged[triggered].mean()),
        false_alarm_rate=float(flagged[~triggered].mean()),
        auroc=auroc(triggered, scores),
        aupr=average_precision(triggered, scores),
        detection_at_1_percent=detection_rate_at(0.01, triggered, scores),
        detection_at_5_percent=detection_rate_at(0.05, triggered, scores),
    )
