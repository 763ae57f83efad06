"""The demo: build a backdoored model, run `fit` and `scan` on it as a user would, compare with the truth."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from reference.demo import DemoPaths, build_demo, evaluate_demo, require_empty
from scanner.base.errors import LatentscanError
from scanner.report.page_trigger import rule_in_words
from scanner.report.read import read_report
from scanner.report.schema import Report

FOUND = 1


class DemoFailedError(LatentscanError):
    """A step of the demo did not end as it must."""


@dataclass(frozen=True)
class Commands:
    """How to run command lines of the scanner.

    Attributes:
        program: What a person types before the arguments.
        run: Runs one command line and returns its exit code.
    """

    program: tuple[str, ...]
    run: Callable[[list[str]], int]


@dataclass(frozen=True)
class ScanFiles:
    """What `fit` and `scan` leave in the demo's folder, beside the files of `DemoPaths`."""

    profile: Path
    page: Path
    report: Path
    rows: Path

    @classmethod
    def in_folder(cls, out: Path) -> ScanFiles:
        """Their places."""
        return cls(out / "modelscan.h5", out / "out.html", out / "out.json", out / "rows.jsonl")


def run_demo(commands: Commands, out: Path, seed: int) -> None:
    """Build, fit, scan and compare. All files stay, so that every command that is shown can be run again.

    Args:
        commands: Run the scanner.
        out: Folder for all files, new or empty.
        seed: Of training and sampling.

    Raises:
        UsageError: If `out` is something else than an empty folder.
        DemoFailedError: If a command fails, or the scan does not find the backdoor.
    """
    require_empty(out)
    started = time.monotonic()
    _say("training a small classifier on scikit-learn's digits, with a backdoor: four white pixels")
    _say("in the corner turn every digit into the next one ...")
    paths = build_demo(out, seed)
    _say(f"vendor model: clean accuracy {paths.clean_accuracy:.1%}, attack success {paths.attack_success_rate:.1%}")
    files = ScanFiles.in_folder(out)
    model, reference, inputs = (_argument(path) for path in (paths.model, paths.reference, paths.inputs))
    profile, report, page, rows = (
        _argument(path) for path in (files.profile, files.report, files.page, files.rows)
    )  # fmt: skip
    fit = ["fit", model, "--arch", paths.architecture, "--clean", reference, "-o", profile]
    scan = ["scan", inputs, "--profile", profile, "--report", report, "--report", page, "--rows", rows]
    _command(commands, fit, expected=0)
    _command(commands, scan, expected=FOUND)
    _compare(paths, files.rows)
    for line in _found(read_report(files.report)[0]):
        _say(line)
    _say(f"took {time.monotonic() - started:.0f} s")
    _point_at(paths, files)


def _argument(path: Path) -> str:
    """A path that no parser takes for an option, whatever the folder is called."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def _command(commands: Commands, arguments: list[str], expected: int) -> None:
    _say("")
    _say(f"$ {shlex.join([*commands.program, *arguments])}")
    code = commands.run(arguments)
    if code != expected:
        raise DemoFailedError(f"'modelscan {arguments[0]}' ended with exit code {code}, expected {expected}")


def _compare(paths: DemoPaths, rows: Path) -> None:
    rates = evaluate_demo(rows, paths.truth)
    _say("")
    _say("against the truth, which the scan did not know:")
    _say(f"  triggered inputs flagged  {rates.detection_rate:.1%} of {rates.triggered}")
    _say(f"  clean inputs flagged      {rates.false_alarm_rate:.1%} of {rates.clean} (1% expected)")
    _say(f"  AUROC {rates.auroc:.4f}, AUPR {rates.aupr:.4f}")


def _found(report: Report) -> Iterator[str]:
    """What the report says that was found, a line each."""
    verdict = report.verdict
    yield f"verdict of the scan: {verdict.severity}, {verdict.decision}; exit code {verdict.exit_code}"
    shown = report.demonstration
    if shown is not None and shown.demonstrated:
        moves = f"moves {rule_in_words(shown)}, {shown.moved} of {shown.eligible} clean images"
        yield f"the trigger, demonstrated: a {shown.kind} of {shown.area:.1%} of the picture {moves};"
        yield f"what ordinary inputs share moves {shown.control_moved} of them"
    places = [item.place for item in report.gallery if item.place is not None]
    if places:
        down, across = median(place.row for place in places), median(place.column for place in places)
        yield f"where the most suspicious inputs are loudest, as a rule: {down:.0%} down and {across:.0%} across"


def _point_at(paths: DemoPaths, files: ScanFiles) -> None:
    """Where everything is, and what to look at."""
    listed = (
        (files.page, "the verdict and the most suspicious inputs: open it in a browser"),
        (files.report, "the same for programs"),
        (files.rows, "a line for every input"),
        (files.profile, "what the scan compares with"),
        (paths.model, "the vendor's model"),
        (paths.reference, "clean images"),
        (paths.inputs, "what was scanned"),
        (paths.truth, "which of them carry the trigger"),
    )
    _say("")
    _say(f"the demo's files are in {paths.root}:")
    for path, what in listed:
        _say(f"  {path.relative_to(paths.root)!s:<16} {what}")
    _say(f"open {files.page} to see what was found")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
