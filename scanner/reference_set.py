"""The clean reference as the model sees it: features, predictions and classes, spooled to disk.

Features of a large reference do not fit in memory, and the densities need several passes over them.
One pass through the network writes them to temporary files, which the densities read in chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanner.errors import InconclusiveError, SourceError
from scanner.graph.session import GraphSession
from scanner.inputs.items import Source
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.preprocess import PreprocessSpec

MIN_IMAGES = 20


@dataclass(frozen=True)
class ReferenceFeatures:
    """What one pass over the reference gave, for the ``N`` readable images.

    Attributes:
        features: Per output name ``(N, D)`` float32, memory-mapped.
        logits: ``(N, C)`` float32.
        rows: ``(N,)`` int64, index of each image in the source.
        unreadable: Number of images that could not be read.
        digest: SHA-256 over the sorted SHA-256 digests of the images.
    """

    features: dict[str, NDArray[np.float32]]
    logits: NDArray[np.float32]
    rows: NDArray[np.int64]
    unreadable: int
    digest: str

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted classes ``(N,)``."""
        return np.asarray(self.logits.argmax(1), np.int64)


def extract_features(
    session: GraphSession,
    source: Source,
    spec: PreprocessSpec,
    outputs: Mapping[str, int],
    num_classes: int,
    folder: Path,
    batch_size: int,
    progress: Callable[[int], None],
) -> ReferenceFeatures:
    """Run every reference image through the network once.

    Args:
        session: Session of the graph with ``pixels`` as input.
        source: The reference.
        spec: How to decode an image.
        outputs: Descriptor outputs of the graph and their dimension.
        num_classes: Number of classes ``C``.
        folder: An empty folder for the temporary files.
        batch_size: Images per run.
        progress: Called with the number of images done.

    Raises:
        SourceError: If no image can be read.
        InconclusiveError: If too few images can be read.
    """
    total = len(source.items)
    spools = {
        name: np.memmap(folder / f"{index}.f32", np.float32, "w+", shape=(max(total, 1), dim))
        for index, (name, dim) in enumerate(outputs.items())
    }
    logits = np.memmap(folder / "logits.f32", np.float32, "w+", shape=(max(total, 1), num_classes))
    rows: list[NDArray[np.int64]] = []
    digests: list[str] = []
    unreadable: list[str] = []
    names = ["logits", *outputs]
    count = 0
    for batch in run_pipeline(
        source, spec, lambda pixels: session.run({"pixels": pixels}, names), batch_size=batch_size
    ):
        size = len(batch.readable)
        if size:
            logits[count : count + size] = batch.outputs["logits"]
            for name, spool in spools.items():
                spool[count : count + size] = batch.outputs[name]
            rows.append(batch.start + batch.readable)
            digests.extend(d for d in (batch.digests[i] for i in batch.readable) if d is not None)
            count += size
        unreadable.extend(f"{item.id} ({reason})" for item, reason, _ in batch.unreadable[:3])
        progress(batch.start + len(batch.items))
    if count == 0:
        example = f", for example {unreadable[0]}" if unreadable else ""
        raise SourceError(f"none of the {total} images can be read{example}", where=str(source.root))
    require_enough(count, source)
    return ReferenceFeatures(
        {name: spool[:count] for name, spool in spools.items()},
        np.asarray(logits[:count]),
        np.concatenate(rows),
        total - count,
        _combined_digest(digests),
    )


def require_enough(count: int, source: Source) -> None:
    """Refuse a reference that no density can be fitted to.

    Raises:
        InconclusiveError: If there are fewer than :data:`MIN_IMAGES` images.
    """
    if count < MIN_IMAGES:
        raise InconclusiveError(
            f"only {count} reference images, at least {MIN_IMAGES} are needed",
            where=str(source.root),
            hint="Add clean labelled images; 100 or more give a scan at alpha = 0.01",
        )


def _combined_digest(digests: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(digests)).encode("ascii")).hexdigest()
