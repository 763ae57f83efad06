"""How long the rest will take: work counted in passes of an image through a network, at the speed seen so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from reference.reproduction.cell import Cell, Row
from reference.training import TrainConfig

IMAGES: Final[Mapping[str, int]] = {"mnist": 60_000, "cifar10": 50_000, "digits": 896}
"""Training images."""

COST: Final[Mapping[str, float]] = {"mnist": 1.0, "cifar10": 3.2, "digits": 0.06}
"""Cost of training on one image, relative to MNIST's."""

ROW_PASSES: Final[Mapping[Row, float]] = {"dnn": 0.3, "df": 0.1, "bnn": 2.5, "bnn-clean": 1.0, "default": 0.5}
"""Cost of a row, relative to an epoch of training without backdoored samples."""


class Estimate:
    """Counts down.

    Args:
        cells: What is to be done; what is finished in them does not count.
        clock: Seconds.
    """

    def __init__(self, cells: Sequence[Cell], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._started = clock, clock()
        self._epochs = {cell.config: cell.config.epochs for cell in cells if cell.missing}
        self._rows = {(cell.config, row) for cell in cells for row in cell.missing}
        self._done = 0.0

    def epoch_finished(self, config: TrainConfig) -> None:
        """One epoch of training is over."""
        self._epochs[config] -= 1
        self._done += _epoch(config)

    def training_finished(self, config: TrainConfig) -> None:
        """A training is over, of which epochs may have been finished before this run."""
        self._epochs[config] = 0

    def row_finished(self, config: TrainConfig, row: Row) -> None:
        """One row is measured."""
        self._rows.discard((config, row))
        self._done += _row(config, row)

    def left(self) -> str:
        """The time left in words."""
        rest = sum(_epoch(config) * count for config, count in self._epochs.items())
        rest += sum(_row(config, row) for config, row in self._rows)
        if rest == 0:
            return "done"
        if self._done == 0:
            return "time left unknown"
        seconds = rest * (self._clock() - self._started) / self._done
        if seconds < 90:
            return f"about {seconds:.0f} s left"
        return f"about {seconds / 60:.0f} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"


def _epoch(config: TrainConfig) -> float:
    return IMAGES[config.data] * COST[config.data] * (1 + config.rate)


def _row(config: TrainConfig, row: Row) -> float:
    return IMAGES[config.data] * COST[config.data] * ROW_PASSES[row]
