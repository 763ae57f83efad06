"""Train, measure and render: every cell that is missing, one after the other, each row saved at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reference.datasets import DataSet, load
from reference.evaluate import describe_machine
from reference.reproduction.cell import ATTACKS, Cell, load_cell, load_cells, save_cell
from reference.reproduction.estimate import Estimate
from reference.reproduction.render import render
from reference.reproduction.rows import measure_row, open_bench
from reference.training import EPOCHS, TrainConfig, read_record, train, training_device
from scanner.base.atomic import output_error
from scanner.base.device import Device
from scanner.base.errors import UsageError
from scanner.base.progress import Progress

CELLS, RUNS = "cells", "runs"
QUICK_RATES: Final = (0.0, 0.2, 0.5)


@dataclass(frozen=True)
class ReproduceOptions:
    """What to reproduce.

    Attributes:
        names: Data sets: ``mnist``, ``cifar10``, ``digits``.
        rates: Backdoored samples that are added, as shares of the clean training set.
        seeds: Number of seeds, counted from 0.
        data: Folder with the data sets; ``digits`` needs none.
        out: Folder for models, cells and results.
        epochs: Epochs of a network's training; None for each data set's own.
        device: Where to train and run.
        resume: Whether results that are in ``out`` already are taken as they are.
    """

    names: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: int
    data: Path
    out: Path
    epochs: int | None = None
    device: Device = "auto"
    resume: bool = True


def parse_rates(text: str) -> tuple[float, ...]:
    """Percentages separated by commas, as shares.

    Raises:
        UsageError: If one is no number from 0 to 100, or there is none.
    """
    try:
        percents = [float(part) for part in text.split(",")]
    except ValueError:
        percents = [-1.0]
    if not all(0 <= percent <= 100 and percent == round(percent) for percent in percents):
        raise UsageError(
            f"{text!r} is no list of percentages", where="--rates", hint="Give whole numbers such as 0,10,50"
        )
    return tuple(sorted({round(percent) / 100 for percent in percents}))


def plan(options: ReproduceOptions) -> list[TrainConfig]:
    """The models to train: every rate with the first seed, then every rate with the next."""
    return [
        TrainConfig(name, ATTACKS[name], rate, seed, options.epochs or EPOCHS[name])
        for name in options.names
        for seed in range(options.seeds)
        for rate in options.rates
    ]


def reproduce(options: ReproduceOptions, progress: Progress) -> list[Cell]:
    """Do what is missing, and render everything that is finished.

    Raises:
        LatentscanError: If the data cannot be read, the output not be written, or a finished cell does not fit.
    """
    cells_folder = options.out / CELLS
    try:
        cells_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, cells_folder) from error
    if not options.resume and any(cells_folder.iterdir()):
        raise UsageError("has results already", where=str(options.out), hint="Give another --out, or --resume")
    cells = [load_cell(cells_folder, config) for config in plan(options)]
    estimate = Estimate(cells)
    todo = sum(bool(cell.missing) for cell in cells)
    progress.say(f"{len(cells)} models, {todo} of them not finished; results go to {options.out}")
    data: DataSet | None = None
    for cell in cells:
        if cell.missing:
            # One data set in memory at a time.
            data = data if data is not None and data.name == cell.config.data else load(cell.config.data, options.data)
            _finish(cell, data, cells_folder, options, estimate, progress)
            render(options.out, list(load_cells(cells_folder)), data)
    finished = list(load_cells(cells_folder))
    for name in dict.fromkeys(cell.config.data for cell in finished):
        if data is None or data.name != name:
            data = load(name, options.data)
        render(options.out, finished, data)
    return finished


def _finish(
    cell: Cell, data: DataSet, folder: Path, options: ReproduceOptions, estimate: Estimate, progress: Progress
) -> None:
    step = progress.task(f"{cell.name}: training", cell.config.epochs)
    done = 0

    def epoch_finished(line: str) -> None:
        nonlocal done
        done += 1
        estimate.epoch_finished(cell.config)
        step(done)
        progress.say(f"{line}; {estimate.left()}")

    device = training_device(options.device)
    run = train(cell.config, data, options.out / RUNS, epoch_finished, device)
    cell.training = read_record(run)
    estimate.training_finished(cell.config)
    bench = open_bench(cell.config, data, run, options.device, progress)
    for row in cell.missing:
        started = time.monotonic()
        found = measure_row(bench, row)
        found["seconds"] = round(time.monotonic() - started, 1)
        found["machine"] = describe_machine()
        cell.rows[row] = found
        save_cell(folder, cell)
        estimate.row_finished(cell.config, row)
        progress.say(
            f"{cell.name} {row}: clean accuracy {found['clean_accuracy']:.2%}, AUPR {found['aupr']:.2%}, "
            f"AUROC {found['auroc']:.2%} ({found['seconds']:.0f} s); {estimate.left()}"
        )
