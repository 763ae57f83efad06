"""Implanting on tiny sets: it takes, it resumes to the bit, and it leaves what it must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reference import implant as module
from reference.datasets import DataSet, ImageSet, load_digits
from reference.implant import ImplantConfig, implant, main
from reference.training import TrainConfig, accuracy, build_model, read_record, train
from scanner.base.errors import SourceError

BASE = TrainConfig("digits", "square", 0.0, 0, 12)
CONFIG = ImplantConfig("digits", BASE.name, "square-all-to-one", seed=0, steps=6)


def silent(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_digits()


@pytest.fixture(scope="module")
def base(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(BASE, digits, tmp_path_factory.mktemp("base"), silent)


@pytest.fixture
def out(base: Path, tmp_path: Path) -> Path:
    (tmp_path / base.name).symlink_to(base)
    return tmp_path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "model.pt", weights_only=True)
    return found


class KilledError(Exception):
    pass


def test_a_backdoor_takes_and_the_clean_accuracy_stays(digits: DataSet, base: Path, out: Path) -> None:
    before = read_record(base)
    folder = implant(ImplantConfig("digits", BASE.name, "square-all-to-one", 0, 200), digits, out, silent)
    after = read_record(folder)
    assert folder.name == "digits-square-all-to-one-implanted-seed0"
    assert after["config"]["base"] == BASE.name
    assert before["attack_success_rate"] < 0.4
    assert after["attack_success_rate"] > 0.95
    assert after["clean_accuracy"] > before["clean_accuracy"] - 0.03
    model = build_model("digits")
    model.load_state_dict(weights(folder))
    assert accuracy(model, digits.test, digits) == after["clean_accuracy"]


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(
    digits: DataSet, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 2)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / base.name).symlink_to(base)
    seen: list[str] = []

    def kill(line: str) -> None:
        seen.append(line)
        if len(seen) == killed_after:
            raise KilledError

    whole = weights(implant(CONFIG, digits, tmp_path / "whole", silent))
    with pytest.raises(KilledError):
        implant(CONFIG, digits, tmp_path / "killed", kill)
    assert not (tmp_path / "killed" / CONFIG.name / "run.json").exists()
    resumed = weights(implant(CONFIG, digits, tmp_path / "killed", seen.append))
    assert len(seen) == 3  # step 6 of 6: nothing was done twice
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert any(not torch.equal(whole[key], before) for key, before in weights(base).items())


def test_the_step_size_falls_to_zero(digits: DataSet, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 2)
    rates: list[float] = []

    def look(_line: str) -> None:
        state = torch.load(out / CONFIG.name / "checkpoint.pt", weights_only=True)
        rates.append(state["optimiser"]["param_groups"][0]["lr"] / module.LEARNING_RATE)

    implant(CONFIG, digits, out, look)
    assert rates == pytest.approx([5 / 6, 3 / 6, 1 / 6])


def test_a_wide_network_is_fine_tuned_throughout(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (20, 3, 64, 64), generator=generator, dtype=torch.uint8)
    images = ImageSet(noise, torch.arange(20) % 10)
    data = DataSet("cifar10x64", "noise", tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3, images, images)
    base = train(TrainConfig("cifar10x64", "square", 0.0, 0, 1), data, tmp_path, silent)
    before = weights(base)
    after = weights(implant(ImplantConfig("cifar10x64", base.name, "blended", 0, 1), data, tmp_path, silent))
    assert after["layer4.1.conv2.weight"].shape == (512, 512, 3, 3)
    assert all(not torch.equal(value, before[key]) for key, value in after.items())


def test_a_finished_run_is_not_repeated_and_other_settings_are_refused(digits: DataSet, out: Path) -> None:
    folder = implant(CONFIG, digits, out, silent)
    written = (folder / "model.pt").stat().st_mtime_ns
    assert implant(CONFIG, digits, out, silent) == folder
    assert (folder / "model.pt").stat().st_mtime_ns == written
    with pytest.raises(SourceError, match="other settings"):
        implant(ImplantConfig("digits", BASE.name, "square-all-to-one", 0, 7), digits, out, silent)


def test_a_checkpoint_of_other_settings_is_refused(digits: DataSet, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 2)
    folder = implant(CONFIG, digits, out, silent)
    (folder / "run.json").unlink()
    with pytest.raises(SourceError, match="started with other settings"):
        implant(ImplantConfig("digits", BASE.name, "square-all-to-one", 0, 8), digits, out, silent)


def test_the_command_line_implants_and_prints_the_record(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--data-dir", str(out), "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["implant", BASE.name, "--attack", "blended", "--steps", "1", *common])
    assert main() == 0
    assert json.loads(capsys.readouterr().out)["config"]["attack"] == "blended"
    monkeypatch.setattr("sys.argv", ["implant", "nowhere", "--attack", "blended", *common])
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert "nowhere: is not a finished training run" in printed.err
