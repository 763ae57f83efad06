"""Flipout layers against direct weight draws and torch.distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import nn
from torch.distributions import Normal, kl_divergence

from detectors.bayesian.gaussian import inverse_softplus, softplus
from detectors.bayesian.gaussian import kl_divergence as our_kl
from detectors.bayesian.layers import ConvSettings, FlipoutConv, FlipoutLayer, FlipoutLinear, flipout_layers, kl_sum
from detectors.bayesian.moped import MopedSettings, moped

WIDE = MopedSettings(delta=0.5)


def seeded(layer: FlipoutLayer, seed: int = 0) -> FlipoutLayer:
    layer.generator = torch.Generator().manual_seed(seed)
    return layer


@torch.no_grad()
def by_weight_draws(layer: FlipoutLayer, x: torch.Tensor, draws: int) -> torch.Tensor:
    """Outputs ``(draws, N, ...)`` with one directly drawn weight each."""
    generator = torch.Generator().manual_seed(99)
    outputs = []
    for _ in range(draws):
        noise = torch.randn(layer.weight_mean.shape, generator=generator, dtype=layer.weight_mean.dtype)
        outputs.append(layer._apply_weight(x, layer.weight_mean + layer.weight_std * noise, layer.bias))
    return torch.stack(outputs)


@torch.no_grad()
def by_flipout(layer: FlipoutLayer, x: torch.Tensor, draws: int) -> torch.Tensor:
    seeded(layer)
    return torch.stack([layer(x) for _ in range(draws)])


def smooth_maps(count: int = 4, channels: int = 8, size: int = 16) -> torch.Tensor:
    """Smooth positive feature maps, as after an activation."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, channels, 3, 3, generator=generator, dtype=torch.float64) + 0.5
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)


LINEAR = FlipoutLinear(moped(torch.randn(5, 7, dtype=torch.float64), WIDE), torch.randn(5, dtype=torch.float64))


def test_output_variance_of_a_linear_layer_is_that_of_weight_draws() -> None:
    x = torch.randn(3, 7, dtype=torch.float64)
    expected = (x**2) @ (LINEAR.weight_std.detach() ** 2).T  # in closed form
    draws = 20_000
    for outputs in (by_flipout(LINEAR, x, draws), by_weight_draws(LINEAR, x, draws)):
        torch.testing.assert_close(outputs.var(0), expected, rtol=6 * math.sqrt(2 / draws), atol=0)
        torch.testing.assert_close(
            outputs.mean(0), F.linear(x, LINEAR.weight_mean, LINEAR.bias).detach(), rtol=0, atol=0.2
        )


@pytest.mark.parametrize("groups", [1, 2])
def test_variance_after_global_average_pooling_is_that_of_weight_draws(groups: int) -> None:
    """A sign per pixel keeps the variance of each pixel and loses this one, a hundredfold on smooth maps."""
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 6, 3, padding=1, groups=groups, dtype=torch.float64)
    layer = FlipoutConv(moped(conv.weight, WIDE), conv.bias, ConvSettings(padding=1, groups=groups))
    x = smooth_maps()
    flipout = by_flipout(layer, x, 8000).mean((-2, -1)).var(0)
    direct = by_weight_draws(layer, x, 8000).mean((-2, -1)).var(0)
    torch.testing.assert_close(flipout, direct, rtol=0.15, atol=0)

    def per_pixel(value: torch.Tensor) -> torch.Tensor:
        return torch.randint(0, 2, value.shape).to(value.dtype) * 2 - 1

    with torch.no_grad():
        wrong = []
        for _ in range(300):
            perturbation = layer.weight_std * torch.randn_like(layer.weight_std)
            inner = layer._apply_weight(x * per_pixel(x), perturbation, None)
            wrong.append((inner * per_pixel(inner)).mean((-2, -1)))
    assert (torch.stack(wrong).var(0) < direct / 20).all(), "this test would not tell the two apart"


def test_examples_of_a_batch_are_decorrelated() -> None:
    x = torch.randn(1, 7, dtype=torch.float64).expand(2, 7)
    outputs = by_flipout(LINEAR, x, 20_000)
    centred = outputs - outputs.mean(0)
    correlation = (centred[:, 0] * centred[:, 1]).mean(0) / outputs.var(0).mean(0)
    assert correlation.abs().max() < 0.05
    direct = by_weight_draws(LINEAR, x, 100)
    torch.testing.assert_close(direct[:, 0], direct[:, 1])


