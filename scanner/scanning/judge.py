"""From a graph's outputs to p-values, and to one row an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration, Judgement
from detectors.deep_features.grouping import UNLIKE
from detectors.drift.appearance import thumbnails_of
from scanner.base.errors import ProfileError
from scanner.inputs.pipeline import Batch
from scanner.scanning.scanned import ScannedInput, UnreadableRow
from scanner.scoring.scorer import OUTPUTS

TOP_SCORES = 3


def judge_outputs(
    outputs: dict[str, NDArray[Any]], calibration: Calibration, num_classes: int
) -> dict[str, NDArray[Any]]:
    """From the graph's outputs to p-values, still one row per input.

    Something that is not finite cannot be compared with clean images, which have nothing of the kind: the input gets
    the smallest p-value. Where it is the logits, no class is predicted (-1), and all scores, which are about that
    class, count as not finite.
    """
    logits, scores, evidence = (outputs[name] for name in OUTPUTS)
    count = len(logits)
    expected = (count, calibration.num_folds, calibration.scores.shape[1])
    if {logits.shape, evidence.shape} != {(count, num_classes)} or scores.shape != expected:
        raise ProfileError("the graph's outputs do not have the shapes its header states", hint="Fit it again")
    predictable = np.isfinite(logits).all(1)
    finite = predictable & np.isfinite(scores).all((1, 2)) & np.isfinite(evidence).all(1)
    judgement: Judgement = calibration.judge(np.where(predictable[:, None, None], scores.astype(np.float64), np.inf))
    predicted = logits.argmax(1)
    others = evidence.astype(np.float64)
    np.put_along_axis(others, predicted[:, None], np.inf, 1)
    source = others.argmin(1)
    known = finite & (np.take_along_axis(others, source[:, None], 1)[:, 0] < UNLIKE / 2)
    return {
        "finite": finite,
        "predicted": np.where(predictable, predicted, -1),
        "source_class": np.where(known, source, -1),
        "p_values": np.where(finite, judgement.p_values, 1.0 / (calibration.size + 1)),
        "combined": np.where(finite, judgement.combined, np.inf),
        "scores": judgement.scores,
        "z": judgement.z,
        "top_scores": calibration.loudest(judgement.z, TOP_SCORES),
    }


def with_score_p_values(rows: Sequence[ScannedInput], calibration: Calibration) -> tuple[ScannedInput, ...]:
    """The rows with the p-value of every score."""
    if not rows:
        return ()
    judged = calibration.judge(np.stack([row.scores for row in rows]))
    return tuple(replace(row, score_p_values=p) for row, p in zip(rows, judged.score_p_values, strict=True))


def rows_of(batch: Batch, alpha: float) -> list[ScannedInput | UnreadableRow]:
    """The rows of a chunk in the order of its items; their arrays are copies, since few rows outlive their chunk."""
    out = batch.outputs
    thumbnails = thumbnails_of(out["appearance"]) if len(batch.readable) else ()
    rows: dict[int, ScannedInput | UnreadableRow] = {
        item.index: UnreadableRow(item, batch.digests[item.index - batch.start], reason, detail)
        for item, reason, detail in batch.unreadable
    }
    for position, which in enumerate(batch.readable.tolist()):
        item, p_value = batch.items[which], float(out["p_values"][position])
        finite, predicted = bool(out["finite"][position]), int(out["predicted"][position])
        source_class = int(out["source_class"][position])
        rows[item.index] = ScannedInput(
            item=item,
            sha256=batch.digests[which] or "",
            finite=finite,
            predicted=None if predicted < 0 else predicted,
            source_class=None if source_class < 0 else source_class,
            p_value=p_value,
            density_p_value=float(out["density_p_values"][position]),
            nats=float(out["nats"][position]),
            direction=float(out["direction"][position]),
            above=bool(out["above"][position]),
            evidence=float(out["evidence"][position]),
            score=float(out["combined"][position]),
            flagged=not finite or p_value <= alpha * (1 + 1e-12),
            scores=out["scores"][position].copy(),
            score_p_values=out["score_p_values"][position].copy() if "score_p_values" in out else None,
            z=out["z"][position].copy(),
            thumbnail=thumbnails[position].copy(),
            top_scores=() if predicted < 0 else tuple(out["top_scores"][position].tolist()),
        )
    return [rows[item.index] for item in batch.items]
