"""``modelscan explain``: what a rule means and what to do about it."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from scanner.base.errors import UsageError

_WIDTH = 79


def explain(
    rule: Annotated[str | None, typer.Argument(help="Identifier, for example LS102; all of them without one.")] = None,
) -> None:
    """Say what a rule of the verdict means, and what to do about it."""
    from scanner.base.text import printable
    from scanner.verdict.catalogue import catalogue

    rules = catalogue()
    if rule is None:
        for known in rules.values():
            typer.echo(f"{known.id}  {known.title}")
        return
    found = rules.get(rule.upper())
    if found is None:
        raise UsageError(
            f"there is no rule {printable(rule, 40)!r}", where="explain", hint="'modelscan explain' lists them"
        )
    typer.echo(f"{found.id} {found.title} (severity {found.severity})")
    for paragraph in (found.what, f"What to do: {found.act}"):
        typer.echo()
        typer.echo(textwrap.fill(paragraph, _WIDTH))
