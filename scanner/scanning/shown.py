"""What became of the attempt to show a trigger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.demonstration.demonstrate import Demonstration


@dataclass(frozen=True)
class Shown:
    """What became of the attempt to show a trigger.

    Attributes:
        experiment: What was tried; None where nothing was.
        clean: ``(n, H, W, C)`` uint8, the clean images that judged it, in the order of its classes.
        missing: Why nothing was tried: a sentence without its end; None where something was.
    """

    experiment: Demonstration | None
    clean: NDArray[np.uint8]
    missing: str | None
