"""Ray: actors that hold a worker process each. Chunks' numbers go out; what comes back is that they are done.

Of Ray there is only placement and finding out who died: its data sets, object store and checkpoints are not used. So
bytes never travel, a chunk is there when its file is, and what a killed driver left undone is done by the next one.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from typing import Any, Final

from scanner.base.errors import LatentscanError, UsageError
from scanner.base.text import printable
from scanner.cli.engines.process import ProcessWorker
from scanner.cli.engines.schedule import Lost

_PATIENCE: Final = 10.0


def connect(address: str | None) -> int:
    """Join a cluster, or start one on this machine, and say how many cores it has.

    Args:
        address: Of the head, ``auto``, or None for this machine alone.

    Raises:
        UsageError: Ray is not installed, or cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise UsageError(
            "needs Ray", where="--engine ray", hint="Install it with pip install 'latentscan[ray]'"
        ) from None
    _require_reachable(address or "")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address or "local", include_dashboard=None if address else False, logging_level="ERROR")
    except Exception as error:  # Ray raises many kinds
        what = f"Ray cannot be started or reached ({printable(str(error).splitlines()[0] if str(error) else '', 200)})"
        hint = "Check --address; a cluster with tokens wants RAY_AUTH_MODE=token" if address else None
        raise UsageError(what, where="--engine ray", hint=hint) from None
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _require_reachable(address: str) -> None:
    """Find out at once that nobody answers at a host and port: Ray tries for minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([\w.:-]+?)\]?:(\d{1,5})", address)
    try:
        if match is not None:
            socket.create_connection((match[1], int(match[2])), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        what = f"cannot be reached ({(getattr(error, 'strerror', None) or 'no answer').lower()})"
        raise UsageError(what, where=f"--address {printable(address, 100)}", hint="Check it") from None


def disconnect() -> None:
    """Leave the cluster, or end the one of this machine."""
    import ray

    ray.shutdown()


class _Holder:
    """What runs in an actor. The process is started by the first chunk: an actor that fails when made says less."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._worker: ProcessWorker | None = None

    def score(self, number: int) -> None:
        if self._worker is None:
            self._worker = ProcessWorker(self._arguments)
        self._worker.score(number)


class RayWorker:
    """A worker in an actor, wherever Ray places it.

    Args:
        arguments: As of `ProcessWorker`.
        cores: That it takes.
        gpus: Likewise.
    """

    def __init__(self, arguments: Sequence[str], cores: int, gpus: int) -> None:
        import ray

        self._ray: Any = ray
        holder: Any = ray.remote(_Holder).options(num_cpus=cores, num_gpus=gpus, max_restarts=0)
        self._actor = holder.remote(list(arguments))

    def score(self, number: int) -> None:
        """As :meth:`scanner.cli.engines.schedule.Worker.score`."""
        errors = self._ray.exceptions
        try:
            self._ray.get(self._actor.score.remote(number))
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, LatentscanError):
                raise cause from None
            raise Lost(str(cause)) from None
        except errors.RayError as error:
            raise Lost(f"the actor was lost ({type(error).__name__})") from None

    def close(self) -> None:
        """As :meth:`scanner.cli.engines.schedule.Worker.close`."""
        self._ray.kill(self._actor)
