"""Where the most suspicious inputs are loudest: the place, the inputs it is compared with, and what it costs."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from profile_samples import sample_header

import latentscan
from latentscan import ScanOptions
from reference.files import read_truth
from reference.training import build_model
from scanner.base.errors import ProfileError
from scanner.inputs.items import Item
from scanner.profile.header import TapInfo
from scanner.report.schema import Report
from scanner.scanning import loudest_place
from scanner.scanning.loudest_place import Layer, loud_layers, spatial_maxima, standing_out
from scanner.scanning.scanned import ScannedInput


def scanned(index: int, content: str, *, flagged: bool = False) -> ScannedInput:
    digest = hashlib.sha256(content.encode()).hexdigest()
    z = np.zeros(1)
    return ScannedInput(Item(index, f"{index}.png", None), digest, True, 0, None, 1.0, 1.0, 0.0, False, 0.0, 0.0,
                        flagged, z[None], None, z, ())  # fmt: skip


class TestStandingOut:
    """The channel that is louder than in every quiet input."""

    QUIET = np.random.default_rng(0).normal(10, 1, (12, 30)).astype(np.float32)

    def test_the_channel_that_was_raised(self) -> None:
        for channel in (0, 17, 29):
            values = self.QUIET.mean(0)
            values[channel] += 8
            assert standing_out(values, self.QUIET) == channel

    def test_none_of_the_quiet_inputs_has_one(self) -> None:
        assert [standing_out(row, self.QUIET) for row in self.QUIET] == [None] * 12

    def test_a_whisper_of_a_silent_channel_is_nothing(self) -> None:
        quiet = self.QUIET.copy()
        quiet[:, 5] = 0
        values = quiet.mean(0)
        values[5] = 0.5
        assert standing_out(values, quiet) is None

    def test_what_is_not_finite_is_left_out(self) -> None:
        values = self.QUIET.mean(0)
        values[3], values[4], values[7] = np.nan, np.inf, 30
        assert standing_out(values, self.QUIET) == 7

    def test_channels_that_are_all_silent(self) -> None:
        assert standing_out(np.zeros(4, np.float32), np.zeros((5, 4), np.float32)) is None


def layer(name: str, depth: float, scores: tuple[int, ...]) -> Layer:
    return Layer(TapInfo(name=name, tensor=name, shape=(3, 4, 4), layout="NCHW", depth=depth), scores)


def test_layers_half_as_loud_as_the_loudest_the_earliest_first() -> None:
    layers = [layer("late", 0.9, (0, 1)), layer("early", 0.1, (2, 3)), layer("middle", 0.5, (4,))]

    def names(*z: float) -> list[str]:
        return [one.tap.name for one in loud_layers(layers, np.array(z))]

    assert names(1, 8, 4, 0, 3.9) == ["early", "late"]
    assert names(1, 8, 3, 0, 9) == ["middle", "late"]
    assert names(-3, -1, -2, -2, -5) == []
    assert names(np.inf, 8, 4, 0, 3.9) == ["early", "middle"]


def test_layers_without_rows_and_columns_have_no_place() -> None:
    header = sample_header()
    assert [one.tap.name for one in spatial_maxima(header)] == ["layer1"]
    assert spatial_maxima(header)[0].scores
    flat = header.taps[0].model_copy(update={"layout": "NC", "shape": (16,)})
    assert spatial_maxima(header.model_copy(update={"taps": (flat,)})) == ()


@pytest.fixture(scope="module")
def marked(demo_files: Path) -> Report:
    """The report of the demo's own scan."""
    return latentscan.read_report(demo_files / "out.json")


def test_triggered_inputs_are_marked_where_the_trigger_is(marked: Report, demo_files: Path) -> None:
    triggered = [row.triggered for row in read_truth(demo_files / "truth.csv")]
    places = [item.place for item in marked.gallery if item.place is not None and triggered[item.index]]
    assert len(places) >= 8
    # The four pixels lie between 50% and 88% of both sides; a position of the layers is 12% to 25% of a side.
    near = [place for place in places if 0.5 <= place.row <= 0.95 and 0.5 <= place.column <= 0.95]
    assert len(near) >= 0.8 * len(places)


def test_the_place_is_where_the_channel_is_loudest_in_torch(marked: Report, demo_files: Path) -> None:
    model = build_model("digits")
    model.load_state_dict(torch.load(demo_files / "vendor" / "model.pt", weights_only=True)["state_dict"])
    model.eval()
    spec = json.loads((demo_files / "vendor" / "preprocessor_config.json").read_text())
    names, seen = {row.index: row.id for row in marked.top_inputs}, {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, output, name=name: seen.__setitem__(name, output))
    compared = 0
    for item in marked.gallery:
        if item.place is None:
            continue
        pixels = np.asarray(Image.open(demo_files / "inputs" / names[item.index]), np.float32)
        with torch.no_grad():
            model(torch.from_numpy((pixels / 255 - spec["image_mean"][0]) / spec["image_std"][0])[None, None].float())
        channel = seen[item.place.tap][0, item.place.channel].numpy()
        row, column = np.unravel_index(channel.argmax(), channel.shape)
        found = (item.place.row * channel.shape[0] - 0.5, item.place.column * channel.shape[1] - 0.5)
        assert found == pytest.approx((row, column), abs=1e-4)
        compared += 1
    assert compared >= 8


class Silent:
    """A progress that nobody reads."""

    def task(self, name: str, total: int):
        del name, total
        return lambda done: None

    def say(self, text: str) -> None:
        """Nothing."""


def scan(demo_files: Path, demo_profile: Path, inputs: Path | None = None, gallery: int = 24) -> Report:
    options = ScanOptions(inputs or demo_files / "inputs", demo_profile, gallery=gallery, threads=1)
    return latentscan.scan(options, Silent())


def test_a_batch_of_triggered_inputs_alone_has_nothing_to_compare_with(
    demo_files: Path, demo_profile: Path, tmp_path: Path
) -> None:
    for row in read_truth(demo_files / "truth.csv"):
        if row.triggered:
            shutil.copy(demo_files / "inputs" / row.file_name, tmp_path)
    report = scan(demo_files, demo_profile, tmp_path)
    assert report.batch.flagged > 100
    assert [item.place for item in report.gallery] == [None] * 24


def test_layers_of_another_shape_are_an_error_of_the_profile(
    demo_files: Path, demo_profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = loudest_place.spatial_maxima

    def elsewhere(header):
        return tuple(
            replace(one, tap=one.tap.model_copy(update={"tensor": "logits"})) for one in found(header)
        )  # fmt: skip

    monkeypatch.setattr(loudest_place, "spatial_maxima", elsewhere)
    with pytest.raises(ProfileError, match="do not have the shapes"):
        scan(demo_files, demo_profile)
