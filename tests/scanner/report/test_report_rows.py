"""Rows: complete, in order, hashed, and absent after a failure."""

import hashlib
import json
import resource
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_samples import rows, sample_row, unreadable_row

from scanner.base.canonical import rounded
from scanner.base.errors import OutputError, UsageError
from scanner.report.rows import open_rows, row_format
from scanner.report.schema import InputRow


def write(path, written):
    with open_rows(path) as writer:
        for row in written:
            writer.write(row)
    return writer.section()


def expected(row):
    return rounded(json.loads(row.model_dump_json()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rows, max_size=5))
def test_json_lines(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    section = write(path, written)
    content = path.read_bytes()
    lines = content.decode("utf-8").split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == [expected(row) for row in written]
    assert not {"\x1b", "\x9b", "\x7f", "\u202e", "\u2028"} & set(content.decode())
    assert section.model_dump() == {
        "path": "rows.jsonl",
        "format": "jsonl",
        "count": len(written),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    for line, row in zip(lines, written, strict=True):
        assert InputRow.model_validate_json(line).id == row.id


def test_scores_are_rounded_everywhere(tmp_path):
    write(tmp_path / "rows.jsonl", [sample_row(scores={"a": 1 / 3, "b": 2 / 3})])
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    assert row["scores"] == {"a": 0.333333, "b": 0.666667}
    assert row["top_scores"][0]["p_value"] == row["p_value"] == 0.00332226


def test_the_same_rows_give_the_same_bytes(tmp_path):
    written = [sample_row(0), unreadable_row(1)]
    assert write(tmp_path / "a.jsonl", written).sha256 == write(tmp_path / "b.ndjson", written).sha256


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ZeroDivisionError])
def test_a_failed_scan_leaves_no_rows(tmp_path, failure):
    def scan():
        with open_rows(tmp_path / "rows.jsonl") as writer:
            writer.write(sample_row())
            raise failure

    with pytest.raises(failure):
        scan()
    assert list(tmp_path.iterdir()) == []


def out_of_room(path, written):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="larger than"):
            write(path, written)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_leaves_no_rows(tmp_path):
    out_of_room(tmp_path / "rows.jsonl", [sample_row(index) for index in range(100)])


@pytest.mark.parametrize("name", ["rows", "rows.csv", "rows.json", "rows.jsonl.gz", "-"])
def test_unknown_suffixes(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.jsonl or \.parquet"):
        row_format(tmp_path / name)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match=r"latentscan\[parquet\]"):
        write(tmp_path / "rows.parquet", [])
    assert list(tmp_path.iterdir()) == []


def test_parquet(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr("scanner.report.rows._ROWS_PER_GROUP", 2)
    written = [
        sample_row(0, scores={"a": 1 / 3, "b": 0.5}, density_p_value=0.25, shared_units=12.5),
        unreadable_row(1),
        sample_row(2, score=float("inf")),
    ]
    section = write(tmp_path / "rows.parquet", written)
    table = pq.read_table(tmp_path / "rows.parquet")
    back = [row | {"scores": dict(row["scores"]) if row["scores"] else None} for row in table.to_pylist()]
    assert back == [expected(row) for row in written]
    assert table.column_names == list(InputRow.model_fields)
    assert section.count == 3
    assert section.sha256 == hashlib.sha256((tmp_path / "rows.parquet").read_bytes()).hexdigest()
    assert write(tmp_path / "again.parquet", written).sha256 == section.sha256
    (tmp_path / "full").mkdir()
    out_of_room(tmp_path / "full" / "rows.parquet", written)
