"""How an image file becomes the network's input, as data: fixed once, carried in the profile."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, Self, get_args

from scanner.base.errors import PreprocessError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
ChannelOrder = Literal["RGB", "BGR"]

INTERPOLATIONS: Final[tuple[str, ...]] = get_args(Interpolation)
MAX_SIZE: Final = 8192
# What float32 can divide by and multiply with, far beyond any real normalisation.
_SMALLEST: Final = 1e-6
_LARGEST: Final = 1e6


@dataclass(frozen=True)
class PreprocessSpec:
    """Everything between an image file and the network.

    Resize and crop happen on 8-bit pixels with Pillow, as in training. Normalisation happens inside
    the graph: ``(pixel * scale - mean) / std`` per channel.

    Attributes:
        size: Height and width of the network's input, in pixels.
        channels: 1 for grey, 3 for colour.
        resize: None to keep the size, an integer for the shorter side, or height and width.
        interpolation: Filter of the resize.
        crop: Whether the centre is cut to ``size`` after resizing (and padded where it is smaller).
        scale: Factor on 8-bit pixels, usually 1/255.
        mean: Per channel in the network's order, subtracted after scaling.
        std: Per channel in the network's order, divided by.
        channel_order: Order of colour channels that the network expects.
    """

    size: tuple[int, int]
    channels: int
    resize: int | tuple[int, int] | None
    interpolation: Interpolation
    crop: bool
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: ChannelOrder = "RGB"

    def __post_init__(self) -> None:
        """Check every value; its type too, since files and profiles say what they like.

        Raises:
            PreprocessError: If a value is of the wrong type, out of range or of the wrong length.
        """
        if self.channels not in (1, 3) or isinstance(self.channels, bool):
            raise PreprocessError(f"'channels' must be 1 or 3, got {_short(self.channels)}")
        if not isinstance(self.crop, bool):
            raise PreprocessError(f"'crop' must be true or false, got {_short(self.crop)}")
        for name, value, known in (
            ("interpolation", self.interpolation, INTERPOLATIONS),
            ("channel_order", self.channel_order, get_args(ChannelOrder)),
        ):
            if value not in known:
                raise PreprocessError(f"'{name}' must be one of {', '.join(known)}, got {_short(value)}")
        self._set("size", _lengths("size", self.size))
        if self.resize is not None:
            single = isinstance(self.resize, int)
            lengths = _lengths("resize", (self.resize, self.resize) if single else self.resize)
            self._set("resize", lengths[0] if single else lengths)
        self._set("scale", _number("scale", self.scale, _SMALLEST))
        self._set("mean", self._per_channel("mean", self.mean, -_LARGEST))
        self._set("std", self._per_channel("std", self.std, _SMALLEST))

    def geometry(self) -> Self:
        """The same geometry with neutral normalisation: equal for specs that decode to equal pixels."""
        return replace(self, scale=1.0, mean=(0.0,) * self.channels, std=(1.0,) * self.channels, channel_order="RGB")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_dict` is the inverse."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, from a file of unknown origin.

        Raises:
            PreprocessError: If a field is missing, unknown, of the wrong type or out of range.
        """
        if not isinstance(values, Mapping):
            raise PreprocessError(f"expected an object of preprocessing fields, got {_short(values)}")
        known = {field.name for field in fields(cls)}
        missing, unknown = sorted(known - set(values)), sorted(map(str, set(values) - known))
        if missing or unknown:
            parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {_short(unknown)}"] * bool(unknown)
            raise PreprocessError(f"the preprocessing {' and '.join(parts)}")
        return cls(**values)

    @property
    def sha256(self) -> str:
        """Digest of the canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _per_channel(self, name: str, values: object, smallest: float) -> tuple[float, ...]:
        if not isinstance(values, list | tuple) or len(values) != self.channels:
            raise PreprocessError(f"'{name}' must be a list of {self.channels} numbers, got {_short(values)}")
        return tuple(_number(name, value, smallest) for value in values)


def _lengths(name: str, value: object) -> tuple[int, int]:
    valid = (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= MAX_SIZE for v in value)
    )
    if not valid:
        raise PreprocessError(f"'{name}' must be whole pixels from 1 to {MAX_SIZE}, got {_short(value)}")
    assert isinstance(value, list | tuple)
    return value[0], value[1]


def _number(name: str, value: object, smallest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PreprocessError(f"'{name}' must hold numbers, got {_short(value)}")
    if not smallest <= value <= _LARGEST or not math.isfinite(value):
        raise PreprocessError(f"'{name}' must lie between {smallest:g} and {_LARGEST:g}, got {_short(value)}")
    return float(value) + 0.0  # no negative zero: equal specs have equal digests


def _short(value: object) -> str:
    try:
        return repr(value)[:60]
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return "something unprintable"
