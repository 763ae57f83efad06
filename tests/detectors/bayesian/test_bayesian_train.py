"""Fine-tuning: the objective, what moves and what stays, resuming, and stopping."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from detectors.bayesian import train
from detectors.bayesian.convert import convert
from detectors.bayesian.layers import FlipoutLayer, flipout_layers
from detectors.bayesian.moped import MopedSettings
from detectors.bayesian.train import AccuracyDroppedError, Epoch, TrainSettings, TrainState, fine_tune

IMAGES, CLASSES = 96, 3


@pytest.fixture
def problem() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A trained little network with batch normalisation and dropout, its images and labels."""
    torch.manual_seed(0)
    labels = torch.arange(IMAGES) % CLASSES
    images = torch.randn(IMAGES, 1, 4, 4) * 0.3 + labels[:, None, None, None]
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, CLASSES)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    return network, images, labels


def tuned(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: TrainSettings, **arguments):
    epochs: list[tuple[Epoch, TrainState]] = []
    module = convert(copy.deepcopy(network), arguments.pop("moped", MopedSettings(delta=0.2))).module

    def finished(epoch: Epoch, state: TrainState) -> None:
        epochs.append((epoch, copy.deepcopy(state)))

    fine_tune(module, lambda index: [images[index]], labels, settings, finished=finished, **arguments)
    return module, epochs


def test_only_posteriors_move_and_modes_are_given_back(problem) -> None:
    network, images, labels = problem
    network.train()
    module, epochs = tuned(network, images, labels, TrainSettings(epochs=2, learning_rate=1e-2))
    before, after = network.state_dict(), module.state_dict()
    for key in ("0.bias", "5.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(after[key], before[key]), key
    for key in ("0", "5"):
        assert torch.equal(after[f"{key}.prior_mean"], before[f"{key}.weight"])
        assert not torch.equal(after[f"{key}.weight_mean"], before[f"{key}.weight"])
    assert module[1].training
    assert module[3].training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert [epoch.number for epoch, _ in epochs] == [1, 2]


def test_the_kl_term_is_divided_by_the_number_of_images(problem) -> None:
    """Summed over weights and divided by images: what the evidence lower bound says."""
    network, images, labels = problem
    settings = TrainSettings(epochs=1, batch_size=IMAGES, learning_rate=1e-3, max_accuracy_drop=1.0)
    moped = MopedSettings(delta=0.2, prior_std=1.0)
    _, epochs = tuned(network, images, labels, settings, moped=moped)
    module = convert(copy.deepcopy(network), moped).module
    total = sum(float(layer.kl().detach()) for _, layer in flipout_layers(module))
    assert epochs[0][0].kl == pytest.approx(total / IMAGES, rel=0.05)


def test_a_step_follows_the_mean_cross_entropy_plus_the_kl_term_per_image(problem, monkeypatch) -> None:
    network, images, labels = problem
    moped = MopedSettings(delta=0.2, prior_std=1.0)
    settings = TrainSettings(epochs=1, batch_size=IMAGES // 4, clip_norm=1e9, max_accuracy_drop=1.0)
    taken: list[list[torch.Tensor]] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam, *arguments):
        taken.append([p.grad.clone() for group in self.param_groups for p in group["params"]])
        return step(self, *arguments)

    monkeypatch.setattr(FlipoutLayer, "_signs", lambda _self, like: torch.ones(()))
    monkeypatch.setattr(torch, "randn", lambda shape, **_: torch.ones(shape))
    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    tuned(network, images, labels, settings, moped=moped)
    assert len(taken) == 4

    module = convert(copy.deepcopy(network), moped).module.eval()
    layers = [layer for _, layer in flipout_layers(module)]
    first = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1))[: IMAGES // 4]
    chosen = module(images[first]).log_softmax(1)[torch.arange(len(first)), labels[first]]
    parameters = [layer.weight_mean for layer in layers] + [layer.weight_rho for layer in layers]
    likelihood = torch.autograd.grad(-chosen.sum() / len(first), parameters)
    for found, wanted, layer in zip(taken[0][:2], likelihood[:2], layers, strict=True):
        kl = (layer.weight_mean - layer.prior_mean) / layer.prior_std**2
        torch.testing.assert_close(found, wanted + kl / IMAGES)
    for found, wanted, layer in zip(taken[0][2:], likelihood[2:], layers, strict=True):
        kl = (layer.weight_std / layer.prior_std**2 - 1 / layer.weight_std) * layer.weight_rho.sigmoid()
        torch.testing.assert_close(found, wanted + kl / IMAGES)


def test_the_data_widen_or_narrow_the_posterior_against_its_prior(problem) -> None:
    """A wide prior pulls the deviations up; without one they stay near where MOPED put them."""
    network, images, labels = problem
    settings = TrainSettings(epochs=5, rho_learning_rate=5e-2, max_accuracy_drop=1.0)

    def growth(prior_std: float | None) -> float:
        moped = MopedSettings(delta=0.1, prior_std=prior_std)
        module, _ = tuned(network, images, labels, settings, moped=moped)
        first: FlipoutLayer = convert(copy.deepcopy(network), moped).module[0]
        return float((module[0].weight_std / first.weight_std).detach().median())

    assert growth(1.0) > 1.3
    assert growth(None) == pytest.approx(1.0, abs=0.2)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(problem) -> None:
    network, images, labels = problem
    settings = TrainSettings(epochs=4, learning_rate=1e-2, rho_learning_rate=1e-2, max_accuracy_drop=1.0)
    whole, epochs = tuned(network, images, labels, settings)
    resumed, rest = tuned(network, images, labels, settings, state=epochs[1][1])
    assert [epoch.number for epoch, _ in rest] == [3, 4]
    assert [epoch for epoch, _ in rest] == [epoch for epoch, _ in epochs[2:]]
    assert rest[-1][1].history == epochs[-1][1].history == tuple(epoch for epoch, _ in epochs)
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_the_seed_decides(problem) -> None:
    network, images, labels = problem

    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(torch.seed() % 1000)  # the global generator plays no part
        return tuned(network, images, labels, TrainSettings(epochs=1, seed=seed))[0][5].weight_mean.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_seeds_may_be_large(problem) -> None:
    network, images, labels = problem
    settings = TrainSettings(epochs=2, seed=2**62, max_accuracy_drop=1.0)
    whole, epochs = tuned(network, images, labels, settings)
    elsewhere = replace(epochs[0][1], noise=torch.zeros(16, dtype=torch.uint8))  # of another kind of device
    resumed, rest = tuned(network, images, labels, settings, state=elsewhere)
    assert [epoch.number for epoch, _ in rest] == [2]
    assert not torch.equal(resumed[5].weight_mean, whole[5].weight_mean)


def test_a_fall_of_accuracy_stops_the_training(problem) -> None:
    network, images, labels = problem
    settings = TrainSettings(epochs=50, learning_rate=1.0, rho_learning_rate=1.0)
    with pytest.raises(AccuracyDroppedError, match=r"clean accuracy fell from 100\.0% to") as caught:
        tuned(network, images, labels, settings, moped=MopedSettings(delta=3.0, prior_std=30.0))
    assert caught.value.before - caught.value.after > 0.02
    assert caught.value.epoch < 50


@pytest.mark.parametrize(("after", "stopped"), [(0.975, True), (0.985, False)])
def test_two_points_of_accuracy_are_the_limit(problem, monkeypatch, after: float, stopped: bool) -> None:
    measured = iter([1.0, after])
    monkeypatch.setattr(train, "_accuracy", lambda *_, **__: next(measured))
    expected = pytest.raises(AccuracyDroppedError) if stopped else nullcontext()
    with expected:
        tuned(*problem, TrainSettings(epochs=1))


def test_gradients_are_clipped_to_their_norm(problem, monkeypatch) -> None:
    norms: list[float] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam, *arguments):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    tuned(*problem, TrainSettings(epochs=1, clip_norm=1e9, max_accuracy_drop=1.0))
    limit = min(norms) / 2
    norms.clear()
    tuned(*problem, TrainSettings(epochs=1, clip_norm=limit, max_accuracy_drop=1.0))
    assert norms == pytest.approx([limit] * len(norms), rel=1e-3)


