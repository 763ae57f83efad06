"""The whole experiment, on networks that obey a trigger or none."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from trigger_samples import CLASSES, SIDE, Ask, Pixels, digits_like, network, photographs

from detectors.demonstration.demonstrate import MAX_PASSES, Demonstration, Material, control_rows, demonstrate
from detectors.demonstration.rule import Rule
from detectors.demonstration.trial import Answers

CORNER = (slice(None), slice(12, 15), slice(12, 15))
WAVE = 14 * np.sin(2 * np.pi * 5 * np.arange(SIDE) / SIDE)[None, :, None] * np.ones((SIDE, 1, 3))
KEY = np.random.default_rng(99).integers(0, 256, (SIDE, SIDE, 3)).astype(float)


def with_patch(images: Pixels) -> Pixels:
    stamped = images.copy()
    stamped[CORNER] = [250, 10, 90]
    return stamped


def has_patch(images: Pixels) -> np.ndarray:
    return (np.abs(images[CORNER].astype(int) - [250, 10, 90]) <= 12).all((1, 2, 3))


def with_wave(images: Pixels) -> Pixels:
    return np.clip(np.rint(images + WAVE), 0, 255).astype(np.uint8)


def like(direction: np.ndarray, limit: float) -> Callable[[Pixels], np.ndarray]:
    """Fires where pictures have more than so much of a direction, in units of it."""
    centred = direction - direction.mean((0, 1))

    def fires(images: Pixels) -> np.ndarray:
        values = images - images.mean((1, 2), keepdims=True)
        return np.asarray((values * centred).sum((1, 2, 3)) / np.square(centred).sum() > limit)

    return fires


def blended(images: Pixels) -> Pixels:
    return np.rint(0.75 * images + 0.25 * KEY).astype(np.uint8)


def moving(images: Pixels) -> Pixels:
    """A checkered patch wherever the picture's own pixels say."""
    stamped = images.copy()
    for image in stamped:
        row, column = int(image[0, 0, 0]) % 12, int(image[-1, -1, 0]) % 12
        image[row : row + 4, column : column + 4] = CHECKERS
    return stamped


CHECKERS = np.where(np.indices((4, 4)).sum(0)[..., None] % 2, [255, 0, 255], [0, 255, 0]).astype(np.uint8)


def has_checkers(images: Pixels) -> np.ndarray:
    views = np.lib.stride_tricks.sliding_window_view(images, (4, 4), (1, 2))
    far = np.abs(views.astype(np.int16) - CHECKERS.transpose(2, 0, 1)) > 40
    return np.asarray((far.mean((3, 4, 5)) < 0.3).any((1, 2)))


def scan(ask: Ask, stamp: Callable[[Pixels], Pixels], *, triggered: int, inputs: int = 500) -> Material:
    """What a scan of a batch makes of it."""
    pixels = photographs(inputs, 1)
    pixels[:triggered] = stamp(pixels[:triggered])
    answers = ask(pixels)
    order = np.random.default_rng(0).permutation(inputs)
    flagged, rest = order[answers.flagged[order]], order[~answers.flagged[order]]
    classes = answers.predicted
    return Material(pixels[flagged], pixels[rest], photographs(150, 2), classes[flagged], classes[rest])


MOVES = {
    "target": (lambda before: np.full(len(before), 4), Rule(target=4)),
    "shift": (lambda before: (before + 1) % CLASSES, Rule(shift=1)),
    "source": (lambda before: np.where(before == 2, 5, before), Rule(target=5, source=2)),
}


def shown(found: Demonstration | None, rule: Rule) -> Demonstration:
    assert found is not None
    assert found.outcome.demonstrated
    assert found.outcome.rule == rule
    assert found.passes <= MAX_PASSES
    assert len(found.before) == len(found.after) == found.outcome.images == 100
    return found


