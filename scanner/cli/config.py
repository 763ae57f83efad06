"""``modelscan config``: the settings that a scan would use here, and where each comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def config(
    file: Annotated[
        Path | None, typer.Option("--config", help="Configuration file instead of latentscan.toml or pyproject.toml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the effective settings, where each comes from, and the gate's digest."""
    from scanner.base.text import printable
    from scanner.report.read import read_report
    from scanner.report.triage import read_ignore_file
    from scanner.verdict.gate_policy import SETTINGS, resolve

    policy = resolve({}, file)
    baseline, ignore = policy.path("baseline"), policy.path("ignore")
    baseline_sha256 = None if baseline is None else read_report(baseline)[1]
    digest = policy.digest(baseline_sha256, None if ignore is None else read_ignore_file(ignore).sha256)
    if as_json:
        values = {
            "config": None if policy.config is None else str(policy.config),
            "values": dict(policy.values),
            "sources": dict(policy.origins),
            "gate_sha256": digest,
        }
        typer.echo(json.dumps(values, indent=2, sort_keys=True))
        return
    typer.echo(f"{'file':<16} {printable(str(policy.config)) if policy.config else 'none'}")
    for setting in SETTINGS:
        value = policy.values[setting.name]
        shown = "not set" if value is None else printable(str(value))
        typer.echo(f"{setting.name:<16} {shown:<20} {policy.origins[setting.name]}")
    typer.echo(f"{'gate sha256':<16} {digest}")
