"""Try the commands that refusals name, on small models made here: ``python reference/convert_formats.py``.

For an environment of its own, with tensorflow and tf2onnx, which this tool does not need. Each command of
:mod:`scanner.models.conversions` is run as it is written, and what it makes is compared with the original on 40 images.
"""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from scanner.models import conversions

RESULTS: Final = Path(__file__).parent / "results" / "conversions.json"
PACKAGES: Final = ("tensorflow-cpu", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")


def main() -> None:
    """Run the commands, and write what they gave."""
    keras = importlib.import_module("keras")
    tensorflow = importlib.import_module("tensorflow")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            *(keras.Input((16, 16, 3)), layers.Conv2D(8, 3, activation="relu"), layers.GlobalAveragePooling2D()),
            layers.Dense(4, activation="softmax"),
        ]
    )
    images = np.random.default_rng(0).random((40, 16, 16, 3), dtype=np.float32)
    expected = model.predict(images, verbose=0)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.export(folder / "FOLDER")
        (folder / "MODEL.tflite").write_bytes(tensorflow.lite.TFLiteConverter.from_keras_model(model).convert())
        model.save(folder / "MODEL.h5")
        for kind, text in (("SavedModel", conversions.SAVED_MODEL), ("TensorFlow Lite", conversions.TFLITE)):
            run(text, folder)
            found[kind] = difference(onnx_predictions(folder / "model.onnx", images), expected)
        run(conversions.KERAS_2, folder)
        found["Keras 2"] = difference(
            keras.saving.load_model(folder / "model.keras").predict(images, verbose=0), expected
        )
    versions = {package: installed for package in PACKAGES if (installed := known_version(package))}
    RESULTS.write_text(json.dumps({"versions": versions, "largest_difference": found}, indent=1) + "\n")


def run(text: str, folder: Path) -> None:
    """Run the part of a hint that starts with ``python``."""
    _, *arguments = shlex.split(text[text.index("python -") :])
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S603


def onnx_predictions(path: Path, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What ONNX Runtime computes, an image at a time, as converters may fix the batch."""
    session = importlib.import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Largest difference of two arrays."""
    return float(np.abs(one - other).max())


def known_version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
