"""Evidence of a clean scan, and the verdict on what differs from it."""

from __future__ import annotations

import dataclasses

from profile_samples import sample_header

from scanner.verdict.decide import decide
from scanner.verdict.terms import CopiesEvidence, DriftEvidence, Evidence, FailOn, ScoreShift

CLEAN = Evidence(
    inputs_total=1000,
    inputs_scanned=1000,
    inputs_unreadable=0,
    inputs_not_finite=0,
    alpha=0.01,
    smallest_alpha=0.005,
    flagged=10,
    batch_p_value=0.5,
    smallest_attainable_p=1e-300,
    share_low=0.0,
    share=0.001,
    share_high=0.01,
    clean_accuracy=0.86,
    reference_images=200,
    num_classes=10,
    calibration_size=200,
    labelled=True,
    min_class_count=20,
    parity=1e-6,
    self_checks=sample_header().self_checks,
    drift=DriftEvidence(900, 1000, ScoreShift("combined", 0.03, 1.0), ()),
    copies=CopiesEvidence(1000, 0, 1000, 1000),
)


def verdict(fail_on=FailOn.HIGH, max_unreadable=0.1, **changes):
    return decide(dataclasses.replace(CLEAN, **changes), fail_on, max_unreadable)
