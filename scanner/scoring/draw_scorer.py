"""Bayesian scores through ONNX Runtime: the same weight draws for every input.

Imports neither PyTorch nor onnx: this is what a scan runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.bayesian.uncertainty import BAYESIAN_KINDS, DrawStatistics
from scanner.base.device import Device
from scanner.graph.session import GraphSession
from scanner.profile.posterior import Posterior

LOGITS = "logits"
RESIDENT_BYTES = 512 * 2**20
"""Draws are kept as loaded sessions up to this size of all their weights, and made anew for every chunk beyond.

In memory they take more than that: ONNX Runtime keeps the weights of convolutions as given and packed."""


def are_resident(posterior: Posterior) -> bool:
    """Whether all draws are kept in memory."""
    return posterior.samples * len(posterior.weights) <= RESIDENT_BYTES


class DrawScorer:
    """Runs a posterior's weight draws. ``score`` may be called from several threads at once.

    A draw is a session of its own with its weights as constants: as fast as the network itself, which
    weights fed as inputs are not (ONNX Runtime packs constant weights once).

    Args:
        posterior: The tail and its weights.
        device: Execution provider.
        progress: Called with the number of draws loaded.

    Raises:
        DeviceError: As :class:`scanner.graph.session.GraphSession`.
        ProfileError: If ONNX Runtime cannot load the tail.
    """

    def __init__(
        self, posterior: Posterior, device: Device = "auto", progress: Callable[[int], None] = lambda _: None
    ) -> None:
        self._posterior, self._device = posterior, device
        self._kept: list[GraphSession] = []
        if are_resident(posterior):
            for number in range(posterior.samples):
                self._kept.append(self._load(number))
                progress(number + 1)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tail's inputs."""
        return self._posterior.inputs

    @property
    def resident(self) -> bool:
        """Whether all draws are in memory."""
        return bool(self._kept)

    def score(self, inputs: Mapping[str, NDArray[Any]], batch_size: int | None = None) -> NDArray[np.float64]:
        """Scores ``(N, 4)`` of inputs, in the order of :data:`~detectors.bayesian.uncertainty.BAYESIAN_KINDS`."""
        return self.columns(self.run(inputs, batch_size))

    @staticmethod
    def columns(statistics: DrawStatistics) -> NDArray[np.float64]:
        """Scores ``(N, 4)`` of finished statistics, likewise."""
        scores = statistics.scores()
        return np.stack([scores[kind] for kind in BAYESIAN_KINDS], axis=1)

    def run(
        self, inputs: Mapping[str, NDArray[Any]], batch_size: int | None = None, draws: int | None = None
    ) -> DrawStatistics:
        """Run the draws.

        Args:
            inputs: The tail's inputs, ``N`` rows each.
            batch_size: Inputs a run; None for all at once.
            draws: The first of the draws only; None for all.
        """
        feeds = {name: inputs[name] for name in self._posterior.inputs}
        count = len(next(iter(feeds.values())))
        step = batch_size or count
        statistics: DrawStatistics | None = None
        for number in range(self._posterior.samples if draws is None else draws):
            session = self._kept[number] if self._kept else self._load(number)
            parts = []
            for start in range(0, count, step):
                part = {name: feed[start : start + step] for name, feed in feeds.items()}
                parts.append(session.run(part, (LOGITS,))[LOGITS])
            logits = np.concatenate(parts)
            statistics = statistics or DrawStatistics(*logits.shape)
            statistics.add(logits)
        assert statistics is not None
        return statistics

    def _load(self, number: int) -> GraphSession:
        return GraphSession(self._posterior.graph, self._posterior.drawn(number), device=self._device)
