"""The application and its exit codes.

======  =====================================================================================
0       scan complete, verdict below ``--fail-on``
1       scan complete, verdict at or above ``--fail-on``
2       no verdict: usage, configuration, unreadable or unsafe file, mismatch, internal error
3       inconclusive: nothing scannable, too few inputs or references, too many unreadable
130     interrupted
======  =====================================================================================

Only standard modules and Typer are imported here: commands import what they need when they run.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from scanner import __version__
from scanner.cli.config import config
from scanner.cli.demo import demo
from scanner.cli.doctor import doctor
from scanner.cli.explain import explain
from scanner.cli.export import export
from scanner.cli.fit import fit
from scanner.cli.inspect import inspect
from scanner.cli.report import report
from scanner.cli.reproduce import reproduce
from scanner.cli.scan import scan
from scanner.cli.schema import schema
from scanner.cli.verify import verify
from scanner.base.errors import LatentscanError

NO_VERDICT = 2
INTERRUPTED = 130

app = typer.Typer(
    name="modelscan",
    help="Tell whether an image classifier carries a backdoor, and which inputs trigger it. Works offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (fit, scan, report, verify, inspect, export, config, explain, schema, demo, reproduce, doctor):
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


def main() -> NoReturn:
    """Run the application and leave with the exit code that the outcome stands for."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code.

    An unexpected exception must not look like a verdict: Python would exit with 1.
    """
    # C libraries read these when they are loaded: no thread of theirs may spin beside our workers.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except LatentscanError as error:
        _complain(str(error))
        return error.exit_code
    except TyperException as error:
        _complain(f"{error.format_message()} Try 'modelscan --help'.")
        return NO_VERDICT
    except (Abort, KeyboardInterrupt):
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone: point the final flush somewhere that accepts it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_VERDICT
    except MemoryError:
        _complain("out of memory. Scan fewer inputs at a time, or use a smaller model")
        return NO_VERDICT
    except ModuleNotFoundError as error:
        _complain(f"this command needs {error.name}, which is not installed. Install latentscan in full; see 'doctor'")
        return NO_VERDICT
    except Exception as error:  # the last line of defence; everything expected is a LatentscanError
        if os.environ.get("LATENTSCAN_DEBUG"):
            raise
        _complain(
            f"internal error, no verdict ({type(error).__name__}: {_first_line(error)}). "
            "Set LATENTSCAN_DEBUG=1 for the traceback and report it"
        )
        return NO_VERDICT
    return code if isinstance(code, int) else 0


def _complain(message: str) -> None:
    from scanner.base.text import printable

    sys.stderr.write(f"error: {printable(message)}\n")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0][:200]
