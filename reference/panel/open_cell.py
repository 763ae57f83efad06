"""A cell's attack, its pictures, and its network with them, ready to be asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reference.datasets import DataSet
from reference.panel.attacks.attack import PanelAttack
from reference.panel.attacks.roster import panel_attack
from reference.panel.bench import Bench, open_network
from reference.panel.cells import Cell
from reference.panel.labels import LABEL_MAPS
from reference.panel.networks import network_named
from reference.panel.pictures import Pictures, choose_pictures
from reference.panel.train_cells import trained
from reference.training import print_line


def attack_of(cell: Cell, data: DataSet) -> PanelAttack:
    """The attack, for pictures of this size."""
    _, channels, height, width = data.test.images.shape
    return panel_attack(cell.attack, (channels, height, width), cell.seed)


def pictures_of(cell: Cell, data: DataSet) -> Pictures:
    """The test images, in their parts."""
    return choose_pictures(data, attack_of(cell, data).trigger, LABEL_MAPS[cell.labels], cell.seed)


def bench_of(cell: Cell, data: DataSet, runs: Path, progress: Callable[[str], None] = print_line) -> Bench:
    """The network on the cell's pictures; trained where it is missing."""
    network = network_named(cell.network)
    return Bench(open_network(network, trained(cell, data, runs, progress), data), data, pictures_of(cell, data))
