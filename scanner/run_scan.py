"""One `scan` command: open everything, score, decide, write every report."""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack
from pathlib import Path

from scanner.atomic import check_destination
from scanner.errors import ProfileError, UsageError
from scanner.graph.session import GraphSession
from scanner.inputs.source import open_source
from scanner.inputs.threads import usable_cores
from scanner.options import ScanOptions
from scanner.profile.content import Profile
from scanner.profile.header import ProfileHeader
from scanner.profile.reader import read_profile
from scanner.progress import Progress
from scanner.report.build import RunFacts, build_report, input_row
from scanner.report.json_report import STDOUT, write_report
from scanner.report.rows import RowsFile, open_rows
from scanner.report.schema import Report
from scanner.scan import ScanCounts, ScannedInput, UnreadableRow, scan_source
from scanner.verdict.decide import decide
from scanner.verdict.terms import Evidence


class _RowWriter:
    """Writes every row to the file of rows."""

    def __init__(self, file: RowsFile, header: ProfileHeader) -> None:
        self._file, self._header = file, header

    def scanned(self, row: ScannedInput) -> None:
        self._file.write(input_row(row, self._header, all_scores=True))

    def unreadable(self, row: UnreadableRow) -> None:
        self._file.write(input_row(row, self._header, all_scores=True))


class _InputsDigest:
    """SHA-256 over the inputs' digests, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def scanned(self, row: ScannedInput) -> None:
        self._digest.update(f"{row.sha256}\n".encode("ascii"))

    def unreadable(self, row: UnreadableRow) -> None:
        self._digest.update(f"{row.sha256 or ''}\n".encode("ascii"))

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def run_scan(options: ScanOptions, progress: Progress) -> Report:
    """Scan, and write the reports before anybody looks at the exit code.

    Raises:
        LatentscanError: If there is no verdict.
    """
    started, clock = time.time(), time.monotonic()
    _check_destinations(options)
    profile = read_profile(options.profile)
    if options.model is not None:
        _check_model(options.model, profile)
    source = open_source(options.inputs, labels=False)
    session = GraphSession(profile.graph, profile.weights, device=options.device)
    digest = _InputsDigest()
    with ExitStack() as stack:
        rows = None if options.rows is None else stack.enter_context(open_rows(options.rows))
        sinks = [digest] if rows is None else [digest, _RowWriter(rows, profile.header)]
        counts = scan_source(profile, session, source, options, sinks, progress.task("scan", len(source.items)))
    verdict = decide(_evidence(profile, counts, options), options.fail_on, options.max_unreadable)
    facts = RunFacts(
        started=started,
        seconds=time.monotonic() - clock,
        provider=session.provider,
        threads=options.threads or usable_cores(),
        ignored=source.ignored,
        source_kind=source.kind,
        inputs_digest=digest.hexdigest(),
        rows=None if rows is None else rows.section(),
    )
    report = build_report(profile, options, counts, verdict, facts)
    for destination in options.reports:
        write_report(report, destination)
    return report


def _check_destinations(options: ScanOptions) -> None:
    for destination in options.reports:
        if destination == STDOUT:
            continue
        if Path(destination).suffix.lower() != ".json":
            raise UsageError(
                "unknown report format", where=destination, hint="Reports end in .json, or are '-' for standard output"
            )
        check_destination(Path(destination))


def _check_model(path: Path, profile: Profile) -> None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=str(path)) from None
    if digest.hexdigest() != profile.header.model.sha256:
        raise ProfileError(
            f"the profile was made for another file (sha256 {profile.header.model.sha256[:16]}...)",
            where=str(path),
            hint="Fit a profile for this model",
        )


def _evidence(profile: Profile, counts: ScanCounts, options: ScanOptions) -> Evidence:
    header = profile.header
    share = counts.share
    return Evidence(
        inputs_total=counts.total,
        inputs_scanned=counts.scanned,
        inputs_unreadable=counts.unreadable,
        alpha=options.alpha,
        smallest_alpha=header.calibration.smallest_alpha,
        flagged=counts.flagged,
        batch_p_value=counts.test.p_value,
        smallest_attainable_p=counts.test.smallest_attainable,
        share_low=share.low if share else 0.0,
        share=share.estimate if share else 0.0,
        share_high=share.high if share else 1.0,
        clean_accuracy=header.reference.clean_accuracy,
        reference_images=header.reference.images,
        num_classes=header.num_classes,
        calibration_size=header.calibration.size,
        labelled=header.reference.labelled,
        min_class_count=header.smallest_class,
        parity=header.parity.relative,
    )
