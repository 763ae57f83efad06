"""From the name of a cell to its trained network: data, clean base, attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reference.datasets import DataSet
from reference.panel.attacks.roster import panel_attack
from reference.panel.cells import CLEAN, Cell
from reference.panel.labels import LABEL_MAPS
from reference.panel.networks import network_named
from reference.panel.training import Work, train_cell
from reference.training import print_line, train


def clean_cell(cell: Cell) -> Cell:
    """The clean network that a cell starts from. There is one for each kind, whatever the cell's seed."""
    steps = network_named(cell.network).steps
    return replace(cell, attack=CLEAN, labels="all-to-one", rate=0.0, seed=0, steps=steps, scratch=True)


def trained(cell: Cell, data: DataSet, runs: Path, progress: Callable[[str], None] = print_line) -> Path:
    """Folder of a cell's network, trained where it is missing, and its clean base before it.

    Raises:
        SourceError: If a folder of that name holds another cell's network.
    """
    network, base = network_named(cell.network), None
    if cell.attack == CLEAN and network.clean is not None:
        return train(network.clean, data, runs, progress)
    if not cell.scratch:
        base = trained(clean_cell(cell), data, runs, progress)
    _, channels, height, width = data.train.images.shape
    attack = None if cell.attack == CLEAN else panel_attack(cell.attack, (channels, height, width), cell.seed)
    work = Work(cell, network, data, attack, LABEL_MAPS[cell.labels], base)
    return train_cell(work, runs / cell.name, progress)
