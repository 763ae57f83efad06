"""From a network's tail to a posterior: MOPED, and fine-tuning on clean images where the tail can be trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.bayesian.convert import convert
from detectors.bayesian.layers import flipout_layers
from detectors.bayesian.moped import MopedSettings, moped
from detectors.bayesian.train import Epoch, TrainSettings, TrainState, fine_tune
from scanner.fitting.bayesian.terms import TailData
from scanner.graph.torch_network import GraphNetwork
from scanner.graph.weights import Tail, weight_values
from scanner.profile.posterior import Posterior, WeightBlock


def untrained_posterior(tail: Tail, settings: MopedSettings, samples: int, seed: int) -> Posterior:
    """The MOPED posterior as it is before any training.

    Args:
        tail: The tail.
        settings: Widths.
        samples: Weight draws.
        seed: Seed of the draws.
    """
    graph, weights = tail.bundle.serialise()
    stds = [moped(torch.tensor(value), settings).std.numpy() for value in weight_values(tail)]
    blocks = tuple(
        WeightBlock(weight.name, offset, weight.shape)
        for weight, offset in zip(tail.weights, tail.offsets, strict=True)
    )
    return Posterior(
        graph,
        np.frombuffer(weights, np.uint8),
        np.concatenate([std.reshape(-1) for std in stds]),
        blocks,
        tuple(item.name for item in tail.inputs),
        samples,
        seed,
    )


def bayesian_network(tail: Tail, settings: MopedSettings) -> GraphNetwork:
    """The tail as a trainable Flipout network.

    Raises:
        UnsupportedNodeError: If the graph has a node without a PyTorch form.
    """
    network = GraphNetwork(tail)
    convert(network, settings)
    return network


@dataclass(frozen=True)
class Training:
    """How a posterior is trained.

    Attributes:
        settings: How.
        device: Where.
        state: Where an interrupted run stopped.
        finished: Called after each epoch.
    """

    settings: TrainSettings
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    state: TrainState | None = None
    finished: Callable[[Epoch, TrainState], None] = lambda _epoch, _state: None


def trained_posterior(
    initial: Posterior,
    network: GraphNetwork,
    tail: Tail,
    data: TailData,
    rows: NDArray[np.int64],
    training: Training,
) -> tuple[Posterior, tuple[Epoch, ...]]:
    """Fine-tune a fresh Flipout network on some rows, and read its posterior; it, and every epoch.

    Args:
        initial: The untrained posterior of the same tail.
        network: Of :func:`bayesian_network`; changed in place.
        tail: The tail.
        data: Clean images as the tail sees them.
        rows: Rows to train on.
        training: How to train.

    Raises:
        AccuracyDroppedError: If clean accuracy falls too far.
    """
    where = training.device
    network.to(where)

    def fetch(index: torch.Tensor) -> Sequence[torch.Tensor]:
        batch = data.batch(rows[index.cpu().numpy()])
        return [torch.from_numpy(batch[item.name]).to(where) for item in tail.inputs]

    labels = torch.from_numpy(data.classes[rows]).to(where)
    history = fine_tune(network, fetch, labels, training.settings, state=training.state, finished=training.finished)
    means, stds = read_weights(network, tail)
    return initial.with_weights(means, stds), history


def read_weights(network: GraphNetwork, tail: Tail) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Posterior means and deviations of every weight tensor, as the graph stores them."""
    layers = {int(name): layer for name, layer in flipout_layers(network.layers)}
    means: list[NDArray[np.float32]] = []
    stds: list[NDArray[np.float32]] = []
    for number, weight in enumerate(tail.weights):
        layer = layers[number]
        for target, tensor in ((means, layer.weight_mean), (stds, layer.weight_std)):
            array = tensor.detach().float().cpu().numpy()
            target.append(np.ascontiguousarray(array.T if weight.transposed else array))
    return means, stds