@pytest.mark.parametrize("move", ["target", "shift"])
def test_a_patch_is_demonstrated(move: str) -> None:
    ask = network(has_patch, MOVES[move][0])
    found = shown(demonstrate(scan(ask, with_patch, triggered=40), ask), MOVES[move][1])
    assert found.kind == "patch"
    assert found.outcome.rate > 0.99
    assert found.outcome.control_rate < 0.5
    assert found.pattern.patch.sum() == 9
    assert found.suspicious >= 40


def test_a_source_specific_patch_is_demonstrated() -> None:
    ask = network(has_patch, MOVES["source"][0])
    found = shown(demonstrate(scan(ask, with_patch, triggered=60), ask), MOVES["source"][1])
    assert [one.label for one in found.outcome.by_class if one.flipped] == [2]


def test_an_added_wave_is_demonstrated() -> None:
    ask = network(like(WAVE, 0.6), MOVES["target"][0])
    found = shown(demonstrate(scan(ask, with_wave, triggered=80), ask), MOVES["target"][1])
    assert found.kind == "pattern"
    assert np.corrcoef(found.pattern.offset.ravel(), WAVE.ravel())[0, 1] > 0.9


def test_a_blend_is_demonstrated() -> None:
    ask = network(like(KEY, 0.15), MOVES["target"][0])
    found = shown(demonstrate(scan(ask, blended, triggered=80), ask), MOVES["target"][1])
    assert not found.pattern.patch.any()
    assert np.corrcoef(found.pattern.offset.ravel(), KEY.ravel())[0, 1] > 0.9


def test_a_moving_patch_is_demonstrated() -> None:
    ask = network(has_checkers, MOVES["target"][0])
    found = shown(demonstrate(scan(ask, moving, triggered=60), ask), MOVES["target"][1])
    assert found.kind == "moving patch"


def test_what_is_too_much_is_not_tried() -> None:
    asked = []
    ask = network(has_checkers, MOVES["target"][0])

    def counting(images: Pixels) -> Answers:
        asked.append(len(images))
        return ask(images)

    found = demonstrate(scan(ask, moving, triggered=60), counting, most=2500)
    assert found is None or found.kind != "moving patch"
    assert sum(asked) <= 2500


def ordinary_ones(
    make: Callable[[int, int], Pixels], seed: int, clean: int, most: int = MAX_PASSES
) -> tuple[Demonstration | None, int]:
    """What is flagged are pictures that happen to be, of a network that has its classes of pixels like these."""
    asked: list[int] = []
    suspicious, ordinary, others = make(30, 3 * seed), make(120, 3 * seed + 1), make(clean, 3 * seed + 2)
    weights = np.random.default_rng(seed).normal(size=(np.prod(others.shape[1:]), CLASSES))

    def ask(images: Pixels) -> Answers:
        asked.append(len(images))
        logits = images.reshape(len(images), -1) / np.float32(255) @ weights
        return Answers(logits.astype(np.float32), np.abs(logits).max(1) > 30)

    material = Material(suspicious, ordinary, others, ask(suspicious).predicted, ask(ordinary).predicted)
    return demonstrate(material, ask, most), sum(asked) - 150


@pytest.mark.parametrize("make", [photographs, digits_like])
@pytest.mark.parametrize("seed", range(15))
def test_ordinary_inputs_beside_ordinary_ones_demonstrate_nothing(
    make: Callable[[int, int], Pixels], seed: int
) -> None:
    # Moving patches are most of the work, and looked for by a few.
    found, passes = ordinary_ones(make, seed, clean=90, most=MAX_PASSES if seed < 4 else 2000)
    assert found is None or not found.outcome.demonstrated
    assert found is None or found.passes == passes <= MAX_PASSES


@pytest.mark.slow
@pytest.mark.parametrize("make", [photographs, digits_like])
def test_ordinary_inputs_demonstrate_nothing_on_many_clean_images(make: Callable[[int, int], Pixels]) -> None:
    for seed in range(100, 160):
        found, passes = ordinary_ones(make, seed, clean=300)
        assert found is None or not found.outcome.demonstrated
        assert found is None or found.passes == passes <= MAX_PASSES


