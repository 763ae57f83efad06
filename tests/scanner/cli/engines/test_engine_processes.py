"""Local processes: killed ones are replaced, and the chunks are the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Cli, cli_environment

from scanner.base.errors import LatentscanError
from scanner.cli.engines.process import ProcessWorker
from scanner.cli.engines.schedule import Lost


@pytest.fixture
def job(demo_files: Path, demo_profile: Path, tmp_path: Path, cli: Cli) -> Path:
    """A plan of the demo's inputs in nine chunks."""
    made = cli("plan", demo_files / "inputs", "--profile", demo_profile, "-o", tmp_path / "job", "--chunk-size", "64")
    assert made.returncode == 0, made.stderr
    return tmp_path / "job"


def contents(job: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(job.glob("chunks/*.chunk"))}


def children(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def test_killed_processes_are_replaced(job: Path, cli: Cli) -> None:
    assert cli("scan", "--plan", job).returncode == 0
    expected = contents(job)
    assert len(expected) == 9
    shutil.rmtree(job / "chunks")
    (job / "chunks").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "scanner", "scan", "--plan", job, "--engine", "local", "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        env=cli_environment(),
    )
    killed, seen = 0, -1
    while process.poll() is None:
        done = len(contents(job))
        # One kill for each of the first chunks that appear: of workers that are at another one, or have just begun.
        if done != seen and killed < 3 and (workers := children(process.pid)):
            with suppress(OSError):
                os.kill(workers[0], signal.SIGKILL)
                killed, seen = killed + 1, done
        time.sleep(0.01)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.returncode == 0, said
    assert killed == 3
    assert "chunks: 9 scored, 0 were there" in said
    assert contents(job) == expected


def arguments(job: Path, *more: str) -> list[str]:
    return ["scan", "--plan", str(job), "--chunks", "-", *more]


def test_a_worker_is_asked_chunk_by_chunk(job: Path) -> None:
    worker = ProcessWorker(arguments(job))
    try:
        for number in (3, 8, 3):
            worker.score(number)
        assert list(contents(job)) == ["0000003.chunk", "0000008.chunk"]
        with pytest.raises(Lost, match="there are 9 chunks, numbered from 0"):
            worker.score(9)
    finally:
        worker.close()
    worker = ProcessWorker(arguments(job))
    worker.close()
    with pytest.raises(Lost):
        worker.score(1)


def test_what_no_worker_can_do_is_said(job: Path, tmp_path: Path, cli: Cli) -> None:
    with pytest.raises(LatentscanError, match=r"other\.h5"):
        ProcessWorker(arguments(job, "--profile", str(tmp_path / "other.h5")))
    done = cli("scan", "--plan", job, "--engine", "local", "--profile", tmp_path / "other.h5")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "other.h5" in done.stderr
