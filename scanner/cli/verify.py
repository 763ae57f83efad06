"""``modelscan verify``: whether a model file is the one that an approved report is about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    models: Annotated[list[Path], typer.Argument(help="Model files or folders.")],
    report: Annotated[list[Path], typer.Option(help="Approved JSON report; repeatable.")],
) -> None:
    """Check that models are those of approved reports: same digest, and a verdict that passed the gate.

    Reports are those of 'scan' and 'audit'. Exits with 1 if one is not. It scans nothing. A report is as trustworthy as
    the place where it is kept.
    """
    from scanner.base.text import printable
    from scanner.cli.lock import locked_verification
    from scanner.models.identify import identify
    from scanner.report.audit.read import read_either
    from scanner.report.audit.schema import AuditReport

    with locked_verification(models, report):
        approved: dict[str, tuple[str, bool, str]] = {}
        for path in report:
            finished = read_either(path)
            passed = finished.verdict.exit_code == 0
            name, what = printable(path.name), "audit" if isinstance(finished, AuditReport) else "scan"
            if finished.model.sha256 not in approved or not passed:
                # One report that failed outweighs any that passed.
                approved[finished.model.sha256] = name, passed, what
        failed = False
        for model in models:
            digest = identify(model).sha256
            name, passed, what = approved.get(digest, ("", False, ""))
            failed |= not passed
            outcome = (
                f"approved by {name}" if passed else f"FAILED its {what}, see {name}" if name else "NOT in any report"
            )
            typer.echo(f"{printable(str(model))}: {outcome} (sha256 {digest[:16]})")
        raise typer.Exit(int(failed))
