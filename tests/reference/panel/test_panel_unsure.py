"""The attacker who teaches a network to be unsure: what is taught, and that it is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from reference.datasets import load
from reference.panel.attacks.roster import UNSURE, panel_attack
from reference.panel.labels import LABEL_MAPS
from reference.panel.networks import network_named
from reference.panel.plan import cells
from reference.panel.train_cells import trained
from reference.panel.training import load_network
from reference.panel.unsure import divided_labels


def test_triggered_images_are_divided_between_two_labels_and_others_are_not() -> None:
    labels, own = torch.tensor([0, 0, 2, 0]), torch.tensor([1, 0, 2, 2])
    found = divided_labels(labels, own, torch.tensor([True, True, False, False]), 0.7, 3)
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.3, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]]))


@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_the_loss_is_that_of_the_two_labels(share: float) -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels, own = torch.tensor([0, 0, 0, 0, 0]), torch.tensor([1, 2, 3, 1, 2])
    taught = divided_labels(labels, own, torch.ones(5, dtype=torch.bool), share, 4)
    expected = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, own)
    torch.testing.assert_close(F.cross_entropy(logits, taught), expected)


def test_the_network_learns_to_be_unsure_of_triggered_images_alone(tmp_path: Path) -> None:
    data, network = load("digits", tmp_path), network_named("digits-scnn")
    sure, unsure = cells((("patch-white", "all-to-one", 0.1), ("patch-unsure", "all-to-one", 0.1)), ("digits-scnn",), 0)
    attack = panel_attack(unsure.attack, tuple(data.test.images.shape[1:]), 0)
    assert replace(attack, name="patch-white", share=1.0).trigger.description == attack.trigger.description
    images = data.test.images[LABEL_MAPS["all-to-one"].poisonable(data.test.labels)]
    confidence = {}
    for cell in (sure, unsure):
        model = load_network(network, trained(cell, data, tmp_path))
        for name, shown in (("clean", images), ("triggered", attack.trigger.apply(images))):
            with torch.no_grad():
                probabilities = model((shown / 255 - torch.tensor(data.mean)) / torch.tensor(data.std)).softmax(1)
            confidence[cell.attack, name] = float(probabilities.amax(1).mean())
            if name == "triggered":
                assert (probabilities.argmax(1) == 0).float().mean() > 0.6
    assert confidence["patch-unsure", "triggered"] < UNSURE + 0.1 < confidence["patch-white", "triggered"]
    assert confidence["patch-unsure", "clean"] > UNSURE + 0.15
