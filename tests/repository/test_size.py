"""Small enough to be read at once: parameters, lines of a function, lines of a file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for name in ("latentscan", "scanner", "detectors", "reference", "benchmarks")
    for path in (ROOT / name).rglob("*.py")
)

MOST_PARAMETERS = 6
MOST_LINES = 60
MOST_LINES_OF_A_FILE = 400

Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function)]


def is_command(path: Path, function: Function) -> bool:
    """Whether Typer calls it, with a parameter for every option."""
    return path.parent.name == "cli" and function.name == path.stem


def parameters(function: Function) -> int:
    given = function.args
    known = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return sum(one.arg not in ("self", "cls") for one in known)


def lines(function: Function, *, signature: bool = True) -> int:
    """Lines of code: what documents it and its examples do not count."""
    first, last = function.body[0], function.end_lineno or 0
    documented = ast.get_docstring(function) is not None
    start = function.lineno if signature else first.lineno
    return last - start + 1 - ((first.end_lineno or 0) - first.lineno + 1 if documented else 0)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_file(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_FILE
    for function in functions(path):
        command = is_command(path, function)
        assert command or parameters(function) <= MOST_PARAMETERS, function.name
        assert lines(function, signature=not command) <= MOST_LINES, function.name
