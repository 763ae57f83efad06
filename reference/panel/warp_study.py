"""Why WaNet did not take in the panel, and what makes it take: success by steps, cover, strength and grain.

    python -m reference.panel.warp_study --data DATA --runs RUNS --out reference/results/warp_study.json

Each trial implants WaNet's warp into the clean network of its kind, as a cell of the panel is made, with one or two
things changed. Success is counted on 2,000 test images of other classes. Beside it stands what else gets the attack's
label: images that were warped by another field of the same strength, and by the trigger's with noise. A network that
gives it to these as well has learnt that an image was resampled, and not by which field. Success is also counted among
the quarter of the images that the trigger changes least, and that which it changes most.

What the result file has is not measured again; a training goes on within its steps. Once all is there, the same
command prints the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from reference.augmentation import normalise
from reference.datasets import DataSet, ImageSet, load
from reference.evaluate import describe_machine, write_json
from reference.panel.attacks.attack import PanelAttack
from reference.panel.attacks.warping import noise_mode, warping
from reference.panel.cells import Cell
from reference.panel.labels import LABEL_MAPS
from reference.panel.networks import network_named
from reference.panel.train_cells import clean_cell, trained
from reference.panel.training import Work, load_network, train_cell
from reference.training import print_line, read_record
from reference.triggers import warp
from scanner.base.errors import LatentscanError

SEED: Final = 0
OWN: Final[Mapping[tuple[float, float], str]] = {(0.5, 1.0): "wanet", (4.0, 0.0): "wanet-strong"}
"""The panel's own attacks, by strength and cover samples for each poisoned one."""
IMAGES: Final = 2000
"""Test images of other classes by which each share is counted; clean accuracy is that of the whole test set."""


@dataclass(frozen=True)
class Trial:
    """One implantation.

    Attributes:
        network: A name of :data:`reference.panel.networks.NETWORKS`.
        steps: Steps of 128 images.
        strength: WaNet's ``s``.
        cover: Cover samples, in WaNet's noise mode, for each poisoned one.
        grain: Standard deviation, in grey levels, of noise in all images before anything else is done to them.
    """

    network: str
    steps: int
    strength: float = 0.5
    cover: float = 1.0
    grain: float = 0.0

    @property
    def attack(self) -> str:
        """Name of the attack: the panel's own, or what was changed of it."""
        return OWN.get((self.strength, self.cover), f"wanet-{self.strength:g}-cover-{self.cover:g}")

    @property
    def cell(self) -> Cell:
        """What the panel's training calls it."""
        return Cell(self.network, self.attack, "all-to-one", 0.1, SEED, self.steps)

    @property
    def name(self) -> str:
        """Folder of its network, and its key in the result."""
        return f"{self.cell.name}-{self.steps}steps" + (f"-grain{self.grain:g}" if self.grain else "")


TRIALS: Final[tuple[Trial, ...]] = (
    Trial("vgg", 300),
    Trial("vgg", 1000),
    Trial("vgg", 300, cover=0),
    Trial("vgg", 300, grain=8.0),
    Trial("vgg", 300, 1.0),
    Trial("vgg", 300, 2.0),
    Trial("vgg", 1000, 2.0),
    Trial("vgg", 300, 4.0, cover=0),
)


def attack_of(trial: Trial, shape: tuple[int, int, int]) -> PanelAttack:
    """The trial's attack on images ``(C, H, W)``."""
    return warping(trial.attack, trial.strength, shape, SEED, trial.cover)


def grainy(data: DataSet, deviation: float) -> DataSet:
    """A data set with normal noise in every value, the same in each use of an image.

    A camera's images have some and compression takes it away; resampling smooths it.
    """

    def noisy(images: ImageSet, seed: int) -> ImageSet:
        generator, out = torch.Generator().manual_seed(seed), images.images.clone()
        for some in out.split(1000):  # type: ignore[no-untyped-call]
            noise = torch.randn(some.shape, generator=generator) * deviation
            some.copy_((some + noise).round().clamp(0, 255).to(torch.uint8))
        return ImageSet(out, images.labels)

    title = f"{data.title}, grain of {deviation:g} grey levels"
    return replace(data, title=title, train=noisy(data.train, SEED), test=noisy(data.test, SEED + 1))


