"""The processes of commands that read what strangers made give up what they do not need; a caller gives up nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import onnx
import pytest
from color_network import SIDE, color_images, color_network, write_images
from ordinary_user import as_ordinary_user, can_become_ordinary

from scanner.cli.kept_paths import inputs_of_fit
from scanner.fitting.options import FitOptions
from scanner.inputs.preprocess import parse_flag
from scanner.isolation.statement import probe_isolation
from scanner.profile.reader import read_profile

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


def command_line(place: Path, *arguments: str | Path, ordinary: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scanner", *arguments]
    return subprocess.run(
        as_ordinary_user(command, place) if ordinary else command,
        cwd=place / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(place / "tmp")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def scan(place: Path, *arguments: str | Path, ordinary: bool = False) -> subprocess.CompletedProcess[str]:
    return command_line(place, "scan", place / "in", "--profile", place / "p.h5", *arguments, ordinary=ordinary)


@pytest.fixture(params=("oneself", "ordinary user"))
def ordinary(request: pytest.FixtureRequest) -> bool:
    """Whether an ordinary user runs the command, where root runs the tests; else it is the same as oneself."""
    if request.param == "ordinary user" and (os.geteuid() != 0 or not can_become_ordinary()):
        pytest.skip("the same as oneself, or nobody that one could become")
    return bool(request.param == "ordinary user")


def layers(report: Path) -> dict[str, bool]:
    return {layer["name"]: layer["active"] for layer in json.loads(report.read_text())["run"]["isolation"]}


def test_the_report_says_what_was_given_up(place: Path, ordinary: bool) -> None:
    arguments = ("--report", place / "out" / "r.json", "--rows", place / "out" / "rows.jsonl")
    done = scan(place, *arguments, ordinary=ordinary)
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


def test_a_model_in_a_hubs_cache_can_be_checked(place: Path, demo_files: Path) -> None:
    """The folder that is named holds links alone, and what they lead to has to be readable."""
    for name in ("blobs", "snapshots"):
        (place / "hub" / name).mkdir(parents=True)
    shutil.copy(demo_files / "vendor" / "model.pt", place / "hub" / "blobs" / "aaaa")
    (place / "hub" / "snapshots" / "model.pt").symlink_to("../blobs/aaaa")
    done = scan(place, "--model", place / "hub" / "snapshots")
    assert done.returncode in (0, 1, 3), done.stderr


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
    from scanner.fitting.options import FitOptions
    from scanner.scanning.options import ScanOptions
    place = Path(sys.argv[1])
    what, wanted = sys.argv[2], sys.argv[3] == "True"
    # Looks and renderings have no switch: outside of a command of their own they give up nothing.
    lock.single_command = wanted or what in ("scan", "fit")
    model, written = place / "vendor" / "model.pt", place / "out" / "r.json"
    scanned = ScanOptions(place / "in", place / "p.h5", reports=(str(written),))
    lockdown = {
        "scan": lambda: lock.locked_scan(scanned, wanted=wanted),
        "fit": lambda: lock.locked_fit(FitOptions(model, place / "in", place / "out" / "p.h5"), wanted=wanted),
        "inspect": lambda: lock.locked_inspection(model, None),
        "inspect --layers": lambda: lock.locked_inspection(model, 60),
        "report": lambda: lock.locked_rendering(place / "p.h5", str(written)),
        "verify": lambda: lock.locked_verification([model], [place / "p.h5"]),
    }[what]
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
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
        "write model": lambda: (place / "vendor" / "model.pt").write_text("x"),
        "chmod": lambda: (place / "elsewhere" / "secret").chmod(0o777),
        "remove": lambda: (place / "elsewhere" / "secret").unlink(),
        "kill": lambda: os.kill(other.pid, 0),
        "write above": lambda: (place / "tmp" / "new").write_text("x"),
        "device": lambda: os.open("/dev/ptmx", os.O_RDWR),
        "output": lambda: (place / "out" / "r.json").write_text("x"),
        "input": lambda: next((place / "in").iterdir()).read_bytes(),
        "profile": lambda: (place / "p.h5").read_bytes(),
        "model": lambda: (place / "vendor" / "model.pt").read_bytes(),
        "beside the model": lambda: (place / "vendor" / "data").read_bytes(),
        "temporary": lambda: Path(os.environ["TMPDIR"], "x").write_text("x"),
    }
    def outcome(call):
        try:
            call()
        except OSError as error:
            return type(error).__name__
        return "done"
    with lockdown() as locked:
        helper = locked[0] if what == "fit" else locked
        if helper is not None and what in ("fit", "inspect --layers"):
            at = helper.place
            tries["the child's folder"] = lambda: (at / "x").write_text("x")
            tries["put another in its place"] = lambda: (os.rename(at, at.with_name("y")), os.symlink("/", at))
        print({name: outcome(call) for name, call in tries.items()})
"""


