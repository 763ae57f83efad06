import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import conv_net, model, weights

from scanner.base.errors import ModelError, UnsafeModelError, UsageError
from scanner.graph.session import GraphSession
from scanner.graph.weights import weight_tensors
from scanner.models.onnx_file import ParsedOnnx, Wanted, read_onnx

X = np.random.default_rng(0).standard_normal((3, 3, 8, 8), dtype=np.float32)


def read(tmp_path: Path, proto: onnx.ModelProto, **options: object) -> ParsedOnnx:
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    known = {name: options.pop(name) for name in ("input_size", "num_classes", "output") if name in options}
    return read_onnx(tmp_path / "model.onnx", folder=tmp_path, wanted=Wanted(**known), **options)  # type: ignore[arg-type]


def logits(parsed: ParsedOnnx, x: np.ndarray = X) -> np.ndarray:
    onnx.checker.check_model(parsed.bundle.to_model_proto(), full_check=True)
    session = GraphSession(*parsed.bundle.serialise(), device="cpu")
    assert (session.input_names, session.output_names) == (("image",), ("logits",))
    return session.run({"image": x})["logits"]


def original(proto: onnx.ModelProto, x: np.ndarray = X) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def test_plain_model(tmp_path: Path) -> None:
    parsed = read(tmp_path, conv_net())
    np.testing.assert_allclose(logits(parsed), original(conv_net()), rtol=1e-6)
    assert (parsed.input_shape, parsed.layout, parsed.num_classes, parsed.notes) == ((3, 8, 8), "NCHW", 4, ())
    assert [tap.name for tap in parsed.candidates] == ["r1", "r2"]
    assert parsed.bundle.proto.opset_import[0].version == 20


def test_weights_in_other_forms_become_initialisers(tmp_path: Path) -> None:
    """Constants, and initialisers behind one or two identities, as some exporters write them."""
    proto = conv_net()
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in ("w1", "w2")]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend([*kept, numpy_helper.from_array(values["w2"], "stored")])
    nodes = [
        helper.make_node("Constant", [], ["w1"], value=numpy_helper.from_array(values["w1"])),
        helper.make_node("Identity", ["stored"], ["handed_on"]),
        helper.make_node("Identity", ["handed_on"], ["w2"]),
        *proto.graph.node,
    ]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    parsed = read(tmp_path, proto)
    np.testing.assert_array_equal(logits(parsed), logits(read(tmp_path, conv_net())))
    assert [weight.name for weight in weight_tensors(parsed.bundle.proto)] == ["w1", "stored", "w3"]
    assert [node.op_type for node in parsed.bundle.proto.graph.node][:2] == ["Conv", "Relu"]
    assert [tap.name for tap in parsed.candidates] == ["r1", "r2"]


def test_small_constants_and_an_identity_that_is_the_output_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2.0))),
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["once"]),
        helper.make_node("Mul", ["once", "two"], ["twice"]),
        helper.make_node("Identity", ["twice"], ["logits"]),
    ]
    proto = model(nodes, {"w": weights(0, 192, 4)})
    parsed = read(tmp_path, proto)
    np.testing.assert_allclose(logits(parsed), original(proto), rtol=1e-6)
    assert "Constant" in {node.op_type for node in parsed.bundle.proto.graph.node}


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 19, 21, 22])
def test_other_opsets_compute_the_same(tmp_path: Path, opset: int) -> None:
    proto = conv_net(opset=opset)
    parsed = read(tmp_path, proto)
    np.testing.assert_allclose(logits(parsed), original(proto), rtol=1e-6)
    assert parsed.notes == (f"converted from opset {opset} to 20",)
    assert [tap.channels for tap in parsed.candidates] == [16, 32]


def test_operators_newer_than_the_opset_are_refused(tmp_path: Path) -> None:
    proto = conv_net(opset=23)
    proto.graph.node[1].op_type = "RMSNormalization"
    proto.graph.node[1].input.append("scale")
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(6, np.float32), "scale"))
    with pytest.raises(ModelError, match=r"opset 20.*Export it again"):
        read(tmp_path, proto)


