"""What the network's graph says, as checks, severities and findings."""

from __future__ import annotations

import pytest
from profile_samples import sample_header
from verdict_samples import verdict

from scanner.graph.structure.analyse import Structure
from scanner.report.findings import find
from scanner.report.schema import BatchSection
from scanner.verdict.catalogue import catalogue
from scanner.verdict.terms import CheckStatus, FailOn, Severity

HONEST = Structure(5)


def checks(found):
    return {check.id: check for check in found.checks if check.id.startswith("LS5")}


@pytest.mark.parametrize(
    ("structure", "rules", "severity"),
    [
        (HONEST, set(), Severity.NONE),
        (Structure(2), set(), Severity.NONE),
        (Structure(0, bypass=("Slice 'a'",)), {"LS501"}, Severity.HIGH),
        (Structure(1, bypass=("Conv 'a'",)), {"LS501"}, Severity.MEDIUM),
        (Structure(4, joins=("Add 'a'",), joined=1), {"LS501"}, Severity.MEDIUM),
        (Structure(0, joins=("Add 'a'",), joined=1), {"LS501"}, Severity.HIGH),
        (Structure(4, selections=("Where 'a'",), selected=1), {"LS502"}, Severity.HIGH),
        (Structure(4, ambiguous=1), {"LS503"}, Severity.HIGH),
        (Structure(1, selections=("Where 'a'",), selected=1), {"LS501", "LS502"}, Severity.HIGH),
        (Structure(None), set(), Severity.NONE),
    ],
)
def test_severity(structure, rules, severity):
    found = verdict(structure=structure)
    assert {rule for rule in found.rules if rule.startswith("LS5")} == rules
    assert {rule for rule, check in checks(found).items() if check.status is CheckStatus.FAILED} == rules
    assert found.severity is severity
    assert found.exit_code == (severity.rank >= Severity.HIGH.rank)
    for check in checks(found).values():
        if check.id in rules:
            assert check.message in found.reasons


def test_the_gate_is_about_the_graph_as_well():
    medium = Structure(1, bypass=("Conv 'a'",))
    assert verdict(structure=medium).exit_code == 0
    assert verdict(FailOn.MEDIUM, structure=medium).exit_code == 1
    assert verdict(FailOn.NEVER, structure=Structure(0)).exit_code == 0


def test_it_needs_no_input():
    found = verdict(inputs_scanned=0, inputs_total=0, structure=Structure(0, bypass=("Where 'x'",)))
    assert found.exit_code == 1
    assert "Where 'x'" in found.reasons[0]


def test_a_profile_that_does_not_say_is_not_assessed():
    found = verdict(structure=None)
    assert {check.status for check in checks(found).values()} == {CheckStatus.NOT_ASSESSED}
    assert found.exit_code == 0


def test_names_are_an_attackers_and_no_longer_than_a_line_can_hold():
    hostile = ("Add '\x1b[2J\u202e" + "x" * 4000 + "'",) * 100
    found = verdict(structure=Structure(0, hostile, hostile, hostile, 10**19, 10**19))
    for text in found.reasons:
        assert text.isprintable()
        assert len(text) < 20_000


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (Structure(0, bypass=("Add 'a'",)), {("LS501", Severity.HIGH)}),
        (Structure(1, bypass=("Add 'a'",)), {("LS501", Severity.MEDIUM)}),
        (Structure(3, selections=("If 'a'",), selected=1), {("LS502", Severity.HIGH)}),
    ],
)
def test_findings_have_the_severity_of_what_was_found(structure, expected):
    from dataclasses import asdict

    from scanner.profile.header import StructureInfo

    model = sample_header().model.model_copy(update={"structure": StructureInfo(**asdict(structure))})
    batch = BatchSection.model_construct(target_classes=())
    found = find(model, batch, verdict(structure=structure), ())
    assert {(one.rule, one.severity) for one in found} == expected
    again = find(model, batch, verdict(structure=structure, flagged=3), ())
    assert [one.id for one in again] == [one.id for one in found]


def test_each_rule_is_explained():
    for rule in ("LS501", "LS502", "LS503"):
        assert catalogue()[rule].severity is Severity.HIGH
