"""Everything that a scan knows, as a report."""

from __future__ import annotations

import sys
import time

from scanner.base.versions import library_versions
from scanner.inputs.threads import usable_cores
from scanner.report.build import Conclusion, Scanned, UsedProfile, build_report
from scanner.report.run import Engine, Timing, describe_run
from scanner.report.schema import InputsSection, Report, UnreadableInput
from scanner.scanning.gallery import Gallery
from scanner.scanning.options import ScanOptions
from scanner.scanning.stages import Concluded, Counted, OpenedScan, Started


def make_report(
    opened: OpenedScan, counted: Counted, concluded: Concluded, shown: Gallery, options: ScanOptions, started: Started
) -> Report:
    """The report of a finished scan."""
    duration = time.monotonic() - started.clock
    threads = options.threads or usable_cores()
    return build_report(
        UsedProfile(opened.header, options.profile.name, opened.profile.digest, options.alpha),
        Scanned(
            inputs=_inputs_section(opened, counted, options),
            top_inputs=concluded.top_inputs,
            rows=counted.rows,
            distributions=counted.distributions,
            gallery=shown.items,
            pictures=shown.pictures,
        ),
        Conclusion(
            batch=concluded.batch,
            verdict=concluded.verdict,
            findings=concluded.findings,
            warnings=concluded.warnings,
            policy=concluded.policy,
            behind=concluded.behind,
        ),
        describe_run(
            Timing(started.at, duration, counted.counts.scanned if options.plan is None else None),
            Engine(options.device, opened.scorer.provider, threads, options.isolation),
            sys.argv[1:],
        ),
        library_versions(),
    )


def _inputs_section(opened: OpenedScan, counted: Counted, options: ScanOptions) -> InputsSection:
    source, counts = opened.source, counted.counts
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
        digest=counted.digest,
    )
