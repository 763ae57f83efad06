"""The helper that starts children for a process that may start none: what it refuses, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from ordinary_user import ROOT

from scanner.models.identify import FileKind
from scanner.models.job import Job
from scanner.models.start_helper import Allowed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a fit gives up starting processes on Linux alone")

# A child that sleeps instead of reading a model, so that there is something to outlive its helper.
START = """
import sys, time
from scanner.models import child_process, start_helper
from scanner.models.job import Job
child_process._BOOTSTRAP = child_process._BOOTSTRAP.partition("import scanner.models.child")[0]
child_process._BOOTSTRAP += "import time; time.sleep(60)"
job = Job(kind="onnx", architecture=None, trust=TRUST, trust_code=False, input_size=None, num_classes=None,
          has_probe=False, memory=2**30, seconds=60, threads=1)
with start_helper.start_helper(start_helper.Allowed(False, None, SECONDS)) as helper:
    print(helper.place, flush=True)
    with helper.folder() as work:
        (work / "left").write_text("x")
        helper.run(job, work, 30.0, where="m")
"""


def job(**changes: object) -> Job:
    plain = {"trust": False, "trust_code": False, "input_size": None, "num_classes": None, "has_probe": False}
    bounds = {"memory": 2**30, "seconds": 60, "threads": 1}
    return Job(**{"kind": FileKind.ONNX, "architecture": None, **plain, **bounds, **changes})


def test_a_child_gets_no_more_than_the_command_line_allows() -> None:
    nothing, all_of_it = Allowed(False, None, 60.0), Allowed(True, "/a/b.py:make", 60.0)
    assert nothing.covers(job(architecture="resnet18"))
    assert not nothing.covers(job(trust=True))
    assert not nothing.covers(job(trust_code=True, architecture="/a/b.py:make"))
    assert not nothing.covers(job(trust_code=True, architecture="/home/somebody/x:y"))
    assert all_of_it.covers(job(trust=True, trust_code=True, architecture="/a/b.py:make"))
    assert not all_of_it.covers(job(trust_code=True, architecture="/a/c.py:make"))


def started(tmp_path: Path, code: str) -> tuple[subprocess.Popen[str], Path]:
    """A process with a helper, and the helper's folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def processes(place: Path) -> list[int]:
    """Those that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == place:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def soon(condition) -> bool:
    return any(condition() or time.sleep(0.05) for _ in range(200))


@pytest.mark.parametrize(
    ("trust", "seconds", "said"), [("True", 60.0, "further than the command line"), ("False", 1.0, "longer than 1 sec")]
)
def test_what_is_refused_is_said(tmp_path: Path, trust: str, seconds: float, said: str) -> None:
    process, place = started(tmp_path, START.replace("TRUST", trust).replace("SECONDS", str(seconds)))
    _, errors = process.communicate(timeout=60)
    assert said in errors
    assert not place.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_helper_that_was_interrupted_leaves_nothing(tmp_path: Path) -> None:
    process, place = started(tmp_path, START.replace("TRUST", "False").replace("SECONDS", "60.0"))
    assert soon(lambda: processes(place))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert not processes(place)
    assert list(tmp_path.iterdir()) == []


def test_a_helper_ends_with_who_asks_it(tmp_path: Path) -> None:
    """Killed, and so without a word: the child goes too, and its folder is for the next run to remove."""
    process, place = started(tmp_path, START.replace("TRUST", "False").replace("SECONDS", "60.0"))
    assert soon(lambda: processes(place))
    process.kill()
    process.communicate(timeout=60)
    assert soon(lambda: not processes(place))
