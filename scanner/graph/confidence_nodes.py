"""Scores given the network's confidence, as nodes.

They equal :class:`detectors.deep_features.confidence.ConfidenceSlopes` on
:func:`~detectors.baselines.confidence.log_odds`.
"""

from __future__ import annotations

import numpy as np

from detectors.deep_features.confidence import ConfidenceSlopes
from scanner.graph.bundle import LOGITS
from scanner.graph.nodes import NodeWriter


def append_confidence(
    writer: NodeWriter, scores: str, predicted: str, slopes: ConfidenceSlopes | None, num_classes: int, output: str
) -> None:
    """Append what takes scores to those at the clean images' mean confidence.

    Args:
        writer: Where nodes go.
        scores: Tensor ``(N, K, S)`` float64.
        predicted: Tensor ``(N,)`` int64, the predicted class.
        slopes: The slopes; without them, or where all are 0, scores stay as they are.
        num_classes: Number of logits.
        output: Name of the result, shaped as the scores.
    """
    if slopes is None or not slopes.slopes.any():
        writer.node("Identity", scores, output=output)
        return
    clipped = _clipped(writer, _log_odds(writer, predicted, num_classes), slopes.low, slopes.high)
    off = writer.node("Sub", clipped, writer.scalar(slopes.centre))
    steps = writer.node("Mul", writer.unsqueeze(off, 2), writer.constant("slopes", slopes.slopes))  # (N, 1, S)
    bounded = ~np.isnan(slopes.bounds)
    if not bounded.any():
        writer.node("Add", scores, steps, output=output)
        return
    bounds = writer.constant("lower_bounds", np.where(bounded, slopes.bounds, 0.0))
    # A step of a score without a bound may be too large for an exponential.
    powers = writer.node("Mul", steps, writer.constant("has_lower_bound", bounded.astype(np.float64)))
    stretched = writer.node("Mul", writer.node("Sub", scores, bounds), writer.node("Exp", powers))
    scaled = writer.node("Add", stretched, bounds)
    if bounded.all():
        writer.node("Identity", scaled, output=output)
        return
    which = writer.constant("is_bounded", bounded)
    writer.node("Where", which, scaled, writer.node("Add", scores, steps), output=output)


def _log_odds(writer: NodeWriter, predicted: str, num_classes: int) -> str:
    """``(N, 1)``: the largest logit less the logarithm of the sum of the others' exponentials."""
    logits = writer.double(LOGITS)
    own = writer.node("Equal", writer.constant("classes", np.arange(num_classes)[None]), writer.unsqueeze(predicted, 1))
    others = writer.node("Where", own, writer.scalar(-np.inf), logits)
    best = writer.node("ReduceMax", logits, writer.numbers(1), keepdims=1)
    return writer.node("Sub", best, writer.node("ReduceLogSumExp", others, writer.numbers(1), keepdims=1))


def _clipped(writer: NodeWriter, tensor: str, low: float, high: float) -> str:
    """The tensor within two numbers; what is not a number stays so, which ``Clip`` does not promise."""
    floored = writer.floored(tensor, low)
    most = writer.scalar(high)
    return writer.node("Where", writer.node("Greater", floored, most), most, floored)
