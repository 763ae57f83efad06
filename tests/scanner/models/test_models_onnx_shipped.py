"""ONNX files as people ship them: each gives 40 images what ONNX Runtime gives them on the file itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import conv_net, weights
from torch import nn

from scanner.base.errors import ModelError
from scanner.graph.session import GraphSession
from scanner.models.onnx_file import ParsedOnnx, Wanted, read_onnx

IMAGES = np.random.default_rng(0).random((40, 3, 8, 8), dtype=np.float32)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)


def read(folder: Path, proto: onnx.ModelProto, **wanted: object) -> ParsedOnnx:
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return read_onnx(folder / "model.onnx", folder=folder, wanted=Wanted(**wanted))  # type: ignore[arg-type]


def logits(parsed: ParsedOnnx, images: np.ndarray = IMAGES) -> np.ndarray:
    return GraphSession(*parsed.bundle.serialise(), device="cpu").run({"image": images})["logits"]


def by_itself(folder: Path, images: np.ndarray, output: str | None = None) -> np.ndarray:
    """What the file gives each image, one at a time."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    names = None if output is None else [output]
    return np.concatenate([np.asarray(session.run(names, {name: image[None]})[0]) for image in images])


def changed(change: Callable[[onnx.ModelProto], object], **options: object) -> onnx.ModelProto:
    proto = conv_net(**options)
    change(proto)
    return proto


def test_minus_one_is_any_batch(tmp_path: Path) -> None:
    proto = conv_net()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    parsed = read(tmp_path, proto)
    assert parsed.notes == ()
    np.testing.assert_allclose(logits(parsed), by_itself(tmp_path, IMAGES), rtol=1e-5, atol=1e-6)


def four_axes(proto: onnx.ModelProto) -> None:
    """Logits of shape (N, classes, 1, 1), as fully convolutional networks give."""
    del proto.graph.node[-2:]
    tensor = numpy_helper.from_array(weights(3, 4, 32, 1, 1), "w4")
    proto.graph.initializer.append(tensor)
    proto.graph.node.append(helper.make_node("Conv", ["g", "w4"], ["logits"]))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 4, 1, 1)))


def test_four_axes_of_which_two_are_one(tmp_path: Path) -> None:
    parsed = read(tmp_path, changed(four_axes))
    assert parsed.notes == ("flattened an output of shape (N, classes, 1, 1)",)
    expected = by_itself(tmp_path, IMAGES).reshape(40, 4)
    np.testing.assert_allclose(logits(parsed), expected, rtol=1e-5, atol=1e-6)


def one_output(final: str | None) -> onnx.ModelProto:
    proto = conv_net(output=("p", ("batch", 1)))
    for name, shape in (("w3", (32, 1)), ("b3", (1,))):
        old = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
        old.CopyFrom(numpy_helper.from_array(weights(3, *shape), name))
    proto.graph.node[-1].output[0] = "logit" if final else "p"
    if final:
        proto.graph.node.append(helper.make_node(final, ["logit"], ["p"]))
    return proto


@pytest.mark.parametrize("final", ["Sigmoid", None])
def test_a_single_output_is_two_classes(tmp_path: Path, final: str | None) -> None:
    parsed = read(tmp_path, one_output(final))
    assert parsed.num_classes == 2
    assert "read a single output as the logit of the second of two classes" in parsed.notes
    found = logits(parsed)
    odds = np.exp(found - found.max(1, keepdims=True))
    share = (odds / odds.sum(1, keepdims=True))[:, 1]
    value = by_itself(tmp_path, IMAGES)[:, 0]
    expected = value if final else 1 / (1 + np.exp(-value))
    np.testing.assert_allclose(share, expected, rtol=1e-5, atol=1e-6)


def both(order: tuple[str, str]) -> onnx.ModelProto:
    proto = conv_net()
    proto.graph.node.append(helper.make_node("Softmax", ["logits"], ["probabilities"]))
    del proto.graph.output[:]
    for name in order:
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", 4)))
    return proto


@pytest.mark.parametrize("order", [("logits", "probabilities"), ("probabilities", "logits")])
def test_logits_come_before_their_probabilities(tmp_path: Path, order: tuple[str, str]) -> None:
    parsed = read(tmp_path, both(order))
    assert parsed.notes == ("ignored output 'probabilities'",)
    np.testing.assert_allclose(logits(parsed), by_itself(tmp_path, IMAGES, "logits"), rtol=1e-5, atol=1e-6)


def two_heads() -> onnx.ModelProto:
    proto = conv_net(output=("head_a", ("batch", 4)))
    proto.graph.node[-1].output[0] = "head_a"
    proto.graph.initializer.append(numpy_helper.from_array(weights(9, 32, 6), "w6"))
    proto.graph.node.append(helper.make_node("Gemm", ["f", "w6"], ["head_b"]))
    proto.graph.output.append(helper.make_tensor_value_info("head_b", TensorProto.FLOAT, ("batch", 6)))
    return proto


