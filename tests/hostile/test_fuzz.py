"""A bounded run of every fuzz target, from seeds that the corpus of hostile files gives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_corpus import corpus

ROOT = Path(__file__).parents[2]
TARGETS = re.findall(r"^def fuzz_(\w+)", (ROOT / "tests" / "fuzz_targets.py").read_text(), re.MULTILINE)
SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))  # for each target
# The cases whose files are seeds of a target.
SEEDS = {
    "identify": ("checkpoint-", "zip-", "safetensors-", "pickle-", "file-"),
    "pickles": ("pickle-",),
    "onnx": ("onnx-",),
    "csv": ("manifest-",),
    "jsonl": ("manifest-json",),
    "npy": ("array-",),
    "npz": ("array-zip", "array-objects"),
    "image": ("image-",),
    "profile": ("profile-",),
}
_LARGEST_SEED = 20_000


def seeds(target: str, folder: Path, good: Path) -> None:
    for case in corpus():
        if not case.name.startswith(SEEDS.get(target, ("-",))) or case.name.endswith(("fifo", "sparse")):
            continue
        place = folder / "cases" / case.name
        place.mkdir(parents=True)
        case.make(place, place / "canary", good)
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= _LARGEST_SEED:
                (folder / "seeds" / f"{case.name}-{path.name[:20]}".replace("/", "_")).write_bytes(path.read_bytes())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_own_errors(target: str, tmp_path: Path, demo_profile: Path) -> None:
    pytest.importorskip("atheris", reason="the extra 'fuzz' is not installed")
    (tmp_path / "seeds").mkdir()
    (tmp_path / "good.h5").write_bytes(demo_profile.read_bytes())
    seeds(target, tmp_path, tmp_path)
    command = [sys.executable, str(ROOT / "tests" / "fuzz_targets.py"), target, f"-max_total_time={SECONDS}"]
    command += ["-rss_limit_mb=4096", "-timeout=60", "-max_len=20000", "-close_fd_mask=1", str(tmp_path / "seeds")]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 300,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    runs = re.search(r"^Done (\d+) runs|stat::number_of_executed_units:\s*(\d+)", done.stderr, re.MULTILINE)
    assert runs is not None, done.stderr[-2000:]
    print(f"{target}: {runs[1] or runs[2]} runs")
