"""Preprocessing as data: laws, presets, and what other tools wrote down."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.base.errors import PreprocessError
from scanner.inputs.normalise import normalise
from scanner.inputs.preprocess import (
    INTERPOLATIONS,
    NORMALISATIONS,
    PreprocessSpec,
    candidates,
    from_file,
    from_onnx_metadata,
    from_sidecar,
    named_presets,
    parse_flag,
)

SPEC = PreprocessSpec((224, 200), 3, 256, "bicubic", True, 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "BGR")
SQUARE = (224, 224)

lengths = st.integers(1, 8192)
values = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)


@st.composite
def specs(draw: st.DrawFn) -> PreprocessSpec:
    channels = draw(st.sampled_from([1, 3]))
    return PreprocessSpec(
        size=draw(st.tuples(lengths, lengths)),
        channels=channels,
        resize=draw(st.one_of(st.none(), lengths, st.tuples(lengths, lengths))),
        interpolation=draw(st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"])),
        crop=draw(st.booleans()),
        scale=draw(positive),
        mean=tuple(draw(st.lists(values, min_size=channels, max_size=channels))),
        std=tuple(draw(st.lists(positive, min_size=channels, max_size=channels))),
        channel_order=draw(st.sampled_from(["RGB", "BGR"])),
    )


# --- the spec ---


@given(specs())
@settings(deadline=None)
def test_json_round_trip(spec: PreprocessSpec) -> None:
    again = PreprocessSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.sha256 == spec.sha256
    assert hash(again) == hash(spec)


@given(specs(), specs())
@settings(deadline=None)
def test_digest_identifies_the_spec(one: PreprocessSpec, other: PreprocessSpec) -> None:
    assert (one == other) == (one.sha256 == other.sha256)


def test_digest_is_stable() -> None:
    assert SPEC.sha256 == replace(SPEC).sha256
    assert replace(SPEC, mean=(0.0, 0.0, -0.0)).sha256 == replace(SPEC, mean=(0, 0, 0)).sha256
    # Stored in profiles: must not change with a refactoring.
    assert SPEC.to_dict() == {
        "size": [224, 200],
        "channels": 3,
        "resize": 256,
        "interpolation": "bicubic",
        "crop": True,
        "scale": 1 / 255,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "channel_order": "BGR",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", [0, 5]),
        ("size", [5, 8193]),
        ("size", [5]),
        ("size", [5, 5, 5]),
        ("size", [5.0, 5.0]),
        ("size", [True, 5]),
        ("size", "ab"),
        ("size", None),
        ("size", {"height": 5, "width": 5}),
        ("resize", 0),
        ("resize", True),
        ("resize", 10**30),
        ("resize", [5]),
        ("resize", "5"),
        ("resize", 5.5),
        ("channels", 2),
        ("channels", 3.5),
        ("channels", True),
        ("channels", None),
        ("channels", [3]),
        ("interpolation", "area"),
        ("interpolation", None),
        ("interpolation", ["bilinear"]),
        ("crop", 1),
        ("crop", None),
        ("crop", "center"),
        ("scale", 0),
        ("scale", -1),
        ("scale", math.nan),
        ("scale", math.inf),
        ("scale", 1e-30),
        ("scale", "1"),
        ("scale", True),
        ("mean", [0.5, 0.5]),
        ("mean", [0.5, 0.5, math.nan]),
        ("mean", [0.5, 0.5, 1e30]),
        ("mean", [0.5, 0.5, 10**400]),
        ("mean", [0.5, 0.5, "0.5"]),
        ("mean", 0.5),
        ("mean", "abc"),
        ("std", [0.5, 0.5, 0.0]),
        ("std", [0.5, 0.5, -1]),
        ("std", [0.5, 0.5, math.inf]),
        ("std", None),
        ("channel_order", "GBR"),
        ("channel_order", 3),
    ],
)
def test_invalid_values_are_refused(field: str, value: object) -> None:
    with pytest.raises(PreprocessError, match=f"'{field}'"):
        PreprocessSpec.from_dict({**SPEC.to_dict(), field: value})


def test_fields_have_to_be_exactly_those() -> None:
    whole = SPEC.to_dict()
    for field in whole:
        with pytest.raises(PreprocessError, match=f"lacks {field}"):
            PreprocessSpec.from_dict({key: value for key, value in whole.items() if key != field})
    with pytest.raises(PreprocessError, match="unknown"):
        PreprocessSpec.from_dict({**whole, "gamma": 2.2})
    with pytest.raises(PreprocessError):
        PreprocessSpec.from_dict([1])  # type: ignore[arg-type]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(SPEC.to_dict(), json_values)))
@settings(deadline=None)
def test_untrusted_json_is_a_spec_or_an_error(fields: dict[str, Any]) -> None:
    with contextlib.suppress(PreprocessError):
        PreprocessSpec.from_dict({**SPEC.to_dict(), **fields})


def test_geometry_ignores_normalisation_only() -> None:
    assert SPEC.geometry() == replace(SPEC, mean=(1.0, 1.0, 1.0), channel_order="RGB").geometry()
    assert SPEC.geometry() != replace(SPEC, resize=255).geometry()


# --- presets and candidates ---


def test_presets_are_the_published_numbers() -> None:
    torchvision_models = pytest.importorskip("torchvision.models")
    weights = torchvision_models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    spec = parse_flag("imagenet:crop", 3, SQUARE)
    assert list(spec.mean) == weights.mean
    assert list(spec.std) == weights.std
    assert spec.resize == weights.resize_size[0] == 256
    assert spec.size[0] == weights.crop_size[0]
    assert parse_flag("mnist", 1, (28, 28)).mean == (0.1307,)
    assert parse_flag("imagenet-inception", 3, SQUARE).mean == (0.5, 0.5, 0.5)
    assert parse_flag("raw255", 3, SQUARE).scale == 1.0
    assert set(named_presets()) == {
        "unit",
        "imagenet",
        "imagenet-inception",
        "mnist",
        "cifar10",
        "cifar100",
        "raw255",
        "caffe-rgb",
        "caffe",
        "unit-bgr",
        "imagenet-bgr",
        "imagenet-inception-bgr",
        "cifar10-bgr",
        "cifar100-bgr",
        "raw255-bgr",
    }


def test_caffe_is_bgr_in_grey_levels_without_the_mean() -> None:
    """BVLC's reference networks subtract 104, 117 and 123 from blue, green and red, and divide by nothing."""
    spec = parse_flag("caffe:crop", 3, SQUARE)
    assert (spec.channel_order, spec.scale, spec.mean, spec.std) == ("BGR", 1.0, (104.0, 117.0, 123.0), (1.0,) * 3)
    assert (spec.resize, spec.crop) == (256, True)
    pixels = np.full((1, *SQUARE, 3), (123, 117, 104), np.uint8)
    assert not normalise(pixels, spec, "NCHW").any()


