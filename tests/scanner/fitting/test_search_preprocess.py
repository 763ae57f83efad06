"""The search for the preprocessing: what it finds, how it ranks, and what it says of its margin."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from color_network import CLASSES, SIDE, color_images, color_network
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.base.errors import PreprocessError, SourceError
from scanner.fitting import search_preprocess
from scanner.fitting.choose_preprocess import describe, ranking, search_warnings
from scanner.fitting.reference_labels import Labels, reference_labels
from scanner.fitting.search_preprocess import (
    Search,
    TrialModel,
    TriedCandidate,
    better_than_chance,
    rank_candidates,
    trial_items,
)
from scanner.graph.session import GraphSession
from scanner.inputs.items import Item
from scanner.inputs.preprocess import NORMALISATIONS, PreprocessSpec, parse_flag
from scanner.inputs.sizes import sample_sizes
from scanner.inputs.source import open_source

SPEC = PreprocessSpec((28, 28), 1, None, "bilinear", False, 1 / 255, (0.5,), (0.5,))
IN_COLOR = [name for name, known in NORMALISATIONS.items() if 3 in known.tried_for]


def tried(name: str, accuracy: float, log_likelihood: float, images: int = 400) -> TriedCandidate:
    """Right about the first images, so that answers of two candidates agree as far as they can."""
    return TriedCandidate(name, SPEC, np.arange(images) < round(accuracy * images), log_likelihood)


# --- ranking ---


def test_accuracy_decides_where_it_can() -> None:
    ranked = rank_candidates([tried("a", 0.70, -0.1), tried("b", 0.90, -0.9), tried("c", 0.40, -0.2)])
    assert [c.name for c in ranked] == ["b", "a", "c"]


def test_log_likelihood_decides_where_accuracy_cannot() -> None:
    """The figures of a real MNIST network: one image of 400 favours the wrong normalisation."""
    ranked = rank_candidates([tried("unit", 0.985, -0.098), tried("mnist", 0.9825, -0.032), tried("raw", 0.98, -2.4)])
    assert ranked[0].name == "mnist"


def test_a_perfect_score_leaves_room_for_ties() -> None:
    assert rank_candidates([tried("a", 1.0, -0.5), tried("b", 0.9975, -0.01)])[0].name == "b"


def test_images_are_compared_one_by_one() -> None:
    """The same two accuracies are a clear difference where one is right wherever the other is, and none elsewhere."""
    correct = np.arange(400) < 300
    nested = TriedCandidate("nested", SPEC, np.arange(400) < 292, -0.1)
    apart = TriedCandidate("apart", SPEC, np.roll(np.arange(400) < 292, 80), -0.1)
    best = TriedCandidate("best", SPEC, correct, -0.2)
    assert nested.accuracy == apart.accuracy
    assert rank_candidates([best, nested])[0].name == "best"
    assert rank_candidates([best, apart])[0].name == "apart"


# --- chance ---


@pytest.mark.parametrize(
    ("accuracy", "images", "chance", "better"),
    [
        (0.12, 400, 0.1, False),  # a margin that is too small
        (0.3, 400, 0.1, True),
        (0.3, 20, 0.1, False),  # six of twenty, by the luckiest of forty candidates
        (1.0, 20, 0.5, True),
        (1.0, 200, 0.995, False),  # 199 of 200 have one label: the other image may be right by luck
        (0.995, 200, 0.995, False),
        (0.6, 400, 0.5, True),
    ],
)
def test_better_than_chance(accuracy: float, images: int, chance: float, better: bool) -> None:
    assert better_than_chance(tried("a", accuracy, -1.0, images), chance, 42) == better


# --- the choice of images ---


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(1, 60), st.integers(0, 5))
@settings(deadline=None)
def test_every_beginning_of_the_trial_is_spread_over_the_labels(names: list[str], count: int, seed: int) -> None:
    source = SimpleNamespace(items=[Item(i, str(i), name) for i, name in enumerate(names)])
    chosen = trial_items(source, count, seed)
    assert len(chosen) == len({item.index for item in chosen}) == min(count, len(names))
    assert chosen == trial_items(source, count, seed)
    for length in range(1, len(chosen) + 1):
        seen = {name: sum(item.label == name for item in chosen[:length]) for name in set(names)}
        for name, number in seen.items():
            # A label lags behind another only where it has no more images.
            assert number == names.count(name) or number >= max(seen.values()) - 1


# --- the search ---


def save(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    path = folder / "ref.npz"
    np.savez(path, images=images, labels=np.array(CLASSES)[labels])
    return path


def trial(spec: PreprocessSpec) -> TrialModel:
    model = SimpleNamespace(architecture="onnx", input_shape=(3, *spec.size), layout="NCHW", num_classes=len(CLASSES))
    return TrialModel(model, GraphSession(color_network(spec).SerializeToString(), device="cpu"))


def search(network: PreprocessSpec, path: Path, seed: int = 0) -> Search:
    source = open_source(path)
    labels = reference_labels(source, len(CLASSES))
    return search_preprocess.search_preprocess([trial(network)], source, labels, sample_sizes(source), seed)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("colors"), *color_images(1800, 0))


@pytest.mark.parametrize("name", IN_COLOR)
def test_every_normalisation_is_found(name: str, reference: Path) -> None:
    """Caffe's and those on blue, green, red among them: a network made for one is recognised."""
    found = search(parse_flag(name, 3, (SIDE, SIDE)), reference)
    assert found.best.name == name
    assert found.best.accuracy > 0.8
    assert found.tried == len(IN_COLOR)
    assert found.best.images == 1800
    assert {candidate.images for candidate in found.others} == {450}
    swapped = name.removesuffix("-bgr") if name.endswith("-bgr") else f"{name}-bgr"
    swapped = {"caffe": "caffe-rgb", "caffe-rgb-bgr": "caffe", "caffe-bgr": "caffe-rgb"}.get(swapped, swapped)
    wrong = next(c for c in (*found.leaders, *found.others) if c.name == swapped)
    assert wrong.accuracy < found.best.accuracy - 0.1


