"""Standard error as a person sees it: messages, and progress bars on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scanner.base.text import printable

if TYPE_CHECKING:
    from rich.console import Console


def stderr_console() -> Console:
    """Console on standard error; plain when it is no terminal or NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


class TerminalProgress:
    """Progress on standard error: bars only on a terminal, outside CI, and unless ``quiet``."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars = None
        if sys.stderr.isatty() and not quiet and not os.environ.get("CI"):
            from scanner.cli.bars import bars_on

            self._bars = bars_on(stderr_console())

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing and give the line back."""
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """Print one line."""
        if self._bars is not None:
            self._bars.console.print(printable(text), markup=False, emoji=False)
        elif not self._quiet:
            print(printable(text), file=sys.stderr)

    def task(self, name: str, total: int) -> Callable[[int], None]:
        """Add a bar of ``total`` steps, which goes when it is full; call the result with the number done."""
        if self._bars is None:
            return lambda done: None
        bars, task = self._bars, self._bars.add_task(name, total=total)
        return lambda done: bars.update(task, completed=done, visible=done < total)
