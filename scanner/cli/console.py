"""Standard error as a person sees it: messages, and progress bars on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from scanner.base.text import printable


def stderr_console() -> Console:
    """Console on standard error; plain when it is no terminal or NO_COLOR is set."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


class RateColumn(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        """The rate, once it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")


class TerminalProgress:
    """Progress on standard error: bars only on a terminal, outside CI, and unless ``quiet``."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = stderr_console()
        self._quiet = quiet
        live = sys.stderr.isatty() and not quiet and not os.environ.get("CI")
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not live,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing and give the line back."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print one line."""
        if not self._quiet:
            self._console.print(escape(printable(text)))

    def task(self, name: str, total: int) -> Callable[[int], None]:
        """Add a bar of ``total`` steps, which goes when it is full; call the result with the number done."""
        task = self._progress.add_task(name, total=total)
        return lambda done: self._progress.update(task, completed=done, visible=done < total)
