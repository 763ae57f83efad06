"""Scan many inputs in parts, undisturbed and with processes killed, and measure what being in parts costs.

    modelscan demo
    python benchmarks/shard_faults.py modelscan-demo --work /tmp/shards --out benchmarks/results/shards.json

It goes on where it was when it is run again with the same ``--work``, by whole stages. The inputs are small images,
each under ten names. Both runs have to leave the same bytes. Efficiency beyond the cores of this machine is that of the
scheduler alone, with workers that sleep.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import latentscan
from scanner.base.atomic import atomic_writer
from scanner.base.errors import LatentscanError
from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.cli.engines.schedule import run_chunks
from scanner.inputs.threads import usable_cores

WORKERS = 2
SMALLER = 4
"""How many times fewer inputs the job has that memory is compared with."""
NAP = 0.25
COMPARED = 200
"""Chunks that one worker and two do."""
SCAN = (sys.executable, "-m", "scanner")


def write_inputs(demo: Path, folder: Path, distinct: int, names: int) -> None:
    """Clean images with a little noise, each a file with so many names, in folders of a thousand."""
    generator = np.random.default_rng(0)
    clean = np.stack([np.asarray(Image.open(path).convert("L")) for path in sorted((demo / "ref").rglob("*.png"))])
    for number in range(distinct):
        image = clean[number % len(clean)].astype(int) + generator.integers(-3, 4, clean.shape[1:])
        first = folder / "0" / f"{number // 1000:04}" / f"{number:06}.png"
        first.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(first)
        for name in range(1, names):
            other = folder / str(name) / f"{number // 1000:04}" / f"{number:06}.png"
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(first, other)


def timed(*arguments: str | Path) -> dict[str, Any]:
    """Run a command and say what it took."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*SCAN, *map(str, arguments)], check=False, stderr=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "exit_code": done.returncode,
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(cpu, 1),
        "said": done.stderr.strip().splitlines()[-1:],
    }


def children(process: int) -> Iterator[int]:
    """Children of a process."""
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):
            yield from map(int, (task / "children").read_text().split())


def engine(job: Path, kills: int, workers: int = WORKERS, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Do a plan by local processes, and kill some of them on the way."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        [*SCAN, "scan", "--plan", job, "--engine", "local", "--workers", str(workers), *more],
        stderr=subprocess.PIPE,
        text=True,
    )
    generator, killed, peak, total = random.Random(1), 0, 0, latentscan.read_plan(job).chunks
    while process.poll() is None:
        running = list(children(process.pid))
        for worker in running:
            with suppress(OSError, IndexError):  # one that was killed has none
                status = Path(f"/proc/{worker}/status").read_text()
                peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]))
        done = sum(1 for path in (job / "chunks").iterdir() if path.suffix == ".chunk")
        if running and killed < kills and done >= (killed + 1) * total / (kills + 2):
            with suppress(OSError):
                os.kill(generator.choice(running), signal.SIGKILL)
                killed += 1
        time.sleep(0.2)
    assert process.stderr is not None
    said = process.stderr.read().strip()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "exit_code": process.returncode,
        "kills": killed,
        "wall_s": round(time.perf_counter() - started, 1),
        "peak_worker_mib": round(peak / 1024, 1),
        "said": said.splitlines()[-1:],
    }


def merged(job: Path, out: Path) -> dict[str, Any]:
    """Merge, and how much memory that took."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    code = (
        "import resource, sys\nfrom scanner.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, "merge", job, "-q", "--report", out / "r.json", "--rows", out / "r.jsonl"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    code_, peak = done.stderr.split()[-2:]
    report = json.loads((out / "r.json").read_bytes())
    return {
        "exit_code": int(code_),
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_mib": round(int(peak) / 1024, 1),
        "total": report["inputs"]["total"],
        "scanned": report["inputs"]["scanned"],
        "repeated": report["copies"]["repeated"],
        "digest": report["report_digest"],
        "rows_sha256": report["rows"]["sha256"],
    }


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files."""
    names = sorted(path.name for path in one.iterdir())
    if names != sorted(path.name for path in other.iterdir()):
        return False
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


class Sleeper:
    """A worker that sleeps."""

    def score(self, number: int) -> None:
        """Take as long as a chunk."""
        time.sleep(NAP)

    def close(self) -> None:
        """Nothing to end."""


def by_workers(work: Path) -> dict[str, Any]:
    """The same chunks by one worker and by two. Wall clocks say something where nothing else runs."""
    job, found = work / "by-workers", {}
    shutil.rmtree(job, ignore_errors=True)
    timed("plan", work / "inputs", "--profile", work / "modelscan.h5", "-o", job)
    most = min(COMPARED, latentscan.read_plan(job).chunks)
    for workers in (1, 2):
        shutil.rmtree(job / "chunks")
        (job / "chunks").mkdir()
        found[str(workers)] = engine(job, 0, workers, ("--chunks", f"0-{most - 1}"))
    return {**found, "chunks": most, "load_average": os.getloadavg()[0]}


def commit(work: Path) -> float:
    """Milliseconds in which a finished chunk gets onto the disk and under its name."""
    content = max((work / "few-job" / "chunks").iterdir(), key=lambda path: path.stat().st_size).read_bytes()
    times = []
    for number in range(50):
        started = time.perf_counter()
        with atomic_writer(work / f"commit-{number % 5}") as file:
            file.write(content)
        times.append(1000 * (time.perf_counter() - started))
    return round(float(np.median(times)), 2)


