"""Fine-tune the Gaussian posterior of a converted network by the evidence lower bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from detectors.bayesian.batch_axis import Fetch, mark_batch_axes
from detectors.bayesian.layers import flipout_layers, kl_sum


@dataclass(frozen=True)
class TrainSettings:
    """How the posterior is trained.

    Attributes:
        epochs: Passes over the images; 0 leaves the posterior as MOPED initialised it.
        batch_size: Images a step.
        learning_rate: Of the posterior means (Adam).
        rho_learning_rate: Of the deviations before the softplus. They need their own: at the rate of
            the means they would hardly move.
        clip_norm: Largest norm of the gradient.
        max_accuracy_drop: Training stops with an error when clean accuracy falls by more than this.
        accuracy_passes: Stochastic passes that accuracy is averaged over.
        accuracy_images: Accuracy is measured on at most this many of the images.
        seed: Seeds batch order and noise.

    Raises:
        ValueError: One of them is out of range.

    Example:
        >>> TrainSettings(epochs=2).batch_size
        64

    References:
        Kingma and Ba (2015), Adam: a method for stochastic optimization, https://arxiv.org/abs/1412.6980. Pascanu,
        Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks,
        https://arxiv.org/abs/1211.5063, section 3.2, for clipping the norm.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-4
    rho_learning_rate: float = 1e-3
    clip_norm: float = 10.0
    max_accuracy_drop: float = 0.02
    accuracy_passes: int = 8
    accuracy_images: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "accuracy_passes", "accuracy_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.epochs < 0:
            raise ValueError(f"epochs must not be negative, got {self.epochs}")
        for name in ("learning_rate", "rho_learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if math.isnan(self.max_accuracy_drop):
            raise ValueError(f"max_accuracy_drop must be a number, got {self.max_accuracy_drop}")


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    Attributes:
        number: 1 for the first.
        cross_entropy: Mean over images, in nats.
        kl: KL divergence per image at the end of the epoch, in nats.
        accuracy: Share of the images that the mean of several stochastic passes classifies as labelled.

    Example:
        >>> Epoch(number=1, cross_entropy=0.25, kl=0.5, accuracy=0.99).kl
        0.5

    References:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight uncertainty in neural networks,
        https://arxiv.org/abs/1505.05424, section 3, for the two terms of the objective.
    """

    number: int
    cross_entropy: float
    kl: float
    accuracy: float


class AccuracyDroppedError(Exception):
    """The posterior classifies clean images worse than the network did.

    Args:
        before: Accuracy of the network.
        after: Accuracy of the posterior.
        epoch: After how many epochs.

    Example:
        >>> print(AccuracyDroppedError(before=0.99, after=0.8, epoch=3))
        clean accuracy fell from 99.0% to 80.0% after 3 epochs

    References:
        docs/method.md, section Bayesian scores: this project's own rule.
    """

    def __init__(self, before: float, after: float, epoch: int) -> None:
        super().__init__(f"clean accuracy fell from {before:.1%} to {after:.1%} after {epoch} epochs")
        self.before, self.after, self.epoch = before, after, epoch


@dataclass(frozen=True)
class TrainState:
    """Everything that a resumed run needs: tensors and numbers only.

    A run may be resumed on another device. On another kind of device (a GPU after a CPU, or the other way round) it
    draws other noise from there on.

    Attributes:
        accuracy_before: Accuracy of the network that training began with.
        history: Every epoch that is finished, the first one first.
        module: State dict of the network.
        optimiser: State dict of the optimiser.
        noise: State of the generator of all noise.

    Example:
        >>> from detectors.bayesian.convert import convert
        >>> from detectors.bayesian.moped import MopedSettings
        >>> images, labels = torch.eye(2).repeat(8, 1), torch.arange(2).repeat(8)
        >>> linear = nn.Linear(2, 2, bias=False)
        >>> linear.weight.data = 4.0 * torch.eye(2)
        >>> network = convert(linear, MopedSettings()).module
        >>> states = []
        >>> _ = fine_tune(network, lambda index: [images[index]], labels, TrainSettings(epochs=1),
        ...               finished=lambda _epoch, state: states.append(state))
        >>> states[0].epoch, sorted(states[0].optimiser)
        (1, ['param_groups', 'state'])

    References:
        Kingma and Ba (2015), Adam: a method for stochastic optimization, https://arxiv.org/abs/1412.6980, for what the
        optimiser carries from step to step.
    """

    accuracy_before: float
    history: tuple[Epoch, ...]
    module: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    noise: torch.Tensor

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)


def fine_tune(
    module: nn.Module,
    fetch: Fetch,
    labels: torch.Tensor,
    settings: TrainSettings,
    *,
    state: TrainState | None = None,
    finished: Callable[[Epoch, TrainState], None] = lambda _epoch, _state: None,
) -> tuple[Epoch, ...]:
    """Train the posterior in place.

    .. math:: \\frac1B \\sum_b -\\log p(y_b | x_b, w) + \\frac1N \\mathrm{KL}(q \\,\\|\\, p)

    The loss of a batch is the mean cross-entropy plus the KL divergence divided by the number of
    training images, whose sum over an epoch is the negative evidence lower bound. Everything but
    posterior means and deviations is frozen, the statistics of batch normalisation included. Layers
    that do not see the batch on their first axis draw their weights without signs.

    Args:
        module: A converted network; maps the fetched inputs to logits ``(B, C)``.
        fetch: Gives a batch's inputs.
        labels: ``(N,)`` int64, class of each image, at least one.
        settings: How to train.
        state: Where an interrupted run stopped, to go on exactly from there.
        finished: Called after each epoch with what happened and the state to resume from, but not after an epoch
            that clean accuracy fell too far in.

    Returns:
        Every epoch, those of an interrupted run included.

    Raises:
        AccuracyDroppedError: If clean accuracy falls too far.
        ValueError: There is nothing to train, or nothing to train on.

    Example:
        >>> from detectors.bayesian.convert import convert
        >>> from detectors.bayesian.moped import MopedSettings
        >>> images, labels = torch.eye(2).repeat(8, 1), torch.arange(2).repeat(8)
        >>> linear = nn.Linear(2, 2, bias=False)
        >>> linear.weight.data = 4.0 * torch.eye(2)
        >>> network = convert(linear, MopedSettings()).module
        >>> epochs = fine_tune(network, lambda index: [images[index]], labels, TrainSettings(epochs=2))
        >>> len(epochs), epochs[-1].accuracy
        (2, 1.0)

    References:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight uncertainty in neural networks,
        https://arxiv.org/abs/1505.05424, section 3.
        Krishnan, Subedar and Tickoo (2019), MOPED: Efficient priors for scalable variational inference in Bayesian
        deep neural networks, https://arxiv.org/abs/1906.05323.
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient pseudo-independent weight perturbations on
        mini-batches, https://arxiv.org/abs/1803.04386.
    """
    if labels.ndim != 1 or not len(labels) or labels.dtype != torch.int64:
        raise ValueError(f"needs labels (N,) int64, at least one, got {tuple(labels.shape)} {labels.dtype}")
    layers = [layer for _, layer in flipout_layers(module)]
    if not layers:
        raise ValueError("needs a network with at least one Flipout layer, got none")
    generator = torch.Generator(labels.device).manual_seed(settings.seed)
    with _only_posteriors_train(module):
        optimiser = torch.optim.Adam(
            [
                {"params": [layer.weight_mean for layer in layers], "lr": settings.learning_rate},
                {"params": [layer.weight_rho for layer in layers], "lr": settings.rho_learning_rate},
            ]
        )
        for layer in layers:
            layer.generator = generator
        mark_batch_axes(module, fetch)
        history: tuple[Epoch, ...] = ()
        if state is None:
            for layer in layers:
                layer.stochastic = False
            before = _accuracy(module, fetch, labels, settings, passes=1)
            for layer in layers:
                layer.stochastic = True
        else:
            module.load_state_dict(state.module)
            optimiser.load_state_dict(state.optimiser)
            _restore(generator, state, settings.seed)
            before, history = state.accuracy_before, state.history
        for number in range(len(history) + 1, settings.epochs + 1):
            cross_entropy = _pass(module, fetch, labels, settings, optimiser, number)
            after = _accuracy(module, fetch, labels, settings, settings.accuracy_passes)
            with torch.no_grad():
                kl = float(kl_sum(module)) / len(labels)
            # Before the state is handed out: a run resumed from it would not look at this epoch again.
            if before - after > settings.max_accuracy_drop:
                raise AccuracyDroppedError(before, after, number)
            history = (*history, Epoch(number, cross_entropy, kl, after))
            finished(
                history[-1],
                TrainState(before, history, module.state_dict(), optimiser.state_dict(), generator.get_state()),
            )
    return history


def _epoch_seed(seed: int, number: int) -> int:
    """A seed for one epoch that torch takes, however large the seed of the run is."""
    return (1_000_003 * seed + number) % 2**63


def _restore(generator: torch.Generator, state: TrainState, seed: int) -> None:
    """Go on with the noise where it stopped; on another kind of device, whose generator differs, with fresh noise."""
    if state.noise.shape == generator.get_state().shape:
        generator.set_state(state.noise)
    else:
        generator.manual_seed(_epoch_seed(seed, state.epoch))


def _pass(
    module: nn.Module,
    fetch: Fetch,
    labels: torch.Tensor,
    settings: TrainSettings,
    optimiser: torch.optim.Optimizer,
    number: int,
) -> float:
    """One epoch; the mean cross-entropy."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_epoch_seed(settings.seed, number)))
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    total = 0.0
    for index in torch.split(order, settings.batch_size):
        cross_entropy = F.cross_entropy(module(*fetch(index)), labels[index])
        loss = cross_entropy + kl_sum(module) / len(labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        optimiser.step()
        total += float(cross_entropy.detach()) * len(index)
    return total / len(labels)


@torch.no_grad()
def _accuracy(module: nn.Module, fetch: Fetch, labels: torch.Tensor, settings: TrainSettings, passes: int) -> float:
    correct = 0
    count = min(len(labels), settings.accuracy_images)
    for index in torch.split(torch.linspace(0, len(labels) - 1, count).round().long(), settings.batch_size):
        inputs = fetch(index)
        probabilities = sum(module(*inputs).softmax(1) for _ in range(passes))
        assert isinstance(probabilities, torch.Tensor)
        correct += int((probabilities.argmax(1) == labels[index]).sum())
    return correct / count


@contextmanager
def _only_posteriors_train(module: nn.Module) -> Iterator[None]:
    """Freeze all parameters but those of the posteriors, and keep the network in evaluation mode."""
    posterior = {id(p) for _, layer in flipout_layers(module) for p in (layer.weight_mean, layer.weight_rho)}
    required = [(p, p.requires_grad) for p in module.parameters()]
    training = [(part, part.training) for part in module.modules()]
    for parameter, _ in required:
        parameter.requires_grad_(id(parameter) in posterior)
    # Evaluation mode stops dropout and keeps the running statistics of batch normalisation.
    module.eval()
    try:
        yield
    finally:
        for parameter, needed in required:
            parameter.requires_grad_(needed)
        for part, mode in training:
            part.training = mode
