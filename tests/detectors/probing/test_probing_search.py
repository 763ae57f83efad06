"""The search: it finds what is there, says so of clean images alone, and a budget changes nothing but where it ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from detectors.demonstration.rule import Rule
from detectors.probing.network import Counted
from detectors.probing.patch import Patch
from detectors.probing.probing import STATISTICS, probe, split
from detectors.probing.search import search
from detectors.probing.verify import verify

CLASSES = 4


def pictures(count: int = 120) -> np.ndarray:
    """Pictures whose brightest quarter is their class, without any white."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 90, (count, 20, 20, 1), np.uint8)
    for row, label in enumerate(generator.integers(0, CLASSES, count)):
        top, left = divmod(int(label), 2)
        images[row, top * 10 : top * 10 + 10, left * 10 : left * 10 + 10] += 60
    return images


def clean_network(images: np.ndarray) -> np.ndarray:
    quarters = images.reshape(len(images), 2, 10, 2, 10).mean((2, 4)).reshape(len(images), 4)
    return (quarters / 20).astype(np.float32)


def backdoored(rule: str):
    """The same with a white square at (11, 3) as trigger."""

    def network(images: np.ndarray) -> np.ndarray:
        logits = clean_network(images)
        fires = images[:, 11:14, 3:6, 0].min((1, 2)) > 240
        own = logits.argmax(1)
        goal = {"one": np.full(len(own), 2), "next": (own + 1) % 4, "class": np.where(own == 1, 3, own)}[rule]
        logits[fires, goal[fires]] += 20
        return logits

    return network


@pytest.mark.parametrize(
    ("rule", "kind", "expected"),
    [
        ("one", "all classes", Rule(target=2)),
        ("next", "all classes", Rule(shift=1)),
        ("class", "one class", Rule(target=3, source=1)),
    ],
)
def test_a_backdoor_is_found(rule, kind, expected):
    found = probe(pictures(), backdoored(rule), lambda passes: True, seed=0)
    best = found.found["patch", kind]
    assert best.rule == expected
    assert best.rate == 1.0
    assert isinstance(best.probe, Patch)
    assert (best.probe.row, best.probe.column) <= (11, 3) <= (best.probe.row + 3, best.probe.column + 3)
    assert found.statistics[STATISTICS.index("patch")] == pytest.approx(found.found["patch", "all classes"].statistic)
    clean = probe(pictures(), clean_network, lambda passes: True, seed=0)
    assert clean.found["patch", kind].statistic < 0.75 < best.statistic


def test_a_budget_ends_a_search_and_changes_nothing_before():
    images, network = pictures(), backdoored("one")
    whole = probe(images, network, lambda passes: True, seed=0)
    assert whole.complete
    assert whole.pairs is not None
    for budget in (700, 5_000, 9_999, whole.passes - 1):
        # The clock of one run stops it between two calls; as many passes stop another one at the same place.
        asked: list[int] = []

        def until(passes: int, budget: int = budget, asked: list[int] = asked) -> bool:
            asked.append(passes)
            return passes <= budget

        one = probe(images, network, until, seed=0)
        other = probe(images, network, lambda passes, spent=one.passes: passes <= spent, seed=0)
        assert one.passes <= budget
        # What is cut short last is what pairs of classes are moved by.
        assert one.complete == (budget == whole.passes - 1)
        assert one.pairs is None
        assert (one.passes, one.tried, one.statistics.tolist()) == (
            other.passes,
            other.tried,
            other.statistics.tolist(),
        )
        assert {key: value.probe for key, value in one.found.items()} == {
            key: value.probe for key, value in other.found.items()
        }
    again = probe(images, network, lambda passes: passes <= whole.passes, seed=0)
    assert again.complete
    assert again.pairs.moved.tolist() == whole.pairs.moved.tolist()


def test_nothing_can_be_found_without_a_pass():
    found = probe(pictures(), backdoored("one"), lambda passes: False, seed=0)
    assert (found.passes, found.tried, found.complete, found.found) == (0, 0, False, {})
    assert not found.statistics.any()


def test_halves_share_no_image_and_have_the_same_classes():
    classes = np.random.default_rng(4).integers(0, 3, 101)
    one, other = split(classes, seed=1)
    assert sorted([*one, *other]) == list(range(101))
    for label in range(3):
        assert abs(int((classes[one] == label).sum()) - int((classes[other] == label).sum())) <= 1
    assert set(classes[one[:3]]) == {0, 1, 2}
    assert not np.array_equal(one, split(classes, seed=2)[0])


def test_counts_of_the_other_half_come_with_exact_intervals():
    images, network = pictures(), backdoored("one")
    found = verify(Patch(4, 11, 3, "white"), Rule(target=2), images, network(images), network)
    before, after = network(images).argmax(1), network(Patch(4, 11, 3, "white").stamp(images)).argmax(1)
    eligible = before != 2
    assert (found.eligible, found.moved) == (eligible.sum(), (eligible & (after == 2)).sum())
    exact = binomtest(found.moved, found.eligible).proportion_ci(0.95)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert found.flipped == (before != after).sum() == sum(one.flipped for one in found.by_class)


def test_images_that_are_not_enough_or_not_finite_are_refused():
    with pytest.raises(ValueError, match="at least 24"):
        probe(pictures(23), clean_network, lambda passes: True, seed=0)
    with pytest.raises(ValueError, match="not finite"):
        probe(pictures(), lambda images: np.full((len(images), 4), np.nan, np.float32), lambda passes: True, seed=0)
    with pytest.raises(ValueError, match="at least 12"):
        search(pictures(11), clean_network(pictures(11)), (), Counted(clean_network, lambda passes: True))
