"""``python -m scanner``: the same program as ``modelscan`` and ``latentscan``.

With ``-m``, Python looks for every module in the working directory first, and that may be a stranger's folder. It is
taken out before anything is imported from it. Python itself has looked there by then, for this package and for what
runs it: in a folder of strangers, ``python -P -m scanner`` or the installed command is the way.
"""

import os  # part of every interpreter that runs, so not looked for
import sys


def _leave_working_directory() -> None:
    own = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - pathlib may be theirs
    if sys.flags.safe_path or not sys.path or os.path.realpath(sys.path[0]) == own:
        return
    theirs = os.path.realpath(sys.path[0])
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != theirs]


if __name__ == "__main__":
    _leave_working_directory()

from scanner.cli.main import main  # noqa: E402 - after the path is safe

main()
