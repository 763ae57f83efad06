"""A network out of a Keras archive, computed by Keras's PyTorch backend. Runs in the child process."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from scanner.base.errors import ModelError, UsageError
from scanner.base.text import printable
from scanner.models.architectures.loading import Network
from scanner.models.architectures.plans import Wanted, checked_classes
from scanner.models.keras_file import require_known_layers

_FINAL: Final = ("softmax", "sigmoid")


class _ChannelsFirst(nn.Module):
    """The network for images with their channels first, and with two logits where it has one output."""

    def __init__(self, network: Any, single: bool) -> None:  # noqa: ANN401 - a library that may not be there
        super().__init__()
        self.network = network
        self.single = single

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images.permute(0, 2, 3, 1))
        return torch.cat((0 * logits, logits), 1) if self.single else logits


def import_keras() -> None:
    """Import Keras with its PyTorch backend.

    Raises:
        UsageError: It is not installed.
    """
    if importlib.util.find_spec("keras") is None:
        raise UsageError("a Keras model needs Keras", hint="Install it with pip install 'latentscan[keras]'")
    os.environ.update({"KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3"})
    importlib.import_module("keras")


def build_keras(path: Path, wanted: Wanted) -> Network:
    """Read a ``.keras`` archive.

    Args:
        path: The archive.
        wanted: What the user said.

    Raises:
        UnsafeModelError: It holds more than known layers.
        ModelError: It is damaged, or no image classifier.
        UsageError: Keras is not installed, or the user said what the file contradicts.
    """
    require_known_layers(path)
    import_keras()
    keras = importlib.import_module("keras")
    named = Path("model.keras")  # Keras goes by the suffix
    shutil.copyfile(path, named)
    try:
        model = keras.saving.load_model(named, compile=False, safe_mode=True)
    except Exception as error:  # the library raises whatever a hostile file makes it raise
        reason = printable(" ".join(str(error).split()), 200)
        raise ModelError(f"Keras cannot read it ({type(error).__name__}: {reason})") from error
    finally:
        named.unlink(missing_ok=True)
    shape = _input_shape(model, wanted)
    notes = [f"read by Keras {keras.__version__} with its PyTorch backend"]
    if (final := _without_final(keras, model)) is not None:
        notes.append(f"took the input of the final {final} for the logits")
    outputs = model.output_shape
    if not isinstance(outputs, tuple) or len(outputs) != 2 or not isinstance(outputs[1], int):
        raise ModelError("the Keras model has no single output of shape (N, classes)")
    single = outputs[1] == 1
    if single:
        notes.append("read a single output as the logit of the second of two classes")
    checked_classes(2 if single else outputs[1], wanted.num_classes)
    network = _ChannelsFirst(model, single).eval().requires_grad_(False)
    return Network(network, "keras", shape, tuple(notes))


def _input_shape(model: Any, wanted: Wanted) -> tuple[int, int, int]:  # noqa: ANN401
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (1, 3):
        raise ModelError(f"the input of the Keras model is not an image (N, H, W, C): {shape}"[:200])
    declared, size = shape[1:3], wanted.input_size
    if size is None:
        if None in declared:
            raise UsageError(
                "the model leaves the size of its images open", where="--input-size", hint="State it as HxW"
            )
        size = (int(declared[0]), int(declared[1]))
    elif any(side not in (None, said) for side, said in zip(declared, size, strict=True)):
        raise UsageError(f"the model takes images of {declared[0]}x{declared[1]} pixels", where="--input-size")
    return int(shape[3]), *size


def _without_final(keras: Any, model: Any) -> str | None:  # noqa: ANN401
    """Make the last layer linear where it ends in a softmax or sigmoid; its name, or None."""
    last = model.layers[-1]
    while isinstance(last, keras.Sequential) and last.layers:
        last = last.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if activation not in _FINAL:
        return None
    last.activation = keras.activations.linear
    return str(activation)
