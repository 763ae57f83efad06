"""While scanning: pictures of the most suspicious inputs, each with its nearest clean image of the predicted class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanner.profile.content import Profile
from scanner.profile.gallery import ReferenceGallery
from scanner.profile.header import ProfileHeader
from scanner.profile.picture import Picture
from scanner.profile.thumbnail import picture
from scanner.report.schema import GalleryItem, LayerVoice, LoudestPlace, NearestReference
from scanner.scanning.nearest import Nearest, NearestClean
from scanner.scanning.scanned import ScannedInput
from scanner.scanning.second_look import Seen

MAX_ITEMS = 48
MAX_LAYERS = 12
MAX_PICTURE_BYTES = 4096


@dataclass(frozen=True)
class Gallery:
    """What the report shows of the most suspicious inputs: the entries, and the pictures by SHA-256."""

    items: tuple[GalleryItem, ...]
    pictures: dict[str, Picture]


def show_inputs(
    profile: Profile,
    top: Sequence[ScannedInput],
    seen: Mapping[int, Seen],
    places: Mapping[int, LoudestPlace],
) -> Gallery:
    """Make the gallery of the most suspicious inputs.

    Args:
        profile: What the inputs were judged with.
        top: The most suspicious inputs, most suspicious first, 48 at most.
        seen: What a second look at them showed, by index. One that is no longer what was scanned is missing, and is
            shown without a picture.
        places: Where they are loudest, by index.

    Raises:
        ProfileError: The profile's store of clean pictures is damaged.
    """
    if not top:
        return Gallery((), {})
    nearest = NearestClean(ReferenceGallery.parse(profile.gallery).images)
    pictures: dict[str, Picture] = {}

    def keep(one: Picture | None) -> str | None:
        if one is None or one.size > MAX_PICTURE_BYTES:
            return None
        pictures[one.sha256] = one
        return one.sha256

    items = []
    for row in top:
        index = row.item.index
        look, near = seen.get(index), None
        if row.predicted is not None and look is not None:
            near = _nearest(nearest.find(row.predicted, look.features), profile.header, keep)
        items.append(
            GalleryItem(
                index=index,
                picture=None if look is None else keep(picture(look.pixels)),
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
