"""``modelscan demo``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def demo(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the demo's files, new or empty; a temporary one by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of training and sampling.")] = 0,
) -> None:
    """Train a small backdoored model offline, fit and scan it, and compare the verdict with the truth."""
    from reference.run_demo import run_demo
    from scanner.base.compiler_cache import temporary_compiler_cache
    from scanner.base.leftovers import scratch_folder
    from scanner.cli.run_command import run_command

    run = partial(run_command, context.find_root().command)
    with temporary_compiler_cache():
        if out is not None:
            run_demo(run, out, seed, keep=True)
            return
        with scratch_folder() as folder:
            run_demo(run, folder / "demo", seed, keep=False)
