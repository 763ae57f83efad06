"""Running a command as an ordinary user, also where root runs the tests."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOBODY = 65534
# What is needed may lie in folders that others may not enter, such as root's home, or be one, such as a temporary
# folder that holds an environment. In a mount namespace of its own, each of those is covered by an empty one, in which
# only what is needed is put back.
_ARRANGE = """
mount -t tmpfs -o mode=755 tmpfs /mnt
{keep}
{cover}
{put_back}
exec setpriv --reuid={user} --regid={user} --clear-groups -- "$@"
"""


def as_ordinary_user(command: Sequence[str | Path], *owned: Path) -> list[str]:
    """The command line that runs a command as nobody where this is root, and as oneself otherwise.

    Args:
        command: The command.
        owned: Folders that are given to that user.
    """
    words = [os.fsdecode(word) for word in command]
    if os.geteuid() != 0:
        return words
    for folder in owned:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return [
        "unshare",
        "--mount",
        "bash",
        "-ec",
        _script([Path(sys.base_prefix), Path(sys.prefix), ROOT, *owned]),
        "-",
        *words,
    ]


@cache
def can_become_ordinary() -> bool:
    """Whether there is a way to run this interpreter as an ordinary user."""
    if sys.platform != "linux":
        return False
    command = as_ordinary_user([sys.executable, "-c", "import os; os._exit(7 if os.geteuid() else 1)"])
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 7
    except OSError:
        return False


def _script(needed: Sequence[Path]) -> str:
    kept: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(part for whole in needed for part in _open_parts(whole.resolve())):
        if (closed := _outermost_closed(path)) is not None:
            kept.setdefault(closed, []).append(path)
    every = [path for paths in kept.values() for path in paths]
    held = {path: f"/mnt/{index}" for index, path in enumerate(every)}
    keep = [f"{_empty(path, held[path])}; mount --bind {shlex.quote(str(path))} {held[path]}" for path in every]
    cover = [f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(closed))}" for closed in kept]
    back = [f"{_empty(path, at := shlex.quote(str(path)))}; mount --bind {held[path]} {at}" for path in every]
    return _ARRANGE.format(keep="\n".join(keep), cover="\n".join(cover), put_back="\n".join(back), user=NOBODY)


def _open_parts(path: Path) -> list[Path]:
    """A folder, or what lies in it where that user may not enter it: put back as it is, it would be closed again."""
    state = path.stat()
    return [path] if state.st_mode & 0o001 or state.st_uid == NOBODY else sorted(path.iterdir())


def _empty(path: Path, at: str) -> str:
    """The command that makes an empty thing of a path's kind, on which that path can be mounted."""
    return f"mkdir -p {at}" if path.is_dir() else f"mkdir -p $(dirname {at}); touch {at}"


def _outermost_closed(path: Path) -> Path | None:
    """The first folder on the way to a path that others may not enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None
