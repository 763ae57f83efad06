"""What `audit` was asked to do, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.fitting.options import FitOptions
from scanner.verdict.gate_policy import Policy
from scanner.verdict.terms import FailOn

BUDGET_S: Final = 300.0
ALPHA: Final = 0.05


@dataclass(frozen=True)
class AuditOptions:
    """Options of `audit`.

    Attributes:
        opening: How the model and the clean images are opened: the options of a fit. Its profile is not written, and
            options of detectors mean nothing.
        reports: Where reports go.
        budget: Seconds that the search may take; None for no such bound.
        passes: Images that the search may run; None for no such bound. The same number gives the same result anywhere.
        null: Folder with reports of audits of accepted models, to compare with instead of what the program ships.
        refine: Whether patterns are made as small as they can be by gradients as well, which takes PyTorch and as many
            seconds again.
        alpha: Level from which on a network counts as unusual.
        fail_on: The severity from which on the exit code is 1.
        ignore: Ignore file, whose entries about the model can let a finding pass the gate.
        policy: The gate's settings and where they came from, for the report; None where a program calls without any.
    """

    opening: FitOptions
    reports: tuple[str, ...] = ()
    budget: float | None = BUDGET_S
    passes: int | None = None
    null: Path | None = None
    refine: bool = False
    alpha: float = ALPHA
    fail_on: FailOn = FailOn.HIGH
    ignore: Path | None = None
    policy: Policy | None = None