def tried(place: Path, what: str, *, wanted: bool, ordinary: bool = False) -> dict[str, str]:
    (place / "elsewhere" / "secret").write_text("hunter2")
    (place / "vendor").mkdir(exist_ok=True)
    for name in ("model.pt", "data"):
        (place / "vendor" / name).write_text("x")
    command = [sys.executable, "-c", textwrap.dedent(TRIES), place, what, str(wanted)]
    done = subprocess.run(
        as_ordinary_user(command, place) if ordinary else command,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = eval(done.stdout.splitlines()[-1], {"__builtins__": {}})
    return found


@pytest.mark.parametrize("what", ["scan", "fit", "inspect", "inspect --layers", "report", "verify"])
def test_what_a_process_that_was_taken_over_can_do(place: Path, what: str, ordinary: bool) -> None:
    """The same tries outside of it all succeed, so that it is the lock that refuses."""
    results, model = {"output", "temporary"}, {"model", "beside the model"}
    allowed = {
        "scan": {"input", "profile", *results},
        "fit": {"input", *model, "the child's folder", *results},
        "inspect": {*model, "temporary"},
        "inspect --layers": {*model, "the child's folder", "temporary"},
        "report": {"profile", *results},
        "verify": {"profile", *model, "temporary"},
    }[what]
    found = tried(place, what, wanted=True, ordinary=ordinary)
    assert {name for name, outcome in found.items() if outcome == "done"} == allowed, found
    assert list((place / "tmp").iterdir()) == []
    assert (place / "elsewhere" / "secret").read_text() == "hunter2"
    free = tried(place, what, wanted=False, ordinary=ordinary)
    assert {name for name, outcome in free.items() if outcome != "done"} - {"temporary"} == set(), free


def test_a_fit_gives_up_the_same(place: Path, demo_files: Path, ordinary: bool) -> None:
    """Its child, which it may not start itself, and everything after that work; the profile says what was given up."""
    shutil.copytree(demo_files / "vendor", place / "vendor")
    shutil.copytree(demo_files / "ref", place / "ref")
    arguments = ("fit", place / "vendor" / "model.pt", "--clean", place / "ref", "-o", place / "out" / "new.h5")
    done = command_line(place, *arguments, "--arch", "scnn", ordinary=ordinary)
    assert done.returncode == 0, done.stderr
    assert "limits, landlock, privileges, seccomp around this process" in done.stderr
    assert "Permission denied" not in done.stderr
    header = read_profile(place / "out" / "new.h5").header
    assert {layer.name for layer in header.isolation if layer.active} == {"limits", "landlock", "privileges", "seccomp"}
    assert {layer.name for layer in header.model.isolation if layer.active} >= {"landlock", "seccomp"}
    assert list((place / "tmp").iterdir()) == []


def test_a_look_and_a_rendering_work_within_it(place: Path, demo_files: Path) -> None:
    shutil.copytree(demo_files / "vendor", place / "vendor")
    looked = command_line(place, "inspect", place / "vendor" / "model.pt", "--arch", "scnn")
    assert looked.returncode == 0, looked.stderr
    assert "* tapped by default" in looked.stdout
    assert "Permission denied" not in looked.stdout + looked.stderr
    assert scan(place, "--report", place / "out" / "r.json").returncode in (0, 1, 3)
    for arguments in (("--output", place / "out" / "r.html"), ("--to", "md"), ()):
        done = command_line(place, "report", place / "out" / "r.json", *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout or (place / "out" / "r.html").stat().st_size
    compared = command_line(place, "verify", place / "vendor" / "model.pt", "--report", place / "out" / "r.json")
    assert compared.returncode == 1
    assert "FAILED its scan, see r.json" in compared.stdout
    assert list((place / "tmp").iterdir()) == []


def test_a_fit_reads_what_its_model_refers_to(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """External data beside a model in the working directory; what is hidden there is not for the fit."""
    here = place / "elsewhere"
    (here / "data").mkdir()
    network = color_network(parse_flag("caffe", 3, (SIDE, SIDE)))
    onnx.save(network, here / "m.onnx", save_as_external_data=True, location="data/m.bin", size_threshold=0)
    write_images(here / "ref", color_images(60, 7)[0])
    (here / ".secret").write_text("hunter2")
    monkeypatch.chdir(here)
    kept = inputs_of_fit(FitOptions(Path("m.onnx"), Path("ref"), Path("p.h5")))
    assert {"data", "m.onnx"} <= set(kept)
    assert not {"", ".", str(here), ".secret"} & set(kept)
    arguments = (
        "fit",
        "m.onnx",
        "--clean",
        "ref",
        "--no-labels",
        "--preprocess",
        "caffe",
        "-o",
        place / "out" / "p.h5",
    )
    done = command_line(place, *arguments)
    assert done.returncode == 0, done.stderr
    assert all(layer.active for layer in read_profile(place / "out" / "p.h5").header.isolation)


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
