"""What a child takes is looked at from outside, whatever it does to hide it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ordinary_user import ROOT, as_ordinary_user, can_become_ordinary

from scanner.models.bounds import Bounds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="told from /proc")

MANY = 10**15


def taking(folder: Path, code: str, bounds: Bounds) -> str | None:
    """What a process takes too much of once it has done something."""
    script = textwrap.dedent(code) + "\nprint('ready', flush=True)\nimport time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return bounds.passed(process.pid, folder)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_quiet_process_takes_little(tmp_path: Path) -> None:
    assert taking(tmp_path, "pass", Bounds(2**30, 2**20, 64)) is None


def test_memory(tmp_path: Path) -> None:
    found = taking(tmp_path, "held = b'x' * (200 * 2**20)", Bounds(100 * 2**20, MANY, 64))
    assert found == "more than 100 MiB of memory"


def test_threads(tmp_path: Path) -> None:
    code = """
        import threading
        for _ in range(30): threading.Thread(target=threading.Event().wait, daemon=True).start()
    """
    assert taking(tmp_path, code, Bounds(MANY, MANY, 20)) == "more than 20 threads"


def test_several_files_together(tmp_path: Path) -> None:
    code = """
        import os
        for i in range(10):
            os.makedirs(f"d{i}/e")
            open(f"d{i}/e/f", "wb").write(bytes(2**20))
    """
    assert taking(tmp_path, code, Bounds(MANY, 12 * 2**20, 64)) is None
    assert taking(tmp_path, code.replace("d{i}", "x{i}"), Bounds(MANY, 8 * 2**20, 64)) == "more than 8 MiB of files"


def test_files_that_have_no_name_any_more(tmp_path: Path) -> None:
    code = """
        import os
        held = []
        for i in range(10):
            held.append(open("f", "wb"))
            held[-1].write(bytes(2**20)); held[-1].flush()
            os.unlink("f")
    """
    assert taking(tmp_path, code, Bounds(MANY, 8 * 2**20, 64)) == "more than 8 MiB of files"


def test_a_sparse_file_takes_no_room_and_a_link_is_not_followed(tmp_path: Path) -> None:
    code = """
        import os
        os.truncate(os.open("s", os.O_CREAT | os.O_RDWR), 2**40)
        os.symlink("/", "root")
    """
    assert taking(tmp_path, code, Bounds(MANY, 2**20, 64)) is None


def test_a_process_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    assert Bounds(1, 2**20, 1).passed(2**22 + 1, tmp_path) is None


LOCK = """
import sys; sys.path[:] = __import__("json").loads(sys.argv[1])
import scanner.isolation.lockdown as l; l.lock_down(l.Plan.from_json(sys.argv[2]))
"""
# What each does, and what the scanner says of it: many files, each within its limit; threads, whom a limit stops only
# where they are not root's; memory that is counted as it is taken.
GREEDY = {
    "files": ("import itertools\nfor i in itertools.count(): open(f'f{i}', 'wb').write(bytes(2**20))", "of files"),
    "unlinked files": (
        "import itertools, os\nheld = []\nfor i in itertools.count():\n"
        "    held.append(open('f', 'wb', 0)); held[-1].write(bytes(2**20)); os.unlink('f')",
        "of files",
    ),
    "threads": (
        "import threading, time\nwait = threading.Event().wait\n"
        "for i in range(700): threading.Thread(target=wait, daemon=True).start()\ntime.sleep(30)",
        "threads",
    ),
    "memory": ("held = [b'x' * 2**24 for i in range(1000)]", "of memory"),
}
RUN = """
import sys
from pathlib import Path
from scanner.base.errors import ModelError
from scanner.models import child_process, job
from scanner.models.identify import FileKind
child_process._BOOTSTRAP = sys.argv[1]
child_process._OWN_MEMORY = 2**26
work = Path(sys.argv[2])
task = job.Job(kind=FileKind.ONNX, architecture=None, trust=False, trust_code=False, input_size=None, num_classes=None,
               has_probe=False, memory=64 * 2**20, seconds=60, threads=1)
try:
    child_process.run_child(task, work, 60, where="m")
except ModelError as error:
    print(error)
print(sum(path.stat().st_size for path in work.iterdir()))
"""


@pytest.mark.parametrize("what", GREEDY)
@pytest.mark.parametrize("user", ["oneself", "ordinary user"])
def test_the_child_is_ended(tmp_path: Path, what: str, user: str) -> None:
    """What it takes is bounded however it does it, as root and as an ordinary user."""
    ordinary = user == "ordinary user"
    if ordinary and (os.geteuid() != 0 or not can_become_ordinary()):
        pytest.skip("the same as oneself, or nobody that one could become")
    code, said = GREEDY[what]
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-c", RUN, LOCK + code, str(work)]
    done = subprocess.run(
        as_ordinary_user(command, tmp_path) if ordinary else command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    error, stored = done.stdout.strip().splitlines()
    # The kernel stops an ordinary user's threads before the scanner has looked.
    stopped = what == "threads" and (ordinary or os.geteuid() != 0) and "can't start new thread" in error
    assert stopped or f"more than {512 if what == 'threads' else ''}" in error, done.stderr
    assert stopped or said in error
    assert int(stored) < 2**30
