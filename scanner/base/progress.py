"""Where the pipelines tell what they are doing; a command line or a program listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol


class Progress(Protocol):
    """Listener of `fit` and `scan`."""

    def say(self, text: str) -> None:
        """Take a finding or a step, in one line."""

    def task(self, name: str, total: int) -> Callable[[int], None]:
        """Start a task of ``total`` steps; the result is called with the number done."""


class _Silence:
    """Takes everything and shows nothing."""

    def say(self, text: str) -> None:
        """Let it pass."""

    def task(self, name: str, total: int) -> Callable[[int], None]:
        """Let it pass."""
        del name, total
        return lambda done: None

    def __repr__(self) -> str:
        return "SILENCE"


SILENCE: Final[Progress] = _Silence()
"""A listener that says nothing."""
