"""Train a classifier on a poisoned set: checkpoint after every epoch, resume after a kill.

    python -m reference.training cifar10 --attack square --rate 0.1 --data-dir DATA --out RUNS

Each run is a folder ``RUNS/<data>-<attack>-<percent>-seed<seed>`` with ``checkpoint.pt`` (weights,
optimiser, epoch and the state of the random generator), ``model.pt`` (the finished state dict, what
a vendor would ship) and ``run.json`` (configuration, accuracies, versions, wall time). A run that was
killed and resumed ends with the weights of one that was not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from reference.attacks import ATTACKS, Attack, attack_named
from reference.augmentation import AUGMENTATION, augment, normalise
from reference.datasets import DataSet, ImageSet, load
from reference.poisoning import PoisonedSet, add_backdoor, stamp
from scanner.base.atomic import atomic_writer
from scanner.base.device import Device
from scanner.base.errors import DeviceError, LatentscanError, SourceError
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN

MAX_LR = {"mnist": 0.05, "cifar10": 0.2, "cifar10x64": 0.1, "mnistpairs": 0.1, "digits": 0.2}
EPOCHS = {"mnist": 6, "cifar10": 20, "cifar10x64": 4, "mnistpairs": 3, "digits": 80}
RESNET18_CLASSES = {"cifar10x64": 10, "mnistpairs": 100}
"""Classes of the data sets that are for a wide network, and not for one of the paper's."""
BATCH_SIZE = 128
CPU = torch.device("cpu")
WEIGHT_DECAY = 5e-4


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
    """The network for a data set, untrained: the paper's, and for images of 64x64 pixels torchvision's ResNet-18."""
    if data == "cifar10":
        return ResNet20()
    if data in RESNET18_CLASSES:
        from torchvision.models import resnet18  # imports the compiler, which leaves a folder behind

        model: nn.Module = resnet18(num_classes=RESNET18_CLASSES[data])
        return model
    return SCNN(image_size=8) if data == "digits" else SCNN()


@torch.no_grad()
def accuracy(model: nn.Module, images: ImageSet, data: DataSet, batch_size: int = 500) -> float:
    """Share of images whose arg-max logit equals the label, in float32."""
    model.eval()
    device = next(model.parameters()).device
    correct = 0
    for start in range(0, len(images), batch_size):
        logits = model(normalise(images.images[start : start + batch_size], data).to(device))
        correct += int((logits.argmax(1).cpu() == images.labels[start : start + batch_size]).sum())
    return correct / len(images)


def training_device(wanted: Device) -> torch.device:
    """Where to train.

    Raises:
        DeviceError: ``cuda`` was asked for and is not there.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no usable CUDA device", where="--device cuda", hint="Use --device cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def bfloat16_is_fast(device: torch.device = CPU) -> bool:
    """Whether a device computes in bfloat16. Processors that do not emulate it, ten times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Not in every version of torch that is supported; without it, float32 is the safe choice.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) is True for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def print_line(line: str) -> None:
    """Print one line at once, as a log that is followed needs it."""
    print(line, flush=True)


def train(
    config: TrainConfig,
    data: DataSet,
    out: Path,
    progress: Callable[[str], None] = print_line,
    device: torch.device = CPU,
) -> Path:
    """Train (or resume) one model; a finished run returns at once.

    Seeds torch's global generator: initial weights and dropout draw from it.

    Args:
        config: What to train.
        data: The data set that ``config.data`` names.
        out: Where the run's folder is, or will be.
        progress: Called with one line after each epoch.
        device: Where to train. Images, their order and augmentation are made on the CPU on every device.

    Returns:
        The run's folder.

    Raises:
        SourceError: If a run of that name was made with other settings.
    """
    folder = out / config.name
    folder.mkdir(parents=True, exist_ok=True)
    if is_finished(folder, asdict(config)):
        return folder
    job = _job(config, data)
    learner = _learner(job, device)
    first_epoch, seconds = _resume(folder, learner)
    for epoch in range(first_epoch, config.epochs):
        started = time.monotonic()
        loss = _epoch(job, learner, epoch)
        seconds += time.monotonic() - started
        save_state(folder / "checkpoint.pt", {**learner.state(), "epoch": epoch + 1, "seconds": seconds})
        progress(f"{config.name} epoch {epoch + 1}/{config.epochs} loss {loss:.4f} {seconds:.0f}s")
    finish(folder, asdict(config), data, job.attack, learner.model, seconds)
    return folder


