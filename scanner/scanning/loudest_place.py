"""Where in the picture each of the most suspicious inputs made the network speak up.

The layers are those pooled by their channels' maxima. Of those that are at least half as loud as the loudest, by the
input's standardised scores, the earliest is taken in which a channel stands out: a unit of a late layer sees most of
the picture, and where it is loudest says little of where what it sees is. A channel stands out against its own maxima
over inputs of the batch that are not flagged, which come from the same camera. They may hold a few triggered ones that
were missed, which makes a mark less likely and never more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import ProfileError
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.header import DescriptorInfo, ProfileHeader, TapInfo
from scanner.profile.inner_tensors import open_inner_tensors
from scanner.report.schema import LoudestPlace
from scanner.scanning.material import Wanted
from scanner.scanning.scanned import ScannedInput
from scanner.scanning.stages import Counted, OpenedScan

MOST_INPUTS: Final = 48
MOST_QUIET: Final = 16
"""Inputs that are looked at once more, those that are not flagged included."""
LEAST_QUIET: Final = 4
"""Fewer inputs that are not flagged say nothing of what a channel usually does."""
LOUD_SHARE: Final = 0.5
LEAST_EXCESS: Final = 1.0
_BATCH: Final = 8


def loudest_places(opened: OpenedScan, counted: Counted, count: int) -> dict[int, LoudestPlace]:
    """The place of each of the most suspicious inputs, by the input's index; none where nothing stands out.

    An input that is no longer what was scanned has none.

    Args:
        opened: The profile and the inputs.
        counted: What the pass over the inputs gave.
        count: Number of the most suspicious inputs to look at; with those that are not flagged, 48 at most.

    Raises:
        ProfileError: If the profile's graph does not have the tensors that its header names.
    """
    ordinary = counted.chosen.ordinary[:MOST_QUIET]
    if len(ordinary) < LEAST_QUIET:
        return {}
    layers = spatial_maxima(opened.header)
    rows = [row for row in counted.counts.top if row.finite][: min(count, MOST_INPUTS - len(ordinary))]
    wanted = {row.item.index: loud_layers(layers, row.z) for row in rows}
    taps = {layer.tap.name: layer.tap for loud in wanted.values() for layer in loud}
    if not taps:
        return {}
    both: list[ScannedInput | Wanted] = [*rows, *ordinary]
    seen = _look_again(opened, taps, list({row.item.index: row for row in both}.values()))
    quiet = [seen[row.item.index] for row in ordinary if row.item.index in seen]
    if len(quiet) < LEAST_QUIET:
        return {}
    usual = {name: np.stack([look[name].maxima for look in quiet]) for name in taps}
    places = {}
    for index, loud in wanted.items():
        if index in seen and (place := _place(loud, seen[index], usual)) is not None:
            places[index] = place
    return places


def _place(
    layers: Sequence[Layer], looks: Mapping[str, Look], usual: Mapping[str, NDArray[np.float32]]
) -> LoudestPlace | None:
    """The place in the first of the layers in which a channel stands out."""
    for layer in layers:
        look = looks[layer.tap.name]
        channel = standing_out(look.maxima, usual[layer.tap.name])
        if channel is not None:
            row, column = look.places[channel].tolist()
            return LoudestPlace(tap=layer.tap.name, channel=channel, row=row, column=column)
    return None


@dataclass(frozen=True)
class Layer:
    """A layer whose channels' maxima are looked at.

    Attributes:
        tap: The layer.
        scores: Positions, among all scores, of those of the maxima that decide.
    """

    tap: TapInfo
    scores: tuple[int, ...]


def spatial_maxima(header: ProfileHeader) -> tuple[Layer, ...]:
    """The layers with rows and columns that are pooled by their maxima."""
    taps = {tap.name: tap for tap in header.taps if tap.layout in ("NCHW", "NHWC") and len(tap.shape) == 3}
    layers = []
    for descriptor in header.descriptors:
        if descriptor.pooling == "max" and descriptor.tap in taps:
            layers.append(Layer(taps[descriptor.tap], _scores_of(header, descriptor)))
    return tuple(layer for layer in layers if layer.scores)


def _scores_of(header: ProfileHeader, descriptor: DescriptorInfo) -> tuple[int, ...]:
    """Those that say how strange the maxima are: that they are another class' is said of what the picture shows."""
    named = [(index, score) for index, score in enumerate(header.scores) if score.descriptor == descriptor.key]
    return tuple(index for index, score in named if score.combined and score.kind != "mismatch")


