"""A calibration as the profile's named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.calibration.standardise import Standardiser
from scanner.errors import ProfileError
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
        "bounded": bounded.astype(np.float64),
        "bounds": np.where(bounded, standardiser.bounds, 0.0),
        "locations": standardiser.locations,
        "scales": standardiser.scales,
        "sharpness": np.array([calibration.sharpness]),
    }


def calibration_from_arrays(arrays: Arrays, scores_of: Sequence[ScoreInfo]) -> Calibration:
    """Read a profile's calibration.

    Args:
        arrays: The profile's calibration arrays, from a file of unknown origin.
        scores_of: The scores that the profile's header names.

    Raises:
        ProfileError: If an array is missing, of the wrong shape, not finite or not sorted.
    """
    num_scores = len(scores_of)
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
    enters = np.array([score.combined for score in scores_of])
    return Calibration(scores, combined, standardiser, float(sharpness[0]), enters)
