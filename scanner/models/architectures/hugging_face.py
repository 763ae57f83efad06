"""A network of Hugging Face's library for a file of weights, built from the sizes in its ``config.json``.

Only networks that are part of the library: code beside the weights is never run, and nothing is downloaded. The library
itself loads the weights, since it renames those of older versions. Runs in the child process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import tempfile
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import nn

from scanner.base.errors import ModelError, UsageError
from scanner.base.text import printable
from scanner.models.architectures.loading import Network
from scanner.models.architectures.plans import Wanted
from scanner.models.stored_tensors import State

_DEFAULT_SIDE: Final = 224


class _Logits(nn.Module):
    """The network with its logits as its only output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(pixel_values=images, return_dict=True).logits
        return logits


def installed() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec("transformers") is not None


def build_hugging_face(kind: str, config: str, state: State, wanted: Wanted) -> Network:
    """Build a network and load its weights.

    Args:
        kind: The library's model type.
        config: The JSON of ``config.json``.
        state: Weights by name.
        wanted: What the user said.

    Raises:
        UsageError: The library is not installed, or the user said what the weights contradict.
        ModelError: It has no such classifier, or the weights do not fit it.
    """
    shown = printable(kind, 60)
    if not installed():
        raise UsageError(
            f"config.json names Hugging Face's network {shown!r}, and transformers is not installed",
            where="--arch",
            hint="Install it with pip install 'latentscan[hf]'",
        )
    transformers = importlib.import_module("transformers")
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    if kind not in auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        raise ModelError(
            f"Hugging Face's library has no image classifier {shown!r}", hint="Export it to ONNX with its own code"
        )
    values = json.loads(config)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        weights = {key: value.contiguous() for key, value in _unshared(state).items()}
        safetensors.torch.save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
        Path(folder, "config.json").write_text(config, encoding="utf-8")
        module = _loaded(transformers, folder, shown)
    classes = int(getattr(module.config, "num_labels", 0))
    if wanted.num_classes not in (None, classes):
        raise UsageError(f"the weights are for {classes} classes, not {wanted.num_classes}", where="--num-classes")
    shape = _input_shape(values, module, wanted)
    notes = (f"built Hugging Face's network {shown!r} from config.json",)
    return Network(_Logits(module).eval().requires_grad_(False), f"hf/{shown}", shape, notes)


def _unshared(state: State) -> State:
    """Copies of tensors that share memory, which the format does not allow."""
    seen: set[int] = set()
    kept: State = {}
    for name, tensor in state.items():
        place = tensor.untyped_storage().data_ptr()
        kept[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return kept


def _loaded(transformers: Any, folder: str, shown: str) -> Any:  # noqa: ANN401 - a library that may not be there
    try:
        module, found = transformers.AutoModelForImageClassification.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except Exception as error:  # the library raises whatever a hostile configuration makes it raise
        reason = printable(" ".join(str(error).split()), 200)
        raise ModelError(f"Hugging Face's network {shown!r} cannot be built ({reason})") from error
    missing = sorted(map(str, found["missing_keys"]))
    unexpected = sorted(map(str, found["unexpected_keys"]))
    if missing or found["mismatched_keys"]:
        what = f"missing {', '.join(missing[:3])}" if missing else f"misshaped {found['mismatched_keys']}"[:200]
        raise ModelError(f"the weights do not fit Hugging Face's network {shown!r}: {printable(what, 200)}")
    if unexpected:
        names = printable(", ".join(unexpected[:3]), 200)
        raise ModelError(f"the weights do not fit Hugging Face's network {shown!r}: unexpected {names}")
    return module.eval()


def _input_shape(values: dict[str, Any], module: Any, wanted: Wanted) -> tuple[int, int, int]:  # noqa: ANN401
    config = module.config
    channels = int(getattr(config, "num_channels", 3) or 3)
    if channels not in (1, 3):
        raise ModelError(f"the network takes images of {channels} channels; 1 and 3 are supported")
    if wanted.input_size is not None:
        return channels, *wanted.input_size
    size = values.get("image_size", getattr(config, "image_size", None))
    if isinstance(size, int) and not isinstance(size, bool):
        return channels, size, size
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return channels, int(size[0]), int(size[1])
    side = values.get("crop_size", _DEFAULT_SIDE)
    side = side if isinstance(side, int) and math.isfinite(side) else _DEFAULT_SIDE
    return channels, side, side
