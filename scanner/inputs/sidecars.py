"""Preprocessing in the words of others: Hugging Face and timm configuration files, ONNX metadata.

What these files leave to the code that reads them is not guessed: a field that matters and is
missing, and a feature that this tool does not have, are errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from scanner.base.errors import PreprocessError
from scanner.inputs.spec import Interpolation, PreprocessSpec

_PIL_FILTERS: Final[Mapping[int, Interpolation]] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_FILTER_NAMES: Final[Mapping[str, Interpolation]] = {
    "nearest": "nearest",
    "lanczos": "lanczos",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
}

# Image processors of transformers that do what their file says, by whether a number as 'size' means
# both sides or the shorter one. Others (LeViT, PoolFormer, EfficientNet) have constants or a second
# normalisation in their code.
_SQUARE: Final = frozenset({"", "ViT", "DeiT", "Beit", "Siglip"})
_SHORTEST: Final = frozenset({"CLIP", "Bit", "ConvNext", "MobileNetV1", "MobileNetV2", "MobileViT"})
# Those that cut the centre unless the file says otherwise; the others do not.
_CROPPING: Final = frozenset({"DeiT", "CLIP", "Bit", "MobileNetV1", "MobileNetV2", "MobileViT"})
_HF_KEYS: Final = frozenset(
    {"image_processor_type", "feature_extractor_type", "image_mean", "do_normalize", "do_resize"}
)
_HOW_TO_FIT: Final = "Give --preprocess, or --input-size where the network allows it"
_METADATA_KEYS: Final = ("mean", "std", "scale", "input_size", "interpolation", "crop_pct", "channel_order")


def from_values(values: Mapping[str, Any], channels: int, size: tuple[int, int]) -> PreprocessSpec | None:
    """Read the content of a JSON file, whichever of the three formats it has.

    Args:
        values: Content of this tool's own file, of ``preprocessor_config.json``, or of timm's ``config.json``.
        channels: Of the network's input, 1 or 3.
        size: Height and width of the network's input.

    Returns:
        None if it is about something else.

    Raises:
        PreprocessError: If it is incomplete, not supported, or does not fit the network.
    """
    if isinstance(values.get("pretrained_cfg"), Mapping):
        spec = _from_timm(values["pretrained_cfg"], channels, size)
    elif "architecture" in values and "input_size" in values:
        spec = _from_timm(values, channels, size)  # timm files before 2023: all in one level
    elif not _HF_KEYS.isdisjoint(values):
        spec = _from_hugging_face(values, channels, size)
    elif "channels" in values and "scale" in values:
        spec = PreprocessSpec.from_dict(values)
    else:
        return None
    return _require_fit(spec, channels, size)


def from_metadata(metadata: Mapping[str, str], channels: int, size: tuple[int, int]) -> PreprocessSpec | None:
    """Read ``metadata_props`` of an ONNX file.

    Either the key ``preprocess`` holds the JSON of :func:`from_values`, or there are ``mean`` and
    ``std`` (lists of numbers, after scaling), and optionally ``scale`` (1/255 if absent),
    ``channel_order`` (RGB), ``input_size`` (checked), ``interpolation`` (bilinear) and ``crop_pct``:
    with it, the shorter side becomes ``floor(size / crop_pct)`` and the centre is cut; without it,
    images are resized straight to the network's input.

    Returns:
        None if no such key is there.

    Raises:
        PreprocessError: As for :func:`from_values`.
    """
    if "preprocess" in metadata:
        spec = from_values(parse_object(metadata["preprocess"]), channels, size)
        if spec is None:
            raise PreprocessError("'preprocess' is not a preprocessing this tool knows")
        return spec
    if "mean" not in metadata and "std" not in metadata:
        return None
    values: dict[str, Any] = {
        key: text if key in ("interpolation", "channel_order") else _metadata_value(key, text)
        for key, text in metadata.items()
        if key in _METADATA_KEYS
    }
    declared = values.get("input_size", size)
    square = size[0] if size[0] == size[1] else size
    if declared not in (square, size, [*size], [channels, *size]):
        raise _does_not_fit(f"'input_size' is {str(declared)[:60]}", channels, size)
    crop = "crop_pct" in values
    return PreprocessSpec(
        size,
        channels,
        math.floor(min(size) / _share(values["crop_pct"])) if crop else size,
        _named_filter(values.get("interpolation", "bilinear")),
        crop,
        values.get("scale", 1 / 255),
        _vector(values, "mean", channels),
        _vector(values, "std", channels),
        values.get("channel_order", "RGB"),
    )


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object of unknown origin.

    Raises:
        PreprocessError: If it is none.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise PreprocessError("is not valid JSON") from None
    if not isinstance(values, dict):
        raise PreprocessError("is not a JSON object")
    return values


def _from_timm(config: Mapping[str, Any], channels: int, size: tuple[int, int]) -> PreprocessSpec:
    """``pretrained_cfg`` of timm; the transform is ``timm.data.transforms_factory.transforms_imagenet_eval``."""
    declared = config.get("input_size")
    if not isinstance(declared, list) or len(declared) != 3 or tuple(declared) != (channels, *size):
        raise _does_not_fit(f"'input_size' is {str(declared)[:60]}", channels, size)
    mode = config.get("crop_mode") or "center"
    share = _share(config.get("crop_pct", 0.875))
    sides = (math.floor(size[0] / share), math.floor(size[1] / share))
    if mode not in ("center", "squash") or (mode == "center" and sides[0] != sides[1]):
        raise PreprocessError(f"crop mode {str(mode)[:60]!r} for {size[0]}x{size[1]} is not supported")
    return PreprocessSpec(
        size,
        channels,
        sides if mode == "squash" else sides[0],
        _named_filter(config.get("interpolation", "bicubic")),
        True,
        1 / 255,
        _vector(config, "mean", channels),
        _vector(config, "std", channels),
    )


def _from_hugging_face(values: Mapping[str, Any], channels: int, size: tuple[int, int]) -> PreprocessSpec:
    """``preprocessor_config.json`` of transformers."""
    family = _processor_family(values)
    resize, crop = _hf_geometry(values, family, size)
    mobile_vit = family == "MobileViT"
    normalise = _flag(values, "do_normalize", not mobile_vit)
    return PreprocessSpec(
        size,
        channels,
        resize,
        "bilinear" if resize is None else _hf_filter(values),
        crop,
        values.get("rescale_factor", 1 / 255) if _flag(values, "do_rescale", True) else 1.0,
        _vector(values, "image_mean", channels) if normalise else (0.0,) * channels,
        _vector(values, "image_std", channels) if normalise else (1.0,) * channels,
        "BGR" if _flag(values, "do_flip_channel_order", mobile_vit) else "RGB",
    )


def _processor_family(values: Mapping[str, Any]) -> str:
    """``"ViT"`` of ``"ViTImageProcessorFast"``; empty if the file names no processor."""
    name = values.get("image_processor_type") or values.get("feature_extractor_type") or ""
    family = str(name)
    for suffix in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        family = family.removesuffix(suffix)
    if family not in _SQUARE | _SHORTEST or values.get("rescale_offset"):
        raise PreprocessError(f"the image processor {str(name)[:60]!r} is not supported")
    return family


def _hf_geometry(
    values: Mapping[str, Any], family: str, size: tuple[int, int]
) -> tuple[int | tuple[int, int] | None, bool]:
    """Resize and crop."""
    wanted = values.get("size")
    if isinstance(wanted, int):
        wanted = {"shortest_edge": wanted} if family in _SHORTEST else {"height": wanted, "width": wanted}
    if family == "ConvNext":
        return _convnext_geometry(values, wanted, size)
    crop = _flag(values, "do_center_crop", family in _CROPPING)
    if crop:
        _require_crop(values, size)
    if not _flag(values, "do_resize", True):
        return None, crop
    if isinstance(wanted, Mapping) and set(wanted) == {"shortest_edge"}:
        return _pixels(wanted["shortest_edge"]), crop
    if isinstance(wanted, Mapping) and set(wanted) == {"height", "width"}:
        return (_pixels(wanted["height"]), _pixels(wanted["width"])), crop
    raise PreprocessError(f"'size' is {str(wanted)[:60]}, expected 'shortest_edge', or 'height' and 'width'")


def _convnext_geometry(
    values: Mapping[str, Any], wanted: object, size: tuple[int, int]
) -> tuple[int | tuple[int, int] | None, bool]:
    """Below 384 pixels, shorter side to ``size / crop_pct`` and centre crop; from there on, both sides straight."""
    if not _flag(values, "do_resize", True):
        return None, False
    if not isinstance(wanted, Mapping) or set(wanted) != {"shortest_edge"}:
        raise PreprocessError(f"'size' is {str(wanted)[:60]}, expected 'shortest_edge'")
    shortest = _pixels(wanted["shortest_edge"])
    if (shortest, shortest) != size:
        raise _does_not_fit(f"it makes {shortest}x{shortest} pixels", 3, size)
    if shortest >= 384:
        return size, False
    # int() as in ConvNextImageProcessor.resize.
    return int(shortest / _share(values.get("crop_pct"))), True


def _require_crop(values: Mapping[str, Any], size: tuple[int, int]) -> None:
    crop = values.get("crop_size")
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    if not isinstance(crop, Mapping) or (crop.get("height"), crop.get("width")) != size:
        raise PreprocessError(
            f"'crop_size' is {str(crop)[:60]}, the network takes {size[0]}x{size[1]}",
            hint=_HOW_TO_FIT,
        )


def _hf_filter(values: Mapping[str, Any]) -> Interpolation:
    code = values.get("resample")
    if isinstance(code, bool) or not isinstance(code, int) or code not in _PIL_FILTERS:
        raise PreprocessError(f"'resample' is {str(code)[:60]}, expected one of {sorted(_PIL_FILTERS)}")
    return _PIL_FILTERS[code]


def _named_filter(name: object) -> Interpolation:
    if not isinstance(name, str) or name not in _FILTER_NAMES:
        raise PreprocessError(f"'interpolation' is {str(name)[:60]!r}, expected one of {', '.join(_FILTER_NAMES)}")
    return _FILTER_NAMES[name]


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 1:
        raise PreprocessError(f"'crop_pct' is {str(value)[:60]}, expected 0.1 to 1")
    return float(value)


def _vector(values: Mapping[str, Any], key: str, channels: int) -> tuple[float, ...]:
    vector = values.get(key)
    if not isinstance(vector, list) or len(vector) != channels:
        raise PreprocessError(f"'{key}' is {str(vector)[:60]}, expected {channels} numbers")
    return tuple(vector)


def _pixels(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PreprocessError(f"'size' holds {str(value)[:60]}, expected pixels")
    return value


def _flag(values: Mapping[str, Any], key: str, default: bool) -> bool:
    value = values.get(key, default)
    if not isinstance(value, bool):
        raise PreprocessError(f"'{key}' is {str(value)[:60]}, expected true or false")
    return value


def _metadata_value(key: str, text: str) -> object:
    """A number, or a list of numbers as JSON or as ``0.5,0.5,0.5``; a list always for mean and std."""
    try:
        numbers = [float(part) for part in text.strip(" []()").replace(",", " ").split()]
    except ValueError:
        raise PreprocessError(f"'{key}' is {text[:60]!r}, expected numbers") from None
    return numbers if len(numbers) != 1 or key in ("mean", "std") else numbers[0]


def _require_fit(spec: PreprocessSpec, channels: int, size: tuple[int, int]) -> PreprocessSpec:
    if spec.channels != channels or spec.size != size:
        raise _does_not_fit(f"it makes {spec.channels}x{spec.size[0]}x{spec.size[1]}", channels, size)
    resized = (spec.resize, spec.resize) if isinstance(spec.resize, int) else spec.resize
    if not spec.crop and resized not in (None, size):
        raise _does_not_fit(f"it resizes to {spec.resize} without a crop", channels, size)
    return spec


def _does_not_fit(what: str, channels: int, size: tuple[int, int]) -> PreprocessError:
    return PreprocessError(
        f"{what}, the network takes {channels}x{size[0]}x{size[1]}",
        hint=_HOW_TO_FIT,
    )
