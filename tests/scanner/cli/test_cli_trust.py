"""``--trust`` through the command line: refused without it, said aloud with it, and recorded wherever it counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Cli

from scanner.models.architectures.scnn import SCNN
from scanner.profile.reader import read_profile

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_a_trusted_script_is_fitted_scanned_and_recorded(cli: Cli, demo_files: Path, tmp_path: Path) -> None:
    network = SCNN(image_size=8)
    network.load_state_dict(torch.load(demo_files / "vendor" / "model.pt", weights_only=True)["state_dict"])
    shutil.copy(demo_files / "vendor" / "preprocessor_config.json", tmp_path)
    script, profile, report = tmp_path / "model.pt", tmp_path / "p.h5", tmp_path / "r.json"
    torch.jit.save(torch.jit.trace(network.eval(), torch.zeros(2, 1, 8, 8)), str(script))
    fit = ["fit", script, "--clean", demo_files / "ref", "--input-size", "8", "-o", profile]

    refused = cli(*fit)
    assert refused.returncode == 2
    assert "--trust" in refused.stderr
    assert not profile.exists()

    trusted = cli(*fit, "--trust")
    assert trusted.returncode == 0, trusted.stderr
    assert "warning: --trust runs code from this model file" in trusted.stderr.replace("\n", " ")
    model = read_profile(profile).header.model
    assert model.trusted_file
    assert not model.trusted_code
    assert {"limits", "seccomp", "landlock"} <= {layer.name for layer in model.isolation}

    assert cli("scan", demo_files / "inputs", "--profile", profile, "--report", report).returncode == 1
    found = json.loads(report.read_text())
    assert found["model"]["trusted_file"] is True
    assert any("Code from the model file ran" in warning for warning in found["warnings"])
