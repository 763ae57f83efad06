"""The table of docs/formats.md: every kind, what happens with it, and the test that tries it with a real file.

The rows are in formats.tsv; the table is written by ``LATENTSCAN_UPDATE_GOLDEN=1 pytest`` on this file.
"""

from __future__ import annotations

import ast
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "formats.md"
START, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
ROWS = Path(__file__).with_name("formats.tsv")


@dataclass(frozen=True)
class Kind:
    """A row: what is given, what happens, since when, with which file it is tried, and by which test."""

    given: str
    happens: str
    since: str
    file: str
    test: str


KINDS = tuple(Kind(*line.split("\t")) for line in ROWS.read_text(encoding="utf-8").splitlines()[1:])


def table() -> str:
    lines = ["| given | what happens | since | tried with |", "| --- | --- | --- | --- |"]
    for kind in KINDS:
        path, _, test = kind.test.partition("::")
        shown = f"[{test.removeprefix('test_').replace('_', ' ') or Path(path).stem}](../{path})"
        lines.append(f"| {kind.given} | {kind.happens} | {kind.since} | {kind.file}: {shown} |")
    return "\n".join(lines) + "\n"


def test_the_table_is_that_of_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    written = f"{head}{START}{table()}{END}{tail}"
    if os.environ.get("LATENTSCAN_UPDATE_GOLDEN"):
        PAGE.write_text(written, encoding="utf-8")
    assert written == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.given)
def test_every_row_has_its_test(kind: Kind) -> None:
    path, _, test = kind.test.partition("::")
    names = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert not test or test in names


def test_figures_of_torchvision_are_those_of_the_results() -> None:
    summary = json.loads((ROOT / "reference" / "results" / "torchvision.json").read_text())["summary"]
    assert summary["told"] == summary["equal"] == summary["networks"] == 80
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "All 80 are told, and give 40 images the logits that torchvision gives" in text
    assert f"{summary['fitted']} of {summary['fits_tried']} that were fitted" in text
