"""``modelscan reproduce``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scanner.base.device import Device
from scanner.base.errors import UsageError


class Tables(StrEnum):
    """Data sets of the paper, and the panel of attacks."""

    mnist = "mnist"
    cifar10 = "cifar10"
    all = "all"
    panel = "panel"


def reproduce(
    what: Annotated[
        Tables, typer.Argument(help="Which of the paper's data sets, or the panel of attacks.")
    ] = Tables.all,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the data sets as torchvision stores them, or as image folders.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for models and results; a rerun does only what is missing.")] = Path(
        "reproduction"
    ),
    rates: Annotated[
        str | None, typer.Option(help="Backdoored samples added, in percent: 0,10,20,30,40,50 by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of a network's training.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The whole pipeline on scikit-learn's small digits, in minutes, offline.")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch missing data sets to --data; nothing else goes online.")
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on where a run in --out stopped; --no-resume refuses a folder with results.")
    ] = True,
    device: Annotated[Device, typer.Option(help="Where to train and run.")] = "auto",
    networks: Annotated[str | None, typer.Option(help="Panel: networks, separated by commas; all by default.")] = None,
    development: Annotated[
        bool, typer.Option("--development", help="Panel: the half that choices are made on.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Train the paper's poisoned models and measure its tables 1, 2 and 3; or measure detectors on many attacks."""
    from reference.panel.command import PanelRequest, run_panel
    from reference.reproduction.command import ReproduceRequest, run_reproduce
    from scanner.cli.console import TerminalProgress

    if what is Tables.panel:
        others = {"--rates": rates, "--epochs": epochs, "--download": download, "--no-resume": not resume}
        _refuse({**others, "--device": device != "auto"}, "is for the paper's tables alone")
        asked = PanelRequest(data, out, seeds, networks, development, quick)
        with TerminalProgress(quiet=quiet) as progress:
            typer.echo(run_panel(asked, progress), nl=False)
        return
    _refuse({"--networks": networks, "--development": development}, "is for the panel alone")
    names = ("mnist", "cifar10") if what is Tables.all else (what.value,)
    request = ReproduceRequest(
        names=("digits",) if quick else names,
        data=data,
        out=out,
        rates=rates,
        seeds=seeds,
        epochs=epochs,
        device=device,
        resume=resume,
        download=download,
    )
    with TerminalProgress(quiet=quiet) as progress:
        tables = run_reproduce(request, progress)
    typer.echo(tables, nl=False)


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Options that would be ignored are errors."""
    for option, value in given.items():
        if value:
            raise UsageError(why, where=option)