def measure(trial: Trial, data: DataSet, runs: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """Train one network where it is missing, and look at what it answers."""
    network = network_named(trial.network)
    _, channels, height, width = data.train.images.shape
    attack = attack_of(trial, (channels, height, width))
    base = trained(clean_cell(trial.cell), data, runs, progress)
    if trial.grain:
        data = grainy(data, trial.grain)
    work = Work(trial.cell, network, data, attack, LABEL_MAPS[trial.cell.labels], base)
    folder = train_cell(work, runs / trial.name, progress)
    model, record = load_network(network, folder), read_record(folder)
    others = torch.nonzero(data.test.labels != 0).flatten()
    others = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(SEED))[:IMAGES]]
    images, answered = data.test.images[others], partial(_answered, model, data)
    noisy, generator = noise_mode(width, SEED, trial.strength), torch.Generator().manual_seed(SEED)
    triggered = attack.trigger.apply(images)
    change = (triggered.int() - images.int()).abs().double().mean((1, 2, 3))
    hits = answered(triggered)
    quarters = hits[change.argsort()].double().chunk(4)
    shares = {
        "success": hits,
        "least_changed": quarters[0],
        "most_changed": quarters[-1],
        "other_field": answered(warp(width, SEED + 1, trial.strength).apply(images)),
        "noise_mode": answered(noisy(images, generator)),
        "untriggered": answered(images),
    }
    return {
        "trial": asdict(trial),
        **{name: round(float(one.double().mean()), 4) for name, one in shares.items()},
        "grey_levels": round(float(change.mean()), 3),
        **{name: record[name] for name in ("clean_accuracy", "data", "precision")},
    }


@torch.no_grad()
def _answered(model: nn.Module, data: DataSet, images: torch.Tensor) -> torch.Tensor:
    """Which images get the attack's label, class 0: ``(N,)`` bool."""
    parts = [model(normalise(some, data)).argmax(1) == 0 for some in torch.split(images, 500)]
    return torch.cat(parts)


def run(
    result: dict[str, Any], trials: tuple[Trial, ...], data_folder: Path, runs: Path, progress: Callable[[str], None]
) -> Iterator[str]:
    """Add what is missing to a result; yields a line after each trial."""
    sets: dict[str, DataSet] = {}
    for trial in trials:
        if trial.name in result["trials"]:
            continue
        name = network_named(trial.network).data
        if name not in sets:
            sets[name] = load(name, data_folder)
        found = measure(trial, sets[name], runs, progress)
        result["trials"][trial.name] = found
        yield f"{trial.name}: success {found['success']:.1%}, clean accuracy {found['clean_accuracy']:.1%}"


def start(out: Path) -> dict[str, Any]:
    """The result so far."""
    if out.exists():
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found
    return {
        "command": "python -m reference.panel.warp_study",
        "seed": SEED,
        "machine": describe_machine(),
        "trials": {},
    }


def table(result: Mapping[str, Any]) -> list[str]:
    """Rows of a Markdown table."""
    rows = [
        "| s | grey levels | cover | grain | steps | success | of the quarter changed least | changed most "
        "| another field | with noise | untriggered | clean accuracy |",
        "| --- " * 12 + "|",
    ]
    figures = ("success", "least_changed", "most_changed", "other_field", "noise_mode", "untriggered", "clean_accuracy")
    for found in result["trials"].values():
        trial = Trial(**found["trial"])
        what = [
            f"{trial.strength:g}",
            f"{found['grey_levels']:.1f}",
            f"{trial.cover:g}",
            f"{trial.grain:g}",
            f"{trial.steps:,}",
        ]
        rows.append("| " + " | ".join([*what, *(f"{found[name]:.3f}" for name in figures)]) + " |")
    return rows


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Implant WaNet with more steps, without cover, and more strongly.")
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST and CIFAR-10")
    parser.add_argument("--runs", type=Path, required=True, help="folder for networks; the panel's clean ones are used")
    parser.add_argument("--out", type=Path, required=True, help="result file, JSON")
    options = parser.parse_args()
    try:
        result = start(options.out)
        for line in run(result, TRIALS, options.data, options.runs, print_line):
            write_json(options.out, result)
            print(line, file=sys.stderr, flush=True)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(*table(result), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
