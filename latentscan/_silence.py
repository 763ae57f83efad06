"""A listener that says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scanner.base.progress import Progress


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