@pytest.mark.parametrize("names", [("x", "y"), ("logits", "image"), ("data", "c1")])
def test_any_names_of_input_and_output(tmp_path: Path, names: tuple[str, str]) -> None:
    image, output = names
    proto = conv_net(input_name="tmp_in")
    renames = {"tmp_in": image, "logits": output, "c1": "c1" if output != "c1" else "image", "r1": "logits_"}
    for node in proto.graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]
    proto.graph.input[0].name, proto.graph.output[0].name = image, output
    np.testing.assert_allclose(logits(read(tmp_path, proto)), original(proto), rtol=1e-6)


def fixed_batch(batch: int) -> onnx.ModelProto:
    return model(
        [
            ("Conv", ["image", "w"], ["c"]),
            ("Relu", ["c"], ["r"]),
            ("Reshape", ["r", "shape"], ["f"]),
            ("Gemm", ["f", "v"], ["logits"]),
        ],
        {"w": weights(0, 4, 3, 3, 3), "v": weights(1, 144, 5), "shape": np.array([batch, 144])},
        image=(batch, 3, 8, 8),
        output=("logits", (batch, 5)),
    )


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_fixed_batch_becomes_dynamic(tmp_path: Path, batch: int) -> None:
    proto = fixed_batch(batch)
    parsed = read(tmp_path, proto)
    assert any(f"fixes it to {batch}" in note for note in parsed.notes)
    x = np.random.default_rng(0).standard_normal((batch, 3, 8, 8), dtype=np.float32)
    np.testing.assert_allclose(logits(parsed, x), original(proto, x), rtol=1e-6)
    assert logits(parsed, X).shape == (3, 5)
    assert [tap.layout for tap in parsed.candidates] == ["NCHW"]


def test_batch_that_cannot_be_freed(tmp_path: Path) -> None:
    proto = fixed_batch(2)
    proto.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.array([-1, 288]), "shape"))
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights(1, 288, 5), "v"))
    with pytest.raises(ModelError, match="dynamic batch"):
        read(tmp_path, proto)


@pytest.mark.parametrize("final", ["Softmax", "LogSoftmax"])
def test_final_softmax_is_left_out(tmp_path: Path, final: str) -> None:
    proto = conv_net()
    proto.graph.node.append(helper.make_node(final, ["logits"], ["probabilities"]))
    proto.graph.node.append(helper.make_node("Identity", ["probabilities"], ["out"]))
    proto.graph.output[0].name = "out"
    parsed = read(tmp_path, proto)
    np.testing.assert_allclose(logits(parsed), original(conv_net()), rtol=1e-6)
    assert parsed.notes == (f"took the input of the final {final} for the logits",)


def test_channels_last_input(tmp_path: Path) -> None:
    proto = conv_net()
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("nhwc", TensorProto.FLOAT, ("n", 8, 8, 3)))
    proto.graph.node.insert(0, helper.make_node("Transpose", ["nhwc"], ["image"], perm=[0, 3, 1, 2]))
    parsed = read(tmp_path, proto)
    assert (parsed.layout, parsed.input_shape) == ("NHWC", (3, 8, 8))
    x = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(logits(parsed, x), original(conv_net()), rtol=1e-6)


def test_open_image_size_has_to_be_stated(tmp_path: Path) -> None:
    proto = conv_net(image=("batch", 3, "height", None))
    with pytest.raises(UsageError, match="--input-size"):
        read(tmp_path, proto)
    parsed = read(tmp_path, proto, input_size=(8, 10))
    assert parsed.input_shape == (3, 8, 10)
    assert parsed.candidates[0].shape == (16, 6, 8)


def test_options_that_contradict_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="8x8"):
        read(tmp_path, conv_net(), input_size=(9, 9))
    with pytest.raises(UsageError, match="4 classes, not 10"):
        read(tmp_path, conv_net(), num_classes=10)


def test_initialisers_listed_as_inputs(tmp_path: Path) -> None:
    proto = conv_net()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    np.testing.assert_allclose(logits(read(tmp_path, proto)), original(conv_net()), rtol=1e-6)


def test_further_outputs_are_ignored(tmp_path: Path) -> None:
    proto = conv_net()
    proto.graph.output.insert(0, helper.make_tensor_value_info("r2", TensorProto.FLOAT, ("batch", 32, 1, 1)))
    parsed = read(tmp_path, proto)
    assert parsed.notes == ("ignored output 'r2'",)
    np.testing.assert_allclose(logits(parsed), original(conv_net()), rtol=1e-6)


