"""The sections of the report say what they are computed from."""

import hashlib
import json

import pytest
from profile_samples import sample_header
from report_samples import STARTED, sample_report
from scipy import stats

from scanner.base.errors import UsageError
from scanner.profile.header import CalibrationInfo
from scanner.report.build import calibration_section
from scanner.report.run import Engine, Timing, describe_run, source_date_epoch


def test_batch():
    batch = sample_report(flagged=(40, 2, 1), predicted=(200, 250, 150)).batch
    assert batch.flagged == 43
    assert batch.flag_rate == pytest.approx(43 / 600)
    interval = stats.binomtest(43, 600).proportion_ci(0.95, "exact")
    assert batch.flag_rate_interval.low == pytest.approx(interval.low, rel=1e-6)
    assert batch.flag_rate_interval.high == pytest.approx(interval.high, rel=1e-6)
    by_rate, by_maximum = batch.tests
    assert by_rate.p_value == pytest.approx(stats.betabinom.sf(42, 600, 3, 298), rel=1e-6)
    assert by_maximum.p_value == pytest.approx(stats.betabinom.sf(20, 600, 1, 300), rel=1e-6)
    assert by_rate.null == "BetaBinomial(n=600, a=3, b=298)"
    assert by_rate.expected == pytest.approx(stats.betabinom.mean(600, 3, 298))
    assert batch.p_value == pytest.approx(2 * min(by_rate.p_value, by_maximum.p_value))


def test_target_classes():
    batch = sample_report(flagged=(40, 2, 0), predicted=(200, 250, 150)).batch
    assert [(target.class_name, target.n, target.flagged) for target in batch.target_classes] == [("cat", 200, 40)]
    assert batch.target_classes[0].p_adjusted == pytest.approx(3 * stats.betabinom.sf(39, 200, 3, 298), rel=1e-6)
    assert [(count.class_index, count.flagged) for count in batch.flagged_by_class] == [(0, 40), (1, 2)]


def test_nothing_scanned():
    report = sample_report(flagged=(0, 0, 0), predicted=(0, 0, 0))
    assert (report.batch.flag_rate, report.batch.flag_rate_interval, report.batch.share) == (None, None, None)
    assert report.verdict.decision == "inconclusive"
    assert report.verdict.severity is None


@pytest.mark.parametrize(
    ("size", "alpha", "rate"), [(99, 0.01, 0.01), (98, 0.01, 0), (199, 0.29, 58 / 200), (1000, 0.01, 10 / 1001)]
)
def test_expected_false_alarm_rate(size, alpha, rate):
    info = CalibrationInfo(method="split", folds=None, size=size, smallest_alpha=1 / (size + 1))
    section = calibration_section(info, alpha)
    assert section.expected_false_alarm_rate == pytest.approx(rate)
    assert str(size) in section.guarantee
    assert "exchangeable" in section.guarantee


def test_the_guarantee_depends_on_the_method():
    report = sample_report()
    assert report.calibration.method == "cross-conformal"
    assert "folds" in report.calibration.guarantee
    assert "twice alpha" in report.calibration.guarantee
    split = CalibrationInfo(method="split", folds=None, size=300, smallest_alpha=1 / 301)
    assert "folds" not in sample_report(header=sample_header(calibration=split)).calibration.guarantee


def test_header_and_verdict_are_carried_over():
    header = sample_header(warnings=("few images",))
    report = sample_report(header=header, warnings=("slow disk",))
    assert report.model == header.model
    assert report.warnings == ("few images", "slow disk")
    assert report.detector.scores == header.scores
    spec = json.dumps(header.preprocess.spec, sort_keys=True, separators=(",", ":"))
    assert report.preprocess.sha256 == hashlib.sha256(spec.encode()).hexdigest()
    assert (report.verdict.severity, report.verdict.exit_code) == ("critical", 1)
    assert report.verdict.rule_ids == ("LS101",)
    assert {check.id for check in report.checks} >= {"LS100", "LS201", "LS205", "LS304", "LS305"}


# run


def run(started_at=STARTED, duration_s=2.5, environment=None):
    engine = Engine("cpu", "CPUExecutionProvider", 2)
    return describe_run(Timing(started_at, duration_s, 100), engine, ["modelscan", "scan"], environment or {})


def test_run():
    first = run()
    assert first.started_at == "2026-11-23T19:00:00Z"
    assert first.inputs_per_s == 40
    assert first.id != run().id
    assert run(duration_s=0.0).inputs_per_s is None


def test_source_date_epoch_leaves_nothing_to_the_clock():
    fixed = {"SOURCE_DATE_EPOCH": "1700000000"}
    first, second = run(environment=fixed), run(environment=fixed, started_at=STARTED.replace(year=2030), duration_s=9)
    assert first == second
    assert first.started_at == "2023-11-14T22:13:20Z"
    assert (first.id, first.duration_s, first.inputs_per_s) == (None, None, None)
    assert source_date_epoch({"SOURCE_DATE_EPOCH": ""}) is None


@pytest.mark.parametrize("value", ["tomorrow", "1e9", "9" * 40, "nan"])
def test_source_date_epoch_that_is_no_number(value):
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        run(environment={"SOURCE_DATE_EPOCH": value})
