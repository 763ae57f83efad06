"""Where in the picture the units that inputs share speak up: for a patch it is the same place each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.header import ProfileHeader, TapInfo
from scanner.profile.inner_tensors import open_inner_tensors
from scanner.scanning.scanned import ScannedInput
from scanner.scanning.shared_units import BatchUnits, Place
from scanner.scanning.stages import Counted, OpenedScan

MOST_INPUTS: Final = 32
"""Inputs that are looked at once more."""
_BATCH: Final = 8
_NEAR: Final = 1 / 16
"""Share of the picture's side, at least one position of the layer, within which two places are the same."""


def locate(opened: OpenedScan, counted: Counted) -> Counted:
    """What is known, with the commonest place of every loudest unit; none of units without positions.

    Args:
        opened: The profile and the inputs.
        counted: What the pass over the inputs gave. Of the most suspicious inputs, those that share units are read
            once more; one that is no longer what was scanned is left out.

    Raises:
        ProfileError: If the profile's graph does not have the tensors that its header names.
    """
    units = counted.counts.units
    # A copy would say the same once more.
    sharing = list({row.sha256: row for row in reversed(counted.counts.top) if row.above}.values())[-MOST_INPUTS:]
    if units is None or units.by_units is None or not sharing:
        return counted
    found: dict[int, tuple[TapInfo, int]] = {}
    for unit in units.tests.every.units:
        if (spatial := _spatial(opened.header, units, unit.unit)) is not None:
            found[unit.unit] = spatial
    if not found:
        return counted
    maps = _run(opened, sorted({tap.tensor for tap, _ in found.values()}), sharing)
    places = {}
    for number, (tap, channel) in found.items():
        values = maps.get(tap.tensor)
        if values is not None and len(values):
            places[number] = commonest(values[..., channel] if tap.layout == "NHWC" else values[:, channel])
    return replace(counted, places=places)


def _spatial(header: ProfileHeader, units: BatchUnits, unit: int) -> tuple[TapInfo, int] | None:
    """The tap and channel of a unit that is a maximum over rows and columns."""
    descriptor, channel = units.descriptor_of(header, unit)
    tap = {tap.name: tap for tap in header.taps}.get(descriptor.tap)
    spatial = tap is not None and tap.layout in ("NCHW", "NHWC") and len(tap.shape) == 3
    return (tap, channel) if tap is not None and spatial and descriptor.pooling == "max" else None


def _run(opened: OpenedScan, tensors: Sequence[str], rows: Sequence[ScannedInput]) -> Mapping[str, NDArray[np.float32]]:
    """The tensors ``(n, ...)`` of the inputs that are still what they were."""
    session = open_inner_tensors(opened.profile, tensors, opened.scorer.output_names)
    spec = PreprocessSpec.from_dict(opened.header.preprocess.spec)
    expected = {row.item.index: row.sha256 for row in rows}
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in tensors}

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return session.run({"pixels": pixels}, tensors)

    for batch in run_pipeline(opened.source, spec, run, batch_size=_BATCH, items=[row.item for row in rows]):
        for position, which in enumerate(batch.readable.tolist()):
            if batch.digests[which] == expected[batch.items[which].index]:
                for name in tensors:
                    parts[name].append(batch.outputs[name][position].astype(np.float32))
    return {name: np.stack(values) for name, values in parts.items() if values}


def commonest(maps: NDArray[np.float32]) -> Place:
    """The place where most of ``n`` maps ``(n, H, W)`` are loudest."""
    count, height, width = maps.shape
    flat = maps.reshape(count, -1).argmax(1)
    rows, columns = flat // width, flat % width
    near_rows = np.abs(rows[:, None] - rows) <= max(1, int(_NEAR * height))
    near = near_rows & (np.abs(columns[:, None] - columns) <= max(1, int(_NEAR * width)))
    best = int(near.sum(1).argmax())
    same = near[best]
    row, column = float(np.median(rows[same])), float(np.median(columns[same]))
    return Place((row + 0.5) / height, (column + 0.5) / width, int(same.sum()), count)
