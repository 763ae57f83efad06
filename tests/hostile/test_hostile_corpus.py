"""Every hostile case through the command line: refused in one line, in bounds, and with nothing touched or left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile_case import Case
from hostile_corpus import corpus

ROOT = Path(__file__).parents[2]
CASES = corpus()
_SECONDS = 180
_PEAK_BYTES = 3 * 2**30
# A process's peak starts at that of whoever started it, and this one may be large: a small one stands between.
_MEASURED = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[2:]])
with open(sys.argv[1], "w") as file:
    file.write(str(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
# The quick suite has one in so many cases, and one of each slow command; chosen by name, so that they stay the same.
_QUICK_SHARE = 8
_SLOW = ("arch", "fit")


def quick(cases: list[Case]) -> list[Case]:
    """The cases of the quick suite."""

    def rank(case: Case) -> int:
        return zlib.crc32(case.name.encode())

    of_slow = {min((case for case in cases if case.command == command), key=rank).name for command in _SLOW}
    return [
        case for case in cases if case.name in of_slow or (case.command not in _SLOW and not rank(case) % _QUICK_SHARE)
    ]


QUICK = quick(CASES)


@pytest.fixture(scope="session")
def good(demo_profile: Path, demo_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good profile, reference and a few inputs."""
    folder = tmp_path_factory.mktemp("good")
    shutil.copy(demo_profile, folder / "good.h5")
    (folder / "inputs").mkdir()
    for path in sorted((demo_files / "inputs").iterdir())[:20]:
        shutil.copy(path, folder / "inputs")
    shutil.copytree(demo_files / "ref", folder / "ref")
    return folder


def run_case(case: Case, folder: Path, good: Path) -> str:
    """Run one case; returns what is wrong with the outcome, or nothing."""
    files, scratch, out = folder / "case", folder / "scratch", folder / "out"
    for part in (files, scratch, out):
        part.mkdir(parents=True)
    canary = files / "canary"
    target = case.make(files, canary, good)
    before = listing(files)
    arguments: dict[str, list[str | Path]] = {
        "scan": [
            "scan",
            target,
            "--profile",
            good / "good.h5",
            "--report",
            out / "r.json",
            "--rows",
            out / "rows.jsonl",
        ],
        "scan-with": ["scan", good / "inputs", "--profile", target, "--report", out / "r.json"],
        "scan-model": ["scan", good / "inputs", "--profile", good / "good.h5", "--model", target],
        "inspect": ["inspect", target],
        "layers": ["inspect", "--layers", "--timeout", "60", target],
        "arch": ["inspect", "--arch", "resnet20", "--timeout", "90", target],
        "fit": ["fit", target, "--arch", "scnn", "--clean", good / "ref", "-o", out / "p.h5"],
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)}
    log, peak_file = folder / "log", folder / "peak"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _MEASURED,
                peak_file,
                "-m",
                "scanner",
                *map(os.fsdecode, arguments[case.command]),
                *case.options,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=files if case.within else out,
            env=environment,
            start_new_session=True,
        )
    status = waited(process)
    peak = int(peak_file.read_text()) if peak_file.exists() else 0
    text, report = log.read_bytes(), out / "r.json"
    seen = text.decode("utf-8", "replace") + (report.read_text() if report.exists() else "")
    allowed = {"r.json", "rows.jsonl"} if case.code in (0, 1, 3) and case.command == "scan" else set()
    left = [path.name for path in scratch.iterdir()] + [path.name for path in out.iterdir() if path.name not in allowed]
    checks = {
        f"hung for {_SECONDS} seconds": status is not None,
        f"exit code {status}, not {case.code}": status == case.code,
        f"does not say {case.says!r}": case.says in seen,
        f"took {peak >> 20} MiB": 0 < peak <= _PEAK_BYTES,
        "THE PAYLOAD RAN": not canary.exists() and not canary.is_symlink(),
        "the case's files changed": listing(files) == before,
        f"left {left}": not left,
        **text_checks(text, seen, case.code),
    }
    problems = [problem for problem, fine in checks.items() if not fine]
    return f"{case.name}: {'; '.join(problems)}\n{seen[-1500:]}" if problems else ""


def text_checks(text: bytes, seen: str, code: int) -> dict[str, bool]:
    """What the output has to be, and whether it is."""
    controls = any(byte < 0x20 and byte not in b"\n\t" for byte in text) or "\u202e" in seen
    errors = [line for line in text.splitlines() if line.startswith(b"error:")]
    return {
        "a traceback or an internal error": "Traceback" not in seen and "internal error" not in seen,
        "control characters in the output": not controls,
        "not one line of error": code != 2 or len(errors) == 1,
    }


def waited(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code, or none if the process hung and was killed with all that it started."""
    try:
        return process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_size) for path in folder.rglob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 500
    assert len({case.name for case in CASES}) == len(CASES)
    for group in (
        "pickle",
        "checkpoint",
        "zip",
        "onnx",
        "image",
        "folder",
        "array",
        "manifest",
        "profile",
        "structure",
        "slow",
        "settings",
        "archive",
    ):
        assert any(case.name.startswith(group) for case in CASES), group
        assert any(case.name.startswith(group) for case in QUICK), group
    assert {case.command for case in QUICK} == {case.command for case in CASES}


def run_all(cases: list[Case], place: Path, good: Path) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda pair: run_case(pair[1], place / str(pair[0]), good), enumerate(cases))
        return [outcome for outcome in outcomes if outcome]


def test_some_of_the_corpus(place: Path, good: Path) -> None:
    wrong = run_all(QUICK, place, good)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_of_the_corpus(place: Path, good: Path) -> None:
    wrong = run_all(CASES, place, good)
    assert not wrong, f"{len(wrong)} of {len(CASES)} cases:\n\n" + "\n\n".join(wrong)
