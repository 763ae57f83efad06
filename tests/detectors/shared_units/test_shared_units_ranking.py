"""Ranks and log-likelihood ratios of units, against their definitions."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from detectors.shared_units.likelihood_ratio import Weights, log_likelihood_ratios, rank, top_of, weights

# Few levels, so that many images are equally loud; the lowest is silence.
LEVELS = [-math.inf, -1.0, 0.0, 0.5, 2.0, 3.0]


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Values, which images are inputs, strata, and how many images to look at."""
    images, units = draw(st.integers(2, 14)), draw(st.integers(1, 4))
    values = draw(arrays(np.float32, (images, units), elements=st.sampled_from(LEVELS)))
    inputs = draw(arrays(np.bool_, images))
    strata = draw(arrays(np.int64, images, elements=st.sampled_from([0, 3, 17])))
    return values, inputs, strata, draw(st.integers(1, 16))


def ratios(values: np.ndarray, inputs: np.ndarray, strata: np.ndarray, top: int) -> np.ndarray:
    return log_likelihood_ratios(rank(values, top), inputs, weights(inputs, strata))


def by_definition(values: np.ndarray, inputs: np.ndarray, strata: np.ndarray, top: int) -> list[float]:
    """The largest sum over the images that are at least as loud as one of them, unit by unit."""

    def weight(image: int) -> float:
        share = inputs[strata == strata[image]].mean()
        if share in (0, 1):
            return 0.0
        return math.log((1 - 0.1 * (1 - share)) / share) if inputs[image] else math.log(0.1)

    result = []
    for column in values.T:
        sums = [0.0]
        for level in set(column) - {-np.inf}:
            loud = np.flatnonzero(column >= level)
            # The last of those levels is the loudness of the image that is the last to be looked at.
            if (column > level).sum() < top and len(loud) < len(column):
                sums.append(sum(weight(int(image)) for image in loud))
        result.append(max(sums))
    return result


@given(labelled())
def test_ratios_are_as_defined(case: tuple[np.ndarray, np.ndarray, np.ndarray, int]) -> None:
    values, inputs, strata, top = case
    np.testing.assert_allclose(ratios(values, inputs, strata, top), by_definition(*case), rtol=1e-5, atol=1e-6)


@given(labelled())
def test_the_order_lists_the_loudest_images_and_ends_where_the_next_is_quieter(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, int],
) -> None:
    values, _, _, top = case
    ranking = rank(values, top)
    last = len(ranking.order)
    assert ranking.order.shape == ranking.ends.shape == (last, values.shape[1])
    assert min(top, len(values) - 1) <= last < len(values)
    for unit, column in enumerate(values.T):
        order, descending = ranking.order[:, unit], -np.sort(-column)
        assert len(set(order)) == last
        assert (column[order] == descending[:last]).all()
        ends = (descending[:last] > descending[1 : last + 1]) & (
            descending[:last] >= descending[min(top, len(column)) - 1]
        )
        assert ranking.ends[:, unit].tolist() == ends.tolist()


@given(labelled(), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_neither_the_order_of_images_nor_of_units_matters(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, int], random: object
) -> None:
    """Not even in the last digit: it would decide which of two units counts as the stronger one."""
    values, inputs, strata, top = case
    rng = np.random.default_rng(random.getrandbits(32))
    images, units = rng.permutation(len(values)), rng.permutation(values.shape[1])
    shuffled = ratios(values[images][:, units], inputs[images], strata[images], top)
    assert shuffled.tolist() == ratios(values, inputs, strata, top)[units].tolist()


def test_sums_over_hundreds_of_equally_loud_images_do_not_depend_on_their_order() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(np.arange(8.0, 0.0, -1.0), 60)[:, None].astype(np.float32).repeat(5, 1)
    inputs, strata = rng.random(480) < np.linspace(0.9, 0.3, 480), rng.integers(0, 4, 480)
    expected = ratios(values, inputs, strata, 400)
    assert expected.min() > 1
    for _ in range(20):
        images = rng.permutation(480)
        assert (ratios(values[images], inputs[images], strata[images], 400) == expected).all()


@given(labelled())
def test_strictly_increasing_transforms_change_nothing(case: tuple[np.ndarray, np.ndarray, np.ndarray, int]) -> None:
    values, inputs, strata, top = case
    transformed = np.where(np.isfinite(values), np.exp(values) * 100 - 5, -np.inf).astype(np.float32)
    assert ratios(transformed, inputs, strata, top).tolist() == ratios(values, inputs, strata, top).tolist()


