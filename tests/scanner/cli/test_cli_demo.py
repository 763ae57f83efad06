"""`modelscan demo`: files that stay, commands that work when they are copied, and a page to open."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import DEMO_FOLDER, Cli, cli_environment

from scanner.cli.demo import program
from scanner.profile.reader import read_profile
from scanner.report.read import read_report

RESULTS = ("modelscan.h5", "out.json", "out.html", "rows.jsonl")


@pytest.fixture
def log(demo_files: Path) -> str:
    return (demo_files.parent / "demo.log").read_text()


def test_the_commands_that_it_prints_work_when_they_are_copied(log: str, demo_files: Path, tmp_path: Path) -> None:
    for name in ("vendor", "ref", "inputs"):
        shutil.copytree(demo_files / name, tmp_path / DEMO_FOLDER / name)
    commands = re.findall(r"^\$ (.+)$", log, re.MULTILINE)
    codes = [
        subprocess.run(["sh", "-c", command], cwd=tmp_path, env=cli_environment(), capture_output=True).returncode
        for command in commands
    ]
    assert codes == [0, 1]
    again = tmp_path / DEMO_FOLDER
    # A command gives up what a part of the demo cannot; nothing else may differ.
    copied, shown = (read_profile(folder / "modelscan.h5") for folder in (again, demo_files))
    assert copied.header.model_copy(update={"isolation": ()}) == shown.header.model_copy(update={"isolation": ()})
    assert copied.graph == shown.graph
    np.testing.assert_array_equal(copied.weights, shown.weights)
    assert (again / "rows.jsonl").read_bytes() == (demo_files / "rows.jsonl").read_bytes()
    assert (again / "out.html").stat().st_size


def test_it_ends_by_naming_its_files_and_the_page(log: str, demo_files: Path) -> None:
    *_, end = log.split("the demo's files are in ")
    folder, *listed, last = end.splitlines()
    assert folder == f"{DEMO_FOLDER}:"
    names = {line.split()[0] for line in listed}
    assert names >= {*RESULTS, "inputs", "ref", "truth.csv", "vendor/model.pt"}
    assert [name for name in names if not (demo_files / name).exists()] == []
    assert last == f"open {DEMO_FOLDER}/out.html to see what was found"
    assert (demo_files / "out.html").read_text().startswith("<!DOCTYPE html>")


def test_it_says_what_the_report_says(log: str, demo_files: Path) -> None:
    report, _ = read_report(demo_files / "out.json")
    verdict = report.verdict
    assert f"verdict of the scan: {verdict.severity}, {verdict.decision}; exit code 1\n" in log
    places = [item.place for item in report.gallery if item.place is not None]
    down, across = (np.median([getattr(place, axis) for place in places]) for axis in ("row", "column"))
    assert min(down, across) > 0.6  # the trigger's four pixels
    assert f"loudest, as a rule: {down:.0%} down and {across:.0%} across\n" in log


def test_a_folder_that_is_in_use_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / DEMO_FOLDER).mkdir()
    (tmp_path / DEMO_FOLDER / "thesis.txt").write_text("irreplaceable")
    done = cli("demo", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {DEMO_FOLDER}: is not an empty folder. Remove it if it is an earlier demo's, or give another folder "
        "with --out\n"
    )
    assert [path.name for path in (tmp_path / DEMO_FOLDER).iterdir()] == ["thesis.txt"]


class TestProgram:
    """What to type to run the program again."""

    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for folder in ("ours", "theirs"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "modelscan").write_text("#!/bin/sh\n")
            (tmp_path / folder / "modelscan").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        return tmp_path

    def test_by_its_name_where_that_leads_to_it(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(place / "ours"))
        assert program(str(place / "ours" / "modelscan")) == ("modelscan",)

    def test_as_it_was_called_where_the_name_leads_elsewhere(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        called = str(place / "ours" / "modelscan")
        assert program(called) == (called,)
        monkeypatch.setenv("PATH", str(place / "theirs"))
        assert program(called) == (called,)

    def test_as_a_module_of_this_interpreter(self) -> None:
        assert program(f"{Path(__file__).parent}/__main__.py") == (sys.executable, "-m", "scanner")
