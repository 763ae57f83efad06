"""Beside a GPU a process is locked down where a trial shows that the GPU works so. Other devices stand in for one."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from ordinary_user import ROOT

from scanner.cli import gpu_trial, lock
from scanner.isolation import gpu
from scanner.isolation.kernel import LANDLOCK_CREATE_RULESET, system_call
from scanner.isolation.own_process import Kept
from scanner.isolation.statement import probe_isolation

ACTIVE = {layer.name for layer in probe_isolation() if layer.active}
pytestmark = pytest.mark.skipif(
    not {"landlock", "seccomp"} <= ACTIVE, reason="this system does not allow the layers that this is about"
)
# Within the lock: what /dev/full, as the GPU, and /dev/zero, as any other device, say to the same three calls.
TRIES = """
    import errno, fcntl, os, sys
    from pathlib import Path
    from scanner.cli import gpu_trial, lock
    from scanner.isolation import gpu
    from scanner.scanning.options import ScanOptions
    lock.single_command = True
    gpu.CONTROL = Path("/dev/full")
    gpu.devices = lambda: ("/dev/full",)
    gpu_trial.works = lambda kept, with_torch: (kept is None and "free" in sys.argv) or "locked" in sys.argv
    def outcome(call):
        try:
            call()
        except OSError as error:
            return errno.errorcode[error.errno]
        return "done"
    with lock.locked_scan(ScanOptions(Path("in"), Path("p.h5"), device=sys.argv[1]), wanted=True) as layers:
        said = {}
        for device in ("/dev/full", "/dev/zero"):
            said[device] = [
                outcome(lambda: os.write(os.open(device, os.O_WRONLY), b"x")),
                outcome(lambda: fcntl.ioctl(os.open(device, os.O_RDONLY), 0x4601)),
            ]
        said["fork"] = outcome(lambda: os._exit(0) if os.fork() == 0 else None)
        print([({layer.name: layer.active for layer in layers}, said)])
"""


def tried(place: Path, *arguments: str) -> tuple[dict[str, bool], dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRIES), *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[tuple[dict[str, bool], dict[str, object]]] = eval(done.stdout, {"__builtins__": {}})
    return found[0]


def device_calls_are_told() -> bool:
    """Whether Landlock is about ioctl, which it is from version 5 on."""
    return system_call(LANDLOCK_CREATE_RULESET, None, 0, 1) >= 5


def test_the_devices_and_no_others_where_the_gpu_works_within_the_lock(tmp_path: Path) -> None:
    layers, said = tried(tmp_path, "auto", "locked")
    assert layers == {"limits": False, "landlock": True, "privileges": True, "seccomp": True}
    # The device's own answers, against the lock's.
    assert said["/dev/full"] == ["ENOSPC", "ENOTTY"]
    assert said["/dev/zero"] == ["EACCES", "EACCES" if device_calls_are_told() else "ENOTTY"]
    assert said["fork"] == "EPERM"


def test_nothing_is_given_up_where_the_gpu_works_without_alone(tmp_path: Path) -> None:
    assert tried(tmp_path, "auto", "free") == (
        {"lockdown": False},
        {"/dev/full": ["ENOSPC", "ENOTTY"], "/dev/zero": ["done", "ENOTTY"], "fork": "done"},
    )


@pytest.mark.parametrize("arguments", [("auto",), ("cpu", "free")])
def test_all_is_given_up_where_no_gpu_works_or_none_is_wanted(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    layers, said = tried(tmp_path, *arguments)
    assert all(layers.values())
    assert said["/dev/full"] == ["EACCES", "EACCES"]


def test_a_trial_computes_within_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, with all that a GPU would be given; and not where the lock leaves it nothing to compute with."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    kept = replace(lock._kept(tmp_path, [], [], 0), devices=gpu.devices(), memory=None)
    kept = replace(kept, readable=(*kept.readable, *gpu.READABLE))
    assert gpu_trial.works(kept, "cpu")
    assert not gpu_trial.works(Kept((), ()), "cpu")
    assert gpu.present() or not gpu_trial.works(kept)


@pytest.mark.slow
def test_a_trial_of_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert gpu_trial.works(lock._kept(tmp_path, [], [], 2**33), "cpu", with_torch=True)


def test_devices_are_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia0").write_text("no device")
    (tmp_path / "nvidia1").symlink_to("/dev/null")
    assert gpu.devices(tmp_path) == ()
    monkeypatch.setattr(gpu, "_DEVICES", ("full", "shm", "nul?"))
    assert gpu.devices() == ("/dev/full", "/dev/null")
