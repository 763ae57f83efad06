"""Folders of a model, as Hugging Face's and timm's libraries write them: which file holds it, and what is beside it.

Of the JSON beside the weights, the network's name, its sizes and the names of classes are used. Code that a folder
brings along is never run, and nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from scanner.base.errors import ModelError
from scanner.base.files import open_regular
from scanner.base.text import printable
from scanner.models.conversions import COREML, OPENVINO, SAVED_MODEL
from scanner.models.shards import one_of_several

CONFIG: Final = "config.json"
_MAX_CONFIG: Final = 2**20
_FILES: Final = (
    *("model.safetensors", "pytorch_model.bin", "model.onnx", "onnx/model.onnx", "open_clip_pytorch_model.bin"),
    *("pytorch_model.pt", "model.pt", "model.pth", "model.bin"),
)
_SUFFIXES: Final = (".safetensors", ".onnx", ".pt", ".pth", ".bin", ".keras")
_INDEXES: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_MAX_SIDE: Final = 8192
_MAX_LISTED: Final = 10_000
_MAX_CLASSES: Final = 100_000
_MAX_CLASS_NAME: Final = 200


@dataclass(frozen=True)
class NetworkConfig:
    """What a folder says of the network that its weights belong to.

    Attributes:
        framework: Whose network it is.
        architecture: Its name there: a model type of Hugging Face's, or ``timm/<name>``.
        text: The JSON, for Hugging Face's library, without what would make it load anything else.
        input_size: Height and width, where timm's file states them.
        class_names: Names of the outputs, or empty.
    """

    framework: Literal["transformers", "timm"]
    architecture: str
    text: str
    input_size: tuple[int, int] | None
    class_names: tuple[str, ...]


def model_file(path: Path) -> Path:
    """The file to read: the one that was named, or the model of a folder.

    Raises:
        ModelError: A folder without a model, or with several.
    """
    if not path.is_dir():
        return path
    for name in (*_FILES, *_INDEXES):
        if (path / name).is_file():
            return path / name
    if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
        raise ModelError("a TensorFlow SavedModel, which is not supported", where=str(path), hint=SAVED_MODEL)
    if (path / "Manifest.json").is_file() and (path / "Data").is_dir():
        raise ModelError(f"a Core ML package, which is not supported: {COREML}", where=str(path))
    found = _candidates(path)
    if len(found) == 1:
        return found[0]
    if found and all(one_of_several(entry.name) for entry in found):
        raise ModelError(
            f"the weights are in several files, and the index that belongs to them ({_INDEXES[0]}) is missing",
            where=str(path),
            hint="Get the index, too, or save them in one: save_pretrained(folder, max_shard_size='100GB')",
        )
    if found:
        names = ", ".join(sorted(printable(entry.name, 60) for entry in found)[:4])
        raise ModelError(f"a folder of {len(found)} models ({names})", where=str(path), hint="Name one of the files")
    known = ", ".join(_SUFFIXES)
    hint = f"Give the model file itself; in a folder, files are known by their suffix ({known})"
    raise ModelError("a directory without a model file", where=str(path), hint=hint)


def _candidates(path: Path) -> list[Path]:
    """Files of a folder that could be models by their suffix."""
    try:
        entries = list(islice(path.iterdir(), _MAX_LISTED))
    except OSError as error:
        raise ModelError(f"the folder cannot be listed ({error.strerror})", where=str(path)) from None
    if any(entry.suffix == ".xml" for entry in entries) and any(entry.suffix == ".bin" for entry in entries):
        raise ModelError(f"an OpenVINO model, which is not supported: {OPENVINO}", where=str(path))
    return [entry for entry in entries if entry.suffix.lower() in _SUFFIXES and entry.is_file()]


def config_beside(path: Path) -> NetworkConfig | None:
    """What ``config.json`` beside a file of weights says, or None where it is not there or of something else."""
    file = path.parent / CONFIG
    try:
        with open_regular(file) as stream:
            text = stream.read(_MAX_CONFIG + 1)
    except ModelError:
        return None
    try:
        values = json.loads(text) if len(text) <= _MAX_CONFIG else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    names = _class_names(values)
    kind, architecture = values.get("model_type"), values.get("architecture")
    if isinstance(architecture, str) and architecture.isidentifier() and kind in (None, "timm_wrapper"):
        return NetworkConfig("timm", f"timm/{architecture}", "", _timm_size(values), names)
    if not isinstance(kind, str) or not _classifies(values):
        return None
    kept = {key: value for key, value in values.items() if key not in _LEFT_OUT}
    return NetworkConfig("transformers", kind, json.dumps(kept), None, names)


_LEFT_OUT: Final = frozenset(
    {"auto_map", "custom_pipelines", "_name_or_path", "quantization_config", "use_pretrained_backbone"}
)


def _timm_size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    nested = values.get("pretrained_cfg")
    size = (nested if isinstance(nested, Mapping) else values).get("input_size")
    if not isinstance(size, list) or len(size) != 3:
        return None
    if not all(isinstance(side, int) and 1 <= side <= _MAX_SIDE for side in size[1:]):
        return None
    return size[1], size[2]


def _classifies(values: Mapping[str, Any]) -> bool:
    found = values.get("architectures")
    names = [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
    return any(name.endswith(("ForImageClassification", "ForImageClassificationWithTeacher")) for name in names)


def _class_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """``id2label`` of Hugging Face's, ``label_names`` of timm's, in the order of the outputs."""
    found = values.get("id2label")
    if isinstance(found, Mapping) and 1 < len(found) <= _MAX_CLASSES:
        names = [found.get(str(index)) for index in range(len(found))]
    else:
        listed = values.get("label_names")
        names = listed if isinstance(listed, list) and 1 < len(listed) <= _MAX_CLASSES else []
    words = tuple(printable(name, _MAX_CLASS_NAME) for name in names if isinstance(name, str))
    return words if len(words) == len(names) == len(set(words)) else ()
