"""Batches of one size: every row is computed once and gets its own outputs, whatever fits into memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.base.errors import DeviceError
from scanner.graph import session as module
from scanner.graph.fixed_batches import AT_ONCE, Arrays, FixedBatches, OutOfMemory
from scanner.graph.session import CPU, GraphSession, images_per_run


class Device:
    """Adds one to rows, of which it holds so many."""

    def __init__(self, most: int = 10**6) -> None:
        self.most, self.sizes = most, list[int]()

    def __call__(self, feeds: Arrays, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        self.sizes.append(len(feeds["x"]))
        if len(feeds["x"]) > self.most:
            raise OutOfMemory
        return dict.fromkeys(outputs, feeds["x"] + 1)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 50))
@settings(deadline=None)
def test_every_row_gets_its_own_outputs(counts: list[int], most: int) -> None:
    device = Device(most)
    batches = FixedBatches(device)
    for count in counts:
        rows = np.arange(2 * count).reshape(count, 2)
        found = batches.run({"x": rows, "y": rows.astype(float)}, ["a", "b"])
        assert found.keys() == {"a", "b"}
        for values in found.values():
            np.testing.assert_array_equal(values, rows + 1)


def test_a_batch_of_fewer_rows_is_filled_up() -> None:
    device = Device()
    batches = FixedBatches(device)
    for count in (8, 3, 8, 1):
        assert len(batches.run({"x": np.ones((count, 2))}, ["a"])["a"]) == count
    assert device.sizes == [8, 8, 8, 8]


def test_batches_are_halved_once_until_they_fit() -> None:
    device = Device(5)
    batches = FixedBatches(device)
    for _ in range(2):
        assert len(batches.run({"x": np.ones((16, 2))}, ["a"])["a"]) == 16
    assert device.sizes == [16, 8, *[4] * 8]


def test_memory_for_no_row_is_one_line_for_the_user() -> None:
    with pytest.raises(DeviceError, match=r"does not hold one image.*Free the GPU's memory, or use --device cpu"):
        FixedBatches(Device(0)).run({"x": np.ones((16, 2))}, ["a"])


def test_two_are_computed_at_once_and_no_more() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def compute(feeds: Arrays, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return dict.fromkeys(outputs, feeds["x"])

    batches = FixedBatches(compute)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: batches.run({"x": np.ones((2, 2))}, ["a"]), range(40)))
    assert most == AT_ONCE


# --- in a session ---


class OnDevice:
    """ONNX Runtime's session, as if on a GPU whose memory holds so many images."""

    def __init__(self, session: object, most: int, said: str) -> None:
        self._session, self._most, self._said = session, most, said

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", CPU]

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        if len(feeds["image"]) > self._most:
            raise RuntimeError(self._said)
        return self._session.run(names, feeds)  # type: ignore[attr-defined, no-any-return]


def on_device(monkeypatch: pytest.MonkeyPatch, most: int, said: str) -> GraphSession:
    create = module._create
    monkeypatch.setattr(module, "_create", lambda *options: OnDevice(create(*options), most, said))
    return GraphSession(*onnx_graphs.conv_bundle().serialise(), device="cpu")


@pytest.mark.parametrize(
    "said",
    [
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : CUDA failure 2: out of memory ; GPU=0",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : BFCArena::AllocateRaw Failed to allocate memory",
        "CUDNN failure 4000: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_a_session_takes_smaller_batches_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    images = np.random.default_rng(0).standard_normal((11, 3, 8, 8), dtype=np.float32)
    expected = GraphSession(*onnx_graphs.conv_bundle().serialise(), device="cpu").run({"image": images})["logits"]
    session = on_device(monkeypatch, 3, said)
    np.testing.assert_allclose(session.run({"image": images})["logits"], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(DeviceError, match="memory does not hold one image"):
        on_device(monkeypatch, 0, said).run({"image": images})


def test_other_failures_are_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    session = on_device(monkeypatch, 3, "Non-zero status code returned while running Conv node")
    with pytest.raises(Exception, match=r"the graph cannot be run .Non-zero status code"):
        session.run({"image": np.zeros((4, 3, 8, 8), np.float32)})


def test_a_gpu_gets_more_images_at_once() -> None:
    assert (images_per_run((32, 32)), images_per_run((224, 224))) == (64, 8)
    assert (images_per_run((32, 32), "CUDAExecutionProvider"), images_per_run((224, 224), "CUDAExecutionProvider")) == (
        1024,
        128,
    )
