"""The examples for clusters, executed: each does all chunks of a plan, and they are the same bytes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from conftest import cli_environment

import latentscan
from latentscan import ScanOptions

ROOT = Path(__file__).parents[2]
INTEGRATIONS = ROOT / "integrations"


@pytest.fixture(scope="module")
def reference(demo_files: Path, demo_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan that is done, in five chunks."""
    options = ScanOptions(demo_files / "inputs", demo_profile, plan=tmp_path_factory.mktemp("reference") / "job")
    plan = latentscan.plan(options, chunk_size=128)
    latentscan.scan_shard(plan, options, range(plan.chunks))
    assert plan.chunks == 5
    return options.plan or Path()


@pytest.fixture
def job(reference: Path, tmp_path: Path) -> Path:
    """The same plan, of which nothing is done."""
    folder = tmp_path / "job"
    shutil.copytree(reference, folder, ignore=shutil.ignore_patterns("*.chunk"))
    return folder


@pytest.fixture
def run(tmp_path: Path):
    """Runs a program with `latentscan` on the PATH."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "latentscan"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scanner "$@"\n')
    script.chmod(0o755)

    def ran(*command: str | Path, **environment: str) -> None:
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            list(map(str, command)),
            env=cli_environment(PATH=path, **environment),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return ran


def assert_done(job: Path, reference: Path) -> None:
    found = {path.name: path.read_bytes() for path in job.glob("chunks/*")}
    assert found == {path.name: path.read_bytes() for path in reference.glob("chunks/*")}


def test_kubernetes(run, job: Path, reference: Path) -> None:
    manifest = yaml.safe_load((INTEGRATIONS / "kubernetes" / "scan-job.yaml").read_text())
    spec = manifest["spec"]
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", 16)
    container = spec["template"]["spec"]["containers"][0]
    assert "${SHARDS:-16}" in container["args"][0]
    for index in range(2):
        run(*container["command"], *container["args"], PLAN=str(job), SHARDS="2", JOB_COMPLETION_INDEX=str(index))
    assert_done(job, reference)


def test_slurm(run, job: Path, reference: Path) -> None:
    script = INTEGRATIONS / "slurm" / "scan-array.sh"
    assert "#SBATCH --array=1-16" in script.read_text()
    for number in (2, 1):
        run("sh", script, job, SLURM_ARRAY_TASK_ID=str(number), SLURM_ARRAY_TASK_COUNT="2")
    assert_done(job, reference)


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_gnu_parallel(run, job: Path, reference: Path, tmp_path: Path) -> None:
    run("sh", INTEGRATIONS / "parallel" / "scan-parallel.sh", job, "3", "--jobs", "2", HOME=str(tmp_path))
    assert_done(job, reference)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
def test_dask(run, job: Path, reference: Path) -> None:
    run(sys.executable, INTEGRATIONS / "dask" / "scan_by_dask.py", job)
    assert_done(job, reference)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_with_killed_actors(job: Path, reference: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "scanner", "scan", "--plan", job, "--engine", "ray", "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        env=cli_environment(),
    )
    killed: set[int] = set()
    while process.poll() is None:
        # An actor is the parent of a worker, which has the plan's folder in its command line.
        for actor in actors_of(job) - killed if len(killed) < 2 else ():
            with suppress(OSError):
                os.kill(actor, signal.SIGKILL)
                killed.add(actor)
                break
        time.sleep(0.05)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.returncode == 0, said
    assert len(killed) == 2
    assert_done(job, reference)


# As Ray wants it of whoever names a cluster's address; without it, a head takes a token that it happens to find.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-token-that-nobody-sees-0123456789"}


@pytest.fixture
def cluster() -> Iterator[str]:
    """Address of a cluster of this machine that was started by itself, as on a cluster's head."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not below the test's folder: names of sockets have to be short.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    head = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
            *("--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"),
            *("--object-store-memory=100000000", f"--temp-dir={folder}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=cli_environment(**TOKEN),
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        # It ends its own processes, and 'ray stop' would end everybody's.
        head.terminate()
        head.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_on_a_cluster_that_is_there(run, job: Path, reference: Path, cluster: str) -> None:
    command = ("latentscan", "scan", "--plan", job, "--engine", "ray", "--address", cluster)
    run(*command, **TOKEN)
    assert_done(job, reference)
    # It is still there when the first run has left it.
    (job / "chunks" / "0000002.chunk").unlink()
    run(*command, **TOKEN)
    assert_done(job, reference)
    assert not any(TOKEN["RAY_AUTH_TOKEN"].encode() in path.read_bytes() for path in job.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_said(address: str, job: Path) -> None:
    command = (sys.executable, "-m", "scanner", "scan", "--plan", job, "--engine", "ray", "--address", address)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=cli_environment(), check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"--address {address}: cannot be reached" in done.stderr


def actors_of(job: Path) -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            command = (status.parent / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(job) in command and b"--chunks" in command:
                found.add(int(status.read_text().rpartition(")")[2].split()[1]))
    return found