def test_bgr_is_the_same_normalisation_of_swapped_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    names = [name for name in NORMALISATIONS if f"{name}-bgr" in NORMALISATIONS]
    assert len(names) == 6
    for name, swapped in [*((name, f"{name}-bgr") for name in names), ("caffe-rgb", "caffe")]:
        as_rgb = normalise(pixels, parse_flag(name, 3, (5, 7)), "NCHW")
        np.testing.assert_array_equal(normalise(pixels, parse_flag(swapped, 3, (5, 7)), "NCHW"), as_rgb[:, ::-1])


def test_a_grey_network_has_no_order_of_colours() -> None:
    assert parse_flag("imagenet-bgr", 1, SQUARE) == parse_flag("imagenet", 1, SQUARE)
    assert not [name for name, _ in candidates(1, SQUARE, []) if "bgr" in name or "caffe" in name]


def test_grey_takes_the_mean_of_the_colours() -> None:
    spec = parse_flag("imagenet", 1, SQUARE)
    assert spec.mean == (pytest.approx((0.485 + 0.456 + 0.406) / 3, abs=1e-6),)
    assert spec.std == (pytest.approx((0.229 + 0.224 + 0.225) / 3, abs=1e-6),)


def test_no_resize_is_tried_when_all_images_fit() -> None:
    found = candidates(3, (32, 32), [(32, 32)] * 4)
    assert {spec.resize for _, spec in found} == {None}
    in_rgb = ["unit", "imagenet", "imagenet-inception", "cifar10", "cifar100", "raw255"]
    assert {name for name, _ in found} == {*in_rgb, *(f"{name}-bgr" for name in in_rgb), "caffe", "caffe-rgb"}


@pytest.mark.parametrize("image_sizes", [[], [(224, 224), (224, 225)]])
def test_candidates_are_the_cross_product(image_sizes: list[tuple[int, int]]) -> None:
    found = dict(candidates(3, SQUARE, image_sizes))
    assert len(found) == 14 * 3
    assert {(spec.resize, spec.crop) for spec in found.values()} == {(256, True), (224, True), (SQUARE, False)}
    assert len({spec.sha256 for spec in found.values()}) == len(found)


