"""``modelscan fleet`` as a process: rows that fail, kills, what is run again, and exit codes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from color_network import CLASSES, SIDE, color_images, color_network, write_classes, write_images
from conftest import Cli, cli_environment

from scanner.inputs.preprocess import parse_flag

SPEC = replace(parse_flag("imagenet", 3, (SIDE, SIDE)), resize=None)
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two models in one table, with one that is not there, of hostile names."""
    onnx.save(color_network(SPEC), tmp_path / "a.onnx")
    onnx.save(color_network(SPEC), tmp_path / "-b.onnx")
    images, labels = color_images(240, 7)
    write_classes(tmp_path / "ref", images, labels)
    write_images(tmp_path / "inputs", color_images(300, 8)[0])
    rows = [
        ("name", "model", "reference", "inputs", "preprocess", "num_classes"),
        ("=first", "a.onnx", "ref", "inputs", "imagenet", ""),
        ("../gone", "gone.onnx", "ref", "inputs", "imagenet", ""),
        ("<b>third</b>", "-b.onnx", "ref", "inputs", "imagenet", str(len(CLASSES))),
    ]
    with (tmp_path / "models.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "models.csv"


def done_rows(output: Path) -> dict[str, int]:
    """When each row's report was written, by folder."""
    return {path.parent.name: path.stat().st_mtime_ns for path in output.glob("models/*/report.json")}


def test_a_killed_fleet_goes_on_and_a_failed_row_stops_none(models: Path, cli: Cli, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ["fleet", str(models), "-o", str(output), "--device", "cpu"]
    killed = subprocess.Popen([sys.executable, "-m", "scanner", *arguments], env=cli_environment(**EPOCH), stderr=-3)
    while killed.poll() is None and not list(output.glob("models/first*/modelscan.h5")):
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (output / "fleet.json").exists()
    # A command that it left running ends by itself, and until then nobody else works there.
    deadline = time.monotonic() + 60
    while (done := cli(*arguments, "--jobs", "2", **EPOCH)).returncode == 2 and "at work in it" in done.stderr:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    values = json.loads((output / "fleet.json").read_bytes())
    rows = {model["name"]: model for model in values["models"]}
    assert {name: row["exit_code"] for name, row in rows.items()} == {"=first": 0, "../gone": 2, "<b>third</b>": 0}
    assert (values["exit_code"], values["correction"]["tests"]) == (2, 3)
    assert rows["../gone"]["stage"] == "read"
    assert "gone.onnx: no such file" in rows["../gone"]["message"]
    assert "gone.onnx: no such file" in done.stderr
    for name in ("=first", "<b>third</b>"):
        report = json.loads((output / rows[name]["report"]).read_bytes())
        assert report["report_digest"] == rows[name]["report_digest"]
        assert {layer["name"] for layer in report["run"]["isolation"]} >= {"landlock"}
        assert (output / rows[name]["page"]).is_file()
    assert sorted(path.name for path in output.iterdir()) == ["fleet.csv", "fleet.html", "fleet.json", "models"]
    assert all(path.parent == output / "models" for path in output.glob("models/*"))
    again(models, cli, output, arguments)


def again(models: Path, cli: Cli, output: Path, arguments: list[str]) -> None:
    """What is done is not done again, and what changed is."""
    before, written = done_rows(output), {name: (output / name).read_bytes() for name in ("fleet.csv", "fleet.json")}
    cli(*arguments, **EPOCH)
    assert done_rows(output) == before
    assert (output / "fleet.csv").read_bytes() == written["fleet.csv"]
    models.with_name("gone.onnx").write_bytes(models.with_name("a.onnx").read_bytes())
    (models.parent / "-b.onnx").write_bytes(b"no model")
    changed = cli(*arguments, "-q", **EPOCH)
    assert (changed.returncode, changed.stderr) == (2, "")
    after = done_rows(output)
    (first,) = [name for name in before if name.startswith("first")]
    assert after.keys() - before.keys() == {name for name in after if name.startswith("gone")}
    assert after[first] == before[first]
    rows = {model["name"]: model for model in json.loads((output / "fleet.json").read_bytes())["models"]}
    assert {name: row["exit_code"] for name, row in rows.items()} == {"=first": 0, "../gone": 0, "<b>third</b>": 2}
    assert rows["<b>third</b>"]["stage"] == "fit"
    assert "-b.onnx" in rows["<b>third</b>"]["message"]


def test_an_interrupted_fleet_says_so_and_leaves_no_process(models: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "scanner", "fleet", str(models), "-o", str(output)],
        env=cli_environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not list(output.glob("models/first*/log.txt")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said == "error: interrupted\n"
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_wrong_table_runs_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "models.csv").write_text("model,reference\na,b\n")
    done = cli("fleet", tmp_path / "models.csv", "-o", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no column 'inputs'" in done.stderr
    assert not (tmp_path / "out").exists()
