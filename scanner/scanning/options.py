"""What `scan` was asked to do, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scanner.base.device import Device
from scanner.isolation.lockdown import Layer
from scanner.verdict.gate_policy import Policy
from scanner.verdict.terms import Confidence, FailOn


@dataclass(frozen=True)
class ScanOptions:
    """Options of `scan`.

    Attributes:
        inputs: Folder, manifest, array or image file to score.
        profile: Profile written by `fit`.
        reports: Report files, format by suffix; ``-`` is standard output.
        rows: File for the complete rows, or None.
        alpha: Flagging level: the share of clean inputs that is flagged on average.
        fail_on: Severity from which the exit code is 1.
        min_confidence: Least confidence at which the absence of findings counts.
        max_unreadable: Share of unreadable inputs above which there is no verdict.
        baseline: An earlier report, or None.
        ignore: The ignore file, or None.
        gallery: Number of the most suspicious inputs that are shown as pictures.
        policy: Where the gate's settings came from; None where nothing is known about it.
        top: Number of most suspicious inputs in the report.
        model: Model file that the profile must have been made for, or None.
        device: Execution provider.
        threads: Worker threads; None for one per core.
        clean: Clean images to try a trigger on, instead of those that the profile keeps; None for these.
        audit: JSON report of an audit of the same model, whose patterns are tried as well; None without one.
        allow_drift: Why inputs that are unlike the reference are scanned all the same; None where they should not be.
        isolation: What the process had given up when the scan began, for the report.
        plan: Folder that keeps the scan's plan and what is done of it; None for a temporary one.
        follow_links: Whether links among the inputs, and names in a manifest, may lead out of their folder.
    """

    inputs: Path
    profile: Path
    reports: tuple[str, ...] = ()
    rows: Path | None = None
    alpha: float = 0.01
    fail_on: FailOn = FailOn.HIGH
    min_confidence: Confidence = Confidence.PROVISIONAL
    max_unreadable: float = 0.1
    baseline: Path | None = None
    ignore: Path | None = None
    gallery: int = 24
    policy: Policy | None = None
    top: int = 50
    model: Path | None = None
    device: Device = "auto"
    threads: int | None = None
    clean: Path | None = None
    audit: Path | None = None
    allow_drift: str | None = None
    isolation: tuple[Layer, ...] = ()
    plan: Path | None = None
    follow_links: bool = False
