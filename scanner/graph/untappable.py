"""Why nothing can be observed in a network, in words. Runs in the child process, where the graph was checked."""

from __future__ import annotations

import onnx

from scanner.base.errors import ModelError
from scanner.graph.cut import Segment, segments
from scanner.graph.taps import TAPPABLE, WEIGHTY, Place, places_of, weighted

_HINT = "Only a network with a hidden layer that all paths from image to logits go through can be scanned"


def require_taps(model: onnx.ModelProto) -> None:
    """Raise the error of a network that :func:`scanner.graph.taps.candidate_taps` finds nothing in.

    Args:
        model: As for :func:`scanner.graph.taps.candidate_taps`.

    Raises:
        ModelError: Always, with the reason.
    """
    raise ModelError(f"no layer of the network can be observed: {_reason(model)}", hint=_HINT)


def _reason(model: onnx.ModelProto) -> str:
    parts = segments(model.graph, model.graph.input[0].name, model.graph.output[0].name)
    heavy = [weighted(part) for part in parts]
    total = sum(heavy)
    if total == 0:
        operators = sorted({node.op_type for part in parts for node in part.nodes})
        return f"it has no operator with weights, but {', '.join(operators)[:120]}"
    last = max(index for index, count in enumerate(heavy) if count)
    first = min(index for index, count in enumerate(heavy) if count)
    if first == last:
        if total == 1:
            operator = next(node.op_type for node in parts[last].nodes if node.op_type in WEIGHTY)
            return f"its only operator with weights, {operator}, computes the logits, so nothing is hidden in between"
        return f"a path leads around every layer: none of the tensors before {_join(parts[last])} is on all paths"
    places = places_of(model, parts)
    return _unusable(parts[first : last + 1][:-1], places)


def _join(part: Segment) -> str:
    """The node that paths around layers end in."""
    node = part.nodes[-1]
    return f"{node.op_type} '{_printable(part.end)}'"


def _unusable(hidden: tuple[Segment, ...], places: dict[str, Place]) -> str:
    """What is wrong with the cut tensors after the first weights and before the last ones."""
    known = [places[part.end] for part in hidden if part.end in places]
    if not known:
        return f"the shape of '{_printable(hidden[-1].end)}' is not known, or mixes the batch with other dimensions"
    place = known[-1]
    name, shape = _printable(place.tensor), "x".join(map(str, place.shape))
    if place.element not in TAPPABLE:
        return f"'{name}' has element type {onnx.TensorProto.DataType.Name(place.element).lower()}"
    if place.axis is None or len(place.shape) > 3:
        return f"'{name}' has shape {shape}, in which channels and positions cannot be told apart"
    return f"'{name}' has shape {shape}: a single channel"


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)[:80]
