"""Killed at any moment, or with a full disk, nothing is left that reads as complete; and running again succeeds."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, cli_environment

from scanner.base.atomic import check_destination
from scanner.profile.reader import read_profile
from scanner.profile.writer import write_profile
from scanner.report.schema import Report

ROOT = Path(__file__).parents[3]
Arguments = list[str | Path]


def started(arguments: Arguments, scratch: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "scanner", *map(str, arguments)],
        env=cli_environment(TMPDIR=str(scratch)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def duration(arguments: Arguments, scratch: Path, codes: set[int]) -> float:
    """Seconds of a run that is left alone."""
    clock = time.monotonic()
    assert started(arguments, scratch).wait(240) in codes
    return time.monotonic() - clock


def children(session: int) -> list[int]:
    """Processes whose parent was this one, wherever they moved: told by the working directory in its scratch folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z" and int(fields[1]) == session:
                found.append(int(entry.name))
    return found


def killed(arguments: Arguments, scratch: Path, after: float) -> None:
    process = started(arguments, scratch)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    offspring = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in offspring):
        assert time.monotonic() < end, "a child outlived the scanner"
        time.sleep(0.05)


def complete_scan(report: Path, rows: Path, inputs: int) -> None:
    """Whatever is there reads as complete and is complete."""
    if rows.exists():
        assert len([json.loads(line) for line in rows.read_text().splitlines()]) == inputs
    if report.exists():
        parsed = Report.model_validate_json(report.read_bytes())
        assert parsed.inputs.total == inputs
        assert rows.exists()


def kill_scans(demo_files: Path, demo_profile: Path, place: Path, times: int) -> None:
    scratch, out = place / "scratch", place / "out"
    scratch.mkdir()
    out.mkdir()
    report, rows = out / "r.json", out / "rows.jsonl"
    arguments: Arguments = [
        "scan",
        demo_files / "inputs",
        "--profile",
        demo_profile,
        "--report",
        report,
        "--rows",
        rows,
    ]
    inputs = len(list((demo_files / "inputs").iterdir()))
    seconds = duration(arguments, scratch, {1})
    chance = random.Random(0)
    for _ in range(times):
        for path in (report, rows):
            path.unlink(missing_ok=True)
        killed(arguments, scratch, chance.uniform(0, 1.05 * seconds))
        complete_scan(report, rows, inputs)
        assert all(
            path.name in ("r.json", "rows.jsonl") or path.name.startswith(".latentscan-") for path in out.iterdir()
        )
    assert started(arguments, scratch).wait(240) == 1
    complete_scan(report, rows, inputs)
    assert {path.name for path in out.iterdir()} == {"r.json", "rows.jsonl"}
    assert list(scratch.iterdir()) == []


def kill_fits(demo_files: Path, place: Path, times: int) -> None:
    scratch, out = place / "scratch", place / "out"
    scratch.mkdir()
    out.mkdir()
    profile = out / "p.h5"
    arguments: Arguments = ["fit", demo_files / "vendor" / "model.pt", "--arch", "scnn", "--clean", demo_files / "ref"]
    arguments += ["--preprocess", "unit", "-o", profile]
    seconds = duration(arguments, scratch, {0})
    digest = read_profile(profile).digest
    chance = random.Random(0)
    for turn in range(times):
        if turn % 2:  # half of the times over an earlier profile, which has to stay or be replaced whole
            profile.unlink(missing_ok=True)
        killed(arguments, scratch, chance.uniform(0, 1.05 * seconds))
        if profile.exists():
            assert read_profile(profile).digest == digest
    assert started(arguments, scratch).wait(240) == 0
    assert read_profile(profile).digest == digest
    assert [path.name for path in out.iterdir()] == ["p.h5"]
    assert list(scratch.iterdir()) == []


