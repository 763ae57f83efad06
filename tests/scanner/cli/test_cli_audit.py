"""`modelscan audit` as a user calls it: files in, reports and exit code out."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest
from audit_samples import CLASSES, colour_images, colour_network
from PIL import Image

import latentscan
from detectors.probing.probing import STATISTICS
from scanner.auditing import clean_networks
from scanner.cli.main import run
from scanner.report.audit.markdown import markdown_bytes
from scanner.report.audit.read import read_audit
from scanner.report.audit.schema import AuditReport
from scanner.report.audit.terminal import print_audit
from scanner.report.audit.words import beside

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    onnx.save(colour_network(backdoor=False), folder / "clean.onnx")
    onnx.save(colour_network(backdoor=True), folder / "backdoor.onnx")
    onnx.save(colour_network(backdoor=True, one_class=True), folder / "one-class.onnx")
    for index, (image, label) in enumerate(zip(*colour_images(240), strict=True)):
        path = folder / "ref" / CLASSES[label] / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def audit(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(place, "audit", *arguments)


def command(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scanner", *arguments, "--preprocess", "unit", "--device", "cpu"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "0"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def here(place: Path, model: str, *, report: str, null: str | None = None, passes: int | None = None) -> AuditReport:
    """The same in this process."""
    opening = latentscan.FitOptions(place / model, place / "ref", place / "unused", preprocess="unit", device="cpu")
    known = None if null is None else place / null
    options = latentscan.AuditOptions(opening, (str(place / report),), budget=None, passes=passes, null=known)
    return latentscan.audit(options)


@pytest.fixture(scope="module")
def found(place: Path) -> subprocess.CompletedProcess[str]:
    reports = [f"--report=out.{suffix}" for suffix in ("json", "html", "sarif", "xml", "md", "intoto.json", "cdx.json")]
    return audit(place, "backdoor.onnx", "--clean", "ref", "--passes", "60000", *reports)


def test_a_patch_that_moves_everything_is_found_and_shown(place, found):
    assert found.returncode == 1, found.stderr
    assert "Verdict:  HIGH  quarantine, exploitable (exit code 1" in found.stderr
    assert found.stdout == ""
    report = read_audit(place / "out.json")
    best = next(one for one in report.patterns if one.family == "patch" and one.about == "all classes")
    assert (best.target_name, best.moved, best.eligible) == ("blue", best.eligible, best.eligible)
    assert best.pattern in report.pictures
    assert best.examples[0].predicted_after == "blue"
    assert report.clean.accuracy == 1.0
    assert report.networks is None
    assert report.search.complete
    assert "img-src data:" in (place / "out.html").read_text()
    assert report.pictures[best.pattern].data in (place / "out.html").read_text()


def test_every_format_says_the_same(place, found):
    sarif = json.loads((place / "out.sarif").read_text())["runs"][0]
    assert [result["ruleId"] for result in sarif["results"]] == ["LS603"]
    assert sarif["invocations"][0]["exitCode"] == 1
    suite = ElementTree.parse(place / "out.xml").getroot()[0]
    assert suite.attrib["failures"] == "1"
    assert [case.attrib["name"].split()[0] for case in suite.iter("testcase") if case.find("failure") is not None] == [
        "LS605"
    ]
    assert "A plain pattern moves most clean images" in (place / "out.md").read_text()


def test_the_same_passes_give_the_same_report(place, found):
    # Another process, with other threads, and the passes that the first came to as its budget.
    spent = read_audit(place / "out.json").search.passes
    here(place, "backdoor.onnx", report="again.json", passes=spent)
    one, other = (json.loads((place / name).read_text()) for name in ("out.json", "again.json"))
    assert one.pop("run") != other.pop("run")
    for report in (one, other):
        # The settings of a command line, which a program has none of.
        del report["search"]["budget_passes"], report["report_digest"], report["model"]["isolation"], report["policy"]
    assert one == other


def test_refinement_shows_how_small_the_trigger_may_be(place):
    arguments = ("backdoor.onnx", "--clean", "ref", "--passes", "2000", "--refine", "--report", "refined.json")
    done = audit(place, *arguments)
    assert "Smallest by gradients, not compared with clean networks" in done.stderr
    report = read_audit(place / "refined.json")
    patch = report.refined[0]
    assert (patch.kind, patch.target_name, patch.reached) == ("smallest patch", "blue", True)
    assert patch.size <= 9  # the trigger is 3x3
    assert patch.moved == patch.eligible
    assert patch.pattern in report.pictures
    assert {(one.kind, one.target) for one in report.refined} == {
        (kind, target) for kind in ("smallest patch", "weakest offset") for target in range(3)
    }


def test_clean_networks_decide_what_is_unusual(place):
    (place / "known").mkdir()
    first = here(place, "clean.onnx", report="known/0.json")
    assert (first.verdict.outcome, first.verdict.exit_code) == ("uncalibrated", 3)
    assert "knows no clean networks for 16x16x3 images and 3 classes" in first.verdict.reasons[0]
    _copies(place / "known", 19)
    usual = here(place, "clean.onnx", report="usual.json", null="known")
    assert (usual.verdict.outcome, usual.verdict.exit_code) == ("none found", 0)
    done = audit(place, "backdoor.onnx", "--clean", "ref", "--passes", "60000", "--null", "known", "--report", "-")
    assert done.returncode == 1, done.stderr
    report = AuditReport.model_validate_json(done.stdout)
    assert report.verdict.outcome == "evidence"
    assert report.networks is not None
    # The nineteen and the audit of the clean model itself, which the shipped suspect is not.
    assert (report.networks.networks, round(1 / report.networks.p_value)) == (20, 21)


def test_a_backdoor_in_one_class_is_found_by_its_pair_of_classes(place):
    (place / "many").mkdir()
    here(place, "clean.onnx", report="many/0.json")
    _copies(place / "many", 39)
    report = here(place, "one-class.onnx", report="pair.json", null="many")
    assert report.verdict.rule_ids == ("LS606",)
    assert (report.verdict.outcome, report.verdict.severity) == ("evidence", "high")
    assert (report.networks.compared_by, report.networks.loudest) == ("families and pairs", "pairs")
    assert report.networks.p_value <= 2 / 41
    (pair,) = (one for one in report.patterns if one.about == "one pair")
    assert (pair.source_name, pair.target_name, pair.moved) == ("red", "blue", pair.eligible)
    assert report.pairs.moved[pair.source][pair.target] == pair.statistic
    assert pair.usual < pair.statistic
    assert "moves images of class red to class blue" in report.verdict.reasons[0]


def test_where_classes_cannot_be_recognised_the_strongest_pair_is_compared_with_the_strongest(place, monkeypatch):
    pixels, statistics = colour_images(240)[0], here(place, "clean.onnx", report="of-table.json").patterns
    families = {one.family: one.statistic for one in statistics if one.about == "all classes"}
    table = {
        "described": "small networks",
        "shape": [16, 16, 3],
        "classes": 3,
        "look": [float(pixels.mean()), float(pixels.std())],
        "accuracy": [0.9, 1.0],
        "networks": [[families[one] for one in STATISTICS]] * 39,
        "strongest_pairs": [0.2] * 39,
    }
    monkeypatch.setattr(clean_networks, "_shipped", lambda: {"tables": [table]})
    report = here(place, "one-class.onnx", report="strongest.json")
    assert report.verdict.rule_ids == ("LS606",)
    assert (report.networks.compared_by, report.networks.loudest) == ("families and the strongest pair", "pairs")
    assert report.networks.p_value == 1 / 40
    assert "a backdoor in one class may well not be noticed" in " ".join(report.warnings)
    (pair,) = (one for one in report.patterns if one.about == "one pair")
    assert (pair.source_name, pair.target_name, pair.usual) == ("red", "blue", 0.2)
    assert "on the clean ones the patch that moves some class most moves 20%" in report.verdict.reasons[0]
    assert beside(pair, report) == "The patch that moves some class most on clean networks"
    assert here(place, "clean.onnx", report="again.json").verdict.outcome == "none found"


def printed(report):
    stream = io.StringIO()
    print_audit(report, stream)
    return stream.getvalue()


def test_a_budget_without_room_for_pairs_leaves_them_out_and_says_so(place):
    (place / "few").mkdir()
    whole = here(place, "clean.onnx", report="few/0.json")
    _copies(place / "few", 19)
    report = here(place, "one-class.onnx", report="short.json", null="few", passes=whole.search.passes // 2 + 5_000)
    assert report.search.complete
    assert report.pairs is None
    assert report.networks.compared_by == "families"
    assert "a backdoor in one class would not be noticed" in " ".join(report.warnings)
    for text in (printed(report), markdown_bytes(report).decode()):
        assert "Warnings" in text
        assert "a backdoor in one class would not be noticed" in " ".join(text.split())


def test_a_report_becomes_any_other_format(place, found, monkeypatch, capfd):
    monkeypatch.chdir(place)
    for suffix in ("html", "sarif", "xml", "md", "intoto.json", "cdx.json"):
        assert run(["report", "out.json", "--output", f"later.{suffix}"]) == 0
        assert (place / f"later.{suffix}").read_bytes() == (place / f"out.{suffix}").read_bytes()
    assert run(["report", "out.json"]) == 0
    assert capfd.readouterr().out == found.stderr[found.stderr.index("Verdict:") :]


def test_a_report_says_which_model_passed(place, found, monkeypatch, capfd):
    monkeypatch.chdir(place)
    here(place, "clean.onnx", report="inconclusive.json", passes=60000)
    reports = ["--report", "out.json", "--report", "inconclusive.json"]
    assert run(["verify", "backdoor.onnx", "clean.onnx", *reports]) == 1
    assert capfd.readouterr().out.count("FAILED its audit") == 2


def test_somebody_may_answer_for_a_model(place, found, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(place)
    digest = read_audit(place / "out.json").model.sha256
    entry = f"[[ignore]]\nmodel = '{digest}'\nup-to = 'high'\nexpires = 2999-01-01\nreason = 'a lab model'\n"
    (tmp_path / "known.toml").write_text(entry)
    (tmp_path / "latentscan.toml").write_text("ignore = 'known.toml'\nfail-on = 'high'\nalpha = 0.001\n")
    arguments = ["backdoor.onnx", "--clean", "ref", "--passes", "60000", "--preprocess", "unit", "--device", "cpu"]
    written = [f"--report={tmp_path}/x.{suffix}" for suffix in ("json", "intoto.json", "sarif", "xml", "cdx.json")]
    assert run(["audit", *arguments, "--config", str(tmp_path / "latentscan.toml"), *written]) == 0
    assert "ACCEPTED" in capfd.readouterr().err
    report = read_audit(tmp_path / "x.json")
    assert (report.verdict.severity, report.verdict.accepted.reason) == ("high", "a lab model")
    assert report.policy.values == {"fail-on": "high"}
    assert json.loads((tmp_path / "x.intoto.json").read_text())["predicate"]["result"] == "WARNED"
    assert json.loads((tmp_path / "x.sarif").read_text())["runs"][0]["results"][0]["suppressions"]
    assert 'failures="0"' in (tmp_path / "x.xml").read_text()
    assert "a lab model" in (tmp_path / "x.cdx.json").read_text()


def test_a_fit_audits_in_one_go(place):
    done = command(place, "fit", "backdoor.onnx", "--clean", "ref", "-o", "p.h5", "--audit", "one.json")
    assert done.returncode == 1, done.stderr
    assert (place / "p.h5").exists()
    report = read_audit(place / "one.json")
    assert (report.verdict.outcome, report.policy.values) == ("exploitable", {"fail-on": "high"})
    assert report.run.isolation
    assert run(["fit", "x.onnx", "--clean", str(place / "ref"), "--audit", "x.docx"]) == 2


def _copies(folder: Path, count: int) -> None:
    """Reports of other clean models: as that of the first, with a little less or more moved."""
    from scanner.report.json_report import document, report_bytes, report_digest

    first = read_audit(folder / "0.json")
    generator = np.random.default_rng(0)
    for number in range(1, count + 1):
        model = first.model.model_copy(update={"sha256": f"{number:064x}"})
        patterns = tuple(
            one.model_copy(update={"statistic": float(np.clip(one.statistic + generator.normal(0, 0.05), 0, 1))})
            for one in first.patterns
        )
        changed = first.model_copy(update={"model": model, "patterns": patterns})
        changed = changed.model_copy(update={"report_digest": report_digest(document(changed))})
        (folder / f"{number}.json").write_bytes(report_bytes(changed))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("missing.onnx", "--clean", "ref"), "missing.onnx"),
        (("clean.onnx", "--clean", "nowhere"), "nowhere"),
        (("clean.onnx", "--clean", "ref", "--report", "x.docx"), "unknown report format"),
        (("clean.onnx", "--clean", "ref", "--ignore", "gone.toml"), "gone.toml"),
        (("clean.onnx", "--clean", "ref", "--report", "x.json", "--report", "x.json"), "two reports"),
        (("clean.onnx", "--clean", "ref", "--report", "nowhere/x.json"), "nowhere"),
        (("clean.onnx", "--clean", "ref", "--fail-on", "bad"), "--fail-on"),
        (("clean.onnx", "--clean", "ref", "--null", "gone"), "gone: cannot"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(place, monkeypatch, capfd, arguments, said):
    monkeypatch.chdir(place)
    before = sorted(path.name for path in place.iterdir())
    assert run(["audit", *arguments, "--quiet", "--device", "cpu"]) == 2
    printed = capfd.readouterr()
    assert sorted(path.name for path in place.iterdir()) == before
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert said in printed.err


def test_a_pickle_is_refused_before_it_runs(place, tmp_path, monkeypatch, capfd):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    monkeypatch.chdir(place)
    assert run(["audit", str(tmp_path / "evil.pt"), "--clean", "ref", "--quiet"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "ran").exists()
