"""What is kept of each row: a folder with its profile, its reports and how far it is, so that a killed fleet goes on.

====================  ==========================================================================================
``row.json``          what the row was when it began, by digests, and how it ended; replaced atomically
``modelscan.h5``      the profile
``job/``              what is done of the scan, as ``scan --resume`` keeps it; removed once the report is there
``report.json/html``  the reports
``log.txt``           what the commands said
====================  ==========================================================================================
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from scanner.base.atomic import atomic_writer, output_error
from scanner.base.errors import UsageError
from scanner.base.text import portable, printable
from scanner.fleet.identity import Identity
from scanner.fleet.table import FleetRow

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ROWS: Final = "models"
_STATE: Final = "row.json"
_MAX_STATE: Final = 2**16
_OLD: Final = ("modelscan.h5", "job", "report.json", "report.html", "log.txt")


@dataclass(frozen=True)
class Ended:
    """How a row ended.

    Attributes:
        stage: The command that failed, or 'done' where there is a report.
        exit_code: Of the last command.
        message: Its error, in a line; empty where there is a report.
    """

    stage: Literal["read", "fit", "scan", "done"]
    exit_code: int
    message: str


class RowFolder:
    """The folder of one row.

    Args:
        fleet: The fleet's folder.
        row: The row.
    """

    def __init__(self, fleet: Path, row: FleetRow) -> None:
        self.name = folder_name(row.name)
        self.path = fleet / ROWS / self.name
        self.profile, self.job = self.path / "modelscan.h5", self.path / "job"
        self.report, self.page = self.path / "report.json", self.path / "report.html"
        self.log = self.path / "log.txt"

    def begin(self, identity: Identity) -> bool:
        """Make ready for a row, and remove what is of another one. Whether it is fitted already."""
        _make(self.path)
        state = self._read()
        same_fit, same_scan = state.get("fit") == identity.fit, state.get("scan") == identity.scan
        keep = {"modelscan.h5"} if same_fit else set()
        for name in _OLD:
            if name not in keep and not (same_scan and name == "job"):
                _remove(self.path / name)
        self._write({**asdict(identity), "ended": None})
        return same_fit and self.profile.is_file()

    def end(self, identity: Identity, ended: Ended) -> None:
        """Say how it ended: the commit."""
        self._write({**asdict(identity), "ended": asdict(ended)})
        if ended.stage == "done":
            _remove(self.job)

    def is_done(self, identity: Identity) -> bool:
        """Whether there is a report of this very row."""
        state = self._read()
        ended = state.get("ended")
        return (
            isinstance(ended, dict)
            and (state.get("fit"), state.get("scan"), ended.get("stage")) == (identity.fit, identity.scan, "done")
            and self.report.is_file()
        )

    def _read(self) -> dict[str, Any]:
        try:
            with (self.path / _STATE).open("rb") as file:
                state = json.loads(file.read(_MAX_STATE))
        except (OSError, ValueError, RecursionError):
            return {}
        return state if isinstance(state, dict) else {}

    def _write(self, state: dict[str, Any]) -> None:
        with atomic_writer(self.path / _STATE) as file:
            file.write(json.dumps(state, sort_keys=True).encode() + b"\n")


def folder_name(name: str) -> str:
    """A row's name as that of a folder: readable, short, without surprises, and of this name alone.

    >>> folder_name("../vendor A/model.pt")
    'vendor-A-model.pt-fece96b3'
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:40]
    digest = hashlib.sha256(portable(name).encode()).hexdigest()[:8]
    return f"{plain}-{digest}" if plain else digest


@contextmanager
def claimed(fleet: Path) -> Iterator[int]:
    """Hold the fleet's folder alone, and make it where it is not there.

    Yields:
        A descriptor, for commands to inherit: what a killed fleet left running keeps the claim until it ends.

    Raises:
        UsageError: Somebody else is at work in it.
        OutputError: It cannot be made.
    """
    _make(fleet / ROWS)
    descriptor = os.open(fleet, os.O_RDONLY)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    raise UsageError(
                        "another fleet is at work in it, or a command of one that was killed",
                        where=printable(str(fleet)),
                        hint="Wait until it has ended",
                    ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder) from None
    except ValueError:
        raise UsageError("is not a valid path", where=printable(str(folder))) from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(FileNotFoundError):
        path.unlink()
