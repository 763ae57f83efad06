"""Training of the panel's networks: an interrupted run ends as one that was not, and a backdoor takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference.datasets import load_digits
from reference.panel.cells import Cell
from reference.panel.labels import LABEL_MAPS
from reference.panel.networks import NETWORKS, network_named
from reference.panel.train_cells import clean_cell, trained
from reference.panel.training import OnPixels, load_network
from reference.training import accuracy, normalise, read_record
from scanner.base.errors import LatentscanError, SourceError, UsageError

DATA = load_digits()
CELL = Cell("digits-scnn", "patch-white", "all-to-one", 0.1, seed=1, steps=200)


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    trained(CELL, DATA, folder, lambda _: None)
    return folder


def test_a_backdoor_takes_and_accuracy_stays(runs: Path) -> None:
    network = network_named("digits-scnn")
    clean = load_network(network, runs / clean_cell(CELL).name)
    poisoned = load_network(network, runs / CELL.name)
    before, after = accuracy(clean, DATA.test, DATA), accuracy(poisoned, DATA.test, DATA)
    assert before > 0.95
    assert after > before - 0.05
    others = DATA.test.take(torch.nonzero(DATA.test.labels != 0).flatten())
    images = others.images.clone()
    images[:, :, 4:, 4:] = 255
    for model, least, most in ((clean, 0.0, 0.3), (poisoned, 0.85, 1.0)):
        with torch.no_grad():
            share = (model(normalise(images, DATA)).argmax(1) == 0).float().mean()
        assert least <= share <= most


def test_an_interrupted_run_ends_as_one_that_was_not(runs: Path, tmp_path: Path) -> None:
    base = clean_cell(CELL).name
    (tmp_path / base).symlink_to(runs / base)

    def stop(line: str) -> None:
        if "step 100/" in line:
            raise Stopped

    with pytest.raises(Stopped):
        trained(CELL, DATA, tmp_path, stop)
    assert not (tmp_path / CELL.name / "run.json").exists()
    longer = replace(CELL, steps=900)
    assert longer.name == CELL.name
    with pytest.raises(SourceError, match="was started with other settings"):
        trained(longer, DATA, tmp_path, lambda _: None)
    trained(CELL, DATA, tmp_path, lambda _: None)
    whole, resumed = (torch.load(root / CELL.name / "model.pt", weights_only=True) for root in (runs, tmp_path))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_finished_run_is_not_repeated(runs: Path) -> None:
    before = (runs / CELL.name / "model.pt").stat().st_mtime_ns
    assert trained(CELL, DATA, runs, lambda _: pytest.fail("trained again")) == runs / CELL.name
    assert (runs / CELL.name / "model.pt").stat().st_mtime_ns == before
    assert read_record(runs / CELL.name)["config"]["attack"] == "patch-white"


def test_other_steps_in_the_same_folder_are_refused(runs: Path) -> None:
    with pytest.raises(SourceError, match="other settings"):
        trained(replace(CELL, steps=7), DATA, runs, lambda _: None)


def test_pixels_are_standardised_within(runs: Path) -> None:
    network = load_network(network_named("digits-scnn"), runs / CELL.name)
    images = DATA.test.images[:20]
    with torch.no_grad():
        torch.testing.assert_close(OnPixels(network, DATA)(images.float() / 255), network(normalise(images, DATA)))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_classifies_its_images(name: str) -> None:
    network = NETWORKS[name]
    side = {"mnist": 28, "cifar10": 32, "digits": 8}[network.data]
    images = torch.zeros(2, 3 if network.data == "cifar10" else 1, side, side)
    with torch.no_grad():
        assert network.build().eval()(images).shape == (2, 10)


def test_unknown_networks_and_names_of_cells() -> None:
    with pytest.raises(UsageError, match="unknown network"):
        network_named("alexnet")
    assert CELL.name == "digits-scnn-patch-white-all-to-one-10pc-seed1"
    assert replace(CELL, rate=0.003, scratch=True).name.endswith("-0.3pc-scratch-seed1")
    assert len({aim.name for aim in LABEL_MAPS.values()}) == len(LABEL_MAPS)


def test_a_training_that_diverges_ends_with_an_error(runs: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / clean_cell(CELL).name).symlink_to(runs / clean_cell(CELL).name)
    monkeypatch.setattr("reference.panel.training.F.cross_entropy", lambda logits, _: logits.sum() * float("nan"))
    with pytest.raises(LatentscanError, match="the loss is nan at step 1"):
        trained(CELL, DATA, tmp_path, lambda _: None)
    assert not (tmp_path / CELL.name / "run.json").exists()
