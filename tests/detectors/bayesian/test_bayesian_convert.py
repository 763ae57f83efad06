"""Conversion of networks: what is replaced, what stays, and that the means compute the same."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations

from detectors.bayesian.convert import convert
from detectors.bayesian.layers import FlipoutConv, FlipoutLinear, flipout_layers
from detectors.bayesian.moped import MopedSettings
from scanner.models.architectures.resnet20 import ResNet20

SETTINGS = MopedSettings()


def means_only(module: nn.Module) -> nn.Module:
    for _, layer in flipout_layers(module):
        layer.stochastic = False
    return module


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_means_of_a_converted_network_compute_what_it_did(name: str) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)
        made = convert(network, SETTINGS)
        torch.testing.assert_close(means_only(made.module)(x), expected, rtol=1e-4, atol=1e-5)
    assert made.module is network
    assert len(made.converted) == sum(1 for _ in flipout_layers(network)) > 20
    assert not any(type(part) in (nn.Conv2d, nn.Linear) for part in network.modules())


def test_batch_norm_is_reported_and_stays() -> None:
    made = convert(ResNet20(), SETTINGS)
    assert len(made.converted) == 20
    assert {item.reason for item in made.left} == {"BatchNorm2d has no Flipout form"}
    assert len(made.left) == 19


def test_a_root_that_is_a_layer_is_converted() -> None:
    layer = nn.Linear(3, 2)
    made = convert(layer, SETTINGS)
    assert isinstance(made.module, FlipoutLinear)
    assert made.converted == ("",)
    x = torch.randn(4, 3)
    torch.testing.assert_close(means_only(made.module)(x), layer(x))


def test_shared_modules_stay_shared_and_shared_weights_stay_deterministic() -> None:
    shared, first, tied = nn.Conv2d(4, 4, 3), nn.Linear(4, 4), nn.Linear(4, 4)
    tied.weight = first.weight
    network = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared), "c": first, "d": tied})
    made = convert(network, SETTINGS)
    assert network["a"] is network["b"][0]
    assert isinstance(network["a"], FlipoutConv)
    assert made.converted == ("a",)
    assert {item.name: item.reason for item in made.left} == {
        "c": "its weight is shared with another layer",
        "d": "its weight is shared with another layer",
    }
    assert network["c"].weight is network["d"].weight


def test_a_layer_with_two_names_in_one_parent_stays_one_layer() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = self.b = nn.Linear(4, 4)

    twice, shared = Twice(), nn.Linear(4, 4)
    assert convert(twice, SETTINGS).converted == ("a",)
    assert twice.a is twice.b
    assert isinstance(twice.b, FlipoutLinear)
    network = nn.Sequential(shared, nn.ReLU(), shared)
    assert convert(network, SETTINGS).converted == ("0",)
    assert network[0] is network[2]
    assert isinstance(network[2], FlipoutLinear)


@pytest.mark.parametrize("attention", ["ShiftedWindowAttention", "ShiftedWindowAttentionV2"])
def test_attention_that_reads_the_weights_of_its_layers_is_left_whole(attention: str) -> None:
    kind = getattr(torchvision.models.swin_transformer, attention)
    network = nn.Sequential(nn.Linear(8, 8), kind(8, [2, 2], [1, 1], 2)).eval()
    x = torch.randn(2, 4, 4, 8)
    with torch.no_grad():
        expected = network(x)
        made = convert(network, SETTINGS)
        torch.testing.assert_close(means_only(network)(x), expected)
    assert made.converted == ("0",)
    assert [(item.name, attention in item.reason) for item in made.left] == [("1", True)]


def test_attention_is_left_whole_and_still_runs() -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    network = nn.Sequential(nn.Linear(4, 8), encoder, nn.MultiheadAttention(8, 2), nn.Embedding(3, 8)).eval()
    made = convert(network, SETTINGS)
    assert made.converted == ("0",)
    reasons = {item.name: item.reason for item in made.left}
    assert set(reasons) == {"1", "2", "3"}
    assert "past their forward" in reasons["1"]
    assert encoder(torch.randn(2, 5, 8)).shape == (2, 5, 8)


def test_parametrised_hooked_and_subclassed_layers_are_left() -> None:
    class Special(nn.Linear):
        pass

    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda *_: None)
    network = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)), Special(2, 2), hooked, nn.Linear(2, 2))
    made = convert(network, SETTINGS)
    assert made.converted == ("3",)
    assert {item.name for item in made.left} >= {"0", "1", "2"}


def test_layers_can_be_chosen() -> None:
    made = convert(ResNet20(), SETTINGS, wanted=lambda name: name.startswith("layer3"))
    assert set(made.converted) == {f"layer3.{block}.conv{conv}" for block in (0, 1, 2) for conv in (1, 2)}
    assert "not chosen" in {item.reason for item in made.left}


def test_float64_and_training_mode_are_kept() -> None:
    network = nn.Sequential(nn.Linear(2, 2)).double().eval()
    module = convert(network, SETTINGS).module
    assert module[0].weight_mean.dtype == torch.float64
    assert not module[0].training
