"""Keras archives (``.keras``): whether their configuration holds nothing but layers that are known here.

An archive's configuration names the classes that reading it makes. Keras itself refuses code in it; holes in that have
been found more than once, so that here only a list of layers without code passes, before Keras sees the file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.base.text import printable

_MAX_CONFIG: Final = 16 * 2**20
_MAX_NODES: Final = 2_000_000
_MODULES: Final = frozenset(
    {
        *("keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.constraints"),
        *("keras.activations", "keras.src.models.functional", "keras.src.models.sequential"),
        *("keras.src.models.model", "builtins", None),
    }
)
LAYERS: Final = frozenset(
    {
        *("Functional", "Sequential", "Model", "InputLayer", "Rescaling", "Normalization", "Resizing", "CenterCrop"),
        *("Conv1D", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D", "Dense", "EinsumDense"),
        *("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization", "RMSNormalization"),
        *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Dropout", "SpatialDropout2D", "GaussianNoise"),
        *("GaussianDropout", "AlphaDropout", "ActivityRegularization", "Identity", "Embedding", "MultiHeadAttention"),
        *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D", "GlobalAveragePooling1D"),
        *("Flatten", "Reshape", "Permute", "RepeatVector", "ZeroPadding2D", "Cropping2D", "UpSampling2D"),
        *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"),
        *("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomTranslation", "RandomBrightness"),
    }
)
_PARTS: Final = frozenset(
    {
        *(
            "DTypePolicy",
            "__keras_tensor__",
            "__tensor__",
            "__numpy__",
            "L1",
            "L2",
            "L1L2",
            "MaxNorm",
            "NonNeg",
            "MinMaxNorm",
        ),
        *(
            "Zeros",
            "Ones",
            "Constant",
            "RandomNormal",
            "RandomUniform",
            "TruncatedNormal",
            "VarianceScaling",
            "UnitNorm",
        ),
        *("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "Orthogonal"),
        *("OrthogonalInitializer", "IdentityInitializer", "SeedGenerator"),
    }
)


def require_known_layers(path: Path) -> None:
    """Refuse an archive with anything but known layers in it.

    Raises:
        UnsafeModelError: It names a class that is not on the list.
        ModelError: It is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open("config.json") as stream:
            text = stream.read(_MAX_CONFIG + 1)
        config = json.loads(text) if len(text) <= _MAX_CONFIG else None
    except Exception as error:  # zipfile and its decompressors raise nearly anything on damaged archives
        raise ModelError("the Keras archive is damaged") from error
    if not isinstance(config, dict):
        raise ModelError("the Keras archive's configuration is too large, or none")
    for part in _objects(config):
        name, module = part.get("class_name"), part.get("module")
        registered = part.get("registered_name")
        own = registered not in (None, name) and not str(registered).startswith("keras")
        if name not in LAYERS | _PARTS or module not in _MODULES or own:
            shown = f"{printable(str(module), 60)}.{printable(str(name), 60)}"
            raise UnsafeModelError(
                f"the Keras model holds {shown}, which is not on the list of layers without code",
                hint="Ask the vendor for ONNX: model.export('model.onnx', format='onnx')",
            )


def _objects(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every mapping that names a class, wherever it is."""
    pending: list[Any] = [config]
    for _ in range(_MAX_NODES):
        if not pending:
            return
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    raise ModelError("the Keras archive's configuration is larger than any network's")
