"""A trained network and a cell's pictures, opened for detectors: predictions, activations, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reference.augmentation import normalise
from reference.datasets import DataSet, ImageSet
from reference.features import Features, extract, tap
from reference.panel.networks import Network
from reference.panel.pictures import Pictures
from reference.panel.training import load_network
from scanner.graph.pool import Descriptor
from scanner.graph.session import GraphSession
from scanner.models.identify import identify
from scanner.models.load import LoadOptions, load_model

CHUNK = 100

T = TypeVar("T")


@dataclass
class Cost:
    """What a detector has used so far: forward passes of one image, and seconds of processor time."""

    passes: int = 0
    seconds: float = 0.0

    def copy(self) -> Cost:
        """What it is now."""
        return Cost(self.passes, self.seconds)

    def since(self, before: Cost) -> Cost:
        """What was used after `before` was copied."""
        return Cost(self.passes - before.passes, self.seconds - before.seconds)

    def each(self, images: int) -> dict[str, float]:
        """``passes`` and ``milliseconds`` an image."""
        return {
            "passes": round(self.passes / images, 2),
            "milliseconds": round(1000 * self.seconds / images, 3),
        }


@dataclass(frozen=True)
class Opened:
    """A network as the product taps it, and as PyTorch has it."""

    network: Network
    module: nn.Module
    session: GraphSession
    descriptors: tuple[Descriptor, ...]


def open_network(network: Network, folder: Path, data: DataSet) -> Opened:
    """Load a finished network twice: by the product, and by PyTorch.

    Raises:
        LatentscanError: If it cannot be loaded.
    """
    height, width = data.test.images.shape[2:]
    options = LoadOptions(
        architecture=network.architecture, trust_code=network.custom, input_size=(height, width), num_classes=10
    )
    graph, descriptors = tap(load_model(identify(folder / "model.pt"), options), data)
    session = GraphSession(*graph.serialise(), device="cpu", threads=torch.get_num_threads())
    return Opened(network, load_network(network, folder), session, descriptors)


@dataclass(frozen=True)
class Bench:
    """One network on one cell's pictures.

    Attributes:
        opened: The network.
        data: Its data set.
        pictures: The cell's.
        cost: Counts what is asked of the network.
        kept: What :meth:`remembered` holds.
    """

    opened: Opened
    data: DataSet
    pictures: Pictures
    cost: Cost = field(default_factory=Cost)
    kept: dict[tuple[str, int], Any] = field(default_factory=dict)

    @cached_property
    def first_fitted(self) -> ImageSet:
        """The first 500 clean images to fit to, for methods of many passes."""
        return ImageSet(self.pictures.fit.images[:500], self.pictures.fit.labels[:500])

    def remembered(self, what: str, images: ImageSet, make: Callable[[], T]) -> T:
        """What was made of some images before, or is made now: references of several sizes share it."""
        key = (what, id(images))
        if key not in self.kept:
            self.kept[key] = (images, make())  # keeps the images, so that no other object gets their id
        made: T = self.kept[key][1]
        return made

    @contextmanager
    def paid(self) -> Iterator[None]:
        """Processor time within counts."""
        started = time.process_time()
        try:
            yield
        finally:
            self.cost.seconds += time.process_time() - started

    def features(self, images: torch.Tensor, labels: torch.Tensor) -> Features:
        """The product's descriptors of uint8 images ``(N, C, H, W)``."""
        self.cost.passes += len(images)
        return extract(self.opened.session, self.opened.descriptors, images, labels)

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Class probabilities ``(N, C)`` of uint8 images ``(N, H, W, C)``."""
        self.cost.passes += len(pixels)
        parts = [
            self.opened.session.run({"pixels": pixels[i : i + CHUNK]}, ["logits"])["logits"]
            for i in range(0, len(pixels), CHUNK)
        ]
        logits = np.concatenate(parts).astype(np.float64)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(odds / odds.sum(1, keepdims=True), np.float64)

    def tensors(self, images: torch.Tensor) -> torch.Tensor:
        """Images as PyTorch's network takes them."""
        return normalise(images, self.data)

    @contextmanager
    def counted(self) -> Iterator[nn.Module]:
        """PyTorch's network; its passes count."""

        def count(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            del module
            self.cost.passes += len(inputs[0])

        handle = self.opened.module.register_forward_pre_hook(count)
        try:
            yield self.opened.module
        finally:
            handle.remove()

    def activations(
        self, images: torch.Tensor, places: Sequence[nn.Module], before: bool = False
    ) -> Iterator[list[torch.Tensor]]:
        """Outputs (or first inputs) of some modules, a hundred images at a time."""
        seen: dict[int, torch.Tensor] = {}

        def keep(number: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
            def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
                del module
                seen[number] = inputs[0] if before else output

            return hook

        handles = [place.register_forward_hook(keep(number)) for number, place in enumerate(places)]
        try:
            with self.counted() as module, torch.no_grad():
                for start in range(0, len(images), CHUNK):
                    module(self.tensors(images[start : start + CHUNK]))
                    yield [seen[number] for number in range(len(places))]
        finally:
            for handle in handles:
                handle.remove()
