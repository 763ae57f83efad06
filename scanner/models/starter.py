"""Who starts the child that reads a model file: this process, or a helper of one that may start none any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scanner.base.leftovers import scratch_folder
from scanner.isolation.lockdown import Layer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from scanner.models.job import Job


class ChildStarter(Protocol):
    """Starts children, one after the other, each in a folder that holds what it is given and takes what it leaves."""

    def folder(self) -> AbstractContextManager[Path]:
        """An empty folder for one child, which is emptied or removed at the end."""

    def run(self, job: Job, work: Path, timeout: float, *, where: str) -> tuple[Layer, ...]:
        """Run a child on a job to its end, as :func:`scanner.models.child_process.run_child` does.

        Args:
            job: What to do.
            work: The folder.
            timeout: Seconds, on the clock.
            where: The model file, for messages.

        Raises:
            ModelError: The child crashed, was killed, or took too long.
        """


class StartHere:
    """This process starts them, each in a new folder among the temporary ones."""

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A new folder, which is removed at the end."""
        with scratch_folder() as folder:
            yield folder

    def run(self, job: Job, work: Path, timeout: float, *, where: str) -> tuple[Layer, ...]:
        """Run a child."""
        from scanner.models.child_process import run_child

        return run_child(job, work, timeout, where=where)
