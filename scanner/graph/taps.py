"""Where to observe a network: the layers whose activations are worth a density.

A candidate is a cut tensor (:mod:`scanner.graph.cut`) at the end of a computation with weights: after the
activation and normalisation that follow it, before the next weights or the next loss of resolution. On
residual networks these are the outputs of the blocks, on plain ones the activations after each
convolution, on transformers the residual stream after each branch, on Inception the concatenations, and
the last hidden dense layer where there is one.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import onnx
from onnx import TensorProto

from scanner.base.errors import UsageError
from scanner.graph.cut import Segment, segments
from scanner.graph.layout import by_shape, channel_axes
from scanner.graph.onnx_rules import WEIGHTED
from scanner.graph.shapes import fully_known, static_shapes, tensor_types

Layout = Literal["NCHW", "NHWC", "NLC", "NC"]

WEIGHTY = WEIGHTED | {"If", "Loop", "Scan"}
"""Operators with weights or attention. Control flow counts as such: what it does is not looked into."""

TAPPABLE = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.DOUBLE,
        TensorProto.INT8,
        TensorProto.UINT8,
    }
)
"""Element types of tensors that are read, all but float32 by a cast.

The integers are those of quantised networks: a tensor has one scale and one zero point, so the integers are an affine
image of the activations they stand for, which densities do not notice.
"""


@dataclass(frozen=True)
class Tap:
    """A place in the network where activations are read.

    Attributes:
        name: Name shown to users, unique in the model: the module's path where it is known.
        tensor: Name of the tensor in the graph.
        shape: Its shape without the batch.
        layout: Meaning of the axes, batch included.
        channels: Size of the channel axis.
        class_token: Whether position 0 is a class token rather than a patch of the image.
        depth: Share of the network's weighted operators up to here, in (0, 1).
        element: Its element type, one of :data:`TAPPABLE`.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    layout: Layout
    channels: int
    class_token: bool
    depth: float
    element: int = TensorProto.FLOAT

    @property
    def positions(self) -> int:
        """Number of places (pixels or tokens) with ``channels`` values each."""
        return math.prod(self.shape) // self.channels

    @property
    def resolution(self) -> tuple[int, ...]:
        """The shape without the channels: equal for the taps of one resolution stage."""
        return self.shape[:-1] if self.layout in ("NHWC", "NLC", "NC") else self.shape[1:]


@dataclass(frozen=True)
class Place:
    """A cut tensor of known shape (without the batch); ``axis`` is its channel axis, batch included."""

    tensor: str
    element: int
    shape: tuple[int, ...]
    axis: int | None

    def loses_resolution_to(self, later: Place) -> bool:
        """Whether the later tensor has fewer positions."""
        if self.axis is None or later.axis is None:
            return math.prod(later.shape) < math.prod(self.shape)
        return later.positions(later.axis) < self.positions(self.axis)

    def positions(self, axis: int) -> int:
        """Number of places, if ``axis`` holds the channels."""
        return math.prod(self.shape) // self.shape[axis - 1]


def candidate_taps(model: onnx.ModelProto) -> tuple[Tap, ...]:
    """Every tap worth having, from the first layer to the last hidden one; never the logits.

    Args:
        model: A graph with the image as its first input, whose batch dimension is named or unknown, and
            the logits as its first output. The taps are named after their tensors.

    Raises:
        ModelError: The logits do not depend on the image, or the graph's shapes contradict each other.
    """
    graph = model.graph
    parts = segments(graph, graph.input[0].name, graph.output[0].name)
    places = places_of(model, parts)
    heavy = [weighted(part) for part in parts]
    depth = dict(zip((part.end for part in parts), accumulate(heavy), strict=True))
    return tuple(
        tap for place in _worth_tapping(parts, heavy, places) if (tap := _tap(place, depth[place.tensor] / sum(heavy)))
    )


def unmeasured_tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """The cut tensors whose shape inference cannot tell, so that it has to be measured by a run.

    Raises:
        ModelError: As :func:`candidate_taps`.
    """
    parts = segments(model.graph, model.graph.input[0].name, model.graph.output[0].name)
    places = places_of(model, parts)
    return tuple(part.end for part in parts if part.end not in places)


def weighted(part: Segment) -> int:
    """Number of operators with weights or attention."""
    return sum(node.op_type in WEIGHTY for node in part.nodes)


