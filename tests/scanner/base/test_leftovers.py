"""What a killed process left is removed by the next one; what anybody still needs is not."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scanner.base import leftovers
from scanner.base.atomic import atomic_writer, check_destination
from scanner.base.leftovers import claim, remove_leftover_files, scratch_folder

ROOT = Path(__file__).parents[3]
HELD = """
import sys; sys.path.insert(0, {root!r})
from pathlib import Path
from scanner.base.atomic import atomic_writer
from scanner.base.leftovers import scratch_folder
with scratch_folder() as folder, atomic_writer(Path(sys.argv[1])) as file:
    (folder / "deep").mkdir()
    (folder / "deep" / "features").write_bytes(b"x")
    file.write(b"half")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder to write to and one for temporary folders."""
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return out, scratch


@pytest.fixture
def holder(places):
    """Another process that holds a temporary file and folder."""
    out, scratch = places
    process = subprocess.Popen(
        [sys.executable, "-c", HELD.format(root=str(ROOT)), str(out / "r.json")],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline().strip().startswith(os.fsencode(scratch))
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def tidy(places):
    check_destination(places[0] / "other.json")
    with scratch_folder():
        pass
    return [len(list(place.iterdir())) for place in places]


def test_of_a_process_that_lives_everything_stays(places, holder):
    assert tidy(places) == [1, 1]
    holder.stdin.close()
    assert holder.wait() == 0
    assert (places[0] / "r.json").read_bytes() == b"half"
    assert list(places[1].iterdir()) == []


def test_of_a_killed_process_nothing_stays(places, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert [len(list(place.iterdir())) for place in places] == [1, 1]
    assert tidy(places) == [0, 0]


def test_nothing_else_is_removed(places, tmp_path):
    out, scratch = places
    (tmp_path / "precious").write_text("precious")
    number = "0123456789abcdef"
    (out / f".latentscan-{number}.tmp").symlink_to(tmp_path / "precious")
    os.mkfifo(out / f".latentscan-{number[::-1]}.tmp")
    (out / f".latentscan-{'f' * 16}.tmp").mkdir()
    for name in (".latentscan-notes.tmp", f"x.latentscan-{number}.tmp", f".latentscan-{number}.tmp.bak"):
        (out / name).write_text("mine")
    (scratch / f".latentscan-work-{number}").symlink_to(tmp_path)
    for name in ("latentscan-profiles", ".latentscan-work-mine", "latentscan-01234567"):
        (scratch / name).mkdir()
    before = tidy(places)
    assert before == [6, 4]
    assert (tmp_path / "precious").read_text() == "precious"


def test_of_other_users_nothing_is_removed(places, monkeypatch):
    (places[0] / f".latentscan-{'0' * 16}.tmp").touch()
    (places[1] / f".latentscan-work-{'0' * 16}").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert tidy(places) == [1, 1]


def test_without_locks_nothing_is_removed_and_everything_works(places, monkeypatch):
    def refuses(*_):
        raise OSError("no locks")

    (places[0] / f".latentscan-{'0' * 16}.tmp").touch()
    monkeypatch.setattr(leftovers.fcntl, "flock", refuses)
    assert tidy(places) == [1, 0]
    with atomic_writer(places[0] / "r.json") as file:
        file.write(b"x")
    assert (places[0] / "r.json").read_bytes() == b"x"


def test_what_was_taken_for_a_leftover_is_made_anew(places):
    """In the moment between making a file and locking it."""
    path = places[0] / f".latentscan-{'0' * 16}.tmp"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    remove_leftover_files(places[0])
    assert not path.exists()
    assert not claim(path, descriptor)
    os.close(descriptor)


def test_many_at_once(places):
    """Writers and tidiers in one folder never get in each other's way."""
    out, _ = places

    def work(number):
        for turn in range(20):
            check_destination(out / f"{number}.json")
            with scratch_folder() as folder:
                (folder / "x").write_bytes(b"x")
                with atomic_writer(out / f"{number}.json") as file:
                    file.write(b"%d" % turn)
                assert (folder / "x").read_bytes() == b"x"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sorted(path.name for path in out.iterdir()) == [f"{number}.json" for number in range(8)]
    assert {path.read_bytes() for path in out.iterdir()} == {b"19"}


def test_the_folder_is_private_and_goes(places):
    with scratch_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == places[1]
        (folder / "a").write_text("a")
    assert not folder.exists()
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:
        raise ZeroDivisionError
    assert not folder.exists()
