"""How an image file becomes the network's input, as data: fixed once, carried in the profile.

Resizing happens on 8-bit pixels with Pillow, as in training. Normalisation happens inside the graph:
``(pixel * scale - mean) / std`` per channel.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from scanner.errors import PreprocessError
from scanner.inputs.files import read_file
from scanner.inputs.source import UnreadableInput

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic", "lanczos")
MAX_SIZE = 8192
CROP_SHARE = 0.875
_MAX_JSON_BYTES = 1024 * 1024


@dataclass(frozen=True)
class PreprocessSpec:
    """Everything between an image file and the network.

    Attributes:
        size: Height and width of the network's input, in pixels.
        channels: 1 for grey, 3 for colour.
        resize: None to keep the size, an integer for the shorter side, or height and width.
        interpolation: Filter of the resize.
        crop: Whether the centre is cut to ``size`` after resizing.
        scale: Factor on 8-bit pixels, usually 1/255.
        mean: Per channel, subtracted after scaling.
        std: Per channel, divided by.
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
    channel_order: Literal["RGB", "BGR"] = "RGB"

    def __post_init__(self) -> None:
        """Refuse what no preprocessing can be.

        Raises:
            PreprocessError: If a value is out of range or of the wrong length.
        """
        lengths = [*self.size, *_resize_lengths(self.resize)]
        if not all(1 <= length <= MAX_SIZE for length in lengths):
            raise PreprocessError(f"sizes must lie between 1 and {MAX_SIZE} pixels, got {lengths}")
        if self.channels not in (1, 3):
            raise PreprocessError(f"images have 1 or 3 channels, got {self.channels}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise PreprocessError(f"mean and std need {self.channels} values, got {len(self.mean)} and {len(self.std)}")
        if not all(math.isfinite(v) for v in (self.scale, *self.mean, *self.std)):
            raise PreprocessError("scale, mean and std must be finite")
        if self.scale <= 0 or min(self.std) <= 0:
            raise PreprocessError("scale and std must be positive")
        if self.interpolation not in INTERPOLATIONS or self.channel_order not in ("RGB", "BGR"):
            raise PreprocessError(f"unknown interpolation {self.interpolation!r} or order {self.channel_order!r}")

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
            PreprocessError: If a field is missing, unknown or of the wrong type.
        """
        fields = {"size", "channels", "resize", "interpolation", "crop", "scale", "mean", "std", "channel_order"}
        if not isinstance(values, Mapping) or set(values) != fields:
            raise PreprocessError(f"a preprocessing must have exactly the fields {', '.join(sorted(fields))}")
        resize = values["resize"]
        if isinstance(resize, list):
            resize = _pair(resize)
        elif resize is not None and not _is_int(resize):
            raise PreprocessError("'resize' must be null, an integer or two integers")
        if not isinstance(values["crop"], bool) or not _is_int(values["channels"]):
            raise PreprocessError("'crop' must be true or false and 'channels' an integer")
        return cls(
            size=_pair(values["size"]),
            channels=values["channels"],
            resize=resize,
            interpolation=values["interpolation"],
            crop=values["crop"],
            scale=_floats([values["scale"]])[0],
            mean=_floats(values["mean"]),
            std=_floats(values["std"]),
            channel_order=values["channel_order"],
        )

    @property
    def sha256(self) -> str:
        """Digest of the canonical JSON."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def _resize_lengths(resize: int | tuple[int, int] | None) -> tuple[int, ...]:
    if resize is None:
        return ()
    return (resize,) if isinstance(resize, int) else resize


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _pair(value: object) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(_is_int(v) for v in value):
        raise PreprocessError(f"expected two integers, got {str(value)[:60]!r}")
    return int(value[0]), int(value[1])


def _floats(values: object) -> tuple[float, ...]:
    if not isinstance(values, list | tuple) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    ):
        raise PreprocessError(f"expected a list of numbers, got {str(values)[:60]!r}")
    return tuple(float(v) for v in values)


@dataclass(frozen=True)
class Normalisation:
    """Scale, mean and std for three channels; grey images take the mean over channels."""

    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def for_channels(self, channels: int) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
        """Scale, mean and std for 1 or 3 channels."""
        if channels == 3:
            return self.scale, self.mean, self.std
        return self.scale, (round(sum(self.mean) / 3, 6),), (round(sum(self.std) / 3, 6),)


