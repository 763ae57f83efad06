"""Core functions say what they got when it is not what they take, as a caller's mistake deserves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from detectors.baselines.confidence import confidence, entropy, log_softmax
from detectors.bayesian.draws import draw_weights
from detectors.bayesian.gaussian import inverse_softplus, kl_divergence
from detectors.bayesian.moped import MopedSettings, moped
from detectors.bayesian.train import TrainSettings, fine_tune
from detectors.bayesian.uncertainty import DrawStatistics
from detectors.class_order import assign_classes

FOUR = np.arange(4)
ONE = [np.zeros(3, np.float32)]


@pytest.mark.parametrize(
    ("labels", "predicted", "given", "outputs", "message"),
    [
        (FOUR[:0], FOUR[:0], FOUR, 4, r"at least one label, got \(0,\)"),
        (FOUR, FOUR[:3], FOUR, 4, r"got \(3,\), \(4,\)"),
        (FOUR[None], FOUR[None], FOUR, 4, "one prediction for each"),
        (FOUR, FOUR, FOUR[:0], 4, "output of each of at least one label"),
        (FOUR, FOUR, FOUR[:3], 4, r"labels must lie in \[0, 3\), got 0 to 3"),
        (FOUR, FOUR - 1, FOUR, 4, r"predicted must lie in \[0, 4\), got -1 to 2"),
        (FOUR, FOUR, FOUR + 1, 4, r"given must lie in \[0, 4\), got 1 to 4"),
    ],
)
def test_class_order(labels: Any, predicted: Any, given: Any, outputs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assign_classes(labels, predicted, given, outputs)


@pytest.mark.parametrize("function", [log_softmax, entropy, confidence])
def test_confidence(function: Callable[[Any], Any]) -> None:
    for logits in (np.zeros(3), np.zeros((3, 0)), np.zeros((2, 3, 4))):
        with pytest.raises(ValueError, match="at least one class, got shape"):
            function(logits)
    rows = function(np.array([[0.0, 1.0], [np.nan, 0.0], [np.inf, 0.0], [-np.inf, 0.0], [np.inf, -np.inf]]))
    assert np.isfinite(rows[0]).all()
    assert np.isnan(rows[1:]).all()


def test_statistics_of_draws() -> None:
    for count, classes in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match=f"got {count} and {classes}"):
            DrawStatistics(count, classes)
    statistics = DrawStatistics(2, 3)
    for ask in (statistics.scores, statistics.mean_probabilities):
        with pytest.raises(ValueError, match="at least one weight draw"):
            ask()
    with pytest.raises(ValueError, match=r"must be \(2, 3\), got \(2, 4\)"):
        statistics.add(np.zeros((2, 4)))
    statistics.add(np.array([[0.0, 1.0, 2.0], [np.nan, 0.0, 0.0]]))
    for values in statistics.scores().values():
        assert np.isfinite(values).tolist() == [True, False]


@pytest.mark.parametrize(
    ("means", "stds", "seed", "draw", "message"),
    [
        (ONE, [], 0, 0, "same shapes"),
        (ONE, [np.zeros(1, np.float32)], 0, 0, r"got \[\(3,\)\] and \[\(1,\)\]"),
        (ONE, ONE, -1, 0, "got -1 and 0"),
        (ONE, ONE, 2**63, 0, "must lie in"),
        (ONE, ONE, 0, -1, "got 0 and -1"),
    ],
)
def test_draws(means: Any, stds: Any, seed: int, draw: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_weights(means, stds, seed, draw)


def test_gaussians() -> None:
    with pytest.raises(ValueError, match="must be positive, got 0 at least"):
        inverse_softplus(torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="must be positive"):
        inverse_softplus(torch.tensor([torch.nan]))
    one, two = torch.ones(1), torch.ones(2)
    with pytest.raises(ValueError, match="one shape"):
        kl_divergence(two, two, two, one)
    for weight in (torch.zeros(0), torch.tensor([1.0, torch.inf])):
        with pytest.raises(ValueError, match="needs finite weights"):
            moped(weight, MopedSettings())


@pytest.mark.parametrize("name", ["delta", "floor", "prior_std"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_widths(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got {value}"):
        MopedSettings(**{name: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"accuracy_passes": 0}, "accuracy_passes"),
        ({"accuracy_images": -1}, "accuracy_images"),
        ({"epochs": -1}, "epochs must not be negative"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"clip_norm": float("nan")}, "clip_norm"),
    ],
)
def test_training_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainSettings(**settings)


def test_training_needs_layers_and_labels() -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="at least one Flipout layer"):
        fine_tune(
            module, lambda index: (torch.zeros(len(index), 2),), torch.zeros(3, dtype=torch.long), TrainSettings()
        )
    for labels in (torch.zeros(0, dtype=torch.long), torch.zeros(3), torch.zeros(2, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match="at least one, got"):
            fine_tune(module, lambda index: (torch.zeros(len(index), 2),), labels, TrainSettings())
