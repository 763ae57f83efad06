"""The application: every command, each from a module of its own.

Only standard modules and Typer are imported here: commands import what they need when they run.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final, NoReturn

import typer

from scanner import __version__
from scanner.cli import lock
from scanner.cli.audit import audit
from scanner.cli.config import config
from scanner.cli.demo import demo
from scanner.cli.doctor import doctor
from scanner.cli.explain import explain
from scanner.cli.export import export
from scanner.cli.fit import fit
from scanner.cli.fleet import fleet
from scanner.cli.inspect import inspect
from scanner.cli.merge import merge
from scanner.cli.plan import plan
from scanner.cli.report import report
from scanner.cli.reproduce import reproduce
from scanner.cli.run_command import run_command
from scanner.cli.scan import scan
from scanner.cli.schema import schema
from scanner.cli.verify import verify

app = typer.Typer(
    name="modelscan",
    help="Tell whether an image classifier carries a backdoor, and which inputs trigger it. Works offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    fit,
    scan,
    audit,
    plan,
    merge,
    fleet,
    report,
    verify,
    inspect,
    export,
    config,
    explain,
    schema,
    demo,
    reproduce,
    doctor,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"latentscan {__version__} (command modelscan; not Protect AI ModelScan)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Tell whether an image classifier carries a backdoor, and which inputs trigger it. Works offline."""
    del version


LOCKED: Final = ("scan", "fit", "audit", "plan", "merge", "inspect", "report", "verify")
"""Commands that read what strangers made, and lock their process down before."""


def main() -> NoReturn:
    """Run the application and leave with the exit code that the outcome stands for."""
    lock.single_command = sys.argv[1:2] in [[command] for command in LOCKED]
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    return run_command(app, arguments)
