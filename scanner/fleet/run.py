"""Run the rows of a fleet: each by ``fit`` and ``scan`` as processes of their own, locked down as ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from scanner.base.atomic import atomic_writer, check_folder, output_error
from scanner.base.errors import LatentscanError
from scanner.base.progress import Progress
from scanner.base.text import portable, printable
from scanner.fleet.commands import fit_command, scan_command
from scanner.fleet.folder import Ended, RowFolder, claimed
from scanner.fleet.identity import identify
from scanner.fleet.options import FleetOptions
from scanner.fleet.summary import FleetOutcome, summarise
from scanner.fleet.table import FleetRow, FleetTable, read_table
from scanner.report.fleet.csv_file import csv_bytes
from scanner.report.fleet.html import html_bytes
from scanner.report.fleet.json_file import json_bytes
from scanner.report.fleet.schema import FleetReport, FleetRun
from scanner.report.read import read_report
from scanner.report.run import source_date_epoch
from scanner.report.triage import read_ignore_file
from scanner.verdict.gate_policy import Policy, resolve

_VERDICTS: Final = (0, 1, 3)
_LONGEST: Final = 2000
_LOOK: Final = 0.2


def run_fleet(options: FleetOptions, progress: Progress) -> FleetReport:
    """Run the rows that are not done, and write the summary.

    Raises:
        LatentscanError: The table or a setting is wrong, or the folder is in use or cannot be written to. What becomes
            of rows is in the summary.
    """
    table = read_table(options.table)
    gate = _gate(resolve(options.flags(), options.config))
    started, began = datetime.now(UTC), time.monotonic()
    check_folder(options.output)
    with claimed(options.output) as descriptor:
        outcomes = _all(table, _Runner(options, gate, descriptor), options.jobs, progress)
        summary = summarise(table, outcomes, _run(started, time.monotonic() - began))
        _write(summary, options.output)
    return summary


def _gate(policy: Policy) -> str:
    """Digest of all settings that change what a report says."""
    baseline, ignore = policy.path("baseline"), policy.path("ignore")
    return policy.digest(
        None if baseline is None else read_report(baseline)[1],
        None if ignore is None else read_ignore_file(ignore).sha256,
    )


def _all(table: FleetTable, runner: _Runner, jobs: int, progress: Progress) -> list[FleetOutcome]:
    """Every row's outcome, in the table's order."""
    told, total, lock, done = progress.task("models", len(table.rows)), len(table.rows), threading.Lock(), 0

    def one(row: FleetRow) -> FleetOutcome:
        nonlocal done
        outcome, fresh = runner.run(row)
        with lock:
            done += 1
            told(done)
            if runner.stopped:
                return outcome
            how = "was done" if not fresh else f"exit {outcome.ended.exit_code}"
            progress.say(f"{done} of {total}: {printable(row.name, 80)}: {how}")
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(one, row) for row in table.rows]
        try:
            for future in waiting:
                while not future.done():
                    time.sleep(_LOOK)  # not in a wait without end, so that an interrupt is heard
                future.result()
        except BaseException:
            runner.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in waiting]


class _Runner:
    """Starts the commands of rows, from several threads.

    Args:
        options: How.
        gate: Digest of the settings of judging.
        claim: Descriptor that every command inherits.
    """

    def __init__(self, options: FleetOptions, gate: str, claim: int) -> None:
        self._options, self._gate, self._claim = options, gate, claim
        self._output = options.output.absolute()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.stopped = False
        self._lock = threading.Lock()

    def run(self, row: FleetRow) -> tuple[FleetOutcome, bool]:
        """What becomes of a row, and whether anything was run for it."""
        folder = RowFolder(self._output, row)
        try:
            identity = identify(row, self._gate)
        except LatentscanError as error:
            return FleetOutcome(row, folder, Ended("read", error.exit_code, str(error))), True
        if folder.is_done(identity):
            return FleetOutcome(row, folder, Ended("done", 0, "")), False
        fitted = folder.begin(identity)
        with _log(folder.log) as log:
            ended = None if fitted else self._fit(row, folder, log)
            ended = ended or self._scan(row, folder, log)
        folder.end(identity, ended)
        return FleetOutcome(row, folder, ended), True

    def stop(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                process.kill()

    def _fit(self, row: FleetRow, folder: RowFolder, log: IO[bytes]) -> Ended | None:
        code, message = self._command(fit_command(self._options, row, folder), log)
        return None if code == 0 else Ended("fit", code, message)

    def _scan(self, row: FleetRow, folder: RowFolder, log: IO[bytes]) -> Ended:
        code, message = self._command(scan_command(self._options, row, folder), log)
        # Reports are written before the process ends, and an inconclusive scan may have none.
        if code in _VERDICTS and folder.report.is_file():
            return Ended("done", code, "")
        return Ended("scan", code, message)

    def _command(self, arguments: Sequence[str], log: IO[bytes]) -> tuple[int, str]:
        """Its exit code, and its last line."""
        start = log.seek(0, os.SEEK_END)
        with self._lock:
            if self.stopped:
                return 2, "the fleet was interrupted"
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "scanner", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._claim],
            )
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        if code < 0:
            return 2, f"the process was ended by signal {-code}"
        log.seek(max(start, log.seek(0, os.SEEK_END) - _LONGEST))
        lines = log.read().decode("utf-8", "replace").strip().splitlines()
        return code, lines[-1].removeprefix("error: ") if lines else f"the process ended with {code}"


@contextmanager
def _log(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("w+b")
    except OSError as error:
        raise output_error(error, path) from None
    with file:
        yield file


def _run(started: datetime, seconds: float) -> FleetRun:
    epoch = source_date_epoch(os.environ)
    return FleetRun(
        started_at=(epoch or started).strftime("%Y-%m-%dT%H:%M:%SZ"),
        duration_s=seconds if epoch is None else None,
        argv=tuple(map(portable, sys.argv)),
    )


def _write(summary: FleetReport, output: Path) -> None:
    """The summary in every format, each file atomically, after all of them have been made."""
    contents = {"fleet.html": html_bytes(summary), "fleet.csv": csv_bytes(summary), "fleet.json": json_bytes(summary)}
    for name, content in contents.items():
        with atomic_writer(output / name) as file:
            file.write(content)
