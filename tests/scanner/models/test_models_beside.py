"""Weights of an ONNX file in several files beside it, and how large a model is with all of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_graphs
import onnxruntime
import pytest
from onnx import TensorProto

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.graph.onnx_outline import outline_path
from scanner.graph.session import GraphSession
from scanner.models.beside import copy_beside
from scanner.models.onnx_file import ParsedOnnx, read_onnx
from scanner.models.stored_bytes import stored_bytes


def in_files(folder: Path, names: list[str]) -> Path:
    """A network, each of whose tensors is in one of some files, in turn; offsets as exporters align them."""
    proto = onnx_graphs.conv_net()
    for number, tensor in enumerate(proto.graph.initializer):
        path = folder / names[number % len(names)]
        path.parent.mkdir(exist_ok=True)
        start = -(-path.stat().st_size // 64) * 64 if path.exists() else 0
        data = onnx.numpy_helper.to_array(tensor).tobytes()
        with path.open("ab") as file:
            file.write(bytes(start - file.tell()) + data)
        for field in ("raw_data", "float_data", "int64_data"):
            tensor.ClearField(field)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", names[number % len(names)]), ("offset", start), ("length", len(data))):
            tensor.external_data.add(key=key, value=str(value))
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return folder / "model.onnx"


def read(model: Path, work: Path) -> ParsedOnnx:
    """As the child process does, from copies."""
    copy_beside(model, outline_path(model).external, work)
    return read_onnx(model, folder=work)


@pytest.mark.parametrize(
    "names", [["a.data", "b.data"], ["w/1.bin", "w/2.bin", "x.bin"], ["onnx__Conv_1", "fc.weight"]]
)
def test_data_in_several_files(tmp_path: Path, names: list[str]) -> None:
    model = in_files(tmp_path, names)
    parsed = read(model, tmp_path / "work")
    images = np.random.default_rng(0).standard_normal((40, *parsed.input_shape), dtype=np.float32)
    got = GraphSession(*parsed.bundle.serialise(), device="cpu").run({"image": images})["logits"]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert sum("external data" in note and "sha256" in note for note in parsed.notes) == len(names)
    assert stored_bytes(model) == sum((tmp_path / name).stat().st_size for name in ["model.onnx", *names])


def test_one_of_several_is_missing_or_elsewhere(tmp_path: Path) -> None:
    model = in_files(tmp_path, ["a.data", "b.data"])
    (tmp_path / "b.data").rename(tmp_path.parent / f"{tmp_path.name}.data")
    with pytest.raises(ModelError, match=r"'b\.data' is missing"):
        read(model, tmp_path / "work")
    (tmp_path / "b.data").symlink_to(tmp_path.parent / f"{tmp_path.name}.data")
    with pytest.raises(UnsafeModelError, match="without following links"):
        read(model, tmp_path / "again")
    assert stored_bytes(model) == 0


def test_one_of_several_that_is_short(tmp_path: Path) -> None:
    model = in_files(tmp_path, ["a.data", "b.data"])
    os.truncate(tmp_path / "b.data", 8)
    with pytest.raises(ModelError, match="truncated"):
        read(model, tmp_path / "work")


def test_the_size_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(bytes(100))
    assert stored_bytes(tmp_path / "m.bin") == stored_bytes(tmp_path) == 100
    assert stored_bytes(tmp_path / "none") == 0