def linear() -> tuple[FlipoutLayer, torch.Tensor]:
    layer = FlipoutLinear(moped(torch.randn(4, 6, dtype=torch.float64), WIDE), None)
    return layer, torch.randn(32, 6, dtype=torch.float64)


def convolution() -> tuple[FlipoutLayer, torch.Tensor]:
    weight = torch.randn(4, 2, 3, 3, dtype=torch.float64) / 4
    layer = FlipoutConv(moped(weight, WIDE), None, ConvSettings(padding=1, padding_mode="reflect"))
    return layer, torch.randn(32, 2, 4, 4, dtype=torch.float64)


@pytest.mark.parametrize("build", [linear, convolution])
def test_gradients_are_unbiased_and_vary_less_than_with_one_weight_draw_a_batch(
    build: Callable[[], tuple[FlipoutLayer, torch.Tensor]],
) -> None:
    torch.manual_seed(0)
    layer, x = build()
    target = torch.randint(0, 4, (32,))

    def gradients(flipout: bool, draws: int) -> torch.Tensor:
        seeded(layer, 3)
        generator = torch.Generator().manual_seed(4)
        out = []
        for _ in range(draws):
            layer.zero_grad()
            if flipout:
                output = layer(x)
            else:
                noise = torch.randn(layer.weight_mean.shape, generator=generator, dtype=torch.float64)
                output = layer._apply_weight(x, layer.weight_mean + layer.weight_std * noise, None)
            F.cross_entropy(output.flatten(2).mean(2) if output.ndim > 2 else output, target).backward()
            out.append(torch.cat([layer.weight_mean.grad.flatten(), layer.weight_rho.grad.flatten()]))
        return torch.stack(out)

    draws = 3000
    flipout, direct = gradients(True, draws), gradients(False, draws)
    error = (flipout.var(0) / draws + direct.var(0) / draws).sqrt()
    assert ((flipout.mean(0) - direct.mean(0)).abs() < 5 * error).all()
    assert flipout.var(0).sum() < 0.5 * direct.var(0).sum()


SHAPES = [
    (nn.Conv1d, {"stride": 2, "padding": 1}, (9,)),
    (nn.Conv2d, {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}, (9, 8)),
    (nn.Conv2d, {"padding": 1, "padding_mode": "reflect"}, (6, 7)),
    (nn.Conv2d, {"padding": 1, "padding_mode": "replicate", "bias": False}, (6, 7)),
    (nn.Conv2d, {"padding": (2, 1), "padding_mode": "circular", "groups": 2}, (6, 7)),
    (nn.Conv2d, {"padding": "same", "dilation": (1, 2)}, (6, 7)),
    (nn.Conv2d, {"padding": "valid", "groups": 4}, (6, 7)),
    (nn.Conv3d, {"stride": 2, "padding": 1, "groups": 2}, (5, 6, 7)),
]


@pytest.mark.parametrize(("kind", "arguments", "size"), SHAPES)
def test_mean_weights_give_the_deterministic_layer(kind: type, arguments: dict, size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv = kind(4, 8, 3, **arguments)
    posterior = moped(conv.weight, MopedSettings())
    given = {key: value for key, value in arguments.items() if key != "bias"}
    layer = FlipoutConv(posterior, conv.bias, ConvSettings(**given))
    x = torch.randn(2, 4, *size)
    layer.stochastic = False
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-6, atol=1e-6)
    layer.stochastic = True
    assert seeded(layer)(x).shape == conv(x).shape
    assert (seeded(layer)(x) - conv(x)).abs().max() > 1e-4


