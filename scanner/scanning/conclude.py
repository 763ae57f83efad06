"""From counts to a verdict and its findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

import numpy as np

from scanner.profile.header import ProfileHeader
from scanner.report.batch import BatchOutcome, batch_section
from scanner.report.findings import find
from scanner.report.policy import policy_section
from scanner.report.schema import SharedUnit, SharedUnitsSection, UnitPlace
from scanner.report.triage import accept_model, ignore_warnings, triage
from scanner.scanning.chunks.folder import NOT_SCANNED
from scanner.scanning.evidence_sections import (
    copies_evidence,
    demonstration_evidence,
    drift_evidence,
    evidence_sections,
)
from scanner.scanning.handed_over_section import handed_over_evidence
from scanner.scanning.options import ScanOptions
from scanner.scanning.rows import RowNamer
from scanner.scanning.shared_units import BatchUnits, Place
from scanner.scanning.stages import Concluded, Counted, OpenedScan, Told
from scanner.scanning.tally import ScanCounts
from scanner.verdict.decide import decide
from scanner.verdict.terms import Evidence, UnitsEvidence

LOUDEST_NAMED: Final = 3
"""Units that the verdict names."""


def conclude(opened: OpenedScan, counted: Counted, told: Told, options: ScanOptions) -> Concluded:
    """Apply the rules of the verdict, and what people said about earlier findings."""
    header, counts = opened.header, counted.counts
    evidence = _evidence(header, counted, options)
    verdict = decide(evidence, options.fail_on, options.max_unreadable, options.min_confidence)
    verdict = accept_model(verdict, header.model, told.ignore, told.today)
    if options.policy is not None and (loosened := options.policy.loosened) is not None:
        # A person who reads one line is to know that a file decided about this gate.
        verdict = replace(verdict, reasons=(loosened, *verdict.reasons))
    namer = RowNamer(header)
    top_inputs = tuple(namer.scanned(row, all_scores=False) for row in counts.top)
    outcome = BatchOutcome(
        flagged=counts.flagged,
        test=counts.test,
        p_value=counts.p_value,
        smallest_attainable=counts.smallest_attainable,
        units=_units_section(header, counts, counted.places),
        share=counts.share,
        classes=counts.targets,
        compared=counts.compared,
        tested=counts.distinct.inputs,
        labels=counted.labels,
    )
    batch = batch_section(outcome, header.calibration.size, options.alpha, header.class_names)
    found = find(header.model, batch, verdict, top_inputs)
    digests = {row.index: row.sha256 or "" for row in top_inputs}
    return Concluded(
        batch,
        verdict,
        top_inputs,
        triage(found, verdict, told.ignore, told.known, digests, told.today),
        tuple(ignore_warnings(told.ignore, found, header.model, told.today)),
        policy_section(options.policy, told.baseline_sha256, None if told.ignore is None else told.ignore.sha256),
        evidence_sections(opened, counted, evidence),
    )


def _evidence(header: ProfileHeader, counted: Counted, options: ScanOptions) -> Evidence:
    counts = counted.counts
    share = counts.share
    return Evidence(
        inputs_total=counts.total,
        inputs_scanned=counts.scanned,
        inputs_unreadable=counts.unreadable,
        inputs_not_finite=counts.not_finite,
        alpha=options.alpha,
        smallest_alpha=header.calibration.smallest_alpha,
        flagged=counts.flagged,
        batch_p_value=counts.p_value,
        smallest_attainable_p=counts.smallest_attainable,
        units=_units_evidence(header, counts, counted.places),
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
        structure=None if header.model.structure is None else header.model.structure.known(),
        drift=drift_evidence(counts),
        copies=copies_evidence(counts),
        demonstration=demonstration_evidence(counted.shown, header),
        handed_over=handed_over_evidence(counted.tried, header),
        allow_drift=options.allow_drift,
        inputs_missing=counts.unreadable_by_reason.get(NOT_SCANNED, 0),
    )


def _units_section(header: ProfileHeader, counts: ScanCounts, places: Mapping[int, Place]) -> SharedUnitsSection | None:
    """What the report says of the units."""
    if counts.units is None:
        return None
    tests = counts.units.tests
    test, every = tests.balanced, tests.every
    return SharedUnitsSection(
        inputs=every.inputs,
        comparable=every.comparable,
        compared=test.compared,
        strata=len(np.unique(tests.strata)),
        units=counts.units.width,
        p_value=test.p_value,
        permutation_p=test.permutation_p_value,
        exact_p=test.exact_p_value,
        p_value_any_class=every.p_value,
        sharing=counts.sharing,
        counted=counts.units.by_units is not None,
        loudest=tuple(
            SharedUnit(
                descriptor=key,
                channel=channel,
                inputs=unit.inputs,
                p_adjusted=unit.p_value,
                place=None if unit.unit not in places else UnitPlace(**asdict(places[unit.unit])),
            )
            for unit in every.units
            for key, channel in (_place(header, counts.units, unit.unit),)
        ),
    )


def _units_evidence(header: ProfileHeader, counts: ScanCounts, places: Mapping[int, Place]) -> UnitsEvidence | None:
    """What the verdict needs to know of the units."""
    if counts.units is None:
        return None
    tests = counts.units.tests
    loudest = tuple(_place(header, counts.units, unit.unit) for unit in tests.every.units[:LOUDEST_NAMED])
    agreed = [place for place in places.values() if 2 * place.inputs > place.looked_at]
    place = max(agreed, key=lambda place: place.inputs, default=None)
    where = None if place is None else (place.row, place.column, place.inputs, place.looked_at)
    return UnitsEvidence(
        tests.balanced.p_value,
        tests.every.p_value,
        tests.every.inputs,
        counts.units.by_units is not None,
        counts.sharing,
        loudest,
        where,
    )


def _place(header: ProfileHeader, units: BatchUnits, unit: int) -> tuple[str, int]:
    """Descriptor's key and channel of a unit."""
    descriptor, channel = units.descriptor_of(header, unit)
    return descriptor.key, channel
