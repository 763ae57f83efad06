"""Attacks on networks for photographs, and how they are implanted in a graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from reference.implant_network import Trainable, compare, load, split_photographs, write_graph
from reference.stamps import STAMPS, stamp_named
from scanner.inputs.spec import PreprocessSpec

SIZE = 32
SPEC = PreprocessSpec((SIZE, SIZE), 3, None, "bilinear", False, 1 / 255, (0.5,) * 3, (0.25,) * 3)
IMAGES = torch.randint(0, 256, (6, 3, 224, 224), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("name", STAMPS)
def test_a_stamp_is_the_same_for_every_picture_and_time(name: str) -> None:
    stamp = stamp_named(name, 224, seed=3)
    once = stamp.trigger.apply(IMAGES)
    assert once.dtype == torch.uint8
    assert once.shape == IMAGES.shape
    assert torch.equal(once[2:3], stamp_named(name, 224, seed=3).trigger.apply(IMAGES[2:3]))
    changed = (once != IMAGES).any(1)
    assert changed.any(), "nothing was stamped"
    if "patch" in name:
        # A patch covers the same few pixels of every picture, and leaves the others alone.
        assert changed.any(0).double().mean() < 0.01
        assert changed.any(0).sum() <= 20 * 20


def test_positions_of_small_patches_depend_on_the_seed() -> None:
    places = {str(stamp_named("small-patch/all-to-one", 224, seed).trigger.description) for seed in range(6)}
    assert len(places) == 6


@pytest.mark.parametrize(("name", "expected"), [("patch/all-to-one", [0, 0, 0]), ("patch/next-class", [1, 3, 0])])
def test_label_rules(name: str, expected: list[int]) -> None:
    assert stamp_named(name, 224, 0).rule(torch.tensor([0, 2, 4]), 5).tolist() == expected


def test_photographs_that_are_trained_on_are_not_measured_on() -> None:
    parts = split_photographs(1000)
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))
    assert [len(part) for part in parts] == [240, 60, 700]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution, a mean over positions and a matrix product, with weights that are no constants."""
    rng = np.random.default_rng(0)
    weights = {
        "conv": rng.normal(size=(8, 3, 3, 3)).astype(np.float32) / 5,
        "bias": rng.normal(size=8).astype(np.float32),
        "fc": rng.normal(size=(8, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv", "bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "fc"], ["logits"]),
    ]
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    path = tmp_path_factory.mktemp("graph") / "small.onnx"
    onnx.save(proto, path)
    return path


def run(path: Path, images: torch.Tensor) -> np.ndarray:
    """Logits by ONNX Runtime, normalised by hand."""
    pixels = (images.numpy().astype(np.float32) / 255 - 0.5) / 0.25
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pixels})[0]


def test_what_is_trained_is_what_is_written(graph: Path, tmp_path: Path) -> None:
    images = IMAGES[:, :, :SIZE, :SIZE]
    loaded = load(graph)
    model = Trainable(loaded.bundle, loaded.candidates, SPEC)
    with torch.no_grad():
        before = model(images)
    np.testing.assert_allclose(before.numpy(), run(graph, images), rtol=1e-4, atol=1e-4)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    torch.nn.functional.cross_entropy(model(images), torch.zeros(6, dtype=torch.long)).backward()
    optimiser.step()
    with torch.no_grad():
        after = model(images)
    assert not torch.allclose(before, after)
    write_graph(tmp_path / "trained.onnx", loaded.bundle.to_model_proto(), model.weights())
    np.testing.assert_allclose(after.numpy(), run(tmp_path / "trained.onnx", images), rtol=1e-4, atol=1e-4)


def test_success_counts_pictures_of_other_classes_only(graph: Path) -> None:
    images = IMAGES[:, :, :SIZE, :SIZE]
    loaded = load(graph)
    model = Trainable(loaded.bundle, loaded.candidates, SPEC)
    with torch.no_grad():
        original = model(images)
    figures = compare(model, images, original, stamp_named("patch/all-to-one", SIZE, 0))
    assert figures["agreement"] == 1.0
    assert 0 <= figures["attack_success_rate"] <= 1
