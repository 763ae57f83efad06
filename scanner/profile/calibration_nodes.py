"""The calibration as nodes, for a scoring graph that is deployed on its own.

It equals :meth:`detectors.calibration.judge.Calibration.judge` for the combined score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from detectors.calibration.combine import LEAST, MOST
from detectors.calibration.judge import Calibration
from detectors.calibration.standardise import FLOOR
from scanner.graph.nodes import NodeWriter
from scanner.graph.shapes import BATCH

COMBINED, P_VALUE = "combined_score", "p_value"
_PREFIX = "latentscan-calibration/"


def append_calibration(
    graph: onnx.GraphProto, scores: str, calibration: Calibration, beside: Sequence[str] = ()
) -> None:
    """Append the outputs ``combined_score`` and ``p_value``, float64 ``(N,)`` each.

    Args:
        graph: Changed in place.
        scores: Its tensor of scores, float64 ``(N, K, S)``.
        calibration: The calibration.
        beside: Further tensors ``(N, C)``: an input for which one of them is not finite is the most suspicious, as it
            is in a scan.
    """
    writer = NodeWriter(graph, _PREFIX)
    combined = _combined(writer, scores, calibration)
    for tensor in beside:
        nothing = writer.node("Mul", writer.double(tensor), writer.scalar(0.0))  # NaN for infinity as well
        combined = writer.node("Add", combined, writer.sum_last(nothing))
    writer.node("ReduceMean", combined, writer.numbers(1), keepdims=0, output=COMBINED)
    reached = []
    for fold, clean in enumerate(calibration.combined_by_fold):
        own = writer.node("Gather", combined, writer.numbers(fold), axis=1)
        # A score that is not a number reaches nothing, and so is the most suspicious.
        above = writer.node("GreaterOrEqual", writer.constant(f"clean{fold}", clean[None]), own)
        reached.append(writer.node("ReduceSum", writer.double(above), writer.numbers(1), keepdims=0))
    counted = writer.node("Sum", *reached, writer.constant("one", np.array([1.0])))
    writer.node("Div", counted, writer.constant("size", np.array([calibration.size + 1.0])), output=P_VALUE)
    for name in (COMBINED, P_VALUE):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, [BATCH]))


def _combined(writer: NodeWriter, scores: str, calibration: Calibration) -> str:
    """Combined score of each fold, ``(N, K)``."""
    standardiser = calibration.standardiser
    entering = np.flatnonzero(calibration.enters)
    bounds = standardiser.bounds[entering]
    bounded = ~np.isnan(bounds)
    given = writer.node("Gather", scores, writer.constant("enters", entering), axis=2)
    # Minus infinity is an overflow like any other, and so as suspicious.
    lowest = writer.node("IsInf", given, detect_positive=0)
    picked = writer.node("Where", lowest, writer.scalar(np.inf), given)
    above = writer.node("Sub", picked, writer.constant("bounds", np.where(bounded, bounds, 0.0)))
    logarithm = writer.node("Log", writer.floored(above, FLOOR))
    scaled = writer.node("Where", writer.constant("bounded", bounded), logarithm, picked)
    centred = writer.node("Sub", scaled, writer.constant("locations", standardiser.locations[entering]))
    z = writer.node("Div", centred, writer.constant("scales", standardiser.scales[entering]))
    contradicts = calibration.contradicts[entering]
    if contradicts.all() or not contradicts.any():
        return _soft_maximum(writer, z, calibration.sharpness)
    first = writer.node("Gather", z, writer.numbers(*np.flatnonzero(~contradicts)), axis=2)
    second = writer.node("Gather", z, writer.numbers(*np.flatnonzero(contradicts)), axis=2)
    most = writer.scalar(MOST)
    over = writer.node("And", writer.node("Greater", second, most), writer.node("Not", writer.node("IsInf", second)))
    cut = writer.floored(writer.node("Where", over, most, second), LEAST)
    both = writer.node("Add", *(_soft_maximum(writer, part, calibration.sharpness) for part in (first, cut)))
    return writer.node("Div", both, writer.scalar(2.0))


def _soft_maximum(writer: NodeWriter, z: str, sharpness: float) -> str:
    scale = writer.scalar(sharpness)
    summed = writer.node("ReduceLogSumExp", writer.node("Mul", z, scale), writer.numbers(2), keepdims=0)
    return writer.node("Div", summed, scale)
