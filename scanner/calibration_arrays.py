"""A calibration as the profile's named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.calibration.standardise import Standardiser
from scanner.errors import ProfileError

Arrays = Mapping[str, NDArray[np.float64]]


def calibration_to_arrays(calibration: Calibration) -> dict[str, NDArray[np.float64]]:
    """Arrays for :class:`scanner.profile.content.Profile`; :func:`calibration_from_arrays` is the inverse."""
    standardiser = calibration.standardiser
    bounded = ~np.isnan(standardiser.bounds)
    return {
        "scores": calibration.scores,
        "combined": calibration.combined,
        "bounded": bounded.astype(np.float64),
        "bounds": np.where(bounded, standardiser.bounds, 0.0),
        "locations": standardiser.locations,
        "scales": standardiser.scales,
        "sharpness": np.array([calibration.sharpness]),
    }


def calibration_from_arrays(arrays: Arrays, num_scores: int) -> Calibration:
    """Read a profile's calibration.

    Args:
        arrays: The profile's calibration arrays, from a file of unknown origin.
        num_scores: Number of scores that the profile's header names.

    Raises:
        ProfileError: If an array is missing, of the wrong shape, not finite or not sorted.
    """
    try:
        scores, combined, sharpness = arrays["scores"], arrays["combined"], arrays["sharpness"]
        columns = [arrays[name] for name in ("bounded", "bounds", "locations", "scales")]
    except KeyError as error:
        raise ProfileError(f"the calibration lacks {error.args[0]!r}", hint="Fit the profile again") from None
    consistent = (
        scores.ndim == 2
        and scores.shape[1] == num_scores
        and combined.shape == scores.shape[:1]
        and len(combined) > 0
        and all(column.shape == (num_scores,) for column in columns)
        and sharpness.shape == (1,)
    )
    if not consistent or not all(np.isfinite(a).all() for a in (scores, combined, sharpness, *columns)):
        raise ProfileError("the calibration arrays do not fit together", hint="Fit the profile again")
    bounded, bounds, locations, scales = columns
    if (np.diff(combined) < 0).any() or (np.diff(scores, axis=0) < 0).any() or scales.min() <= 0 or sharpness[0] <= 0:
        raise ProfileError("the calibration is not sorted, or its scales are not positive", hint="Fit it again")
    standardiser = Standardiser(np.where(bounded > 0.5, bounds, np.nan), locations, scales)
    return Calibration(scores, combined, standardiser, float(sharpness[0]))
