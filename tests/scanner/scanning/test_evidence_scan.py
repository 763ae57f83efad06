"""From an alarm to evidence, on the demo's network: triggered, drifted and repeated inputs, and what reports say."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from PIL import Image, ImageFilter

from reference.files import read_truth
from scanner.cli.main import run
from scanner.profile.reader import read_profile
from scanner.profile.writer import write_profile

REASON = "another camera, see ticket 12"
Scan = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def inputs(demo_files: Path) -> dict[bool, list[Path]]:
    """The demo's inputs: without a trigger, and with one."""
    found: dict[bool, list[Path]] = {False: [], True: []}
    for row in read_truth(demo_files / "truth.csv"):
        found[bool(row.triggered)].append(demo_files / "inputs" / row.file_name)
    return found


@pytest.fixture
def scan(demo_profile: Path, tmp_path: Path) -> Scan:
    """Exit code and report of a scan in this process."""

    def scanned(folder: Path, *options: str, profile: Path = demo_profile) -> tuple[int, dict[str, Any]]:
        out = tmp_path / f"report-{len(list(tmp_path.glob('report-*')))}.json"
        code = run(["scan", str(folder), "--profile", str(profile), "--report", str(out), "-q", *options])
        return code, json.loads(out.read_bytes())

    return scanned


def check_of(report: dict[str, Any], rule: str) -> dict[str, Any]:
    (found,) = [check for check in report["checks"] if check["id"] == rule]
    return found


def picture(report: dict[str, Any], digest: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(report["pictures"][digest]["data"]))))


def write(folder: Path, images: list[Image.Image]) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        image.save(folder / f"{number:04}.png")
    return folder


def opened(paths: list[Path]) -> list[Image.Image]:
    return [Image.open(path) for path in paths]