def test_every_epoch_takes_every_image_once_in_an_order_of_its_own(problem) -> None:
    network, images, labels = problem

    def orders(seed: int) -> list[list[int]]:
        """Of the epochs: training looks at batches of 7, the measurements of accuracy at images in sequence."""
        seen: list[list[int]] = []

        def fetch(index: torch.Tensor) -> list[torch.Tensor]:
            seen.append(index.tolist())
            return [images[index]]

        settings = TrainSettings(epochs=2, batch_size=7, seed=seed, max_accuracy_drop=1.0)
        fine_tune(convert(copy.deepcopy(network), MopedSettings()).module, fetch, labels, settings)
        batches = [batch for batch in seen if batch != sorted(batch)]
        per_epoch = -(-IMAGES // 7)
        assert len(batches) == 2 * per_epoch
        epochs = batches[:per_epoch], batches[per_epoch:]
        return [[image for batch in epoch for image in batch] for epoch in epochs]

    one, other = orders(1), orders(2)
    for order in (*one, *other):
        assert sorted(order) == list(range(IMAGES))
    assert one == orders(1)
    assert len({tuple(order) for order in (*one, *other)}) == 4


def test_a_run_resumed_after_the_stop_stops_again(problem) -> None:
    network, images, labels = problem
    settings = TrainSettings(epochs=50, learning_rate=1.0, rho_learning_rate=1.0)
    moped = MopedSettings(delta=3.0, prior_std=30.0)
    with pytest.raises(AccuracyDroppedError) as caught:
        tuned(network, images, labels, settings, moped=moped)
    settings = replace(settings, epochs=caught.value.epoch)  # no later epoch is there to stop it
    module = convert(copy.deepcopy(network), moped).module
    states: list[TrainState | None] = [None]

    def finished(_epoch: Epoch, state: TrainState) -> None:
        states.append(copy.deepcopy(state))

    for _ in range(2):
        with pytest.raises(AccuracyDroppedError) as again:
            fine_tune(module, lambda index: [images[index]], labels, settings, state=states[-1], finished=finished)
        assert (again.value.epoch, again.value.after) == (caught.value.epoch, caught.value.after)
        module = convert(copy.deepcopy(network), moped).module


def test_no_epochs_leave_the_posterior_alone(problem) -> None:
    network, images, labels = problem
    module, epochs = tuned(network, images, labels, TrainSettings(epochs=0))
    assert epochs == []
    assert torch.equal(module[0].weight_mean, network[0].weight)
