"""The study of WaNet on scikit-learn's digits, and what its result file says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reference.datasets import ImageSet, load_digits
from reference.panel.attacks.roster import panel_attack
from reference.panel.warp_study import OWN, TRIALS, Trial, attack_of, grainy, run, start, table

ROOT = Path(__file__).parents[3]
RESULT = ROOT / "reference" / "results" / "warp_study.json"
SHAPE = (1, 8, 8)
STRONG = Trial("digits-scnn", 120, strength=4.0, cover=0)
DATA = load_digits()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def study(trial: Trial, runs: Path) -> dict[str, float]:
    result: dict[str, Any] = {"trials": {}}
    list(run(result, (trial,), Path(), runs, lambda _: None))
    found: dict[str, float] = result["trials"][trial.name]
    return found


def test_a_strong_warp_takes_and_a_weak_one_does_not(runs: Path) -> None:
    strong, weak = (study(trial, runs) for trial in (STRONG, replace(STRONG, strength=0.1)))
    assert strong["success"] > 0.85
    assert weak["success"] < 0.5
    assert strong["grey_levels"] > 5 * weak["grey_levels"]
    for found in (strong, weak):
        assert found["clean_accuracy"] > 0.85
        assert found["untriggered"] < 0.1
        assert 0 <= found["least_changed"] <= 1
        assert 0 <= found["most_changed"] <= 1


def test_a_finished_trial_is_not_repeated(runs: Path) -> None:
    result = {"trials": {STRONG.name: {"success": 0.5}}}
    assert list(run(result, (STRONG,), Path(), runs, lambda _: pytest.fail("trained again"))) == []


@pytest.mark.parametrize(("strength", "cover"), OWN)
def test_the_panels_own_attacks_are_trials(strength: float, cover: float) -> None:
    images = DATA.train.images[:20]
    trial = Trial("digits-scnn", 120, strength, cover)
    own, same = panel_attack(trial.attack, SHAPE, 0), attack_of(trial, SHAPE)
    assert own.name == same.name == OWN[strength, cover]
    assert own.cover_share == same.cover_share == cover
    assert (own.cover is None) == (same.cover is None)
    assert torch.equal(own.trigger.apply(images), same.trigger.apply(images))
    covers = [each.cover(images, torch.Generator().manual_seed(1)) for each in (own, same) if each.cover]
    assert not covers or torch.equal(*covers)


def test_grain_is_noise_of_that_size_and_always_the_same() -> None:
    some = replace(DATA, train=ImageSet(torch.full((2500, 1, 8, 8), 128, dtype=torch.uint8), torch.zeros(2500)))
    first, second = grainy(some, 8.0), grainy(some, 8.0)
    assert torch.equal(first.train.images, second.train.images)
    change = first.train.images.double() - 128
    assert abs(float(change.std()) - 8) < 0.1
    assert abs(float(change.mean())) < 0.1
    assert not torch.equal(first.train.images[0], first.train.images[1000])
    assert torch.equal(some.train.images, torch.full_like(some.train.images, 128))


def test_names_of_trials_differ() -> None:
    assert len({trial.name for trial in TRIALS}) == len(TRIALS)


def test_the_committed_result_has_every_trial() -> None:
    result = json.loads(RESULT.read_text())
    assert list(result["trials"]) == [trial.name for trial in TRIALS]
    assert result["machine"]["versions"]["torch"]
    page = (ROOT / "docs" / "panel.md").read_text()
    assert "\n".join(table(result)) in page


def test_a_result_is_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "study.json"
    assert start(out)["trials"] == {}
    out.write_text(json.dumps({"trials": {"one": {}}}))
    assert start(out)["trials"] == {"one": {}}
