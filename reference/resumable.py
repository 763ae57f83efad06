"""A script whose result file grows: what it has is not measured again, and never goes on with other code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reference.evaluate import describe_machine, write_json
from reference.power import code_digest
from scanner.base.errors import LatentscanError, SourceError

DIGEST: Final = "detectors_sha256"
"""What of a result file says by which mathematics it was measured."""

Result = dict[str, Any]


def start(out: Path, about: Mapping[str, Any]) -> Result:
    """The result so far.

    Args:
        out: Its file.
        about: What a new one begins with, beside code and machine.

    Raises:
        SourceError: If the file was made by other mathematics.
    """
    fresh = {DIGEST: code_digest(), "machine": describe_machine(), **about}
    if not out.exists():
        return fresh
    found: Result = json.loads(out.read_text(encoding="utf-8"))
    if found.get(DIGEST) != fresh[DIGEST]:
        raise SourceError("was measured with other code", where=str(out), hint="Remove it, or write elsewhere")
    return found


def run_script(
    description: str,
    folders: Sequence[str],
    about: Mapping[str, Any],
    run: Callable[..., Iterator[str]],
    told: Callable[[Result], Iterable[str]],
) -> int:
    """Command line of such a script; returns the exit code.

    Args:
        description: What it does, in a sentence.
        folders: Names of options beside ``--out``, each a folder that is needed.
        about: As in :func:`start`.
        run: Adds what is missing to the result, which is written after each line that it yields; it is called with the
            result and the folders.
        told: The lines that are printed at the end.
    """
    parser = argparse.ArgumentParser(description=description)
    for name in (*folders, "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    try:
        result = start(options.out, about)
        for line in run(result, *(getattr(options, name) for name in folders)):
            write_json(options.out, result)
            print(line, file=sys.stderr, flush=True)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(*told(result), sep="\n")
    return 0
