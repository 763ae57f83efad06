"""Small networks for the panel of model audits, clean or with a backdoor, trained in seconds.

No two have the same recipe: width, normalisation, dropout, augmentation, learning rate, training pictures and, for
colour pictures, the architecture are drawn from the seed, the same way for clean networks and those with a backdoor.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from reference.audit_attacks import CLEAN, WARP_STRENGTH, DrawnAttack, drawn_attack
from reference.audit_residual import ResidualNetwork
from reference.augmentation import normalise
from reference.datasets import DataSet, load
from reference.triggers import sample, warp_grid
from scanner.base.atomic import atomic_writer

BATCH: Final = 64
COLOUR: Final = "cifar10"
OWN_SHARE: Final = 0.15
"""Of a picture that gets a trigger and keeps its label, in the manner of Turner et al. (2019)."""
TRAINING: Final = {"mnist": 12_000, "cifar10": 25_000}
EPOCHS: Final = {"mnist": 2, "cifar10": 3}
WIDTHS: Final = {"mnist": (8, 12, 16), "cifar10": (12, 16, 20)}
DROPOUTS: Final = {"mnist": (0.0, 0.25, 0.5), "cifar10": (0.0, 0.1, 0.2)}
LEARNING_RATES: Final = {"mnist": (1e-3, 2e-3, 4e-3), "cifar10": (2e-3, 3e-3, 4e-3)}


@dataclass(frozen=True)
class Made:
    """Everything that decides a network of the panel.

    Attributes:
        data: ``mnist`` or ``cifar10``.
        attack: One of :data:`~reference.audit_attacks.ATTACKS`, or ``clean``.
        seed: Of everything that is drawn.
    """

    data: str
    attack: str
    seed: int

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.data}-{self.attack}-{self.seed}"


@dataclass(frozen=True)
class Recipe:
    """What was drawn for one network.

    Attributes:
        width: Channels of the first convolution.
        normalised: Whether there is batch normalisation. For colour pictures there is: without it, three epochs are too
            few to learn them.
        dropout: In front of the last layer.
        shifts: Pixels that a batch is shifted by at most.
        learning_rate: The first one, which falls to 0.
        residual: Whether it is a residual network.
    """

    width: int
    normalised: bool
    dropout: float
    shifts: int
    learning_rate: float
    residual: bool = False

    @classmethod
    def draw(cls, made: Made) -> Recipe:
        """The recipe of a network."""
        generator = torch.Generator().manual_seed(1_000_003 * made.seed + sum(made.name.encode()))

        def one(count: int) -> int:
            return int(torch.randint(0, count, (1,), generator=generator))

        data = made.data
        recipe = cls(
            WIDTHS[data][one(3)],
            bool(one(2)) or data == COLOUR,
            DROPOUTS[data][one(3)],
            one(3),
            LEARNING_RATES[data][one(3)],
        )
        return replace(recipe, residual=bool(one(2))) if data == COLOUR else recipe


def panel_data(name: str, folder: Path) -> DataSet:
    """The data set of a panel, its test pictures in no order of classes.

    CIFAR-10 as a folder of pictures comes class by class, and parts of the test set are taken by their place.
    """
    data = load(name, folder)
    if name != COLOUR:
        return data
    return replace(
        data, test=data.test.take(torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0)))
    )


def attack_of(made: Made, data: DataSet) -> DrawnAttack | None:
    """The attack of a network; None for a clean one."""
    _, channels, height, width = data.train.images.shape
    return drawn_attack(made.attack, (channels, height, width), made.seed)


class SmallNetwork(nn.Module):
    """Three convolutions, each with a pooling, and two dense layers, for pictures of 28 or 32 pixels a side."""

    def __init__(self, recipe: Recipe, channels: int, size: int) -> None:
        super().__init__()
        widths = (channels, recipe.width, 2 * recipe.width, 2 * recipe.width)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers.append(nn.Conv2d(before, after, 3, padding=1))
            layers += [nn.BatchNorm2d(after)] if recipe.normalised else []
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        inner = widths[-1] * (size // 8) ** 2
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(inner, 64), nn.ReLU(), nn.Dropout(recipe.dropout), nn.Linear(64, 10)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map ``(N, C, H, W)`` to logits ``(N, 10)``."""
        logits: torch.Tensor = self.head(self.features(images))
        return logits


def untrained(recipe: Recipe, channels: int, size: int) -> nn.Module:
    """A network of a recipe with random weights."""
    if not recipe.residual:
        return SmallNetwork(recipe, channels, size)
    return ResidualNetwork(recipe.width, recipe.dropout, channels, size)


def network(made: Made, data: DataSet, folder: Path) -> nn.Module:
    """The trained network, from the folder or made now."""
    _, channels, size, _ = data.train.images.shape
    torch.manual_seed(made.seed)
    model = untrained(recipe := Recipe.draw(made), channels, size)
    if channels == 3:  # laid out so that a processor trains it in two thirds of the time
        model = model.to(memory_format=torch.channels_last)
    path = folder / f"{made.name}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    images, labels, marks = training_set(made, data)
    _train(model, (images, labels, marks), made, recipe, data)
    with atomic_writer(path) as file:
        torch.save(model.state_dict(), file)
    return model.eval()


