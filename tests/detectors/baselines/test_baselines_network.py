"""Peers that change the network: IBD-PSC's larger normalisations, PSBD's dropout."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from detectors.baselines.ibd_psc import amplified, first_depth, parameter_scaling_consistency
from detectors.baselines.psbd import choose_rate, prediction_shift

NORMS = 7


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for number in range(NORMS):
        norm = nn.BatchNorm1d(6)
        nn.init.normal_(norm.weight, 1.0, 0.3)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean, 0.0, 0.3)
        layers += [nn.Linear(8 if number == 0 else 6, 6), norm, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(6, 4)).eval()


IMAGES = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))


def amplified_copy(original: nn.Sequential, last: int) -> nn.Sequential:
    changed = copy.deepcopy(original)
    norms = [layer for layer in changed if isinstance(layer, nn.BatchNorm1d)]
    for norm in norms[len(norms) - last :]:
        norm.weight.data *= 1.5
        norm.bias.data *= 1.5
    return changed


@pytest.mark.parametrize("depth", [1, 3])
def test_ibd_psc_is_the_mean_over_five_amplified_copies(depth: int) -> None:
    """Five of them, with exactly i normalisations each: public code takes one more."""
    model = network()
    with torch.no_grad():
        predicted = model(IMAGES).argmax(1)
        rows = torch.arange(50)
        copies = [amplified_copy(model, last)(IMAGES).softmax(1)[rows, predicted] for last in range(depth, depth + 5)]
    expected = torch.stack(copies).double().mean(0)
    np.testing.assert_allclose(parameter_scaling_consistency(model, IMAGES, depth), expected.numpy(), rtol=1e-5)


def test_ibd_psc_starts_where_clean_images_are_lost() -> None:
    model = network(1)
    with torch.no_grad():
        labels = model(IMAGES).argmax(1)
        errors = [float((amplified_copy(model, i)(IMAGES).argmax(1) != labels).float().mean()) for i in range(1, 8)]
    over = [number for number, error in enumerate(errors, 1) if error > 0.6]
    assert first_depth(model, IMAGES, labels) == min([*over, 3])
    with torch.no_grad():
        wrong = (labels + 1) % 4
    assert first_depth(model, IMAGES, wrong) == 1


def test_amplification_leaves_the_network_to_the_bit_even_after_an_error() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    norms = [layer for layer in model if isinstance(layer, nn.BatchNorm1d)]

    def fail_within() -> None:
        with amplified(norms, 1.1):
            assert not torch.equal(norms[0].weight, before["2.weight"])
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail_within()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_ibd_psc_needs_batch_normalisations() -> None:
    with pytest.raises(ValueError, match="at least 5 batch normalisations"):
        first_depth(nn.Linear(8, 4), IMAGES, torch.zeros(50, dtype=torch.int64))
    with pytest.raises(ValueError, match="8 batch normalisations are needed"):
        parameter_scaling_consistency(network(), IMAGES, 4)


def test_psbd_is_the_loss_of_the_predicted_probability() -> None:
    """By an own layer of dropout in the same place, whose masks are the same draws."""
    model = network()
    place, rate, seed = model[6], 0.4, 9
    scores, shift = prediction_shift(model, [place], IMAGES, rate, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        before = model(IMAGES).double().softmax(1)
        predicted = before.argmax(1)
        hidden = model[:7](IMAGES)
        passes = []
        for _ in range(3):
            kept = torch.rand(hidden.shape, generator=generator) >= rate
            passes.append(model[7:](hidden * kept / (1 - rate)).double().softmax(1))
    rows = torch.arange(50)
    after = torch.stack([one[rows, predicted] for one in passes]).mean(0)
    np.testing.assert_allclose(scores, (after - before[rows, predicted]).numpy(), atol=1e-6)
    assert shift == pytest.approx(float(torch.stack([one.argmax(1) != predicted for one in passes]).double().mean()))
    with torch.no_grad():
        assert torch.equal(model(IMAGES).double().softmax(1), before)  # the hooks are gone


def test_psbd_takes_the_smallest_rate_that_shifts_clean_predictions() -> None:
    model = network(2)
    places = [layer for layer in model if isinstance(layer, nn.ReLU)]
    rate = choose_rate(model, places, IMAGES)
    shifts = {step / 10: prediction_shift(model, places, IMAGES, step / 10)[1] for step in range(1, 10)}
    enough = [step for step, shift in shifts.items() if shift >= 0.8]
    assert rate == (min(enough) if enough else 0.9)
    with pytest.raises(ValueError, match="place"):
        prediction_shift(model, [], IMAGES, 0.5)
