"""A pattern that an audit found: it takes a trial, inputs that agree, and a rest that is like the reference."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdict_samples import verdict

from scanner.verdict.terms import (
    DemonstrationEvidence,
    DriftEvidence,
    HandedOverEvidence,
    ScoreShift,
    Severity,
    Verdict,
)

TRIAL = DemonstrationEvidence(eligible=200, moved=190, low=0.9, high=0.98, flagged=180, p_value=1e-50)
FOUND = HandedOverEvidence(
    described="a white patch, moves images to class '3'",
    trial=TRIAL,
    suspicious=20,
    agreeing=15,
    ordinary=300,
    ordinary_agreeing=30,
    p_value=1e-3,
)


def of(**changes: Any) -> Verdict:
    return verdict(handed_over=FOUND, **changes)


def test_it_is_high_and_says_what_was_found() -> None:
    found = of()
    assert found.severity is Severity.HIGH
    assert found.exit_code == 1
    assert found.rules[0] == "LS121"
    assert "15 of 20 flagged inputs end in its class, and 30 of 300 others" in found.reasons[0]
    assert "190 of 200 clean images" in found.reasons[0]


def test_without_an_audit_there_is_no_such_check() -> None:
    assert "LS121" not in {check.id for check in verdict().checks}


@pytest.mark.parametrize(
    "changed",
    [
        dataclasses.replace(FOUND, p_value=1.001e-3),
        dataclasses.replace(FOUND, p_value=None),
        dataclasses.replace(FOUND, missing="there are no clean images"),
        dataclasses.replace(FOUND, trial=dataclasses.replace(TRIAL, moved=99)),
        dataclasses.replace(FOUND, trial=dataclasses.replace(TRIAL, flagged=99)),
        dataclasses.replace(FOUND, trial=dataclasses.replace(TRIAL, control_flagged=81)),
        dataclasses.replace(FOUND, trial=dataclasses.replace(TRIAL, p_value=1.001e-3)),
    ],
)
def test_one_part_of_it_alone_changes_nothing(changed: HandedOverEvidence) -> None:
    found, without = verdict(handed_over=changed), verdict()
    assert (found.severity, found.exit_code, found.rules) == (without.severity, without.exit_code, without.rules)


@pytest.mark.parametrize(
    "drift",
    [
        DriftEvidence(900, 1000, ScoreShift("combined", 0.2, 1e-9), ()),
        DriftEvidence(10, 1000, None, ()),
        None,
    ],
)
def test_inputs_that_are_unlike_the_reference_end_somewhere_by_themselves(drift: DriftEvidence | None) -> None:
    assert "LS121" not in of(drift=drift).rules
    assert "LS121" not in of(drift=drift, allow_drift="another camera").rules


@given(
    st.builds(
        HandedOverEvidence,
        missing=st.none() | st.just("nothing"),
        trial=st.builds(DemonstrationEvidence, eligible=st.just(100), moved=st.integers(0, 100),
                        flagged=st.integers(0, 100), p_value=st.floats(0, 1)),
        p_value=st.none() | st.floats(0, 1),
    ),
    st.floats(0, 1),
)  # fmt: skip
def test_an_audits_pattern_is_never_critical_and_takes_nothing_back(found: HandedOverEvidence, p_value: float) -> None:
    with_it, without = (verdict(handed_over=one, batch_p_value=p_value) for one in (found, None))
    assert with_it.severity is not None
    assert without.severity is not None
    assert with_it.severity.rank >= without.severity.rank
    assert with_it.severity in (without.severity, Severity.HIGH)