def places_of(model: onnx.ModelProto, parts: Sequence[Segment]) -> dict[str, Place]:
    """The cut tensors whose element type and shape are known, by name.

    Raises:
        ModelError: The graph's shapes contradict each other.
    """
    types = tensor_types(model)
    axes = channel_axes(model.graph, static_shapes(types))
    image = types[model.graph.input[0].name].shape
    batch = image[0] if image else None
    places = {}
    for part in parts:
        kind = types.get(part.end)
        if kind is not None and kind.shape is not None and fully_known(kind, batch):
            shape = tuple(size for size in kind.shape[1:] if isinstance(size, int))
            axis = 1 if len(shape) == 1 else axes.get(part.end) or by_shape(shape)
            places[part.end] = Place(part.end, kind.element, shape, axis)
    return places


def _worth_tapping(parts: Sequence[Segment], heavy: Sequence[int], places: Mapping[str, Place]) -> Iterator[Place]:
    """The last usable cut tensor between weights and the next weights or the next loss of resolution."""
    last_heavy = max((index for index, count in enumerate(heavy) if count), default=-1)
    pending: Place | None = None
    computed = False  # since the last weights, nothing has been lost
    for index in range(last_heavy + 1):  # what follows the last weights is the logits in another form
        place = places.get(parts[index].end)
        loses = pending is not None and place is not None and pending.loses_resolution_to(place)
        if heavy[index] or loses:
            if pending is not None:
                yield pending
            pending, computed = None, bool(heavy[index])
        if computed and place is not None and _layout(place) is not None:
            pending = place


def _layout(place: Place) -> Layout | None:
    if place.element not in TAPPABLE or place.axis is None or place.shape[place.axis - 1] < 2:
        return None
    return _LAYOUTS.get((len(place.shape), place.axis))


_LAYOUTS: Mapping[tuple[int, int], Layout] = {(3, 1): "NCHW", (3, 3): "NHWC", (2, 2): "NLC", (1, 1): "NC"}


def _tap(place: Place, depth: float) -> Tap | None:
    layout = _layout(place)
    if layout is None or place.axis is None:
        return None
    return Tap(
        name=place.tensor,
        tensor=place.tensor,
        shape=place.shape,
        layout=layout,
        channels=place.shape[place.axis - 1],
        class_token=layout == "NLC" and _is_square(place.shape[0] - 1) and not _is_square(place.shape[0]),
        depth=depth,
        element=place.element,
    )


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def choose_taps(candidates: Sequence[Tap], limit: int = 12, layers: Sequence[str] | None = None) -> tuple[Tap, ...]:
    """A bounded number of taps, in order of depth.

    The last candidate of every resolution stage is kept, and the rest is thinned so that the depths
    stay evenly covered. The choice depends on nothing but the candidates.

    Args:
        candidates: In order of depth.
        limit: At most this many; at least 1.
        layers: Exactly these instead, by name or by tensor name.

    Raises:
        UsageError: A layer that is not a candidate, or a limit below 1.
    """
    if layers is not None:
        wanted = {_find(candidates, layer) for layer in layers}
        return tuple(tap for tap in candidates if tap in wanted)
    if limit < 1:
        raise UsageError(f"at least one layer is needed, not {limit}")
    if len(candidates) <= limit:
        return tuple(candidates)
    stage_ends = [
        index
        for index, tap in enumerate(candidates)
        if index + 1 == len(candidates) or candidates[index + 1].resolution != tap.resolution
    ]
    # When there are too many stages, the deepest is kept and the others are thinned like any candidate.
    kept = stage_ends if len(stage_ends) <= limit else stage_ends[-1:]
    pool = range(len(candidates)) if len(stage_ends) <= limit else stage_ends
    kept = _spread([tap.depth for tap in candidates], kept, pool, limit)
    return tuple(candidates[index] for index in kept)


def _spread(depths: Sequence[float], kept: Sequence[int], pool: Sequence[int], count: int) -> list[int]:
    """Add to ``kept``, one at a time, the member of ``pool`` that is furthest in depth from all kept ones."""
    chosen = list(kept)
    while len(chosen) < count:
        rest = [index for index in pool if index not in chosen]
        chosen.append(max(rest, key=lambda index: min(abs(depths[index] - depths[other]) for other in chosen)))
    return sorted(chosen)


def _find(candidates: Sequence[Tap], layer: str) -> Tap:
    for tap in candidates:
        if layer in (tap.name, tap.tensor):
            return tap
    close = difflib.get_close_matches(layer, [tap.name for tap in candidates], n=3, cutoff=0.5)
    suggestion = f"Did you mean {', '.join(close)}? " if close else ""
    raise UsageError(
        f"the model has no layer {layer!r} to observe",
        where="--layers",
        hint=f"{suggestion}`modelscan inspect` lists all of them",
    )