@pytest.mark.parametrize(("kind", "arguments", "size"), SHAPES)
def test_perturbations_take_the_same_way_as_the_weights(
    kind: type, arguments: dict, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without signs, a Flipout pass is a pass with perturbed weights: stride, padding, dilation and groups alike."""
    monkeypatch.setattr(FlipoutLayer, "_signs", lambda _self, _like: torch.ones(()))
    torch.manual_seed(0)
    conv = kind(4, 8, 3, dtype=torch.float64, **arguments)
    given = {key: value for key, value in arguments.items() if key != "bias"}
    layer = seeded(FlipoutConv(moped(conv.weight, WIDE), conv.bias, ConvSettings(**given)), 5)
    noise = torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    with torch.no_grad():
        found = layer(x)
        conv.weight += layer.weight_std * noise
        torch.testing.assert_close(found, conv(x))


def test_tokens_share_the_signs_of_their_example() -> None:
    x = torch.randn(1, 1, 7, dtype=torch.float64).expand(2, 5, 7)
    outputs = seeded(LINEAR)(x)
    torch.testing.assert_close(outputs, outputs[:, :1].expand(2, 5, 5))
    assert (outputs[0] - outputs[1]).abs().min() > 0


def test_a_generator_makes_passes_repeatable_and_leaves_the_global_one_alone() -> None:
    x = torch.randn(3, 7, dtype=torch.float64)
    before = torch.get_rng_state()
    first, second = seeded(LINEAR, 5)(x), LINEAR(x)
    assert torch.equal(seeded(LINEAR, 5)(x), first)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@given(st.floats(-3, 3), st.floats(1e-6, 5), st.floats(-3, 3), st.floats(1e-6, 5), st.integers(1, 5))
def test_kl_is_that_of_torch_distributions(mean: float, std: float, m: float, s: float, count: int) -> None:
    tensors = [torch.full((count,), value, dtype=torch.float64) for value in (mean, std, m, s)]
    expected = kl_divergence(Normal(*tensors[:2]), Normal(*tensors[2:])).sum()
    torch.testing.assert_close(our_kl(*tensors), expected, rtol=1e-9, atol=1e-12)
    assert our_kl(*tensors) >= -1e-12


def test_kl_of_a_network_is_a_sum_over_weights_and_counts_a_shared_layer_once() -> None:
    network = nn.Sequential(LINEAR, nn.ReLU(), LINEAR)
    LINEAR.weight_mean.data += 0.1
    q = Normal(LINEAR.weight_mean, LINEAR.weight_std)
    expected = kl_divergence(q, Normal(LINEAR.prior_mean, LINEAR.prior_std)).sum()
    torch.testing.assert_close(kl_sum(network), expected)
    LINEAR.weight_mean.data -= 0.1
    assert [name for name, _ in flipout_layers(network)] == ["0"]
    assert kl_sum(nn.ReLU()) == 0


@settings(max_examples=50)
@given(st.floats(1e-8, 100.0))
def test_softplus_and_its_inverse(std: float) -> None:
    value = torch.tensor(std, dtype=torch.float64)
    torch.testing.assert_close(softplus(inverse_softplus(value)), value, rtol=1e-9, atol=0)


def test_moped_widths_follow_the_weights_and_never_vanish() -> None:
    weight = torch.tensor([[0.0, 1.0, -2.0]])
    posterior = moped(weight, MopedSettings(delta=0.1, floor=1e-3, prior_std=0.5))
    spread = weight.std(correction=0)
    torch.testing.assert_close(posterior.std, torch.tensor([[1e-3 * spread, 0.1, 0.2]]))
    torch.testing.assert_close(posterior.prior_std, torch.full((1, 3), 0.5))
    assert torch.equal(moped(torch.zeros(2, 2), MopedSettings()).std, torch.full((2, 2), 1e-8))
    layer = FlipoutLinear(moped(torch.zeros(2, 2), MopedSettings()), None)
    assert torch.isfinite(layer.kl())


def test_the_prior_is_stored_and_does_not_follow_the_posterior() -> None:
    weight = nn.Parameter(torch.randn(3, 3))
    layer = FlipoutLinear(moped(weight, MopedSettings()), None)
    original = weight.detach().clone()
    with torch.no_grad():
        layer.weight_mean += 1
        weight += 2
    assert torch.equal(layer.prior_mean, original)
    other = FlipoutLinear(moped(torch.zeros(3, 3), MopedSettings()), None)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.prior_mean, original)
    torch.testing.assert_close(other.kl(), layer.kl())


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        MopedSettings(delta=0)
    with pytest.raises(ValueError, match="dimensions"):
        FlipoutConv(moped(torch.ones(2, 2), MopedSettings()), None)
    with pytest.raises(ValueError, match="stride"):
        FlipoutConv(moped(torch.ones(2, 2, 3), MopedSettings()), None, ConvSettings(stride=2, padding="same"))
