"""Every rule of the verdict, and both sides of every bound."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_samples import sample_header, self_checks
from scipy import stats
from verdict_samples import verdict

import scanner.verdict
from detectors.calibration.batch import batch_test
from detectors.demonstration import trial
from detectors.drift import drift as drift_module
from detectors.drift.appearance import STATISTICS
from scanner.base.text import printable
from scanner.graph.structure.analyse import Structure
from scanner.verdict.accept import accept
from scanner.verdict.decide import decide
from scanner.verdict.rules import load_rules
from scanner.verdict.terms import (
    FINDING_CHECKS,
    Acceptance,
    CheckStatus,
    Confidence,
    CopiesEvidence,
    Decision,
    DemonstrationEvidence,
    DriftEvidence,
    Evidence,
    FailOn,
    LookShift,
    ScoreShift,
    Severity,
    UnitsEvidence,
)


def status(verdict, name):
    return next(check.status for check in verdict.checks if check.id == name)


def above(value):
    return float(np.nextafter(value, np.inf))


def below(value):
    return float(np.nextafter(value, -np.inf))


def test_a_clean_batch_is_accepted():
    clean = verdict()
    assert (clean.severity, clean.decision, clean.confidence) == ("none", "accept", "calibrated")
    assert clean.exit_code == 0
    assert clean.rules == ("LS100",)
    assert len(clean.reasons) == 1
    assert "10 of 1000 inputs" in clean.reasons[0]


@pytest.mark.parametrize(
    ("p", "share_low", "severity", "rule", "decision"),
    [
        (1e-6, 0.01, "critical", "LS101", "quarantine"),
        (above(1e-6), 0.01, "high", "LS102", "quarantine"),
        (1e-6, below(0.01), "high", "LS102", "quarantine"),
        (0.0, 0.0, "high", "LS102", "quarantine"),
        (1e-3, 0.5, "high", "LS102", "quarantine"),
        (above(1e-3), 0.5, "medium", "LS103", "review"),
        (0.01, 0.0, "medium", "LS103", "review"),
        (above(0.01), 0.0, "low", "LS104", "review"),
        (0.05, 0.0, "low", "LS104", "review"),
        (above(0.05), 0.9, "none", "LS100", "accept"),
        (1.0, 0.0, "none", "LS100", "accept"),
    ],
)
def test_severity(p, share_low, severity, rule, decision):
    found = verdict(batch_p_value=p, share_low=share_low)
    assert found.severity == severity
    assert found.rules == (rule,)
    assert found.decision == decision
    assert found.exit_code == (severity in ("high", "critical"))
    assert (status(found, "LS100") is CheckStatus.FAILED) == (severity in ("high", "critical"))


@pytest.mark.parametrize("fail_on", list(FailOn))
@pytest.mark.parametrize(
    ("severity", "p"), [("none", 1.0), ("low", 0.05), ("medium", 0.01), ("high", 1e-3), ("critical", 1e-9)]
)
def test_exit_code(fail_on, severity, p):
    order = ["none", "low", "medium", "high", "critical"]
    found = verdict(fail_on, batch_p_value=p, share_low=0.02)
    assert found.severity == severity
    expected = fail_on != "never" and order.index(severity) >= order.index(fail_on)
    assert found.exit_code == int(expected)
    assert found.fail_on == fail_on


# Drift, copies and a demonstration

LOUD = {"batch_p_value": 1e-9, "share_low": 0.02}
DRIFTED = DriftEvidence(900, 1000, ScoreShift("layer1", 0.3, 1e-20), (LookShift("brightness", 0.4, 1e-30, 141, 118),))
LOOKS = DriftEvidence(900, 1000, ScoreShift("layer1", 0.03, 1.0), (LookShift("brightness", 0.4, 1e-30, 141, 118),))
NONE_LEFT = DriftEvidence(3, 1000, None, ())
SHOWN = DemonstrationEvidence(
    kind="patch", does="moves images", eligible=100, moved=50, flagged=50, control_moved=20, p_value=1e-3
)


def units(p_value, any_class, *, counted):
    return UnitsEvidence(p_value, any_class, 400, counted, 20 if counted else 0, (("layer4:max", 7),))


def test_units_of_classes_that_the_reference_hardly_has_are_told_and_prove_nothing():
    found = verdict(units=units(0.4, 1e-6, counted=False))
    assert (found.severity, found.exit_code) == ("none", 0)
    (check,) = [check for check in found.checks if check.id == "LS113"]
    assert check.status is CheckStatus.PASSED
    assert check.p_value == 0.4
    assert "p = 0.4 instead of 1e-06" in check.message
    assert "More clean images of these classes" in check.message


def test_the_same_units_count_where_densities_find_something():
    found = verdict(units=units(0.4, 1e-6, counted=True), **LOUD)
    (check,) = [check for check in found.checks if check.id == "LS113"]
    assert check.status is CheckStatus.FAILED
    assert "channel 7 of layer4:max" in check.message
    assert "p = 1e-06 over 400 distinct inputs, 0.4 with no more inputs of a class" in check.message


@pytest.mark.parametrize("drift", [DRIFTED, LOOKS, NONE_LEFT])
def test_an_alarm_in_a_batch_that_is_not_comparable_is_none(drift):
    found = verdict(drift=drift, **LOUD)
    assert (found.severity, found.decision, found.exit_code) == (None, "review", 3)
    assert found.rules == ("LS207",)
    assert "riggered inputs, severity" not in " ".join(found.reasons)
    assert status(found, "LS100") is status(found, "LS113") is CheckStatus.NOT_ASSESSED


def test_what_drifted_is_said_in_words():
    (first, *_) = verdict(drift=DRIFTED, **LOUD).reasons
    assert "brighter (median 141 against 118)" in first
    assert "--allow-drift" in first


def test_silence_counts_unless_the_network_sees_the_drift():
    assert verdict(drift=DRIFTED).exit_code == 3
    assert verdict(drift=LOOKS).exit_code == 0
    assert verdict(drift=NONE_LEFT).exit_code == 0


@pytest.mark.parametrize("drift", [DRIFTED, LOOKS])
def test_drift_that_is_allowed_leaves_at_most_high(drift):
    found = verdict(drift=drift, allow_drift="a night camera", **LOUD)
    assert (found.severity, found.exit_code, found.rules) == ("high", 1, ("LS102",))
    assert verdict(drift=drift, allow_drift="a night camera").exit_code == 0


def test_critical_needs_a_rest_to_compare_with():
    few = DriftEvidence(15, 20, None, ())
    assert verdict(drift=few, **LOUD).severity == "high"
    assert verdict(drift=None, **LOUD).severity == "high"


@pytest.mark.parametrize("drift", [DRIFTED, LOOKS, NONE_LEFT, None])
def test_a_demonstrated_trigger_is_critical_whatever_else(drift):
    found = verdict(drift=drift, demonstration=SHOWN, batch_p_value=0.04)
    assert (found.severity, found.exit_code, found.rules[0]) == ("critical", 1, "LS120")
    assert found.reasons[0].startswith("Trigger demonstrated, severity critical: the patch that flagged inputs share")


@pytest.mark.parametrize(
    "change",
    [{"moved": 49}, {"control_moved": 21}, {"flagged": 49}, {"control_flagged": 1}, {"p_value": above(1e-3)}],
)
def test_both_sides_of_every_bound_of_a_demonstration(change):
    found = verdict(demonstration=dataclasses.replace(SHOWN, **change), **LOUD)
    assert found.rules[0] == "LS101"
    assert any(reason.startswith("No trigger could be demonstrated") for reason in found.reasons)


def test_a_rule_about_one_class_has_to_hold_for_more_of_it():
    shown = dataclasses.replace(SHOWN, one_class=True, moved=75, flagged=75)
    assert verdict(demonstration=shown).rules[0] == "LS120"
    assert "LS120" not in verdict(demonstration=dataclasses.replace(shown, moved=74)).rules


def test_repeated_inputs_are_said_and_change_nothing():
    often = CopiesEvidence(inputs=1000, repeated=0, contents=1000, pictures=899)
    found = verdict(copies=often)
    assert (found.exit_code, found.decision, found.confidence) == (0, "accept", "calibrated")
    assert found.rules == ("LS100", "LS208")
    assert verdict(copies=dataclasses.replace(often, pictures=900)).rules == ("LS100",)


def test_the_bounds_are_the_detectors():
    """What ends the search for a trigger, and what is called drift, are what the verdict asks for."""
    rules = load_rules()
    shown, drift = rules.demonstration, rules.drift
    assert (shown.max_p, shown.min_rate) == (trial.MAX_P_VALUE, trial.MIN_RATE)
    assert shown.min_rate_one_class == trial.MIN_RATE_ONE_CLASS
    assert (shown.min_excess, shown.min_flagged) == (trial.MIN_EXCESS, trial.MIN_FLAGGED)
    known = (drift_module.MIN_REST, drift_module.MAX_P_VALUE, drift_module.MIN_DISTANCE)
    assert (drift.min_rest, drift.max_p, drift.min_distance) == known


# Outputs that are not finite


@pytest.mark.parametrize("fail_on", list(FailOn))
def test_one_input_that_is_not_finite_is_high(fail_on):
    found = verdict(fail_on, inputs_not_finite=1)
    assert (found.severity, found.decision) == ("high", "quarantine")
    assert found.rules == ("LS105", "LS100")
    assert found.exit_code == int(fail_on in ("low", "medium", "high"))
    assert "for 1 of 1000 inputs" in found.reasons[0]
    assert found.reasons[1].startswith("Nothing beyond chance was found: 10 of 999 inputs")
    assert status(found, "LS105") is CheckStatus.FAILED
    assert status(found, "LS100") is CheckStatus.PASSED
    assert [check.id for check in found.checks][:2] == ["LS100", "LS105"]


@pytest.mark.parametrize(
    ("p", "severity", "rules"),
    [
        (1e-9, "critical", ("LS101", "LS105")),
        (1e-4, "high", ("LS102", "LS105")),
        (0.005, "high", ("LS105", "LS103")),
        (0.5, "high", ("LS105", "LS100")),
    ],
)
def test_the_severer_finding_decides_and_comes_first(p, severity, rules):
    found = verdict(batch_p_value=p, share_low=0.02, inputs_not_finite=5)
    assert (found.severity, found.rules, found.exit_code) == (severity, rules, 1)
    assert ("not finite" in found.reasons[0]) == (rules[0] == "LS105")


def test_inputs_that_are_not_finite_need_no_calibration():
    """Nothing else to test, a calibration that supports nothing, a model at chance: the fact stands."""
    found = verdict(inputs_total=3, inputs_scanned=3, inputs_not_finite=3, flagged=0, batch_p_value=1.0, alpha=1e-9)
    assert (found.severity, found.exit_code, found.rules[0]) == ("high", 1, "LS105")
    assert status(found, "LS100") is CheckStatus.NOT_ASSESSED
    assert "LS100" not in found.rules
    found = verdict(clean_accuracy=0.1, inputs_not_finite=1)
    assert (found.severity, found.exit_code) == ("high", 1)
    assert found.rules == ("LS105", "LS202")
    assert any("cannot be told from chance" in reason for reason in found.reasons)
    assert verdict(FailOn.CRITICAL, clean_accuracy=0.1, inputs_not_finite=1).exit_code == 3


# Inconclusive


@pytest.mark.parametrize("fail_on", list(FailOn))
def test_nothing_scanned(fail_on):
    for total in (0, 7):
        empty = verdict(fail_on, inputs_total=total, inputs_scanned=0, inputs_unreadable=total, flagged=0)
        assert (empty.severity, empty.decision, empty.exit_code) == (None, "inconclusive", 3)
        assert "LS201" in empty.rules
        assert empty.reasons[0].startswith("Nothing was scanned")
        assert status(empty, "LS100") is CheckStatus.NOT_ASSESSED
        assert status(empty, "LS205") is CheckStatus.NOT_ASSESSED


@pytest.mark.parametrize(("unreadable", "exit_code"), [(100, 0), (101, 3), (1, 0), (999, 3)])
def test_unreadable_inputs(unreadable, exit_code):
    found = verdict(inputs_unreadable=unreadable, inputs_scanned=1000 - unreadable)
    assert found.exit_code == exit_code
    assert ("LS203" in found.rules) == (exit_code == 3)
    if exit_code:
        assert found.decision == "inconclusive"
        assert found.severity == "none"
        assert f"{unreadable} of 1000" in found.reasons[0]
        assert "--max-unreadable" in found.reasons[0]


def test_the_limit_of_unreadable_inputs_is_the_users():
    assert verdict(max_unreadable=0.0, inputs_unreadable=1, inputs_scanned=999).exit_code == 3
    assert verdict(max_unreadable=0.0).exit_code == 0
    assert verdict(max_unreadable=1.0, inputs_unreadable=999, inputs_scanned=1).exit_code == 0


@pytest.mark.parametrize(
    ("fail_on", "level"), [("critical", 1e-6), ("high", 1e-3), ("medium", 0.01), ("low", 0.05), ("never", 0.05)]
)
def test_too_few_inputs_to_reach_the_gate(fail_on, level):
    assert verdict(FailOn(fail_on), smallest_attainable_p=level).exit_code == 0
    weak = verdict(FailOn(fail_on), smallest_attainable_p=above(level))
    assert weak.exit_code == 3
    assert weak.rules == ("LS100", "LS205")
    assert "cannot reach severity" in weak.reasons[0]


def test_one_input_against_a_thousand_images_cannot_reach_high():
    test = batch_test(flagged=0, above_all=0, inputs=1, calibration_size=1000, alpha=0.01)
    single = verdict(
        inputs_total=1, inputs_scanned=1, flagged=0, smallest_attainable_p=test.smallest_attainable, batch_p_value=1.0
    )
    assert single.exit_code == 3


def test_alpha_that_the_calibration_does_not_support():
    assert verdict(alpha=0.005, smallest_alpha=0.005).exit_code == 0
    found = verdict(alpha=below(0.005), smallest_alpha=0.005, calibration_size=199)
    assert found.exit_code == 3
    assert found.rules == ("LS100", "LS204")
    assert "--alpha 0.005" in found.reasons[0]


@pytest.mark.parametrize(
    ("num_classes", "images", "accuracy", "usable"),
    [
        (10, 200, 0.86, True),
        (10, 200, 0.10, False),
        (10, 10_000, 0.145, False),  # significantly above chance, and still next to nothing
        (10, 10_000, 0.146, True),
        (10, 10, 0.3, False),  # three of ten happens by chance (p = 0.07)
        (10, 10, 0.5, True),
        (2, 1000, 0.52, False),
        (2, 1000, 0.60, True),
        (1000, 5000, 0.05, False),
        (1000, 5000, 0.06, True),
        (10, 200, 0.0, False),
        (1, 200, 1.0, False),  # one output says nothing
        (2, 1, 1.0, False),
    ],
)
def test_accuracy_near_chance(num_classes, images, accuracy, usable):
    for p in (0.5, 1e-9):
        found = verdict(
            num_classes=num_classes,
            reference_images=images,
            clean_accuracy=accuracy,
            batch_p_value=p,
            share_low=0.5,
        )
        if usable:
            assert found.exit_code == (p < 1e-6)
            assert "LS202" not in found.rules
        else:
            assert (found.severity, found.decision, found.exit_code) == (None, "inconclusive", 3)
            assert found.rules == ("LS202",)
            assert "preprocessing" in found.reasons[0]


def test_the_p_value_of_the_accuracy():
    check = next(check for check in verdict(clean_accuracy=0.125).checks if check.id == "LS202")
    assert check.p_value == pytest.approx(stats.binom.sf(24, 200, 0.1), rel=1e-9)


def test_unknown_accuracy_is_not_assessed():
    found = verdict(clean_accuracy=None, labelled=False)
    assert status(found, "LS202") is CheckStatus.NOT_ASSESSED
    assert found.exit_code == 0
    assert found.confidence == "provisional"


# Evidence outranks what would make its absence doubtful


@pytest.mark.parametrize(
    "doubt",
    [
        {"inputs_unreadable": 500, "inputs_scanned": 500},
        {"alpha": 0.001, "smallest_alpha": 0.005},
        {"inputs_unreadable": 500, "inputs_scanned": 500, "alpha": 0.001, "smallest_alpha": 0.005},
    ],
)
def test_evidence_outranks_missing_inputs(doubt):
    found = verdict(batch_p_value=1e-9, share_low=0.1, **doubt)
    assert (found.severity, found.decision, found.exit_code) == ("critical", "quarantine", 1)
    assert found.reasons[0].startswith("Evidence of triggered inputs, severity critical")
    assert len(found.reasons) == len(found.rules) > 1
    # Below the gate the missing inputs could have made the difference.
    assert verdict(batch_p_value=0.01, **doubt).exit_code == 3
    assert verdict(FailOn.NEVER, batch_p_value=0.01, **doubt).exit_code == 0
    assert verdict(FailOn.NEVER, batch_p_value=0.5, **doubt).exit_code == 3


# Confidence


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"labelled": False, "clean_accuracy": None}, "LS301"),
        ({"calibration_size": 98}, "LS302"),
        ({"min_class_count": 9}, "LS303"),
        ({"min_class_count": 0}, "LS303"),
        ({"parity": above(1e-3)}, "LS304"),
    ],
)
def test_provisional(changes, rule):
    found = verdict(**changes)
    assert found.confidence == "provisional"
    assert found.rules == ("LS100", rule)
    assert len(found.reasons) == 2
    assert found.exit_code == 0
    assert verdict(batch_p_value=1e-4, **changes).exit_code == 1


@pytest.mark.parametrize("changes", [{"calibration_size": 99}, {"min_class_count": 10}, {"parity": 1e-3}])
def test_still_calibrated(changes):
    assert verdict(**changes).confidence == "calibrated"


def test_no_framework_to_compare_with_is_not_assessed():
    found = verdict(parity=None)
    assert status(found, "LS304") is CheckStatus.NOT_ASSESSED
    assert found.confidence == "calibrated"


def test_a_self_check_that_failed_makes_the_verdict_provisional():
    """`fit` writes no such profile, and a reader of one that somebody wrote is told."""
    sound, other = sample_header().self_checks
    failed = sound.model_copy(update={"statistic": 0.7, "message": "the scores differ by 0.7 standard deviations"})
    found = verdict(self_checks=(failed, other))
    assert status(found, "LS305") is CheckStatus.FAILED
    assert found.confidence is Confidence.PROVISIONAL
    assert found.rules == ("LS100", "LS305")
    assert "When the profile was fitted, the scores differ by 0.7 standard deviations. Fit it again." in found.reasons
    check = next(check for check in found.checks if check.id == "LS305")
    assert (check.statistic, check.threshold, check.n) == (1, 0, 2)


def test_what_a_profile_says_of_itself_is_shown_as_hostile_text():
    hostile = (
        sample_header().self_checks[0].model_copy(update={"statistic": 9, "message": "\x1b[2J\u202e" + "x" * 10_000})
    )
    for tried in ((hostile,) * 100, (sample_header().self_checks[0], hostile)):
        for text in verdict(self_checks=tried).reasons:
            assert text.isprintable()
            assert len(text) < 2000


def test_a_self_check_at_its_threshold_holds():
    at = sample_header().self_checks[1].model_copy(update={"statistic": 7})
    found = verdict(self_checks=(at,))
    assert status(found, "LS305") is CheckStatus.PASSED
    assert found.confidence is Confidence.CALIBRATED
    passed = next(check for check in found.checks if check.id == "LS305")
    assert at.message in passed.message


def test_a_profile_that_tried_nothing_is_not_assessed():
    found = verdict(self_checks=())
    assert status(found, "LS305") is CheckStatus.NOT_ASSESSED
    assert found.confidence is Confidence.CALIBRATED


# Laws

probabilities = st.floats(0, 1)
positive = st.floats(0, 1000)
scores = st.builds(ScoreShift, st.just("layer"), probabilities, probabilities)
looks = st.builds(LookShift, st.sampled_from(STATISTICS), probabilities, probabilities, positive, positive)
drifts = st.builds(
    DriftEvidence,
    st.integers(0, 2000),
    st.integers(0, 2000),
    st.none() | scores,
    st.lists(looks, max_size=3).map(tuple),
)
demonstrations = st.builds(
    DemonstrationEvidence,
    missing=st.none() | st.just("too few inputs"),
    kind=st.just("patch"),
    does=st.just("moves images"),
    eligible=st.integers(0, 200),
    moved=st.integers(0, 200),
    low=probabilities,
    high=probabilities,
    flagged=st.integers(0, 200),
    control_moved=st.integers(0, 200),
    control_flagged=st.integers(0, 200),
    p_value=probabilities,
    passes=st.integers(0, 5000),
)
units_evidence = st.builds(
    UnitsEvidence,
    p_value=probabilities,
    inputs=st.integers(20, 2000),
    counted=st.booleans(),
    sharing=st.integers(0, 10**6),
    loudest=st.lists(st.tuples(st.text(max_size=20), st.integers(0, 10**4)), max_size=3).map(tuple),
)
nodes = st.lists(st.text(), max_size=30).map(tuple)
structures = st.builds(
    Structure,
    fewest=st.none() | st.integers(0, 3) | st.integers(0, 2**64 - 1),
    bypass=nodes,
    joins=nodes,
    selections=nodes,
    joined=st.integers(0, 2) | st.integers(0, 2**64 - 1),
    selected=st.integers(0, 2) | st.integers(0, 2**64 - 1),
    ambiguous=st.integers(0, 2),
)
evidence = st.builds(
    lambda compared, not_finite, unreadable, **fields: Evidence(
        inputs_total=compared + not_finite + unreadable,
        inputs_scanned=compared + not_finite,
        inputs_unreadable=unreadable,
        inputs_not_finite=not_finite,
        **fields,
    ),
    compared=st.integers(0, 10**6),
    not_finite=st.sampled_from([0, 0, 1, 10**6]),
    unreadable=st.integers(0, 10**6),
    alpha=probabilities,
    smallest_alpha=probabilities,
    flagged=st.integers(0, 10**6),
    batch_p_value=probabilities | st.sampled_from([1e-9, 1e-6, 1e-3, 0.01, 0.05]),
    smallest_attainable_p=probabilities | st.sampled_from([1e-9, 1e-4]),
    share_low=probabilities,
    share=probabilities,
    share_high=probabilities,
    clean_accuracy=st.none() | probabilities,
    reference_images=st.integers(1, 10**4),
    num_classes=st.integers(1, 1000),
    calibration_size=st.integers(1, 10**5),
    labelled=st.booleans(),
    min_class_count=st.integers(0, 1000),
    parity=st.none() | probabilities,
    self_checks=st.lists(self_checks, max_size=3).map(tuple),
    units=st.none() | units_evidence,
    structure=st.none() | structures,
    drift=st.none() | drifts,
    copies=st.none() | st.builds(CopiesEvidence, *(st.integers(0, 1000) for _ in range(4))),
    demonstration=st.none() | demonstrations,
    allow_drift=st.none() | st.just("another camera"),
)


@given(evidence, st.sampled_from(FailOn), probabilities)
def test_laws(evidence, fail_on, max_unreadable):
    found = decide(evidence, fail_on, max_unreadable)
    assert found.exit_code in (0, 1, 3)
    undecided = found.decision is Decision.REVIEW and found.severity in (None, Severity.NONE)
    assert (found.exit_code == 3) == (found.decision is Decision.INCONCLUSIVE or undecided)
    if found.exit_code == 1:
        assert found.severity.rank >= Severity(fail_on.value).rank
    if evidence.inputs_scanned == 0 and not any(rule.startswith("LS5") for rule in found.rules):
        assert found.exit_code == 3
    failed = {check.id for check in found.checks if check.status is CheckStatus.FAILED} - set(FINDING_CHECKS)
    assert failed == {rule for rule in found.rules if not rule.startswith(("LS10", "LS12", "LS5"))}
    assert (found.confidence is Confidence.PROVISIONAL) == any(rule.startswith("LS3") for rule in failed)
    assert len({check.id for check in found.checks}) == len(found.checks) == 20
    for text in (*found.reasons, *(check.message for check in found.checks)):
        assert text.endswith(".")
        assert printable(text) == text


@given(evidence, st.sampled_from(FailOn))
def test_more_evidence_never_lowers_the_exit_code_from_one(evidence, fail_on):
    stronger = dataclasses.replace(evidence, batch_p_value=evidence.batch_p_value / 10)
    if decide(evidence, fail_on).exit_code == 1:
        assert decide(stronger, fail_on).exit_code == 1


def test_a_clean_batch_rarely_fails_the_default_gate():
    """Exact: the probability, over all outcomes of clean batches, that the p-value reaches 'high' is at most 0.001."""
    for size, inputs in ((200, 100), (500, 2000), (99, 30)):
        rank = (size + 1) // 100
        reached = 0.0
        for flagged in range(inputs + 1):
            test = batch_test(flagged=flagged, above_all=0, inputs=inputs, calibration_size=size, alpha=0.01)
            if verdict(batch_p_value=test.p_value).exit_code == 1:
                reached += stats.betabinom.pmf(flagged, inputs, rank, size + 1 - rank)
        assert reached <= 1e-3


# The rules file


def test_the_rules_are_versioned_and_hashed():
    content = (Path(scanner.verdict.__file__).parent / "rules.json").read_bytes()
    rules = load_rules()
    assert rules.sha256 == hashlib.sha256(content).hexdigest()
    assert rules.version == json.loads(content)["version"]
    assert (verdict().rules_version, verdict().rules_sha256) == (rules.version, rules.sha256)
    assert set(rules.decision) == set(Severity)
    assert [rule.severity.rank for rule in rules.severity] == [4, 3, 2, 1]
    assert sorted(rule.max_batch_p for rule in rules.severity) == [rule.max_batch_p for rule in rules.severity]


def test_a_part_of_a_scan_never_passes():
    """Not by a lenient gate, not by an accepted finding; and what was found of it counts."""
    part = {"inputs_total": 1100, "inputs_unreadable": 100, "inputs_missing": 100}
    found = {"batch_p_value": 1e-9, "flagged": 200, "share_low": 0.1}
    assert [verdict(**more).exit_code for more in ({}, part, found, part | found)] == [0, 3, 1, 1]
    assert verdict(FailOn.NEVER, **found).exit_code == 0
    assert verdict(FailOn.NEVER, **part, **found).exit_code == 3
    assert verdict(**part).reasons[0].startswith("100 of 1100 inputs were not scanned")
    reason = Acceptance("known", "2099-01-01", "ignore.toml")
    assert accept(verdict(**found), reason, Severity.CRITICAL).exit_code == 0
    assert accept(verdict(**part, **found), reason, Severity.CRITICAL).exit_code == 1
