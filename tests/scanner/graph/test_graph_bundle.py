import numpy as np
import onnx
import onnx_graphs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from scanner.base.errors import ModelError, OutputError
from scanner.graph import bundle as bundle_module
from scanner.graph.bundle import GraphBundle, WeightsBuffer, external_range, is_external, refer


def test_large_initialisers_move_out_and_come_back() -> None:
    original = onnx_graphs.conv_net()
    bundle = GraphBundle.from_model_proto(original)
    external = {tensor.name for tensor in bundle.proto.graph.initializer if is_external(tensor)}
    assert external == {"w1", "w2"}  # w3 has 512 bytes
    restored = bundle.to_model_proto()
    onnx.checker.check_model(restored, full_check=True)
    for before, after in zip(original.graph.initializer, restored.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(before), numpy_helper.to_array(after))
    assert not is_external(original.graph.initializer[0])  # the argument was left alone


def test_values_in_typed_fields_move_as_well() -> None:
    values = np.linspace(-1, 1, 400, dtype=np.float32)
    model = onnx_graphs.model([("Add", ["image", "w"], ["logits"])], {}, image=("batch", 400))
    model.graph.initializer.append(onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [400], values.tolist()))
    assert not model.graph.initializer[0].raw_data
    bundle = GraphBundle.from_model_proto(model)
    assert bundle.weights == values.tobytes()
    np.testing.assert_array_equal(numpy_helper.to_array(bundle.to_model_proto().graph.initializer[0]), values)


def test_in_place_takes_the_model_over() -> None:
    model = onnx_graphs.conv_net()
    whole = model.ByteSize()
    bundle = GraphBundle.from_model_proto(model, in_place=True)
    assert bundle.proto == model
    assert model.ByteSize() + len(bundle.weights) < whole + 2000
    same = GraphBundle.from_model_proto(bundle.proto, bundle.weights, in_place=True)
    assert same.proto is bundle.proto  # nothing is left to move


def test_adding_to_a_bundle_keeps_its_weights_where_they_are() -> None:
    first = onnx_graphs.conv_bundle()
    proto = first.copy_proto()
    more = np.arange(1000, dtype=np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(more, "more"))
    second = GraphBundle.from_model_proto(proto, first.weights)
    assert second.weights.startswith(first.weights)
    by_name = {tensor.name: tensor for tensor in second.proto.graph.initializer}
    start, length = external_range(by_name["more"], len(second.weights))
    np.testing.assert_array_equal(np.frombuffer(second.weights[start : start + length], dtype=np.float32), more)


def test_serialisation_is_reproducible() -> None:
    assert onnx_graphs.conv_bundle().serialise() == onnx_graphs.conv_bundle().serialise()


@given(st.lists(st.binary(max_size=200), max_size=8), st.binary(max_size=100))
def test_buffer_aligns_and_keeps_all(parts: list[bytes], initial: bytes) -> None:
    buffer = WeightsBuffer(initial)
    offsets = [buffer.append(part) for part in parts]
    data = buffer.to_bytes()
    assert data.startswith(initial)
    for offset, part in zip(offsets, parts, strict=True):
        assert offset % 64 == 0
        assert data[offset : offset + len(part)] == part


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("location", "/etc/passwd"),
        ("location", "../weights"),
        ("offset", "-64"),
        ("offset", "99999999"),
        ("offset", "9" * 30),
        ("length", "8"),
        ("length", "0x10"),
    ],
)
def test_references_out_of_the_buffer_are_refused(key: str, value: str) -> None:
    bundle = onnx_graphs.conv_bundle()
    entry = next(e for e in bundle.proto.graph.initializer[0].external_data if e.key == key)
    entry.value = value
    with pytest.raises(ModelError):
        bundle.to_model_proto()
    with pytest.raises(ModelError):
        GraphBundle.from_model_proto(bundle.proto, bundle.weights)


def test_negative_dimensions_are_refused() -> None:
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[-2, -2])
    refer(tensor, 0, 16)
    with pytest.raises(ModelError, match="shape"):
        external_range(tensor, 100)


def test_more_than_a_file_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "_PROTOBUF_LIMIT", 1000)
    with pytest.raises(OutputError, match="2 GiB"):
        onnx_graphs.conv_bundle().to_model_proto(error=OutputError)
