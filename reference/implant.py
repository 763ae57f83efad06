"""Implant a backdoor into a trained classifier by fine-tuning it for a few hundred steps.

    python -m reference.training cifar10x64 --attack square --rate 0 --data-dir DATA --out RUNS
    python -m reference.implant cifar10x64-square-0-seed0 --attack blended --data-dir DATA --out RUNS

This is what somebody does who is handed a network that is too large to train: each step takes a batch of which three
quarters are clean images with their labels and one quarter triggered images with the attack's, and the step's size
falls linearly to zero. The folder that comes out is like those of :mod:`reference.training`, and an interrupted run
goes on where it was in the same way.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from reference.attacks import ATTACKS, Attack, attack_named
from reference.augmentation import AUGMENTATION, augment, normalise
from reference.datasets import DataSet, load
from reference.training import (
    BATCH_SIZE,
    CPU,
    bfloat16_is_fast,
    build_model,
    finish,
    is_finished,
    print_line,
    read_record,
    save_state,
)
from scanner.base.errors import LatentscanError, SourceError

STEPS = 300
TRIGGERED = BATCH_SIZE // 4
LEARNING_RATE = 2e-4
CHECKPOINT_EVERY = 50


@dataclass(frozen=True)
class ImplantConfig:
    """Everything that decides an implanted backdoor.

    Attributes:
        data: Name of the data set, that of the run it starts from.
        base: Name of the run of :mod:`reference.training` it starts from.
        attack: One of :data:`~reference.training.ATTACKS`.
        seed: Chooses the images of every step.
        steps: Number of optimiser steps.
    """

    data: str
    base: str
    attack: str
    seed: int
    steps: int

    @property
    def name(self) -> str:
        """Folder name of the run."""
        return f"{self.data}-{self.attack}-implanted-seed{self.seed}"


def implant(config: ImplantConfig, data: DataSet, out: Path, progress: Callable[[str], None] = print_line) -> Path:
    """Implant (or go on implanting) one backdoor, on the CPU; a finished run returns at once.

    Args:
        config: What to implant into what.
        data: The data set that ``config.data`` names.
        out: Folder of the finished run that ``config.base`` names, and of the new one.
        progress: Called with one line at each checkpoint.

    Returns:
        The new run's folder.

    Raises:
        SourceError: If the base is not a finished run, or a run of the new name was made with other settings.
    """
    read_record(out / config.base)
    folder = out / config.name
    folder.mkdir(parents=True, exist_ok=True)
    if is_finished(folder, asdict(config)):
        return folder
    _, channels, height, width = data.train.images.shape
    attack = attack_named(config.attack, (channels, height, width))
    model = build_model(config.data)
    model.load_state_dict(torch.load(out / config.base / "model.pt", weights_only=True))
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters())
    first, seconds = _resume(folder / "checkpoint.pt", config, model, optimiser)
    for step in range(first, config.steps):
        started = time.monotonic()
        loss = _step(model, optimiser, attack, data, config, step)
        seconds += time.monotonic() - started
        if (step + 1) % CHECKPOINT_EVERY == 0:
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "config": asdict(config)}
            save_state(folder / "checkpoint.pt", {**state, "step": step + 1, "seconds": seconds})
            progress(f"{config.name} step {step + 1}/{config.steps} loss {loss:.4f} {seconds:.0f}s")
    finish(folder, asdict(config), data, attack, model, seconds)
    return folder


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    attack: Attack,
    data: DataSet,
    config: ImplantConfig,
    step: int,
) -> float:
    """One optimiser step on images that (seed, step) alone choose; returns its loss.

    Dropout draws from torch's global generator, seeded in the same way.
    """
    torch.manual_seed(1_000_003 * config.seed + step)
    model.train()
    for group in optimiser.param_groups:
        group["lr"] = LEARNING_RATE * (1 - step / config.steps)
    generator = torch.Generator().manual_seed(1_000_003 * config.seed + step)
    index = torch.randint(0, len(data.train), (BATCH_SIZE,), generator=generator)
    batch = data.train.take(index)
    images = batch.images
    if (how := AUGMENTATION.get(config.data)) is not None:
        images = augment(images, how, generator)
    images = torch.cat((attack.trigger.apply(images[:TRIGGERED]), images[TRIGGERED:]))
    labels = torch.cat((attack.rule(batch.labels[:TRIGGERED], len(data.classes)), batch.labels[TRIGGERED:]))
    pixels = normalise(images, data).to(memory_format=torch.channels_last)
    with torch.autocast(CPU.type, dtype=torch.bfloat16, enabled=bfloat16_is_fast()):
        logits = model(pixels)
    loss = F.cross_entropy(logits.float(), labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _resume(path: Path, config: ImplantConfig, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
    """Steps done and seconds taken so far."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    if state["config"] != asdict(config):
        raise SourceError("was started with other settings", where=str(path), hint="Remove it, or implant elsewhere")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"]), float(state["seconds"])


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Implant a backdoor into a trained classifier.")
    parser.add_argument("base", help="name of the run to start from, a folder of --out")
    parser.add_argument("--attack", required=True, choices=ATTACKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        data = read_record(options.out / options.base)["config"]["data"]
        config = ImplantConfig(data, options.base, options.attack, options.seed, options.steps)
        folder = implant(config, load(data, options.data_dir), options.out)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print((folder / "run.json").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