def with_node(node: onnx.NodeProto, position: int = 1, opset: str | None = None) -> onnx.ModelProto:
    """The plain network with a node between c1 and r1."""
    proto = conv_net()
    proto.graph.node.insert(position, node)
    proto.graph.node[position + 1].input[0] = node.output[0]
    if opset is not None:
        proto.opset_import.append(helper.make_opsetid(opset, 1))
    return proto


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: conv_net(image=("batch", 3, 64)), "not an image"),
        (lambda: conv_net(image=("batch", 7, 8, 8)), "1 nor 3 channels"),
        (lambda: conv_net(element=TensorProto.INT32), "int32; floating-point types and uint8 are supported"),
        (lambda: with_node(helper.make_node("RandomNormalLike", ["c1"], ["n"], dtype=1)), "chance|depend"),
        (lambda: with_node(helper.make_node("ReduceMean", ["c1", "zero"], ["n"])), "batch"),
        (lambda: with_node(helper.make_node("NoSuchOperator", ["c1"], ["n"])), "not valid ONNX"),
        (lambda: with_node(helper.make_node("Cast", ["c1"], ["n"], to=TensorProto.STRING)), "ONNX Runtime|valid"),
    ],
)
def test_what_is_no_deterministic_image_classifier(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], words: str
) -> None:
    proto = make()
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0]), "zero"))
    with pytest.raises(ModelError, match=words) as caught:
        read(tmp_path, proto)
    assert "\n" not in str(caught.value)


def test_output_that_ignores_the_image(tmp_path: Path) -> None:
    proto = model([("Shape", ["image"], ["s"]), ("ConstantOfShape", ["n4"], ["logits"])], {"n4": np.array([3, 4])})
    with pytest.raises(ModelError, match="depend"):
        read(tmp_path, proto)


def test_two_inputs_or_ambiguous_outputs(tmp_path: Path) -> None:
    proto = conv_net()
    proto.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ("batch", 1)))
    with pytest.raises(ModelError, match="2 inputs"):
        read(tmp_path, proto)
    proto = conv_net(output=("one", ("batch", 4)))
    proto.graph.node[-1].output[0] = "one"
    proto.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, ("batch", 32)))
    with pytest.raises(ModelError, match=r"no single output.*Name the logits with --output-name"):
        read(tmp_path, proto)
    assert read(tmp_path, proto, output="one").num_classes == 4
    assert read(tmp_path, proto, num_classes=4).notes == ("ignored output 'f'",)
    with pytest.raises(UsageError, match=r"no output 'two'. It has one, f"):
        read(tmp_path, proto, output="two")


def test_non_finite_logits(tmp_path: Path) -> None:
    proto = conv_net()
    proto.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.full((32, 4), np.inf, np.float32), "w3"))
    with pytest.raises(ModelError, match="finite"):
        read(tmp_path, proto)


def test_foreign_operators_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Mine", ["c1"], ["n"], domain="evil\x1b.example")
    with pytest.raises(UnsafeModelError, match="not known here") as caught:
        read(tmp_path, with_node(node, opset="evil\x1b.example"))
    assert str(caught.value).isprintable()


def test_foreign_operators_within_control_flow_are_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("n_", TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("Mine", ["c1"], ["n_"], domain="evil")], "body", [], [value])
    node = helper.make_node("If", ["yes"], ["n"], then_branch=body, else_branch=body)
    proto = with_node(node, opset="evil")
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    with pytest.raises(UnsafeModelError, match="evil"):
        read(tmp_path, proto)


