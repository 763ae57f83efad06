from dataclasses import replace

import numpy as np
import onnx
import onnx_graphs
import pytest
import torch
from onnx import TensorProto, helper

from scanner.base.errors import PreprocessError
from scanner.graph.bundle import GraphBundle
from scanner.graph.pool import add_descriptors, add_pixel_input
from scanner.graph.session import GraphSession
from scanner.graph.taps import Tap, candidate_taps
from scanner.inputs.preprocess import PreprocessSpec

SPEC = PreprocessSpec((8, 8), 3, None, "bilinear", False, 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def run(bundle: GraphBundle, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnx.checker.check_model(bundle.to_model_proto(), full_check=True)
    return GraphSession(*bundle.serialise(), device="cpu").run(feeds)


def passing_through(tap: Tap) -> GraphBundle:
    """A graph whose tap is its input itself, so that any tensor can be pooled."""
    shape = ("batch", *tap.shape)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], [tap.tensor])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(tap.tensor, TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return GraphBundle.from_model_proto(model)


POSITIONS = {"NCHW": (2, 3), "NHWC": (1, 2), "NLC": (1,)}


@pytest.mark.parametrize(
    ("shape", "layout", "class_token", "poolings"),
    [
        ((6, 5, 7), "NCHW", False, ["mean", "max"]),
        ((5, 7, 6), "NHWC", False, ["mean", "max"]),
        ((9, 6), "NLC", False, ["mean", "max"]),
        ((10, 6), "NLC", True, ["mean", "max", "token"]),
        ((6,), "NC", False, ["value"]),
        ((6, 1, 1), "NCHW", False, ["value"]),
    ],
)
def test_descriptors_equal_torch(shape: tuple[int, ...], layout: str, class_token: bool, poolings: list[str]) -> None:
    tap = Tap("layer", "activation", shape, layout, 6, class_token, 0.5)  # type: ignore[arg-type]
    bundle, descriptors = add_descriptors(passing_through(tap), [tap])
    assert [item.pooling for item in descriptors] == poolings
    assert [item.key for item in descriptors] == [f"layer:{pooling}" for pooling in poolings]
    x = np.random.default_rng(0).standard_normal((3, *shape), dtype=np.float32)
    values = run(bundle, {"image": x})
    axes = POSITIONS.get(layout)
    t = torch.from_numpy(x)
    for item in descriptors:
        expected = {
            "mean": lambda: t.mean(axes),
            "max": lambda: t.amax(axes),
            "token": lambda: t[:, 0],
            "value": lambda: t.flatten(1),
        }[item.pooling]()
        assert values[item.output].shape == (3, item.dim)
        torch.testing.assert_close(torch.from_numpy(values[item.output]), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("shape", "layout"), [((6, 8, 8), "NCHW"), ((6, 5, 7), "NCHW"), ((5, 7, 6), "NHWC"), ((9, 6), "NLC"), ((6,), "NC")]
)
def test_one_value_that_is_not_finite_shows_wherever_it_is(shape: tuple[int, ...], layout: str, value: float) -> None:
    """In the mean or the value itself. The maximum is no help: ONNX Runtime loses NaN at some positions."""
    tap = Tap("layer", "activation", shape, layout, 6, False, 0.5)  # type: ignore[arg-type]
    bundle, descriptors = add_descriptors(passing_through(tap), [tap])
    x = np.random.default_rng(0).standard_normal((1 + int(np.prod(shape)), *shape), dtype=np.float32)
    for position in range(len(x) - 1):  # image k has it at position k, the last one nowhere
        x[position].reshape(-1)[position] = value
    kept = next(item.output for item in descriptors if item.pooling in ("mean", "value"))
    finite = np.isfinite(run(bundle, {"image": x})[kept]).all(1)
    assert finite.tolist() == [False] * (len(x) - 1) + [True]


def test_descriptors_leave_the_logits_and_the_argument_alone() -> None:
    bundle = onnx_graphs.conv_bundle()
    before = bundle.serialise()
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)
    extended, descriptors = add_descriptors(bundle, candidate_taps(bundle.proto))
    np.testing.assert_array_equal(run(bundle, {"image": x})["logits"], run(extended, {"image": x})["logits"])
    assert len(descriptors) == 4
    assert bundle.serialise() == before


def test_pixels_equal_the_usual_normalisation_to_the_last_bit() -> None:
    every_value = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    pixels = np.concatenate([every_value, every_value[::-1], every_value[:, ::-1]], axis=3)
    bundle = add_pixel_input(onnx_graphs.conv_bundle(), SPEC)
    assert [value.name for value in bundle.proto.graph.input] == ["pixels"]
    bundle.proto.graph.output.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, ("batch", 3, 8, 8)))
    normalised = run(bundle, {"pixels": pixels})["image"]
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (SPEC.mean, SPEC.std))
    assert np.array_equal(normalised, ((image - mean) / std).numpy())


def test_logits_from_pixels_equal_logits_from_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    image = ((pixels.astype(np.float32) / 255 - np.float32(SPEC.mean)) / np.float32(SPEC.std)).transpose(0, 3, 1, 2)
    bundle = onnx_graphs.conv_bundle()
    direct = run(bundle, {"image": np.ascontiguousarray(image)})["logits"]
    np.testing.assert_allclose(run(add_pixel_input(bundle, SPEC), {"pixels": pixels})["logits"], direct, rtol=1e-5)


@pytest.mark.parametrize("scale", [1 / 255, 1 / 127.5, 1.0, 0.017])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_kind_of_normalisation(scale: float, order: str, channels_last: bool) -> None:
    spec = replace(SPEC, scale=scale, channel_order=order, mean=(0.5, 0.25, 0.0), std=(0.5, 2.0, 1.0))
    shape = (8, 8, 3) if channels_last else (3, 8, 8)
    tap = Tap("x", "x", shape, "NHWC" if channels_last else "NCHW", 3, False, 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    value = run(add_pixel_input(passing_through(tap), spec), {"pixels": pixels})["x"]
    ordered = pixels[..., ::-1] if order == "BGR" else pixels
    expected = (ordered * scale - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(value if channels_last else value.transpose(0, 2, 3, 1), expected, rtol=2e-6, atol=2e-6)


def test_neutral_normalisation_is_a_cast() -> None:
    spec = replace(SPEC, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    operators = [node.op_type for node in add_pixel_input(onnx_graphs.conv_bundle(), spec).proto.graph.node[:3]]
    assert operators == ["Transpose", "Cast", "Conv"]


def test_grey_images() -> None:
    spec = PreprocessSpec((8, 8), 1, None, "bilinear", False, 1 / 255, (0.5,), (0.25,))
    tap = Tap("x", "x", (1, 8, 8), "NCHW", 1, False, 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    value = run(add_pixel_input(passing_through(tap), spec), {"pixels": pixels})["x"]
    np.testing.assert_allclose(value[:, 0], (pixels[..., 0] / 255 - 0.5) / 0.25, rtol=1e-6, atol=1e-6)


def test_preprocessing_for_another_input_is_refused() -> None:
    with pytest.raises(PreprocessError, match="3x8x8"):
        add_pixel_input(onnx_graphs.conv_bundle(), replace(SPEC, size=(8, 9)))
