"""Inputs through the network, once: chunks of scores, each written as soon as it is whole.

inputs -> pixels -> scores (one graph), looks -> p-values of the densities -> chunk -> file
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from detectors.drift.appearance import appearance, shape_statistics
from scanner.base.errors import ProfileError
from scanner.base.leftovers import remove_leftover_files
from scanner.base.progress import Progress
from scanner.inputs.items import Item
from scanner.inputs.pipeline import Batch, run_pipeline
from scanner.inputs.preprocess import PreprocessSpec
from scanner.scanning.chunks.folder import Chunks
from scanner.scanning.judge import judge_outputs
from scanner.scanning.sample import UNITS, candidates
from scanner.scanning.shared_units import FEATURES, features_of, loud_only
from scanner.scanning.stages import OpenedScan


def score_chunks(
    opened: OpenedScan, chunks: Chunks, wanted: Sequence[int], threads: int | None, progress: Progress
) -> None:
    """Score some chunks and write each of them.

    Args:
        opened: The profile and the inputs.
        chunks: Where they are written.
        wanted: Their numbers, ascending.
        threads: Worker threads; None for one per core.
        progress: Told how many inputs are done.

    Raises:
        ProfileError: If the profile's graph and header do not agree.
        OutputError: If a chunk cannot be written.
    """
    remove_leftover_files(chunks.folder)
    items, number, parts = WantedItems(chunks, wanted), 0, list[Batch]()
    told = progress.task("scan", len(items))
    # Chunks are whole runs on a CPU; a GPU, which takes more at once, may have to take fewer.
    size = math.gcd(chunks.size, opened.scorer.chunk)
    for batch in run_batches(opened, items, threads, size):
        parts.append(batch)
        done = batch.start + len(batch.items)
        if done == items.end(number):
            chunk = _reduced(joined(parts), opened, len(chunks.source.items))
            chunks.write(wanted[number], chunk, opened.scorer.provider)
            number, parts = number + 1, []
        told(done)


def run_batches(
    opened: OpenedScan, items: Sequence[Item], threads: int | None = None, size: int | None = None
) -> Iterator[Batch]:
    """Scored and judged batches of inputs, in order, with all their units.

    Args:
        opened: The profile and the inputs.
        items: Which of the inputs.
        threads: Worker threads; None for one per core.
        size: Inputs of a batch; None for as many as the scorer takes.
    """
    fitted, header, calibration = opened.units, opened.header, opened.calibration
    spec = PreprocessSpec.from_dict(header.preprocess.spec)

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        outputs = opened.scorer.run(pixels)
        judged = judge_outputs(outputs, calibration, header.num_classes)
        judged["appearance"] = appearance(pixels)
        judged["usable"] = judged["finite"]
        if fitted is not None:
            judged[UNITS] = _units(outputs, fitted.reference.units)
            judged["usable"] = judged["finite"] & np.isfinite(judged[UNITS]).all(1)
            if (features := features_of(judged[UNITS], fitted)) is not None:
                judged[FEATURES] = features
        return judged

    for batch in run_pipeline(
        opened.source, spec, run, batch_size=size or opened.scorer.chunk, threads=threads, items=items
    ):
        if len(batch.readable):
            batch.outputs["appearance"][:, -2:] = shape_statistics(batch.sizes)
        yield batch


def _units(outputs: dict[str, NDArray[Any]], width: int) -> NDArray[Any]:
    units = outputs[UNITS]
    if units.shape != (len(outputs["logits"]), width) or units.dtype != np.float32:
        raise ProfileError("the graph's outputs do not have the shapes its header states", hint="Fit it again")
    return units


class WantedItems(Sequence[Item]):
    """The inputs of some chunks, one chunk after the other.

    Args:
        chunks: All of them.
        wanted: Numbers, ascending, so that a short chunk is the last.
    """

    def __init__(self, chunks: Chunks, wanted: Sequence[int]) -> None:
        self._items, self._size, self._wanted = chunks.source.items, chunks.size, wanted
        short = bool(wanted) and wanted[-1] == len(chunks) - 1
        self._length = len(wanted) * self._size - (len(chunks) * self._size - len(self._items) if short else 0)

    def __len__(self) -> int:
        """Number of inputs."""
        return self._length

    def end(self, place: int) -> int:
        """Position after the last input of the chunk at a place among the wanted ones."""
        return min((place + 1) * self._size, self._length)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """The input at a position, or those of a slice."""
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self._length))]
        place, within = divmod(range(self._length)[index], self._size)
        return self._items[self._wanted[place] * self._size + within]


def joined(parts: Sequence[Batch]) -> Batch:
    """Batches that follow one another, as one."""
    first = parts[0].items[0].index
    offsets = np.cumsum([0, *(len(part.items) for part in parts)])
    readable = [part.readable + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    seen = [part.outputs for part in parts if len(part.readable)]
    return Batch(
        start=first,
        items=tuple(item for part in parts for item in part.items),
        readable=np.concatenate(readable),
        outputs={name: np.concatenate([outputs[name] for outputs in seen]) for name in (seen[0] if seen else ())},
        digests=tuple(digest for part in parts for digest in part.digests),
        unreadable=tuple(one for part in parts for one in part.unreadable),
    )


def _reduced(batch: Batch, opened: OpenedScan, total: int) -> Batch:
    """A chunk with those units alone that somebody is going to ask for."""
    if opened.units is None or not len(batch.readable):
        return batch
    outputs = dict(batch.outputs)
    units = outputs.pop(UNITS)
    kept = candidates(batch, total)
    outputs |= {"kept_rows": kept, "kept_units": units[kept], **loud_only(units, opened.units)}
    return replace(batch, outputs=outputs)
