"""The verdict of an audit: what follows from every kind of evidence."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from audit_samples import among, evidence, pattern
from hypothesis import given

from scanner.graph.structure.analyse import Structure
from scanner.verdict.audit_rules import load_audit_rules
from scanner.verdict.audit_terms import AuditOutcome
from scanner.verdict.catalogue import catalogue
from scanner.verdict.decide_audit import decide_audit
from scanner.verdict.terms import CheckStatus, Decision, FailOn, Severity

STRONG = (pattern(98),)
NO_NETWORKS = {"compared": None, "why_not_compared": "The program knows no clean networks."}


@pytest.mark.parametrize(
    ("changes", "outcome", "severity", "exit_code"),
    [
        ({}, "none found", "none", 0),
        ({"patterns": STRONG, "compared": among(0.01)}, "evidence", "high", 1),
        ({"compared": among(0.01)}, "anomalous", "medium", 0),
        ({"patterns": STRONG}, "exploitable", "medium", 0),
        ({"patterns": STRONG, **NO_NETWORKS}, "exploitable", "high", 1),
        ({"patterns": (pattern(98, is_patch=False),), **NO_NETWORKS}, "exploitable", "medium", 3),
        ({"patterns": (pattern(98, is_patch=False),)}, "exploitable", "low", 0),
        ({"patterns": (pattern(98, about="one class"),)}, "none found", "none", 0),
        ({"patterns": (pattern(98, about="one pair"),)}, "none found", "none", 0),
        ({"patterns": (pattern(98, about="one pair"),), "compared": among(0.01)}, "evidence", "high", 1),
        ({"patterns": (pattern(79, about="one pair"),), "compared": among(0.01)}, "anomalous", "medium", 0),
        ({"patterns": (pattern(98, about="one class"),), "compared": among(0.01)}, "anomalous", "medium", 0),
        (NO_NETWORKS, "uncalibrated", "none", 3),
        ({"compared": among(0.1, networks=9)}, "uncalibrated", "none", 3),
        ({"complete": False}, "inconclusive", "none", 3),
        ({"complete": False, "patterns": STRONG, "compared": among(0.01)}, "evidence", "high", 1),
        ({"patterns": (), "complete": False, **NO_NETWORKS}, "inconclusive", "none", 3),
        ({"accuracy": 0.1, "patterns": STRONG, "compared": among(0.01)}, "inconclusive", None, 3),
        ({"accuracy": None}, "none found", "none", 0),
        ({"structure": Structure(0, ("Add",))}, "built in", "high", 1),
        ({"structure": Structure(0, ("Add",)), "accuracy": 0.1}, "built in", "high", 1),
    ],
)
def test_what_follows(changes, outcome, severity, exit_code):
    verdict = decide_audit(evidence(**changes))
    assert (verdict.outcome, verdict.severity, verdict.exit_code) == (outcome, severity, exit_code)
    assert verdict.reasons
    assert set(verdict.rules) <= catalogue().keys()
    assert {check.id for check in verdict.checks} <= catalogue().keys()


@given(
    st.builds(
        evidence,
        patterns=st.lists(
            st.builds(
                pattern,
                st.integers(0, 100),
                is_patch=st.booleans(),
                about=st.sampled_from(["all classes", "one class", "one pair"]),
            )
        ).map(tuple),
        complete=st.booleans(),
        compared=st.one_of(st.none(), st.builds(among, st.sampled_from([0.01, 0.05, 0.06, 1.0]), st.integers(1, 200))),
        accuracy=st.one_of(st.none(), st.floats(0, 1)),
        why_not_compared=st.just("None."),
    ).filter(lambda one: one.compared is None or not one.patterns or one.compared.loudest is not None),
    st.sampled_from(FailOn),
)
def test_laws(found, fail_on):
    if found.compared is not None and not found.patterns:
        return  # a comparison names one of the patterns
    verdict = decide_audit(found, fail_on)
    # Statistics alone never condemn a model for good.
    assert verdict.severity is not Severity.CRITICAL
    assert (verdict.exit_code == 1) <= (fail_on is not FailOn.NEVER)
    if verdict.exit_code == 0 and verdict.severity is Severity.NONE:
        # Nothing found counts only where all that it rests on is there.
        assert verdict.decision is Decision.ACCEPT
        assert all(check.status is not CheckStatus.FAILED for check in verdict.checks)
        assert found.complete
        assert found.compared is not None
    if verdict.outcome is AuditOutcome.EVIDENCE:
        assert found.compared is not None
        assert found.compared.p_value <= found.alpha
        assert any(one.about != "one class" and one.rate >= load_audit_rules().min_rate for one in found.patterns)
    assert (verdict.severity is None) == (verdict.decision is Decision.INCONCLUSIVE and "LS611" in verdict.rules)


def test_the_decisive_sentence_comes_first():
    found = decide_audit(evidence(patterns=STRONG, compared=among(0.01)))
    assert "more than they should (p = 0.01)" in found.reasons[0]
    assert "10% in the median, and 30% at most" in found.reasons[0]
    assert "Anybody can repeat this" in found.reasons[1]
    pair = decide_audit(evidence(patterns=(pattern(98, about="one pair"),), compared=among(0.01)))
    assert pair.rules == ("LS606",)
    assert "a patch for these two classes moves 10% in the median" in pair.reasons[0]
    assert "budget ended" in decide_audit(evidence(complete=False)).reasons[0]


@pytest.mark.parametrize(("alpha", "needed"), [(0.05, 19), (0.01, 99), (0.1, 9), (1 / 3, 2)])
def test_as_many_networks_as_a_level_takes(alpha, needed):
    for networks, status in ((needed, "passed"), (needed - 1, "failed")):
        verdict = decide_audit(evidence(alpha=alpha, compared=among(1.0, networks=networks)))
        assert next(check.status for check in verdict.checks if check.id == "LS613") == status
        assert (1 / (networks + 1) <= alpha * (1 + 1e-12)) == (status == "passed")


def test_every_rule_of_audits_is_explained_and_none_is_explained_in_vain():
    rules = load_audit_rules()
    found = {rules.evidence[0], rules.one_class[0], rules.anomaly[0], rules.patch.rule, rules.picture.rule}
    checked = {check.id for check in decide_audit(evidence()).checks}
    assert found | {id for id in checked if id.startswith("LS6")} == {id for id in catalogue() if id.startswith("LS6")}
    assert {id: catalogue()[id].severity for id in found} == {
        rules.evidence[0]: rules.evidence[1],
        rules.one_class[0]: rules.one_class[1],
        rules.anomaly[0]: rules.anomaly[1],
        rules.patch.rule: rules.patch.alone,
        rules.picture.rule: rules.picture.alone,
    }
