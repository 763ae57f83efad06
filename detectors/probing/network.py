"""A network that is asked for logits only, and counts what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probe import Probe

Logits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From images ``(N, H, W, C)`` uint8 to logits ``(N, K)``."""
May = Callable[[int], bool]
"""Whether the network may be asked, given how many images it will have seen by then."""

TOGETHER: Final = 240
"""Images that are run at a time, about."""


@dataclass
class Counted:
    """A network and its budget.

    Attributes:
        logits: The network.
        may: The budget.
        passes: Images that it has seen.
        stopped: Whether the budget has ended.

    Example:
        >>> network = Counted(lambda images: np.zeros((len(images), 2), np.float32), lambda passes: passes <= 3)
        >>> network.ask(np.zeros((3, 8, 8, 1), np.uint8)).shape, network.ask(np.zeros((1, 8, 8, 1), np.uint8))
        ((3, 2), None)

    References:
        docs/audit.md, section Search.
    """

    logits: Logits
    may: May
    passes: int = 0
    stopped: bool = False

    def ask(self, images: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Logits; None, for good, once the budget has ended."""
        if self.stopped or not self.may(self.passes + len(images)):
            self.stopped = True
            return None
        self.passes += len(images)
        return self.logits(images)

    def stamped(self, probes: Sequence[Probe], images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Logits ``(N, K)`` of the same images with each pattern, as far as the budget goes."""
        together = max(1, TOGETHER // len(images))
        answers: list[NDArray[np.float32]] = []
        for start in range(0, len(probes), together):
            some = list(probes[start : start + together])
            # What fits into the rest of the budget is asked, so that as many passes always come to as much.
            while some and not self.may(self.passes + len(some) * len(images)):
                some.pop()
            found = self.ask(np.concatenate([probe.stamp(images) for probe in some])) if some else None
            if found is not None:
                answers.extend(np.split(found, len(some)))
            if len(some) < len(probes[start : start + together]):
                self.stopped = True
                break
        return answers


def predicted(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """``(N,)`` classes; -1 where logits are not finite.

    Example:
        >>> predicted(np.array([[0, 1], [np.nan, 1]], np.float32))
        array([ 1, -1])

    References:
        docs/audit.md, section Search.
    """
    return np.where(np.isfinite(logits).all(1), logits.argmax(1), -1)
