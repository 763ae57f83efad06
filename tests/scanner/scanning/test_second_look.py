"""A second look at a few inputs: what it shows is what one by one shows, and every input is read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import latentscan
from latentscan import ScanOptions
from scanner.base.progress import SILENCE
from scanner.inputs.decode import decode
from scanner.inputs.pipeline import digest
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.inner_tensors import open_inner_tensors
from scanner.scanning import second_look
from scanner.scanning.labels import open_labelled
from scanner.scanning.loudest_place import spatial_maxima
from scanner.scanning.material import Wanted
from scanner.scanning.open_scan import open_profile, open_scan
from scanner.scanning.second_look import channel_maxima, look_again
from scanner.scanning.stages import OpenedScan


@pytest.fixture(scope="module")
def opened(demo_files: Path, demo_profile: Path) -> OpenedScan:
    options = ScanOptions(demo_files / "inputs", demo_profile)
    return open_scan(open_profile(options), open_labelled(options, SILENCE), options, SILENCE)


def wanted(opened: OpenedScan, *indices: int) -> list[Wanted]:
    """Inputs as they are now."""
    items = [opened.source.items[index] for index in indices]
    return [Wanted(item, digest(opened.source.read(item)), 0) for item in items]


def test_it_is_what_one_input_after_the_other_shows(opened: OpenedScan) -> None:
    taps = {layer.tap.name: layer.tap for layer in spatial_maxima(opened.header)}
    tensors = [tap.tensor for tap in taps.values()]
    alone = open_inner_tensors(opened.profile, tensors, opened.scorer.output_names)
    spec = PreprocessSpec.from_dict(opened.header.preprocess.spec)
    seen = look_again(opened, wanted(opened, 7, 3, 11, 5, 2, 9), taps)
    assert sorted(seen) == [2, 3, 5, 7, 9, 11]
    for index, look in seen.items():
        pixels = decode(opened.source.read(opened.source.items[index]), spec)
        np.testing.assert_array_equal(look.pixels, pixels)
        features = opened.scorer.features(pixels[None])
        expected = np.concatenate([features["logits"][0], features["class_evidence"][0]])
        np.testing.assert_allclose(look.features, expected, rtol=1e-5, atol=1e-5)
        maps = alone.run({"pixels": pixels[None]}, tensors)
        assert look.layers.keys() == taps.keys()
        for name, tap in taps.items():
            channels = maps[tap.tensor][0].reshape(tap.shape[0], -1)
            np.testing.assert_allclose(look.layers[name].maxima, channels.max(1), rtol=1e-5, atol=1e-5)


def test_an_input_that_was_changed_is_not_seen(opened: OpenedScan) -> None:
    rows = [*wanted(opened, 1, 2), Wanted(opened.source.items[3], "0" * 64, 0)]
    seen = look_again(opened, rows, {})
    assert sorted(seen) == [1, 2]
    assert seen[1].layers == {}


def test_without_layers_the_session_of_the_scan_does(opened: OpenedScan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "open_inner_tensors", None)
    assert sorted(look_again(opened, wanted(opened, 4), {})) == [4]


@pytest.mark.parametrize("gallery", [0, 24, 48])
def test_a_scan_reads_each_of_them_once(
    demo_files: Path, demo_profile: Path, monkeypatch: pytest.MonkeyPatch, gallery: int
) -> None:
    looked: list[int] = []
    pipeline = second_look.run_pipeline

    def counting(*arguments, items, **options):
        looked.extend(item.index for item in items)
        return pipeline(*arguments, items=items, **options)

    monkeypatch.setattr(second_look, "run_pipeline", counting)
    report = latentscan.scan(ScanOptions(demo_files / "inputs", demo_profile, gallery=gallery))
    assert len(looked) == len(set(looked)) == (gallery + 16 if gallery else 0)
    assert {item.index for item in report.gallery} <= set(looked)
    assert any(item.place is not None for item in report.gallery) == bool(gallery)


def test_maxima_and_their_places() -> None:
    maps = np.random.default_rng(1).random((3, 5, 4, 7)).astype(np.float16)
    look = channel_maxima(maps)
    for image in range(3):
        for channel in range(5):
            row, column = np.unravel_index(maps[image, channel].argmax(), (4, 7))
            assert look.maxima[image, channel] == maps[image, channel, row, column]
            assert look.places[image, channel].tolist() == pytest.approx([(row + 0.5) / 4, (column + 0.5) / 7])
