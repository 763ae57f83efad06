"""Chunks to workers, one at a time, until all are done: whoever dies loses one chunk, which another one repeats."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from scanner.base.errors import InconclusiveError, LatentscanError
from scanner.base.text import printable

TRIES: Final = 3
_LOOK: Final = 0.2
_NAMED: Final = 5


class Lost(Exception):
    """A worker ended, or cannot be reached, before it had done what it was asked for; the message says how."""


class Worker(Protocol):
    """Scores chunks, one after the other."""

    def score(self, number: int) -> None:
        """Score a chunk.

        Raises:
            Lost: It is not known to be done, and this worker is of no more use.
            LatentscanError: No worker can do any.
        """

    def close(self) -> None:
        """End it, whatever it is doing."""


def run_chunks(numbers: Sequence[int], start: Callable[[], Worker], workers: int, done: Callable[[int], None]) -> None:
    """Score chunks by workers, each in a thread that waits for it.

    Args:
        numbers: Of the chunks.
        start: Starts a worker; may raise what :meth:`Worker.score` raises.
        workers: How many at a time.
        done: Called with the number of each chunk that is done, from one thread at a time.

    Raises:
        InconclusiveError: Some chunks failed three times; all others are done.
        LatentscanError: No worker can do any.
    """
    shared = _Shared(numbers, done)
    threads = [threading.Thread(target=_serve, args=(shared, start), daemon=True) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK)  # with an end, so that an interrupt is heard
    finally:
        shared.end()
    if shared.fatal is not None:
        raise shared.fatal
    if shared.failed:
        first = min(shared.failed)
        named = ", ".join(map(str, sorted(shared.failed)[:_NAMED])) + (", ..." if len(shared.failed) > _NAMED else "")
        raise InconclusiveError(
            f"{len(shared.failed)} of {len(numbers)} chunks failed {TRIES} times: {named} "
            f"(chunk {first}: {printable(shared.failed[first], 300)})",
            hint="What else there was is done; run the same again for these",
        )


class _Shared:
    """What the threads share."""

    def __init__(self, numbers: Sequence[int], done: Callable[[int], None]) -> None:
        self._waiting, self._told = deque(numbers), done
        self._running, self._tries = 0, Counter[int]()
        self._changed = threading.Condition()
        self._workers: set[Worker] = set()
        self._ended = False
        self.failed: dict[int, str] = {}
        self.fatal: LatentscanError | None = None

    def take(self) -> int | None:
        """The next chunk; None when there is going to be none."""
        with self._changed:
            # What others are at may fail and come back.
            while not self._waiting and self._running and not self._ended:
                self._changed.wait()
            if self._ended or not self._waiting:
                return None
            self._running += 1
            return self._waiting.popleft()

    def finished(self, number: int) -> None:
        """A chunk is done."""
        with self._changed:
            self._running -= 1
            self._told(number)
            self._changed.notify_all()

    def lost(self, number: int, why: str) -> None:
        """A chunk is to be done again, unless it failed too often."""
        with self._changed:
            self._running -= 1
            self._tries[number] += 1
            if self._tries[number] >= TRIES:
                self.failed[number] = why
            else:
                self._waiting.append(number)
            self._changed.notify_all()

    def give_up(self, error: LatentscanError) -> None:
        """No worker can do any."""
        with self._changed:
            self.fatal = self.fatal or error
        self.end()

    def enter(self, worker: Worker) -> None:
        """A worker began."""
        with self._changed:
            self._workers.add(worker)
            ended = self._ended
        if ended:
            worker.close()

    def leave(self, worker: Worker) -> None:
        """A worker is of no more use."""
        with self._changed:
            self._workers.discard(worker)
        worker.close()

    def end(self) -> None:
        """Let nobody begin anything more, and end who is at something."""
        with self._changed:
            self._ended = True
            workers = list(self._workers)
            self._changed.notify_all()
        for worker in workers:
            worker.close()


def _serve(shared: _Shared, start: Callable[[], Worker]) -> None:
    """One worker after the other, as long as there are chunks."""
    worker: Worker | None = None
    while (number := shared.take()) is not None:
        try:
            if worker is None:
                worker = start()
                shared.enter(worker)
            worker.score(number)
        except Lost as error:
            shared.lost(number, str(error))
            if worker is not None:
                shared.leave(worker)
            worker = None
        except LatentscanError as error:
            shared.give_up(error)
            break
        except Exception as error:  # an engine's own errors: of this thread, and never a silent end
            shared.give_up(LatentscanError(f"the engine failed ({type(error).__name__}: {error})"))
            break
        else:
            shared.finished(number)
    if worker is not None:
        shared.leave(worker)
