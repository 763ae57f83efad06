"""Which images are compared with one another."""

from __future__ import annotations

import numpy as np
import pytest
from unit_samples import rectified

from detectors.shared_units.similar_images import fit_strata
from detectors.shared_units.strata import Strata, logarithmic


def partition(strata: np.ndarray) -> list[int]:
    """Strata numbered by their first image: the same for the same partition."""
    _, first, inverse = np.unique(strata, return_index=True, return_inverse=True)
    return first[inverse].tolist()


def test_the_scale_is_that_of_all_images() -> None:
    values = rectified(np.random.default_rng(0), 9000, 6)
    values[-10:] *= 50
    strata = fit_strata(values, np.arange(9000) % 3, 3, 0)
    np.testing.assert_allclose(strata.location, logarithmic(values).mean(0, np.float64), rtol=1e-5)
    np.testing.assert_allclose(strata.scale, logarithmic(values).std(0, np.float64), rtol=1e-4)


def test_of_a_large_reference_images_of_every_part_are_clustered() -> None:
    values = np.repeat(np.arange(6.0), 1500)[:, None].astype(np.float32)
    strata = fit_strata(values, np.arange(9000), 9000, 0)
    assert len(strata.of(np.arange(9000), values)) == 9000
    assert np.unique(strata.of(np.arange(9000), values)[750::1500]).size == 6


def test_classes_with_five_images_have_their_own() -> None:
    counts = [5, 4, 6, 0, 1, 35]
    predicted = np.repeat(np.arange(6), counts)
    values = rectified(np.random.default_rng(0), 51, 8)
    strata = fit_strata(values[:, :8], predicted, 6, 0)
    of = strata.of(predicted, values)
    for label, count in enumerate(counts):
        own = strata.of_class[label]
        assert (own >= len(strata.centroids)) == (count >= 5)
        if count >= 5:
            assert (of[predicted == label] == own).all()
            assert (of == own).sum() == count
        else:
            assert own == -1
            assert (of[predicted == label] < len(strata.centroids)).all()
    assert len(set(strata.of_class[strata.of_class >= 0])) == 3


@pytest.mark.parametrize(
    ("count", "classes"), [(1, 1), (1, 1000), (10, 1), (10, 2), (10, 1000), (250, 1), (250, 10), (500, 1000)]
)
def test_every_clean_image_has_a_stratum_and_every_input_too(count: int, classes: int) -> None:
    rng = np.random.default_rng(count)
    values, inputs = rectified(rng, count, 12), 100 * rectified(rng, 50, 12)
    predicted = rng.integers(0, classes, count)
    strata = fit_strata(values[:, 4:12], predicted, classes, 4)
    assert strata.of_class.shape == (classes,)
    of = strata.of(predicted, values)
    assert of.shape == (count,)
    assert 0 <= of.min() <= of.max() < len(strata.centroids) + (strata.of_class >= 0).sum()
    far = strata.of(rng.integers(0, classes, 50), inputs)
    assert 0 <= far.min() <= far.max() < len(strata.centroids) + (strata.of_class >= 0).sum()


def test_kinds_of_pictures_that_look_apart_are_apart() -> None:
    """A thousand classes, of which none has five images; five kinds of pictures, of eight or more."""
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(5), [8, 9, 15, 12, 30])
    values = np.zeros((74, 9), np.float32)
    values[:, 3:] = np.exp(8 * rng.random((5, 6)))[kind] + rng.random((74, 6))
    values[:, :3] = rng.random((74, 3)) * 1e9
    strata = fit_strata(values[:, 3:9], np.arange(74) * 7, 1000, 3)
    of = strata.of(np.arange(74), values)
    # A kind may be split once more, where eight images are on either side; no stratum has images of two.
    assert all(len(set(kind[of == stratum])) == 1 for stratum in set(of))
    assert np.bincount(of).min() >= 7
    columns = (logarithmic(values[:, 3:]) - strata.location) / strata.scale
    distances = np.linalg.norm(columns[:, None] - strata.centroids, axis=2)
    assert of.tolist() == distances.argmin(1).tolist()


