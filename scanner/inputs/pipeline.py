"""Run all images of a source through a function, in parallel, in order, in bounded memory.

Every worker claims a chunk, reads and decodes it, and runs the network on it itself. On a CPU,
decoding and inference compete for the same cores, so a queue between them gains nothing and costs a
copy. Chunks are fixed by the position of items in the source: no result depends on the number of
threads or on their timing.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner.inputs.decode import decode
from scanner.inputs.preprocess import PreprocessSpec
from scanner.inputs.source import Item, Source, UnreadableInput
from scanner.inputs.threads import usable_cores

Outputs = Mapping[str, NDArray[Any]]
Run = Callable[[NDArray[np.uint8]], Outputs]


@dataclass(frozen=True)
class Batch:
    """One chunk of a source, done.

    Attributes:
        start: Index of the chunk's first item.
        items: All items of the chunk.
        readable: ``(n,)`` int64 positions within ``items`` that were read.
        outputs: What the function returned, one row per readable item; empty if there is none.
        digests: SHA-256 of each item's bytes in hexadecimal, or None where reading failed.
        unreadable: Items that were left out, with reason and detail.
    """

    start: int
    items: tuple[Item, ...]
    readable: NDArray[np.int64]
    outputs: Outputs
    digests: tuple[str | None, ...]
    unreadable: tuple[tuple[Item, str, str], ...]


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
    chunk; an error of ``run`` is raised here. Closing the iterator stops the workers.

    Args:
        source: Where images come from.
        spec: How to decode them.
        run: Called with pixels ``(n, height, width, channels)`` uint8, from several threads.
        batch_size: Items per chunk.
        threads: Worker threads; None for one per usable core.
        items: The items to run; None for all of the source.
    """
    chosen = source.items if items is None else items
    workers = threads or usable_cores()
    stop = threading.Event()

    def work(start: int) -> Batch:
        return _run_chunk(source, spec, run, start, tuple(chosen[start : start + batch_size]), stop)

    starts = iter(range(0, len(chosen), batch_size))
    pending: list[Future[Batch]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="scan") as pool:
        try:
            for start in starts:
                pending.append(pool.submit(work, start))
                if len(pending) >= workers + 2:
                    yield pending.pop(0).result()
            while pending:
                yield pending.pop(0).result()
        finally:
            stop.set()
            for future in pending:
                future.cancel()


class _Stopped(Exception):
    pass


def _run_chunk(
    source: Source, spec: PreprocessSpec, run: Run, start: int, items: tuple[Item, ...], stop: threading.Event
) -> Batch:
    pixels = np.empty((len(items), *spec.size, spec.channels), np.uint8)
    digests: list[str | None] = []
    readable: list[int] = []
    unreadable: list[tuple[Item, str, str]] = []
    for position, item in enumerate(items):
        if stop.is_set():
            raise _Stopped
        digest: str | None = None
        try:
            data = source.read(item)
            digest = _digest(data)
            pixels[len(readable)] = decode(data, spec)
            readable.append(position)
        except UnreadableInput as error:
            unreadable.append((item, error.reason, error.detail))
        digests.append(digest)
    outputs = run(pixels[: len(readable)]) if readable else {}
    return Batch(start, items, np.array(readable, np.int64), outputs, tuple(digests), tuple(unreadable))


def _digest(data: bytes | NDArray[np.uint8]) -> str:
    """SHA-256 of a file, or of an array's shape and pixels."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha256(f"{data.shape}".encode("ascii") + data.tobytes()).hexdigest()
