"""Train a classifier on a poisoned set: checkpoint after every epoch, resume after a kill.

    python -m reference.training cifar10 --attack square --rate 0.1 --data DATA --out RUNS

Each run is a folder ``RUNS/<data>-<attack>-<percent>-seed<seed>`` with ``checkpoint.pt`` (weights,
optimiser and epoch), ``model.pt`` (the finished state dict, what a vendor would ship) and
``run.json`` (configuration, accuracies, versions, wall time).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from reference.datasets import DataSet, ImageSet, load
from reference.poisoning import LabelRule, add_backdoor, class_zero, next_class, stamp
from reference.triggers import Trigger, blended, four_pixels, square, warp
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN

MAX_LR = {"mnist": 0.05, "cifar10": 0.2}
EPOCHS = {"mnist": 12, "cifar10": 20}
BATCH_SIZE = 128
WEIGHT_DECAY = 5e-4


@dataclass(frozen=True)
class Attack:
    """A trigger, the label it asks for, and the share of cover samples it needs."""

    trigger: Trigger
    rule: LabelRule
    cover_rate: float = 0.0


def attack_named(name: str, image_shape: tuple[int, int, int]) -> Attack:
    """The attacks this project measures on, by name.

    ``four-pixels`` and ``square`` are the paper's, with labels ``y + 1``; ``blended`` and ``warp``
    are all-to-one and stand for triggers the paper did not try.
    """
    size = image_shape[-1]
    if name == "four-pixels":
        return Attack(four_pixels(size), next_class)
    if name == "square":
        return Attack(square(size), next_class)
    if name == "blended":
        return Attack(blended(image_shape), class_zero)
    if name == "warp":
        return Attack(warp(size), class_zero, cover_rate=0.1)
    raise ValueError(f"unknown attack {name!r}")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run."""

    data: str
    attack: str
    rate: float
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        """Folder name of the run."""
        return f"{self.data}-{self.attack}-{round(100 * self.rate)}-seed{self.seed}"


def build_model(data: str) -> nn.Module:
    """The paper's network for a data set."""
    return SCNN() if data == "mnist" else ResNet20()


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random 32x32 crop after 4 pixels of zero padding, and random horizontal flip (He et al.)."""
    count, _, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4))
    rows = torch.randint(0, 9, (count, 1, 1), generator=generator) + torch.arange(height)[None, :, None]
    columns = torch.randint(0, 9, (count, 1, 1), generator=generator) + torch.arange(width)[None, None, :]
    flip = torch.rand(count, 1, 1, generator=generator) < 0.5
    columns = torch.where(flip, columns.flip(-1), columns)
    cropped = padded[torch.arange(count)[:, None, None], :, rows, columns]
    return cropped.permute(0, 3, 1, 2).contiguous()


def normalise(images: torch.Tensor, data: DataSet) -> torch.Tensor:
    """uint8 ``(N, C, H, W)`` to float32, scaled to [0, 1] and standardised per channel."""
    mean = torch.tensor(data.mean).view(1, -1, 1, 1)
    std = torch.tensor(data.std).view(1, -1, 1, 1)
    return (images.float() / 255 - mean) / std


@torch.no_grad()
def accuracy(model: nn.Module, images: ImageSet, data: DataSet, batch_size: int = 500) -> float:
    """Share of images whose arg-max logit equals the label, in float32."""
    model.eval()
    correct = 0
    for start in range(0, len(images), batch_size):
        logits = model(normalise(images.images[start : start + batch_size], data))
        correct += int((logits.argmax(1) == images.labels[start : start + batch_size]).sum())
    return correct / len(images)


def train(config: TrainConfig, data: DataSet, out: Path) -> Path:
    """Train (or resume) one model and return its folder; a finished run returns at once."""
    folder = out / config.name
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "run.json").exists():
        return folder
    attack = attack_named(config.attack, tuple(data.train.images.shape[1:]))
    num_classes = len(data.classes)
    poisoned = add_backdoor(
        data.train.labels,
        config.rate,
        attack.rule,
        num_classes,
        config.seed,
        cover_rate=attack.cover_rate if config.rate else 0.0,
    )
    torch.manual_seed(config.seed)
    model = build_model(config.data).to(memory_format=torch.channels_last)
    steps = (len(poisoned) + BATCH_SIZE - 1) // BATCH_SIZE
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, MAX_LR[config.data], epochs=config.epochs, steps_per_epoch=steps, pct_start=0.2
    )
    first_epoch, seconds = _resume(folder, model, optimiser, schedule)
    for epoch in range(first_epoch, config.epochs):
        started = time.monotonic()
        loss = _epoch(model, optimiser, schedule, poisoned, attack, data, config, epoch)
        seconds += time.monotonic() - started
        _save(
            folder / "checkpoint.pt",
            {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "epoch": epoch + 1,
                "seconds": seconds,
            },
        )
        print(f"{config.name} epoch {epoch + 1}/{config.epochs} loss {loss:.4f} {seconds:.0f}s", flush=True)
    _save(folder / "model.pt", {k: v.contiguous() for k, v in model.state_dict().items()})
    triggered = ImageSet(attack.trigger.apply(data.test.images), attack.rule(data.test.labels, num_classes))
    record: dict[str, Any] = {
        "config": asdict(config),
        "data": data.title,
        "trigger": attack.trigger.description,
        "clean_accuracy": accuracy(model, data.test, data),
        "attack_success_rate": accuracy(model, triggered, data),
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    return folder


def _epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    poisoned: Any,
    attack: Attack,
    data: DataSet,
    config: TrainConfig,
    epoch: int,
) -> float:
    """One pass over the poisoned set; returns the mean loss. Seeded by (seed, epoch) alone."""
    model.train()
    generator = torch.Generator().manual_seed(1_000_003 * config.seed + epoch)
    order = torch.randperm(len(poisoned), generator=generator)
    total = 0.0
    for start in range(0, len(order), BATCH_SIZE):
        index = order[start : start + BATCH_SIZE]
        images = data.train.images[poisoned.source[index]]
        if config.data == "cifar10":
            images = augment(images, generator)
        images = stamp(images, poisoned.triggered[index], poisoned.cover[index], attack.trigger, generator)
        pixels = normalise(images, data).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(pixels)
        loss = F.cross_entropy(logits.float(), poisoned.label[index])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        total += float(loss.detach()) * len(index)
    return total / len(order)


def _resume(
    folder: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[int, float]:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    return int(state["epoch"]), float(state["seconds"])


def _save(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Train one poisoned classifier.")
    parser.add_argument("data", choices=sorted(EPOCHS))
    parser.add_argument("--attack", required=True, choices=["four-pixels", "square", "blended", "warp"])
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = TrainConfig(
        options.data, options.attack, options.rate, options.seed, options.epochs or EPOCHS[options.data]
    )
    folder = train(config, load(options.data, options.data_dir), options.out)
    print((folder / "run.json").read_text())


if __name__ == "__main__":
    main()
