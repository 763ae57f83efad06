"""Inputs that make a network compute something that is not finite, from files to reports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import Cli
from onnx import helper
from onnx_graphs import model, weights
from PIL import Image

from scanner.report.schema import FINDING_RULES, Report

CLEAN, TRIGGERED, REFERENCE = 30, 11, 60


def breaking_network(where: str) -> onnx.ModelProto:
    """A network whose ``logits`` or ``features`` are no numbers where three by three pixels are white.

    The square root of a negative number is NaN, and 0 times it is 0 or NaN: clean images do not see any of it. With
    'features' NaN fills the first layer alone: what the second makes of it is replaced by zeros, as an attacker would
    who knows that logits are looked at. With 'infinity' it is infinity instead, from an exponential that is 0 for clean
    images. With 'logits' every layer stays as it is.
    """
    trap = [("Sqrt", ["room"], ["root"]), ("Mul", ["root", "zero"], ["trap"])]
    if where == "infinity":
        trap = [
            ("Mul", ["room", "steep"], ["exponent"]),
            ("Relu", ["exponent"], ["rectified"]),
            ("Exp", ["rectified"], ["power"]),
            ("Sub", ["power", "one"], ["trap"]),
        ]
    nodes = [
        ("Conv", ["image", "w1"], ["c1"]),
        ("Relu", ["c1"], ["r1"]),
        helper.make_node("Gather", ["r1", "first"], ["patches"], axis=1),
        ("GlobalMaxPool", ["patches"], ["brightest"]),
        ("Sub", ["limit", "brightest"], ["room"]),
        *trap,
        ("Add", ["r1", "zero" if where == "logits" else "trap"], ["t1"]),
        ("Conv", ["t1", "w2"], ["c2"]),
        ("IsNaN", ["c2"], ["broken"]),
        ("Where", ["broken", "zero", "c2"], ["kept"]),
        ("Clip", ["kept", "zero", "hundred"], ["r2"]),
        ("GlobalAveragePool", ["r2"], ["pooled"]),
        ("Flatten", ["pooled"], ["flat"]),
        ("Gemm", ["flat", "w3", "b3"], ["answer"]),
        ("Flatten", ["trap"], ["flat_trap"]),
        ("Add", ["answer", "flat_trap" if where == "logits" else "zero"], ["logits"]),
    ]
    w1 = weights(1, 8, 3, 3, 3)
    w1[0] = 1 / 27  # the mean of a patch: no clean patch, and hardly any noise, reaches the limit
    constants = {
        "first": np.array([0], np.int64),
        "limit": np.full((1, 1, 1, 1), 0.9, np.float32),
        "zero": np.float32(0),
        "one": np.float32(1),
        "steep": np.float32(-1000),
        "hundred": np.float32(100),
        "w1": w1,
        "w2": weights(2, 12, 8, 3, 3),
        "w3": weights(3, 12, 4),
        "b3": weights(4, 4),
    }
    return model(nodes, constants)


def write_images(folder: Path, count: int, seed: int, *, triggered: int = 0) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for index in range(count + triggered):
        smooth = generator.integers(0, 200, (4, 4, 3)).repeat(2, 0).repeat(2, 1).astype(np.uint8)
        if index >= count:
            smooth[:3, :3] = 255
        Image.fromarray(smooth).save(folder / f"{'t' if index >= count else 'c'}{index:03}.png")


@pytest.fixture(scope="module", params=["logits", "features"])
def scanned(request, cli: Cli, tmp_path_factory) -> tuple[str, Path, Report, list[dict], str]:
    """What was broken, the folder, the report, the rows and what was printed."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "model.onnx").write_bytes(breaking_network(request.param).SerializeToString())
    write_images(folder / "ref", REFERENCE, 0)
    write_images(folder / "inputs", CLEAN, 1, triggered=TRIGGERED)
    done = cli("fit", "model.onnx", "--clean", "ref", "--preprocess", "unit", cwd=folder)
    assert done.returncode == 0, done.stderr
    names = [f"out.{kind}" for kind in ("json", "html", "sarif", "xml", "md", "intoto.json", "cdx.json")]
    reports = [part for name in names for part in ("--report", name)]
    done = cli("scan", "inputs", "--rows", "rows.jsonl", *reports, cwd=folder)
    assert "Traceback" not in done.stderr
    assert "RuntimeWarning" not in done.stderr
    assert done.returncode == 1, done.stderr
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    report = Report.model_validate_json((folder / "out.json").read_bytes())
    return request.param, folder, report, rows, done.stderr


