"""``modelscan schema``: the JSON Schema of the report."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON Schema of the JSON report."""
    from scanner.report.schema import schema_text

    typer.echo(schema_text(), nl=False)
