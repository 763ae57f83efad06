"""The process of ``scan`` gives up what it does not need, and that of a caller gives up nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scanner.isolation.statement import probe_isolation

ROOT = Path(__file__).parents[3]
ACTIVE = {layer.name for layer in probe_isolation() if layer.active}
pytestmark = pytest.mark.skipif(
    not {"landlock", "seccomp"} <= ACTIVE, reason="this system does not allow the layers that this is about"
)


@pytest.fixture
def place(tmp_path: Path, demo_files: Path, demo_profile: Path) -> Path:
    """A folder with a profile and a few inputs, and with folders for results and temporary files."""
    shutil.copy(demo_profile, tmp_path / "p.h5")
    for name in ("in", "out", "tmp", "elsewhere"):
        (tmp_path / name).mkdir()
    for path in sorted((demo_files / "inputs").iterdir())[:40]:
        shutil.copy(path, tmp_path / "in")
    return tmp_path


def scan(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scanner", "scan", place / "in", "--profile", place / "p.h5", *arguments],
        cwd=place / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(place / "tmp")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def layers(report: Path) -> dict[str, bool]:
    return {layer["name"]: layer["active"] for layer in json.loads(report.read_text())["run"]["isolation"]}


def test_the_report_says_what_was_given_up(place: Path) -> None:
    done = scan(place, "--report", place / "out" / "r.json", "--rows", place / "out" / "rows.jsonl")
    assert done.returncode in (0, 1, 3), done.stderr
    assert layers(place / "out" / "r.json") == {
        "limits": True,
        "landlock": True,
        "privileges": True,
        "seccomp": True,
    }
    assert "Permission denied" not in done.stderr
    assert list((place / "tmp").iterdir()) == []
    assert len((place / "out" / "rows.jsonl").read_text().splitlines()) == 40


def test_outputs_of_every_kind(place: Path) -> None:
    (place / "link.html").symlink_to(place / "elsewhere" / "target.html")
    arguments: list[str | Path] = []
    for report in (place / "link.html", place / "out" / "r.sarif", "here.md", "-"):
        arguments += ["--report", report]
    done = scan(place, *arguments, "--rows", place / "out" / "r.parquet")
    assert done.returncode in (0, 1, 3), done.stderr
    assert (place / "link.html").is_symlink()
    assert (place / "elsewhere" / "target.html").stat().st_size
    assert (place / "elsewhere" / "here.md").stat().st_size
    assert json.loads(done.stdout)["run"]["isolation"]


@pytest.mark.slow
def test_inputs_of_every_kind(place: Path) -> None:
    lines = ["file_name", *(f"in/{path.name}" for path in (place / "in").iterdir())]
    (place / "m.csv").write_text("\n".join(lines) + "\n")
    (place / "linked").symlink_to("in")
    one = next((place / "in").iterdir())
    for source in (place / "m.csv", place / "linked", one):
        done = subprocess.run(
            [sys.executable, "-m", "scanner", "scan", source, "--profile", place / "p.h5", "--report", "r.json"],
            cwd=place / "out",
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(place / "tmp")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (0, 1, 3), done.stderr
        report = json.loads((place / "out" / "r.json").read_text())
        assert report["inputs"]["unreadable"] == 0
        assert all(layer["active"] for layer in report["run"]["isolation"])


def test_it_can_be_switched_off(place: Path) -> None:
    done = scan(place, "--no-lockdown", "--report", place / "out" / "r.json")
    assert done.returncode in (0, 1, 3), done.stderr
    assert layers(place / "out" / "r.json") == {"lockdown": False}


TRIES = """
    import os, socket, subprocess, sys
    from pathlib import Path
    from scanner.cli import lock
    from scanner.scanning.options import ScanOptions
    place = Path(sys.argv[1])
    lock.single_command = True
    options = ScanOptions(place / "in", place / "p.h5", reports=(str(place / "out" / "r.json"),))
    tries = {
        "socket": lambda: socket.socket(),
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": lambda: os._exit(0) if os.fork() == 0 else None,
        "secret": lambda: (place / "elsewhere" / "secret").read_text(),
        "passwd": lambda: Path("/etc/passwd").read_text(),
        "list": lambda: os.listdir(place / "elsewhere"),
        "write": lambda: (place / "elsewhere" / "new").write_text("x"),
        "write input": lambda: (place / "in" / "new").write_text("x"),
        "write profile": lambda: open(place / "p.h5", "r+b"),
        "chmod": lambda: (place / "elsewhere" / "secret").chmod(0o777),
        "remove": lambda: (place / "elsewhere" / "secret").unlink(),
        "kill": lambda: os.kill(os.getppid(), 0),
        "write above": lambda: (place / "tmp" / "new").write_text("x"),
        "output": lambda: (place / "out" / "r.json").write_text("x"),
        "input": lambda: next((place / "in").iterdir()).read_bytes(),
        "profile": lambda: (place / "p.h5").read_bytes(),
        "temporary": lambda: Path(os.environ["TMPDIR"], "x").write_text("x"),
    }
    def outcome(call):
        try:
            call()
        except OSError as error:
            return type(error).__name__
        return "done"
    with lock.locked_down(options, wanted=WANTED):
        print({name: outcome(call) for name, call in tries.items()})
"""


def tried(place: Path, *, wanted: bool) -> dict[str, str]:
    (place / "elsewhere" / "secret").write_text("hunter2")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRIES).replace("WANTED", str(wanted)), place],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = eval(done.stdout.splitlines()[-1], {"__builtins__": {}})
    return found


def test_what_a_process_that_was_taken_over_can_do(place: Path) -> None:
    """The same tries outside of it all succeed, so that it is the lock that refuses."""
    allowed = {"output", "input", "profile", "temporary"}
    found = tried(place, wanted=True)
    assert {name for name, outcome in found.items() if outcome == "done"} == allowed, found
    assert list((place / "tmp").iterdir()) == []
    assert (place / "elsewhere" / "secret").read_text() == "hunter2"
    free = tried(place, wanted=False)
    assert {name for name, outcome in free.items() if outcome != "done"} - {"temporary"} == set(), free


def test_a_program_that_calls_a_scan_gives_up_nothing(place: Path) -> None:
    code = """
        import socket, subprocess, sys
        from pathlib import Path
        import latentscan
        place = Path(sys.argv[1])
        report = latentscan.scan(latentscan.ScanOptions(place / "in", place / "p.h5"))
        assert report.run.isolation == ()
        socket.socket().close()
        subprocess.run(["/bin/true"], check=True)
        (place / "elsewhere" / "new").write_text("x")
        status = Path("/proc/self/status").read_text()
        assert "Seccomp:\\t0" in status and "NoNewPrivs:\\t0" in status
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), place],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_one_command_line_within_a_process_gives_up_nothing(place: Path) -> None:
    """As the demo runs them, one after the other."""
    code = """
        import sys
        from pathlib import Path
        from scanner.cli.main import run
        place = Path(sys.argv[1])
        run(["scan", str(place / "in"), "--profile", str(place / "p.h5"), "--report", str(place / "out" / "r.json")])
        (place / "elsewhere" / "new").write_text("x")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), place],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert layers(place / "out" / "r.json") == {"lockdown": False}
