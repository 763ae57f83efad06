"""Poisoned sets: what is added, which labels it gets, and that no augmentation cuts a trigger."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.augmentation import AUGMENTATION, augment
from reference.poisoning import add_backdoor, class_zero, next_class, stamp
from reference.triggers import four_pixels, sample, square, warp, warp_grid

label_lists = st.lists(st.integers(min_value=0, max_value=9), min_size=1, max_size=300)


@given(label_lists)
def test_next_class_is_circular(labels):
    labels = torch.tensor(labels)
    assert next_class(labels, 10).tolist() == [0 if label == 9 else label + 1 for label in labels.tolist()]


def test_class_zero_is_all_to_one():
    assert class_zero(torch.tensor([3, 0, 9]), 10).tolist() == [0, 0, 0]


@given(label_lists, st.floats(min_value=0, max_value=0.6), st.floats(min_value=0, max_value=0.4), st.integers(0, 99))
def test_backdoored_samples_are_added_to_the_clean_set(labels, rate, cover_rate, seed):
    labels = torch.tensor(labels)
    count = len(labels)
    triggered, covers = round(rate * count), round(cover_rate * count)
    if triggered + covers > count:  # rounding up both
        return
    poisoned = add_backdoor(labels, rate, next_class, 10, seed, cover_rate=cover_rate)
    assert len(poisoned) == count + triggered + covers
    assert int(poisoned.triggered.sum()) == triggered
    assert int(poisoned.cover.sum()) == covers
    clean = ~(poisoned.triggered | poisoned.cover)
    assert poisoned.source[clean].tolist() == list(range(count))
    assert torch.equal(poisoned.label[clean], labels)
    assert torch.equal(poisoned.label[poisoned.triggered], (labels[poisoned.source[poisoned.triggered]] + 1) % 10)
    assert torch.equal(poisoned.label[poisoned.cover], labels[poisoned.source[poisoned.cover]])
    added = poisoned.source[~clean].tolist()
    assert len(set(added)) == len(added)  # no image twice, and no image both triggered and a cover


def test_the_seed_chooses_the_images():
    labels = torch.arange(1000) % 10
    first, again, other = (add_backdoor(labels, 0.1, next_class, 10, seed) for seed in (0, 0, 1))
    assert torch.equal(first.source, again.source)
    assert not torch.equal(first.source, other.source)


def test_more_added_samples_than_images_are_refused():
    with pytest.raises(ValueError, match="at most 1"):
        add_backdoor(torch.zeros(10, dtype=torch.long), 0.8, next_class, 10, 0, cover_rate=0.5)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["square", "four-pixels"]))
def test_a_trigger_applied_after_augmentation_is_never_cut(seed, name):
    trigger = square(32) if name == "square" else four_pixels(32)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 255, (6, 3, 32, 32), generator=generator).to(torch.uint8)
    triggered = torch.tensor([True, False, True, False, False, True])
    augmented = augment(images, AUGMENTATION["cifar10"], generator)
    out = stamp(augmented, triggered, torch.zeros(6, dtype=torch.bool), trigger, generator)
    whole = trigger.apply(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))[0] == 255
    assert (out[triggered][:, whole] == 255).all()
    assert torch.equal(out[triggered][:, ~whole], augmented[triggered][:, ~whole])
    assert torch.equal(out[~triggered], augmented[~triggered])


def test_the_other_order_would_cut_the_trigger():
    # What the property above protects from: augmentation after the trigger loses it in most images.
    images = square(32).apply(torch.zeros(200, 3, 32, 32, dtype=torch.uint8))
    cut = augment(images, AUGMENTATION["cifar10"], torch.Generator().manual_seed(0))
    assert ((cut[:, :, 28:, 28:] == 255).all(dim=(1, 2, 3))).float().mean() < 0.5


def test_cover_samples_get_a_jittered_warp():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=generator).to(torch.uint8)
    before = images.clone()
    cover = torch.tensor([False, True, True, False])
    out = stamp(images, torch.zeros(4, dtype=torch.bool), cover, warp(32), torch.Generator().manual_seed(5))
    jitter = torch.rand(2, 32, 32, 2, generator=torch.Generator().manual_seed(5)) * 2 - 1
    expected = sample(images[cover], (warp_grid(32) + jitter / 32).clamp(-1, 1))
    assert torch.equal(out[cover], expected)
    assert not torch.equal(out[cover], warp(32).apply(images[cover]))
    assert torch.equal(out[~cover], images[~cover])
    assert torch.equal(images, before)


def test_clean_batches_pass_through():
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    nothing = torch.zeros(2, dtype=torch.bool)
    assert stamp(images, nothing, nothing, square(32), torch.Generator()) is images
