"""A Gaussian posterior over the weights of a graph's tail, as a scan uses it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.bayesian.draws import draw_weights


@dataclass(frozen=True)
class WeightBlock:
    """Where one Gaussian weight tensor lies in the weights buffer.

    Attributes:
        name: Name of the initialiser.
        offset: Offset of its first byte, a multiple of 4.
        shape: Its shape; float32, little-endian, C order.
    """

    name: str
    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Posterior:
    """The tail of a network with Gaussian weights.

    Attributes:
        graph: Serialised ONNX model from ``inputs`` to ``logits``; its large initialisers are external
            data at location ``weights``.
        weights: The buffer with those initialisers, uint8; Gaussian weights hold their means.
        stds: Standard deviations of all Gaussian weights, float32, flat, in the order of ``blocks``.
        blocks: The Gaussian weight tensors.
        inputs: Names of the tail's inputs: outputs of the scoring graph, or the scoring graph's own.
        samples: Number of weight draws ``T``.
        seed: Seed of the draws.
    """

    graph: bytes = field(repr=False)
    weights: NDArray[np.uint8] = field(repr=False)
    stds: NDArray[np.float32] = field(repr=False)
    blocks: tuple[WeightBlock, ...]
    inputs: tuple[str, ...]
    samples: int
    seed: int

    def means(self) -> list[NDArray[np.float32]]:
        """Posterior means, one read-only array per block."""
        return [
            np.frombuffer(self.weights, "<f4", block.size, block.offset).reshape(block.shape) for block in self.blocks
        ]

    def deviations(self) -> list[NDArray[np.float32]]:
        """Posterior standard deviations, one array per block."""
        ends = np.cumsum([block.size for block in self.blocks])
        parts = np.split(self.stds, ends[:-1])
        return [part.reshape(block.shape) for part, block in zip(parts, self.blocks, strict=True)]

    def drawn(self, number: int) -> NDArray[np.uint8]:
        """The weights buffer with draw ``number`` in place of the means."""
        buffer = np.array(self.weights)
        _put(buffer, self.blocks, draw_weights(self.means(), self.deviations(), self.seed, number))
        return buffer

    def with_weights(self, means: Sequence[NDArray[np.float32]], stds: Sequence[NDArray[np.float32]]) -> Posterior:
        """The same tail with another posterior, in the order of ``blocks``."""
        buffer = np.array(self.weights)
        _put(buffer, self.blocks, means)
        flat = np.concatenate([np.ascontiguousarray(std, np.float32).reshape(-1) for std in stds])
        return Posterior(self.graph, buffer, flat, self.blocks, self.inputs, self.samples, self.seed)


def _put(buffer: NDArray[np.uint8], blocks: Sequence[WeightBlock], values: Sequence[NDArray[np.float32]]) -> None:
    for block, value in zip(blocks, values, strict=True):
        data = np.ascontiguousarray(value, "<f4").reshape(-1).view(np.uint8)
        buffer[block.offset : block.offset + data.size] = data
