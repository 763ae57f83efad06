"""Train, measure and write: every cell that is missing, one after the other, each saved at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reference.datasets import DataSet, load
from reference.evaluate import describe_machine
from reference.panel.attacks.roster import panel_attack
from reference.panel.bench import Bench, Opened, open_network
from reference.panel.cells import Cell
from reference.panel.estimate import Estimate
from reference.panel.labels import LABEL_MAPS
from reference.panel.measure import measure
from reference.panel.networks import network_named
from reference.panel.peers import CONTROLS, PEERS
from reference.panel.pictures import SIZES, choose_pictures
from reference.panel.store import load_result, load_results, save_result
from reference.panel.train_cells import clean_cell, trained
from reference.training import read_record
from scanner.base.atomic import output_error
from scanner.base.progress import Progress

CELLS, RUNS = "cells", "runs"
SUCCESS = 0.85
"""Least success rate at which an attack counts."""


@dataclass
class _Hands:
    """What one cell leaves for the next: the data set and the clean network, each one at a time.

    Attributes:
        data_folder: Folder with the data sets.
        runs: Folder of trained networks.
        data: The data set that was loaded last.
        clean: The clean network that was opened last, with its name.
    """

    data_folder: Path
    runs: Path
    data: DataSet | None = None
    clean: tuple[str, Opened] | None = field(default=None)

    def load(self, name: str) -> DataSet:
        """A data set."""
        if self.data is None or self.data.name != name:
            self.data = load(name, self.data_folder)
        return self.data

    def open_clean(self, cell: Cell, data: DataSet) -> Opened:
        """The clean network of a cell's kind."""
        if self.clean is None or self.clean[0] != cell.network:
            folder = trained(clean_cell(cell), data, self.runs)
            self.clean = (cell.network, open_network(network_named(cell.network), folder, data))
        return self.clean[1]


def run_cells(cells: Sequence[Cell], data_folder: Path, out: Path, progress: Progress) -> list[dict[str, Any]]:
    """Do what is missing.

    Args:
        cells: The plan.
        data_folder: Folder with the data sets.
        out: Folder for networks and cells.
        progress: Takes one line for each step.

    Returns:
        All finished cells of the plan.

    Raises:
        LatentscanError: If the data cannot be read, the output not be written, or a finished cell does not fit.
    """
    folder = out / CELLS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder) from error
    missing = [cell for cell in cells if load_result(folder, cell) is None]
    progress.say(f"{len(cells)} cells, {len(missing)} of them not finished; results go to {out}")
    hands, estimate = _Hands(data_folder, out / RUNS), Estimate(missing)
    for cell in missing:
        started = time.monotonic()
        result = _finish(cell, hands, progress)
        seconds = time.monotonic() - started
        save_result(folder, cell, {**result, "seconds": round(seconds, 1), "machine": describe_machine()})
        estimate.finished(cell, seconds)
        progress.say(f"{cell.name}: {_line(result)} ({seconds:.0f} s); {estimate.left()}")
    return load_results(folder, cells)


def _finish(cell: Cell, hands: _Hands, progress: Progress) -> dict[str, Any]:
    network = network_named(cell.network)
    data = hands.load(network.data)
    run = trained(cell, data, hands.runs, progress.say)
    _, channels, height, width = data.test.images.shape
    attack, aim = panel_attack(cell.attack, (channels, height, width), cell.seed), LABEL_MAPS[cell.labels]
    pictures = choose_pictures(data, attack.trigger, aim, cell.seed)
    bench = Bench(open_network(network, run, data), data, pictures)
    found = measure(bench, PEERS, cell.seed, said=lambda name: progress.say(f"{cell.name}: {name}"))
    control = measure(Bench(hands.open_clean(cell, data), data, pictures), CONTROLS, cell.seed, SIZES[:1])
    return {
        "trigger": attack.trigger.description,
        "source": attack.source,
        "counts": found["attack_success_rate"] >= SUCCESS,
        "training": read_record(run),
        "backdoored": found,
        "clean_network": control,
    }


def _line(result: dict[str, Any]) -> str:
    found = result["backdoored"]
    default = found["detectors"]["latentscan"]["400"]
    return (
        f"clean accuracy {found['clean_accuracy']:.1%}, success {found['attack_success_rate']:.1%}, "
        f"detection at 1% {default['detection_at_0.01']:.1%}"
    )
