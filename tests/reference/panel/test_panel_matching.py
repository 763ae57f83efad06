"""The loss of an attacker who matches features: its definition, and that it does what it is for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reference.panel.matching import FeatureMatch, moment_distance, pooled


def test_pooling_is_the_mean_and_the_maximum() -> None:
    maps = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    flat = maps.reshape(3, 4, 30)
    expected = torch.cat([flat.mean(-1), flat.max(-1).values], 1)
    torch.testing.assert_close(pooled(maps), expected)
    torch.testing.assert_close(pooled(flat.transpose(1, 2)), expected)
    assert pooled(maps[:, :, 0, 0]) is not None


def test_equal_moments_have_no_distance() -> None:
    clean = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    assert moment_distance(clean.flip(0), clean) == 0
    moved = moment_distance(clean + 3, clean)
    deviations = torch.tensor([2**0.5, 8**0.5])
    expected = (3 / (deviations + deviations.mean())) ** 2
    assert float(moved) == pytest.approx(float(expected.mean()), rel=1e-3)


def test_channels_that_do_not_vary_have_a_gradient() -> None:
    triggered = torch.zeros(4, 3, requires_grad=True)
    moment_distance(triggered, torch.zeros(5, 3)).backward()
    assert triggered.grad is not None
    assert torch.isfinite(triggered.grad).all()


def test_triggered_images_are_compared_with_clean_ones_of_their_label() -> None:
    place = nn.Identity()
    match = FeatureMatch([place])
    features = torch.tensor([[0.0], [1.0], [0.0], [1.0], [50.0], [60.0], [70.0]])
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    triggered = torch.tensor([True, True, False, False, False, False, True])
    with match.watching():
        place(features)
    assert match.loss(labels, triggered) == 0  # class 1 has one triggered image, which says nothing
    other = torch.tensor([True, True, False, False, False, True, True])
    with match.watching():
        place(torch.cat([features, features[4:5] + 1]))
    more = torch.cat([other, torch.tensor([False])])
    assert match.loss(torch.cat([labels, labels[-1:]]), more) > 1


def test_the_loss_moves_triggered_features() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 6)
    inputs = torch.randn(80, 4)
    triggered = torch.arange(80) < 40
    inputs[triggered, 0] += 5
    labels = torch.zeros(80, dtype=torch.int64)
    match = FeatureMatch([layer])
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        with match.watching():
            layer(inputs)
        loss = match.loss(labels, triggered)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    layer(inputs)
    assert len(match._seen) == 1  # nothing is kept outside