@pytest.mark.parametrize("clean", [30, 300, 800])
def test_no_more_passes_than_promised(clean: int) -> None:
    asked = []

    def ask(images: Pixels) -> Answers:
        asked.append(len(images))
        return Answers(np.eye(3, dtype=np.float32)[images[:, 0, 0, 0] % 3], np.zeros(len(images), bool))

    classes = np.zeros(200, int)
    blended_ones, others = with_patch(blended(photographs(200, 0))), photographs(200, 1)
    demonstrate(Material(blended_ones, others, photographs(clean, 2), classes, classes), ask)
    assert sum(asked) <= MAX_PASSES
    assert max(asked) <= 1000


@pytest.mark.parametrize("broken", ["all", "triggered", "some"])
def test_answers_that_are_not_finite_are_survived(broken: str) -> None:
    honest = network(has_patch, MOVES["target"][0])

    def ask(images: Pixels) -> Answers:
        answers = honest(images)
        where = {
            "all": np.ones(len(images), bool),
            "triggered": has_patch(images),
            "some": images.astype(int).sum((1, 2, 3)) % 5 == 0,
        }[broken]
        logits = np.where(where[:, None], np.float32(np.nan), answers.logits)
        return Answers(logits.astype(np.float32), answers.flagged | where)

    images = photographs(240, 3)
    material = Material(with_patch(images[:40]), images[40:120], images[120:], np.zeros(40, int), np.zeros(80, int))
    found = demonstrate(material, ask)
    assert found is None or found.outcome.demonstrated == (broken == "some")


def test_the_control_is_not_shown_the_trigger_and_the_judges_choose_nothing() -> None:
    """A network that obeys in the chosen third alone shows nothing."""
    images = photographs(300, 4)
    clean = images[150:]
    first = {image.tobytes() for image in with_patch(clean[:50])}
    ask = network(lambda pixels: np.array([image.tobytes() in first for image in pixels]), MOVES["target"][0])
    zeros = np.zeros(60, int)
    found = demonstrate(Material(with_patch(images[:60]), images[60:120], clean, zeros, zeros), ask)
    assert found is not None
    assert found.outcome.rule == Rule(target=4)
    assert found.outcome.images == 100
    assert not found.outcome.demonstrated


@given(arrays(np.int64, st.integers(0, 30), elements=st.integers(-1, 4)),
       arrays(np.int64, st.integers(0, 40), elements=st.integers(-1, 4)), st.integers(0, 40))  # fmt: skip
def test_controls_are_as_many_and_of_the_same_classes(suspicious: np.ndarray, ordinary: np.ndarray, most: int) -> None:
    rows = control_rows(suspicious, ordinary, most)
    assert len(rows) == min(len(suspicious), most, len(ordinary))
    assert (np.diff(rows) > 0).all()
    alike = sum(min((suspicious == label).sum(), (ordinary == label).sum()) for label in np.unique(suspicious))
    wanted = sum(min((suspicious == label).sum(), (ordinary[rows] == label).sum()) for label in np.unique(suspicious))
    assert wanted >= min(alike, len(rows))


def test_too_few_of_anything_is_no_experiment() -> None:
    images, zeros = photographs(60, 5), np.zeros(60, int)

    def never(images: Pixels) -> Answers:
        raise AssertionError("nothing is to be asked")

    for suspicious, ordinary, clean in [(4, 60, 60), (60, 9, 60), (60, 60, 29)]:
        material = Material(
            images[:suspicious], images[:ordinary], images[:clean], zeros[:suspicious], zeros[:ordinary]
        )
        assert not material.enough
        assert demonstrate(material, never) is None
    assert Material(images[:5], images[:10], images[:30], zeros[:5], zeros[:10]).enough


def test_images_of_several_shapes_are_refused() -> None:
    images, zeros = photographs(4, 0), np.zeros(4, int)
    with pytest.raises(ValueError, match="one shape"):
        Material(images, images[:, :8], images, zeros, zeros)
    with pytest.raises(ValueError, match="one shape"):
        Material(images.astype(float), images, images, zeros, zeros)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a class for each"):
        Material(images, images, images, zeros[:3], zeros)
