"""The clean images that a profile keeps for showing beside suspicious inputs.

A few per class, chosen while fitting: a thumbnail each, and what is needed to find the nearest. The store is optional,
bounded, and no score depends on it. It is one JSON text, specified in docs/profile-format.md, and is treated as
untrusted when it is read.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal, Self

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from scanner.base.errors import ProfileError
from scanner.profile.header import Count, Key, Part, Sha256
from scanner.profile.picture import Picture

FEATURES: Final = ("logits", "class_evidence")
"""Outputs of the scoring graph by which images are found alike."""

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
