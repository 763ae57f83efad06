"""Run a part of a plan by an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.cli.engines.process import ProcessWorker
from scanner.cli.engines.schedule import Worker, run_chunks
from scanner.inputs.threads import usable_cores
from scanner.inputs.urls import url_of

if TYPE_CHECKING:
    from scanner.cli.part import Part
    from scanner.scanning.options import ScanOptions
    from scanner.scanning.plans.document import Plan

ENGINES: Final = ("local", "ray")


def run_engine(
    plan: Plan, options: ScanOptions, part: Part, wanted: Sequence[int], *, lockdown: bool, quiet: bool
) -> None:
    """Score chunks, those that are not there yet, by the workers of an engine.

    Raises:
        UsageError: There is no such engine, or it cannot be used.
        InconclusiveError: Some chunks failed three times; all others are done.
    """
    from scanner.cli.console import TerminalProgress
    from scanner.scanning.chunks.folder import numbers_in
    from scanner.scanning.plans.document import CHUNKS_NAME
    from scanner.scanning.plans.shard import missing

    assert options.plan is not None
    if part.engine not in ENGINES:
        known = " and ".join(ENGINES)
        raise UsageError(
            f"{printable(str(part.engine), 40)!r} is no engine", where="--engine", hint=f"There are {known}"
        )
    if part.address is not None and part.engine != "ray":
        raise UsageError("is of Ray alone", where="--address", hint="Add --engine ray")
    todo = missing(wanted, numbers_in(options.plan / CHUNKS_NAME))
    with TerminalProgress(quiet) as progress, _engine(part, _arguments(options, lockdown), options) as (start, workers):
        told, inputs = progress.task("scan", sum(plan.inputs_of(number) for number in todo)), 0

        def done(number: int) -> None:
            nonlocal inputs
            inputs += plan.inputs_of(number)
            told(inputs)

        run_chunks(todo, start, min(workers, len(todo)), done)
        progress.say(f"chunks: {len(todo)} scored, {len(wanted) - len(todo)} were there")


@contextmanager
def _engine(part: Part, arguments: Sequence[str], options: ScanOptions) -> Iterator[tuple[Callable[[], Worker], int]]:
    """What starts a worker, and how many there should be."""
    cores = options.threads or 1
    if part.engine == "local":
        yield (lambda: ProcessWorker(arguments)), part.workers or max(1, usable_cores() // cores)
        return
    from scanner.cli.engines.ray_actors import RayWorker, connect, disconnect

    there = connect(part.address)
    try:
        gpus = int(options.device == "cuda")
        yield (lambda: RayWorker(arguments, cores, gpus)), part.workers or max(1, there // cores)
    finally:
        disconnect()


def _arguments(options: ScanOptions, lockdown: bool) -> list[str]:
    """The command line of a worker. Paths are absolute: another machine's working directory is another."""
    assert options.plan is not None
    return [
        *("scan", url_of(options.inputs) or str(options.inputs.absolute()), "--plan", str(options.plan.absolute())),
        *("--profile", str(options.profile.absolute()), "--chunks", "-", "--device", options.device),
        *("--threads", str(options.threads or 1), *(() if lockdown else ("--no-lockdown",))),
    ]
