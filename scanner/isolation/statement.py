"""Reading what a process stated about its isolation, and trying it out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

import scanner
from scanner.isolation.lockdown import Layer, Plan
from scanner.isolation.paths import readable_paths

_MAX_BYTES: Final = 16 * 1024
_LAYERS: Final = TypeAdapter(Annotated[list[Layer], Field(max_length=20)], config=ConfigDict(strict=True))
_PROBE: Final = (
    "import json,sys; sys.path[:]=json.loads(sys.argv[1]); import scanner.isolation.lockdown as l; "
    "l.lock_down(l.Plan.from_json(sys.argv[2]))"
)


def read_statement(descriptor: int) -> tuple[Layer, ...]:
    """The layers stated on a pipe whose writer has ended; only the first line counts."""
    os.set_blocking(descriptor, False)
    try:
        text = os.read(descriptor, _MAX_BYTES)
    except BlockingIOError:
        text = b""
    try:
        return tuple(_LAYERS.validate_json(text.partition(b"\n")[0]))
    except ValidationError:
        return (Layer("statement", False, "the process made none"),)


def probe_isolation() -> tuple[Layer, ...]:
    """The layers that a process gets here, found out by starting one that does nothing else."""
    package = str(Path(scanner.__file__).resolve().parent.parent)
    statement, report = os.pipe()
    try:
        plan = Plan(os.getpid(), readable_paths([package]), (), 2**20, 60, report)
        try:
            subprocess.run(  # noqa: S603 - this interpreter, and no shell
                [sys.executable, "-I", "-c", _PROBE, json.dumps([package, *sys.path]), plan.to_json()],
                pass_fds=(report,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return (Layer("statement", False, "no process could be started"),)
        finally:
            os.close(report)
        return read_statement(statement)
    finally:
        os.close(statement)
