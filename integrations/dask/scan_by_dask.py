"""A planned scan on a Dask cluster: ``python scan_by_dask.py PLAN [SCHEDULER]``.

Numbers of chunks go out, ten at a time; every worker needs latentscan, and sees the plan, the inputs and the profile.
A worker that is lost is retried by Dask, and what is done is passed over.

    latentscan plan inputs/ --profile modelscan.h5 -o job/
    python scan_by_dask.py job/ tcp://scheduler:8786
    latentscan merge job/ --report out.html
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dask.distributed import Client

import latentscan

AT_ONCE = 10


def scan(plan: str, chunks: str) -> str:
    """Score some chunks, in a process that is locked down."""
    command = [sys.executable, "-m", "scanner", "scan", "--quiet", "--threads", "1", "--plan", plan, "--chunks", chunks]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return chunks


def main(plan: str, scheduler: str | None = None) -> None:
    """Hand out the chunks, and wait for all of them."""
    total = latentscan.read_plan(Path(plan)).chunks
    parts = [f"{start}-{min(start + AT_ONCE, total) - 1}" for start in range(0, total, AT_ONCE)]
    with Client(scheduler) if scheduler else Client(n_workers=2, threads_per_worker=1) as client:
        futures = client.map(scan, [str(Path(plan).absolute())] * len(parts), parts, retries=3, pure=False)
        client.gather(futures)


if __name__ == "__main__":
    main(*sys.argv[1:])