def test_of_two_heads_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"head_a.*head_b.*--output-name"):
        read(tmp_path, two_heads())
    parsed = read(tmp_path, two_heads(), output="head_b")
    assert (parsed.num_classes, parsed.notes) == (6, ("ignored output 'head_a'",))
    np.testing.assert_allclose(logits(parsed), by_itself(tmp_path, IMAGES, "head_b"), rtol=1e-5, atol=1e-6)


def of_pixels(proto: onnx.ModelProto) -> None:
    """Takes uint8 pixels, and divides and subtracts itself."""
    proto.graph.node[0].input[0] = "prepared"
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "full"], ["shares"]),
        helper.make_node("Sub", ["shares", "half"], ["prepared"]),
    ]
    for name, value in (("full", 255.0), ("half", 0.5)):
        proto.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    for node in reversed(nodes):
        proto.graph.node.insert(0, node)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def test_pixels_as_they_are(tmp_path: Path) -> None:
    parsed = read(tmp_path, changed(of_pixels))
    assert parsed.metadata == {"pixels": "uint8", "scale": "1", "mean": "0 0 0", "std": "1 1 1"}
    assert "takes pixels from 0 to 255 and prepares them itself" in parsed.notes
    found = logits(parsed, PIXELS.astype(np.float32))
    np.testing.assert_allclose(found, by_itself(tmp_path, PIXELS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["conv", "dense", "per channel"])
def test_dynamic_quantisation_is_that_of_one_image_at_a_time(tmp_path: Path, kind: str) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = conv_net()
    onnx.save(plain, tmp_path / "plain.onnx")
    operators = ["MatMul", "Gemm"] if kind == "dense" else ["Conv", "MatMul"]
    quantize_dynamic(
        tmp_path / "plain.onnx",
        tmp_path / "quantised.onnx",
        weight_type=QuantType.QUInt8,
        op_types_to_quantize=operators,
        per_channel=kind == "per channel",
    )
    proto = onnx.load(tmp_path / "quantised.onnx")
    assert any(node.op_type == "DynamicQuantizeLinear" for node in proto.graph.node)
    parsed = read(tmp_path, proto)
    assert any("taken image by image" in note for note in parsed.notes)
    assert any("logits differ by at most" in note for note in parsed.notes)
    found, expected = logits(parsed), by_itself(tmp_path, IMAGES)
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.95
    np.testing.assert_allclose(logits(parsed, IMAGES[:1]), found[:1], rtol=1e-5, atol=1e-5)


class Transformer(nn.Module):
    """A class token, positions, and attention written out, as exporters freeze it to a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 5, 16))
        self.inner = nn.Linear(16, 48)
        self.outer = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.positions
        query, key, value = self.inner(x).reshape(x.shape[0], 5, 3, 2, 8).permute(2, 0, 3, 1, 4)
        mixed = ((query @ key.transpose(-2, -1)).softmax(-1) @ value).transpose(1, 2).reshape(x.shape[0], 5, 16)
        x = x + self.outer(mixed)
        return self.head(nn.functional.relu(x)[:, 0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_a_transformer_of_a_fixed_batch(tmp_path: Path, dynamo: bool) -> None:
    torch.manual_seed(0)
    module = Transformer().eval()
    torch.onnx.export(
        module, (torch.zeros(1, 3, 8, 8),), tmp_path / "export.onnx", dynamo=dynamo, opset_version=18, verbose=False
    )
    proto = onnx.load(tmp_path / "export.onnx")
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    parsed = read(tmp_path, proto)
    assert any("batch dimension dynamic" in note for note in parsed.notes)
    with torch.no_grad():
        expected = module(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(logits(parsed), expected, rtol=1e-4, atol=1e-5)


def fixed_in_the_middle(proto: onnx.ModelProto) -> None:
    """A reshape that folds a batch of two into the channels."""
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 64]), "folded"))
    proto.graph.node[-2].CopyFrom(helper.make_node("Reshape", ["g", "folded"], ["f"]))
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w3")
    weight.CopyFrom(numpy_helper.from_array(weights(3, 64, 4), "w3"))


def noisy(proto: onnx.ModelProto) -> None:
    proto.graph.node.insert(1, helper.make_node("RandomNormalLike", ["c1"], ["n"], dtype=1))
    proto.graph.node[2].input[0] = "n"


@pytest.mark.parametrize(
    ("change", "options", "hint"),
    [
        (fixed_in_the_middle, {"image": (2, 3, 8, 8)}, "dynamic batch dimension"),
        (noisy, {}, "evaluation mode"),
        (lambda _: None, {"element": TensorProto.INT64}, "float32 input"),
    ],
)
def test_hints_fit_the_error(
    tmp_path: Path, change: Callable[[onnx.ModelProto], object], options: dict[str, object], hint: str
) -> None:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, changed(change, **options))
    assert hint in str(caught.value.hint)
    assert "opset" not in str(caught.value.hint)
