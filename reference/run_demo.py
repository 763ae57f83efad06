"""The demo: build a backdoored model, run `fit` and `scan` on it as a user would, compare with the truth."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from reference.demo import DemoPaths, build_demo, evaluate_demo
from scanner.base.errors import LatentscanError

RunCommand = Callable[[list[str]], int]

FOUND = 1


class DemoFailedError(LatentscanError):
    """A step of the demo did not end as it must."""


def run_demo(run: RunCommand, out: Path, seed: int, *, keep: bool) -> None:
    """Build, fit, scan and compare.

    Args:
        run: Runs one command line of the scanner and returns its exit code.
        out: Folder for all files.
        seed: Of training and sampling.
        keep: Whether the files stay, and are worth pointing at.

    Raises:
        DemoFailedError: If a command fails, or the scan does not find the backdoor.
    """
    started = time.monotonic()
    _say("training a small classifier on scikit-learn's digits, with a backdoor: four white pixels")
    _say("in the corner turn every digit into the next one ...")
    paths = build_demo(out, seed)
    _say(f"vendor model: clean accuracy {paths.clean_accuracy:.1%}, attack success {paths.attack_success_rate:.1%}")
    profile, report, rows = out / "modelscan.h5", out / "out.json", out / "rows.jsonl"
    fit = ["fit", str(paths.model), "--arch", paths.architecture, "--clean", str(paths.reference), "-o", str(profile)]
    scan = [
        "scan", str(paths.inputs), "--profile", str(profile), "--report", str(report), "--rows", str(rows)
    ]  # fmt: skip
    _command(run, fit, expected=0)
    code = _command(run, scan, expected=FOUND)
    _compare(paths, rows)
    _say(f"exit code of the scan: {code} (a verdict at or above --fail-on high)")
    if keep:
        _say(f"all files are in {out}")
    _say(f"took {time.monotonic() - started:.0f} s")


def _command(run: RunCommand, arguments: list[str], expected: int) -> int:
    _say("")
    _say(f"$ modelscan {shlex.join(arguments)}")
    code = run(arguments)
    if code != expected:
        raise DemoFailedError(f"'modelscan {arguments[0]}' ended with exit code {code}, expected {expected}")
    return code


def _compare(paths: DemoPaths, rows: Path) -> None:
    rates = evaluate_demo(rows, paths.truth)
    _say("")
    _say("against the truth, which the scan did not know:")
    _say(f"  triggered inputs flagged  {rates.detection_rate:.1%} of {rates.triggered}")
    _say(f"  clean inputs flagged      {rates.false_alarm_rate:.1%} of {rates.clean} (1% expected)")
    _say(f"  AUROC {rates.auroc:.4f}, AUPR {rates.aupr:.4f}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
