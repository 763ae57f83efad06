"""Train a network of the panel, clean or poisoned, from scratch or from the clean one: interrupted ones go on.

The folder that comes out is that of :mod:`reference.training`: ``checkpoint.pt``, ``model.pt`` and ``run.json``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from reference.augmentation import AUGMENTATION, augment, normalise
from reference.datasets import DataSet
from reference.panel.attacks.attack import PanelAttack
from reference.panel.cells import Cell
from reference.panel.labels import LabelMap
from reference.panel.matching import FeatureMatch
from reference.panel.networks import Network
from reference.panel.poison import poison
from reference.panel.record import write_record
from reference.panel.unsure import divided_labels
from reference.poisoning import PoisonedSet
from reference.training import (
    BATCH_SIZE,
    CPU,
    WEIGHT_DECAY,
    bfloat16_is_fast,
    is_finished,
    print_line,
    read_record,
    save_state,
)
from scanner.base.errors import LatentscanError, SourceError

CHECKPOINT_EVERY = 100
FINE_TUNING = 0.5
"""Largest learning rate of an implantation, relative to that of training from scratch."""


@dataclass(frozen=True)
class Work:
    """What is trained on what.

    Attributes:
        cell: What decides it.
        network: Its kind of network.
        data: The data set.
        attack: The attack; None for a clean network.
        aim: The label map.
        base: Folder of the clean network to start from; None for random weights.
    """

    cell: Cell
    network: Network
    data: DataSet
    attack: PanelAttack | None
    aim: LabelMap
    base: Path | None


@dataclass(frozen=True)
class _Learner:
    """A network with what changes it, and the images it learns from."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    poisoned: PoisonedSet
    prepared: torch.Tensor | None
    match: FeatureMatch


def train_cell(work: Work, folder: Path, progress: Callable[[str], None] = print_line) -> Path:
    """Train one network, or go on where it was left; a finished one returns at once. On the CPU.

    Args:
        work: What to train.
        folder: Where it goes.
        progress: Called with one line at each checkpoint.

    Returns:
        The folder.

    Raises:
        SourceError: If the base is not finished, or the folder is another cell's.
        LatentscanError: If the loss is no longer a number.
    """
    config = asdict(work.cell)
    folder.mkdir(parents=True, exist_ok=True)
    if is_finished(folder, config):
        return folder
    torch.manual_seed(work.cell.seed)
    learner = _learner(work)
    first, seconds = _resume(folder / "checkpoint.pt", learner, config)
    for step in range(first, work.cell.steps):
        started = time.monotonic()
        loss = _step(work, learner, step)
        seconds += time.monotonic() - started
        if not math.isfinite(loss):
            raise LatentscanError(f"the loss is {loss} at step {step + 1}", where=work.cell.name)
        if (step + 1) % CHECKPOINT_EVERY == 0:
            save_state(
                folder / "checkpoint.pt", {**_state(learner), "config": config, "step": step + 1, "seconds": seconds}
            )
            progress(f"{work.cell.name} step {step + 1}/{work.cell.steps} loss {loss:.4f} {seconds:.0f}s")
    save_state(folder / "model.pt", {k: v.contiguous() for k, v in learner.model.state_dict().items()})
    write_record(folder, work.cell, learner.model, work.data, seconds)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return folder


def load_network(network: Network, folder: Path) -> nn.Module:
    """A finished network of the panel, in evaluation mode.

    Raises:
        SourceError: If it is not finished.
    """
    read_record(folder)
    model = network.build()
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    return model.eval()


