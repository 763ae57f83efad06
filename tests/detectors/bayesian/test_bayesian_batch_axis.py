"""Layers without examples on their first axis draw weights whole: their variance is that of direct weight draws."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detectors.bayesian.batch_axis import mark_batch_axes
from detectors.bayesian.layers import FlipoutConv, FlipoutLayer, FlipoutLinear, flipout_layers
from detectors.bayesian.moped import WeightPosterior


def _posterior(*shape: int) -> WeightPosterior:
    mean = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))
    return WeightPosterior(mean, torch.full(shape, 0.3), mean, torch.ones(shape))


class _TokensFirst(nn.Module):
    """As an exported attention block: a layer on ``(tokens, batch, 6)``, one on windows, one on the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = FlipoutLinear(_posterior(6, 6), None)
        self.windows = FlipoutLinear(_posterior(5, 6), None)
        self.head = FlipoutLinear(_posterior(4, 5), None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.tokens(x.transpose(0, 1)).transpose(0, 1)
        windows = self.windows(tokens.reshape(-1, 2, 6))
        return self.head(windows.reshape(len(x), -1, 5).mean(1))


def _fetch(index: torch.Tensor) -> tuple[torch.Tensor]:
    """Tokens ``(B, 8, 6)`` that are alike within an example, where signs per token would lose the most."""
    example = torch.randn(1, 1, 6, generator=torch.Generator().manual_seed(1)).expand(len(index), 8, 6)
    return (example.contiguous(),)


def test_a_layer_keeps_signs_only_where_the_batch_is_on_its_first_axis() -> None:
    module = _TokensFirst()
    mark_batch_axes(module, _fetch)
    assert {name: layer.per_example for name, layer in flipout_layers(module)} == {
        "tokens": False,
        "windows": False,
        "head": True,
    }
    assert all(layer.stochastic for _, layer in flipout_layers(module))
    assert all(not layer._forward_pre_hooks for _, layer in flipout_layers(module))


def _variance(module: nn.Module, draws: int) -> torch.Tensor:
    outputs = torch.stack([module(*_fetch(torch.zeros(2, dtype=torch.long)))[0] for _ in range(draws)])
    return outputs.var(0).mean()


@torch.no_grad()
def test_the_variance_behind_tokens_and_windows_is_that_of_direct_weight_draws() -> None:
    flipout, direct = _TokensFirst(), _TokensFirst()
    for seed, module in enumerate((flipout, direct)):
        generator = torch.Generator().manual_seed(seed)
        for _, layer in flipout_layers(module):
            layer.generator = generator
    for _, layer in flipout_layers(direct):
        layer.per_example = False
    expected = _variance(direct, 8000)
    signs_per_token = _variance(flipout, 8000)
    mark_batch_axes(flipout, _fetch)
    assert _variance(flipout, 8000) / expected == pytest.approx(1, abs=0.1)
    assert signs_per_token / expected < 0.8


@torch.no_grad()
def test_a_layer_without_signs_draws_one_weight_for_the_batch() -> None:
    layer: FlipoutLayer = FlipoutLinear(_posterior(3, 6), None)
    layer.per_example = False
    layer.generator = torch.Generator().manual_seed(5)
    noise = torch.randn(3, 6, generator=torch.Generator().manual_seed(5))
    x = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(layer(x), x @ (layer.weight_mean + layer.weight_std * noise).T)


def test_a_convolution_refuses_inputs_without_a_batch() -> None:
    with pytest.raises(ValueError, match="takes 4 dimensions, got 3"):
        FlipoutConv(_posterior(3, 2, 1, 1), None)(torch.zeros(2, 5, 5))
