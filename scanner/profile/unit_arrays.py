"""The shared-units detector as a profile's arrays, and back.

The loudest values of every unit are most of it, and are float32; they and the images that they are of are stored as
bytes. What is small goes among the calibration's arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.shared_units.detector import SharedUnits
from detectors.shared_units.reference import UnitReference
from detectors.shared_units.strata import Strata
from scanner.base.errors import ProfileError
from scanner.profile.content import Profile

_PREFIX: Final = "unit_"
_SMALL: Final = ("strata", "folds", "combined", "of_class", "first", "location", "scale", "centroids")
_HINT: Final = "Fit the profile again"


@dataclass(frozen=True)
class UnitArrays:
    """What a profile stores.

    Attributes:
        values: uint8 ``(4 (m + 1) U,)``: float32 ``(m + 1, U)``, the kept values and, in the last row, the cut.
        images: uint8 ``(4 m U,)``: int32 ``(m, U)``.
        small: Float64 arrays that go among those of the calibration, by name.
    """

    values: NDArray[np.uint8]
    images: NDArray[np.uint8]
    small: dict[str, NDArray[np.float64]]


def units_to_arrays(units: SharedUnits) -> UnitArrays:
    """Arrays for a profile; :func:`units_from_profile` is the inverse."""
    reference, strata = units.reference, units.strata
    small = {
        "strata": reference.strata,
        "folds": reference.folds,
        "combined": units.combined,
        "of_class": strata.of_class,
        "first": np.array([strata.first]),
        "location": strata.location,
        "scale": strata.scale,
        "centroids": strata.centroids,
    }
    return UnitArrays(
        _bytes(np.concatenate([reference.values, reference.cut[None]]), "<f4"),
        _bytes(reference.images, "<i4"),
        {f"{_PREFIX}{name}": np.asarray(value, np.float64) for name, value in small.items()},
    )


def units_from_profile(profile: Profile) -> SharedUnits | None:
    """The detector, from a file of unknown origin; None in a profile of an older format, which has none.

    Raises:
        ProfileError: If an array is missing, or they do not fit together.
    """
    if not profile.unit_values.size and not profile.unit_images.size:
        return None
    arrays = profile.calibration
    try:
        small = {name: arrays[f"{_PREFIX}{name}"] for name in _SMALL}
    except KeyError as error:
        raise ProfileError(f"the units lack {error.args[0]!r}", hint=_HINT) from None
    width = sum(descriptor.dim for descriptor in profile.header.descriptors)
    try:
        return _units(profile, small, width)
    except (ValueError, IndexError, OverflowError) as error:
        raise ProfileError(f"the units do not fit together ({error})", hint=_HINT) from None


def _units(profile: Profile, small: dict[str, NDArray[np.float64]], width: int) -> SharedUnits:
    values = profile.unit_values.view("<f4").reshape(-1, width)
    images = profile.unit_images.view("<i4").reshape(-1, width)
    if (
        len(values) != len(images) + 1
        or np.isnan(values).any()
        or not all(np.isfinite(a).all() for a in small.values())
    ):
        raise ValueError("values that are not numbers, or of other images")
    folds, strata, of_class = (_integers(small[name]) for name in ("folds", "strata", "of_class"))
    count = len(folds)
    if (
        images.size == 0
        or not (int(images.min()) >= 0 and int(images.max()) < count)
        or not -1 <= int(folds.min(initial=0)) <= int(folds.max(initial=0)) < count
        or len(of_class) != profile.header.num_classes
        or small["first"].shape != (1,)
    ):
        raise ValueError("images, folds or classes that there are not")
    calibrating = np.bincount(folds[folds >= 0], minlength=1)
    if not np.array_equal(calibrating.astype(np.float64), profile.calibration.get("fold_sizes", np.zeros(0))):
        raise ValueError("other folds than the calibration's")
    reference = UnitReference(values[:-1], images.astype(np.int32), values[-1], strata, folds)
    single = {name: small[name].astype(np.float32) for name in ("location", "scale", "centroids")}
    first = int(_integers(small["first"])[0])
    if first + single["location"].size > width:
        raise ValueError("columns beyond the last")
    return SharedUnits(reference, Strata(of_class, first, **single), small["combined"])


def _integers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    if values.ndim != 1 or (values != np.floor(values)).any() or (np.abs(values) > 2**31).any():
        raise ValueError("numbers that are no integers")
    return values.astype(np.int64)


def _bytes(array: NDArray[Any], dtype: str) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8)