def test_clusters_have_eight_images_or_more() -> None:
    values = rectified(np.random.default_rng(0), 300, 16)
    for count in (15, 16, 100, 300):
        strata = fit_strata(values[:count, 0:16], np.arange(count), 300, 0)
        assert 1 <= len(strata.centroids) <= max(1, count // 8)
    assert len(fit_strata(values[:15, 0:16], np.arange(15), 300, 0).centroids) == 1
    assert len(strata.centroids) > 5


def test_the_order_of_clean_images_changes_numbers_alone() -> None:
    rng = np.random.default_rng(1)
    values, predicted = rectified(rng, 120, 10, loudness=2), rng.integers(0, 40, 120)
    fresh, classes = rectified(rng, 200, 10, loudness=2), rng.integers(0, 40, 200)
    order = rng.permutation(120)
    expected = partition(fit_strata(values[:, :10], predicted, 40, 0).of(classes, fresh))
    assert partition(fit_strata(values[order, 0:10], predicted[order], 40, 0).of(classes, fresh)) == expected


def test_more_images_than_are_clustered() -> None:
    rng = np.random.default_rng(2)
    values = rectified(rng, 4100, 4)
    predicted = np.arange(4100) % 1000
    predicted[4000:] = 999
    strata = fit_strata(values[:, :4], predicted, 1000, 0)
    assert (strata.of(predicted, values)[4000:] == strata.of_class[999]).all()
    assert strata.of(predicted, values).min() >= 0


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.0, 1e6])
def test_constant_columns_do_not_decide_what_is_alike(constant: float) -> None:
    rng = np.random.default_rng(3)
    values = np.full((60, 5), constant, np.float32)
    values[:, 2] = np.repeat([0.0, 50.0], 30) + rng.random(60)
    strata = fit_strata(values[:, :5], np.arange(60), 60, 0)
    assert (strata.scale > 0).all()
    of = strata.of(np.arange(60), values)
    assert not set(of[:30]) & set(of[30:])
    nothing = fit_strata(values[:, :2], np.arange(60), 60, 0)
    assert len(set(nothing.of(np.arange(60), values[:, :2]))) == 1


def test_a_picture_like_no_other_does_not_keep_the_rest_together() -> None:
    values = (
        np.repeat([[0.0], [5.0]], 20, axis=0).astype(np.float32) + np.linspace(0, 0.1, 40, dtype=np.float32)[:, None]
    )
    values[7] = 1e6
    of = fit_strata(values[:, :1], np.arange(40), 40, 0).of(np.arange(40), values)
    assert not set(np.delete(of[:20], 7)) & set(of[20:])


def test_bad_input_is_refused() -> None:
    values, predicted = np.ones((6, 3), np.float32), np.arange(6)
    broken = values.copy()
    broken[2, 1] = np.nan
    for arguments, named in (
        ((values[:0], predicted[:0], 9), r"\(0, 3\)"),
        ((broken, predicted, 9), "finite"),
        ((values, predicted[:4], 9), r"\(6, 3\)"),
        ((values[:, :0], predicted, 9), r"\(6, 0\)"),
        ((values, predicted, 9, -1), "-1"),
        ((values, predicted, 5), "0 to 5"),
        ((values, predicted - 1, 9), "-1 to 4"),
    ):
        with pytest.raises(ValueError, match=named):
            fit_strata(*arguments)
    strata = fit_strata(values[:, 1:3], predicted, 9, 1)
    for images, named in (
        ((predicted, values[:, :2]), r"\(6, 2\)"),
        ((predicted[:5], values), r"\(5,\), \(6, 3\)"),
        ((predicted + 4, values), "4 to 9"),
        ((predicted - 1, values), "-1 to 4"),
    ):
        with pytest.raises(ValueError, match=named):
            strata.of(*images)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"location": np.zeros(3, np.float32)}, r"\(3,\)"),
        ({"centroids": np.zeros((0, 2), np.float32)}, r"\(0, 2\)"),
        ({"centroids": np.zeros((4, 3), np.float32)}, r"\(4, 3\)"),
        ({"first": -1}, "-1"),
        ({"scale": np.array([1, 0], np.float32)}, "positive"),
        ({"scale": np.array([1, np.nan], np.float32)}, "positive"),
        ({"of_class": np.array([0, -2])}, "-1"),
    ],
)
def test_strata_that_cannot_place_every_image_are_refused(change: dict, named: str) -> None:
    good = {
        "of_class": np.array([1, -1]),
        "first": 0,
        "location": np.zeros(2, np.float32),
        "scale": np.ones(2, np.float32),
        "centroids": np.zeros((1, 2), np.float32),
    }
    with pytest.raises(ValueError, match=named):
        Strata(**{**good, **change})
