"""Train, measure and write: every cell that is missing, one after the other, each saved at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reference.datasets import DataSet, load
from reference.evaluate import describe_machine
from reference.panel.bench import Bench, Opened, open_network
from reference.panel.cells import Cell
from reference.panel.default import ALONE
from reference.panel.estimate import Estimate
from reference.panel.measure import measure
from reference.panel.networks import network_named
from reference.panel.open_cell import attack_of, pictures_of
from reference.panel.peers import CONTROLS, PEERS
from reference.panel.pictures import SIZES
from reference.panel.plan import PEERS_SEED
from reference.panel.store import load_result, load_results, save_result
from reference.panel.train_cells import clean_cell, trained
from reference.power import code_digest
from reference.resumable import DIGEST
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
    digest = code_digest()
    known = {cell.name: load_result(folder, cell) for cell in cells}
    missing = [cell for cell in cells if known[cell.name] is None]
    old = [cell for cell in cells if (result := known[cell.name]) and result.get(DIGEST) != digest]
    progress.say(
        f"{len(cells)} cells, {len(missing)} of them not finished, {len(old)} measured by other code; "
        f"results go to {out}"
    )
    hands, estimate = _Hands(data_folder, out / RUNS), Estimate([*old, *missing])
    for cell in [*old, *missing]:
        started = time.monotonic()
        before = known[cell.name]
        result = _finish(cell, hands, progress) if before is None else _again(cell, before, hands, progress)
        seconds = time.monotonic() - started
        took = round(seconds, 1) if before is None else before["seconds"]
        machine = describe_machine() if before is None else before["machine"]
        save_result(folder, cell, {**result, DIGEST: digest, "seconds": took, "machine": machine})
        estimate.finished(cell, seconds)
        progress.say(f"{cell.name}: {_line(result)} ({seconds:.0f} s); {estimate.left()}")
    return load_results(folder, cells)


def _benches(cell: Cell, hands: _Hands, progress: Progress) -> tuple[Bench, Bench, Path]:
    """The backdoored network and the clean one, on the same pictures, and where the former was trained."""
    network = network_named(cell.network)
    data = hands.load(network.data)
    run = trained(cell, data, hands.runs, progress.say)
    backdoored = Bench(open_network(network, run, data), data, pictures_of(cell, data))
    return backdoored, Bench(hands.open_clean(cell, data), data, backdoored.pictures), run


def _finish(cell: Cell, hands: _Hands, progress: Progress) -> dict[str, Any]:
    bench, clean, run = _benches(cell, hands, progress)
    attack = attack_of(cell, bench.data)
    peers, controls = (PEERS, CONTROLS) if cell.seed == PEERS_SEED else ((), ())
    found = measure(bench, peers, cell.seed, said=lambda name: progress.say(f"{cell.name}: {name}"))
    return {
        "trigger": attack.trigger.description,
        "source": attack.source,
        "counts": found["attack_success_rate"] >= SUCCESS,
        "training": read_record(run),
        "backdoored": found,
        "clean_network": measure(clean, controls, cell.seed, SIZES[:1]),
    }


def _again(cell: Cell, before: dict[str, Any], hands: _Hands, progress: Progress) -> dict[str, Any]:
    """A finished cell with the default measured again: what others found does not change with this tool's code."""
    bench, clean, _ = _benches(cell, hands, progress)
    progress.say(f"{cell.name}: {ALONE} again")
    parts = {
        "backdoored": measure(bench, (), cell.seed),
        "clean_network": measure(clean, (), cell.seed, SIZES[:1]),
    }
    result = dict(before)
    for part, found in parts.items():
        result[part] = {**before[part], "detectors": {**before[part]["detectors"], **found["detectors"]}}
    return result


def _line(result: dict[str, Any]) -> str:
    found = result["backdoored"]
    default = found["detectors"]["latentscan"]["400"]
    return (
        f"clean accuracy {found['clean_accuracy']:.1%}, success {found['attack_success_rate']:.1%}, "
        f"detection at 1% {default['detection_at_0.01']:.1%}"
    )