def test_verdict_is_high_whatever_the_batch_says(scanned) -> None:
    _, _, report, _, printed = scanned
    assert report.verdict.severity in ("high", "critical")
    assert report.verdict.exit_code == 1
    assert "LS105" in report.verdict.rule_ids
    assert f"for {TRIGGERED} of {CLEAN + TRIGGERED} inputs the network's logits" in " ".join(printed.split())
    assert f"Not finite {TRIGGERED}, flagged" in " ".join(printed.split())


def test_every_such_input_is_flagged_and_no_class_is_claimed(scanned) -> None:
    where, _, report, rows, _ = scanned
    broken = [row for row in rows if row["finite"] is False]
    assert [row["id"][0] for row in broken] == ["t"] * TRIGGERED
    for row in broken:
        assert row["flagged"] is True
        assert row["p_value"] == pytest.approx(1 / (report.calibration.size + 1), rel=1e-5)
        assert row["score"] is None
        assert row["source"] is None
        assert (row["predicted"] is None) == (row["predicted_class"] is None) == (where == "logits")
        assert (row["top_scores"] == []) == (where == "logits")
    for row in rows:
        if row["finite"]:
            assert row["predicted"] in range(4)
            assert row["score"] is not None
    assert {row.index for row in report.top_inputs[:TRIGGERED]} == {row["index"] for row in broken}


def test_the_batch_is_tested_without_them(scanned) -> None:
    _, _, report, rows, _ = scanned
    assert report.inputs.scanned == CLEAN + TRIGGERED
    assert report.inputs.not_finite == TRIGGERED
    assert {test.id: test.n for test in report.batch.tests} == dict.fromkeys(("LS111", "LS112", "LS113"), CLEAN)
    assert report.batch.shared_units is not None
    assert report.batch.shared_units.inputs == CLEAN
    assert report.batch.flagged == sum(row["flagged"] and row["finite"] for row in rows)
    assert sum(entry.n for entry in report.batch.by_class) == CLEAN
    assert report.distributions is not None
    assert sum(report.distributions.scanned) == sum(report.distributions.p_values) == CLEAN


def test_every_format_says_so(scanned) -> None:
    _, folder, report, _, _ = scanned
    sarif = json.loads((folder / "out.sarif").read_text())["runs"][0]
    assert sarif["properties"]["inputsNotFinite"] == TRIGGERED
    results = [result["ruleId"] for result in sarif["results"]]
    assert results.count("LS105") == 1
    assert results.count("LS403") == TRIGGERED
    assert f"| Not finite | {TRIGGERED}," in (folder / "out.md").read_text()
    assert "<dt>Not finite</dt>" in (folder / "out.html").read_text()
    assert 'type="LS105"' in (folder / "out.xml").read_text()
    assert "LS105" in json.loads((folder / "out.intoto.json").read_text())["predicate"]["failedTests"]
    ids = [entry["id"] for entry in json.loads((folder / "out.cdx.json").read_text())["vulnerabilities"]]
    assert "LS105" in ids
    assert [f.rule for f in report.findings if f.subject == "model"] == [
        rule for rule in report.verdict.rule_ids if rule in FINDING_RULES["model"]
    ]
    # These networks break by operators that look at the pixels, which their graphs show before any input does.
    assert "LS502" in report.verdict.rule_ids


