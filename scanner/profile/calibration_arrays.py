"""A calibration as the profile's named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.calibration.standardise import Standardiser
from scanner.base.errors import ProfileError
from scanner.profile.header import ScoreInfo

Arrays = Mapping[str, NDArray[np.float64]]


def calibration_to_arrays(calibration: Calibration) -> dict[str, NDArray[np.float64]]:
    """Arrays for :class:`scanner.profile.content.Profile`; :func:`calibration_from_arrays` is the inverse.

    Which scores enter the combined one is in the header.
    """
    standardiser = calibration.standardiser
    bounded = ~np.isnan(standardiser.bounds)
    return {
        "scores": calibration.scores,
        "combined": calibration.combined,
        "fold_sizes": calibration.fold_sizes.astype(np.float64),
        "bounded": bounded.astype(np.float64),
        "bounds": np.where(bounded, standardiser.bounds, 0.0),
        "locations": standardiser.locations,
        "scales": standardiser.scales,
        "sharpness": np.array([calibration.sharpness]),
        "contradicts": calibration.contradicts.astype(np.float64),
    }


def calibration_from_arrays(arrays: Arrays, scores_of: Sequence[ScoreInfo]) -> Calibration:
    """Read a profile's calibration.

    Args:
        arrays: The profile's calibration arrays, from a file of unknown origin.
        scores_of: The scores that the profile's header names.

    Raises:
        ProfileError: If an array is missing, of the wrong shape, not finite or not sorted within each fold.
    """
    num_scores = len(scores_of)
    try:
        scores, combined, sharpness = arrays["scores"], arrays["combined"], arrays["sharpness"]
        sizes = arrays["fold_sizes"]
        columns = [arrays[name] for name in ("bounded", "bounds", "locations", "scales")]
        # Profiles before format 2.3 combine all scores alike.
        columns.append(arrays["contradicts"] if "contradicts" in arrays else np.zeros(num_scores))
    except KeyError as error:
        raise ProfileError(f"the calibration lacks {error.args[0]!r}", hint="Fit the profile again") from None
    consistent = (
        scores.ndim == 2
        and scores.shape[1] == num_scores
        and combined.shape == scores.shape[:1]
        and len(combined) > 0
        and all(column.shape == (num_scores,) for column in columns)
        and sharpness.shape == (1,)
        and sizes.ndim == 1
        and sizes.size > 0
    )
    if not consistent or not all(np.isfinite(a).all() for a in (scores, combined, sharpness, sizes, *columns)):
        raise ProfileError("the calibration arrays do not fit together", hint="Fit the profile again")
    if (sizes < 1).any() or (sizes != np.floor(sizes)).any() or sizes.sum() != len(combined):
        raise ProfileError("the folds of the calibration do not add up", hint="Fit the profile again")
    bounded, bounds, locations, scales, contradicts = columns
    fold_sizes = sizes.astype(np.int64)
    if not _sorted(combined[:, None], fold_sizes) or not _sorted(scores, fold_sizes) or scales.min() <= 0:
        raise ProfileError("the calibration is not sorted, or its scales are not positive", hint="Fit it again")
    if sharpness[0] <= 0:
        raise ProfileError("the calibration's sharpness is not positive", hint="Fit the profile again")
    standardiser = Standardiser(np.where(bounded > 0.5, bounds, np.nan), locations, scales)
    enters = np.array([score.combined for score in scores_of])
    return Calibration(scores, combined, fold_sizes, standardiser, float(sharpness[0]), enters, contradicts > 0.5)


def _sorted(columns: NDArray[np.float64], fold_sizes: NDArray[np.int64]) -> bool:
    """Whether every column ascends within each fold."""
    folds = np.split(columns, np.cumsum(fold_sizes)[:-1])
    return not any((np.diff(fold, axis=0) < 0).any() for fold in folds)
