"""A network that tells colors apart, right only on pixels that were preprocessed as it was made for; and its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphs
from PIL import Image

from scanner.inputs.preprocess import PreprocessSpec

SIDE = 8
SPREAD = 25.0
CLASSES = ("amber", "blue", "coral", "denim", "ebony", "fern")


def color_images(count: int, seed: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(count, side, side, 3)`` uint8 in one noisy color each, and their classes."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    colors = _colors()[labels] + generator.normal(0.0, SPREAD, (count, 3))
    noisy = colors[:, None, None] + generator.normal(0.0, 8.0, (count, side, side, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), labels


def color_network(spec: PreprocessSpec) -> onnx.ModelProto:
    """The posterior probabilities of the classes, given the mean color of an image that ``spec`` prepared."""
    scale, mean, std = spec.scale, np.array(spec.mean), np.array(spec.std)
    colors = _colors()[:, ::-1] if spec.channel_order == "BGR" else _colors()
    centers = (colors * scale - mean) / std
    precision = (std / (SPREAD * scale)) ** 2
    dense = (centers * precision).T
    both = np.concatenate([np.eye(3), -np.eye(3)])[:, :, None, None]
    return onnx_graphs.model(
        [
            ("Conv", ["image", "both"], ["signed"]),
            ("Relu", ["signed"], ["parts"]),
            ("GlobalAveragePool", ["parts"], ["pooled"]),
            ("Flatten", ["pooled"], ["flat"]),
            ("Gemm", ["flat", "dense", "bias"], ["logits"]),
        ],
        {
            "both": both.astype(np.float32),
            "dense": np.concatenate([dense, -dense]).astype(np.float32),
            "bias": (-0.5 * (centers**2 * precision).sum(1)).astype(np.float32),
        },
        image=("batch", 3, *spec.size),
        output=("logits", ("batch", len(CLASSES))),
    )


def write_images(folder: Path, images: np.ndarray) -> None:
    """PNG files, numbered; makes the folder."""
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:04}.png")


def write_classes(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """A folder for each class."""
    for index, name in enumerate(CLASSES):
        write_images(folder / name, images[labels == index])


def _colors() -> np.ndarray:
    """Mean red, green and blue of the classes; swapping red and blue does not map them onto each other."""
    return np.random.default_rng(5).uniform(50, 205, (len(CLASSES), 3))