def resized(image: Image.Image) -> Image.Image:
    """To 75% and back."""
    return image.resize((image.width * 3 // 4, image.height * 3 // 4)).resize(image.size)


@pytest.fixture(scope="module")
def without_images(demo_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile, as if fitted with ``--demonstration-images 0``."""
    path = tmp_path_factory.mktemp("profile") / "without.h5"
    write_profile(path, replace(read_profile(demo_profile), clean_images=np.zeros(0, np.uint8)))
    return path


def assert_demonstrated(code: int, report: dict[str, Any]) -> None:
    shown = report["demonstration"]
    assert code == report["verdict"]["exit_code"] == 1
    assert report["verdict"]["severity"] == "critical"
    assert report["verdict"]["decision"] == "quarantine"
    assert report["verdict"]["rule_ids"][0] == "LS120"
    assert shown["demonstrated"]
    assert (shown["shift"], shown["target"], shown["source"]) == (1, None, None)
    assert shown["moved"] / shown["eligible"] > 0.9
    assert shown["low"] <= shown["moved"] / shown["eligible"] <= shown["high"]
    assert shown["control_moved"] / shown["eligible"] < 0.1
    assert shown["p_value"] < 1e-10
    assert shown["passes"] <= 5000
    check = check_of(report, "LS120")
    assert check["status"] == "failed"
    assert "every class to the next one" in check["message"]
    for digest in (shown["pattern"], shown["mask"]):
        assert picture(report, digest).shape[:2] == (8, 8)
    # The demo's trigger are four pixels at the right border.
    assert shown["area"] == 4 / 64
    assert len(shown["examples"]) == 3
    for example in shown["examples"]:
        before, after = (picture(report, example[when]).astype(int) for when in ("before", "after"))
        assert (before != after).sum() <= 4
        assert (int(example["predicted_before"]) + 1) % 10 == int(example["predicted_after"])


def test_the_trigger_is_shown_with_its_pictures(scan: Scan, demo_files: Path) -> None:
    code, report = scan(demo_files / "inputs")
    assert_demonstrated(code, report)
    assert report["drift"]["outcome"] == "alike"


def test_a_batch_of_nothing_but_triggered_inputs_is_critical(
    scan: Scan, inputs: dict[bool, list[Path]], tmp_path: Path
) -> None:
    code, report = scan(write(tmp_path / "all", opened(inputs[True])))
    assert_demonstrated(code, report)
    assert report["drift"]["outcome"] == "too few"


def test_without_clean_images_it_is_not_assessed_and_others_can_be_brought(
    scan: Scan, demo_files: Path, without_images: Path
) -> None:
    _, report = scan(demo_files / "inputs", profile=without_images)
    check = check_of(report, "LS120")
    assert check["status"] == "not_assessed"
    assert "keeps 0 clean images" in check["message"]
    assert "LS120" not in report["verdict"]["rule_ids"]
    assert report["verdict"]["rule_ids"] == ["LS101"]
    assert_demonstrated(*scan(demo_files / "inputs", "--clean", str(demo_files / "ref"), profile=without_images))


@pytest.mark.slow
def test_fit_keeps_no_images_where_none_are_wanted(cli: Cli, demo_files: Path, tmp_path: Path, scan: Scan) -> None:
    done = cli("fit", demo_files / "vendor" / "model.pt", "--arch", "scnn", "--clean", demo_files / "ref",
               "--output", tmp_path / "none.h5", "--demonstration-images", "0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_profile(tmp_path / "none.h5").clean_images.size == 0
    _, report = scan(demo_files / "inputs", profile=tmp_path / "none.h5")
    assert check_of(report, "LS120")["status"] == "not_assessed"
    assert_demonstrated(*scan(demo_files / "inputs", "--clean", str(demo_files / "ref"), profile=tmp_path / "none.h5"))


def test_clean_inputs_pass(scan: Scan, inputs: dict[bool, list[Path]], tmp_path: Path) -> None:
    code, report = scan(write(tmp_path / "clean", opened(inputs[False])))
    assert (code, report["verdict"]["decision"], report["verdict"]["severity"]) == (0, "accept", "none")
    assert report["drift"]["outcome"] == "alike"
    assert report["demonstration"] is None


DRIFTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized": resized,
    "darker": lambda image: image.point(lambda value: value // 2),
    "blurred": lambda image: image.filter(ImageFilter.BoxBlur(1)),
    "moved": lambda image: Image.fromarray(np.roll(np.asarray(image), 1, 1)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


@pytest.mark.parametrize(
    "drift",
    [name if name in ("resized", "mirrored") else pytest.param(name, marks=pytest.mark.slow) for name in DRIFTS],
)
def test_drifted_inputs_are_inconclusive_and_in_no_way_triggered(
    scan: Scan, inputs: dict[bool, list[Path]], tmp_path: Path, drift: str
) -> None:
    folder = write(tmp_path / "drifted", [DRIFTS[drift](image) for image in opened(inputs[False])])
    code, report = scan(folder)
    assert (code, report["verdict"]["decision"]) == (3, "review")
    # What was smoothed looks like copies of other pictures, which is said and changes nothing.
    assert set(report["verdict"]["rule_ids"]) - {"LS208"} == {"LS207"}
    assert not (report["demonstration"] or {"demonstrated": False})["demonstrated"]
    assert report["drift"]["outcome"] in ("drifted", "too few")
    message = check_of(report, "LS207")["message"]
    assert "evidence of triggered" not in message.lower()
    assert not any("vidence of triggered" in reason for reason in report["verdict"]["reasons"])


def test_what_drifted_is_described(scan: Scan, inputs: dict[bool, list[Path]], tmp_path: Path) -> None:
    folder = write(tmp_path / "drifted", [resized(image) for image in opened(inputs[False])])
    _, report = scan(folder)
    drift = report["drift"]
    # What was resized is smooth, so that some pictures are copies of others.
    assert 0.8 < drift["looked_at"] / len(list(folder.iterdir())) <= 1
    assert drift["score"]["p_value"] <= 1e-3
    assert drift["score"]["distance"] >= 0.1
    looks = {look["name"]: look for look in drift["looks"]}
    assert looks["sharpness"]["inputs"] < looks["sharpness"]["reference"]
    assert [look["distance"] for look in drift["looks"]] == sorted(
        (look["distance"] for look in drift["looks"]), reverse=True
    )
    assert 0 < len(drift["most_affected"]) <= 5


def test_drift_can_be_allowed_with_a_reason(scan: Scan, inputs: dict[bool, list[Path]], tmp_path: Path) -> None:
    folder = write(tmp_path / "drifted", [resized(image) for image in opened(inputs[False])])
    code, report = scan(folder, "--allow-drift", REASON)
    assert code in (0, 1)
    assert report["verdict"]["severity"] in ("none", "low", "medium", "high")
    assert report["drift"]["allowed"] == REASON
    assert REASON in json.dumps(report["policy"]["values"])


@pytest.mark.parametrize("reason", ["", " ", "ok"])
def test_a_reason_that_is_none_is_refused(cli: Cli, demo_files: Path, demo_profile: Path, reason: str) -> None:
    done = cli("scan", demo_files / "inputs", "--profile", demo_profile, "--allow-drift", reason)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "allow-drift" in line


def test_drift_hides_no_trigger_that_can_be_shown(scan: Scan, inputs: dict[bool, list[Path]], tmp_path: Path) -> None:
    """Inputs that are a little brighter, a fifth of which carry the trigger as it is."""
    images = [image.point(lambda value: min(255, value + 25)) for image in opened(inputs[False])]
    code, report = scan(write(tmp_path / "both", images + opened(inputs[True])))
    assert report["drift"]["outcome"] == "drifted"
    assert (code, report["verdict"]["rule_ids"][0]) == (1, "LS120")
    assert report["demonstration"]["shift"] == 1


@pytest.fixture(scope="module")
def strange(inputs: dict[bool, list[Path]]) -> Image.Image:
    """A clean picture that any scan flags."""
    image = np.asarray(Image.open(inputs[False][0])).copy()
    return Image.fromarray(255 - image)


@pytest.mark.parametrize("noise", [0, 3])
def test_one_strange_picture_many_times_is_at_most_low(
    scan: Scan, inputs: dict[bool, list[Path]], strange: Image.Image, tmp_path: Path, noise: int
) -> None:
    rng, pixels = np.random.default_rng(0), np.asarray(strange, float)
    copies = [
        Image.fromarray(np.clip(np.rint(pixels + noise * rng.normal(size=pixels.shape)), 0, 255).astype(np.uint8))
        for _ in range(300)
    ]
    _, report = scan(write(tmp_path / "copies", opened(inputs[False]) + copies))
    assert report["batch"]["flagged"] >= 300
    assert report["verdict"]["severity"] in ("none", "low")
    assert report["copies"]["flagged"] < 20
    assert report["inputs"]["scanned"] == len(inputs[False]) + 300
    if not noise:
        assert report["copies"]["contents"] == len(inputs[False]) + 1
        assert report["copies"]["repeated"] >= 299


def same(report: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on the order and the names of the inputs, or on threads."""
    drift = {key: value for key, value in report["drift"].items() if key != "most_affected"}
    batch = report["batch"]
    return {
        "verdict": {key: report["verdict"][key] for key in ("severity", "decision", "rule_ids", "confidence")},
        "batch": {key: batch[key] for key in ("flagged", "p_value", "tests", "share", "by_class", "shared_units")},
        "drift": drift,
        "copies": report["copies"],
        "demonstration": report["demonstration"],
    }


def test_threads_and_the_order_and_names_of_inputs_do_not_matter(scan: Scan, demo_files: Path, tmp_path: Path) -> None:
    _, one = scan(demo_files / "inputs", "--threads", "1")
    _, two = scan(demo_files / "inputs", "--threads", "2")
    for part in ("verdict", "batch", "drift", "copies", "demonstration", "checks", "findings", "pictures"):
        assert one[part] == two[part], part
    paths = sorted((demo_files / "inputs").iterdir())
    random.Random(1).shuffle(paths)
    (tmp_path / "renamed").mkdir()
    for number, path in enumerate(paths):
        shutil.copy(path, tmp_path / "renamed" / f"x{number:05}.png")
    _, renamed = scan(tmp_path / "renamed")
    assert same(renamed) == same(one)
