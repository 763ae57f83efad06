"""Starting the child process that reads a model file, and telling how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import scanner
from scanner.base.errors import ModelError
from scanner.isolation.lockdown import Layer, Plan
from scanner.isolation.paths import code_paths, readable_paths
from scanner.isolation.statement import read_statement
from scanner.models.bounds import Bounds
from scanner.models.job import Job

_LOG_BYTES: Final = 16 * 1024
_GLANCE: Final = 0.05
"""Seconds between two looks at what the child takes."""
_OWN_MEMORY: Final = 768 * 2**20
"""What the libraries take before they have read anything."""
_THREADS: Final = 512
_KEPT_ENVIRONMENT: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "WINDIR", "PATH")
_BOOTSTRAP: Final = (
    "import json,sys; sys.path[:]=json.loads(sys.argv[1]); import scanner.isolation.lockdown as l; "
    "l.lock_down(l.Plan.from_json(sys.argv[2])); import scanner.models.child as c; c.main()"
)


def run_child(
    job: Job, work: Path, timeout: float, *, where: str, wanted: Callable[[], bool] = lambda: True
) -> tuple[Layer, ...]:
    """Run :mod:`scanner.models.child` on a job to its end, and turn every end but a result into an error.

    Args:
        job: What to do.
        work: The child's working directory, empty but for its input files.
        timeout: Seconds, on the clock.
        where: The model file, for messages.
        wanted: Asked now and then whether to go on.

    Returns:
        The layers of isolation that the child worked in, as it stated before it read anything of the model.

    Raises:
        ModelError: The child crashed, was killed, took too long, or is not wanted any more.
    """
    # An isolated interpreter ignores PYTHONPATH and the user's site; it gets this one's path instead.
    package = str(Path(scanner.__file__).resolve().parent.parent)
    path = [package, *(entry for entry in sys.path if entry and Path(entry).is_absolute() and entry != package)]
    statement, report = os.pipe()
    try:
        try:
            process = _start(job, work, path, report)
        finally:
            os.close(report)
        tail = _Tail(process.stdout)
        try:
            _send(process.stdin, job.model_dump_json().encode())
            code = _watched(process, _bounds(job, work), work, _Wait(timeout, wanted), where)
        finally:
            _end(process)
        if code != 0:
            last = "" if code == -signal.SIGKILL else tail.last_line()  # who is killed had no say in it
            raise ModelError(f"loading the model failed: {_how(code)}{last}", where=where)
        return read_statement(statement)
    finally:
        os.close(statement)


@dataclass(frozen=True)
class _Wait:
    """How long a child is waited for: seconds on the clock, and for as long as it is wanted."""

    timeout: float
    wanted: Callable[[], bool]


def _bounds(job: Job, work: Path) -> Bounds:
    return Bounds(memory=_OWN_MEMORY + job.memory, disk=_disk(work) + job.memory, threads=_THREADS)


def _watched(process: subprocess.Popen[bytes], bounds: Bounds, work: Path, wait: _Wait, where: str) -> int:
    """Wait for the child's end, and look at what it takes meanwhile.

    Raises:
        ModelError: It took too long, or too much, or is not wanted any more.
    """
    end = time.monotonic() + wait.timeout
    while True:
        try:
            return process.wait(min(_GLANCE, max(end - time.monotonic(), 0)))
        except subprocess.TimeoutExpired as error:
            if time.monotonic() >= end:
                raise ModelError(
                    f"loading the model took longer than {wait.timeout:.0f} seconds",
                    where=where,
                    hint="Allow more with --timeout, or load it on a faster machine",
                ) from error
        if (much := bounds.passed(process.pid, work)) is not None:
            raise ModelError(f"loading the model took {much}, and was ended", where=where)
        if not wait.wanted():
            raise ModelError("loading the model was interrupted", where=where)


def _disk(work: Path) -> int:
    """What the child is given, a copy of it included."""
    return 2 * sum(path.lstat().st_size for path in work.rglob("*"))


def _start(job: Job, work: Path, path: list[str], report: int) -> subprocess.Popen[bytes]:
    environment = {key: os.environ[key] for key in _KEPT_ENVIRONMENT if key in os.environ}
    environment |= {
        "HOME": str(work),
        "TMPDIR": str(work),
        # PyTorch names a cache folder after the user. The child may not read the list of users, and has no other name.
        "USER": "modelscan",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": str(job.threads),
    }
    if not job.trust:
        environment["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    file = job.architecture.rpartition(":")[0] if job.trust_code and job.architecture else ""
    code = code_paths(Path(file)) if file else ()
    plan = Plan(
        parent=os.getpid(),
        readable=readable_paths([*path, *code]),
        writable=(str(work),),
        file_bytes=job.memory,
        cpu_seconds=job.seconds,
        report=report,
    )
    return subprocess.Popen(  # noqa: S603 - this interpreter, and no shell
        [sys.executable, "-I", "-c", _BOOTSTRAP, json.dumps(path), plan.to_json()],
        cwd=work,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(report,),
        start_new_session=True,
    )


def _send(stream: IO[bytes] | None, data: bytes) -> None:
    if stream is None:
        return
    try:
        with stream:
            stream.write(data)
    except BrokenPipeError:
        return  # the child has ended; how tells why


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave neither the child nor a process of its own running."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
    else:
        process.kill()
    process.wait()


def _how(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the child process was killed, most likely for lack of memory"
    if code == -signal.SIGXCPU:
        return "it took too much processor time"
    if code < 0:
        return f"the child process crashed ({signal.Signals(-code).name})"
    return f"the child process ended with code {code}"


class _Tail:
    """Reads a stream to its end in a thread, and keeps the last few kilobytes."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        with stream:
            while block := os.read(stream.fileno(), 65536):
                self._kept += block
                del self._kept[:-_LOG_BYTES]

    def last_line(self) -> str:
        """The last line, for an error message; empty when there is none."""
        self._thread.join(timeout=5)
        lines = self._kept.decode("utf-8", "replace").strip().splitlines()
        line = "".join(char for char in lines[-1] if char.isprintable())[:200] if lines else ""
        return f" ({line})" if line else ""
