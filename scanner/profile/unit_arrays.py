"""The shared-units detector as a profile's arrays, and back.

The loudest values of every unit, the images that they are of, and all images' features of the last layer are most of
it, and are stored as bytes. What is small goes among the calibration's arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.shared_units.clean_features import CleanFeatures
from detectors.shared_units.clean_scores import CleanScores
from detectors.shared_units.detector import SharedUnits
from detectors.shared_units.reference import UnitReference
from detectors.shared_units.strata import Strata
from scanner.base.errors import ProfileError
from scanner.profile.content import Profile

_PREFIX: Final = "unit_"
_SMALL: Final = ("width", "strata", "folds", "combined", "of_class", "first", "location", "scale", "centroids")
_CLASSES: Final = "classes"
_SCORED: Final = "scored"
_FEATURES: Final = ("feature_location", "feature_scale")
_HINT: Final = "Fit the profile again"
_FARTHEST: Final = 1e9
"""Standardised logarithms of activations are far below it, and the scalar products of such are finite in float32."""
_HIGHEST: Final = 1e150
"""Likewise for the densities' scores."""
MAX_TABLE_BYTES: Final = 2**29
"""Most memory for the values of all clean images in all units: what a scan looks things up in."""
MAX_FEATURE_BYTES: Final = 2**25
"""Most of a profile for the features of clean images: a scan works with them in float64, and with several copies."""


@dataclass(frozen=True)
class UnitArrays:
    """What a profile stores.

    Attributes:
        values: uint8 ``(4 (m + 1) U,)``: float32 ``(m + 1, U)``, the kept values and, in the last row, the cut.
        images: uint8 ``(4 m U,)``: int32 ``(m, U)``.
        features: uint8 ``(2 n D,)``: float16 ``(n, D)``.
        small: Float64 arrays that go among those of the calibration, by name.
    """

    values: NDArray[np.uint8]
    images: NDArray[np.uint8]
    features: NDArray[np.uint8]
    small: dict[str, NDArray[np.float64]]


def units_to_arrays(units: SharedUnits) -> UnitArrays:
    """Arrays for a profile; :func:`units_from_profile` is the inverse."""
    reference, strata = units.reference, units.strata
    small = {
        "width": np.array([reference.units]),
        "strata": reference.strata,
        "folds": reference.folds,
        _CLASSES: units.predicted,
        "combined": units.scores.combined,
        _SCORED: units.scores.scored,
        "of_class": strata.of_class,
        "first": np.array([strata.first]),
        "location": strata.location,
        "scale": strata.scale,
        "centroids": strata.centroids,
    }
    features = np.zeros((0, 0), np.float16)
    if units.features is not None:
        features = units.features.features
        small |= dict(zip(_FEATURES, (units.features.location, units.features.scale), strict=True))
    return UnitArrays(
        _bytes(np.concatenate([reference.values, reference.cut[None]]), "<f4"),
        _bytes(reference.images, "<i4"),
        _bytes(features, "<f2"),
        {f"{_PREFIX}{name}": np.asarray(value, np.float64) for name, value in small.items()},
    )


def units_from_profile(profile: Profile) -> SharedUnits | None:
    """The detector, from a file of unknown origin; None in a profile of an older format, which has none.

    Raises:
        ProfileError: If an array is missing, they do not fit together or would take too much memory.
    """
    arrays = profile.calibration
    stored = (*_SMALL, _CLASSES, _SCORED, *_FEATURES)
    small = {name: arrays[f"{_PREFIX}{name}"] for name in stored if f"{_PREFIX}{name}" in arrays}
    present = {"values": profile.unit_values.size > 0, "images": profile.unit_images.size > 0}
    if not small and not any(present.values()):
        return None
    missing = [name for name, there in (present | {name: name in small for name in _SMALL}).items() if not there]
    if missing:
        raise ProfileError(f"the units lack '{_PREFIX}{missing[0]}'", hint=_HINT)
    try:
        return _units(profile, small, _width(profile, small["width"]))
    except (ValueError, IndexError, OverflowError) as error:
        raise ProfileError(f"the units do not fit together ({error})", hint=_HINT) from None


def _width(profile: Profile, stored: NDArray[np.float64]) -> int:
    """Number of units: the channels of some of the last descriptors.

    Raises:
        ValueError: If it is another number.
    """
    widths = np.cumsum([descriptor.dim for descriptor in reversed(profile.header.descriptors)])
    if stored.shape != (1,) or stored[0] not in widths:
        raise ValueError("units of other descriptors")
    return int(stored[0])


