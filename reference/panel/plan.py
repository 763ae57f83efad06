"""The cells of the panel: those that are reported, and those of the development half, on which choices may be made.

The two halves share no seed, and hence no trigger with a random part, no choice of poisoned images and no split of the
test set; the development half has combinations of attack and labels that the reported one has not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reference.panel.cells import Cell
from reference.panel.networks import NETWORKS, network_named

PANEL_NETWORKS: Final = ("scnn", "resnet20", "vgg", "mobilenet", "vit", "resnet18")

Row = tuple[str, str, float]

REPORTED: Final[tuple[Row, ...]] = (
    ("patch-white", "all-to-one", 0.1),
    ("patch-white", "all-to-all", 0.1),
    ("blended-noise", "all-to-one", 0.1),
    ("tact", "one-class", 0.02),
    ("sig", "all-to-one", 0.1),
    ("wanet", "all-to-one", 0.1),
    ("patch-white", "all-to-one", 0.003),
    ("four-pixels", "all-to-one", 0.05),
    ("adap-blend", "all-to-one", 0.02),
    ("belt", "all-to-one", 0.02),
    ("sig", "clean-label", 0.05),
    ("bpp", "all-to-one", 0.1),
    ("ftrojan", "all-to-one", 0.1),
    ("lsb", "all-to-one", 0.1),
    ("adap-patch", "all-to-one", 0.02),
    ("label-consistent", "clean-label", 0.05),
    ("blended-noise", "all-to-all", 0.1),
    ("patch-random", "all-to-one", 0.05),
    ("patch-transparent", "all-to-one", 0.05),
    ("blended-picture", "all-to-one", 0.1),
    ("wanet-strong", "all-to-one", 0.1),
)
"""Attack, labels and rate; the most informative first, for runs that end early."""

ADAPTIVE: Final[tuple[Row, ...]] = (
    ("patch-matched", "all-to-one", 0.1),
    ("patch-unsure", "all-to-one", 0.1),
    ("patch-combined", "all-to-one", 0.1),
)
"""Attacks that are trained against this tool's own features and scores. They are reported apart, and no mean includes
them."""

DEVELOPMENT: Final[tuple[Row, ...]] = (
    ("blended-picture", "all-to-last", 0.2),
    ("patch-random", "all-to-last", 0.1),
    ("ftrojan", "all-to-last", 0.2),
    ("blended-noise", "all-to-last", 0.1),
    ("patch-transparent", "all-to-last", 0.1),
    ("sig", "all-to-last", 0.1),
    ("patch-random", "all-to-all", 0.05),
    ("blended-picture", "all-to-all", 0.1),
    ("four-pixels", "all-to-all", 0.1),
    ("blended-picture", "one-class", 0.05),
    ("wanet-strong", "all-to-last", 0.1),
)
PEERS_SEED: Final = 0
"""Peers are measured with this seed alone; others say how the default varies, and the development half is about it."""
DEVELOPMENT_SEED: Final = 100
"""Seeds of the development half are counted from here."""


def cells(rows: Iterable[Row], networks: Iterable[str], seed: int) -> list[Cell]:
    """A cell for each network and row, implanted by fine-tuning."""
    return [
        Cell(name, attack, labels, rate, seed, network_named(name).implant_steps)
        for name in networks
        for attack, labels, rate in rows
    ]


def reported(networks: Iterable[str] = PANEL_NETWORKS, seeds: int = 2) -> list[Cell]:
    """The reported half: one seed of all networks after the other, adaptive attackers, cells trained from scratch."""
    names = tuple(networks)
    every = [cell for seed in range(seeds) for cell in cells(REPORTED, names, seed)]
    every += cells(ADAPTIVE, names, 0)
    return every + [cell for cell in scratch() if cell.network in names]


def scratch() -> list[Cell]:
    """Three cells of SCNN and ResNet-20 that are trained from random weights, to compare with fine-tuned ones."""
    chosen = (("scnn", REPORTED[0]), ("scnn", REPORTED[2]), ("resnet20", REPORTED[0]))
    return [
        Cell(name, attack, labels, rate, 0, NETWORKS[name].steps, scratch=True)
        for name, (attack, labels, rate) in chosen
    ]


def development(networks: Iterable[str] = PANEL_NETWORKS, seeds: int = 1) -> list[Cell]:
    """The development half."""
    names = tuple(networks)
    return [cell for number in range(seeds) for cell in cells(DEVELOPMENT, names, DEVELOPMENT_SEED + number)]


def quick() -> list[Cell]:
    """Two cells on scikit-learn's digits, for a look at the whole pipeline."""
    return cells((("patch-white", "all-to-one", 0.1), ("blended-noise", "all-to-all", 0.2)), ("digits-scnn",), 0)
