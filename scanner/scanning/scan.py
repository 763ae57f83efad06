"""One `scan` command: open everything, score, decide, write every report."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from scanner.base.atomic import check_destination
from scanner.base.errors import ProfileError, UsageError
from scanner.base.files import open_regular
from scanner.base.progress import Progress
from scanner.base.versions import library_versions
from scanner.inputs.items import Source
from scanner.inputs.source import open_source
from scanner.inputs.threads import usable_cores
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.profile.content import Profile
from scanner.profile.graph_rules import require_safe_graph
from scanner.profile.reader import read_profile
from scanner.report.build import batch_section, build_report
from scanner.report.findings import find
from scanner.report.formats import check_reports, write_reports
from scanner.report.read import read_report
from scanner.report.rows import RowsWriter, open_rows, row_format
from scanner.report.run import describe_run, source_date_epoch
from scanner.report.schema import InputsSection, PolicySection, Report, UnreadableInput
from scanner.report.triage import IgnoreFile, accept_model, ignore_warnings, read_ignore_file, triage
from scanner.scanning.distributions import DistributionTally
from scanner.scanning.gallery import show_inputs
from scanner.scanning.judge import RowSink, ScanCounts, ScannedInput, UnreadableRow, scan_source
from scanner.scanning.options import ScanOptions
from scanner.scanning.rows import RowNamer
from scanner.scoring.scorer import Scorer
from scanner.verdict.decide import decide
from scanner.verdict.terms import Evidence


class _RowWriter:
    """Writes every row to the file of rows."""

    def __init__(self, file: RowsWriter, namer: RowNamer) -> None:
        self._file, self._namer = file, namer

    def scanned(self, row: ScannedInput) -> None:
        self._file.write(self._namer.scanned(row, all_scores=True))

    def unreadable(self, row: UnreadableRow) -> None:
        self._file.write(self._namer.unreadable(row))


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
    started, clock = datetime.now(UTC), time.monotonic()
    _check_destinations(options)
    told = _read_triage(options, started)
    profile = read_profile(options.profile)
    require_safe_graph(profile, options.profile)
    if options.model is not None:
        _check_model(options.model, profile)
    source = open_source(options.inputs, labels=False)
    scorer = _scorer(profile, options, len(source.items), progress)
    digest, namer = _InputsDigest(), RowNamer(profile.header)
    with ExitStack() as stack:
        rows = None if options.rows is None else stack.enter_context(open_rows(options.rows))
        clean = calibration_from_arrays(profile.calibration, profile.header.scores).combined
        distributions = DistributionTally(np.sort(clean), options.alpha)
        sinks: list[RowSink] = [digest, distributions]
        if rows is not None:
            sinks.append(_RowWriter(rows, namer))
        counts = scan_source(profile, scorer, source, options, sinks, progress.task("scan", len(source.items)))
    header = profile.header
    verdict = decide(
        _evidence(profile, counts, options), options.fail_on, options.max_unreadable, options.min_confidence
    )
    verdict = accept_model(verdict, header.model, told.ignore, told.today)
    gallery = show_inputs(profile, scorer.features, source, counts.top, options.gallery)
    top_inputs = [namer.scanned(row, all_scores=False) for row in counts.top]
    batch = batch_section(
        test=counts.test,
        share=counts.share,
        classes=counts.targets,
        compared=counts.compared,
        calibration_size=header.calibration.size,
        alpha=options.alpha,
        class_names=header.class_names,
    )
    found = find(header.model, batch, verdict, top_inputs)
    digests = {row.index: row.sha256 or "" for row in top_inputs}
    report = build_report(
        header=header,
        profile_name=options.profile.name,
        profile_digest=profile.digest,
        libraries=library_versions(),
        run=describe_run(
            started_at=started,
            duration_s=time.monotonic() - clock,
            scanned=counts.scanned,
            argv=sys.argv[1:],
            device=options.device,
            provider=scorer.provider,
            threads=options.threads or usable_cores(),
        ),
        alpha=options.alpha,
        inputs=_inputs_section(options, source, counts, digest.hexdigest()),
        batch=batch,
        verdict=verdict,
        top_inputs=top_inputs,
        rows=None if rows is None else rows.section(),
        warnings=ignore_warnings(told.ignore, found, header.model, told.today),
        findings=triage(found, verdict, told.ignore, told.known, digests, told.today),
        policy=_policy_section(options, told),
        distributions=distributions.section(),
        gallery=gallery.items,
        pictures=gallery.pictures,
    )
    write_reports(report, options.reports)
    return report


def _scorer(profile: Profile, options: ScanOptions, inputs: int, progress: Progress) -> Scorer:
    """Load the profile's graphs, and say beforehand what weight draws are going to cost."""
    info = profile.header.bayesian
    if info is None:
        return Scorer(profile, options.device)
    scorer = Scorer(profile, options.device, progress.task("weight draws", info.samples))
    if (cost := scorer.seconds_per_image()) is not None:
        plain, drawn = cost
        threads = options.threads or usable_cores()
        progress.say(
            f"bayesian: {info.samples} draws of {info.extent} ({info.layers}, {info.posterior}); "
            f"expected {1000 * (plain + drawn) / threads:.3g} s per 1,000 images on {threads} threads "
            f"({1 + drawn / plain:.1f} times a plain scan), {inputs * (plain + drawn) / threads:.3g} s in all"
        )
    return scorer


@dataclass(frozen=True)
class _Told:
    """What people said about earlier findings, and the day on which it is read."""

    ignore: IgnoreFile | None
    known: frozenset[str]
    baseline_sha256: str | None
    today: date


def _read_triage(options: ScanOptions, started: datetime) -> _Told:
    ignore = None if options.ignore is None else read_ignore_file(options.ignore)
    today = (source_date_epoch(os.environ) or started).date()
    if options.baseline is None:
        return _Told(ignore, frozenset(), None, today)
    baseline, sha256 = read_report(options.baseline)
    return _Told(ignore, frozenset(finding.id for finding in baseline.findings), sha256, today)


def _policy_section(options: ScanOptions, told: _Told) -> PolicySection | None:
    policy = options.policy
    if policy is None:
        return None
    ignore_sha256 = None if told.ignore is None else told.ignore.sha256
    return PolicySection(
        values={**policy.gate},
        sources={name: policy.origins[name] for name in policy.gate},
        config=policy.config_name,
        baseline_sha256=told.baseline_sha256,
        ignore_sha256=ignore_sha256,
        sha256=policy.digest(told.baseline_sha256, ignore_sha256),
    )


def _check_destinations(options: ScanOptions) -> None:
    check_reports(options.reports)
    if options.rows is not None:
        row_format(options.rows)
        check_destination(options.rows)


def _inputs_section(options: ScanOptions, source: Source, counts: ScanCounts, digest: str) -> InputsSection:
    return InputsSection(
        name=options.inputs.absolute().name or "/",
        source=source.kind,
        total=counts.total,
        scanned=counts.scanned,
        not_finite=counts.not_finite,
        unreadable=counts.unreadable,
        ignored=source.ignored,
        unreadable_by_reason=counts.unreadable_by_reason,
        unreadable_inputs=tuple(
            UnreadableInput(id=row.item.id, reason=row.reason, detail=row.detail) for row in counts.unreadable_listed
        ),
        digest=digest,
    )


def _check_model(path: Path, profile: Profile) -> None:
    try:
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=str(path)) from None
    if digest != profile.header.model.sha256:
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
        inputs_not_finite=counts.not_finite,
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
        self_checks=header.self_checks,
    )
