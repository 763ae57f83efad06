"""Files that several tests need: a small backdoored model with a reference, inputs and a profile."""

from __future__ import annotations

import os

# Before anything imports PyTorch: the tests' tensors are small, and threads that wait for each other cost more
# than they bring, many times more where other work shares the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# A shell starts what it runs in the background with interrupts ignored, and whoever ignores one hands that on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DEMO_FOLDER = "modelscan-demo"
Cli = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parent.parent


def run_cli(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "scanner", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=240,
        env=cli_environment(**environment),
    )


def cli_environment(**environment: str) -> dict[str, str]:
    """The environment of a process of the command line, without what PyTorch has put into this one's."""
    inherited = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    return {**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}


@pytest.fixture(scope="session")
def cli() -> Cli:
    """The command line as a process; see :func:`run_cli`."""
    return run_cli


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``modelscan demo``: ``vendor/model.pt``, ``ref/``, ``inputs/``, ``truth.csv``, and its results.

    What it printed is beside it, in ``demo.log``.
    """
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tmp").mkdir()
    done = run_cli("demo", cwd=folder, TMPDIR=str(folder / "tmp"))
    assert done.returncode == 0, done.stderr
    assert "AUROC" in done.stderr
    assert list((folder / "tmp").iterdir()) == []
    (folder / "demo.log").write_text(done.stderr)
    return folder / DEMO_FOLDER


@pytest.fixture(scope="session")
def demo_profile(demo_files: Path) -> Path:
    """The profile of the demo's model, as ``modelscan fit`` wrote it."""
    return demo_files / "modelscan.h5"
