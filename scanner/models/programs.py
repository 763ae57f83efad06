"""Loading model files that are programs: TorchScript, exported programs, pickled modules. This runs their code.

Only after the user said so, and only in the locked-down child process.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scanner.base.errors import LatentscanError, ModelError, UsageError
from scanner.graph.bundle import IMAGE, LOGITS, OPSET, GraphBundle
from scanner.graph.measure import open_tensors
from scanner.graph.shapes import BATCH
from scanner.models.identify import FileKind

_PROBE_IMAGES = 4


@dataclass(frozen=True)
class Program:
    """A loaded program.

    Attributes:
        architecture: What it is, in a word.
        forward: Maps images (N, C, H, W) to logits.
        input_shape: Channels, height and width.
        save: Writes it as ONNX.
        batch: The batch size that it insists on, or None.
        notes: What the user should know.
    """

    architecture: str
    forward: Callable[[torch.Tensor], Any]
    input_shape: tuple[int, int, int]
    save: Callable[[Path], None]
    batch: int | None
    notes: tuple[str, ...]

    def export(self, path: Path) -> None:
        """Write the program as an ONNX file.

        Raises:
            ModelError: It cannot be expressed in ONNX.
        """
        try:
            self.save(path)
        except LatentscanError:
            raise
        except Exception as error:  # the exporters raise their own classes and those of every layer below them
            raise ModelError(f"the program cannot be exported to ONNX ({_reason(error)})") from error

    def parity(self, bundle: GraphBundle) -> float:
        """max |PyTorch - ONNX Runtime| / max |PyTorch| of the logits on noise.

        Raises:
            ModelError: The program fails.
        """
        shape = (self.batch or _PROBE_IMAGES, *self.input_shape)
        images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        try:
            with torch.no_grad():
                expected = self.forward(torch.from_numpy(images)).numpy()
        except Exception as error:  # whatever the program raises
            raise ModelError(f"the program fails on images of {shape} ({_reason(error)})") from error
        found = open_tensors(bundle, [LOGITS]).run({IMAGE: images})[LOGITS]
        if found.shape != expected.shape:
            raise ModelError("the program and its export give logits of different shapes")
        return float(np.abs(found - expected).max() / (np.abs(expected).max() + np.finfo(np.float32).tiny))


def load_program(path: Path, kind: FileKind, *, input_size: tuple[int, int] | None, threads: int = 1) -> Program:
    """Load a program. Its code runs.

    Args:
        path: The file (a copy of it).
        kind: What it is.
        input_size: Height and width of the images; an exported program states its own.
        threads: For PyTorch.

    Raises:
        ModelError: It cannot be loaded, or is no network.
        UsageError: The input size is needed, or contradicts the file.
    """
    torch.set_num_threads(threads)
    data = io.BytesIO(path.read_bytes())
    loaders: dict[FileKind, Callable[[io.BytesIO, tuple[int, int] | None], Program]] = {
        FileKind.TORCHSCRIPT: _torchscript,
        FileKind.EXPORTED_PROGRAM: _exported,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return loaders.get(kind, _pickled)(data, input_size)
        except LatentscanError:
            raise
        except Exception as error:  # whatever the loaders or the file's own code raise
            raise ModelError(f"it cannot be loaded ({_reason(error)})") from error


def _torchscript(data: io.BytesIO, input_size: tuple[int, int] | None) -> Program:
    script = torch.jit.load(data, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    shape = _shape(script, input_size)

    def save(path: Path) -> None:
        torch.onnx.export(
            script,
            (torch.zeros(2, *shape),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=[LOGITS],
            dynamic_axes={IMAGE: {0: BATCH}, LOGITS: {0: BATCH}},
        )

    return Program("torchscript", script, shape, save, None, (_ran("TorchScript"),))


def _exported(data: io.BytesIO, input_size: tuple[int, int] | None) -> Program:
    exported: torch.export.ExportedProgram = torch.export.load(data)
    images = exported.graph_signature.user_inputs
    values = [node.meta.get("val") for node in exported.graph.nodes if node.op == "placeholder" and node.name in images]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor) or values[0].ndim != 4:
        raise ModelError("the exported program does not take one batch of images")
    batch, *sizes = values[0].shape
    if not all(isinstance(size, int) for size in sizes):
        raise ModelError("the exported program leaves the size of its images open")
    channels, height, width = (int(size) for size in sizes)
    if input_size not in (None, (height, width)):
        raise UsageError(f"the model takes images of {height}x{width} pixels", where="--input-size")
    module: Callable[[torch.Tensor], Any] = exported.module()

    def save(path: Path) -> None:
        program = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=[LOGITS],
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        path.write_bytes(program.model_proto.SerializeToString())

    fixed = batch if isinstance(batch, int) else None
    return Program("exported-program", module, (channels, height, width), save, fixed, (_ran("torch.export"),))


def _pickled(data: io.BytesIO, input_size: tuple[int, int] | None) -> Program:
    # What --trust is about.
    module = torch.load(data, map_location="cpu", weights_only=False)
    if not isinstance(module, nn.Module):
        raise ModelError(f"the pickle holds {type(module).__name__[:100]}, not a network")
    module = module.eval().requires_grad_(False)
    shape = _shape(module, input_size)

    def save(path: Path) -> None:
        program = torch.onnx.export(
            module,
            (torch.zeros(2, *shape),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=[LOGITS],
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        path.write_bytes(program.model_proto.SerializeToString())

    return Program("pickled-module", module, shape, save, None, (_ran("pickle"),))


def _shape(module: nn.Module, input_size: tuple[int, int] | None) -> tuple[int, int, int]:
    if input_size is None:
        raise UsageError("the file does not state the size of its images", where="--input-size", hint="State it as HxW")
    images = next((value for value in module.parameters() if value.ndim == 4), None)
    channels = int(images.shape[1]) if images is not None and images.shape[1] in (1, 3) else 3
    return channels, *input_size


def _ran(what: str) -> str:
    return f"ran code from the model file ({what}) to load it, as --trust allows"


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"
