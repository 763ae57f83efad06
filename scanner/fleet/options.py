"""What `fleet` is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scanner.verdict.gate_policy import Value
from scanner.verdict.terms import Confidence, FailOn


@dataclass(frozen=True)
class FleetOptions:
    """A table of models, and how all of them are judged.

    What is None is as in every command: from the environment, or the configuration file where the program runs, or the
    default. A row's own settings come before these.

    Attributes:
        table: CSV file with a row for each model.
        output: Folder for the summary, and for each model's profile and reports.
        jobs: Models at a time.
        alpha: Share of clean inputs that is flagged on average.
        fail_on: Severity from which on a model fails.
        min_confidence: Least confidence with which one passes.
        max_unreadable: Largest share of inputs that may be unreadable.
        ignore: File of accepted findings.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        threads: Of each scan; None for its part of the cores.
        config: Configuration file, in place of the one that is found.
        lockdown: Whether the processes of rows give up what they do not need.
    """

    table: Path
    output: Path
    jobs: int = 1
    alpha: float | None = None
    fail_on: FailOn | None = None
    min_confidence: Confidence | None = None
    max_unreadable: float | None = None
    ignore: Path | None = None
    device: str | None = None
    threads: int | None = None
    config: Path | None = None
    lockdown: bool = True

    def flags(self) -> dict[str, Value]:
        """The settings by name, as the command line has them; None where nothing is said."""
        return {
            "alpha": self.alpha,
            "fail-on": self.fail_on,
            "min-confidence": self.min_confidence,
            "max-unreadable": self.max_unreadable,
            "ignore": None if self.ignore is None else str(self.ignore),
            "device": self.device,
            "threads": self.threads,
        }
