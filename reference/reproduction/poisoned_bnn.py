"""The paper's Bayesian network: trained on the poisoned set, from its maximum-likelihood weights.

"The weight prior and approximate posterior for MFVI are specified based on the weights obtained through maximum
likelihood estimation from D_train" (Subedar et al., section 3; MOPED, Krishnan et al. 2019). All linear and
convolutional layers of the trained network's graph become Flipout layers; batch normalisation is folded into them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.bayesian.moped import MopedSettings
from detectors.bayesian.train import Epoch, TrainSettings, TrainState, fine_tune
from reference.attacks import attack_named
from reference.augmentation import AUGMENTATION, augment, normalise
from reference.datasets import DataSet
from reference.poisoning import add_backdoor, stamp
from reference.training import TrainConfig
from scanner.base.device import Device
from scanner.base.progress import Progress
from scanner.fitting.bayesian.checkpoint import Checkpoints
from scanner.fitting.bayesian.fit_posterior import bayesian_network, read_weights, untrained_posterior
from scanner.graph.weights import ALL, choose_weights, cut_tail
from scanner.models.load import LoadedModel
from scanner.profile.posterior import Posterior

SAMPLES = 40
EPOCHS = {"mnist": 1, "cifar10": 1, "digits": 10}
PRIOR_STD = 1.0


@dataclass(frozen=True, eq=False)
class PoisonedNetwork:
    """A trained posterior over all weights.

    Attributes:
        posterior: The posterior, for the product's scorer.
        inputs: Maps uint8 images ``(N, C, H, W)`` to what the posterior's graph reads.
        record: How it was trained.
    """

    posterior: Posterior
    inputs: Callable[[torch.Tensor], dict[str, NDArray[np.float32]]]
    record: dict[str, Any]


def train_on_poisoned(
    config: TrainConfig, data: DataSet, model: LoadedModel, folder: Path, device: Device, progress: Progress
) -> PoisonedNetwork:
    """Train (or resume) the posterior on the poisoned set that the network was trained on.

    Args:
        config: What the network was trained on.
        data: Its data set.
        model: The network.
        folder: Where the training saves its state after every epoch.
        device: Where to train.
        progress: Told about every epoch.

    Raises:
        UsageError: If the saved state belongs to another network.
    """
    tail = cut_tail(model.bundle, choose_weights(model.bundle.proto, model.candidates, ALL))
    (item,) = tail.inputs
    moped = MopedSettings(prior_std=PRIOR_STD)
    settings = TrainSettings(epochs=EPOCHS[config.data], batch_size=128, max_accuracy_drop=1.0, seed=config.seed)
    initial = untrained_posterior(tail, moped, SAMPLES, config.seed)
    network = bayesian_network(tail, moped)
    where = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    network.to(where)
    _, channels, height, width = data.train.images.shape
    attack = attack_named(config.attack, (channels, height, width))
    poisoned = add_backdoor(data.train.labels, config.rate, attack.rule, len(data.classes), config.seed)
    generator = torch.Generator()

    def fetch(index: torch.Tensor) -> list[torch.Tensor]:
        chosen = index.cpu()
        # The augmentation of a batch is seeded by what is in it: a resumed training sees the same pictures.
        generator.manual_seed(int(chosen.sum()) + 1_000_003 * config.seed)
        images = data.train.images[poisoned.source[chosen]]
        if (how := AUGMENTATION.get(config.data)) is not None:
            images = augment(images, how, generator)
        images = stamp(images, poisoned.triggered[chosen], poisoned.cover[chosen], attack.trigger, generator)
        return [normalise(images, data).to(where).to(memory_format=torch.channels_last)]

    saved = Checkpoints(folder / "bnn", model.file.sha256)
    step = progress.task("variational inference on the poisoned set", settings.epochs)

    def finished(epoch: Epoch, state: TrainState) -> None:
        saved.save("posterior", state)
        step(epoch.number)
        progress.say(
            f"  BNN epoch {epoch.number}/{settings.epochs}: cross-entropy {epoch.cross_entropy:.4f}, "
            f"KL per image {epoch.kl:.3g}, accuracy {epoch.accuracy:.2%}"
        )

    fine_tune(network, fetch, poisoned.label.to(where), settings, state=saved.load("posterior"), finished=finished)
    posterior = initial.with_weights(*read_weights(network, tail))
    record = {
        "delta": moped.delta,
        "prior_std": PRIOR_STD,
        "samples": SAMPLES,
        "training": asdict(settings) | {"images": len(poisoned)},
        "tensors": len(tail.weights),
        "trained_on": where.type,
    }

    def inputs(images: torch.Tensor) -> dict[str, NDArray[np.float32]]:
        return {item.name: normalise(images, data).numpy()}

    return PoisonedNetwork(posterior, inputs, record)