def test_a_scan_killed_a_few_times(demo_files: Path, demo_profile: Path, tmp_path: Path) -> None:
    kill_scans(demo_files, demo_profile, tmp_path, times=4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_scan_killed_hundreds_of_times(demo_files: Path, demo_profile: Path, tmp_path: Path) -> None:
    kill_scans(demo_files, demo_profile, tmp_path, times=300)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_fit_killed_a_hundred_times(demo_files: Path, tmp_path: Path) -> None:
    kill_fits(demo_files, tmp_path, times=100)


WRITE = """
import sys; sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from scanner.profile.reader import read_profile
from scanner.profile.writer import write_profile
profile = read_profile(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    write_profile(Path(sys.argv[2]), profile)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_writing_a_profile_killed_hundreds_of_times(demo_profile: Path, tmp_path: Path) -> None:
    """At the moments that matter most: a process that does nothing but write."""
    target, digest = tmp_path / "p.h5", read_profile(demo_profile).digest
    chance = random.Random(0)
    script = WRITE.format(root=str(ROOT), tests=str(ROOT / "tests" / "builders"))
    for _ in range(200):
        command = [sys.executable, "-c", script, str(demo_profile), str(target)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.1))
            process.kill()
        if target.exists():
            assert read_profile(target).digest == digest
            if chance.random() < 0.5:
                target.unlink()
    write_profile(target, read_profile(demo_profile))
    check_destination(target)
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]


# --- a full disk ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def one_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    assert all(word in errors[0] for word in words), errors
    assert "internal error" not in errors[0]


def test_a_scan_onto_a_full_disk(
    cli: Cli, demo_files: Path, demo_profile: Path, small_disk: Path, tmp_path: Path
) -> None:
    rows, report = small_disk / "rows.jsonl", small_disk / "r.json"
    scan = ["scan", demo_files / "inputs", "--profile", demo_profile]
    one_error(cli(*scan, "--rows", rows), "rows.jsonl", "space")
    assert list(small_disk.iterdir()) == []
    (small_disk / "filler").write_bytes(bytes(56 * 1024))
    one_error(cli(*scan, "--report", report), "r.json", "space")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    assert cli(*scan, "--report", tmp_path / "r.json").returncode == 1


def test_a_fit_without_room_for_the_model(cli: Cli, demo_files: Path, small_disk: Path) -> None:
    fit = ["fit", demo_files / "vendor" / "model.pt", "--arch", "scnn", "--clean", demo_files / "ref"]
    one_error(cli(*fit, "-o", small_disk.parent / "p.h5", TMPDIR=str(small_disk)), "model.pt", "space")
    assert list(small_disk.iterdir()) == []


@pytest.mark.slow
def test_a_fit_without_room_for_the_profile(cli: Cli, demo_files: Path, small_disk: Path) -> None:
    fit = ["fit", demo_files / "vendor" / "model.pt", "--arch", "scnn", "--clean", demo_files / "ref"]
    one_error(cli(*fit, "--preprocess", "unit", "-o", small_disk / "p.h5"), "p.h5", "space")
    assert list(small_disk.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", ["5m", "8m", "12m", "14m"])
def test_a_fit_that_runs_out_of_scratch_space(cli: Cli, demo_files: Path, tmp_path: Path, size: str) -> None:
    """In the child process, or while features are kept: one line, or enough room."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        fit = ["fit", demo_files / "vendor" / "model.pt", "--arch", "scnn", "--clean", demo_files / "ref"]
        done = cli(*fit, "--preprocess", "unit", "-o", tmp_path / "p.h5", TMPDIR=str(place))
        if done.returncode:
            one_error(done)
            assert not (tmp_path / "p.h5").exists()
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


# --- many inputs ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_inputs_of_which_one_in_a_hundred_is_broken(
    cli: Cli, demo_files: Path, demo_profile: Path, tmp_path: Path
) -> None:
    good = sorted((demo_files / "inputs").iterdir())
    folder = tmp_path / "in"
    folder.mkdir()
    whole = good[0].read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"hello")
    expected = {"missing": 0, "not-a-file": 0, "truncated": 0, "empty": 0, "not-an-image": 0}
    for index in range(100_000):
        path = folder / f"{index:06}.png"
        if index % 100:
            os.link(good[index % len(good)], path)
            continue
        reason = list(expected)[index // 100 % len(expected)]
        expected[reason] += 1
        if reason == "missing":
            path.symlink_to(folder / "nowhere")
        elif reason == "not-a-file":
            os.mkfifo(path)
        else:
            os.link(tmp_path / {"truncated": "cut", "empty": "empty", "not-an-image": "text"}[reason], path)
    report, rows = tmp_path / "r.json", tmp_path / "rows.jsonl"
    process = started(["scan", folder, "--profile", demo_profile, "--report", report, "--rows", rows], tmp_path)
    assert process.wait(1500) in (0, 1)
    inputs = Report.model_validate_json(report.read_bytes()).inputs
    assert (inputs.total, inputs.scanned, inputs.unreadable) == (100_000, 99_000, 1_000)
    assert inputs.unreadable_by_reason == expected
    with rows.open() as lines:
        assert sum(1 for _ in lines) == 100_000
