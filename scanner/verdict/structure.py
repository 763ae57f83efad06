"""The checks of how the network's graph is built: findings that need no image."""

from __future__ import annotations

from scanner.graph.structure import words
from scanner.graph.structure.analyse import Structure
from scanner.verdict.rules import Rules, load_rules
from scanner.verdict.terms import Check, CheckStatus, Evidence, Severity

RULES = (words.BYPASS, words.SELECTION, words.AMBIGUOUS)
_UNKNOWN = "The profile does not say how the graph is built. Fit it again."
_LIMITATIONS = (
    "Sees what is built beside the network, not what is in its weights: a detector made of convolutions, alone or "
    "within the network, looks like any other network. The scan of inputs is for that."
)

Found = tuple[Check, str | None, Severity | None]
"""A check, and the rule that applied with its severity: None where none did."""


def structure_findings(evidence: Evidence, rules: Rules) -> list[Found]:
    """A check for each rule about the graph."""
    structure = evidence.structure
    if structure is None:
        return [(_not_assessed(rule), None, None) for rule in RULES]
    return _assessed(structure, rules)


def graph_checks(structure: Structure) -> list[Found]:
    """A check for each rule about a graph alone."""
    return _assessed(structure, load_rules())


def graph_findings(structure: Structure) -> list[tuple[str, str]]:
    """Of a graph alone, without a scan: rule and sentence of every check."""
    return [(check.id, check.message) for check, _, _ in _assessed(structure, load_rules())]


def graph_severity(structure: Structure) -> Severity:
    """The severest of what a graph alone shows."""
    found = [severity for _, _, severity in _assessed(structure, load_rules()) if severity]
    return max(found, key=lambda severity: severity.rank, default=Severity.NONE)


def bypass_severity(structure: Structure, rules: Rules) -> Severity | None:
    """How bad what leads around the weights is, or None where nothing does."""
    if structure.fewest is not None and structure.fewest in rules.structure.bypass:
        return rules.structure.bypass[structure.fewest]
    return _if(structure.joined > 0, rules.structure.joins)


def _assessed(structure: Structure, rules: Rules) -> list[Found]:
    bypass, selects = bypass_severity(structure, rules), _if(structure.selected > 0, rules.structure.selection)
    ambiguous = _if(structure.ambiguous > 0, rules.structure.ambiguous)
    return [
        (_bypass(structure, bypass), *_applied(words.BYPASS, bypass)),
        (_selection(structure, selects), *_applied(words.SELECTION, selects)),
        (_ambiguous(structure, ambiguous), *_applied(words.AMBIGUOUS, ambiguous)),
    ]


def _if(applies: bool, severity: Severity) -> Severity | None:
    return severity if applies else None


def _applied(rule: str, severity: Severity | None) -> tuple[str | None, Severity | None]:
    return (None, None) if severity is None else (rule, severity)


def _not_assessed(rule: str) -> Check:
    return _check(rule, CheckStatus.NOT_ASSESSED, _UNKNOWN, None)


def _bypass(structure: Structure, severity: Severity | None) -> Check:
    found = words.bypass(structure)
    if severity is None or found is None:
        least = structure.fewest
        message = "No path leads from the image to the logits."
        if least is not None:
            message = f"Every path from the image to the logits passes at least {least} operators with weights."
        return _check(words.BYPASS, CheckStatus.PASSED, message, least)
    return _check(words.BYPASS, CheckStatus.FAILED, _finding(found, severity), structure.fewest)


def _selection(structure: Structure, severity: Severity | None) -> Check:
    sentence = words.selection(structure)
    if severity is None:
        return _check(words.SELECTION, CheckStatus.PASSED, f"{sentence}.", 0)
    return _check(words.SELECTION, CheckStatus.FAILED, _finding(sentence, severity), structure.selected)


def _ambiguous(structure: Structure, severity: Severity | None) -> Check:
    if severity is None:
        message = "No tensor of the model file has values that are stored more than once."
        return _check(words.AMBIGUOUS, CheckStatus.PASSED, message, 0)
    sentence = (
        f"Values of {structure.ambiguous} tensors are stored more than once, so that readers may disagree on them"
    )
    return _check(words.AMBIGUOUS, CheckStatus.FAILED, _finding(sentence, severity), structure.ambiguous)


def _finding(sentence: str, severity: Severity) -> str:
    return f"The graph looks built to hide something, severity {severity}: {sentence}."


def _check(rule: str, status: CheckStatus, message: str, statistic: int | None) -> Check:
    name, units, threshold = {
        words.BYPASS: ("paths around the weights", "operators with weights on the shortest path", 2),
        words.SELECTION: ("choices by values of the pixels", "nodes", 1),
        words.AMBIGUOUS: ("values stored more than once", "tensors", 1),
    }[rule]
    return Check(
        id=rule,
        name=name,
        status=status,
        message=message,
        statistic=statistic,
        units=units,
        p_value=None,
        threshold=threshold,
        n=None,
        limitations=_LIMITATIONS,
    )
