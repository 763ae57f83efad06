"""While scanning: pictures of the most suspicious inputs, each with its nearest clean image of the predicted class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner.inputs.items import Source
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.content import Profile
from scanner.profile.gallery import FEATURES, ReferenceGallery
from scanner.profile.header import ProfileHeader
from scanner.profile.picture import Picture
from scanner.profile.thumbnail import picture
from scanner.report.schema import GalleryItem, LayerVoice, LoudestPlace, NearestReference
from scanner.scanning.nearest import Nearest, NearestClean
from scanner.scanning.scanned import ScannedInput

MAX_ITEMS = 48
MAX_LAYERS = 12
MAX_PICTURE_BYTES = 4096
_BATCH = 8

Features = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Gallery:
    """What the report shows of the most suspicious inputs: the entries, and the pictures by SHA-256."""

    items: tuple[GalleryItem, ...]
    pictures: dict[str, Picture]


def show_inputs(
    profile: Profile,
    features_of: Features,
    source: Source,
    top: Sequence[ScannedInput],
    places: Mapping[int, LoudestPlace],
) -> Gallery:
    """Read the most suspicious inputs once more and make the gallery.

    An input that is no longer what was scanned is shown without a picture.

    Args:
        profile: What the inputs were judged with.
        features_of: From pixels to logits and class evidence, by the profile's graph.
        source: The inputs.
        top: The most suspicious inputs, most suspicious first; 48 of them at most are shown.
        places: Where they are loudest, by index.

    Raises:
        ProfileError: The profile's store of clean pictures is damaged.
    """
    shown = list(top[:MAX_ITEMS])
    if not shown:
        return Gallery((), {})
    spec = PreprocessSpec.from_dict(profile.header.preprocess.spec)
    nearest = NearestClean(ReferenceGallery.parse(profile.gallery).images)
    pixels, features = _again(features_of, source, spec, shown)
    pictures: dict[str, Picture] = {}

    def keep(one: Picture | None) -> str | None:
        if one is None or one.size > MAX_PICTURE_BYTES:
            return None
        pictures[one.sha256] = one
        return one.sha256

    items = []
    for row in shown:
        index = row.item.index
        near = None
        if row.predicted is not None and index in features:
            near = _nearest(nearest.find(row.predicted, features[index]), profile.header, keep)
        items.append(
            GalleryItem(
                index=index,
                picture=keep(picture(pixels[index])) if index in pixels else None,
                layers=_voices(profile.header, row.z),
                nearest=near,
                place=places.get(index),
            )
        )
    return Gallery(tuple(items), dict(sorted(pictures.items())))


def _nearest(
    found: Nearest | None, header: ProfileHeader, keep: Callable[[Picture | None], str | None]
) -> NearestReference | None:
    if found is None:
        return None
    return NearestReference(
        id=found.image.id,
        sha256=found.image.sha256,
        class_index=found.image.class_index,
        class_name=header.class_names[found.image.class_index],
        distance=found.distance,
        picture=keep(found.image.picture),
    )


def _again(
    features_of: Features, source: Source, spec: PreprocessSpec, shown: Sequence[ScannedInput]
) -> tuple[dict[int, NDArray[np.uint8]], dict[int, NDArray[np.float64]]]:
    """Pixels and features of the inputs that are still what they were, by index."""

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
        return {**features_of(pixels), "pixels": pixels}

    expected = {row.item.index: row.sha256 for row in shown}
    pixels: dict[int, NDArray[np.uint8]] = {}
    features: dict[int, NDArray[np.float64]] = {}
    for batch in run_pipeline(source, spec, run, batch_size=_BATCH, items=[row.item for row in shown]):
        for position, which in enumerate(batch.readable.tolist()):
            index = batch.items[which].index
            if batch.digests[which] == expected[index]:
                pixels[index] = batch.outputs["pixels"][position]
                features[index] = np.concatenate([batch.outputs[name][position] for name in FEATURES]).astype(float)
    return pixels, features


def _voices(header: ProfileHeader, z: NDArray[np.float64]) -> tuple[LayerVoice, ...]:
    """How loudly each layer spoke: the largest of its standardised scores that decide, in the order of depth."""
    tap_of = {descriptor.key: descriptor.tap for descriptor in header.descriptors}
    loudest: dict[str, float] = {}
    for score, value in zip(header.scores, z.tolist(), strict=True):
        if not score.combined:
            continue
        tap = tap_of.get(score.descriptor, score.descriptor)
        number = math.inf if math.isnan(value) else value
        loudest[tap] = max(loudest.get(tap, -math.inf), number)
    kept = sorted(loudest, key=lambda tap: -loudest[tap])[:MAX_LAYERS]
    depth = {tap.name: tap.depth for tap in header.taps}
    return tuple(
        LayerVoice(tap=tap, z=loudest[tap]) for tap in sorted(kept, key=lambda tap: (depth.get(tap, 1.0), tap))
    )
