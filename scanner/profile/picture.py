"""A small picture as profiles and reports hold it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from scanner.profile.header import Part

PictureData = Annotated[str, StringConstraints(max_length=16_384, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class Picture(Part):
    """A small picture, encoded anew from decoded pixels."""

    type: Literal["image/png", "image/webp"] = Field(description="Media type.")
    width: int = Field(ge=1, le=96, description="Pixels.")
    height: int = Field(ge=1, le=96, description="Pixels.")
    data: PictureData = Field(description="The file in base64.")

    @classmethod
    def of(cls, kind: Literal["image/png", "image/webp"], content: bytes, width: int, height: int) -> Self:
        """The picture with this content."""
        return cls(type=kind, width=width, height=height, data=base64.b64encode(content).decode("ascii"))

    @property
    def content(self) -> bytes:
        """The file."""
        return base64.b64decode(self.data)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.content)

    @property
    def sha256(self) -> str:
        """Digest of the file, its key among the report's pictures."""
        return hashlib.sha256(self.content).hexdigest()

    def is_intact(self) -> bool:
        """Whether the data are base64 of a file that starts as its type does."""
        try:
            content = base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError):
            return False
        if self.type == "image/png":
            return content.startswith(b"\x89PNG\r\n\x1a\n")
        return content[:4] == b"RIFF" and content[8:12] == b"WEBP"