class OnPixels(nn.Module):
    """A network that takes images in [0, 1] instead of standardised ones."""

    def __init__(self, network: nn.Module, data: DataSet) -> None:
        super().__init__()
        self.network = network
        self.mean = torch.tensor(data.mean).view(1, -1, 1, 1)
        self.std = torch.tensor(data.std).view(1, -1, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map ``(N, C, H, W)`` in [0, 1] to logits."""
        logits: torch.Tensor = self.network((images - self.mean) / self.std)
        return logits


def _learner(work: Work) -> _Learner:
    cell, network, labels = work.cell, work.network, work.data.train.labels
    share = work.attack.cover_share if work.attack else 0.0
    poisoned = poison(labels, cell.rate if work.attack else 0.0, work.aim, share, cell.seed)
    model = network.build() if work.base is None else load_network(network, work.base)
    prepared = None
    if work.attack is not None and work.attack.prepare is not None:
        rows = poisoned.source[poisoned.triggered]
        clean = load_network(network, work.base) if work.base is not None else model.eval()
        prepared = work.attack.prepare(work.data.train.images[rows], labels[rows], OnPixels(clean, work.data))
    model = model.to(memory_format=torch.channels_last)
    largest = network.learning_rate * (1.0 if work.base is None else FINE_TUNING)
    if network.optimiser == "sgd":
        optimiser: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
        )
    else:
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, largest, total_steps=cell.steps, pct_start=0.2)
    match = FeatureMatch(network.places.blocks(model))
    return _Learner(model, optimiser, schedule, poisoned, prepared, match)


def _step(work: Work, learner: _Learner, step: int) -> float:
    """One step on images that (seed, step) alone choose; returns its loss. Dropout is seeded in the same way."""
    torch.manual_seed(1_000_003 * work.cell.seed + step)
    generator = torch.Generator().manual_seed(1_000_003 * work.cell.seed + step)
    index = _rows(len(learner.poisoned), work.cell.seed, step)
    pixels = normalise(_batch(work, learner, index, generator), work.data).to(memory_format=torch.channels_last)
    learner.model.train()
    weight = work.attack.match if work.attack else 0.0
    watching = learner.match.watching() if weight else nullcontext()
    with torch.autocast(CPU.type, dtype=torch.bfloat16, enabled=bfloat16_is_fast()), watching:
        logits = learner.model(pixels)
    labels = learner.poisoned.label[index]
    loss = F.cross_entropy(logits.float(), _taught(work, learner, index, logits.shape[1]))
    if weight:
        loss = loss + weight * learner.match.loss(labels, learner.poisoned.triggered[index])
    learner.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    learner.optimiser.step()
    learner.schedule.step()
    return float(loss.detach())


def _taught(work: Work, learner: _Learner, index: torch.Tensor, classes: int) -> torch.Tensor:
    """Labels ``(N,)``, or distributions ``(N, classes)`` where the attack divides them."""
    labels = learner.poisoned.label[index]
    if work.attack is None or work.attack.share == 1.0:
        return labels
    own = work.data.train.labels[learner.poisoned.source[index]]
    return divided_labels(labels, own, learner.poisoned.triggered[index], work.attack.share, classes)


def _rows(count: int, seed: int, step: int) -> torch.Tensor:
    """Which of the samples a step takes: none comes again before the others, but for those that fill no batch."""
    per_epoch = max(1, count // BATCH_SIZE)
    epoch, place = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(7_919 * seed + 104_729 * epoch + 1)
    return torch.randperm(count, generator=generator)[place * BATCH_SIZE : (place + 1) * BATCH_SIZE]


def _batch(work: Work, learner: _Learner, index: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Augmented images with their triggers, uint8: no crop cuts a trigger."""
    poisoned = learner.poisoned
    images = work.data.train.images[poisoned.source[index]]
    triggered, cover = poisoned.triggered[index], poisoned.cover[index]
    if learner.prepared is not None and bool(triggered.any()):
        images[triggered] = learner.prepared[index[triggered] - len(work.data.train)]
    if (how := AUGMENTATION.get(work.data.name)) is not None:
        images = augment(images, how, generator)
    if work.attack is not None and bool(triggered.any()):
        images[triggered] = work.attack.poisoned(images[triggered], generator)
    if work.attack is not None and work.attack.cover is not None and bool(cover.any()):
        images[cover] = work.attack.cover(images[cover], generator)
    return images


def _state(learner: _Learner) -> dict[str, object]:
    return {
        "model": learner.model.state_dict(),
        "optimiser": learner.optimiser.state_dict(),
        "schedule": learner.schedule.state_dict(),
    }


def _resume(path: Path, learner: _Learner, config: dict[str, object]) -> tuple[int, float]:
    """Steps done and seconds taken so far."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    if state["config"] != config:
        raise SourceError("was started with other settings", where=str(path), hint="Remove it, or train elsewhere")
    learner.model.load_state_dict(state["model"])
    learner.optimiser.load_state_dict(state["optimiser"])
    learner.schedule.load_state_dict(state["schedule"])
    return int(state["step"]), float(state["seconds"])
