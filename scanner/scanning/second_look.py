"""A second look at a few inputs once all are judged: pixels, features, and what the channels of some layers do.

The place where an input is loudest and its picture with the nearest clean image need the network once more. Both take
what they need from one pass, of one session, which reads and decodes every one of these inputs once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import ProfileError
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.gallery import FEATURES
from scanner.profile.header import TapInfo
from scanner.profile.inner_tensors import open_inner_tensors
from scanner.scanning.material import Wanted
from scanner.scanning.scanned import ScannedInput
from scanner.scanning.stages import OpenedScan

_BATCH: Final = 4
"""Few, so that every core has a share of the few inputs there are."""


@dataclass(frozen=True)
class Channels:
    """What the channels of one layer do on one input.

    Attributes:
        maxima: ``(C,)`` float32.
        places: ``(C, 2)`` row and column of each, from 0 to 1.
    """

    maxima: NDArray[np.float32]
    places: NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What a second look at one input shows.

    Attributes:
        pixels: ``(H, W, channels)`` uint8, as the network takes them.
        features: ``(F,)`` float64, its logits and class evidence.
        layers: By the layer's name.
    """

    pixels: NDArray[np.uint8]
    features: NDArray[np.float64]
    layers: Mapping[str, Channels]


def look_again(
    opened: OpenedScan, rows: Sequence[ScannedInput | Wanted], taps: Mapping[str, TapInfo]
) -> dict[int, Seen]:
    """What is seen of inputs that are still what they were, by the input's index.

    Args:
        opened: The profile and the inputs.
        rows: The inputs; one that is named twice is read once.
        taps: Layers with rows and columns, by name. Where there are none, the session of the scan does.

    Raises:
        ProfileError: If the profile's graph does not have the tensors that its header names.
    """
    once = {row.item.index: row for row in rows}
    network = _network(opened, sorted({tap.tensor for tap in taps.values()}))
    spec = PreprocessSpec.from_dict(opened.header.preprocess.spec)
    seen: dict[int, Seen] = {}

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        outputs = network(pixels)
        results = {name: outputs[name] for name in FEATURES} | {"pixels": pixels}
        for name, tap in taps.items():
            channels = _channels(outputs[tap.tensor], tap)
            results |= {f"maxima {name}": channels.maxima, f"places {name}": channels.places}
        return results

    for batch in run_pipeline(opened.source, spec, run, batch_size=_BATCH, items=[row.item for row in once.values()]):
        for position, which in enumerate(batch.readable.tolist()):
            index = batch.items[which].index
            if batch.digests[which] == once[index].sha256:
                out = {name: values[position] for name, values in batch.outputs.items()}
                layers = {name: Channels(out[f"maxima {name}"], out[f"places {name}"]) for name in taps}
                seen[index] = Seen(
                    out["pixels"], np.concatenate([out[name] for name in FEATURES]).astype(float), layers
                )
    return seen


def _network(
    opened: OpenedScan, tensors: Sequence[str]
) -> Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.generic]]]:
    """From pixels to features and tensors."""
    if not tensors:
        return opened.scorer.features
    session = open_inner_tensors(opened.profile, tensors, opened.scorer.output_names)
    wanted = list(dict.fromkeys((*FEATURES, *tensors)))
    return lambda pixels: session.run({"pixels": pixels}, wanted)


def _channels(maps: NDArray[Any], tap: TapInfo) -> Channels:
    if maps.ndim != 4 or 0 in maps.shape:
        raise ProfileError("its layers do not have the shapes its header states", hint="Fit the profile again")
    return channel_maxima(maps if tap.layout == "NCHW" else np.moveaxis(maps, -1, 1))


def channel_maxima(maps: NDArray[Any]) -> Channels:
    """Maxima ``(n, C)`` of maps ``(n, C, H, W)``, and their places ``(n, C, 2)``."""
    count, channels, height, width = maps.shape
    flat = maps.reshape(count, channels, height * width).astype(np.float32)
    where = flat.argmax(2)
    rows, columns = (where // width + 0.5) / height, (where % width + 0.5) / width
    return Channels(np.take_along_axis(flat, where[..., None], 2)[..., 0], np.stack([rows, columns], -1))
