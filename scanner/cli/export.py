"""``modelscan export``: the scoring graph as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    profile: Annotated[Path, typer.Argument(help="Profile written by 'fit'.")] = Path("modelscan.h5"),
    output: Annotated[Path, typer.Option("--output", "-o", help="ONNX file to write.")] = Path("scoring.onnx"),
) -> None:
    """Write a deployable ONNX file: pixels in; logits, scores, combined score and p-value out.

    The p-value is that of an input by itself (a scan's density_p_value): what inputs share takes a batch.
    """
    from scanner.base.atomic import check_destination
    from scanner.base.text import printable
    from scanner.profile.graph_rules import require_safe_graph
    from scanner.profile.reader import read_profile
    from scanner.profile.scoring_graph import export_scoring_graph

    check_destination(output)
    content = read_profile(profile)
    require_safe_graph(content, profile)
    digest = export_scoring_graph(content, output)
    typer.echo(f"wrote {printable(str(output))} (sha256 {digest})", err=True)
