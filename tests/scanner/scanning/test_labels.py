"""Labels of inputs: matched, counted, and without any influence."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import latentscan
from latentscan import ScanOptions
from reference.files import read_truth
from scanner.inputs.items import Item
from scanner.report.schema import LabelledGroup, LabelsSection, Report
from scanner.scanning.labels import ClassLookup, LabelTally
from scanner.scanning.scanned import ScannedInput


def scanned(label: str | None, *, predicted: int = 0, flagged: bool = False, finite: bool = True) -> ScannedInput:
    z = np.zeros(1)
    row = ScannedInput(Item(0, "a.png", label), "", finite, predicted, None, 1.0, 1.0, 0.0, 0.0, False, 0.0, 0.0,
                       flagged, z[None], None, z, ())  # fmt: skip
    return row if finite else replace(row, predicted=None, flagged=True)


@pytest.mark.parametrize(
    ("names", "label", "output"),
    [
        (("cat", "dog"), "dog", 1),
        (("cat", "dog"), "Dog", None),
        (("cat", "dog"), "1", None),
        (("class 0", "class 1"), "1", None),  # a reference without labels says nothing of what outputs are
        (("class 0", "class 1"), "class 1", 1),
        (("3", "1", "2", "0"), "3", 0),
        (("03", "01", "02", "00"), "3", 0),
        (("0", "1", "2", "3"), "003", 3),
        (("7", "A", "b"), "7", 0),
        (("cat", "cat", "dog"), "cat", None),
        (("1", "01", "2"), "01", 1),
        (("1", "01", "2"), "001", None),
        (("1", "2"), "²", None),
        (("1", "2"), "9" * 5000, None),
        (("caf\\xe9", "dog"), "caf\udce9", 0),
    ],
)
def test_a_label_stands_for_the_class_of_its_name_or_number(
    names: tuple[str, ...], label: str, output: int | None
) -> None:
    assert ClassLookup(names).find(label) == output


def exact(right: int, inputs: int) -> LabelledGroup:
    interval = binomtest(right, inputs).proportion_ci(0.95, method="exact")
    return LabelledGroup(
        inputs=inputs, right=right, accuracy=right / inputs,
        interval={"low": interval.low, "high": interval.high, "level": 0.95},
    )  # fmt: skip


def close(found: LabelledGroup, wanted: LabelledGroup) -> None:
    assert (found.inputs, found.right, found.accuracy) == (wanted.inputs, wanted.right, wanted.accuracy)
    assert found.interval is not None
    assert wanted.interval is not None
    assert found.interval.low == pytest.approx(wanted.interval.low, abs=1e-9)
    assert found.interval.high == pytest.approx(wanted.interval.high, abs=1e-9)


def test_right_and_wrong_are_counted_by_flag_and_bounded_exactly() -> None:
    tally = LabelTally(("cat", "dog"))
    for number in range(60):
        tally.scanned(scanned("cat", predicted=int(number < 3)))
    for number in range(20):
        tally.scanned(scanned("dog", predicted=int(number < 1), flagged=True))
    tally.scanned(scanned("cat", finite=False))
    section = tally.section()
    assert section is not None
    close(section.flagged, exact(1, 20))
    close(section.others, exact(57, 60))
    assert (section.no_class, section.no_class_labels) == (0, ())


def test_labels_that_name_no_class_are_counted_and_the_first_are_named() -> None:
    tally = LabelTally(("cat", "dog"))
    for number in range(5000):
        tally.scanned(scanned(f"batch {number // 2}"))
    section = tally.section()
    assert section is not None
    assert section.no_class == 5000
    assert section.no_class_labels == tuple(f"batch {number}" for number in range(10))
    assert (section.flagged.accuracy, section.others.interval) == (None, None)


def test_inputs_without_labels_have_no_section() -> None:
    tally = LabelTally(("cat", "dog"))
    tally.scanned(scanned(None))
    assert tally.section() is None


class Listener:
    """A progress that keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def task(self, name: str, total: int) -> Callable[[int], None]:
        del name, total
        return lambda done: None

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def place(demo_files: Path, demo_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the demo's inputs, with what they truly show, and the profile."""
    folder = tmp_path_factory.mktemp("labels")
    shutil.copytree(demo_files / "inputs", folder / "inputs")
    shutil.copy(demo_profile, folder / "modelscan.h5")
    return folder


def scan(place: Path, inputs: Path) -> tuple[Report, bytes, list[str]]:
    listener = Listener()
    rows = place / "rows.jsonl"
    report = latentscan.scan(ScanOptions(inputs, place / "modelscan.h5", rows=rows, threads=1), listener)
    return report, rows.read_bytes(), listener.said


def manifest(path: Path, labels: dict[str, str] | None, names: list[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", *(["label"] if labels is not None else [])])
        for name in names:
            writer.writerow([f"inputs/{name}", *([labels[name]] if labels is not None else [])])
    return path


def test_labels_are_counted_and_change_nothing_else(place: Path, demo_files: Path) -> None:
    truth = {row.file_name: row.true_label for row in read_truth(demo_files / "truth.csv")}
    names = sorted(truth)
    plain, plain_rows, said = scan(place, manifest(place / "plain.csv", None, names))
    assert plain.batch.labels is None
    assert said == ["inputs: a manifest without labels"]
    told, told_rows, said = scan(place, manifest(place / "told.csv", truth, names))
    assert said == ["inputs: a manifest with 10 labels"]
    assert told_rows == plain_rows
    assert told.verdict == plain.verdict
    assert told.checks == plain.checks
    assert told.batch.model_copy(update={"labels": None}) == plain.batch
    counts = {True: [0, 0], False: [0, 0]}
    for line in told_rows.splitlines():
        row = json.loads(line)
        counts[row["flagged"]][0] += row["predicted_class"] == truth[row["id"].removeprefix("inputs/")]
        counts[row["flagged"]][1] += 1
    section = told.batch.labels
    assert section is not None
    close(section.flagged, exact(*counts[True]))
    close(section.others, exact(*counts[False]))
    assert section.no_class == 0
    assert section.flagged.interval is not None
    assert section.others.interval is not None
    assert section.flagged.interval.high < 0.5 < 0.9 < section.others.interval.low


def few(place: Path, folder: Path, where: Callable[[int], str]) -> Path:
    for number, path in enumerate(sorted((place / "inputs").iterdir())[:30]):
        target = folder / where(number)
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def section_of(report: Report) -> LabelsSection:
    assert report.batch.labels is not None
    return report.batch.labels


def test_folders_that_are_no_classes_are_scanned_and_said(place: Path, tmp_path: Path) -> None:
    report, _, said = scan(place, few(place, tmp_path / "dated", lambda number: f"2026-{1 + number % 3}"))
    section = section_of(report)
    assert (report.inputs.scanned, section.no_class) == (30, 30)
    assert section.no_class_labels == ("2026-1", "2026-2", "2026-3")
    assert said == ["inputs: 3 class folders"]


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        (lambda number: "" if number else "9", "mixes class folders such as '9/' with loose images"),
        (lambda number: ("train", "test")[number % 2], "holds the parts of a data set"),
        (lambda number: f"{number % 2}/{number % 3}", "holds folders of folders"),
    ],
)
def test_layouts_that_no_reference_may_have_are_scanned_without_labels(
    place: Path, tmp_path: Path, where: Callable[[int], str], problem: str
) -> None:
    report, _, said = scan(place, few(place, tmp_path / "inputs", where))
    assert (report.inputs.scanned, report.inputs.source, report.batch.labels) == (30, "folder", None)
    assert said[0].startswith(f"inputs: labels are not used ({problem}")


def test_a_manifest_that_labels_only_some_is_scanned_without_labels(place: Path) -> None:
    names = sorted(path.name for path in (place / "inputs").iterdir())[:30]
    labels = dict.fromkeys(names, "3") | {names[4]: ""}
    report, _, said = scan(place, manifest(place / "some.csv", labels, names))
    assert (report.inputs.scanned, report.batch.labels) == (30, None)
    assert said == ["inputs: labels are not used (labels 29 of 30 rows, not line 6)"]


@pytest.mark.parametrize("labels", [np.arange(30) % 10, np.arange(30.0) + 0.5])
def test_labels_of_an_array(place: Path, tmp_path: Path, labels: np.ndarray) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "inputs.npz", images=images, labels=labels)
    report, _, said = scan(place, tmp_path / "inputs.npz")
    assert report.inputs.scanned == 30
    if labels.dtype.kind == "f":
        assert report.batch.labels is None
        assert said[0].startswith("inputs: labels are not used (has labels that are fractions")
    else:
        section = section_of(report)
        assert (section.flagged.inputs + section.others.inputs, section.no_class) == (30, 0)
