"""The clean images of an audit: some of the source, chosen by the seed, decoded once and kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probing import MIN_IMAGES
from detectors.probing.search import ALL
from scanner.base.errors import InconclusiveError
from scanner.fitting.stages import Subject
from scanner.inputs.items import Item, Source, why_unreadable
from scanner.inputs.pipeline import run_pipeline

_BATCH: Final = 8
MOST: Final = 2 * ALL
_LONGEST: Final = 2 * MOST
"""Items that are opened at most; where more than half of them cannot be read, something else is wrong."""


@dataclass(frozen=True)
class CleanImages:
    """Clean images in memory.

    Attributes:
        pixels: ``(N, H, W, C)`` uint8, as the network sees them.
        items: What each was read from.
        unreadable: Images that were met and could not be read.
        digest: SHA-256 over the sorted digests of the images.
    """

    pixels: NDArray[np.uint8]
    items: tuple[Item, ...]
    unreadable: int
    digest: str


def require_enough(count: int, source: Source, unreadable: str | None = None) -> None:
    """Refuse fewer clean images than an audit can be made with.

    Args:
        count: How many there are.
        source: Where they are from.
        unreadable: Why one that was met cannot be read; None where none was met.

    Raises:
        InconclusiveError: If there are too few.
    """
    if count < MIN_IMAGES:
        example = "" if unreadable is None else f", for example {unreadable}"
        raise InconclusiveError(
            f"{count} clean images can be read, at least {MIN_IMAGES} are needed{example}",
            where=str(source.root),
            hint=f"Add clean images; {MOST} are used where there are as many",
        )


def read_clean_images(subject: Subject, seed: int) -> CleanImages:
    """Read at most 400 of the clean images.

    Raises:
        InconclusiveError: If there are too few.
    """
    source, spec = subject.source, subject.spec
    order = np.random.default_rng(seed).permutation(len(source.items))[:_LONGEST]
    found: list[NDArray[np.uint8]] = []
    items: list[Item] = []
    digests: list[str] = []
    unreadable: list[tuple[Item, str, str]] = []

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {"pixels": pixels}

    wanted = [source.items[position] for position in order.tolist()]
    for batch in run_pipeline(source, spec, run, batch_size=_BATCH, items=wanted):
        for position, which in enumerate(batch.readable.tolist()):
            found.append(batch.outputs["pixels"][position].copy())
            items.append(batch.items[which])
            digests.append(batch.digests[which] or "")
        unreadable.extend(batch.unreadable)
        if len(found) >= MOST:
            break
    require_enough(len(found), source, why_unreadable(*unreadable[0]) if unreadable else None)
    digest = hashlib.sha256("\n".join(sorted(digests[:MOST])).encode("ascii")).hexdigest()
    return CleanImages(np.stack(found[:MOST]), tuple(items[:MOST]), len(unreadable), digest)
