"""The JSON report: round trips, digests, order, and nothing left behind."""

import errno
import hashlib
import io
import json
import math
import resource
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profile_samples import names
from report_samples import reports, sample_report, sample_row

from scanner.base.canonical import canonical, rounded
from scanner.base.errors import OutputError
from scanner.report.formats import write_reports
from scanner.report.json_report import document, report_bytes, report_digest
from scanner.report.schema import Report

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_round_trip(report):
    content = report_bytes(report)
    back = Report.model_validate_json(content)
    assert report_bytes(back) == content
    assert document(back) == json.loads(content) == document(report)
    assert back.verdict == report.verdict
    assert report_digest(json.loads(content)) == report.report_digest


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_the_file_is_plain_text(report):
    """One JSON document in UTF-8 that a terminal shows as it is."""
    content = report_bytes(report).decode("utf-8")
    assert content.endswith("}\n")
    strange = {character for character in content if unicodedata.category(character) in INVISIBLE} - {"\n"}
    assert strange == set()
    json.loads(content, parse_constant=lambda constant: pytest.fail(f"{constant} in the report"))


def test_the_digest_as_documented():
    """json.dumps of the parsed file without `run`, `pictures` and `report_digest`."""
    report = sample_report()
    values = json.loads(report_bytes(report))
    digest = values.pop("report_digest")
    del values["run"], values["pictures"]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_only_run_differs_between_runs():
    first, second = (json.loads(report_bytes(sample_report())) for _ in range(2))
    assert first["run"] != second["run"]  # the identifier is random
    first.pop("run")
    second.pop("run")
    assert first == second


def test_any_other_change_changes_the_digest():
    assert sample_report(flagged=(101, 2, 1)).report_digest != sample_report().report_digest
    assert sample_report(warnings=("x",)).report_digest != sample_report().report_digest


def test_keys_are_sorted():
    def walk(value):
        if isinstance(value, dict):
            assert list(value) == sorted(value)
            list(map(walk, value.values()))
        elif isinstance(value, list):
            list(map(walk, value))

    walk(json.loads(report_bytes(sample_report())))


# Rounding

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite)
def test_rounding_keeps_the_order(first, second):
    low, high = sorted((first, second))
    assert rounded(low) <= rounded(high)


@given(finite)
def test_rounding_is_close_and_idempotent(value):
    result = rounded(value)
    assert rounded(result) == result
    assert math.isclose(result, value, rel_tol=5e-6) or abs(value) < 1e-300
    assert math.copysign(1, result) > 0 or result < 0  # no negative zero


@given(st.integers(1, 200_000), st.data())
def test_p_values_of_a_calibration_stay_apart(size, data):
    """Neighbouring conformal p-values keep their strict order up to a calibration of 200,000 images."""
    rank = data.draw(st.integers(1, size))
    assert rounded(rank / (size + 1)) < rounded((rank + 1) / (size + 1))


def test_rounding_leaves_the_rest_alone():
    value = {"n": 123456789, "b": True, "s": "0.123456789", "x": None, "t": (0.123456789,)}
    assert rounded(value) == value | {"t": [0.123457]}


def test_canonical_refuses_what_json_lacks():
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"x": float("nan")})


# Names


@given(names)
def test_any_name_survives(name):
    report = sample_report(top_inputs=[sample_row(id=name)])
    kept = json.loads(report_bytes(report))["top_inputs"][0]["id"]
    assert kept == report.top_inputs[0].id
    if not any("\ud800" <= character <= "\udfff" for character in name):
        assert kept == name


# Writing


def test_to_a_file(tmp_path):
    report = sample_report()
    write_reports(report, [str(tmp_path / "out.json")])
    assert (tmp_path / "out.json").read_bytes() == report_bytes(report)


def test_to_standard_output(capfdbinary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = sample_report()
    write_reports(report, ["-"])
    assert capfdbinary.readouterr().out == report_bytes(report)
    assert list(tmp_path.iterdir()) == []


def test_standard_output_that_cannot_be_written(monkeypatch):
    class Full(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(full := io.BufferedWriter(Full())))
    with pytest.raises(OutputError, match="standard output: cannot be written: no space left"):
        write_reports(sample_report(), ["-"])
    monkeypatch.undo()
    full.raw.write = lambda data: len(data)  # let it close in peace


def test_a_full_disk_leaves_the_old_report(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="larger than"):
            write_reports(sample_report(), [str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]
    assert out.read_text() == "old"


def test_impossible_destination(tmp_path):
    with pytest.raises(OutputError, match="its folder does not exist"):
        write_reports(sample_report(), [str(tmp_path / "absent" / "out.json")])
