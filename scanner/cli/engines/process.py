"""A worker that is a process of this machine: ``modelscan scan --plan``, locked down as ever, asked line by line."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

from scanner.base.errors import LatentscanError
from scanner.cli.engines.schedule import Lost

READY: Final = "ready"
_LONGEST: Final = 2000


class ProcessWorker:
    """Starts a process that reads numbers of chunks and says each when it is done.

    Args:
        arguments: After ``modelscan``, with ``--chunks -`` among them.

    Raises:
        LatentscanError: It ended before it was ready: no other would fare better.
        Lost: It was killed before it was ready.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "scanner", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        if self._read() != READY:
            code, why = self._process.wait(), self._why()
            self.close()
            raise Lost(why) if code < 0 else LatentscanError(why.removeprefix("error: "))

    def score(self, number: int) -> None:
        """As :meth:`scanner.cli.engines.schedule.Worker.score`."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{number}\n")
            self._process.stdin.flush()
            answer = self._read()
        except (OSError, ValueError):  # its end of the pipe is closed, or ours is
            answer = ""
        if answer != str(number):
            self._process.wait()
            raise Lost(self._why())

    def close(self) -> None:
        """As :meth:`scanner.cli.engines.schedule.Worker.close`."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._said):
            if file is not None:
                try:
                    file.close()
                except OSError:  # what it no longer read
                    continue

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def _why(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0:
            return f"the worker was ended by signal {-code}"
        try:
            self._said.seek(0)
            lines = self._said.read()[-_LONGEST:].decode("utf-8", "replace").strip().splitlines()
        except ValueError:  # closed meanwhile: nobody wants to know
            lines = []
        return lines[-1] if lines else f"the worker ended with {code}"
