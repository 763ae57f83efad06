"""Run all images of a source through a function, in parallel, in order, in bounded memory.

Every worker claims a chunk, reads and decodes it, and runs the network on it itself. On a CPU,
decoding and inference compete for the same cores, so a queue between them gains nothing and costs a
copy. Chunks are fixed by the position of items: no result depends on the number of threads or on
their timing.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner.inputs.decode import decode_sized
from scanner.inputs.items import Item, Source, UnreadableInput
from scanner.inputs.spec import PreprocessSpec
from scanner.inputs.threads import usable_cores

Outputs = Mapping[str, NDArray[Any]]
Run = Callable[[NDArray[np.uint8]], Outputs]


@dataclass(frozen=True)
class Batch:
    """One chunk of a source, done.

    Attributes:
        start: Position of the chunk's first item among those that are run.
        items: All items of the chunk.
        readable: ``(n,)`` int64 positions within ``items`` that were decoded.
        outputs: What the function returned, one row per readable item; empty if there is none.
        digests: SHA-256 in hexadecimal of each item, or None where it could not be read: of a file's
            bytes; of an array image, see :func:`digest`.
        unreadable: Items that were left out, with reason and detail.
        sizes: ``(n, 2)`` int32 height and width that each readable image had before it was resized.
    """

    start: int
    items: tuple[Item, ...]
    readable: NDArray[np.int64]
    outputs: Outputs
    digests: tuple[str | None, ...]
    unreadable: tuple[tuple[Item, str, str], ...]
    sizes: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))


def run_pipeline(
    source: Source,
    spec: PreprocessSpec,
    run: Run,
    *,
    batch_size: int = 8,
    threads: int | None = None,
    items: Sequence[Item] | None = None,
) -> Iterator[Batch]:
    """Yield the source's chunks in order.

    At most ``threads + 2`` chunks exist at a time. An image that cannot be read is a row of its
    chunk, not an exception. Closing the iterator stops the workers, each after the image or the call
    of ``run`` it is at. Nothing starts before the first chunk is asked for.

    Args:
        source: Where images come from.
        spec: How to decode them.
        run: Called with pixels ``(n, height, width, channels)`` uint8, ``1 <= n <= batch_size``, from
            several threads at once. Returns arrays with ``n`` rows. What it raises is raised here, by
            the next step of the iterator, even if earlier chunks were not handed out yet.
        batch_size: Items per chunk.
        threads: Worker threads; None for one per usable core.
        items: The items to run, in that order; None for all of the source.

    Raises:
        ValueError: If ``batch_size`` or ``threads`` is less than 1.
    """
    workers = usable_cores() if threads is None else threads
    if batch_size < 1 or workers < 1:
        raise ValueError(f"batch_size and threads must be positive, got {batch_size} and {workers}")
    chosen = source.items if items is None else items
    return _run(_Work(source, spec, run, chosen, batch_size, threading.Event()), workers)


@dataclass(frozen=True)
class _Work:
    source: Source
    spec: PreprocessSpec
    run: Run
    items: Sequence[Item]
    batch_size: int
    stop: threading.Event


class _Stopped(Exception):
    """Nobody waits for the chunk any more."""


def _run(work: _Work, workers: int) -> Iterator[Batch]:
    pending: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="scan") as pool:
        try:
            for start in range(0, len(work.items), work.batch_size):
                pending.append(pool.submit(_run_chunk, work, start))
                if len(pending) == workers + 2:
                    yield _first(pending)
            while pending:
                yield _first(pending)
        finally:
            work.stop.set()
            for future in pending:
                future.cancel()


def _first(pending: deque[Future[Batch]]) -> Batch:
    """Wait for the first chunk, or for the failure of any."""
    while not pending[0].done():
        wait([future for future in pending if not future.done()], return_when=FIRST_COMPLETED)
        for future in pending:
            if future.done():
                future.result()  # raises what the worker raised
    return pending.popleft().result()


def _run_chunk(work: _Work, start: int) -> Batch:
    items = tuple(work.items[start : start + work.batch_size])
    pixels = np.empty((len(items), *work.spec.size, work.spec.channels), np.uint8)
    digests: list[str | None] = []
    readable: list[int] = []
    sizes = np.zeros((len(items), 2), np.int32)
    unreadable: list[tuple[Item, str, str]] = []
    for position, item in enumerate(items):
        if work.stop.is_set():
            raise _Stopped
        digested: str | None = None
        try:
            data = work.source.read(item)
            digested = digest(data)
            pixels[len(readable)], sizes[len(readable)] = decode_sized(data, work.spec)
            readable.append(position)
        except UnreadableInput as error:
            unreadable.append((item, error.reason, error.detail))
        digests.append(digested)
    if work.stop.is_set():
        raise _Stopped
    outputs = work.run(pixels[: len(readable)]) if readable else {}
    for name, rows in outputs.items():
        if len(rows) != len(readable):
            raise ValueError(f"output {name!r} has {len(rows)} rows for {len(readable)} images")
    rows = np.array(readable, np.int64)
    return Batch(start, items, rows, outputs, tuple(digests), tuple(unreadable), sizes[: len(readable)])


def digest(data: bytes | NDArray[np.uint8]) -> str:
    """SHA-256 in hexadecimal: of a file's bytes, or of an image's shape ``(H, W, C)`` and pixels.

    The shape goes in front as text, for example ``"32,32,3:"``; ``(H, W)`` counts as one channel.
    """
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    shape = data.shape if data.ndim == 3 else (*data.shape, 1)
    state = hashlib.sha256(f"{','.join(map(str, shape))}:".encode("ascii"))
    state.update(np.ascontiguousarray(data).data)
    return state.hexdigest()
