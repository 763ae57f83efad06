"""Running a graph with ONNX Runtime, with the settings that scores depend on fixed.

Used by ``scan``: imports NumPy and ONNX Runtime only.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from scanner.base.device import Device
from scanner.base.errors import DeviceError, LatentscanError, ProfileError
from scanner.graph.fixed_batches import FixedBatches, OutOfMemory

SMALL_PIXELS = 64 * 64
CPU = "CPUExecutionProvider"
_WEIGHTS = "weights"
_CUDA = "CUDAExecutionProvider"
_MEMORY = re.compile(r"out of memory|failed to allocate memory|_ALLOC_FAILED", re.IGNORECASE)
"""In what CUDA, cuDNN, cuBLAS and ONNX Runtime's own allocator say when a device's memory is full."""
_FATAL_ONLY = 4
_WARNINGS = 2
_CUDA_OPTIONS = {
    # TensorFloat-32 moves scores by 1e-3 relative: enough to change p-values calibrated without it.
    "use_tf32": "0",
    # DEFAULT has meant cuDNN's slow fallback since ONNX Runtime 1.20.
    "cudnn_conv_algo_search": "HEURISTIC",
}


def images_per_run(size: tuple[int, int], provider: str = CPU) -> int:
    """Images to run at once: enough to keep a core, or a GPU, busy on small ones, and little memory on large ones.

    Args:
        size: Their height and width.
        provider: What runs them.
    """
    small = size[0] * size[1] <= SMALL_PIXELS
    if provider == CPU:
        return 64 if small else 8
    return 1024 if small else 128


class GraphSession:
    """One loaded graph. ``run`` may be called from several threads at once.

    Args:
        graph: Serialised ONNX model; large initialisers are external data at location ``weights``.
        weights: The buffer with those initialisers. May be empty.
        device: ``auto`` takes a CUDA GPU when ONNX Runtime really gets one, and the CPU otherwise.
        threads: Threads that one ``run`` uses on the CPU. With several callers, 1 is fastest.
        error: Class of the error raised when the graph is at fault rather than the machine.

    Attributes:
        provider: The execution provider that runs the graph.
        input_names: Names of the inputs.
        output_names: Names of the outputs.

    Raises:
        DeviceError: ``cuda`` was asked for and is not there.
        ProfileError: (or ``error``) ONNX Runtime cannot load the graph.
    """

    provider: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]

    def __init__(
        self,
        graph: bytes,
        weights: bytes | memoryview | NDArray[np.uint8] = b"",
        *,
        device: Device = "auto",
        threads: int = 1,
        error: type[LatentscanError] = ProfileError,
    ) -> None:
        self._error = error
        providers = _providers(device)
        buffer = np.frombuffer(weights, dtype=np.uint8)
        try:
            self._session = _create(graph, buffer, threads, providers)
        except Exception as problem:  # ONNX Runtime raises plain RuntimeErrors and its own classes alike
            raise error(f"ONNX Runtime cannot load the graph ({_one_line(problem)})") from problem
        self.provider = self._session.get_providers()[0]
        self._batches = None if self.provider == CPU else FixedBatches(self._compute)
        if device == "cuda" and self.provider != _CUDA:
            raise DeviceError(
                "no usable CUDA device",
                where="--device cuda",
                hint="Check the driver and the CUDA 13 and cuDNN 9 libraries, or use --device cpu",
            )
        self.input_names = tuple(item.name for item in self._session.get_inputs())
        self.output_names = tuple(item.name for item in self._session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Compute outputs by name.

        Args:
            feeds: One array for every input.
            outputs: Which outputs; all of them by default.

        Raises:
            ProfileError: (or the session's ``error``) The graph fails on these inputs.
            DeviceError: A GPU's memory does not hold a single row of them.
        """
        names = list(self.output_names if outputs is None else outputs)
        return self._compute(feeds, names) if self._batches is None else self._batches.run(feeds, names)

    def _compute(self, feeds: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        try:
            values = self._session.run(list(names), dict(feeds))
        except Exception as problem:
            if self.provider != CPU and _MEMORY.search(str(problem)):
                raise OutOfMemory from problem
            raise self._error(f"the graph cannot be run ({_one_line(problem)})") from problem
        return dict(zip(names, values, strict=True))


def _providers(device: Device) -> list[str | tuple[str, dict[str, str]]]:
    available = ort.get_available_providers()  # what was built in, not what works here
    if device == "cpu":
        return [CPU]
    if _CUDA not in available:
        if device == "cuda":
            raise DeviceError(
                "this ONNX Runtime is built without CUDA",
                where="--device cuda",
                hint="Install onnxruntime-gpu, or use --device cpu",
            )
        return [CPU]
    if device == "auto" and not _driver_present():
        return [CPU]
    return [(_CUDA, dict(_CUDA_OPTIONS)), CPU]


def _driver_present() -> bool:
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return True
    return False


def _create(
    graph: bytes, weights: NDArray[np.uint8], threads: int, providers: list[str | tuple[str, dict[str, str]]]
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _FATAL_ONLY
    if weights.size:
        # The session copies or maps what it needs; the caller's buffer has to live until it exists.
        options.add_external_initializers_from_files_in_memory([_WEIGHTS], [weights], [weights.nbytes])
    if providers[0] != CPU and hasattr(ort, "preload_dlls"):
        _preload_cuda()
    # A CUDA provider that fails to load complains through the default logger, whatever the options say.
    ort.set_default_logger_severity(_FATAL_ONLY)
    try:
        return ort.InferenceSession(graph, options, providers=providers)
    finally:
        ort.set_default_logger_severity(_WARNINGS)


def _preload_cuda() -> None:
    """Load the CUDA libraries that came with the ``nvidia-*`` wheels; ONNX Runtime does not look there."""
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()  # prints what it misses; the session reports what it really got


def _one_line(problem: Exception) -> str:
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(problem).strip())
    line = " ".join("".join(char if char.isprintable() else " " for char in text[:2000]).split())
    return line[:240] or type(problem).__name__