def _units(profile: Profile, small: dict[str, NDArray[np.float64]], width: int) -> SharedUnits:
    """The detector, of arrays that are all there.

    Raises:
        ValueError: What is wrong with them.
    """
    values = profile.unit_values.view("<f4").reshape(-1, width)
    images = profile.unit_images.view("<i4").reshape(-1, width)
    folds, strata, of_class, first = (_integers(small[name]) for name in ("folds", "strata", "of_class", "first"))
    count = len(folds)
    if 4 * count * width > MAX_TABLE_BYTES:
        raise ValueError(f"{count} images in {width} units are more than fit into memory")
    if len(values) != len(images) + 1 or not 0 < len(images) <= count or not (values < np.inf).all():
        raise ValueError("values that are not finite, or of other images")
    if images.min() < 0 or images.max() >= count:
        raise ValueError("images that there are not")
    if len(of_class) != profile.header.num_classes or first.shape != (1,):
        raise ValueError("classes that there are not")
    classes = _integers(small[_CLASSES]) if _CLASSES in small else _classes_of(strata, of_class)
    if not -1 <= classes.min(initial=0) <= classes.max(initial=0) < len(of_class):
        raise ValueError("images of classes that there are not")
    _check_folds(folds, profile.calibration.get("fold_sizes", np.zeros(0)))
    bounds = {"combined": _HIGHEST} | dict.fromkeys(("location", "scale", "centroids"), _FARTHEST)
    if any(not (np.abs(small[name]) <= bound).all() for name, bound in bounds.items()):
        raise ValueError("values that are not finite, or too large")
    if len(small["centroids"]) > count or not (small["scale"] >= 1 / _FARTHEST).all():
        raise ValueError("more centroids than images, or scales that are not positive")
    if first[0] + small["location"].size > width:
        raise ValueError("columns beyond the last")
    single = {name: small[name].astype(np.float32) for name in ("location", "scale", "centroids")}
    reference = UnitReference(values[:-1], images.astype(np.int32), values[-1], strata, folds)
    return SharedUnits(
        reference,
        Strata(of_class, int(first[0]), **single),
        classes,
        _scores(small, folds),
        _features(profile, small, classes, width),
    )


def _scores(small: dict[str, NDArray[np.float64]], folds: NDArray[np.int64]) -> CleanScores:
    """Scores of the images; of an older profile of those alone that calibrate.

    Raises:
        ValueError: If it is not said of each whether it has any.
    """
    scored = _integers(small[_SCORED]) if _SCORED in small else np.asarray(folds >= 0, np.int64)
    if not 0 <= scored.min(initial=0) <= scored.max(initial=0) <= 1:
        raise ValueError("images of which it is not said whether they have scores")
    return CleanScores(small["combined"], scored == 1, folds)


def _features(
    profile: Profile, small: dict[str, NDArray[np.float64]], classes: NDArray[np.int64], width: int
) -> CleanFeatures | None:
    """Features of the images; None in an older profile, which has none.

    Raises:
        ValueError: If a part is missing, they are of other images or descriptors, or they are not finite, or too large.
    """
    there = [name in small for name in _FEATURES]
    if not profile.unit_features.size and not any(there):
        return None
    if not profile.unit_features.size or not all(there) or _SCORED not in small:
        raise ValueError("features of which a part is missing")
    if profile.unit_features.size > MAX_FEATURE_BYTES:
        raise ValueError(f"features of {profile.unit_features.size} bytes are more than fit into memory")
    location, scale = (small[name] for name in _FEATURES)
    dims = np.cumsum([descriptor.dim for descriptor in reversed(profile.header.descriptors)])
    if location.ndim != 1 or len(location) not in dims[dims <= width]:
        raise ValueError("features of other descriptors")
    if not (np.abs(location) <= _HIGHEST).all() or not ((scale >= 1 / _HIGHEST) & (scale <= _HIGHEST)).all():
        raise ValueError("features that are not finite, or too large")
    features = profile.unit_features.view("<f2").reshape(len(classes), len(location))
    return CleanFeatures(features.astype(np.float16), classes, profile.header.num_classes, location, scale)


def _classes_of(strata: NDArray[np.int64], of_class: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes of the images of an older profile, as far as their strata tell; -1 where they do not."""
    own = {int(stratum): label for label, stratum in enumerate(of_class) if stratum >= 0}
    return np.array([own.get(stratum, -1) for stratum in strata.tolist()], np.int64)


def _check_folds(folds: NDArray[np.int64], sizes: NDArray[np.float64]) -> None:
    """Every fold of the calibration has images here, at most its own; -1 is none."""
    if not -1 <= folds.min(initial=0) <= folds.max(initial=0) < sizes.size:
        raise ValueError("folds that there are not")
    images = np.bincount(folds[folds >= 0], minlength=sizes.size)
    if (images < 1).any() or (images > sizes).any():
        raise ValueError("other folds than the calibration's")


def _integers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    # NaN is not at most anything.
    if values.ndim != 1 or not (np.abs(values) <= 2**31).all() or (values != np.floor(values)).any():
        raise ValueError("numbers that are no integers")
    return values.astype(np.int64)


def _bytes(array: NDArray[Any], dtype: str) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8)
