"""Units in a profile: a round trip, and what a file of unknown origin may do to them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from onnx_graphs import conv_net
from PIL import Image
from profile_samples import sample_profile

import latentscan
from detectors.shared_units.clean_scores import CleanScores
from detectors.shared_units.similar_images import fit_shared_units
from scanner.base.errors import ProfileError
from scanner.fitting import fit_detectors
from scanner.fitting.fit_detectors import spread_over_folds
from scanner.profile import unit_arrays
from scanner.profile.content import Profile
from scanner.profile.reader import read_profile
from scanner.profile.unit_arrays import units_from_profile, units_to_arrays
from scanner.profile.writer import write_profile

IMAGES, UNITS, CLASSES = 60, 16, 3
NO_BYTES = np.zeros(0, np.uint8)


def fitted():
    generator = np.random.default_rng(0)
    values = np.maximum(generator.normal(size=(IMAGES, UNITS)), 0).astype(np.float32)
    folds = np.arange(IMAGES) % 5
    folds[-4:] = -1
    predicted = generator.integers(0, CLASSES, IMAGES)
    scored = folds >= 0
    scored[-2:] = True  # as of images that set the scale
    scores = CleanScores(generator.random(IMAGES), scored, folds)
    return fit_shared_units({"layer1:max": values}, "layer1:max", predicted, CLASSES, scores)


def with_units() -> Profile:
    """The sample profile, whose header names one descriptor of 16 channels and three classes, with units."""
    units = units_to_arrays(fitted())
    sample = sample_profile()
    sizes = np.bincount(fitted().reference.folds + 1)[1:].astype(np.float64)
    return dataclasses.replace(
        sample,
        calibration={**sample.calibration, "fold_sizes": sizes, **units.small},
        unit_values=units.values,
        unit_images=units.images,
        unit_features=units.features,
    )


def test_round_trip_through_a_file_is_exact(tmp_path: Path) -> None:
    write_profile(tmp_path / "a.h5", with_units())
    read = read_profile(tmp_path / "a.h5")
    assert read.header.schema_version == "2.5"
    back, expected = units_from_profile(read), fitted()
    assert back is not None
    for part in ("reference", "strata"):
        for name, value in dataclasses.asdict(getattr(expected, part)).items():
            got = getattr(getattr(back, part), name)
            if isinstance(value, np.ndarray):
                assert (got.dtype, got.shape) == (value.dtype, value.shape)
                assert got.tobytes() == value.tobytes(), name
            else:
                assert got == value
    for name, value in dataclasses.asdict(expected.scores).items():
        np.testing.assert_array_equal(getattr(back.scores, name), value, strict=True)
    np.testing.assert_array_equal(back.predicted, expected.predicted)
    assert back.features is not None
    assert expected.features is not None
    for name, value in dataclasses.asdict(expected.features).items():
        np.testing.assert_array_equal(getattr(back.features, name), value, strict=True)
    write_profile(tmp_path / "b.h5", read)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_units_are_part_of_the_digest() -> None:
    profile = with_units()
    other = profile.unit_values.copy()
    other[0] ^= 1
    assert dataclasses.replace(profile, unit_values=other).digest != profile.digest
    images = profile.unit_images.copy()
    images[0] ^= 1
    assert dataclasses.replace(profile, unit_images=images).digest != profile.digest
    features = profile.unit_features.copy()
    features[0] ^= 1
    assert dataclasses.replace(profile, unit_features=features).digest != profile.digest


def test_an_older_profile_has_the_classes_that_its_strata_tell() -> None:
    expected, back = fitted(), units_from_profile(without("unit_classes")(with_units()))
    assert back is not None
    own = expected.strata.of_class[expected.predicted] >= 0
    np.testing.assert_array_equal(back.predicted, np.where(own, expected.predicted, -1))
    assert own.any()


def without_features(p):
    for name in ("unit_feature_location", "unit_feature_scale"):
        p = without(name)(p)
    return dataclasses.replace(p, unit_features=NO_BYTES)


def test_a_profile_of_format_2_4_has_no_features() -> None:
    back = units_from_profile(small("scores", np.zeros((IMAGES, 1)))(without_features(with_units())))
    assert back is not None
    assert back.features is None
    np.testing.assert_array_equal(back.scores.scored, fitted().scores.scored)


def test_an_older_profile_has_combined_scores_alone() -> None:
    back = units_from_profile(without("unit_scored")(without_features(with_units())))
    assert back is not None
    assert back.features is None
    np.testing.assert_array_equal(back.scores.scored, back.reference.folds >= 0)
    np.testing.assert_array_equal(back.scores.combined, fitted().scores.combined)


def test_a_profile_without_any_of_it_has_no_units() -> None:
    assert units_from_profile(sample_profile(schema_version="2.0")) is None


def small(name, value):
    """With another array."""
    return lambda p: dataclasses.replace(p, calibration={**p.calibration, f"unit_{name}": np.asarray(value, float)})


def changed(name, change):
    """With an array that was changed."""

    def act(p):
        array = p.calibration[f"unit_{name}"].copy()
        return small(name, change(array))(p)

    return act


def put(where, value):
    def change(array):
        array.flat[where] = value
        return array

    return change


def without(name):
    return lambda p: dataclasses.replace(
        p, calibration={key: array for key, array in p.calibration.items() if key != name}
    )


def stored(name, dtype):
    """Changes numbers of a data set that is stored as bytes."""

    def at(where, value):
        def act(p):
            numbers = getattr(p, name).view(dtype).copy()
            numbers[where] = value
            return dataclasses.replace(p, **{name: numbers.view(np.uint8)})

        return act

    return at


values, images, features = stored("unit_values", "<f4"), stored("unit_images", "<i4"), stored("unit_features", "<f2")


def cut(name, count):
    return lambda p: dataclasses.replace(p, **{name: getattr(p, name)[: len(getattr(p, name)) - count].copy()})


HOSTILE = {
    "values that are no whole floats": cut("unit_values", 3),
    "values of half a row": cut("unit_values", 4),
    "a row of values less": cut("unit_values", 4 * UNITS),
    "a row of images less": cut("unit_images", 4 * UNITS),
    "images of half a row": cut("unit_images", 4),
    "no values": lambda p: dataclasses.replace(p, unit_values=NO_BYTES),
    "no images": lambda p: dataclasses.replace(p, unit_images=NO_BYTES),
    "small arrays alone": lambda p: dataclasses.replace(p, unit_values=NO_BYTES, unit_images=NO_BYTES),
    "a cut alone": lambda p: dataclasses.replace(
        p, unit_values=p.unit_values[: 4 * UNITS].copy(), unit_images=NO_BYTES
    ),
    "NaN among the values": values(5, np.nan),
    "infinity among the values": values(5, np.inf),
    "a cut of NaN": values(-1, np.nan),
    "an image too high": images(3, IMAGES),
    "an image far too high": images(3, 2**31 - 1),
    "an image below zero": images(3, -1),
    "a fold that there is not": changed("folds", put(0, 5)),
    "a fold far away": changed("folds", put(0, 2**31)),
    "a fold below": changed("folds", put(0, -2)),
    "half a fold": changed("folds", put(0, 0.5)),
    "a fold of NaN": changed("folds", put(0, np.nan)),
    "an infinite fold": changed("folds", put(0, np.inf)),
    "a fold with too many images": changed("folds", put(slice(None), 0)),
    "a fold without images": changed("folds", lambda a: np.where(a == 1, -1, a)),
    "no image that calibrates": changed("folds", put(slice(None), -1)),
    "folds in a square": changed("folds", lambda a: a.reshape(6, 10)),
    "a number for the folds": small("folds", 0.0),
    "no folds": small("folds", np.zeros(0)),
    "more folds than strata": changed("folds", lambda a: np.append(a, -1)),
    "fewer strata": changed("strata", lambda a: a[1:]),
    "half a stratum": changed("strata", put(0, 0.5)),
    "a stratum of NaN": changed("strata", put(0, np.nan)),
    "fewer scores": changed("combined", lambda a: a[1:]),
    "an infinite score": changed("combined", put(0, np.inf)),
    "a huge score": changed("combined", put(0, 1e308)),
    "fewer classes": changed("of_class", lambda a: a[1:]),
    "a class below": changed("of_class", put(0, -2)),
    "an image of a class below": changed("classes", put(0, -2)),
    "an image of a class too high": changed("classes", put(0, CLASSES)),
    "an image of half a class": changed("classes", put(0, 0.5)),
    "an image without a class": changed("classes", lambda a: a[1:]),
    "no first column": small("first", np.zeros(0)),
    "columns beyond the last": small("first", [UNITS - 1]),
    "a first column below": small("first", [-1]),
    "a first column far away": small("first", [2.0**31]),
    "fewer locations": changed("location", lambda a: a[1:]),
    "locations in a square": changed("location", lambda a: a.reshape(4, 4)),
    "an infinite location": changed("location", put(0, np.inf)),
    "a scale of zero": changed("scale", put(0, 0)),
    "a scale below zero": changed("scale", put(0, -1)),
    "a scale that is zero in single precision": changed("scale", put(0, 1e-60)),
    "a scale that is infinite in single precision": changed("scale", put(0, 1e60)),
    "no centroid": changed("centroids", lambda a: a[:0]),
    "narrow centroids": changed("centroids", lambda a: a[:, 1:]),
    "a centroid of NaN": changed("centroids", put(0, np.nan)),
    "a centroid too far": changed("centroids", put(0, 1e38)),
    "more centroids than images": changed("centroids", lambda a: np.tile(a, (1 + IMAGES, 1))),
    **{f"no {name}": without(f"unit_{name}") for name in ("strata", "folds", "combined", "of_class", "first")},
    **{f"no {name}": without(f"unit_{name}") for name in ("location", "scale", "centroids")},
    "scores of nobody knows which images": without("unit_scored"),
    "no features": lambda p: dataclasses.replace(p, unit_features=NO_BYTES),
    "features of nobody knows what location": without("unit_feature_location"),
    "features of nobody knows what scale": without("unit_feature_scale"),
    "features of half an image": cut("unit_features", UNITS),
    "half a feature": cut("unit_features", 1),
    "features of fewer images": cut("unit_features", 2 * UNITS),
    "a feature of NaN": features(5, np.nan),
    "an infinite feature": features(5, np.inf),
    "features of half a descriptor": lambda p: small("feature_location", np.zeros(UNITS // 2))(
        small("feature_scale", np.ones(UNITS // 2))(p)
    ),
    "more features than units": lambda p: small("feature_location", np.zeros(2 * UNITS))(
        small("feature_scale", np.ones(2 * UNITS))(p)
    ),
    "fewer scales": changed("feature_scale", lambda a: a[1:]),
    "locations of features in a square": changed("feature_location", lambda a: a.reshape(4, 4)),
    "a location of a feature that is not finite": changed("feature_location", put(0, np.inf)),
    "a huge scale of a feature": changed("feature_scale", put(0, 1e308)),
    "a scale of a feature of zero": changed("feature_scale", put(0, 0)),
    "a scale of a feature below zero": changed("feature_scale", put(0, -1)),
    "a tiny scale of a feature": changed("feature_scale", put(0, 1e-300)),
    "an image that calibrates without scores": changed("scored", put(0, 0)),
    "an image that is half scored": changed("scored", put(0, 0.5)),
    "an image that is scored twice": changed("scored", put(0, 2)),
    "fewer images that are scored": changed("scored", lambda a: a[1:]),
    "no sizes of folds": without("fold_sizes"),
    "a calibration of other folds": lambda p: dataclasses.replace(
        p, calibration={**p.calibration, "fold_sizes": np.array([12.0, 12, 12])}
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_units_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(ProfileError) as caught:
        units_from_profile(HOSTILE[name](with_units()))
    assert "units" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_beyond_memory_is_refused_before_it_is_made(monkeypatch) -> None:
    assert units_from_profile(with_units()) is not None
    monkeypatch.setattr(unit_arrays, "MAX_TABLE_BYTES", 4 * IMAGES * UNITS - 1)
    with pytest.raises(ProfileError, match="more than fit into memory"):
        units_from_profile(with_units())


def test_features_beyond_memory_are_refused_before_they_are_made(monkeypatch) -> None:
    monkeypatch.setattr(unit_arrays, "MAX_FEATURE_BYTES", 2 * IMAGES * UNITS - 1)
    with pytest.raises(ProfileError, match="more than fit into memory"):
        units_from_profile(with_units())


def test_many_images_in_a_small_file_are_refused() -> None:
    """Sixteen units of forty million images: 2.5 GB, were it made."""
    many = np.broadcast_to(np.float64(-1), (10**7,))
    profile = with_units()
    grown = {
        name: np.concatenate([profile.calibration[f"unit_{name}"], many]) for name in ("folds", "strata", "combined")
    }
    for name, array in grown.items():
        profile = small(name, array)(profile)
    with pytest.raises(ProfileError, match="more than fit into memory"):
        units_from_profile(profile)


@pytest.mark.parametrize("most", [50, 60, 99, 100, 1000])
def test_a_part_of_a_large_reference_has_every_folds_share(most: int) -> None:
    folds = np.repeat([-1, 0, 1, 2, 3, 4], [50, 10, 10, 10, 10, 10])
    rows = spread_over_folds(np.random.default_rng(0).permutation(folds), most)
    assert len(rows) == min(most, 100)
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(np.random.default_rng(0).permutation(folds)[rows] + 1, minlength=6)
    expected = np.array([50, 10, 10, 10, 10, 10]) * min(most, 100) / 100
    assert np.abs(counts - expected).max() <= 1


@pytest.fixture(scope="module")
def profile(cli: Cli, tmp_path_factory) -> Path:
    """A profile that ``fit`` wrote, beside its reference."""
    folder = tmp_path_factory.mktemp("units")
    (folder / "model.onnx").write_bytes(conv_net().SerializeToString())
    (folder / "ref").mkdir()
    generator = np.random.default_rng(0)
    for index in range(60):
        pixels = generator.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "ref" / f"{index:02}.png")
    done = cli("fit", "model.onnx", "--clean", "ref", "--preprocess", "unit", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "modelscan.h5"


def test_scores_of_units_images_are_those_of_the_calibration(profile: Path) -> None:
    read = read_profile(profile)
    arrays = read.calibration
    # The last layer's alone: early layers see what the network may make nothing of.
    (width,) = arrays["unit_width"].astype(int)
    assert width == sum(d.dim for d in read.header.descriptors if d.tap == read.header.taps[-1].name)
    assert (len(read.unit_values) // 4) % width == 0
    ends = np.cumsum(arrays["fold_sizes"].astype(int))
    for fold, (start, end) in enumerate(zip((0, *ends), ends, strict=False)):
        of_fold = np.sort(arrays["unit_combined"][arrays["unit_folds"] == fold])
        np.testing.assert_array_equal(of_fold, arrays["combined"][start:end])


CLI = ("no values", "an image too high", "NaN among the values", "no centroids", "fewer strata", "half a fold")


@pytest.mark.parametrize("name", CLI)
def test_scan_refuses_hostile_units(cli: Cli, profile: Path, tmp_path: Path, name: str) -> None:
    write_profile(tmp_path / "hostile.h5", HOSTILE[name](read_profile(profile)))
    done = cli("scan", profile.parent / "ref", "--profile", tmp_path / "hostile.h5", "--report", tmp_path / "out.json")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "units" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("bound", ["MAX_TABLE_BYTES", "MAX_FEATURE_BYTES"])
def test_a_large_reference_keeps_a_part_and_scans(tmp_path: Path, profile: Path, monkeypatch, bound: str) -> None:
    """With room for 40 of 60 images."""
    calibration = read_profile(profile).calibration
    units, widths = int(calibration["unit_width"][0]), calibration["unit_feature_scale"].size
    monkeypatch.setattr(
        fit_detectors, bound, 40 * {"MAX_TABLE_BYTES": 4 * units, "MAX_FEATURE_BYTES": 2 * widths}[bound]
    )
    folder = profile.parent
    options = latentscan.FitOptions(folder / "model.onnx", folder / "ref", tmp_path / "part.h5", preprocess="unit")
    latentscan.fit(options)
    back = units_from_profile(read_profile(tmp_path / "part.h5"))
    assert back is not None
    assert (back.reference.size, back.reference.units) == (40, units)
    assert np.bincount(back.reference.folds).tolist() == [8] * 5
    report = latentscan.scan(latentscan.ScanOptions(folder / "ref", tmp_path / "part.h5"))
    assert report.batch.shared_units is not None
    assert report.batch.shared_units.inputs == 60
