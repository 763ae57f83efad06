"""What the clean images of a profile look like, as arrays among those of the calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.copies import copy_distance
from detectors.drift.appearance import STATISTICS, statistics_of, thumbnails_of
from detectors.rows import Rows, chunks
from scanner.base.errors import ProfileError
from scanner.profile.content import Profile

LEVELS: Final = 101
_QUANTILES, _DISTANCE, _CONTENTS = "appearance_quantiles", "copy_distance", "contents"
_BITS: Final = 52
_MOST_COMPARED: Final = 5000
"""Clean images whose neighbours are looked for: of more, these are spread over all."""


@dataclass(frozen=True)
class ReferenceLooks:
    """What clean images look like.

    Attributes:
        quantiles: ``(A, 101)`` of every statistic, at levels 0, 0.01, ..., 1.
        copy_distance: Distance below which two pictures are copies.
        contents: ``(n,)`` float64 whole numbers, ascending: the first 52 bits of every clean image's digest.
    """

    quantiles: NDArray[np.float64]
    copy_distance: float
    contents: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Rows, digests: NDArray[np.uint8]) -> ReferenceLooks:
        """Of the clean images' appearances ``(N, WIDTH)``, of at least two, and their digests ``(n, 32)``."""
        few = rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_COMPARED).astype(int))]
        statistics = np.concatenate([statistics_of(chunk) for chunk in chunks(rows)])
        levels = np.linspace(0, 1, LEVELS)
        quantiles = np.stack([np.quantile(column.astype(np.float64), levels) for column in statistics.T])
        contents = np.unique(digests[:, :8].copy().view(">u8")[:, 0] >> (64 - _BITS)).astype(np.float64)
        return cls(quantiles, copy_distance(thumbnails_of(few)), contents)

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Arrays for a profile; :func:`looks_from_profile` is the inverse."""
        return {_QUANTILES: self.quantiles, _DISTANCE: np.array([self.copy_distance]), _CONTENTS: self.contents}

    def has(self, digest: int) -> bool:
        """Whether an input with this digest is one of the clean images."""
        number = content_number(digest)
        position = int(np.searchsorted(self.contents, number))
        return position < len(self.contents) and bool(self.contents[position] == number)


def content_number(digest: int) -> int:
    """The first 52 bits of a SHA-256 digest, as many as a float64 holds exactly."""
    return digest >> 256 - _BITS


def looks_from_profile(profile: Profile) -> ReferenceLooks | None:
    """What a file of unknown origin says; None in a profile of an older format, which says nothing.

    Raises:
        ProfileError: If the arrays are not such as `fit` writes.
    """
    names = (_QUANTILES, _DISTANCE, _CONTENTS)
    arrays = {name: profile.calibration[name] for name in names if name in profile.calibration}
    if not arrays:
        return None
    if len(arrays) < len(names):
        raise ProfileError("half of what it says of the looks of clean images is missing", hint="Fit the profile again")
    quantiles, distance, contents = (arrays[name] for name in names)
    if quantiles.shape != (len(STATISTICS), LEVELS) or distance.shape != (1,) or contents.ndim != 1:
        raise ProfileError("what it says of the looks of clean images is damaged", hint="Fit the profile again")
    ascend = (np.diff(quantiles) >= 0).all() and (np.diff(contents) > 0).all()
    whole = ((contents == np.floor(contents)) & (contents >= 0) & (contents < 2**_BITS)).all()
    if not (np.isfinite(quantiles).all() and ascend and whole and 0 <= distance[0] <= 1):
        raise ProfileError("what it says of the looks of clean images cannot be", hint="Fit the profile again")
    return ReferenceLooks(quantiles, float(distance[0]), contents)
