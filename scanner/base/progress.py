"""Where the pipelines tell what they are doing; a command line or a program listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Listener of `fit` and `scan`."""

    def say(self, text: str) -> None:
        """Take a finding or a step, in one line."""

    def task(self, name: str, total: int) -> Callable[[int], None]:
        """Start a task of ``total`` steps; the result is called with the number done."""
