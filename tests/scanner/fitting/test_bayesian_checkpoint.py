"""Training states on disk: what is saved is what is loaded, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detectors.bayesian.train import Epoch, TrainState
from scanner.base.errors import OutputError, UsageError
from scanner.fitting.bayesian.checkpoint import Checkpoints

STATE = TrainState(
    0.9,
    (Epoch(1, 0.5, 0.25, 0.75), Epoch(2, 0.1 + 0.2, 1 / 3, 0.9)),
    {"weight": torch.arange(3.0)},
    {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    torch.Generator().get_state(),
)


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path / "new" / "folder", "key")
    assert saved.load("posterior") is None
    saved.save("posterior", STATE)
    loaded = Checkpoints(tmp_path / "new" / "folder", "key").load("posterior")
    assert loaded is not None
    assert (loaded.epoch, loaded.accuracy_before, loaded.history) == (2, 0.9, STATE.history)
    assert loaded.optimiser["param_groups"] == STATE.optimiser["param_groups"]
    assert torch.equal(loaded.module["weight"], STATE.module["weight"])
    assert torch.equal(loaded.noise, STATE.noise)


def test_states_of_another_fit_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "key").save("posterior", STATE)
    with pytest.raises(UsageError, match="another model, reference or setting"):
        Checkpoints(tmp_path, "other").load("posterior")
    whole = (tmp_path / "posterior.pt").read_bytes()
    for damaged in (b"", b"PK\x03\x04", whole[: len(whole) // 2]):
        (tmp_path / "posterior.pt").write_bytes(damaged)
        with pytest.raises(UsageError, match="is not a training state"):
            Checkpoints(tmp_path, "key").load("posterior")


def test_a_state_with_a_hole_in_its_history_is_refused(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path, "key")
    for history in (STATE.history[1:], STATE.history[::-1]):
        saved.save("posterior", replace(STATE, history=history))
        with pytest.raises(UsageError, match="is not a training state"):
            saved.load("posterior")


def test_no_pickle_runs(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "canary",))

    torch.save({"key": "key", "epoch": Payload()}, tmp_path / "posterior.pt")
    with pytest.raises(UsageError, match="is not a training state"):
        Checkpoints(tmp_path, "key").load("posterior")
    assert not (tmp_path / "canary").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        Checkpoints(tmp_path / "file" / "folder", "key")
