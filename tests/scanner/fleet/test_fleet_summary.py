"""The summary of many reports: what is corrected, in which order rows stand, and the worst row's exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fleet_samples import IDENTITY, RUN, summary_of, write_table
from report_samples import sample_report

from scanner.fleet.folder import Ended, RowFolder
from scanner.fleet.summary import FleetOutcome, summarise
from scanner.report.json_report import report_bytes

BAD = sample_report()
CLEAN = sample_report(flagged=(2, 2, 1))


def odd_report():
    """High by itself, with a p-value that is no rarity among many models."""
    for flagged in range(12, 30):
        report = sample_report(flagged=(flagged, 0, 0), top_inputs=[])
        if 1e-4 < report.batch.p_value <= 1e-3:
            return report
    raise AssertionError


def test_severest_first_then_what_could_not_be_judged(tmp_path: Path) -> None:
    found = summary_of(
        tmp_path,
        {
            "clean": CLEAN,
            "few": Ended("fit", 3, "too few images"),
            "bad": BAD,
            "gone": Ended("read", 2, "no such file"),
            "odd": odd_report(),
        },
    )
    assert [model.name for model in found.models] == ["bad", "odd", "few", "gone", "clean"]
    assert [model.exit_code for model in found.models] == [1, 0, 3, 2, 0]
    assert found.exit_code == 1
    assert found.correction.tests == 5
    bad, odd, few, gone, clean = found.models
    assert (bad.severity, bad.own_severity, bad.changed) == ("critical", "critical", None)
    assert np.isclose(bad.batch_p_adjusted, 5 * bad.batch_p, rtol=1e-5)
    assert np.isclose(odd.batch_p_adjusted, 4 * odd.batch_p, rtol=1e-5)
    assert (odd.own_severity, odd.own_exit_code) == ("high", 1)
    assert odd.severity in ("medium", "low")
    assert odd.changed is not None
    assert (few.status, few.stage, few.message, few.severity) == ("failed", "fit", "too few images", None)
    assert gone.report is None
    assert (clean.scanned, clean.inputs, clean.decision) == (600, 600, "accept")


def test_the_worst_row_decides(tmp_path: Path) -> None:
    gone, few = Ended("read", 2, "no such file"), Ended("scan", 3, "nothing to scan")
    for index, (rows, code) in enumerate([((CLEAN,), 0), ((CLEAN, few), 3), ((few, gone), 2), ((gone, BAD), 1)]):
        (tmp_path / str(index)).mkdir()
        found = summary_of(tmp_path / str(index), {str(number): row for number, row in enumerate(rows)})
        assert found.exit_code == code


def test_one_model_is_judged_as_by_its_report(tmp_path: Path) -> None:
    for index, report in enumerate((BAD, CLEAN, odd_report(), sample_report(predicted=(0, 0, 0), flagged=(0, 0, 0)))):
        (tmp_path / str(index)).mkdir()
        (model,) = summary_of(tmp_path / str(index), {"one": report}).models
        assert (model.severity, model.exit_code) == (report.verdict.severity, report.verdict.exit_code)
        assert (model.decision, model.changed) == (report.verdict.decision, None)
        assert model.report_digest == report.report_digest


def test_a_report_that_was_altered_is_a_failed_row(tmp_path: Path) -> None:
    table = write_table(tmp_path, ["one"])
    folder = RowFolder(tmp_path / "out", table.rows[0])
    folder.begin(IDENTITY)
    folder.report.write_bytes(report_bytes(BAD).replace(b'"critical"', b'"none"'))
    found = summarise(table, [FleetOutcome(table.rows[0], folder, Ended("done", 0, ""))], RUN)
    (model,) = found.models
    assert (model.status, model.stage, model.exit_code, found.exit_code) == ("failed", "scan", 2, 2)
    assert "digest" in model.message
