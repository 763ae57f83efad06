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
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scanner.profile.header import DescriptorInfo, ProfileHeader, TapInfo
from scanner.report.schema import LoudestPlace
from scanner.scanning.material import Wanted
from scanner.scanning.scanned import ScannedInput
from scanner.scanning.second_look import Channels, Seen
from scanner.scanning.stages import Counted, OpenedScan

MOST_QUIET: Final = 16
LEAST_QUIET: Final = 4
"""Fewer inputs that are not flagged say nothing of what a channel usually does."""
LOUD_SHARE: Final = 0.5
LEAST_EXCESS: Final = 1.0


@dataclass(frozen=True)
class Search:
    """What a second look is to find a place in.

    Attributes:
        loud: Layers in which each of the most suspicious inputs is loud, the earliest first, by the input's index.
        quiet: Inputs that are not flagged.
    """

    loud: Mapping[int, tuple[Layer, ...]]
    quiet: Sequence[Wanted]

    @property
    def taps(self) -> dict[str, TapInfo]:
        """Every layer that is looked at, by name."""
        return {layer.tap.name: layer.tap for layers in self.loud.values() for layer in layers}


def plan_search(opened: OpenedScan, counted: Counted, top: Sequence[ScannedInput]) -> Search:
    """What to look at once more: nothing where no layer is loud, or where too few inputs are not flagged.

    Args:
        opened: The profile and the inputs.
        counted: What the pass over the inputs gave.
        top: The most suspicious inputs.
    """
    quiet = counted.chosen.ordinary[:MOST_QUIET]
    layers = spatial_maxima(opened.header)
    loud = {row.item.index: loud_layers(layers, row.z) for row in top if row.finite}
    if len(quiet) < LEAST_QUIET or not any(loud.values()):
        return Search({}, ())
    return Search(loud, quiet)


def loudest_places(search: Search, seen: Mapping[int, Seen]) -> dict[int, LoudestPlace]:
    """The place of each of the most suspicious inputs, by the input's index; none where nothing stands out.

    Args:
        search: What was to be looked at.
        seen: What is seen of these inputs. One that is no longer what was scanned is missing, and has no place.
    """
    quiet = [seen[row.item.index].layers for row in search.quiet if row.item.index in seen]
    if len(quiet) < LEAST_QUIET:
        return {}
    usual = {name: np.stack([layers[name].maxima for layers in quiet]) for name in search.taps}
    places = {}
    for index, loud in search.loud.items():
        if index in seen and (place := _place(loud, seen[index].layers, usual)) is not None:
            places[index] = place
    return places


def _place(
    loud: Sequence[Layer], layers: Mapping[str, Channels], usual: Mapping[str, NDArray[np.float32]]
) -> LoudestPlace | None:
    """The place in the first of the layers in which a channel stands out."""
    for layer in loud:
        channels = layers[layer.tap.name]
        channel = standing_out(channels.maxima, usual[layer.tap.name])
        if channel is not None:
            row, column = channels.places[channel].tolist()
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
