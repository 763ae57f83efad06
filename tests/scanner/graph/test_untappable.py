"""Networks that nothing can be observed in, and other element types, from a file through the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import Cli
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import conv_net, model, weights
from PIL import Image

from scanner.base.errors import ModelError
from scanner.graph.measure import open_tensors
from scanner.graph.pool import add_descriptors
from scanner.graph.taps import candidate_taps
from scanner.graph.untappable import require_taps
from scanner.models.onnx_file import read_onnx
from scanner.report.schema import Report

FLAT = [("Flatten", ["image"], ["flat"]), ("Gemm", ["flat", "w", "b"], ["logits"])]
DENSE = {"w": weights(0, 192, 4), "b": weights(1, 4)}


def of_type(proto: onnx.ModelProto, element: int, *, casts: bool = False) -> onnx.ModelProto:
    """The same network in another floating-point type; with ``casts``, from and to float32 at its ends."""
    graph, kind = proto.graph, helper.tensor_dtype_to_np_dtype(element)
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(kind), tensor.name))
    if not casts:
        graph.input[0].type.tensor_type.elem_type = graph.output[0].type.tensor_type.elem_type = element
        return proto
    for node in graph.node:
        node.input[:] = ["inner_image" if name == "image" else name for name in node.input]
        node.output[:] = ["inner_logits" if name == "logits" else name for name in node.output]
    graph.node.insert(0, helper.make_node("Cast", ["image"], ["inner_image"], to=element))
    graph.node.append(helper.make_node("Cast", ["inner_logits"], ["logits"], to=TensorProto.FLOAT))
    return proto


def of_pixels(element: int = TensorProto.UINT8) -> onnx.ModelProto:
    proto = conv_net()
    proto.graph.node[0].input[0] = "pixels"
    proto.graph.node.insert(0, helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT))
    proto.graph.input[0].type.tensor_type.elem_type = element
    return proto


def with_a_path_around() -> onnx.ModelProto:
    proto = conv_net()
    proto.graph.node[-1].output[0] = "deep"
    proto.graph.node.extend(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["shallow"]),
            helper.make_node("Add", ["deep", "shallow"], ["logits"]),
        ]
    )
    proto.graph.initializer.append(numpy_helper.from_array(DENSE["w"], "w"))
    return proto


def dense_net() -> onnx.ModelProto:
    return model(
        [
            ("Flatten", ["image"], ["flat"]),
            ("Gemm", ["flat", "w", "b"], ["h"]),
            ("Relu", ["h"], ["r"]),
            ("Gemm", ["r", "v"], ["logits"]),
        ],
        {"w": weights(0, 192, 24), "b": weights(1, 24), "v": weights(2, 24, 4)},
    )


def quantised(kind: str) -> Callable[[Path], onnx.ModelProto]:
    """A network as ONNX Runtime quantises it: 'dynamic', 'QDQ' or 'QOperator'."""

    def make(folder: Path) -> onnx.ModelProto:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_dynamic,
            quantize_static,
        )

        class Images(CalibrationDataReader):
            def __init__(self) -> None:
                images = np.random.default_rng(0).random((4, 8, 3, 8, 8), dtype=np.float32)
                self.batches: Iterator[np.ndarray] = iter(images)

            def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
                batch = next(self.batches, None)
                return None if batch is None else {"image": batch}

        plain, target = folder / "plain.onnx", folder / f"{kind}.onnx"
        onnx.save(conv_net(), plain)
        if kind == "dynamic":
            quantize_dynamic(plain, target, weight_type=QuantType.QUInt8)
        else:
            quantize_static(plain, target, Images(), quant_format=QuantFormat[kind])
        return onnx.load(target)

    return make


def one_channel() -> onnx.ModelProto:
    nodes = [
        ("Conv", ["image", "w"], ["c"]),
        ("Reshape", ["c", "shape"], ["deep"]),
        ("MatMul", ["deep", "v"], ["m"]),
        ("Flatten", ["m"], ["logits"]),
    ]
    constants = {"w": weights(0, 1, 3, 8, 8), "shape": np.array([0, 1, 1, 1, 1]), "v": weights(1, 1, 4)}
    return model(nodes, constants)


REFUSED: dict[str, tuple[Callable[[Path], onnx.ModelProto], str]] = {
    "a linear model": (lambda _: model(FLAT, DENSE), "its only operator with weights, Gemm, computes the logits"),
    "softmax regression": (
        lambda _: model(
            [FLAT[0], ("Gemm", ["flat", "w", "b"], ["z"]), ("Softmax", ["z"], ["logits"])],
            DENSE,
        ),
        "its only operator with weights, Gemm, computes the logits",
    ),
    "pooling and one layer": (
        lambda _: model(
            [("GlobalAveragePool", ["image"], ["g"]), ("Flatten", ["g"], ["f"]), ("Gemm", ["f", "w"], ["logits"])],
            {"w": weights(0, 3, 4)},
        ),
        "its only operator with weights, Gemm, computes the logits",
    ),
    "no weights": (
        lambda _: model(
            [("GlobalAveragePool", ["image"], ["g"]), ("Flatten", ["g"], ["logits"])], {}, output=("logits", ("N", 3))
        ),
        "it has no operator with weights, but Flatten, GlobalAveragePool",
    ),
    "a path around": (
        lambda _: with_a_path_around(),
        "a path leads around every layer: none of the tensors before Add",
    ),
    "one channel": (
        lambda _: one_channel(),
        "'deep' has shape 1x1x1x1, in which channels and positions cannot be told",
    ),
    "double": (
        lambda _: of_type(conv_net(), TensorProto.DOUBLE),
        "the network computes in double: ONNX Runtime cannot",
    ),
    "bfloat16": (lambda _: of_type(conv_net(), TensorProto.BFLOAT16), "the network computes in bfloat16"),
    "int32 images": (lambda _: of_pixels(TensorProto.INT32), "the input has element type int32"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    generator = np.random.default_rng(0)
    for index in range(120):
        Image.fromarray(generator.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(folder / f"{index:03}.png")
    return folder


@pytest.mark.parametrize("name", REFUSED)
def test_one_line_says_why_nothing_can_be_observed(name: str, cli: Cli, images: Path, tmp_path: Path) -> None:
    make, reason = REFUSED[name]
    onnx.save(make(tmp_path), tmp_path / "model.onnx")
    done = cli("fit", "model.onnx", "--clean", images, "--preprocess", "unit", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("error: model.onnx: ")
    assert reason in message
    assert not (tmp_path / "modelscan.h5").exists()


SUPPORTED: dict[str, Callable[[Path], onnx.ModelProto]] = {
    "float16": lambda _: of_type(conv_net(), TensorProto.FLOAT16),
    "float16 inside": lambda _: of_type(conv_net(), TensorProto.FLOAT16, casts=True),
    "double, dense": lambda _: of_type(dense_net(), TensorProto.DOUBLE),
    "QDQ": quantised("QDQ"),
    "QOperator": quantised("QOperator"),
    "dynamic": quantised("dynamic"),
}


@pytest.mark.parametrize("name", SUPPORTED)
def test_other_element_types_are_fitted_and_scanned(name: str, cli: Cli, images: Path, tmp_path: Path) -> None:
    onnx.save(SUPPORTED[name](tmp_path), tmp_path / "model.onnx")
    done = cli("fit", "model.onnx", "--clean", images, "--preprocess", "unit", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = cli("scan", images, "--report", "out.json", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    report = Report.model_validate_json((tmp_path / "out.json").read_bytes())
    assert report.verdict.severity == "none"
    assert report.batch.flagged <= 3  # of 120, those that calibrated
    assert report.inputs.not_finite == 0


@pytest.mark.parametrize("name", SUPPORTED)
def test_what_is_read_is_what_the_network_computes(name: str, tmp_path: Path) -> None:
    """Descriptors and logits against ONNX Runtime on the file itself, pooled by NumPy."""
    proto = SUPPORTED[name](tmp_path)
    onnx.save(proto, tmp_path / "model.onnx")
    parsed = read_onnx(tmp_path / "model.onnx", folder=tmp_path)
    assert len(parsed.candidates) == len(candidate_taps(parsed.bundle.proto)) > 0
    x = np.random.default_rng(1).random((40, 3, 8, 8), dtype=np.float32)
    bundle, descriptors = add_descriptors(parsed.bundle, parsed.candidates)
    onnx.checker.check_model(bundle.to_model_proto())
    ours = open_tensors(bundle, ["logits", *(d.output for d in descriptors)]).run({"image": x})
    opened = onnx.ModelProto()
    opened.CopyFrom(proto)
    output = opened.graph.output[0].name
    opened.graph.output.extend(onnx.ValueInfoProto(name=tap.tensor) for tap in parsed.candidates)
    session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    kind = helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    names = [output, *(tap.tensor for tap in parsed.candidates)]
    # One image at a time, as that is what dynamic quantisation means here.
    rows = [session.run(names, {"image": image[None].astype(kind)}) for image in x]
    theirs = {key: np.concatenate(parts) for key, parts in zip(names, zip(*rows, strict=True), strict=True)}
    # Of float16; and of 8 bits, where processors round sums of products differently.
    tolerance = {"rtol": 2e-3, "atol": 2e-3} if name != "dynamic" else {"rtol": 2e-2, "atol": 2e-2}
    np.testing.assert_allclose(ours["logits"], theirs[output].astype(np.float32), **tolerance)
    for descriptor in descriptors:
        values = theirs[descriptor.tap.tensor].astype(np.float64).reshape(40, descriptor.dim, -1)
        pooled = values.max(2) if descriptor.pooling == "max" else values.mean(2)
        assert ours[descriptor.output].dtype == np.float32
        np.testing.assert_allclose(ours[descriptor.output], pooled, **tolerance)


def test_unknown_shapes_are_named() -> None:
    """A tensor that mixes the batch with positions, on the only path."""
    proto = model(
        [
            ("Conv", ["image", "w"], ["c"]),
            ("Reshape", ["c", "mixed"], ["rows"]),
            ("MatMul", ["rows", "v"], ["columns"]),
            ("Reshape", ["columns", "apart"], ["back"]),
            ("Gemm", ["back", "u"], ["logits"]),
        ],
        {
            "w": weights(0, 1, 3, 3, 3),
            "mixed": np.array([-1, 6]),
            "v": weights(1, 6, 5),
            "apart": np.array([-1, 30]),
            "u": weights(2, 30, 4),
        },
    )
    del proto.graph.node[0]
    proto.graph.node[0].input[0] = "image"
    assert candidate_taps(proto) == ()
    with pytest.raises(ModelError, match="the shape of 'back' is not known, or mixes the batch"):
        require_taps(proto)


def test_a_single_channel_is_named() -> None:
    nodes = [("Conv", ["image", "w"], ["c"]), ("Conv", ["c", "v"], ["map"]), ("Flatten", ["map"], ["logits"])]
    proto = model(nodes, {"w": weights(0, 1, 3, 3, 3), "v": weights(1, 4, 1, 6, 6)})
    assert candidate_taps(proto) == ()
    with pytest.raises(ModelError, match="'c' has shape 1x6x6: a single channel"):
        require_taps(proto)


def test_pixels_are_given_as_they_are(cli: Cli, images: Path, tmp_path: Path) -> None:
    """A network of uint8 images prepares them itself: a flag that says otherwise is an error."""
    onnx.save(of_pixels(), tmp_path / "model.onnx")
    wrong = cli("fit", "model.onnx", "--clean", images, "--preprocess", "unit", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "prepares them itself" in wrong.stderr
    done = cli("fit", "model.onnx", "--clean", images, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "preprocessing: from the model's metadata" in done.stderr
