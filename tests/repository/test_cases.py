"""Files as people report them in bugs and ship them in packages: every case, what is right, and the test that holds it.

The cases are in cases.tsv. A test is named with the part of its file that is the case.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = Path(__file__).with_name("cases.tsv")
SUBJECTS = ("weights", "folder", "checkpoint", "onnx", "other", "images", "words")


@dataclass(frozen=True)
class Case:
    """What somebody has, what has to come of it, the test, and the part of the test's file that is this case."""

    subject: str
    case: str
    right: str
    test: str
    part: str


CASES = tuple(Case(*line.split("\t")) for line in ROWS.read_text(encoding="utf-8").splitlines()[1:])


@cache
def read_tests(path: str) -> tuple[str, frozenset[str]]:
    """A file of tests, and their names."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return text, frozenset(node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))


def test_every_subject_has_cases_and_none_is_there_twice() -> None:
    assert {case.subject for case in CASES} == set(SUBJECTS)
    assert len({(case.subject, case.case) for case in CASES}) == len(CASES) >= 39


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.case)
def test_every_case_has_its_test(case: Case) -> None:
    path, _, name = case.test.partition("::")
    text, names = read_tests(path)
    assert name in names
    assert case.part in text
