"""Measure how much faster two local workers are than one, on the clock, on a machine that does nothing else.

    modelscan demo
    python benchmarks/worker_scaling.py modelscan-demo --work /tmp/scaling --out benchmarks/results/worker_scaling.json

One job of small images is done by one worker and by two, in turns. Efficiency is the time of one worker by twice that
of two, start and all. Beside it stands what the machine itself gives: the same arithmetic in one process and in two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from shard_faults import engine, timed, write_inputs

import latentscan
from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.inputs.threads import usable_cores

TURNS = 3
ARITHMETIC = "import time\nend, n = time.process_time() + 5, 0\nwhile time.process_time() < end: n += 1\nprint(n)"
"""Five seconds of a processor's time; what else the machine does makes them longer on the clock."""


def by_workers(work: Path, workers: int) -> dict[str, Any]:
    """All chunks anew by so many workers."""
    job = work / "job"
    shutil.rmtree(job / "chunks")
    (job / "chunks").mkdir()
    return engine(job, 0, workers)


def processes(count: int) -> float:
    """Seconds on the clock of so many processes that each use five of a processor."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    running = [
        subprocess.Popen([sys.executable, "-c", ARITHMETIC], stdout=subprocess.DEVNULL, env=environment)
        for _ in range(count)
    ]
    for process in running:
        process.wait()
    return time.perf_counter() - started


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("demo", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--distinct", type=int, default=40_000)
    parser.add_argument("--names", type=int, default=10)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    if not (given.work / "job").exists():
        write_inputs(given.demo, given.work / "inputs", given.distinct, given.names)
        shutil.copy(given.demo / "modelscan.h5", given.work)
        timed("plan", given.work / "inputs", "--profile", given.work / "modelscan.h5", "-o", given.work / "job")
    machine = [(processes(1), processes(2)) for _ in range(TURNS)]
    turns = [{str(workers): by_workers(given.work, workers) for workers in (1, 2)} for _ in range(TURNS)]
    efficiency = [turn["1"]["wall_s"] / (2 * turn["2"]["wall_s"]) for turn in turns]
    result = {
        "command": "python benchmarks/worker_scaling.py modelscan-demo",
        "machine": {"cores": usable_cores(), "processor": platform.processor() or platform.machine()},
        "versions": library_versions(FIT_LIBRARIES),
        "load_average_before": load,
        "chunks": latentscan.read_plan(given.work / "job").chunks,
        "turns": turns,
        "efficiency": [round(value, 4) for value in efficiency],
        "median_efficiency": round(float(np.median(efficiency)), 4),
        "efficiency_of_the_machine": [round(one / two, 4) for one, two in machine],
    }
    given.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps({name: result[name] for name in ("efficiency", "efficiency_of_the_machine")}))


if __name__ == "__main__":
    main()
