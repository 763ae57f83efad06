"""The command line's way in: options checked, data fetched if asked for, the tables printed at the end."""

from __future__ import annotations

import sys
from pathlib import Path

from reference.reproduction.download import download_data
from reference.reproduction.published import RATES
from reference.reproduction.run import QUICK_RATES, ReproduceOptions, parse_rates, reproduce
from reference.reproduction.tables import tables_markdown
from scanner.cli.console import TerminalProgress
from scanner.base.compiler_cache import temporary_compiler_cache
from scanner.base.errors import UsageError
from scanner.base.device import Device


def run_reproduce(
    names: tuple[str, ...],
    data: Path | None,
    out: Path,
    rates: str | None,
    seeds: int,
    epochs: int | None,
    device: Device,
    *,
    resume: bool,
    quiet: bool,
    download: bool,
) -> None:
    """Reproduce, and print the tables of everything finished on standard output.

    Raises:
        LatentscanError: For everything the user can do something about.
    """
    quick = names == ("digits",)
    if data is None and not quick:
        raise UsageError(
            "needs the data sets' folder",
            where="--data",
            hint="Give the folder that holds MNIST/raw and cifar-10-batches-py, or use --quick",
        )
    shares = parse_rates(rates) if rates is not None else QUICK_RATES if quick else RATES
    if download and data is not None:
        download_data(names, data)
    with temporary_compiler_cache(), TerminalProgress(quiet=quiet) as progress:
        options = ReproduceOptions(names, shares, seeds, data or Path(), out, epochs, device, resume)
        cells = reproduce(options, progress)
        progress.say(f"tables.json, tables.md, figures and index.html are in {out}")
    sys.stdout.write(tables_markdown(cells))
