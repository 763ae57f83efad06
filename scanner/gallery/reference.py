"""The clean images that a profile keeps for showing beside suspicious inputs.

A few per class, chosen while fitting: a thumbnail each, and what is needed to find the nearest. The store is optional,
bounded, and no score depends on it. It is one JSON text, specified in docs/profile-format.md, and is treated as
untrusted when it is read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from scanner.errors import ProfileError
from scanner.profile.header import Count, Key, Part, Sha256
from scanner.report.schema import Picture

MAX_IMAGES: Final = 1000
MAX_BYTES: Final = 16 * 2**20
MAX_FEATURES: Final = 512

_Base64 = Annotated[str, StringConstraints(max_length=4 * MAX_FEATURES, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class ReferencePicture(Part):
    """One clean image."""

    id: Key = Field(description="Path below the reference.")
    sha256: Sha256 = Field(description="SHA-256 of the image file.")
    class_index: Count = Field(description="Model output of its class.")
    features: _Base64 = Field(
        description="Its logits and class evidence, little-endian float16 in base64; empty where they were left out."
    )
    picture: Picture = Field(description="Thumbnail.")


class ReferenceGallery(Part):
    """All of them."""

    version: Literal[1] = Field(default=1, description="Version of this part of the profile.")
    images: tuple[ReferencePicture, ...] = Field(max_length=MAX_IMAGES, description="The images, class by class.")

    def to_bytes(self) -> NDArray[np.uint8]:
        """The store as a profile holds it; `parse` is the inverse."""
        return np.frombuffer(self.model_dump_json().encode(), np.uint8)

    @classmethod
    def parse(cls, content: NDArray[np.uint8]) -> Self:
        """Read the store of a profile; empty content is an empty store.

        Raises:
            ProfileError: It is not one, or larger than one may be.
        """
        if not content.size:
            return cls(images=())
        if content.size > MAX_BYTES:
            raise ProfileError("the profile's gallery is too large", hint="Run 'modelscan fit' again")
        try:
            gallery = cls.model_validate_json(content.tobytes(), strict=True)
            if any(not image.picture.is_intact() for image in gallery.images):
                raise ProfileError("the profile's gallery holds something other than small pictures")
        except pydantic.ValidationError as error:
            raise ProfileError(
                f"the profile's gallery is invalid ({error.error_count()} errors)", hint="Run 'modelscan fit' again"
            ) from None
        return gallery


def encode_features(values: NDArray[np.float32]) -> str:
    """Features of one image as text; `decode_features` is the inverse up to float16."""
    with np.errstate(over="ignore"):
        half = np.nan_to_num(values.astype("<f2"))
    return base64.b64encode(half.tobytes()).decode("ascii")


def decode_features(text: str) -> NDArray[np.float64]:
    """Features of one image.

    Raises:
        ProfileError: The text is no such encoding.
    """
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float64)
    except (binascii.Error, ValueError):
        raise ProfileError("the profile's gallery holds damaged features", hint="Run 'modelscan fit' again") from None
    return np.nan_to_num(values)


@dataclass(frozen=True)
class Nearest:
    """The stored image that is nearest to an input, and how near."""

    image: ReferencePicture
    distance: float | None


class NearestClean:
    """Finds the clean image of a class that the network finds most like an input.

    Nearness is the root mean square difference of logits and class evidence, each in standard deviations over the
    stored images: class evidence is the distance of an input's deep features to every class, so two inputs with equal
    evidence look alike to the network.

    Raises:
        ProfileError: The stored features do not fit together.
    """

    def __init__(self, images: Sequence[ReferencePicture]) -> None:
        self._by_class: dict[int, list[int]] = {}
        for position, image in enumerate(images):
            self._by_class.setdefault(image.class_index, []).append(position)
        self._images = images
        features = [decode_features(image.features) for image in images]
        if len({len(row) for row in features}) > 1:
            raise ProfileError("the profile's gallery has features of several sizes", hint="Run 'modelscan fit' again")
        self._features = np.stack(features) if features else np.zeros((0, 0))
        scale = self._features.std(0) if len(features) else np.ones(0)
        self._scale = np.where(scale > 0, scale, 1.0)

    def find(self, class_index: int, features: NDArray[np.float64]) -> Nearest | None:
        """The nearest stored image of a class, or None where there is none of it.

        Args:
            class_index: The predicted class.
            features: The input's logits and class evidence, ``(F,)``.
        """
        positions = self._by_class.get(class_index, [])
        if not positions:
            return None
        if self._features.shape[1] != len(features) or not len(features):
            return Nearest(self._images[positions[0]], None)
        difference = (self._features[positions] - np.nan_to_num(features)) / self._scale
        distance = np.sqrt(np.square(np.clip(difference, -1e6, 1e6)).mean(1))
        best = int(distance.argmin())
        return Nearest(self._images[positions[best]], float(distance[best]))