def test_the_search_repeats_itself(reference: Path) -> None:
    network = parse_flag("imagenet-bgr", 3, (SIDE, SIDE))
    one, again = search(network, reference, 3), search(network, reference, 3)
    assert describe(one) == describe(again)
    assert ranking(one) == ranking(again)


def test_a_geometry_is_found(tmp_path: Path) -> None:
    """Images whose middle alone has the color: the network that was trained on crops sees nothing else."""
    images, labels = color_images(300, 1, side=64)
    framed = np.random.default_rng(0).integers(0, 256, (300, 64, 128, 3), dtype=np.uint8)
    framed[:, :, 32:96] = images
    found = search(parse_flag("caffe:shortest", 3, (64, 64)), save(tmp_path, framed, labels))
    assert found.best.name == "caffe:shortest"
    assert found.tried == 3 * len(IN_COLOR)
    assert found.best.images == 300


def test_where_the_first_images_tell_nothing_all_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With labels in another order, which takes four images of each class to solve."""
    monkeypatch.setattr(search_preprocess, "FIRST_IMAGES", 12)
    monkeypatch.setattr(search_preprocess, "FIRST_SHARE", 100)
    images, labels = color_images(600, 2)
    path = save(tmp_path, images, (labels + 1) % len(CLASSES))
    found = search(parse_flag("unit-bgr", 3, (SIDE, SIDE)), path)
    assert found.best.name == "unit-bgr"
    assert found.others == ()


def test_unreadable_images_are_left_out(tmp_path: Path) -> None:
    images, labels = color_images(120, 3)
    images = images.astype(np.float32) / 255
    images[::10] = 7.0
    found = search(parse_flag("caffe", 3, (SIDE, SIDE)), save(tmp_path, images, labels))
    assert (found.best.name, found.best.images) == ("caffe", 108)


def test_readable_images_of_one_class_are_no_supervision(tmp_path: Path) -> None:
    images, labels = color_images(120, 3)
    images = images.astype(np.float32) / 255
    images[labels != 2] = 7.0
    with pytest.raises(SourceError, match="have the label 'coral'"):
        search(parse_flag("caffe", 3, (SIDE, SIDE)), save(tmp_path, images, labels))


def test_nothing_better_than_chance_is_refused(tmp_path: Path) -> None:
    images, labels = color_images(300, 4)
    path = save(tmp_path, images, np.random.default_rng(0).permutation(labels))
    with pytest.raises(PreprocessError, match="better than chance"):
        search(parse_flag("unit", 3, (SIDE, SIDE)), path)


def test_a_network_that_overflows_is_wrong_and_no_error(tmp_path: Path) -> None:
    spec = parse_flag("unit", 3, (SIDE, SIDE))
    network = color_network(spec)
    broken = network.graph.initializer[1]
    values = np.frombuffer(broken.raw_data, np.float32).copy()
    broken.raw_data = (values * np.float32(1e36)).tobytes()  # finite for pixels up to 1, infinite up to 255
    model = SimpleNamespace(architecture="onnx", input_shape=(3, SIDE, SIDE), layout="NCHW", num_classes=len(CLASSES))
    source = open_source(save(tmp_path, *color_images(300, 5)))
    session = GraphSession(network.SerializeToString(), device="cpu")
    labels = reference_labels(source, len(CLASSES))
    found = search_preprocess.search_preprocess([TrialModel(model, session)], source, labels, [(SIDE, SIDE)], 0)
    shown = {c.name: c for c in (*found.leaders, *found.others)}
    assert shown["raw255"].accuracy == 0.0
    assert all(np.isfinite(c.log_likelihood) for c in shown.values())


# --- what is said ---


def test_the_margin_and_its_noise() -> None:
    clear = Search((tried("a", 0.9, -0.1), tried("b", 0.5, -0.2)), ())
    assert describe(clear) == (
        "a at 28x28, best of 2 candidates on 400 labelled images with 90.0%; 40.0 points above b at 28x28 "
        f"(McNemar p = {2.0 * 0.5**160:.2g})"
    )
    assert search_warnings(clear) == ()
    close = Search((tried("a", 0.9, -0.1), tried("b", 0.905, -0.2), tried("c", 0.5, -0.3)), (tried("d", 0.4, -1, 100),))
    assert "0.5 points below b at 28x28 (within noise, McNemar p = 0.5)" in describe(close)
    (warning,) = search_warnings(close)
    assert "cannot tell a at 28x28 (90.0% of 400 labelled images) from b at 28x28 90.5%" in warning
    assert "c at 28x28" not in warning
    assert [name for name, _ in ranking(close)][-1] == "d at 28x28, on 100 images alone"
    level = Search((tried("a", 0.9, -0.1), tried("b", 0.9, -0.2)), ())
    assert "level with b at 28x28 (within noise, McNemar p = 1)" in describe(level)


def test_a_long_list_of_rivals_is_cut_short() -> None:
    rivals = tuple(tried(f"r{i}", 0.9, -1.0) for i in range(6))
    assert "r2 at 28x28 90.0% and 3 more" in search_warnings(Search((tried("a", 0.9, -0.1), *rivals), ()))[0]


# --- labels ---


def test_labels_are_numbers_where_all_of_them_can_be() -> None:
    def given_of(*names: str) -> list[int]:
        source = SimpleNamespace(class_names=names, root=Path("ref"))
        return reference_labels(source, 10).given.tolist()

    assert given_of("3", "7") == [3, 7]
    assert given_of("3", "cat") == [0, 1]
    assert given_of("3", "10") == [0, 1]
    assert given_of("1", "01") == [0, 1]  # two names of one number: they are names
    with pytest.raises(SourceError, match="has 11 classes, the model 10 outputs"):
        given_of(*map(chr, range(97, 108)))


def test_one_label_is_refused_wherever_it_comes_from() -> None:
    labels = Labels(("a", "b"), np.arange(2))
    assert labels.of([Item(0, "x", "b"), Item(1, "y", "a")]).tolist() == [1, 0]
    with pytest.raises(SourceError, match="the label 'b'"):
        labels.of([Item(0, "x", "b"), Item(1, "y", "b")])
