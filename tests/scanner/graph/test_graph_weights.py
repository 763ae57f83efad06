"""Tails of graphs: cut, run apart, and run as PyTorch modules."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from scanner.base.errors import UsageError
from scanner.graph.bundle import GraphBundle
from scanner.graph.session import GraphSession
from scanner.graph.taps import Tap
from scanner.graph.torch_network import GraphNetwork
from scanner.graph.torch_ops.arguments import UnsupportedNodeError
from scanner.graph.torch_ops.table import operator
from scanner.graph.weights import Tail, choose_weights, cut_tail, expose, weight_tensors, weight_values
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN
from scanner.models.export import export_network

RNG = np.random.default_rng(0)


def exported(module: torch.nn.Module, shape: tuple[int, int, int]) -> tuple[GraphBundle, tuple[Tap, ...]]:
    probe = RNG.normal(size=(4, *shape)).astype(np.float32)
    network = export_network(module.eval(), shape, probe)
    return network.bundle, network.candidates


@pytest.fixture(scope="module")
def resnet20() -> tuple[GraphBundle, tuple[Tap, ...]]:
    torch.manual_seed(0)
    return exported(ResNet20(), (3, 32, 32))


@pytest.fixture(scope="module")
def scnn() -> tuple[GraphBundle, tuple[Tap, ...]]:
    torch.manual_seed(0)
    return exported(SCNN(image_size=8), (1, 8, 8))


def tail_inputs(bundle: GraphBundle, tail: Tail, images: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    source = bundle.proto.graph.input[0].name
    outputs = GraphSession(*expose(bundle, tail).serialise(), device="cpu").run({source: images}) | {source: images}
    return {item.name: outputs[item.name] for item in tail.inputs}, outputs["logits"]


def check_apart(bundle: GraphBundle, tail: Tail, images: np.ndarray) -> None:
    """The tail alone gives the network's logits, in ONNX Runtime exactly and in PyTorch up to rounding."""
    feeds, logits = tail_inputs(bundle, tail, images)
    np.testing.assert_array_equal(GraphSession(*tail.bundle.serialise(), device="cpu").run(feeds)["logits"], logits)
    with torch.no_grad():
        ours = GraphNetwork(tail)(*(torch.from_numpy(feeds[item.name]) for item in tail.inputs)).numpy()
    np.testing.assert_allclose(ours, logits, atol=1e-5 * np.abs(logits).max())


@pytest.mark.parametrize(("which", "count", "inputs"), [("all", 20, 1), ("last-stage", 7, 1), ("1", 1, 1), ("3", 3, 1)])
def test_a_tail_of_resnet20_computes_what_the_network_does(resnet20, which: str, count: int, inputs: int) -> None:
    bundle, candidates = resnet20
    tail = cut_tail(bundle, choose_weights(bundle.proto, candidates, which))
    assert len(tail.weights) == count
    assert len(tail.inputs) >= inputs
    check_apart(bundle, tail, RNG.normal(size=(3, 3, 32, 32)).astype(np.float32))


def test_the_last_stage_of_a_plain_network_is_its_dense_part(scnn) -> None:
    bundle, candidates = scnn
    tail = cut_tail(bundle, choose_weights(bundle.proto, candidates, "last-stage"))
    assert [weight.shape for weight in tail.weights] == [(128, 256), (10, 128)]
    check_apart(bundle, tail, RNG.normal(size=(5, 1, 8, 8)).astype(np.float32))
    assert len(choose_weights(bundle.proto, candidates, "99")) == 4


@pytest.mark.parametrize("which", ["", "0", "-1", "half", "1.5", "²"])
def test_a_choice_that_means_nothing_is_refused(scnn, which: str) -> None:
    with pytest.raises(UsageError, match="no choice of layers"):
        choose_weights(scnn[0].proto, scnn[1], which)