@pytest.mark.parametrize(
    ("channels", "size"), [(1, (28, 28)), (3, (32, 32)), (3, (224, 224)), (3, (120, 160)), (3, (8192, 8192))]
)
def test_a_candidates_name_is_a_flag(channels: int, size: tuple[int, int]) -> None:
    found = candidates(channels, size, [])
    for name, spec in found:
        assert parse_flag(name, channels, size) == spec
        assert spec.size == size
        assert spec.channels == channels == len(spec.mean)
    names = {name.partition(":")[0] for name, _ in found}
    assert ("mnist" in names) == (channels == 1)
    assert ("cifar10" in names) == (channels == 3)
    assert all(spec.crop is False for _, spec in found) == (size[0] != size[1])


def test_a_bare_name_stretches() -> None:
    assert parse_flag("unit", 3, (20, 30)) == parse_flag("unit:stretch", 3, (20, 30))
    assert parse_flag("unit", 3, (20, 30)).resize == (20, 30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imagnet", "neither a preset nor a file"),
        ("imagenet:zoom", "no resize recipe"),
        ("imagenet:", "no resize recipe"),
        ("", "describes no|cannot be read|neither"),
        ("a\0b", "neither a preset nor a file"),
        ("x" * 5000, "neither a preset nor a file"),
    ],
)
def test_bad_flags_are_one_line(text: str, message: str) -> None:
    with pytest.raises(PreprocessError, match=message) as caught:
        parse_flag(text, 3, SQUARE)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    with pytest.raises(PreprocessError, match="square"):
        parse_flag("imagenet:crop", 3, (10, 20))


# --- files of this and other tools ---


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_own_file(tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", SPEC.to_dict())
    assert parse_flag(str(path), 3, (224, 200)) == SPEC
    with pytest.raises(PreprocessError, match="makes 3x224x200, the network takes 3x224x224"):
        from_file(path, 3, SQUARE)
    with pytest.raises(PreprocessError, match="network takes 1x"):
        from_file(path, 1, (224, 200))


HF_VIT = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}
CLIP = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224,
}
CONVNEXT = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ConvNextFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": 224,
}
DINO = {
    **CLIP,
    "feature_extractor_type": None,
    "image_processor_type": "BitImageProcessor",
    "crop_size": {"height": 224, "width": 224},
    "size": {"shortest_edge": 256},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
}


@pytest.mark.parametrize(
    ("config", "resize", "crop", "interpolation"),
    [
        (HF_VIT, (224, 224), False, "bilinear"),
        ({**HF_VIT, "image_processor_type": "ViTImageProcessorFast"}, (224, 224), False, "bilinear"),
        ({**HF_VIT, "size": 224}, (224, 224), False, "bilinear"),
        ({**HF_VIT, "image_processor_type": None, "do_resize": False, "resample": None}, None, False, "bilinear"),
        (CLIP, 224, True, "bicubic"),
        (CONVNEXT, 256, True, "bicubic"),
        (DINO, 256, True, "bicubic"),
    ],
)
def test_hugging_face(tmp_path: Path, config: dict[str, Any], resize: object, crop: bool, interpolation: str) -> None:
    write(tmp_path / "preprocessor_config.json", config)
    found = from_sidecar(tmp_path / "model.safetensors", 3, SQUARE)
    assert found is not None
    spec, name = found
    assert name == "preprocessor_config.json"
    assert (spec.resize, spec.crop, spec.interpolation) == (resize, crop, interpolation)
    assert list(spec.mean) == config["image_mean"]
    assert list(spec.std) == config["image_std"]
    assert spec.scale == pytest.approx(1 / 255)


