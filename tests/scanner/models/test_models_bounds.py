"""What a child takes is looked at from outside, whatever it does to hide it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scanner.base.errors import ModelError
from scanner.models import child_process, job
from scanner.models.bounds import Bounds
from scanner.models.identify import FileKind

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


def test_the_child_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files, each within its limit: the disk fills no further than the bound."""
    filling = """
        import sys; sys.path[:] = __import__("json").loads(sys.argv[1])
        import scanner.isolation.lockdown as l; l.lock_down(l.Plan.from_json(sys.argv[2]))
        import itertools
        for i in itertools.count():
            with open(f"f{i}", "wb") as file:
                file.write(bytes(2**20))
    """
    monkeypatch.setattr(child_process, "_BOOTSTRAP", textwrap.dedent(filling))
    work = tmp_path / "work"
    work.mkdir()
    task = job.Job(
        kind=FileKind.ONNX,
        architecture=None,
        trust=False,
        trust_code=False,
        input_size=None,
        num_classes=None,
        has_probe=False,
        memory=64 * 2**20,
        seconds=60,
        threads=1,
    )
    with pytest.raises(ModelError, match="more than 64 MiB of files"):
        child_process.run_child(task, work, 60, where="m")
    assert sum(path.stat().st_size for path in work.iterdir()) < 2**30
