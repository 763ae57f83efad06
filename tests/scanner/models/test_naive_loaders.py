"""Payloads that work: each fires in the loader that people use, and not in this tool."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import Cli
from hostile_corpus import Calls, external
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore")


def refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def touch(canary: Path) -> Calls:
    return Calls(os.system, f"touch {canary}")


def a_checkpoint(path: Path, canary: Path) -> None:
    torch.save({"weight": torch.zeros(3), "epoch": touch(canary)}, path)


class Script(nn.Module):
    """Creates a file when it is loaded: TorchScript has no system call, and operators that write."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self.made = path, torch.zeros(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        self.made = torch.from_file(state[0], True, 4)


def a_script(path: Path, canary: Path) -> None:
    torch.jit.save(torch.jit.script(Script(str(canary))), str(path))
    canary.unlink(missing_ok=True)


def an_exported_program(path: Path, canary: Path, member: str = "weight_0") -> None:
    buffer, payload = io.BytesIO(), io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(3, 4), (torch.zeros(1, 3),)), buffer)
    torch.save(touch(canary), payload)
    with zipfile.ZipFile(buffer) as original, zipfile.ZipFile(path, "w") as changed:
        for name in original.namelist():
            data = original.read(name)
            if name.endswith("model_weights_config.json") and member == "weight_0":
                data = data.replace(b'"use_pickle": false', b'"use_pickle": true', 1)
            changed.writestr(name, payload.getvalue() if name.endswith(member) else data)


def an_exported_program_by_its_inputs(path: Path, canary: Path) -> None:
    """Nothing in the configuration asks for a pickle: the restricted loader fails, and the other one is tried."""
    an_exported_program(path, canary, "sample_inputs/model.pt")


@pytest.mark.parametrize(
    ("make", "load", "says"),
    [
        (a_checkpoint, lambda path: torch.load(path, weights_only=False), "which loading would run"),
        (a_script, lambda path: torch.jit.load(str(path)), "TorchScript"),
        (an_exported_program, torch.export.load, "torch.export"),
        (an_exported_program_by_its_inputs, torch.export.load, "torch.export"),
    ],
)
def test_payloads_fire_elsewhere_and_not_here(
    make: Callable[[Path, Path], None], load: Callable[[Path], object], says: str, tmp_path: Path, cli: Cli
) -> None:
    path, canary = tmp_path / "model.pt", tmp_path / "canary"
    make(path, canary)
    assert not canary.exists()
    try:
        load(path)
    except Exception as error:  # after the payload has run, the file need not load
        print(error)
    assert canary.exists(), "the payload does not work, so that the test below shows nothing"
    canary.unlink()
    refused(cli("inspect", "--layers", path), says)
    assert not canary.exists()


def test_a_hard_link_leads_out_of_the_folder_elsewhere_and_not_here(tmp_path: Path, cli: Cli) -> None:
    """The runtime reads the secret as weights; what it computes then depends on it."""
    vendor, secret = tmp_path / "vendor", tmp_path / "secret"
    vendor.mkdir()
    secret.write_bytes(np.full(16 * 3 * 9, 0.5, "<f4").tobytes())
    os.link(secret, vendor / "weights")
    model = vendor / "model.onnx"
    model.write_bytes(external("weights").SerializeToString())

    def naive() -> np.ndarray:
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        return session.run(None, {"image": np.ones((1, 3, 8, 8), np.float32)})[0]

    before = naive()
    with secret.open("r+b") as file:
        file.write(np.full(16 * 3 * 9, -0.7, "<f4").tobytes())
    assert not np.allclose(before, naive()), "the runtime does not read it any more: the test below shows nothing"
    refused(cli("inspect", "--layers", model), "link")
