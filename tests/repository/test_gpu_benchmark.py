"""The measurement on a GPU runs where there is none, so that it runs on the first machine that has one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pieces(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", ROOT / "benchmarks" / "gpu_pieces.py", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_files_arrive_in_pieces_and_no_damage_goes_unnoticed(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    sizes = {"a.whl": 3 * 2**20 + 1, "b.whl": 5, "empty.whl": 0, "large.whl": 48 * 2**20 + 7}
    for name, size in sizes.items():
        (tmp_path / "wheels" / name).write_bytes(os.urandom(size))
    assert pieces("split", tmp_path / "wheels", tmp_path / "pieces").stdout == "4 pieces\n"
    assert max(path.stat().st_size for path in (tmp_path / "pieces").iterdir()) == 48 * 2**20
    assert pieces("join", tmp_path / "pieces", tmp_path / "there").stdout.split() == sorted(sizes)
    for name in sizes:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "wheels" / name).read_bytes()
    piece = tmp_path / "pieces" / "001.piece"
    piece.write_bytes(piece.read_bytes()[:-1])
    (tmp_path / "pieces" / "003.piece").unlink()
    done = pieces("join", tmp_path / "pieces", tmp_path / "nowhere")
    assert (done.returncode, done.stderr) == (1, "error: missing or damaged: 001.piece, 003.piece\n")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "pieces" / "pieces.json").unlink()
    assert pieces("join", tmp_path / "pieces", tmp_path / "nowhere").returncode == 1


def test_a_machine_without_a_gpu_is_told_so_before_anything_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--small", "--out", tmp_path / "gpu.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --device cuda: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.slow
def test_every_part_of_the_measurement_runs_on_a_processor(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--device", "cpu", "--small", "--out", out]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    found = json.loads(out.read_text())
    assert [name for name, part in found.items() if isinstance(part, dict) and "failed" in part] == []
    assert all(row["made on cpu"]["largest_difference"] == 0 for key, row in found["parity"].items() if " " in key)
    kinds = ("per_second", "bound_per_second", "from_device_memory_per_second")
    assert all(found["scan"][f"plain_inference_{kind}"] > 0 for kind in kinds)
    assert found["draws"]["seconds_per_1000"] > 0
    assert found["training"]["images_per_second"] > 0
