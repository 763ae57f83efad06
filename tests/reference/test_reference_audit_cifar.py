"""Networks for CIFAR-10: which are measured, how they differ, and how figures come from records."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from detectors.probing.catalogue import library
from detectors.probing.probe import Shape
from detectors.probing.waves import Wave
from reference import audit_networks
from reference.audit_attacks import ATTACKS, CLEAN, drawn_attack
from reference.audit_cifar import BACKDOORED, CLEAN_NETWORKS, networks
from reference.audit_cifar_halves import table as halves_table
from reference.audit_cifar_others import table
from reference.audit_cifar_summary import (
    alarms,
    all_clean,
    by_group,
    compared,
    costs,
    development,
    fails,
    known_clean,
    lines,
    of_the_test,
    statistics,
    usual,
)
from reference.audit_networks import COLOUR, Made, Recipe, panel_data, untrained
from reference.audit_shipped import colour, written
from reference.datasets import CIFAR10_CLASSES, DataSet, ImageSet


def test_parts_share_no_network_and_kinds_take_turns():
    found = list(networks())
    assert len({made.name for _, made in found}) == len(found)
    counts = Counter((part, made.attack) for part, made in found)
    assert {part: counts[part, CLEAN] for part in CLEAN_NETWORKS} == {"null": 60, "test": 30}
    assert all(counts["test", attack] == len(BACKDOORED) for attack in ATTACKS)
    assert [part for part, _ in found[:7]] == ["development"] * 7
    half = Counter((part, made.attack) for part, made in found[7:59])
    assert half["null", CLEAN] in range(28, 33)
    assert all(half["test", attack] >= 1 for attack in ATTACKS)


def test_recipes_for_digits_are_what_they_were_and_colour_has_two_architectures():
    assert not any(Recipe.draw(Made("mnist", CLEAN, seed)).residual for seed in range(20))
    assert Recipe.draw(Made("mnist", CLEAN, 0)) == Recipe(12, True, 0.0, 2, 0.001)
    drawn = [Recipe.draw(Made(COLOUR, CLEAN, seed)) for seed in range(40)]
    assert {one.residual for one in drawn} == {False, True}
    assert all(one.normalised for one in drawn)
    for residual in (False, True):
        model = untrained(replace(drawn[0], residual=residual), 3, 32)
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["mnist", COLOUR])
def test_pictures_of_a_folder_that_come_class_by_class_are_mixed_once(monkeypatch, tmp_path, name):
    labels = torch.arange(10).repeat_interleave(40)
    part = ImageSet(labels[:, None, None, None].expand(-1, 3, 2, 2).to(torch.uint8), labels)
    ordered = DataSet(name, "squares", CIFAR10_CLASSES, (0.5,), (0.3,), part, part)
    monkeypatch.setattr(audit_networks, "load", lambda name, folder: ordered)
    one, again = panel_data(name, tmp_path), panel_data(name, tmp_path)
    assert torch.equal(one.test.labels, again.test.labels)
    assert torch.equal(one.test.images[:, 0, 0, 0].long(), one.test.labels)
    assert len(one.test.labels[-80:].unique()) == (2 if name == "mnist" else 10)


def records() -> list[dict[str, object]]:
    """Sixty clean networks to compare with, 20 others, and 20 with a backdoor, of which a patch moves everything."""
    generator = np.random.default_rng(0)
    kinds = [("development", CLEAN, 2), ("null", CLEAN, 60), ("test", CLEAN, 20)]
    kinds += [("development", "patch-one-class", 1), *(("test", attack, 2) for attack in ATTACKS)]
    found: list[dict[str, object]] = []
    for part, attack, count in kinds:
        for number in range(count):
            values = generator.uniform(0, 0.5, 6).round(4).tolist()
            one_class = attack == "patch-one-class"
            found.append(
                {
                    "part": part,
                    "name": f"cifar10-{attack}-{number}",
                    "attack": attack,
                    "accuracy": 0.65,
                    "attack_success_rate": None if attack == CLEAN else 0.95 if number else 0.5,
                    "seconds": 9.0,
                    "passes": 70_000,
                    "statistics": values if attack == CLEAN or one_class else [0.95, *values[1:]],
                    "look": [119.0, 63.0],
                    "pairs": [[2, 4, 0.97 if one_class else round(float(generator.uniform(0, 0.6)), 4)]],
                    "looks": (10 * np.eye(10, 48)).astype(int).tolist(),
                }
            )
    return found


def test_figures_are_those_of_the_records():
    measured = records()
    clean = known_clean(measured)
    assert clean.shape == (62, 7)
    assert all_clean(measured).shape == (82, 7)
    one_class = next(one for one in measured if one["attack"] == "patch-one-class" and one["part"] == "test")
    found = compared(one_class, clean)
    assert found["strongest pair"].p_value == 1 / 63
    assert found["both"].group == 1
    assert fails(one_class, found["both"])
    rows = list(of_the_test(measured))
    assert len(rows) == len(ATTACKS) + 3
    assert rows[-2].startswith("| all | 10 of 10 (0.69 to 1.00) | 10 | 10 of 10 (0.69 to 1.00) | 10 |")
    assert rows[-1].startswith("| **clean: false alarms** | ")
    assert " of 20 (" in rows[-1]
    assert [row.count(" of ") for row in by_group(measured)] == [3, 3, 3]
    assert len(list(usual(measured))) == 7
    assert development(measured).endswith("with a backdoor in one class 0.97")
    assert " of 20 beside 62; expected 1.0, " in alarms(measured)
    assert costs(measured) == "passes 70,000, seconds 9.0 (medians); classes recognised by their looks: 103 of 103"
    assert len(lines(measured)) == 13 + 3 + 7 + 4


def test_other_networks_are_beside_all_clean_ones():
    measured = records()
    other = {**measured[-1], "part": "other", "name": "vgg-patch", "attack_success_rate": 1.0}
    (row,) = table([other], measured)
    assert row.startswith("| vgg-patch | 0.65 | 1.00 | 0.95 | ")
    assert row.endswith(" | 0.01 | 1 |")


def test_the_strongest_pair_of_each_clean_network_is_written():
    measured = records()
    assert "strongest_pairs" not in colour([one for one in measured if one["part"] != "null"])
    found = json.loads(written({"tables": [colour(measured)]}))["tables"][0]
    clean = statistics([one for one in measured if one["attack"] == CLEAN])
    assert found["strongest_pairs"] == clean[:, -1].tolist()
    assert found["accuracy"] == [0.65, 0.65]
    assert "looks" not in found


def test_of_the_gratings_of_the_test_one_has_a_number_of_periods_that_the_library_has():
    known = {max(one.down, one.right) for one in library(Shape(32, 32, 3)) if isinstance(one, Wave)}
    drawn = (drawn_attack("sinusoid", (3, 32, 32), seed) for seed in BACKDOORED)
    periods = [int(one.trigger.description.split()[2]) for one in drawn if one is not None]
    assert (periods, known) == ([3, 9, 5], {1, 2, 3, 4, 6, 8, 10})


def test_networks_are_counted_by_either_cut_and_by_both():
    before = records()
    again = [one for one in before if one["part"] == "test" and one["attack"] != CLEAN]
    again[1] = {**again[1], "statistics": [0.0] * 6, "pairs": []}
    worked, less = halves_table(again, before)
    assert worked.startswith("| at least 90% | 10 of 10 (0.69 to 1.00) | 9 of 10 (0.55 to 1.00) | 9 of 10 (0.55 to ")
    assert worked.endswith(" | 10/9 |")
    assert less.endswith(" | 10/10 |")