def test_functions_of_the_model_are_expanded(tmp_path: Path) -> None:
    """As older PyTorch exporters write them."""
    body = [helper.make_node("Relu", ["a"], ["t"]), helper.make_node("Add", ["t", "a"], ["b"])]
    function = helper.make_function("pkg", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    proto = with_node(helper.make_node("Twice", ["c1"], ["n"], domain="pkg"), opset="pkg")
    proto.functions.append(function)
    np.testing.assert_allclose(logits(read(tmp_path, proto)), original(proto), rtol=1e-6)
    function.node[0].domain = "elsewhere"
    function.opset_import.append(helper.make_opsetid("elsewhere", 1))
    proto.functions[0].CopyFrom(function)
    with pytest.raises(UnsafeModelError, match="elsewhere"):
        read(tmp_path, proto)


def test_metadata_is_printable_and_bounded(tmp_path: Path) -> None:
    proto = conv_net()
    many = {f"k{index}": "" for index in range(90)}
    helper.set_model_props(proto, {"mean": "0.5", "evil\x1b[31m": "a\x00b", "long": "x" * 10_000, **many})
    metadata = read(tmp_path, proto).metadata
    assert metadata["mean"] == "0.5"
    assert len(metadata) <= 64
    assert all(key.isprintable() and value.isprintable() for key, value in metadata.items())
    assert max(map(len, metadata.values())) <= 4096


def test_truncated_file(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(conv_net().SerializeToString()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        read_onnx(tmp_path / "m", folder=tmp_path)


# --- external data -------------------------------------------------------------------------------


def external(tmp_path: Path, location: str = "w.bin", write: bool = True, **entries: str) -> onnx.ModelProto:
    """The plain network with its first weights in a file."""
    proto = conv_net()
    tensor = proto.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "16", "length": str(len(data)), **entries}.items():
        tensor.external_data.add(key=key, value=value)
    if write:
        (tmp_path / location).parent.mkdir(exist_ok=True)
        (tmp_path / location).write_bytes(b"\0" * 16 + data)
    return proto


@pytest.mark.parametrize("location", ["w.bin", "weights/w.bin", "./w.bin", "ümläut name.bin"])
def test_external_data_beside_the_model(tmp_path: Path, location: str) -> None:
    parsed = read(tmp_path, external(tmp_path, location))
    np.testing.assert_allclose(logits(parsed), original(conv_net()), rtol=1e-6)
    assert location in parsed.notes[0]
    assert "sha256" in parsed.notes[0]


@pytest.mark.parametrize(
    "location", ["../w.bin", "a/../../w.bin", "/etc/passwd", "", "..", "\\\\server\\w", "C:\\w", "a\0b"]
)
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(UnsafeModelError, match="outside"):
        read(tmp_path, external(tmp_path, location, write=False))


def test_links_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "sub").mkdir()
    proto = external(folder)
    os.link(folder / "w.bin", tmp_path / "second name")
    with pytest.raises(UnsafeModelError, match="linked"):
        read(folder, proto)
    (folder / "w.bin").unlink()
    (folder / "w.bin").symlink_to(tmp_path / "second name")
    with pytest.raises(UnsafeModelError, match="links"):
        read(folder, proto)
    (folder / "link").symlink_to(folder / "sub")
    external(folder, "sub/w.bin")
    with pytest.raises(UnsafeModelError, match="links"):
        read(folder, external(folder, "link/w.bin", write=False))
    os.mkfifo(folder / "fifo")
    with pytest.raises(UnsafeModelError, match="regular"):
        read(folder, external(folder, "fifo", write=False))


@pytest.mark.parametrize(
    "entries", [{"offset": "100"}, {"offset": "-1"}, {"length": "4"}, {"offset": "1" * 40}, {"length": "x"}]
)
def test_malformed_references(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="external"):
        read(tmp_path, external(tmp_path, **entries))


def test_missing_external_data(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'w\.bin' is missing"):
        read(tmp_path, external(tmp_path, write=False))


@pytest.mark.parametrize("kind", ["value", "sparse"])
def test_constants_in_external_data_are_refused(tmp_path: Path, kind: str) -> None:
    tensor = external(tmp_path).graph.initializer[0]
    if kind == "value":
        node = helper.make_node("Constant", [], ["k"], value=tensor)
    else:
        indices = numpy_helper.from_array(np.arange(432), "i")
        sparse = onnx.SparseTensorProto(values=tensor, indices=indices, dims=[1000])
        node = helper.make_node("Constant", [], ["k"], sparse_value=sparse)
    proto = conv_net()
    proto.graph.node.insert(0, node)
    with pytest.raises(UnsafeModelError, match="external"):
        read(tmp_path, proto)
