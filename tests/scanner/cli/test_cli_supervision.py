"""The command line on references whose labels say nothing, and on networks of every kind of preprocessing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from color_network import CLASSES, SIDE, color_images, color_network, write_classes, write_images

from scanner.inputs.preprocess import parse_flag
from scanner.profile.reader import read_profile

CAFFE = parse_flag("caffe", 3, (SIDE, SIDE))
UNKNOWN = replace(CAFFE, mean=(180.0, 40.0, 150.0), std=(20.0, 90.0, 40.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, and one set of images in several layouts."""
    root = tmp_path_factory.mktemp("supervision")
    for name, spec in (("caffe", CAFFE), ("unknown", UNKNOWN)):
        onnx.save(color_network(spec), root / f"{name}.onnx")
    images, labels = color_images(240, 7)
    write_images(root / "wrapped" / "images", images)
    write_classes(root / "labelled" / "clean", images, labels)
    write_classes(root / "mixed" / "clean", images, labels)
    write_images(root / "mixed" / "loose", images[:1])
    (root / "mixed" / "loose" / "0000.png").rename(root / "mixed" / "clean" / "0000.png")
    write_images(root / "listed" / "images", images)
    listed = "".join(f"images/{index:04}.png,thing\n" for index in range(len(images)))
    (root / "listed" / "ref.csv").write_text("file_name,label\n" + listed)
    write_images(root / "inputs", color_images(60, 8)[0])
    return root


def failure(done, code: int = 2) -> str:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("clean", "found"),
    [
        ("wrapped", "one folder of images, 'images/', which is the same as no labels"),
        ("wrapped/images", "a folder of images without class folders"),
        ("listed/ref.csv", "a manifest in which every image has the label 'thing', which is the same as no labels"),
    ],
)
def test_one_label_finds_no_preprocessing(cli, folder: Path, tmp_path: Path, clean: str, found: str) -> None:
    """The error says the layout that was found, and the one that is needed."""
    message = failure(cli("fit", folder / "caffe.onnx", "--clean", folder / clean, "-o", tmp_path / "p.h5"))
    assert "nothing says how to preprocess images for caffe.onnx" in message
    assert f"(found: {found}" in message
    assert "a folder for each class, CLEAN/<class>/<image>, or a manifest with file_name,label" in message
    assert not (tmp_path / "p.h5").exists()


def test_one_label_is_an_unlabelled_reference(cli, folder: Path, tmp_path: Path) -> None:
    profile, report = tmp_path / "p.h5", tmp_path / "out.json"
    done = cli("fit", folder / "caffe.onnx", "--clean", folder / "wrapped", "--preprocess", "caffe", "-o", profile)
    assert done.returncode == 0, done.stderr
    assert "reference: one folder of images, 'images/', which is the same as no labels" in done.stderr
    assert "clean accuracy   unknown (no labels)" in done.stderr
    reference = read_profile(profile).header.reference
    assert (reference.labelled, reference.clean_accuracy, reference.images) == (False, None, 240)
    done = cli("scan", folder / "inputs", "--profile", profile, "--report", report)
    assert done.returncode in (0, 1, 3), done.stderr
    assert json.loads(report.read_text())["reference"]["clean_accuracy"] is None


def test_a_layout_that_says_neither_is_refused(cli, folder: Path, tmp_path: Path) -> None:
    fit = ["fit", folder / "caffe.onnx", "--clean", folder / "mixed", "-o", tmp_path / "p.h5"]
    assert "mixes class folders such as 'clean/amber/' with loose images" in failure(cli(*fit))


def test_the_margin_is_in_the_profile_and_every_report(cli, folder: Path, tmp_path: Path) -> None:
    """Classes behind a wrapper, and a network for blue, green, red in grey levels without the mean."""
    profile = tmp_path / "p.h5"
    done = cli("fit", folder / "caffe.onnx", "--clean", folder / "labelled", "-o", profile)
    assert done.returncode == 0, done.stderr
    assert f"reference: {len(CLASSES)} class folders in 'clean/'" in done.stderr
    header = read_profile(profile).header
    assert header.preprocess.source.startswith("caffe at 8x8, best of 14 candidates on 240 labelled images with 8")
    assert "points above caffe-rgb at 8x8 (McNemar p = " in header.preprocess.source
    assert header.preprocess.source in " ".join(done.stderr.split())
    assert header.preprocess.spec == replace(CAFFE, resize=None).to_dict()
    assert header.preprocess.candidates[0].name == "caffe at 8x8"
    assert header.reference.per_class.keys() == set(CLASSES)
    assert not any("preprocessing" in warning for warning in header.warnings)
    reports = [tmp_path / f"out{suffix}" for suffix in (".json", ".md", ".html")]
    cli("scan", folder / "inputs", "--profile", profile, *(part for path in reports for part in ("--report", path)))
    assert json.loads(reports[0].read_text())["preprocess"]["source"] == header.preprocess.source


def test_a_preprocessing_that_is_not_among_the_candidates_is_noticed(cli, folder: Path, tmp_path: Path) -> None:
    profile = tmp_path / "p.h5"
    done = cli("fit", folder / "unknown.onnx", "--clean", folder / "labelled", "-o", profile)
    assert done.returncode == 0, done.stderr
    warnings = read_profile(profile).header.warnings
    assert any("far below what a network with 6 outputs usually reaches" in warning for warning in warnings)
    reports = [tmp_path / f"out{suffix}" for suffix in (".json", ".md", ".html", ".sarif", ".xml")]
    cli("scan", folder / "inputs", "--profile", profile, *(part for path in reports for part in ("--report", path)))
    for report in reports:
        assert "far below what a network with 6 outputs usually reaches" in report.read_text(), report.name
