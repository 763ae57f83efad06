"""`scan --audit`: patterns of an audit of the same model are tried, and what becomes of them is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from audit_samples import colour_images, colour_network

import latentscan
from scanner.cli.main import run
from scanner.report.json_report import report_digest

ROOT = Path(__file__).resolve().parents[3]
SHARED = 12


def varied(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of one colour each with light and dark places of their own, so that none is a copy of another."""
    pictures, labels = colour_images(count, seed)
    places = np.random.default_rng(seed).integers(-30, 31, (count, 4, 4, 1)).repeat(4, 1).repeat(4, 2)
    return np.clip(pictures + places, 0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a backdoor and one without, each with its profile and its audit, and inputs."""
    folder = tmp_path_factory.mktemp("handed")
    pictures, labels = varied(240, 0)
    np.savez(folder / "ref.npz", images=pictures, labels=labels)
    inputs, _ = varied(400, 1)
    np.save(folder / "clean.npy", inputs)
    inputs[:SHARED, 12:15, 12:15] = 255
    np.save(folder / "triggered.npy", inputs)
    for name in ("backdoor", "clean"):
        model = folder / f"{name}.onnx"
        onnx.save(colour_network(backdoor=name == "backdoor"), model)
        fitted = latentscan.FitOptions(model, folder / "ref.npz", folder / f"{name}.h5", preprocess="unit")
        latentscan.fit(fitted)
        report = (str(folder / f"{name}.json"),)
        latentscan.audit(latentscan.AuditOptions(fitted, report, budget=None, passes=40_000))
    return folder


def scan(place: Path, inputs: str, audit: Path, model: str = "backdoor", *more: str) -> tuple[int, dict[str, Any]]:
    out = place / "report.json"
    out.unlink(missing_ok=True)
    arguments = [str(place / inputs), "--profile", str(place / f"{model}.h5"), "--audit", str(audit), *more]
    code = run(["scan", *arguments, "--report", str(out), "-q"])
    return code, json.loads(out.read_bytes()) if out.exists() else {}


def check(report: dict[str, Any]) -> dict[str, Any]:
    (found,) = [one for one in report["checks"] if one["id"] == "LS121"]
    return found


def test_inputs_that_end_where_the_pattern_leads_are_found_and_named(place: Path) -> None:
    out = [f"--report={place / f'out.{suffix}'}" for suffix in ("md", "html", "sarif")]
    code, report = scan(place, "triggered.npy", place / "backdoor.json", "backdoor", *out)
    handed = report["handed_over"]
    assert code == 1
    assert handed["found"]
    assert handed["target"] == 2
    assert handed["moved"] == handed["eligible"] == handed["flagged"] > 100
    assert handed["agreement_p"] <= 1e-3
    triggered = {f"triggered.npy[{index}]" for index in range(SHARED)}
    # A picture that is nearly another is there once.
    assert len(triggered & set(handed["inputs"])) >= SHARED - 2
    assert handed["audit_digest"] == json.loads((place / "backdoor.json").read_text())["report_digest"]
    assert check(report)["status"] == "failed"
    assert "LS121" in report["verdict"]["rule_ids"]
    assert [one["severity"] for one in report["findings"] if one["rule"] == "LS121"] == ["high"]
    for suffix in ("md", "html", "sarif"):
        assert "3x3 pixels at row" in (place / f"out.{suffix}").read_text()
    assert handed["inputs"][0] in (place / "out.html").read_text().split("h-handed")[2]


def test_without_inputs_that_end_there_it_is_no_finding(place: Path) -> None:
    code, report = scan(place, "clean.npy", place / "backdoor.json")
    assert code == 0
    assert report["handed_over"]["trigger_like"]
    assert not report["handed_over"]["found"]
    assert check(report)["status"] == "passed"
    assert "LS121" not in report["verdict"]["rule_ids"]


def test_a_clean_network_has_nothing_to_hand_over(place: Path) -> None:
    code, report = scan(place, "triggered.npy", place / "clean.json", "clean")
    assert code == 0
    assert not (report["handed_over"] or {}).get("found")
    assert "LS121" not in report["verdict"]["rule_ids"]


def test_another_models_audit_is_refused_in_one_line(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scanner", "scan", "clean.npy", "--profile", "backdoor.h5", "--audit", "clean.json",
         "--report", "none.json", "-q"],
        cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "clean.json" in line
    assert "is the audit of another model" in line
    assert not (place / "none.json").exists()


def forged(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """A change to an audit's report, with a digest that fits."""

    def changed(content: bytes) -> bytes:
        values = json.loads(content)
        change(values)
        values["report_digest"] = report_digest(values)
        return json.dumps(values).encode()

    return changed


def of_all(values: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in values["patterns"] if one["about"] == "all classes" and one["target"] is not None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[: len(content) // 2], "is not JSON"),
        (lambda content: re.sub(rb'"eligible": (\d)', rb'"eligible": 1\1', content, count=1), "its own digest"),
        (forged(lambda values: of_all(values).update(parameters=None)), "parameters are missing"),
        (forged(lambda values: of_all(values)["parameters"].update(side=10**9)), "side of a patch cannot be 10"),
        (forged(lambda values: of_all(values)["parameters"].update(row="\x1b[2J")), "row of a patch cannot be"),
        (forged(lambda values: of_all(values).update(target=7)), "more than 3 classes"),
        (forged(lambda values: values.update(input_shape=[8, 8, 3])), "images of 8x8x3"),
    ],
)  # fmt: skip
def test_hostile_reports_are_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[bytes], bytes], said: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(change((place / "backdoor.json").read_bytes()))
    code, report = scan(place, "clean.npy", bad)
    told = capsys.readouterr().err
    assert code == 2
    assert report == {}
    assert said in " ".join(told.split())
    assert "\x1b[2J" not in told