def loud_layers(layers: Sequence[Layer], z: NDArray[np.float64]) -> tuple[Layer, ...]:
    """The layers that are at least half as loud as the loudest, the earliest first; none where none is loud.

    Args:
        layers: Of the profile.
        z: ``(S,)`` standardised scores of an input; those that are not finite are of no layer.
    """
    loudness = {layer.tap.name: max(float(z[index]) for index in layer.scores) for layer in layers}
    finite = [value for value in loudness.values() if math.isfinite(value)]
    least = LOUD_SHARE * max(finite, default=0.0)
    loud = [layer for layer in layers if 0 < least <= loudness[layer.tap.name] < math.inf]
    return tuple(sorted(loud, key=lambda layer: (layer.tap.depth, layer.tap.name)))


@dataclass(frozen=True)
class Look:
    """What the channels of one layer do on one input.

    Attributes:
        maxima: ``(C,)`` float32.
        places: ``(C, 2)`` row and column of each, from 0 to 1.
    """

    maxima: NDArray[np.float32]
    places: NDArray[np.float64]


def _look_again(
    opened: OpenedScan, taps: Mapping[str, TapInfo], rows: Sequence[ScannedInput | Wanted]
) -> dict[int, dict[str, Look]]:
    """The layers' channels, by input's index and layer's name, of inputs that are still what they were."""
    tensors = sorted({tap.tensor for tap in taps.values()})
    session = open_inner_tensors(opened.profile, tensors, opened.scorer.output_names)
    spec = PreprocessSpec.from_dict(opened.header.preprocess.spec)
    expected = {row.item.index: row.sha256 for row in rows}
    seen: dict[int, dict[str, Look]] = {}

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        outputs = session.run({"pixels": pixels}, tensors)
        results: dict[str, NDArray[Any]] = {}
        for name, tap in taps.items():
            maps = outputs[tap.tensor]
            if maps.ndim != 4 or 0 in maps.shape:
                raise ProfileError("its layers do not have the shapes its header states", hint="Fit the profile again")
            look = channel_maxima(maps if tap.layout == "NCHW" else np.moveaxis(maps, -1, 1))
            results |= {f"maxima {name}": look.maxima, f"places {name}": look.places}
        return results

    for batch in run_pipeline(opened.source, spec, run, batch_size=_BATCH, items=[row.item for row in rows]):
        for position, which in enumerate(batch.readable.tolist()):
            index = batch.items[which].index
            if batch.digests[which] == expected[index]:
                out = batch.outputs
                seen[index] = {
                    name: Look(out[f"maxima {name}"][position], out[f"places {name}"][position]) for name in taps
                }
    return seen


def channel_maxima(maps: NDArray[Any]) -> Look:
    """Maxima ``(n, C)`` of maps ``(n, C, H, W)``, and their places ``(n, C, 2)``."""
    count, channels, height, width = maps.shape
    flat = maps.reshape(count, channels, height * width).astype(np.float32)
    where = flat.argmax(2)
    rows, columns = (where // width + 0.5) / height, (where % width + 0.5) / width
    return Look(np.take_along_axis(flat, where[..., None], 2)[..., 0], np.stack([rows, columns], -1))


def standing_out(maxima: NDArray[np.float32], quiet: NDArray[np.float32]) -> int | None:
    """The channel whose maximum exceeds that of every quiet input by most; None where none does by 1 or more.

    The excess is measured in standard deviations over the quiet inputs, to which the layer's median deviation is
    added: a channel that is silent in them would otherwise win by any whisper.

    Args:
        maxima: ``(C,)`` of the input.
        quiet: ``(n, C)`` of the quiet inputs.

    >>> quiet = np.array([[1, 5, 0], [2, 6, 0], [3, 7, 0]], np.float32)
    >>> standing_out(np.array([6, 8, 0.1], np.float32), quiet)
    0
    """
    values, others = maxima.astype(np.float64), quiet.astype(np.float64)
    deviations = others.std(0)
    scale = deviations + max(float(np.median(deviations)), float(np.finfo(np.float32).tiny))
    excess = (values - others.max(0)) / scale
    excess[~np.isfinite(excess)] = -np.inf
    best = int(excess.argmax())
    return best if excess[best] >= LEAST_EXCESS else None