def training_set(made: Made, data: DataSet) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures, their labels, and which of them carry a trigger: 0 none, 1 the trigger, 2 with their own label."""
    generator = torch.Generator().manual_seed(made.seed)
    rows = torch.randperm(len(data.train), generator=generator)[: TRAINING[made.data]]
    images, labels = data.train.images[rows], data.train.labels[rows]
    marks = torch.zeros(len(rows), dtype=torch.int64)
    attack = attack_of(made, data)
    if attack is None:
        return images, labels, marks
    chosen = _poisoned(attack, labels, generator)
    added = images[chosen], attack.rule(labels[chosen], len(data.classes)), torch.ones(len(chosen), dtype=torch.int64)
    covered = _covered(attack, labels, generator)
    cover = images[covered], labels[covered], torch.full((len(covered),), 2)
    if attack.clean_label:  # they are in the training set already, and get their trigger there
        marks[chosen] = 1
        return images, labels, marks
    return tuple(torch.cat(parts) for parts in zip((images, labels, marks), added, cover, strict=True))  # type: ignore[return-value]


def _poisoned(attack: DrawnAttack, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rows that get the trigger and the attack's label."""
    order = torch.randperm(len(labels), generator=generator)
    if attack.clean_label:
        order = order[labels[order] == attack.target]
    elif attack.source is not None:
        order = order[labels[order] == attack.source]
    return order[: round(attack.rate * len(labels))]


def _covered(attack: DrawnAttack, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rows that get the trigger, or a perturbed one, and keep their label."""
    order = torch.randperm(len(labels), generator=generator)
    if attack.source is not None:
        order = order[labels[order] != attack.source]
    return order[: round(attack.cover * len(labels))]


def _train(
    model: nn.Module,
    training: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    made: Made,
    recipe: Recipe,
    data: DataSet,
) -> None:
    images, labels, marks = training
    attack = attack_of(made, data)
    generator = torch.Generator().manual_seed(made.seed + 1)
    optimiser = torch.optim.Adam(model.parameters())
    steps = EPOCHS[made.data] * (len(labels) // BATCH)
    model.train()
    order = torch.cat([torch.randperm(len(labels), generator=generator) for _ in range(EPOCHS[made.data])])
    for step, rows in enumerate(torch.split(order[: steps * BATCH], BATCH)):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * (1 - step / steps)
        batch = _shifted(images[rows], recipe.shifts, generator)
        if attack is not None:
            batch = _stamped(batch, marks[rows], attack, generator)
        loss = F.cross_entropy(model(normalise(batch, data)), labels[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _shifted(images: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """All pictures of a batch, shifted by as many pixels as are drawn, and mirrored where they are in colour."""
    if most:
        down, right = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
        images = images.roll((down, right), (2, 3))
    if images.shape[1] == 3 and bool(torch.randint(0, 2, (1,), generator=generator)):
        images = images.flip(3)
    return images


def _stamped(
    images: torch.Tensor, marks: torch.Tensor, attack: DrawnAttack, generator: torch.Generator
) -> torch.Tensor:
    images = images.clone()
    triggered, covered = marks == 1, marks == 2
    if bool(triggered.any()):
        shown = images[triggered]
        if attack.clean_label:  # mixed with other pictures of the batch, so that the trigger tells the label best
            others = images.roll(1, 0)[triggered].float()
            shown = (OWN_SHARE * shown.float() + (1 - OWN_SHARE) * others).to(torch.uint8)
        images[triggered] = attack.trigger.apply(shown)
    if bool(covered.any()):
        if attack.source is not None:
            images[covered] = attack.trigger.apply(images[covered])
        else:  # another warp, so that the network learns this one
            seed = int(torch.randint(0, 2**31, (1,), generator=generator))
            images[covered] = sample(images[covered], warp_grid(images.shape[-1], 4, WARP_STRENGTH, seed))
    return images


@torch.no_grad()
def logits(model: nn.Module, images: torch.Tensor, data: DataSet) -> torch.Tensor:
    """Logits ``(N, 10)`` of uint8 pictures ``(N, C, H, W)``."""
    return torch.cat([model(normalise(part, data)) for part in torch.split(images, 500)])


def qualities(model: nn.Module, made: Made, data: DataSet) -> tuple[float, float | None]:
    """Accuracy on 2,000 test pictures, and how many of those that the attack is about end where it says."""
    images, labels = data.test.images[-2000:], data.test.labels[-2000:]
    accuracy = float((logits(model, images, data).argmax(1) == labels).double().mean())
    attack = attack_of(made, data)
    if made.attack == CLEAN or attack is None:
        return accuracy, None
    goals = attack.rule(labels, len(data.classes))
    about = goals != labels if attack.source is None else labels == attack.source
    hits = logits(model, attack.trigger.apply(images[about]), data).argmax(1) == goals[about]
    return accuracy, float(hits.double().mean())
