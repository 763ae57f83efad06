"""The two commands that a row of a fleet is."""

from __future__ import annotations

from scanner.fleet.folder import RowFolder
from scanner.fleet.options import FleetOptions
from scanner.fleet.table import FIT_OPTIONS, SCAN_OPTIONS, FleetRow
from scanner.inputs.threads import usable_cores


def fit_command(options: FleetOptions, row: FleetRow, folder: RowFolder) -> list[str]:
    """The arguments that fit a row."""
    return [
        *("fit", row.model, "--clean", row.reference, "--output", str(folder.profile), "--quiet"),
        *row.flags(FIT_OPTIONS),
        *([] if options.device is None else [f"--device={options.device}"]),
        *_lock(options),
    ]


def scan_command(options: FleetOptions, row: FleetRow, folder: RowFolder) -> list[str]:
    """The arguments that scan it."""
    given = {name: value for name, value in options.flags().items() if value is not None}
    if options.jobs > 1:
        given.setdefault("threads", max(1, usable_cores() // options.jobs))
    # The row's own come later, and the last one counts.
    return [
        *("scan", row.inputs, "--profile", str(folder.profile), "--resume", str(folder.job), "--quiet"),
        *("--report", str(folder.report), "--report", str(folder.page)),
        *(f"--{name}={value}" for name, value in given.items()),
        *([] if options.config is None else [f"--config={options.config}"]),
        *row.flags(SCAN_OPTIONS),
        *_lock(options),
    ]


def _lock(options: FleetOptions) -> list[str]:
    return [] if options.lockdown else ["--no-lockdown"]
