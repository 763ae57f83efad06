"""The audited network: from pixels to logits, on every core, and the budget that it is asked within."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from detectors.probing.network import Logits, May
from scanner.auditing.options import AuditOptions
from scanner.base.progress import Progress
from scanner.fitting.stages import Subject
from scanner.graph.session import GraphSession, images_per_run
from scanner.inputs.normalise import normalise
from scanner.inputs.threads import usable_cores


def network(subject: Subject, session: GraphSession) -> Logits:
    """The network as a function of pixels.

    Images are cut into runs of a fixed size, whatever the number of threads, so that results do not depend on it.
    """
    spec, layout, size = subject.spec, subject.model.layout, images_per_run(subject.spec.size)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return session.run({"image": normalise(pixels, spec, layout)}, ["logits"])["logits"].astype(np.float32)

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        chunks = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        with ThreadPoolExecutor(usable_cores()) as pool:
            return np.concatenate(list(pool.map(run, chunks)))

    return logits


def budget(options: AuditOptions, progress: Progress, clock: Callable[[], float] = time.monotonic) -> May:
    """Whether a search may go on: in passes, in seconds from now on, or both. Shows how much of it is spent."""
    began = clock()
    unit, most = ("passes", options.passes) if options.passes is not None else ("seconds", int(options.budget or 0))
    spent = progress.task(f"probing ({unit}, at most)", most)

    def may(passes: int) -> bool:
        seconds = clock() - began
        spent(min(passes if options.passes is not None else int(seconds), most))
        in_passes = options.passes is None or passes <= options.passes
        return in_passes and (options.budget is None or seconds < options.budget)

    return may