def efficiencies() -> dict[str, float]:
    """Ideal time by that of the scheduler, by the number of workers, each of which sleeps through eight chunks."""
    found = {}
    for workers in (1, 2, 4, 8, 16, 32, 64):
        started = time.perf_counter()
        run_chunks(range(8 * workers), Sleeper, workers, lambda number: None)
        found[str(workers)] = round(8 * NAP / (time.perf_counter() - started), 4)
    return found


def ray_overhead() -> dict[str, Any]:
    """Milliseconds between two chunks of one actor that the actor does not work; why not, where Ray does not start.

    Asked from a thread, as the engine does, of an actor that answers at once; and how long an actor takes to start.
    """
    try:
        import ray
    except ImportError:
        return {"missing": "Ray is not installed"}
    from scanner.cli.engines.ray_actors import connect, disconnect

    try:
        cores = connect(None)
    except LatentscanError as error:  # on a busy machine it gives up before it has begun
        return {"missing": str(error)}
    holder: Any = ray.remote(Sleeper).options(num_cpus=1)
    started = time.perf_counter()
    actor = holder.remote()
    ray.get(actor.close.remote())
    start, times = time.perf_counter() - started, []

    def ask() -> None:
        for _ in range(300):
            started = time.perf_counter()
            ray.get(actor.close.remote())
            times.append(1000 * (time.perf_counter() - started))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    disconnect()
    middle, most = np.quantile(times, (0.5, 0.95))
    return {
        "actor_start_s": round(start, 2),
        "cores": cores,
        "ms_a_chunk": round(float(middle), 2),
        "ms_a_chunk_95_percent": round(float(most), 2),
        "version": ray.__version__,
    }


class Stages:
    """Results of what takes long, each in a file, so that a run that was cut short goes on where it was.

    Args:
        folder: Where the files are.
        most: Stages that may be run before this process stops.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._left = folder, most
        folder.mkdir(parents=True, exist_ok=True)

    def result(self, name: str, run: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever JSON holds
        """What `run` gives, or gave before."""
        path = self._folder / f"{name}.json"
        if not path.exists():
            if not self._left:
                sys.exit(f"stopped before {name}: run it again")
            self._left -= 1
            found = json.dumps(run())
            path.with_suffix(".part").write_text(found)
            path.with_suffix(".part").rename(path)
        return json.loads(path.read_text())


def whole(stages: Stages, work: Path, name: str, inputs: Path, kills: int) -> dict[str, Any]:
    """Plan, run and merge one job."""
    job, profile = work / name, work / "modelscan.h5"

    def run() -> dict[str, Any]:
        # What a run that was cut short left would make this one seem faster than it is.
        shutil.rmtree(job / "chunks", ignore_errors=True)
        (job / "chunks").mkdir()
        return engine(job, kills)

    def plan() -> dict[str, Any]:
        shutil.rmtree(job, ignore_errors=True)
        return timed("plan", inputs, "--profile", profile, "-o", job)

    return {
        "plan": stages.result(f"{name}-plan", plan),
        "run": stages.result(f"{name}-run", run),
        "merge": stages.result(f"{name}-merge", lambda: merged(job, work / f"{name}-out")),
    }


def prepare(given: argparse.Namespace) -> None:
    """Inputs of both sizes, made anew."""
    for name, distinct in (("inputs", given.distinct), ("few", given.distinct // SMALLER)):
        shutil.rmtree(given.work / name, ignore_errors=True)
        write_inputs(given.demo, given.work / name, distinct, given.names)
    shutil.copy(given.demo / "modelscan.h5", given.work)


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("demo", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--distinct", type=int, default=100_000)
    parser.add_argument("--names", type=int, default=10)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--stages", type=int, default=1000, help="stop after so many, to go on in another call")
    given = parser.parse_args()
    stages, work = Stages(given.work / "stages", given.stages), given.work
    stages.result("inputs", lambda: prepare(given))
    few = whole(stages, work, "few-job", work / "few", 0)
    found = {
        name: whole(stages, work, name, work / "inputs", kills)
        for name, kills in (("undisturbed", 0), ("disturbed", given.kills))
    }
    plan = latentscan.read_plan(work / "undisturbed")
    result = {
        "machine": {"cores": usable_cores(), "processor": platform.processor() or platform.machine()},
        "versions": library_versions(FIT_LIBRARIES),
        "bytes_of_all_chunks": sum(path.stat().st_size for path in (work / "disturbed" / "chunks").iterdir()),
        "inputs": {"distinct": given.distinct, "names": given.names, "chunks": plan.chunks, "chunk": plan.chunk_size},
        "same_chunks": same(*(work / name / "chunks" for name in found)),
        "same_report": found["undisturbed"]["merge"]["digest"] == found["disturbed"]["merge"]["digest"],
        "same_rows": found["undisturbed"]["merge"]["rows_sha256"] == found["disturbed"]["merge"]["rows_sha256"],
        "few": {**few, "distinct": given.distinct // SMALLER},
        **found,
        "by_workers": stages.result("by-workers", lambda: by_workers(work)),
        "commit_ms_a_chunk": stages.result("commit", lambda: commit(work)),
        "scheduler_efficiency": stages.result("efficiency", efficiencies),
        "ray": stages.result("ray", ray_overhead),
        "load_average": os.getloadavg()[0],
    }
    given.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
