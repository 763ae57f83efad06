"""What a chunk holds of its inputs: names, types and bounds of its arrays.

What is read is checked against this before anything is looked up by it, so that a damaged or forged chunk is one clear
error and never a wrong row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.drift.appearance import WIDTH
from scanner.scanning.judge import TOP_SCORES
from scanner.scanning.shared_units import FEATURES
from scanner.scanning.stages import OpenedScan

LOUD: Final = ("loud_rows", "loud_units", "loud_values")
"""Units that may speak up, one entry each: row, unit and value."""
KEPT: Final = ("kept_rows", "kept_units")
"""All units of a few rows: those that the batch's sample may want."""


class UnsoundChunk(ValueError):
    """A chunk's arrays are not what they should be; the message says how."""


@dataclass(frozen=True)
class Columns:
    """The arrays of a profile's chunks.

    Attributes:
        classes: Classes of the network.
        folds: Folds ``K`` of the calibration.
        scores: Scores ``S``.
        entering: Scores that enter the combined one.
        units: Late units ``U``; 0 where the profile keeps none.
        features: Features ``D`` of the last layer; 0 where it keeps none.
    """

    classes: int
    folds: int
    scores: int
    entering: int
    units: int
    features: int

    @classmethod
    def of(cls, opened: OpenedScan) -> Columns:
        """Of an opened profile."""
        calibration, fitted = opened.calibration, opened.units
        return cls(
            opened.header.num_classes,
            calibration.num_folds,
            calibration.scores.shape[1],
            int(calibration.enters.sum()),
            0 if fitted is None else fitted.reference.units,
            0 if fitted is None or fitted.features is None else fitted.features.width,
        )

    def per_row(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type, and shape of one row, of the arrays that have a row for every readable input."""
        features: dict[str, tuple[str, tuple[int, ...]]] = (
            {FEATURES: ("<f2", (self.features,))} if self.features else {}
        )
        return features | {
            "finite": ("|b1", ()),
            "usable": ("|b1", ()),
            "predicted": ("<i8", ()),
            "source_class": ("<i8", ()),
            "p_values": ("<f8", ()),
            "combined": ("<f8", ()),
            "scores": ("<f8", (self.folds, self.scores)),
            "z": ("<f8", (self.scores,)),
            "top_scores": ("<i8", (min(TOP_SCORES, self.entering),)),
            "appearance": ("<f4", (WIDTH,)),
        }

    def others(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type, and shape of one entry, of those that have not."""
        if not self.units:
            return {}
        return {
            "loud_rows": ("<i4", ()),
            "loud_units": ("<i4", ()),
            "loud_values": ("<f4", ()),
            "kept_rows": ("<i4", ()),
            "kept_units": ("<f4", (self.units,)),
        }

    def require_sound(self, arrays: Mapping[str, NDArray[Any]], rows: int) -> None:
        """Refuse arrays of other names, types or shapes, and numbers that refer to nothing.

        Args:
            arrays: Of a chunk, by name; none where it has no readable input.
            rows: Its readable inputs.

        Raises:
            UnsoundChunk: They are not sound.
        """
        wanted = {**self.per_row(), **self.others()} if rows else {}
        if arrays.keys() != wanted.keys():
            raise UnsoundChunk("has other arrays than its profile's scans")
        for name, (dtype, row) in wanted.items():
            array = arrays[name]
            if array.dtype != np.dtype(dtype) or array.shape[1:] != row:
                raise UnsoundChunk(f"has an array {name!r} of another type or shape")
            if name in self.per_row() and len(array) != rows:
                raise UnsoundChunk(f"has an array {name!r} of another length")
        if rows:
            self._require_bounds(arrays, rows)

    def _require_bounds(self, arrays: Mapping[str, NDArray[Any]], rows: int) -> None:
        bounds = [("predicted", -1, self.classes), ("source_class", -1, self.classes), ("top_scores", 0, self.scores)]
        if self.units:
            bounds += [("loud_rows", 0, rows), ("loud_units", 0, self.units), ("kept_rows", 0, rows)]
            if len({len(arrays[name]) for name in LOUD}) > 1 or len({len(arrays[name]) for name in KEPT}) > 1:
                raise UnsoundChunk("has units of other lengths than their rows")
        for name, low, high in bounds:
            if ((arrays[name] < low) | (arrays[name] >= high)).any():
                raise UnsoundChunk(f"has an array {name!r} that refers to nothing")
        if self.features and not np.isfinite(arrays[FEATURES]).all():
            raise UnsoundChunk("has features that are not finite")
        p_values = arrays["p_values"]
        if not ((p_values > 0) & (p_values <= 1)).all():  # NaN fails both
            raise UnsoundChunk("has p-values that are none")