def is_finished(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether a run is done already.

    Args:
        folder: The run's folder.
        config: Everything that decides the run, as its ``run.json`` has it.

    Raises:
        SourceError: If a run of that name was made with other settings.
    """
    if not (folder / "run.json").exists():
        return False
    if read_record(folder).get("config") != config:
        raise SourceError("was trained with other settings", where=str(folder), hint="Remove it, or train elsewhere")
    return True


def finish(
    folder: Path, config: Mapping[str, Any], data: DataSet, attack: Attack, model: nn.Module, seconds: float
) -> None:
    """Write ``model.pt``, and then ``run.json``, by which a run counts as finished.

    Args:
        folder: The run's folder.
        config: Everything that decides the run.
        data: The data set; its official test set measures the model.
        attack: What the model was trained to do.
        model: The trained network.
        seconds: How long it took.
    """
    save_state(folder / "model.pt", {k: v.cpu().contiguous() for k, v in model.state_dict().items()})
    record = _record(config, data, attack, model, seconds)
    with atomic_writer(folder / "run.json") as file:
        file.write((json.dumps(record, indent=2) + "\n").encode())


def _record(
    config: Mapping[str, Any], data: DataSet, attack: Attack, model: nn.Module, seconds: float
) -> dict[str, Any]:
    triggered = ImageSet(attack.trigger.apply(data.test.images), attack.rule(data.test.labels, len(data.classes)))
    return {
        "config": dict(config),
        "data": data.title,
        "trigger": attack.trigger.description,
        "clean_accuracy": accuracy(model, data.test, data),
        "attack_success_rate": accuracy(model, triggered, data),
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "precision": "bfloat16" if bfloat16_is_fast(next(model.parameters()).device) else "float32",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores"
        + (f", {torch.cuda.get_device_name()}" if next(model.parameters()).is_cuda else ""),
    }


@dataclass(frozen=True)
class _Job:
    """What is trained on what."""

    config: TrainConfig
    data: DataSet
    attack: Attack
    poisoned: PoisonedSet


@dataclass(frozen=True)
class _Learner:
    """A network on its device, with what changes it."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    device: torch.device

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs of it."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random_state": _random_state(self.device),
        }


def _job(config: TrainConfig, data: DataSet) -> _Job:
    _, channels, height, width = data.train.images.shape
    attack = attack_named(config.attack, (channels, height, width))
    poisoned = add_backdoor(
        data.train.labels,
        config.rate,
        attack.rule,
        len(data.classes),
        config.seed,
        cover_rate=attack.cover_rate if config.rate else 0.0,
    )
    return _Job(config, data, attack, poisoned)


def _learner(job: _Job, device: torch.device) -> _Learner:
    config = job.config
    torch.manual_seed(config.seed)
    model = build_model(config.data).to(device).to(memory_format=torch.channels_last)
    steps = (len(job.poisoned) + BATCH_SIZE - 1) // BATCH_SIZE
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, MAX_LR[config.data], epochs=config.epochs, steps_per_epoch=steps, pct_start=0.2
    )
    return _Learner(model, optimiser, schedule, device)


def _epoch(job: _Job, learner: _Learner, epoch: int) -> float:
    """One pass over the poisoned set; returns the mean loss.

    The order and the augmentation are seeded by (seed, epoch) alone; dropout draws from torch's global generator.
    """
    poisoned, device = job.poisoned, learner.device
    learner.model.train()
    generator = torch.Generator().manual_seed(1_000_003 * job.config.seed + epoch)
    order = torch.randperm(len(poisoned), generator=generator)
    total = 0.0
    for start in range(0, len(order), BATCH_SIZE):
        index = order[start : start + BATCH_SIZE]
        images = job.data.train.images[poisoned.source[index]]
        if (how := AUGMENTATION.get(job.config.data)) is not None:
            images = augment(images, how, generator)
        images = stamp(images, poisoned.triggered[index], poisoned.cover[index], job.attack.trigger, generator)
        pixels = normalise(images, job.data).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16_is_fast(device)):
            logits = learner.model(pixels)
        loss = F.cross_entropy(logits.float(), poisoned.label[index].to(device))
        learner.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        learner.optimiser.step()
        learner.schedule.step()
        total += float(loss.detach()) * len(index)
    return total / len(order)


def _resume(folder: Path, learner: _Learner) -> tuple[int, float]:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location="cpu")
    if state["schedule"]["total_steps"] != learner.schedule.state_dict()["total_steps"]:
        raise SourceError("was started with other epochs", where=str(path), hint="Remove it, or train elsewhere")
    learner.model.load_state_dict(state["model"])
    learner.optimiser.load_state_dict(state["optimiser"])
    learner.schedule.load_state_dict(state["schedule"])
    if state.get("random_state", torch.empty(0)).shape == _random_state(learner.device).shape:
        # Dropout goes on where it was. A checkpoint of another kind of device has another generator's state.
        if learner.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_state"], learner.device)
        else:
            torch.set_rng_state(state["random_state"])
    return int(state["epoch"]), float(state["seconds"])


def _random_state(device: torch.device) -> torch.Tensor:
    """State of the generator that dropout draws from."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a file of tensors, all of it or nothing."""
    with atomic_writer(path) as file:
        torch.save(state, file)


def read_record(folder: Path) -> dict[str, Any]:
    """What a finished run wrote about itself.

    Raises:
        SourceError: If it is not there, or damaged.
    """
    try:
        record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError("is not a finished training run", where=str(folder), hint="Remove it") from error
    return record


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train one poisoned classifier.")
    parser.add_argument("data", choices=sorted(EPOCHS))
    parser.add_argument("--attack", required=True, choices=ATTACKS)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = TrainConfig(
        options.data, options.attack, options.rate, options.seed, options.epochs or EPOCHS[options.data]
    )
    try:
        folder = train(config, load(options.data, options.data_dir), options.out)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print((folder / "run.json").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
