"""A result is whole or absent."""

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from scanner.base.atomic import atomic_writer, check_destination
from scanner.base.errors import OutputError


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_writes_the_file_and_nothing_else(tmp_path):
    with atomic_writer(tmp_path / "out.json") as file:
        file.write(b"abc")
    assert (tmp_path / "out.json").read_bytes() == b"abc"
    assert names(tmp_path) == ["out.json"]


def test_the_old_content_stands_until_the_end(tmp_path):
    out = tmp_path / "out.json"
    out.write_bytes(b"old")
    with atomic_writer(out) as file:
        file.write(b"new")
        file.flush()
        assert out.read_bytes() == b"old"
    assert out.read_bytes() == b"new"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, ZeroDivisionError, OSError, MemoryError])
def test_any_exception_leaves_the_folder_as_it_was(tmp_path, failure):
    (tmp_path / "out.json").write_bytes(b"old")

    def write_and_fail():
        with atomic_writer(tmp_path / "out.json") as file:
            file.write(b"x" * 100_000)
            raise failure

    with pytest.raises(failure):
        write_and_fail()
    assert names(tmp_path) == ["out.json"]
    assert (tmp_path / "out.json").read_bytes() == b"old"


def test_exceptions_of_the_block_are_not_taken_for_output_errors(tmp_path):
    """An OSError of the block may be about an input: only the file's own errors are translated."""
    with pytest.raises(FileNotFoundError), atomic_writer(tmp_path / "out.json"):
        (tmp_path / "input.png").read_bytes()


def test_the_file_is_seekable_and_readable(tmp_path):
    with atomic_writer(tmp_path / "out.bin") as file:
        file.write(b"0123456789")
        file.seek(2)
        assert file.read(3) == b"234"
        file.seek(0)
        file.write(b"ab")
    assert (tmp_path / "out.bin").read_bytes() == b"ab23456789"


def test_permissions_follow_the_umask(tmp_path):
    previous = os.umask(0o027)
    try:
        with atomic_writer(tmp_path / "out.json") as file:
            file.write(b"")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o640


def test_a_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "out.json").write_bytes(b"old")
    (tmp_path / "out.json").symlink_to("real/out.json")
    with atomic_writer(tmp_path / "out.json") as file:
        file.write(b"new")
    assert (tmp_path / "out.json").is_symlink()
    assert (tmp_path / "real" / "out.json").read_bytes() == b"new"


def test_a_name_of_the_greatest_length(tmp_path):
    out = tmp_path / ("x" * 255)
    with atomic_writer(out) as file:
        file.write(b"abc")
    assert out.read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent/out.json", "its folder does not exist"),
        ("file/out.json", "a part of the path is a file"),
        ("folder", "is a folder"),
        ("y" * 256, "the name is too long"),
        ("loop", "form a loop"),
        ("nul\0byte", "not a valid path"),
    ],
)
def test_impossible_destinations(tmp_path, path, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = names(tmp_path)
    for attempt in (check_destination, lambda destination: atomic_writer(destination).__enter__()):
        with pytest.raises(OutputError, match=message) as caught:
            attempt(tmp_path / path)
        assert caught.value.hint
        assert "\n" not in str(caught.value)
        assert "\0" not in str(caught.value)
    assert names(tmp_path) == before


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_opening_fails(tmp_path, monkeypatch, number):
    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("scanner.base.atomic.os.open", refuse)
    with pytest.raises(OutputError, match=r"out\.json: cannot be written"):
        check_destination(tmp_path / "out.json")
    with pytest.raises(OutputError, match=r"out\.json: cannot be written"), atomic_writer(tmp_path / "out.json"):
        raise AssertionError("not reached")


@contextmanager
def small_files_only():
    """The kernel refuses to let any file grow beyond 4 KiB, as a full disk would.

    No fixture: the test runner's own log may be such a file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [5_000, 1_000_000])
def test_running_out_of_room_leaves_nothing(tmp_path, size):
    """Small content fails when the buffer is flushed, large content in the middle of a write."""
    with (
        small_files_only(),
        pytest.raises(OutputError, match="larger than"),
        atomic_writer(tmp_path / "out.json") as file,
    ):
        file.write(b"x" * size)
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["os.fsync", "Path.replace"])
def test_the_last_steps_fail(tmp_path, monkeypatch, call):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"scanner.base.atomic.{call}", full)
    with pytest.raises(OutputError, match="no space left"), atomic_writer(tmp_path / "out.json") as file:
        file.write(b"x")
    assert names(tmp_path) == []


def test_a_real_full_device():
    with pytest.raises(OutputError, match="no space left"), atomic_writer(Path("/dev/full")) as file:
        file.write(b"x")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_device_is_written_to_and_never_replaced(tmp_path):
    """Run as root in a container, a rename over /dev/null would succeed."""
    with atomic_writer(Path("/dev/null")) as file:
        file.write(b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_pipe_is_written_to(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    received = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    with atomic_writer(fifo) as file:
        file.write(b"abc")
    reader.join()
    assert received == [b"abc"]


def test_dev_stdout():
    code = (
        "from pathlib import Path\nfrom scanner.base.atomic import atomic_writer\n"
        "with atomic_writer(Path('/dev/stdout')) as f: f.write(b'abc')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"abc"
