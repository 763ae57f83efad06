"""The command line's way in: options checked, data fetched if asked for, the tables at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reference.reproduction.download import download_data
from reference.reproduction.published import RATES
from reference.reproduction.run import QUICK_RATES, ReproduceOptions, parse_rates, reproduce
from reference.reproduction.tables import tables_markdown
from scanner.base.compiler_cache import temporary_compiler_cache
from scanner.base.device import Device
from scanner.base.errors import UsageError
from scanner.base.progress import Progress


@dataclass(frozen=True)
class ReproduceRequest:
    """What a person asked to reproduce, not yet checked.

    Attributes:
        names: Data sets, or ``digits`` alone for a quick run.
        data: Folder with the data sets, or None.
        out: Folder for models, cells and results.
        rates: Percentages separated by commas, or None.
        seeds: Number of seeds.
        epochs: Epochs of a network's training; None for each data set's own.
        device: Where to train and run.
        resume: Whether results that are in ``out`` already are taken as they are.
        download: Whether missing data sets are fetched.
    """

    names: tuple[str, ...]
    data: Path | None
    out: Path
    rates: str | None
    seeds: int
    epochs: int | None
    device: Device
    resume: bool
    download: bool


def run_reproduce(request: ReproduceRequest, progress: Progress) -> str:
    """Reproduce.

    Returns:
        The tables of everything finished, in Markdown.

    Raises:
        LatentscanError: For everything the user can do something about.
    """
    quick = request.names == ("digits",)
    if request.data is None and not quick:
        raise UsageError(
            "needs the data sets' folder",
            where="--data",
            hint="Give the folder that holds MNIST/raw and cifar-10-batches-py, or use --quick",
        )
    shares = parse_rates(request.rates) if request.rates is not None else QUICK_RATES if quick else RATES
    if request.download and request.data is not None:
        download_data(request.names, request.data)
    options = ReproduceOptions(
        names=request.names,
        rates=shares,
        seeds=request.seeds,
        data=request.data or Path(),
        out=request.out,
        epochs=request.epochs,
        device=request.device,
        resume=request.resume,
    )
    with temporary_compiler_cache():
        cells = reproduce(options, progress)
    progress.say(f"tables.json, tables.md, figures and index.html are in {request.out}")
    return tables_markdown(cells)