def graph(nodes: list, initialisers: dict[str, np.ndarray], shape: list) -> GraphBundle:
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shape])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
            [numpy_helper.from_array(value.astype(np.float32), name) for name, value in initialisers.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    return GraphBundle.from_model_proto(model)


def test_shared_embedded_and_foreign_weights() -> None:
    """A tied weight is one tensor; one that is also looked up, or has a dynamic partner, is none."""
    tied, table, last = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 4)), RNG.normal(size=(3, 4))
    bundle = graph(
        [
            helper.make_node("MatMul", ["image", "tied"], ["a"]),
            helper.make_node("MatMul", ["a", "tied"], ["b"]),
            helper.make_node("MatMul", ["b", "table"], ["c"]),
            helper.make_node("Add", ["c", "table_row"], ["d"]),
            helper.make_node("Gather", ["table", "zero"], ["row"], axis=0),
            helper.make_node("Add", ["d", "row"], ["e"]),
            helper.make_node("Gemm", ["e", "last"], ["logits"], transB=1, alpha=0.5),
        ],
        {"tied": tied, "table": table, "table_row": table[0], "last": last, "zero": np.zeros(1)},
        [4],
    )
    for tensor in bundle.proto.graph.initializer:
        if tensor.name == "zero":
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(0, np.int64), "zero"))
    found = weight_tensors(bundle.proto)
    assert [(weight.name, weight.transposed, len(weight.nodes)) for weight in found] == [
        ("tied", True, 2),
        ("last", False, 1),
    ]
    tail = cut_tail(bundle, found)
    np.testing.assert_array_equal(weight_values(tail)[0], tied.astype(np.float32))
    check_apart(bundle, tail, RNG.normal(size=(6, 4)).astype(np.float32))
    assert list(GraphNetwork(tail).layers) == ["0", "1"]


def test_a_weight_of_convolutions_that_differ_is_refused() -> None:
    kernel = {"kernel": RNG.normal(size=(3, 3, 1, 1))}

    def tail(**second: list[int]) -> Tail:
        nodes = [
            helper.make_node("Conv", ["image", "kernel"], ["a"]),
            helper.make_node("Conv", ["a", "kernel"], ["b"], **second),
            helper.make_node("ReduceMean", ["b", "axes"], ["logits"], keepdims=0),
        ]
        bundle = graph(nodes, kernel | {"axes": np.zeros(2)}, [3, 5, 5])
        bundle.proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([2, 3]), "axes"))
        return cut_tail(bundle, weight_tensors(bundle.proto))

    assert list(GraphNetwork(tail(pads=[1, 1, 1, 1], strides=[1, 1])).layers) == ["0"]
    with pytest.raises(UnsupportedNodeError, match="one weight in convolutions of different strides"):
        GraphNetwork(tail(strides=[2, 2]))


def test_shapes_stay_on_the_cpu_and_meet_activations_where_those_are() -> None:
    bundle = graph(
        [
            helper.make_node("Gemm", ["image", "w"], ["a"]),
            helper.make_node("Shape", ["a"], ["batch"], end=1),
            helper.make_node("Concat", ["batch", "rest"], ["sizes"], axis=0),
            helper.make_node("Reshape", ["a", "sizes"], ["b"]),
            helper.make_node("Cast", ["sizes"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["b", "floats"], ["c"]),
            helper.make_node("Less", ["floats", "c"], ["mask"]),
            helper.make_node("Where", ["mask", "floats", "c"], ["d"]),
            helper.make_node("Gather", ["d", "first"], ["logits"], axis=1),
        ],
        {"w": RNG.normal(size=(4, 6)), "rest": np.zeros(1), "first": np.zeros(1)},
        [4],
    )
    integers = {"rest": np.array([2, 3]), "first": np.asarray(0)}
    for tensor in bundle.proto.graph.initializer:
        if tensor.name in integers:
            tensor.CopyFrom(numpy_helper.from_array(integers[tensor.name], tensor.name))
    tail = cut_tail(bundle, weight_tensors(bundle.proto))
    check_apart(bundle, tail, RNG.normal(size=(3, 4)).astype(np.float32))
    # Stands for a GPU: tensors of the two kinds cannot be mixed, nor values read.
    network = GraphNetwork(tail).to("meta")
    assert network(torch.empty(3, 4, device="meta")).shape == (3, 3)


def test_a_network_without_weights_has_no_posterior() -> None:
    bundle = graph([helper.make_node("ReduceMean", ["image"], ["logits"], keepdims=0, axes=[2])], {}, [3, 5])
    with pytest.raises(UsageError, match="no linear or convolutional layer"):
        choose_weights(bundle.proto, (), "all")


def run_both(node: onnx.NodeProto, arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One node in ONNX Runtime and as a PyTorch function."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(node.input, arrays, strict=True)
        if name
    ]
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name=name) for name in node.output]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    feeds = dict(zip(node.input, arrays, strict=True))
    theirs = GraphSession(model.SerializeToString(), device="cpu").run({k: v for k, v in feeds.items() if k})
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    ours = operator(node.op_type, attributes)([torch.from_numpy(array) for array in arrays], attributes)
    first = ours[0] if isinstance(ours, tuple) else ours
    return first.numpy(), theirs[node.output[0]]


