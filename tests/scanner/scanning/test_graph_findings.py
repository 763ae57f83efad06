"""What the graph showed when the profile was fitted is in every report made with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import pytest
from hostile_corpus import reheader, resign

import latentscan

BYPASS = {"fewest": 0, "bypass": ["Slice 'a'", "Where 'b'"], "selections": ["Where 'b'"], "selected": 1}


@pytest.fixture
def place(tmp_path: Path, demo_files: Path, demo_profile: Path) -> Path:
    shutil.copy(demo_profile, tmp_path / "p.h5")
    (tmp_path / "in").mkdir()
    for path in sorted((demo_files / "inputs").iterdir())[:5]:
        shutil.copy(path, tmp_path / "in")
    return tmp_path


def scanned(place: Path, structure: dict[str, object] | None) -> latentscan.Report:
    def change(header: dict) -> None:
        known = header["model"]["structure"]
        header["model"]["structure"] = None if structure is None else {**known, **structure}

    with h5py.File(place / "p.h5", "r+") as file:
        reheader(change)(file)
        resign(file)
    reports = (str(place / "r.json"), str(place / "r.sarif"), str(place / "r.md"))
    return latentscan.scan(latentscan.ScanOptions(place / "in", place / "p.h5", reports=reports))


def test_a_path_around_the_weights_fails_the_gate_whatever_the_inputs_say(place: Path) -> None:
    report = scanned(place, BYPASS)
    assert (report.verdict.severity.value, report.verdict.exit_code) == ("high", 1)
    assert {"LS501", "LS502"} <= set(report.verdict.rule_ids)
    assert [finding.rule for finding in report.findings if finding.subject == "model"][:2] == ["LS501", "LS502"]
    for name in ("r.json", "r.sarif", "r.md"):
        assert "Where 'b'" in (place / name).read_text().replace("&#39;", "'").replace("\\'", "'")


def test_an_honest_graph_and_one_that_is_not_known(place: Path) -> None:
    for structure, status in (({}, "passed"), (None, "not_assessed")):
        report = scanned(place, structure)
        assert {check.status.value for check in report.checks if check.id.startswith("LS50")} == {status}
        assert not any(rule.startswith("LS50") for rule in report.verdict.rule_ids)
