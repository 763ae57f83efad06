"""A helper that starts the child which reads a model file, for a process that has given up starting any.

`fit` is locked down before it reads anything of a stranger, and a process that is may start no other. So it starts this
one before, while it has read nothing and runs nothing else. The helper does one thing when it is asked to: it runs such
a child in a folder that it made. It reads nothing of the model, and takes the words of who asks for those of a
stranger: it starts nothing that the command line did not allow, nowhere else.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

from scanner.base.errors import ModelError
from scanner.base.leftovers import scratch_folder
from scanner.isolation.kernel import PR_SET_PDEATHSIG, prctl
from scanner.isolation.lockdown import Layer

if TYPE_CHECKING:
    from scanner.models.job import Job

_MAX_BYTES: Final = 16 * 2**20
_ENDED: Final = "loading the model failed: the process that starts its child has ended"


@dataclass(frozen=True)
class Allowed:
    """What the command line allows of a child.

    Attributes:
        trust: Whether the model file may be a program.
        code: ``file.py:callable`` that may be run, with its whole path; None for none.
        timeout: Seconds.
    """

    trust: bool
    code: str | None
    timeout: float

    def covers(self, job: Job) -> bool:
        """Whether a job goes no further."""
        names_code = job.trust_code and ":" in (job.architecture or "")
        return (self.trust or not job.trust) and (job.architecture == self.code or not names_code)


class Helper:
    """Asks the helper. Starts children in one folder, which is emptied after each."""

    def __init__(self, questions: IO[bytes], answers: IO[bytes]) -> None:
        self._questions, self._answers = questions, answers
        self.place = Path(self._answer()["folder"])
        """Where the helper starts children; to be kept writable."""

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The folder, empty."""
        try:
            yield self.place
        finally:
            _empty(self.place)

    def run(self, job: Job, work: Path, timeout: float, *, where: str) -> tuple[Layer, ...]:
        """Have a child run on a job to its end.

        Raises:
            ModelError: The child crashed, was killed, or took too long; or the helper has ended.
        """
        del work  # the helper knows its own
        question = {"job": job.model_dump(mode="json"), "timeout": timeout, "where": where}
        try:
            self._questions.write(json.dumps(question).encode() + b"\n")
        except BrokenPipeError:
            raise ModelError(_ENDED, where=where) from None
        answer = self._answer()
        if "error" in answer:
            raise ModelError(answer["error"], where=answer["where"], hint=answer["hint"])
        return tuple(Layer(**layer) for layer in answer["layers"])

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline(_MAX_BYTES)
        if not line.endswith(b"\n"):
            raise ModelError(_ENDED)
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def start_helper(allowed: Allowed) -> Iterator[Helper]:
    """Start the helper, and end it at the end. To be called before anything starts a thread.

    Yields:
        What asks it.
    """
    asked, ask = os.pipe()
    answer, answered = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent, process = os.getpid(), os.fork()
    if process == 0:
        os.close(ask)
        os.close(answer)
        _work_and_end(allowed, parent, asked, answered)
    os.close(asked)
    os.close(answered)
    with os.fdopen(answer, "rb") as answers, os.fdopen(ask, "wb", buffering=0) as questions:
        try:
            yield Helper(questions, answers)
        finally:
            questions.close()
            os.waitpid(process, 0)


def _work_and_end(allowed: Allowed, parent: int, asked: int, answered: int) -> NoReturn:
    """The helper's whole life: it ends with its parent, or when that asks no more."""
    code = 1
    try:
        # Who interrupts the command interrupts its parent, which then closes the pipe.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(OSError):
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            _serve(allowed, asked, answered)
            code = 0
    finally:
        os._exit(code)


def _serve(allowed: Allowed, asked: int, answered: int) -> None:
    with scratch_folder() as folder, os.fdopen(asked, "rb") as questions, os.fdopen(answered, "wb", 0) as answers:
        # Not the folder itself: nothing beside its own can be put into the place of one that somebody else may write.
        work = folder / "child"
        work.mkdir(0o700)
        answer: dict[str, object] = {"folder": str(work)}
        while True:
            try:
                answers.write(json.dumps(answer).encode() + b"\n")
            except BrokenPipeError:
                return
            line = questions.readline(_MAX_BYTES)
            if not line.endswith(b"\n"):
                return
            answer = _do(allowed, line, work, asked)


def _do(allowed: Allowed, line: bytes, work: Path, asked: int) -> dict[str, object]:
    """Run a child, and say how it went."""
    from scanner.models.child_process import run_child
    from scanner.models.job import Question

    question = Question.model_validate_json(line)
    try:
        if not allowed.covers(question.job):
            raise ModelError("loading the model would go further than the command line allows", where=question.where)
        layers = run_child(
            question.job,
            work,
            min(question.timeout, allowed.timeout),
            where=question.where,
            wanted=lambda: not select.select([asked], [], [], 0)[0],
        )
    except ModelError as error:
        return {"error": error.what, "where": error.where, "hint": error.hint}
    return {"layers": [asdict(layer) for layer in layers]}


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
