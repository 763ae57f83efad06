"""``modelscan schema``: the JSON Schema of the reports."""

from __future__ import annotations

from typing import Annotated

import typer


def schema(
    audit: Annotated[bool, typer.Option("--audit", help="That of an audit's report instead of a scan's.")] = False,
) -> None:
    """Print the JSON Schema of the JSON report."""
    from scanner.report.audit.schema import audit_schema_text
    from scanner.report.schema import schema_text

    typer.echo(audit_schema_text() if audit else schema_text(), nl=False)
