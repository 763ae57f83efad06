"""Messages and bars: on a terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from conftest import cli_environment

PROGRAM = """
import sys
from scanner.cli.console import TerminalProgress
with TerminalProgress(quiet=sys.argv[1:] == ["quiet"]) as progress:
    done = progress.task("a task", 3)
    progress.say("[bold]a :warning: \\x1b[31m" + "word " * 40)
    done(2)
print("rich" in sys.modules)
"""
LINE = r"[bold]a :warning: \x1b[31m" + "word " * 40


def test_without_a_terminal_lines_are_printed_whole_and_rich_is_not_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=cli_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
    assert done.stderr == f"{LINE}\n"


def test_quiet_prints_nothing() -> None:
    command = [sys.executable, "-c", PROGRAM, "quiet"]
    done = subprocess.run(command, env=cli_environment(), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_on_a_terminal_there_is_a_bar_and_text_is_no_markup() -> None:
    environment = {name: value for name, value in cli_environment(TERM="xterm").items() if name != "CI"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while block := _read(ours):
            shown += block
        assert process.stdout is not None
        assert process.stdout.read() == b"True\n"
    os.close(ours)
    assert b"a task" in shown
    assert b"2/3" in shown
    assert rb"[bold]a :warning: \x1b[31mword" in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""