def test_hugging_face_without_normalisation_or_with_bgr(tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", {**HF_VIT, "do_normalize": False, "do_rescale": False, "image_mean": None})
    spec = from_file(path, 3, SQUARE)
    assert (spec.scale, spec.mean, spec.std) == (1.0, (0.0,) * 3, (1.0,) * 3)
    mobile = {
        "feature_extractor_type": "MobileViTFeatureExtractor",
        "crop_size": 256,
        "do_center_crop": True,
        "do_resize": True,
        "resample": 2,
        "size": 288,
    }
    spec = from_file(write(tmp_path / "m.json", mobile), 3, (256, 256))
    assert (spec.channel_order, spec.resize, spec.crop, spec.mean) == ("BGR", 288, True, (0.0,) * 3)


def test_large_convnext_stretches(tmp_path: Path) -> None:
    spec = from_file(write(tmp_path / "p.json", {**CONVNEXT, "size": 384}), 3, (384, 384))
    assert (spec.resize, spec.crop) == ((384, 384), False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_processor_type": "LevitImageProcessor"}, "'LevitImageProcessor' is not supported"),
        ({"resample": None}, "'resample'"),
        ({"resample": 4}, "'resample'"),
        ({"size": None}, "'size'"),
        ({"size": {"longest_edge": 224}}, "'size'"),
        ({"size": {"height": "224", "width": 224}}, "'size'"),
        ({"size": {"height": 256, "width": 256}}, "without a crop"),
        ({"size": {"shortest_edge": 256}}, "without a crop"),
        ({"do_center_crop": True}, "'crop_size'"),
        ({"do_center_crop": True, "crop_size": 200}, "network takes 224x224"),
        ({"do_normalize": "yes"}, "'do_normalize'"),
        ({"image_mean": [0.5]}, "'image_mean'"),
        ({"image_std": None}, "'image_std'"),
        ({"image_std": [1, 1, 0]}, "'std'"),
        ({"rescale_factor": "1/255"}, "'scale'"),
        ({"rescale_offset": True}, "not supported"),
    ],
)
def test_what_a_sidecar_leaves_open_is_an_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write(tmp_path / "preprocessor_config.json", {**HF_VIT, **change})
    with pytest.raises(PreprocessError, match=message) as caught:
        from_sidecar(tmp_path / "model.onnx", 3, SQUARE)
    assert caught.value.where == str(tmp_path / "preprocessor_config.json")
    assert "--preprocess" in str(caught.value.hint)


TIMM = {
    "architecture": "resnet50",
    "num_classes": 1000,
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}


def test_timm(tmp_path: Path) -> None:
    write(tmp_path / "config.json", TIMM)
    found = from_sidecar(tmp_path / "model.safetensors", 3, SQUARE)
    assert found is not None
    spec, name = found
    assert name == "config.json"
    assert (spec.resize, spec.crop, spec.interpolation) == (math.floor(224 / 0.95), True, "bicubic")
    old = {"architecture": "resnet50", **TIMM["pretrained_cfg"]}
    assert from_file(write(tmp_path / "old.json", old), 3, SQUARE) == spec
    squash = {**TIMM, "pretrained_cfg": {**TIMM["pretrained_cfg"], "crop_mode": "squash", "crop_pct": 1.0}}
    assert from_file(write(tmp_path / "squash.json", squash), 3, SQUARE).resize == SQUARE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_size": [3, 256, 256]}, "'input_size'"),
        ({"input_size": None}, "'input_size'"),
        ({"input_size": [1, 224, 224]}, "'input_size'"),
        ({"crop_mode": "border"}, "crop mode 'border'"),
        ({"crop_pct": 0}, "'crop_pct'"),
        ({"crop_pct": "0.9"}, "'crop_pct'"),
        ({"interpolation": "random"}, "'interpolation'"),
        ({"mean": None}, "'mean'"),
    ],
)
def test_unsupported_timm(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "c.json", {**TIMM, "pretrained_cfg": {**TIMM["pretrained_cfg"], **change}})
    with pytest.raises(PreprocessError, match=message):
        from_file(path, 3, SQUARE)


def test_other_files_beside_the_model_are_left_alone(tmp_path: Path) -> None:
    assert from_sidecar(tmp_path / "model.onnx", 3, SQUARE) is None
    write(tmp_path / "config.json", {"architectures": ["ViTForImageClassification"], "hidden_size": 768})
    assert from_sidecar(tmp_path / "model.onnx", 3, SQUARE) is None
    with pytest.raises(PreprocessError, match="describes no preprocessing"):
        from_file(tmp_path / "config.json", 3, SQUARE)


def test_the_processor_config_comes_first_and_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    write(tmp_path / "blobs" / "1", HF_VIT)
    (tmp_path / "snapshot" / "preprocessor_config.json").symlink_to("../blobs/1")
    write(tmp_path / "snapshot" / "config.json", TIMM)
    found = from_sidecar(tmp_path / "snapshot" / "model.safetensors", 3, SQUARE)
    assert found is not None
    assert found[1] == "preprocessor_config.json"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "[" * 100_000, '{"size": NaN', "\ud800x", '{"do_resize": ' + "9" * 9999 + "}"]
)
def test_damaged_sidecars_are_not_skipped(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(PreprocessError) as caught:
        from_sidecar(tmp_path / "model.onnx", 3, SQUARE)
    assert caught.value.where == str(tmp_path / "config.json")
    assert "\n" not in str(caught.value)


def test_sidecars_are_bounded_and_regular(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(PreprocessError, match="limit"):
        from_sidecar(tmp_path / "model.onnx", 3, SQUARE)
    (tmp_path / "preprocessor_config.json").mkdir()
    with pytest.raises(PreprocessError, match="a folder"):
        from_sidecar(tmp_path / "model.onnx", 3, SQUARE)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys({**HF_VIT, **CLIP, **CONVNEXT}, json_values)))
