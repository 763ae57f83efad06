"""One command line from its arguments to its exit code.

======  =====================================================================================
0       scan complete, verdict below ``--fail-on``
1       scan complete, verdict at or above ``--fail-on``
2       no verdict: usage, configuration, unreadable or unsafe file, mismatch, internal error
3       inconclusive: nothing scannable, too few inputs or references, too many unreadable
130     interrupted
======  =====================================================================================
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

from typer.exceptions import Abort, TyperException

from scanner.base.errors import LatentscanError

# C libraries read these when they are loaded. No thread of theirs may spin beside our workers, and NumPy's linear
# algebra gets one: on a busy machine, several that wait for each other take ten times as long for a few hundred rows.
_THREADS: Final = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
NO_VERDICT = 2
INTERRUPTED = 130


def run_command(application: Callable[..., object], arguments: list[str]) -> int:
    """Run one command line of the application and return its exit code.

    An unexpected exception must not look like a verdict: Python would exit with 1.
    """
    os.environ.update({**_THREADS, **os.environ})
    try:
        code = application(args=arguments, standalone_mode=False)
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
    if code == INTERRUPTED:  # by Typer, which says nothing of it
        _complain("interrupted")
    return code if isinstance(code, int) else 0


def _complain(message: str) -> None:
    from scanner.base.text import printable

    sys.stderr.write(f"error: {printable(message)}\n")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0][:200]