NORMALISATIONS: Mapping[str, Normalisation] = {
    "unit": Normalisation(1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": Normalisation(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": Normalisation(1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "cifar10": Normalisation(1 / 255, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Normalisation(1 / 255, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "mnist": Normalisation(1 / 255, (0.1307, 0.1307, 0.1307), (0.3081, 0.3081, 0.3081)),
    "raw255": Normalisation(1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def _with_normalisation(
    name: str, channels: int, size: tuple[int, int], resize: int | tuple[int, int] | None, crop: bool
) -> PreprocessSpec:
    scale, mean, std = NORMALISATIONS[name].for_channels(channels)
    return PreprocessSpec(size, channels, resize, "bilinear", crop, scale, mean, std)


def candidates(
    channels: int, size: tuple[int, int], image_sizes: Sequence[tuple[int, int]]
) -> list[tuple[str, PreprocessSpec]]:
    """What to try on labelled clean images: every normalisation with every plausible resize.

    Args:
        channels: Of the network's input.
        size: Height and width of the network's input.
        image_sizes: Height and width of some images; no resize is tried when all fit already.
    """
    shorter = min(size)
    recipes: list[tuple[str, int | tuple[int, int] | None, bool]]
    if image_sizes and all(image == size for image in image_sizes):
        recipes = [("", None, False)]
    else:
        recipes = [
            (f", resize {round(shorter / CROP_SHARE)} and crop", round(shorter / CROP_SHARE), True),
            (f", resize {shorter} and crop", shorter, True),
            (f", resize to {size[0]}x{size[1]}", size, False),
        ]
    return [
        (f"{name}{suffix}", _with_normalisation(name, channels, size, resize, crop))
        for suffix, resize, crop in recipes
        for name in NORMALISATIONS
    ]


def parse_flag(text: str, channels: int, size: tuple[int, int]) -> PreprocessSpec:
    """The value of ``--preprocess``: a normalisation's name, or a JSON file.

    With a name, images of another size are resized to the network's input directly; a file says
    everything.

    Raises:
        PreprocessError: If it is neither.
    """
    if text in NORMALISATIONS:
        return _with_normalisation(text, channels, size, size, False)
    path = Path(text)
    if not path.is_file():
        raise PreprocessError(
            f"{text!r} is neither a preset nor a file",
            where="--preprocess",
            hint=f"Presets: {', '.join(NORMALISATIONS)}",
        )
    values = _read_json(path)
    if values is None:
        raise PreprocessError("is not a JSON object of at most 1 MiB", where=text)
    spec = _from_json(values, channels, size)
    if spec is None:
        raise PreprocessError("describes no preprocessing this tool knows", where=text)
    return spec


def from_sidecar(model: Path, channels: int, size: tuple[int, int]) -> tuple[PreprocessSpec, str] | None:
    """Preprocessing from a file beside the model: ``preprocessor_config.json`` or ``config.json``.

    Raises:
        PreprocessError: If such a file describes a preprocessing that is not usable.
    """
    for name in ("preprocessor_config.json", "config.json"):
        values = _read_json(model.parent / name)
        if values is not None and (spec := _from_json(values, channels, size)) is not None:
            return spec, name
    return None


def from_onnx_metadata(metadata: Mapping[str, str], channels: int, size: tuple[int, int]) -> PreprocessSpec | None:
    """Preprocessing from an ONNX file's metadata: key ``preprocess``, JSON as in a sidecar file."""
    text = metadata.get("preprocess")
    if text is None:
        return None
    values = _parse_json(text)
    return None if values is None else _from_json(values, channels, size)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return _parse_json(read_file(path.parent, path.name, _MAX_JSON_BYTES).decode("utf-8"))
    except (UnreadableInput, UnicodeDecodeError):
        return None


def _parse_json(text: str) -> dict[str, Any] | None:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _from_json(values: dict[str, Any], channels: int, size: tuple[int, int]) -> PreprocessSpec | None:
    if "interpolation" in values and "channel_order" in values:
        return PreprocessSpec.from_dict(values)
    if "image_mean" in values:
        return _from_hugging_face(values, channels, size)
    config = values.get("pretrained_cfg")
    if isinstance(config, dict) and "mean" in config:
        return _from_timm(config, channels, size)
    return None


def _from_hugging_face(values: dict[str, Any], channels: int, size: tuple[int, int]) -> PreprocessSpec:
    """``preprocessor_config.json`` of the transformers library."""
    filters: dict[object, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
    wanted = values.get("size")
    resize: int | tuple[int, int] | None = None
    if values.get("do_resize", True) and isinstance(wanted, dict):
        if "shortest_edge" in wanted:
            resize = _int(wanted["shortest_edge"])
        elif "height" in wanted and "width" in wanted:
            resize = (_int(wanted["height"]), _int(wanted["width"]))
    elif values.get("do_resize", True) and _is_int(wanted):
        resize = (_int(wanted), _int(wanted))
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    normalise = values.get("do_normalize", True)
    return PreprocessSpec(
        size,
        channels,
        resize,
        filters.get(values.get("resample", 2), "bilinear"),
        bool(values.get("do_center_crop", False)),
        _floats([factor])[0],
        _floats(values["image_mean"]) if normalise else (0.0,) * channels,
        _floats(values.get("image_std")) if normalise else (1.0,) * channels,
    )


def _from_timm(config: dict[str, Any], channels: int, size: tuple[int, int]) -> PreprocessSpec:
    """``pretrained_cfg`` of a timm ``config.json``."""
    share = _floats([config.get("crop_pct", CROP_SHARE)])[0]
    if not 0.1 <= share <= 1.0:
        raise PreprocessError(f"crop_pct must lie in [0.1, 1], got {share}")
    interpolation = config.get("interpolation", "bicubic")
    return PreprocessSpec(
        size,
        channels,
        math.floor(min(size) / share),
        interpolation,
        True,
        1 / 255,
        _floats(config["mean"]),
        _floats(config.get("std")),
    )


def _int(value: object) -> int:
    if not _is_int(value):
        raise PreprocessError(f"expected an integer, got {str(value)[:60]!r}")
    assert isinstance(value, int)
    return value