def test_one_input_is_enough_and_alpha_does_not_matter(scanned, cli: Cli, tmp_path) -> None:
    _, folder, _, _, _ = scanned
    shutil.copytree(folder / "inputs", tmp_path / "inputs")
    for path in sorted((tmp_path / "inputs").glob("t*"))[1:]:
        path.unlink()
    profile = ("--profile", folder / "modelscan.h5", "--report", tmp_path / "out.json")
    done = cli("scan", tmp_path / "inputs", *profile, "--alpha", "0.001")
    assert done.returncode == 1, done.stderr
    report = Report.model_validate_json((tmp_path / "out.json").read_bytes())
    assert (report.verdict.severity, report.inputs.not_finite, report.batch.flagged) == ("high", 1, 0)
    assert report.top_inputs[0].flagged
    for path in (tmp_path / "inputs").glob("c*"):
        path.unlink()
    done = cli("scan", tmp_path / "inputs", *profile)
    assert done.returncode == 1, done.stderr
    report = Report.model_validate_json((tmp_path / "out.json").read_bytes())
    assert report.verdict.severity == "high"
    assert report.verdict.rule_ids[0] == "LS105"
    assert (report.batch.flag_rate, report.batch.share) == (None, None)


def test_accepting_the_model_and_ignoring_inputs(scanned, cli: Cli, tmp_path) -> None:
    _, folder, report, _, _ = scanned
    ids = {finding.rule: finding.id for finding in report.findings}
    scan = ("scan", folder / "inputs", "--profile", folder / "modelscan.h5", "--report", tmp_path / "out.json")
    ignore = tmp_path / "ignore.toml"
    row = report.top_inputs[0]
    ignore.write_text(
        f"[[ignore]]\ninput = '{row.sha256}'\nreason = 'known'\n[[ignore]]\nfinding = '{ids['LS105']}'\nreason = 'no'\n"
    )
    assert cli(*scan, "--ignore", ignore, "--baseline", folder / "out.json").returncode == 1
    told = Report.model_validate_json((tmp_path / "out.json").read_bytes())
    assert all(finding.known for finding in told.findings)
    suppressed = [finding for finding in told.findings if finding.suppressed is not None]
    assert [(finding.rule, finding.index) for finding in suppressed] == [("LS403", row.index)]
    assert any("no fingerprint suppresses" in warning for warning in told.warnings)
    ignore.write_text(
        f"[[ignore]]\nmodel = '{report.model.sha256}'\nup-to = 'critical'\nreason = 'a test'\nexpires = 2100-01-01\n"
    )
    done = cli(*scan, "--ignore", ignore)
    assert done.returncode == 0
    assert "ACCEPTED" in done.stderr


def test_infinite_features_behind_finite_logits(cli: Cli, tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(breaking_network("infinity").SerializeToString())
    write_images(tmp_path / "ref", REFERENCE, 0)
    write_images(tmp_path / "inputs", 5, 1, triggered=3)
    fitted = cli("fit", "model.onnx", "--clean", "ref", "--preprocess", "unit", cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr
    assert cli("scan", "inputs", "--report", "out.json", cwd=tmp_path).returncode == 1
    report = Report.model_validate_json((tmp_path / "out.json").read_bytes())
    assert (report.verdict.severity, report.inputs.not_finite) == ("high", 3)
    assert all(row.predicted is not None for row in report.top_inputs)


@pytest.mark.parametrize("where", ["logits", "features", "infinity"])
def test_fit_refuses_a_network_that_breaks_on_clean_images(where: str, cli: Cli, tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(breaking_network(where).SerializeToString())
    write_images(tmp_path / "ref", 40, 0, triggered=2)
    done = cli("fit", "model.onnx", "--clean", "ref", "--preprocess", "unit", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    message = done.stderr.strip().splitlines()[-1]
    layer = "the logits" if where == "logits" else "layer t1"
    assert f"not finite on 2 of 42 clean images, for example t040.png, first in {layer}" in message
    assert not (tmp_path / "modelscan.h5").exists()