@settings(deadline=None)
def test_untrusted_sidecar_values(fields: dict[str, Any]) -> None:
    metadata = {"preprocess": json.dumps({**CLIP, **fields})}
    with contextlib.suppress(PreprocessError):
        from_onnx_metadata(metadata, 3, SQUARE)


# --- ONNX metadata ---


def test_metadata_with_json() -> None:
    assert from_onnx_metadata({"preprocess": json.dumps(SPEC.to_dict())}, 3, (224, 200)) == SPEC
    assert from_onnx_metadata({"preprocess": json.dumps(HF_VIT)}, 3, SQUARE) is not None


def test_metadata_with_single_keys() -> None:
    spec = from_onnx_metadata({"mean": "[0.1, 0.2, 0.3]", "std": "0.4,0.5,0.6", "producer": "x"}, 3, (20, 30))
    assert spec == PreprocessSpec((20, 30), 3, (20, 30), "bilinear", False, 1 / 255, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    spec = from_onnx_metadata(
        {
            "mean": "103 116 123",
            "std": "(1, 1, 1)",
            "scale": "1",
            "channel_order": "BGR",
            "input_size": "[3, 224, 224]",
            "crop_pct": "0.875",
            "interpolation": "bicubic",
        },
        3,
        SQUARE,
    )
    assert spec == PreprocessSpec(SQUARE, 3, 256, "bicubic", True, 1.0, (103, 116, 123), (1, 1, 1), "BGR")
    assert from_onnx_metadata({"mean": "0.5", "std": "0.5", "input_size": "28"}, 1, (28, 28)) is not None


def test_metadata_about_other_things() -> None:
    assert from_onnx_metadata({}, 3, SQUARE) is None
    assert from_onnx_metadata({"author": "x", "input_size": "224", "scale": "3"}, 3, SQUARE) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"mean": "0.5,0.5,0.5"},
        {"mean": "0.5,0.5,0.5", "std": "a"},
        {"mean": "0.5,0.5", "std": "1,1,1"},
        {"mean": "0.5,0.5,nan", "std": "1,1,1"},
        {"mean": "0.5,0.5,0.5", "std": "1,1,0"},
        {"mean": "0,0,0", "std": "1,1,1", "input_size": "256"},
        {"mean": "0,0,0", "std": "1,1,1", "channel_order": "rgb"},
        {"mean": "0,0,0", "std": "1,1,1", "crop_pct": "7"},
        {"mean": "0,0,0", "std": "1,1,1", "crop_pct": "1,1"},
        {"mean": "0,0,0", "std": "1,1,1", "scale": "1,1,1"},
        {"mean": "0,0,0", "std": "1,1,1", "interpolation": "area"},
        {"preprocess": "nothing"},
        {"preprocess": "{}"},
    ],
)
def test_unusable_metadata_is_an_error(metadata: dict[str, str]) -> None:
    with pytest.raises(PreprocessError) as caught:
        from_onnx_metadata(metadata, 3, SQUARE)
    assert caught.value.where == "ONNX metadata"


# --- normalisation ---


def test_normalise_is_torchvisions() -> None:
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    for name in NORMALISATIONS:
        spec = parse_flag(name, 3, (5, 7))
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() * np.float32(spec.scale)
        if spec.channel_order == "BGR":
            tensor = tensor.flip(1)
        expected = transforms.Normalize(spec.mean, spec.std)(tensor).numpy()
        np.testing.assert_allclose(normalise(pixels, spec, "NCHW"), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(
            normalise(pixels, spec, "NHWC"), normalise(pixels, spec, "NCHW").transpose(0, 2, 3, 1)
        )
        other = replace(spec, channel_order="RGB" if spec.channel_order == "BGR" else "BGR")
        np.testing.assert_array_equal(normalise(pixels, other, "NCHW"), normalise(pixels[..., ::-1], spec, "NCHW"))
    assert set(INTERPOLATIONS) == {"nearest", "bilinear", "bicubic", "lanczos"}
