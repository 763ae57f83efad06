"""How long the rest of a panel will take, by what cells of each network took so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from reference.panel.cells import Cell


class Estimate:
    """Counts down.

    Args:
        missing: Cells to be done.
    """

    def __init__(self, missing: Iterable[Cell]) -> None:
        self._left = [cell.network for cell in missing]
        self._took: dict[str, list[float]] = defaultdict(list)

    def finished(self, cell: Cell, seconds: float) -> None:
        """One cell is done."""
        self._left.remove(cell.network)
        self._took[cell.network].append(seconds)

    def left(self) -> str:
        """The time left in words; networks without a finished cell are taken to be like the others."""
        if not self._left:
            return "done"
        every = [seconds for took in self._took.values() for seconds in took]
        if not every:
            return f"{len(self._left)} cells left"
        means = {name: fmean(self._took[name]) if self._took[name] else fmean(every) for name in set(self._left)}
        minutes = sum(means[name] for name in self._left) / 60
        return (
            f"{len(self._left)} cells left, about {minutes:.0f} min"
            if minutes < 90
            else (f"{len(self._left)} cells left, about {minutes / 60:.1f} h")
        )
