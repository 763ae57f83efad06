import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx_graphs
import onnxruntime
import pytest

from scanner.base.errors import DeviceError, ModelError, ProfileError
from scanner.graph.session import GraphSession

X = np.random.default_rng(0).standard_normal((3, 3, 8, 8), dtype=np.float32)


def session(**options: object) -> GraphSession:
    return GraphSession(*onnx_graphs.conv_bundle().serialise(), **options)  # type: ignore[arg-type]


def test_weights_in_memory_equal_weights_inline() -> None:
    inline = onnx_graphs.conv_net().SerializeToString()
    expected = onnxruntime.InferenceSession(inline, providers=["CPUExecutionProvider"]).run(None, {"image": X})[0]
    np.testing.assert_array_equal(session(device="cpu").run({"image": X})["logits"], expected)
    np.testing.assert_array_equal(GraphSession(inline, device="cpu").run({"image": X})["logits"], expected)


def test_the_buffer_may_go_once_the_session_is_there() -> None:
    graph, weights = onnx_graphs.conv_bundle().serialise()
    buffer = np.frombuffer(weights, np.uint8).copy()
    loaded = GraphSession(graph, buffer, device="cpu")
    before = loaded.run({"image": X})["logits"]
    buffer[:] = 0
    np.testing.assert_array_equal(loaded.run({"image": X})["logits"], before)


def test_names_and_selection() -> None:
    loaded = session(device="cpu")
    assert (loaded.input_names, loaded.output_names) == (("image",), ("logits",))
    assert set(loaded.run({"image": X}, ["logits"])) == {"logits"}


def test_runs_from_several_threads() -> None:
    loaded = session(device="cpu")
    expected = loaded.run({"image": X})["logits"]
    with ThreadPoolExecutor(4) as pool:
        for value in pool.map(lambda _: loaded.run({"image": X})["logits"], range(16)):
            np.testing.assert_array_equal(value, expected)


@pytest.mark.skipif("CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="built without CUDA")
def test_devices(capfd: pytest.CaptureFixture[str]) -> None:
    """Auto falls back without a word; cuda either is one or is an error."""
    automatic = session(device="auto")
    if automatic.provider == "CPUExecutionProvider":
        with pytest.raises(DeviceError, match="CUDA"):
            session(device="cuda")
    else:
        assert session(device="cuda").provider == "CUDAExecutionProvider"
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_cuda_missing_from_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert session(device="auto").provider == "CPUExecutionProvider"
    with pytest.raises(DeviceError, match="without CUDA"):
        session(device="cuda")


@pytest.mark.parametrize("graph", [b"", b"garbage", b"\x08\x0a" * 50])
def test_a_broken_graph_is_the_callers_error_in_one_line(graph: bytes) -> None:
    with pytest.raises(ProfileError) as caught:
        GraphSession(graph, device="cpu")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError):
        GraphSession(graph, device="cpu", error=ModelError)


def test_missing_weights_and_wrong_inputs_are_reported() -> None:
    graph, weights = onnx_graphs.conv_bundle().serialise()
    with pytest.raises(ProfileError):
        GraphSession(graph, weights[:64], device="cpu")
    loaded = GraphSession(graph, weights, device="cpu")
    with pytest.raises(ProfileError):
        loaded.run({"image": X[:, :1]})
    with pytest.raises(ProfileError):
        loaded.run({"other": X})
    with pytest.raises(ProfileError):
        loaded.run({"image": X}, ["no such output"])


def test_importing_it_imports_neither_torch_nor_onnx() -> None:
    code = "import sys, scanner.graph.session; print({'torch', 'onnx', 'scipy', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """Without the opt-out, loading it leaves its session file, and sends an event where there is a network."""
    script = "import scanner.graph.session, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert list(tmp_path.iterdir()) == []
