"""Tables of models, and fleets whose reports are there without anything having been run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from scanner.fleet.folder import Ended, RowFolder
from scanner.fleet.identity import Identity
from scanner.fleet.summary import FleetOutcome, summarise
from scanner.fleet.table import FleetTable, read_table
from scanner.report.fleet.schema import FleetReport, FleetRun
from scanner.report.json_report import report_bytes
from scanner.report.schema import Report

RUN = FleetRun(started_at="2026-11-28T02:00:00Z", duration_s=None, argv=("fleet", "models.csv"))
IDENTITY = Identity("1" * 64, "2" * 64)


def write_table(folder: Path, names: Sequence[str]) -> FleetTable:
    """A table with so many rows, which nobody runs."""
    with (folder / "models.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "model", "reference", "inputs"])
        writer.writerows([name, f"{index}.onnx", "ref", "inputs"] for index, name in enumerate(names))
    return read_table(folder / "models.csv")


def summary_of(folder: Path, outcomes: Mapping[str, Report | Ended]) -> FleetReport:
    """The summary of rows with these reports, or that ended so."""
    table = write_table(folder, list(outcomes))
    ended = []
    for row, outcome in zip(table.rows, outcomes.values(), strict=True):
        place = RowFolder(folder / "out", row)
        place.begin(IDENTITY)
        if isinstance(outcome, Ended):
            ended.append(FleetOutcome(row, place, outcome))
            continue
        place.report.write_bytes(report_bytes(outcome))
        ended.append(FleetOutcome(row, place, Ended("done", outcome.verdict.exit_code, "")))
    return summarise(table, ended, RUN)
