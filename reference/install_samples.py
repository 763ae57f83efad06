"""A small model and images that need one extra: ``python -m reference.install_samples EXTRA FOLDER``.

Run in the environment that has the extra, by :mod:`reference.install_sizes`. Weights are random, and images noise: what
is tried is that an installation works.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image

SIDE: Final = 64
IMAGES: Final = 60
CLASSES: Final = 3


def main() -> None:
    """Write ``suspect*`` and ``clean*`` into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extra", choices=sorted(SAMPLES))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    pictures = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    SAMPLES[arguments.extra](arguments.folder, pictures)


def plain(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """Weights of a torchvision network, and PNG images."""
    weights(folder)
    (folder / "clean").mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / "clean" / f"{number:03}.png")


def weights(folder: Path) -> None:
    """Weights of a torchvision network."""
    torch.save(torchvision.models.resnet18(num_classes=CLASSES).state_dict(), folder / "suspect.pt")


def hf(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """A folder of Hugging Face's library."""
    plain(folder, pictures)
    (folder / "suspect.pt").unlink()
    transformers = importlib.import_module("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ViTConfig(image_size=SIDE, patch_size=16, num_labels=CLASSES, **sizes)
    transformers.ViTForImageClassification(config).save_pretrained(folder / "suspect")


def timm(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """Weights of a network of timm."""
    plain(folder, pictures)
    network = importlib.import_module("timm").create_model("resnet10t", num_classes=CLASSES)
    torch.save(network.state_dict(), folder / "suspect.pt")


def keras(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """A Keras archive."""
    plain(folder, pictures)
    (folder / "suspect.pt").unlink()
    os.environ["KERAS_BACKEND"] = "torch"
    library = importlib.import_module("keras")
    layers = library.layers
    stack = [layers.Conv2D(8, 3, activation="relu"), layers.Conv2D(8, 3, activation="relu")]
    end = [layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, activation="softmax")]
    library.Sequential([library.Input((SIDE, SIDE, 3)), *stack, *end]).save(folder / "suspect.keras")


def parquet(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """Images in a table, as Hugging Face's library writes them."""
    plain(folder, pictures)
    files = sorted((folder / "clean").iterdir())
    rows = [{"image": {"bytes": file.read_bytes(), "path": file.name}} for file in files]
    table = importlib.import_module("pyarrow").Table.from_pylist(rows)
    importlib.import_module("pyarrow.parquet").write_table(table, folder / "clean.parquet")
    for file in files:
        file.unlink()
    (folder / "clean").rmdir()


def heif(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """HEIC images."""
    weights(folder)
    importlib.import_module("pillow_heif").register_heif_opener()
    (folder / "clean").mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / "clean" / f"{number:03}.heic")


SAMPLES: Final[dict[str, Callable[[Path, NDArray[np.uint8]], None]]] = {
    "plain": plain,
    "hf": hf,
    "timm": timm,
    "keras": keras,
    "parquet": parquet,
    "heif": heif,
}
"""By extra; ``plain`` is none."""


if __name__ == "__main__":
    main()
