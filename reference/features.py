"""A trained network's own taps and descriptors on image tensors, through the product's graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.baselines.confidence import log_odds
from detectors.deep_features.recipe import Recipe
from reference.datasets import DataSet
from scanner.graph.bundle import GraphBundle
from scanner.graph.pool import Descriptor, add_descriptors, add_pixel_input
from scanner.graph.session import GraphSession
from scanner.graph.taps import choose_taps
from scanner.inputs.preprocess import PreprocessSpec
from scanner.models.identify import identify
from scanner.models.load import LoadedModel, LoadOptions, load_model

ARCHITECTURES = {
    "mnist": "scnn",
    "cifar10": "resnet20",
    "cifar10x64": "resnet18",
    "mnistpairs": "resnet18",
    "digits": "scnn",
}
CHUNK = 250


@dataclass(frozen=True)
class Features:
    """Descriptors ``(N, D)`` by key, logits ``(N, C)`` and labels ``(N,)`` of one set of images."""

    values: dict[str, NDArray[np.float32]]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted classes."""
        return np.asarray(self.logits.argmax(1), np.int64)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Log-odds of the predicted class, ``(N,)``."""
        return log_odds(self.logits.astype(np.float64))

    def take(self, rows: NDArray[np.int64]) -> Features:
        """The same for some images."""
        return Features({k: v[rows] for k, v in self.values.items()}, self.logits[rows], self.labels[rows])

    def only(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Some descriptors, in graph order."""
        return {key: value for key, value in self.values.items() if key in keys}


def joined(one: Features, other: Features) -> Features:
    """Two sets of images as one."""
    values = {key: np.concatenate([one.values[key], other.values[key]]) for key in one.values}
    return Features(values, np.concatenate([one.logits, other.logits]), np.concatenate([one.labels, other.labels]))


def keys_of(recipe: Recipe, keys: Sequence[str]) -> list[str]:
    """Those of all descriptors, by their keys in graph order, that a recipe looks at."""
    taps = list(dict.fromkeys(key.rsplit(":", 1)[0] for key in keys))
    chosen = set(taps[recipe.first_tap(len(taps)) :])
    pairs = [(key, *key.rsplit(":", 1)) for key in keys]
    return [key for key, tap, pooling in pairs if tap in chosen and pooling in recipe.poolings]


def load_trained(path: Path, data: DataSet, timeout: float = 600.0) -> LoadedModel:
    """A network of :mod:`reference.training` as the product loads it: in a child process, as a graph."""
    height, width = data.test.images.shape[2:]
    return load_model(
        identify(path), LoadOptions(architecture=ARCHITECTURES[data.name], input_size=(height, width), timeout=timeout)
    )


def tap(model: LoadedModel, data: DataSet) -> tuple[GraphBundle, tuple[Descriptor, ...]]:
    """The graph from ``pixels`` to the logits and to every descriptor of the product's taps."""
    channels, height, width = model.input_shape
    spec = PreprocessSpec((height, width), channels, None, "bilinear", False, 1 / 255, data.mean, data.std)
    return add_descriptors(add_pixel_input(model.bundle, spec), choose_taps(model.candidates))


def pixels_of(images: torch.Tensor) -> NDArray[np.uint8]:
    """uint8 images ``(N, C, H, W)`` as the graph takes them, ``(N, H, W, C)``."""
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def extract(
    session: GraphSession, descriptors: Sequence[Descriptor], images: torch.Tensor, labels: torch.Tensor
) -> Features:
    """Run uint8 images ``(N, C, H, W)`` through the tapped graph."""
    pixels = pixels_of(images)
    names = ["logits", *(d.output for d in descriptors)]
    parts = [session.run({"pixels": pixels[i : i + CHUNK]}, names) for i in range(0, len(pixels), CHUNK)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return Features({d.key: joined[d.output] for d in descriptors}, joined["logits"], labels.numpy())
