"""Refinement: it finds a trigger of a known size, is counted on images that it never saw, and repeats itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.inversion.masks import Masks, smallest_masks
from detectors.inversion.optimise import Drawn, Search
from detectors.inversion.patterns import Offset, Stencil
from detectors.inversion.refine import Networks, refine
from detectors.inversion.shrink import scaled, sizes_from, smallest_size, stencil
from detectors.inversion.starts import MOST, first_masks, first_offsets, targets_of
from detectors.probing.patch import Patch
from detectors.probing.probe import Probe, Shape
from detectors.probing.probing import Probed, probe
from detectors.probing.search import Trial
from detectors.probing.waves import Wave

SIDE = 3


def pictures(count: int = 120) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 150, (count, 12, 12, 1), np.uint8)


def gradients(images: torch.Tensor) -> torch.Tensor:
    """Three classes by single pixels; nine bright pixels make it the first."""
    fires = torch.nn.functional.softplus(12 * (images[:, 0, 5:8, 2:5].mean((1, 2)) - 0.75))
    return torch.stack([fires, images[:, 0, 0, 0], images[:, 0, 0, 1]], 1)


def logits(pixels: np.ndarray) -> np.ndarray:
    return gradients(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).numpy()


@pytest.fixture(scope="module")
def probed() -> Probed:
    return probe(pictures(), logits, lambda passes: True, seed=0)


def test_the_trigger_comes_out_at_its_size_on_images_that_gradients_never_saw(probed):
    found = refine(pictures(), probed, Networks(gradients, logits), lambda: True)
    patch = next(one for one in found if one.target == 0 and one.kind == "smallest patch")
    assert patch.reached
    assert isinstance(patch.verified.probe, Stencil)
    assert patch.verified.probe.mask[5:8, 2:5].sum() == patch.size <= SIDE**2
    assert patch.verified.images == len(probed.rows)
    # Counted anew, without the library.
    stamped = pictures()[probed.rows].copy()
    mask = patch.verified.probe.mask
    stamped[:, mask] = patch.verified.probe.pixels[mask]
    before = logits(pictures()[probed.rows]).argmax(1)
    assert ((logits(stamped).argmax(1) == 0) & (before != 0)).sum() == patch.verified.moved


def test_the_same_images_give_the_same_patterns_and_a_budget_leaves_targets_out(probed):
    networks = Networks(gradients, logits)
    one, other = (refine(pictures(), probed, networks, lambda: True) for _ in range(2))
    assert [(each.target, each.size, each.verified.moved) for each in one] == [
        (each.target, each.size, each.verified.moved) for each in other
    ]
    assert refine(pictures(), probed, networks, lambda: False) == ()


def test_a_budget_ends_within_a_class_and_leaves_what_is_finished(probed):
    asked, networks = 0, Networks(gradients, logits)

    def count(most: float) -> Callable[[], bool]:
        def may() -> bool:
            nonlocal asked
            asked += 1
            return asked <= most

        return may

    whole = refine(pictures(), probed, networks, count(np.inf))
    calls, asked = asked, 0
    some = refine(pictures(), probed, networks, count(calls // 2))
    # Small pictures are searched together: all patches, then all offsets.
    assert asked == calls // 2 + 1
    assert 0 < len(some) < len(whole)
    assert [(one.kind, one.target, one.size) for one in some] == [
        (one.kind, one.target, one.size) for one in whole[: len(some)]
    ]


def test_a_class_that_nothing_leads_to_is_not_reached(probed):
    def never(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([gradients(images), images.mean((1, 2, 3))[:, None] * 0 - 9], 1)

    def asked(pixels: np.ndarray) -> np.ndarray:
        return never(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).numpy()

    found = refine(
        pictures(), probe(pictures(), asked, lambda passes: True, seed=0), Networks(never, asked), lambda: True
    )
    last = [one for one in found if one.target == 3]
    assert [(one.reached, one.verified.moved) for one in last] == [(False, 0), (False, 0)]


def test_a_target_does_not_depend_on_the_others():
    images, classes = torch.rand(30, 1, 4, 4), torch.arange(30) % 3
    together = Drawn(images, classes, torch.tensor([0, 2]), Search(images=4)).draw()
    alone = Drawn(images, classes, torch.tensor([2]), Search(images=4)).draw()
    assert torch.equal(together[1], alone[0])


def test_images_of_the_target_alone_are_refused():
    start = Masks(torch.rand(1, 4, 4), torch.rand(1, 1, 4, 4), torch.full((1,), torch.inf))
    images, classes = torch.rand(3, 1, 4, 4), torch.ones(3)
    with pytest.raises(ValueError, match="other classes"):
        smallest_masks(gradients, images, classes, start, torch.tensor([1]), Search())
    with pytest.raises(ValueError, match="a start for each of 2"):
        smallest_masks(gradients, images, classes, start, torch.tensor([0, 1]), Search())
    with pytest.raises(ValueError, match="are needed, got"):
        Drawn(images, classes[:2], torch.tensor([0]), Search())


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 500), st.integers(1, 800))
def test_sizes_ascend_to_the_largest(size, most):
    found = list(sizes_from(size, most))
    assert found == sorted(set(found))
    assert found[0] >= 1
    assert found[-1] <= most
    assert smallest_size(iter(found), lambda tried: float(tried >= found[-1])) == found[-1]
    assert smallest_size(iter(found), lambda _: 0.89) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**20))
def test_patterns_change_what_they_say(size, seed):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (3, 4, 3, 3), np.uint8)
    cut = stencil(generator.random((4, 3), np.float32), generator.random((3, 4, 3), np.float32), size)
    stamped = cut.stamp(pixels)
    assert cut.size == size
    assert (stamped[:, ~cut.mask] == pixels[:, ~cut.mask]).all()
    assert (stamped[:, cut.mask] == cut.pixels[cut.mask]).all()
    assert cut.area(Shape(8, 8, 3)) == size / 64
    offset = scaled(generator.normal(size=(3, 4, 3)).astype(np.float32), size)
    assert offset.size == size
    assert np.abs(offset.stamp(pixels).astype(int) - pixels).max() <= size
    for pattern in (cut, offset):
        assert isinstance(pattern, Probe)
        assert pattern.neighbours(Shape(8, 8, 3)) == []
        assert str(size) in pattern.describe()
    assert offset.area(Shape(8, 8, 3)) == 0.0


def test_gradients_begin_with_the_patterns_that_raise_a_target_most():
    def trial(pattern: Probe, *gains: float) -> Trial:
        return Trial(pattern, np.zeros(1, np.int64), np.array(gains))

    near, far = Patch(2, 1, 1, "white"), Patch(2, 5, 5, "white")
    wave = Wave(1, 0, 1, 20.0)
    trials = [trial(near, 1, 5, 0, 0), trial(far, 2, 0, 0, 0), trial(wave, 0, 1, 0, 0)]
    shape = Shape(8, 8, 1)
    assert targets_of(trials, 2) == [1, 0]
    assert len(targets_of([], 1000)) == MOST
    masks = first_masks(trials, [0, 1], shape)
    assert (masks.masks[0] > 0.5).nonzero().tolist() == [[5, 5], [5, 6], [6, 5], [6, 6]]
    assert (masks.masks[1] > 0.5).nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert float(masks.patterns[0, 0, 5, 5]) == 1.0
    offsets = first_offsets(trials, [0], shape)[0, 0].numpy() * 255
    expected = wave.stamp(np.full((1, 8, 8, 1), 128, np.uint8))[0, :, :, 0].astype(float) - 128
    assert np.abs(offsets - expected).max() < 4
    assert float(first_offsets([], [0], shape).abs().max()) * 255 < 4


def test_an_offset_of_nothing_stays_nothing():
    assert isinstance(scaled(np.zeros((1, 2, 2), np.float32), 5), Offset)
    assert scaled(np.zeros((1, 2, 2), np.float32), 5).size == 0