@given(labelled())
def test_exchanging_the_labels_of_equally_loud_images_of_a_stratum_changes_nothing(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, int],
) -> None:
    values, inputs, strata, top = case
    values = values[:, :1]
    other = inputs.copy()
    for level in np.unique(values):
        for stratum in np.unique(strata):
            rows = np.flatnonzero((values[:, 0] == level) & (strata == stratum))
            other[rows] = inputs[rows][::-1]
    assert ratios(values, other, strata, top).tolist() == ratios(values, inputs, strata, top).tolist()


def test_images_that_are_all_equally_loud_or_all_silent_say_nothing() -> None:
    inputs, strata = np.array([True, True, True, False]), np.zeros(4, int)
    for level in (0.0, 7.0, -np.inf):
        assert ratios(np.full((4, 2), level, np.float32), inputs, strata, 4).tolist() == [0, 0]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_inputs_that_a_trigger_drives_to_where_a_unit_saturates_are_seen(share: float) -> None:
    """All of them equally loud, and more of them than images are looked at."""
    values = np.random.default_rng(0).random((300, 3), np.float32)
    inputs, strata = np.arange(300) >= 100, np.zeros(300, int)
    distinct = values.copy()
    count = int(share * 200)
    values[-count:, 1] = 6
    distinct[-count:, 1] += 6
    expected = ratios(distinct, inputs, strata, count)[1]
    assert expected > 3
    assert ratios(values, inputs, strata, 8)[1] == expected
    assert ratios(values, inputs, strata, 8)[0] == ratios(distinct, inputs, strata, 8)[0]


def test_an_infinitely_loud_input_is_the_loudest() -> None:
    values = np.array([[np.inf], [1.0], [0.5], [0.0]], np.float32)
    inputs, strata = np.array([True, False, False, False]), np.zeros(4, int)
    finite = np.where(np.isfinite(values), values, 9).astype(np.float32)
    assert ratios(values, inputs, strata, 3).tolist() == ratios(finite, inputs, strata, 3).tolist()
    assert ratios(values, inputs, strata, 3)[0] > 1


@given(arrays(np.bool_, 12), arrays(np.int64, 12, elements=st.integers(0, 3)))
def test_weights_are_log_ratios_of_two_distributions(inputs: np.ndarray, strata: np.ndarray) -> None:
    """Under "clean images are rarer", the chances of an input and of a clean image add up to one."""
    by = weights(inputs, strata)
    for image in range(12):
        share = inputs[strata == strata[image]].mean()
        if share in (0, 1):
            assert (by.as_input[image], by.as_clean[image]) == (0, 0)
            continue
        alternative = share * np.exp(by.as_input[image]) + (1 - share) * np.exp(by.as_clean[image])
        assert alternative == pytest.approx(1, abs=1e-6)
        assert np.exp(by.as_clean[image]) == pytest.approx(0.1)


def test_weights_tell_a_few_clean_images_among_very_many_inputs() -> None:
    by = weights(np.arange(100_010) >= 10, np.zeros(100_010, int))
    assert by.as_input[0] == pytest.approx(9e-5, rel=1e-3)
    assert by.as_clean[0] == pytest.approx(math.log(0.1))


@given(st.integers(1, 3000), st.integers(0, 5000), st.integers(1, 128))
def test_as_many_images_are_looked_at_as_clean_ones_are_known(clean: int, inputs: int, kept: int) -> None:
    kept = min(kept, clean)
    top = top_of(clean + inputs, clean, kept)
    share = 0.5 if kept == clean else 2 / 3 * kept / clean
    assert top == max(1, math.floor(share * (clean + inputs)))


@pytest.mark.parametrize(
    ("values", "top", "named"),
    [
        (np.zeros((1, 3)), 2, r"\(1, 3\), 2"),
        (np.zeros((3, 0)), 2, r"\(3, 0\), 2"),
        (np.zeros(3), 2, r"\(3,\), 2"),
        (np.zeros((3, 3)), 0, r"\(3, 3\), 0"),
    ],
)
def test_what_cannot_be_ranked_is_refused(values: np.ndarray, top: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        rank(values.astype(np.float32), top)


def test_weights_need_a_stratum_for_each_image() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        weights(np.ones(3, bool), np.zeros(2, int))


def test_given_weights_count_and_no_others() -> None:
    by = Weights(np.array([1.0, 2.0, 4.0]), np.array([-8.0, -16.0, -32.0]))
    values = np.array([[3.0], [2.0], [1.0], [0.0]], np.float32)[:3]
    assert log_likelihood_ratios(rank(values, 2), np.array([True, True, False]), by).tolist() == [3.0]
    assert log_likelihood_ratios(rank(values, 2), np.array([False, True, False]), by).tolist() == [0.0]
