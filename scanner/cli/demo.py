"""``modelscan demo``."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path("modelscan-demo")


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the demo's files, new or empty; they stay.")] = FOLDER,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of training and sampling.")] = 0,
) -> None:
    """Train a small backdoored model offline, fit and scan it, and compare the verdict with the truth."""
    from reference.run_demo import Commands, run_demo
    from scanner.base.compiler_cache import temporary_compiler_cache
    from scanner.cli.run_command import run_command

    commands = Commands(program(sys.argv[0]), partial(run_command, context.find_root().command))
    with temporary_compiler_cache():
        run_demo(commands, out, seed)


def program(called: str) -> tuple[str, ...]:
    """What to type to run this program again from where it was called.

    An environment's program is often not on the PATH, and another tool of the same name may be.

    Args:
        called: The program as it was called.
    """
    name = Path(called).name
    if name not in ("modelscan", "latentscan"):  # python -m scanner
        return (sys.executable, "-m", "scanner")
    found = shutil.which(name)
    same = found is not None and Path(found).exists() and Path(called).exists() and Path(found).samefile(called)
    return (name,) if same else (called,)
