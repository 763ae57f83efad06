"""What `audit` and `fit --audit` have in common: the gate, and running an audit to its exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scanner.auditing.options import AuditOptions
from scanner.cli import judging
from scanner.fitting.options import FitOptions
from scanner.verdict.terms import FailOn

if TYPE_CHECKING:
    from scanner.verdict.gate_policy import Policy


def audit_policy(flags: Mapping[str, str | None], config: Path | None, clean: Path, model: Path) -> Policy:
    """The settings of a scan that an audit has, too.

    Args:
        flags: What the command line says of them.
        config: The configuration file that it names.
        clean: The clean images.
        model: The model.

    Raises:
        UsageError: A value is wrong.
    """
    from scanner.verdict.gate_policy import foreign_folders, resolve

    return resolve(flags, config, foreign=foreign_folders(clean, model, None)).only("fail-on", "ignore", "device")


def audit_after(fit: FitOptions, reports: Sequence[str] | None) -> AuditOptions | None:
    """An audit with the files and the device of a fit; None where no report of one is wanted.

    Raises:
        UsageError: A format is unknown, or a setting is wrong.
        OutputError: A report cannot be written.
    """
    if not reports:
        return None
    from scanner.report.formats import check_reports

    check_reports(reports)
    policy = audit_policy({"device": fit.device}, None, fit.clean, fit.model)
    fail_on = FailOn(str(policy.values["fail-on"]))
    return AuditOptions(fit, tuple(reports), fail_on=fail_on, ignore=policy.path("ignore"), policy=policy)


def leave_with_audit(options: AuditOptions, quiet: bool) -> None:
    """Audit, print the summary, and end with the verdict's exit code."""
    import latentscan
    from scanner.cli.console import TerminalProgress
    from scanner.report.audit.terminal import print_audit

    with TerminalProgress(quiet) as progress:
        judging.say_settings(options.policy, progress)
        finished = latentscan.audit(options, progress)
    if not quiet:
        print_audit(finished, sys.stderr)
    raise typer.Exit(finished.verdict.exit_code)
