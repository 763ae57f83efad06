"""Files of a fleet's summary: names of strangers are data in each of them, and the schema is the committed one."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from fleet_samples import summary_of
from report_samples import sample_report

from scanner.fleet.folder import Ended
from scanner.report.fleet.csv_file import COLUMNS, csv_bytes
from scanner.report.fleet.html import html_bytes
from scanner.report.fleet.json_file import json_bytes, sealed
from scanner.report.fleet.schema import FleetModel, FleetReport, json_schema, schema_text

DOCS = Path(__file__).parents[3] / "docs"
HOSTILE = (
    '=HYPERLINK("http://x","y")',
    "+1",
    "-2+3",
    "@SUM(1)",
    " =1+1",
    "|calc",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "evil\u202egpj.exe",
    "two\nlines\x1b[31m",
)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> FleetReport:
    folder = tmp_path_factory.mktemp("fleet")
    rows = {name: Ended("fit", 2, f"{name} is no model") for name in HOSTILE}
    return summary_of(folder, {**rows, "bad": sample_report(), "clean": sample_report(flagged=(2, 2, 1))})


def test_no_cell_is_a_formula_or_breaks_a_line(summary: FleetReport) -> None:
    text = csv_bytes(summary).decode()
    assert text.count("\r\n") == text.count("\n") == len(summary.models) + 1
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["line"] for row in rows] == [str(model.line) for model in summary.models]
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "|", "%"))
            assert cell.isprintable()
    names = [row["name"] for row in rows if row["status"] == "failed"]
    assert names[:2] == ["'" + HOSTILE[0], "'+1"]
    assert "evil\\u202egpj.exe" in names
    assert tuple(rows[0]) == COLUMNS


def test_the_page_shows_names_and_runs_nothing(summary: FleetReport) -> None:
    page = html_bytes(summary).decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert html.escape("<script>alert(1)</script>", quote=False) in page
    assert re.search(r'content="default-src &#39;none&#39;; style-src &#39;sha256-[^;]+&#39;; base-uri', page)
    links = re.findall(r'href="([^"]*)"', page)
    assert len(links) == 3
    assert all(re.fullmatch(r"#models|models/(bad|clean)-[0-9a-f]{8}/report\.html", link) for link in links)
    assert page.index(">bad</a>") < page.index("onerror") < page.index(">clean</a>")


def test_the_json_is_valid_and_bound_by_its_digest(summary: FleetReport) -> None:
    content = json_bytes(summary)
    assert content.isascii() or "\u202e" not in content.decode()
    values = json.loads(content)
    jsonschema.validate(values, json_schema())
    read = FleetReport.model_validate(values)
    assert read == summary == sealed(read)
    altered = read.model_copy(update={"exit_code": 0})
    assert sealed(altered).summary_digest != read.summary_digest
    later = read.model_copy(update={"run": read.run.model_copy(update={"argv": ("other",)})})
    assert sealed(later).summary_digest == read.summary_digest


def test_the_committed_schema_is_the_one_of_the_models() -> None:
    assert (DOCS / "fleet-1.schema.json").read_text() == schema_text()
    done = subprocess.run([sys.executable, "-m", "scanner.report.fleet"], capture_output=True, check=True, text=True)
    assert done.stdout == schema_text()


def test_every_field_of_a_model_is_in_the_documentation() -> None:
    text = (DOCS / "fleet.md").read_text()
    for name, field in FleetModel.model_fields.items():
        assert f"| `{name}` | {field.description} |" in text
