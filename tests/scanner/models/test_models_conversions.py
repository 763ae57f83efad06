"""Formats that are recognised by content and refused with the command that converts them."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from scanner.base.errors import ModelError
from scanner.models.identify import identify
from scanner.models.load import load_model


def saved_model(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    return folder


def core_ml(folder: Path) -> Path:
    (folder / "Data").mkdir(parents=True)
    (folder / "Manifest.json").write_text("{}")
    return folder


def open_vino(folder: Path) -> Path:
    folder.mkdir()
    (folder / "m.xml").write_text('<?xml version="1.0"?>\n<net name="m" version="11">\n</net>')
    (folder / "m.bin").write_bytes(b"\0" * 8)
    return folder


def open_vino_file(folder: Path) -> Path:
    return open_vino(folder) / "m.xml"


def tf_lite(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    return folder / "model.bin"


def keras_2(folder: Path) -> Path:
    folder.mkdir()
    with h5py.File(folder / "m.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    return folder / "m.h5"


def yolo(folder: Path) -> Path:
    folder.mkdir()
    (folder / "best.pt").write_bytes(
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00.\x80\x02cultralytics.nn.tasks\n"
        b"ClassificationModel\nq\x00.\x80\x02]q\x00."
    )
    return folder / "best.pt"


@pytest.mark.parametrize(
    ("make", "command"),
    [
        (saved_model, "python -m tf2onnx.convert --opset 18 --saved-model"),
        (tf_lite, "python -m tf2onnx.convert --opset 18 --tflite"),
        (open_vino, "no way back to ONNX"),
        (open_vino_file, "no way back to ONNX"),
        (core_ml, "no way back to ONNX"),
        (keras_2, "keras.models.load_model"),
        (yolo, "yolo export model=MODEL.pt format=onnx"),
    ],
)
def test_the_refusal_names_the_way_forward(tmp_path: Path, make: object, command: str) -> None:
    path = make(tmp_path / "model")  # type: ignore[operator]
    with pytest.raises(ModelError) as caught:
        load_model(identify(path))
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)
