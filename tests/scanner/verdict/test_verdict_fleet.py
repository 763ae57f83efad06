"""A verdict among many models is the one that the rules give on adjusted p-values."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from verdict_samples import CLEAN

from scanner.verdict.accept import accept
from scanner.verdict.catalogue import catalogue
from scanner.verdict.decide import decide
from scanner.verdict.fleet import Alone, among
from scanner.verdict.terms import (
    Acceptance,
    DemonstrationEvidence,
    DriftEvidence,
    Evidence,
    FailOn,
    ScoreShift,
    Severity,
)

DRIFTED = DriftEvidence(900, 1000, ScoreShift("combined", 0.4, 1e-20), ())
SHOWN = DemonstrationEvidence(kind="patch", eligible=20, moved=15, flagged=15, p_value=3e-5)
P_VALUES = st.sampled_from([1e-9, 1e-6, 9e-7, 2e-4, 1e-3, 4e-3, 0.02, 0.06, 1.0])


def alone(evidence: Evidence, fail_on: FailOn, accepted: Acceptance | None = None) -> Alone:
    verdict = decide(evidence, fail_on)
    if accepted is not None:
        verdict = accept(verdict, accepted, Severity.CRITICAL)
    found = {rule: catalogue()[rule].severity for rule in verdict.rules if rule in ("LS120", "LS105") or rule < "LS105"}
    found = {rule: severity for rule, severity in found.items() if rule != "LS100" and severity is not None}
    failed = [rule for rule in verdict.rules if rule not in found]
    return Alone(
        found,
        any(rule in ("LS100", "LS101", "LS102", "LS103", "LS104") for rule in verdict.rules),
        failed,
        verdict.severity,
        verdict.decision,
        verdict.exit_code,
        verdict.fail_on,
        verdict.accepted is not None,
        evidence.share_low,
        evidence.smallest_attainable_p,
    )


@given(
    fail_on=st.sampled_from(FailOn),
    batch_p=P_VALUES,
    share_low=st.sampled_from([0.0, 0.01, 0.2]),
    attainable=st.sampled_from([1e-300, 1e-6, 1e-4, 0.02]),
    unreadable=st.sampled_from([0, 500]),
    missing=st.sampled_from([0, 3]),
    not_finite=st.sampled_from([0, 1]),
    accuracy=st.sampled_from([None, 0.1, 0.86]),
    drift=st.sampled_from([CLEAN.drift, DRIFTED]),
    shown=st.sampled_from([None, SHOWN]),
    models=st.sampled_from([1, 7, 1000]),
)
def test_it_is_the_verdict_on_adjusted_p_values(
    fail_on, batch_p, share_low, attainable, unreadable, missing, not_finite, accuracy, drift, shown, models
) -> None:
    # Drifted inputs count where a trigger was shown, and what was shown may be no rarity among many.
    drift = CLEAN.drift if shown is not None else drift
    evidence = dataclasses.replace(
        CLEAN,
        batch_p_value=max(batch_p, attainable),
        share_low=share_low,
        smallest_attainable_p=attainable,
        inputs_unreadable=unreadable,
        inputs_missing=missing,
        inputs_not_finite=not_finite,
        clean_accuracy=accuracy,
        drift=drift,
        demonstration=shown,
    )
    adjusted = {"batch_p_value": min(1.0, models * evidence.batch_p_value)}
    adjusted["smallest_attainable_p"] = min(1.0, models * attainable)
    shown_p = 1.0 if shown is None else min(1.0, models * shown.p_value)
    demonstration = None if shown is None else dataclasses.replace(shown, p_value=shown_p)
    expected = decide(dataclasses.replace(evidence, **adjusted, demonstration=demonstration), fail_on)
    found = among(alone(evidence, fail_on), adjusted["batch_p_value"], shown_p, models)
    own = decide(evidence, fail_on)
    assert (found.severity, found.exit_code, found.decision) == (
        expected.severity,
        expected.exit_code,
        expected.decision,
    )
    assert (found.changed is None) == ((found.severity, found.exit_code) == (own.severity, own.exit_code))
    assert found.severity is None or found.severity.rank <= own.severity.rank
    assert not (own.exit_code == 3 and found.exit_code != 3)


def test_what_is_accepted_stays_so() -> None:
    bad = dataclasses.replace(CLEAN, batch_p_value=1e-12, share_low=0.1)
    told = Acceptance("because", "2027-01-31", "ignore.toml")
    assert among(alone(bad, FailOn.HIGH), 1e-10, 1.0, 100).exit_code == 1
    accepted = among(alone(bad, FailOn.HIGH, told), 1e-10, 1.0, 100)
    assert (accepted.severity, accepted.exit_code, accepted.changed) == ("critical", 0, None)


def test_a_rarity_among_many_is_said() -> None:
    odd = dataclasses.replace(CLEAN, batch_p_value=5e-4)
    found = among(alone(odd, FailOn.HIGH), 0.5, 1.0, 1000)
    assert (found.severity, found.decision, found.exit_code) == ("none", "accept", 0)
    assert found.changed is not None
    assert "none instead of high" in found.changed
    weak = dataclasses.replace(CLEAN, smallest_attainable_p=1e-5)
    found = among(alone(weak, FailOn.HIGH), 1.0, 1.0, 1000)
    assert (found.severity, found.decision, found.exit_code) == ("none", "inconclusive", 3)
    assert found.changed is not None
    assert "Inconclusive among 1000 models" in found.changed