X = RNG.normal(size=(2, 4, 9, 8)).astype(np.float32)
NODES = [
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 1]}, [X]),
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1}, [X]),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, [X]),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, [X]),
    ("Slice", {}, [X, np.array([-1, 1]), np.array([-100, 7]), np.array([2, 3]), np.array([-2, 2])]),
    ("Gather", {"axis": -2}, [X, np.array([[0, -1], [3, 2]])]),
    ("Pad", {}, [X, np.array([0, 1, 0, 2, 0, 0, 3, 1]), np.array(2.5, np.float32)]),
    ("Pad", {"mode": "reflect"}, [X, np.array([0, 1, 4, 2, 0, 0, 3, 7])]),
    ("Pad", {"mode": "edge"}, [X[0], np.array([0, 1, 4, 2, 0, 9])]),
    ("Pad", {"mode": "wrap"}, [X, np.array([0, 0, 4, 2, 0, 0, 3, 7])]),
    ("Reshape", {}, [X, np.array([0, -1, 8])]),
    ("Flatten", {"axis": 2}, [X]),
    ("Split", {"axis": 2, "num_outputs": 2}, [X]),
    ("LayerNormalization", {"axis": -2, "epsilon": 1e-3}, [X, X[0, 0]]),
    ("Clip", {}, [X, np.array(-0.5, np.float32), np.array(0.3, np.float32)]),
    ("HardSigmoid", {"alpha": 0.3}, [X]),
    ("ReduceL2", {"keepdims": 0}, [X, np.array([1, 2])]),
    ("Softmax", {"axis": 1}, [X]),
    ("Gemm", {"transA": 1, "beta": 0.5, "alpha": 2.0}, [X[0, 0], X[0, 1], X[0, 0, 0]]),
    ("Conv", {"pads": [1, 0, 0, 2], "strides": [2, 1], "group": 2}, [X, X[:2, :2, :3, :3], X[0, 0, 0, :2]]),
    ("PRelu", {}, [X, X[0, :, :1, :1]]),
    ("Squeeze", {}, [X[:, :1], np.array([1])]),
    ("Unsqueeze", {}, [X, np.array([0, -1])]),
    ("Expand", {}, [X[:, :1], np.array([3, 1, 4, 1, 1])]),
    ("Transpose", {"perm": [2, 0, 3, 1]}, [X]),
    ("Range", {}, [np.array(2), np.array(11), np.array(3)]),
    ("Gelu", {"approximate": "tanh"}, [X]),
]


@pytest.mark.parametrize(("kind", "attributes", "arrays"), NODES)
def test_operators_equal_onnx_runtime(kind: str, attributes: dict, arrays: list[np.ndarray]) -> None:
    outputs = ["y", "y1"] if kind == "Split" else ["y"]
    node = helper.make_node(kind, [f"x{i}" for i in range(len(arrays))], outputs, **attributes)
    ours, theirs = run_both(node, arrays)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "attributes", "named"),
    [
        ("LSTM", {}, "operator LSTM"),
        ("Relu", {"surprise": 1}, "attribute surprise"),
        ("Conv", {"auto_pad": b"SAME_UPPER"}, "automatic padding"),
    ],
)
def test_what_is_not_known_is_refused_rather_than_computed_differently(kind: str, attributes: dict, named: str) -> None:
    with pytest.raises(UnsupportedNodeError, match=named):
        operator(kind, attributes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "densenet121",
        "shufflenet_v2_x0_5",
        "convnext_tiny",
        "swin_t",
    ],
)
def test_torchvision_networks_become_tails_and_modules(name: str) -> None:
    import torchvision

    torch.manual_seed(0)
    bundle, candidates = exported(torchvision.models.get_model(name, weights=None), (3, 64, 64))
    for which in ("all", "last-stage"):
        tail = cut_tail(bundle, choose_weights(bundle.proto, candidates, which))
        check_apart(bundle, tail, RNG.normal(size=(2, 3, 64, 64)).astype(np.float32))
