"""Keras archives: the same predictions as Keras, and nothing in them but layers that are known."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scanner.base.errors import ModelError, UnsafeModelError, UsageError
from scanner.models.architectures.keras_network import build_keras
from scanner.models.architectures.plans import Wanted
from scanner.models.identify import FileKind, identify
from scanner.models.keras_file import require_known_layers


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    os.environ["KERAS_BACKEND"] = "torch"
    monkeypatch.chdir(tmp_path)
    return pytest.importorskip("keras")


def sequential(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            *(keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), layers.Conv2D(8, 3, activation="relu")),
            *(layers.BatchNormalization(), layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.2)),
            layers.Dense(4, activation="softmax"),
        ]
    )


def functional(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((16, 16, 1))
    x = layers.ReLU()(layers.Conv2D(8, 3, strides=2, padding="same")(image))
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    x = layers.GlobalAveragePooling2D()(layers.SeparableConv2D(8, 3, activation="swish")(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(x))


def application(keras: Any) -> Any:
    return keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=5, alpha=0.35)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [sequential, functional, application])
def test_predictions_are_those_of_keras(keras: Any, tmp_path: Path, build: Callable[[Any], Any]) -> None:
    keras.utils.set_random_seed(0)
    model = build(keras)
    model.save(tmp_path / "m.keras")
    assert identify(tmp_path / "m.keras").kind is FileKind.KERAS
    _, height, width, channels = model.input_shape
    network = build_keras(tmp_path / "m.keras", Wanted())
    assert network.input_shape == (channels, height, width)
    images = np.random.default_rng(0).random((40, height, width, channels), dtype=np.float32)
    expected = model.predict(images, verbose=0)
    with torch.no_grad():
        logits = network.module(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    shares = logits.softmax(1).numpy()
    found = shares[:, 1:] if expected.shape[1] == 1 else shares
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def altered(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The archive with another configuration."""
    target = path.with_name("altered.keras")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config["config"]["layers"])
                data = json.dumps(config).encode()
            archive.writestr(name, data)
    return target


FOREIGN = {
    "lambda": {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}},
    "function": {"module": "builtins", "class_name": "function", "config": "os.system", "registered_name": "function"},
    "module": {"module": "os", "class_name": "Dense", "config": {}},
    "registered": {"module": "keras.layers", "class_name": "Dense", "registered_name": "evil>Dense", "config": {}},
    "wrapper": {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
    "tensorflow": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/"}},
    "deep": {"module": "keras.layers", "class_name": "Dense", "config": {"a": [{"class_name": "__lambda__"}]}},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FOREIGN)
def test_anything_but_known_layers_is_refused_before_keras_sees_it(keras: Any, tmp_path: Path, kind: str) -> None:
    sequential(keras).save(tmp_path / "m.keras")
    require_known_layers(tmp_path / "m.keras")
    path = altered(tmp_path / "m.keras", lambda layers: layers.insert(1, FOREIGN[kind]))
    with pytest.raises(UnsafeModelError, match="not on the list"):
        build_keras(path, Wanted())


def test_damaged_archives(tmp_path: Path) -> None:
    for data in (b"", b"PK\x03\x04", b"x" * 100):
        (tmp_path / "m").write_bytes(data)
        with pytest.raises(ModelError, match="damaged"):
            require_known_layers(tmp_path / "m")


def test_without_keras_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"latentscan\[keras\]"):
        build_keras(tmp_path / "m.keras", Wanted())
