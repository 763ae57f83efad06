"""Try the commands that refusals name, on small models made here: ``python reference/convert_formats.py``.

For environments of their own, one with tensorflow and tf2onnx and one with ultralytics, which this tool does not need:
what is installed is tried. Each command of :mod:`scanner.models.conversions` is run as it is written, and what it makes
is compared with the original on 40 images.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from scanner.models import conversions

RESULTS: Final = Path(__file__).parent / "results" / "conversions.json"
PACKAGES: Final = ("tensorflow-cpu", "tensorflow", "keras", "tf2onnx", "ultralytics", "torch", "onnx", "onnxruntime")
IMAGES: Final = 40


def main() -> None:
    """Run the commands, and write what they gave beside what other environments gave."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        if importlib.util.find_spec("tensorflow"):
            found |= of_tensorflow(Path(name))
        if importlib.util.find_spec("ultralytics"):
            found |= of_ultralytics(Path(name))
    versions = {package: installed for package in PACKAGES if (installed := known_version(package))}
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {kind: {"largest_difference": value, "versions": versions} for kind, value in found.items()}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def of_tensorflow(folder: Path) -> dict[str, float]:
    """SavedModel, TensorFlow Lite and Keras 2."""
    keras, tensorflow = importlib.import_module("keras"), importlib.import_module("tensorflow")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            *(keras.Input((16, 16, 3)), layers.Conv2D(8, 3, activation="relu"), layers.GlobalAveragePooling2D()),
            layers.Dense(4, activation="softmax"),
        ]
    )
    images = np.random.default_rng(0).random((IMAGES, 16, 16, 3), dtype=np.float32)
    expected = model.predict(images, verbose=0)
    model.export(folder / "FOLDER")
    (folder / "MODEL.tflite").write_bytes(tensorflow.lite.TFLiteConverter.from_keras_model(model).convert())
    model.save(folder / "MODEL.h5")
    found: dict[str, float] = {}
    for kind, text in (("SavedModel", conversions.SAVED_MODEL), ("TensorFlow Lite", conversions.TFLITE)):
        run(text[text.index("python -") :], folder)
        found[kind] = difference(onnx_predictions(folder / "model.onnx", images), expected)
    run(conversions.KERAS_2[conversions.KERAS_2.index("python -") :], folder)
    converted = keras.saving.load_model(folder / "model.keras")
    return found | {"Keras 2": difference(converted.predict(images, verbose=0), expected)}


def of_ultralytics(folder: Path) -> dict[str, float]:
    """A classifier of Ultralytics."""
    torch, ultralytics = importlib.import_module("torch"), importlib.import_module("ultralytics")
    torch.manual_seed(0)
    model = ultralytics.YOLO("yolo11n-cls.yaml")
    model.save(folder / "MODEL.pt")
    run(conversions.YOLO[conversions.YOLO.index("yolo ") :], folder)
    side = onnx_side(folder / "MODEL.onnx")
    images = np.random.default_rng(0).random((IMAGES, 3, side, side), dtype=np.float32)
    with torch.no_grad():
        expected = np.concatenate([model.model.eval()(torch.from_numpy(image[None]))[0].numpy() for image in images])
    return {"Ultralytics": difference(onnx_predictions(folder / "MODEL.onnx", images), expected)}


def run(command: str, folder: Path) -> None:
    """Run a command with the programs of this environment, which installs nothing."""
    program, *arguments = shlex.split(command)
    found = sys.executable if program == "python" else str(Path(sys.executable).with_name(program))
    environment = {**os.environ, "YOLO_AUTOINSTALL": "false"}
    subprocess.run([found, *arguments], cwd=folder, env=environment, check=True, capture_output=True)  # noqa: S603


def onnx_side(path: Path) -> int:
    """Height and width that an ONNX file takes."""
    session = importlib.import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return int(session.get_inputs()[0].shape[-1])


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
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
