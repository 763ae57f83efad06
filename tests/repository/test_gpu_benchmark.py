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
    sizes = {"a.whl": 3 * 2**20 + 1, "b.whl": 5, "empty.whl": 0, "large.whl": 60 * 2**20 + 7}
    for name, size in sizes.items():
        (tmp_path / "wheels" / name).write_bytes(os.urandom(size))
    assert pieces("split", tmp_path / "wheels", tmp_path / "pieces").stdout == "4 pieces\n"
    assert max(path.stat().st_size for path in (tmp_path / "pieces").iterdir()) == 60 * 2**20
    assert pieces("join", tmp_path / "pieces", tmp_path / "there").stdout.split() == sorted(sizes)
    for name in sizes:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "wheels" / name).read_bytes()
    piece = tmp_path / "pieces" / "001.piece"
    piece.write_bytes(piece.read_bytes()[:-1])
    done = pieces("join", tmp_path / "pieces", tmp_path / "there")
    assert (done.returncode, done.stderr) == (1, "error: 001.piece of b.whl is missing or damaged\n")


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
