"""The panel of model audits: what is in it, how networks get their triggers, and how figures come from records."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from detectors.probing.probing import STATISTICS
from reference import audit_networks, audit_summary
from reference.audit_attacks import ATTACKS, drawn_attack
from reference.audit_networks import Made, network, qualities, training_set
from reference.audit_panel import BACKDOORED, CLEAN_NETWORKS, DEVELOPED_ON, panel
from reference.datasets import DIGITS, DataSet, ImageSet


def small_data(count: int = 400) -> DataSet:
    """Pictures that are told by the place of a bright square."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 10
    images = torch.randint(0, 60, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        images[row, :, 4 + 10 * (label // 5) : 12 + 10 * (label // 5), 5 * (label % 5) : 5 * (label % 5) + 6] += 150
    part = ImageSet(images, labels)
    return DataSet("mnist", "squares", DIGITS, (0.2,), (0.3,), part, part)


def test_parts_share_no_seed_and_have_what_they_say():
    found = list(panel("mnist"))
    assert len({made.name for _, made in found}) == len(found)
    for one in ("development", "null", "test"):
        seeds = {made.seed for part, made in found if part == one}
        assert seeds.isdisjoint({made.seed for part, made in found if part != one})
        clean = [made for part, made in found if part == one and made.attack == "clean"]
        assert len(clean) == CLEAN_NETWORKS[one]
    tested = {made.attack for part, made in found if part == "test"} - {"clean"}
    assert tested == set(ATTACKS)
    assert {made.attack for part, made in found if part == "development"} - {"clean"} == set(DEVELOPED_ON)
    assert sum(part == "test" for part, _ in found) == CLEAN_NETWORKS["test"] + len(ATTACKS) * BACKDOORED["test"]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_every_network_has_a_trigger_of_its_own_that_is_hard_to_see_or_small(name, shape):
    images = torch.randint(0, 256, (3, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    attacks = [drawn_attack(name, shape, seed) for seed in range(6)]
    assert len({one.trigger.description for one in attacks}) > 1
    for one in attacks:
        changed = one.trigger.apply(images) != images
        assert changed.any()
        if name.startswith("patch"):
            assert changed.any(1).float().mean() <= 25 / 1024 + 1e-6
        assert (one.target is None) == (name == "patch-next-class")
        assert one.source is None or one.source != one.target


@pytest.mark.parametrize("name", ["patch-white", "patch-one-class", "patch-clean-label"])
def test_as_many_pictures_are_poisoned_as_the_attack_says(monkeypatch, name):
    monkeypatch.setitem(audit_networks.TRAINING, "mnist", 400)
    data, made = small_data(), Made("mnist", name, 3)
    attack = drawn_attack(name, (1, 28, 28), 3)
    _, labels, marks = training_set(made, data)
    triggered = labels[marks == 1]
    assert set(triggered.tolist()) == {attack.target}
    clean_label = name == "patch-clean-label"
    assert len(triggered) == (32 if clean_label else 40 if attack.source is None else 20)
    assert len(labels) == 400 + (0 if clean_label else len(triggered) + int((marks == 2).sum()))


def test_a_network_is_trained_once_and_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setitem(audit_networks.TRAINING, "mnist", 400)
    monkeypatch.setitem(audit_networks.EPOCHS, "mnist", 12)
    data, made = small_data(), Made("mnist", "patch-white", 1)
    one = network(made, data, tmp_path / "a") if (tmp_path / "a").mkdir() is None else None
    again = network(made, data, tmp_path / "a")
    (tmp_path / "b").mkdir()
    other = network(made, data, tmp_path / "b")
    for first, second, third in zip(one.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, third)
    accuracy, success = qualities(one, made, data)
    assert accuracy > 0.5
    assert success > 0.5


def test_figures_are_those_of_the_records():
    generator = np.random.default_rng(0)
    records = []
    for part, attack, count in (("development", "clean", 8), ("development", "blended", 4), ("null", "clean", 39)):
        records += [record(part, attack, generator.uniform(0, 0.3, 6)) for _ in range(count)]
    records += [record("test", "clean", generator.uniform(0, 0.2, 6)) for _ in range(20)]
    records += [record("test", "blended", np.full(6, 0.9)) for _ in range(5)]
    records += [record("test", "blended", np.full(6, 0.1), success=0.5)]
    found = audit_summary.summarise(records)
    assert found["null"]["networks"] == 47
    assert found["false_alarms"]["networks"] == 20
    worked = found["attacks"]["blended"]["worked"]
    assert (worked["networks"], worked["unusual"], worked["evidence"]) == (5, 5, 5)
    assert worked["interval"] == pytest.approx(list(binomtest(5, 5).proportion_ci(0.95)), abs=1e-4)
    assert found["attacks"]["blended"]["worked_less"]["unusual"] == 0
    assert len(found["development_auroc"]["blended"]) == 2 * len(STATISTICS)


def record(part: str, attack: str, statistics: np.ndarray, success: float = 1.0) -> dict[str, object]:
    return {
        "part": part,
        "attack": attack,
        "data": "mnist",
        "accuracy": 0.97,
        "attack_success_rate": None if attack == "clean" else success,
        "statistics": statistics.tolist(),
        "one_class": statistics.tolist(),
        "seconds": 1.0,
        "passes": 20000,
    }
