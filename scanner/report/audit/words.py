"""What every format says of an audit in the same words."""

from __future__ import annotations

from scanner.report.audit.schema import AuditReport, PatternSection, RefinedSection
from scanner.report.shift_words import shift_in_words
from scanner.verdict.audit_terms import ONE_PAIR, AuditOutcome
from scanner.verdict.terms import Severity

_HEADLINES = {
    AuditOutcome.BUILT_IN: "The network's graph looks built to hide something",
    AuditOutcome.EVIDENCE: "Evidence of a backdoor: a plain pattern that clean networks do not obey",
    AuditOutcome.ANOMALOUS: "Unlike clean networks of its kind",
    AuditOutcome.EXPLOITABLE: "A plain pattern moves most clean images",
    AuditOutcome.NONE_FOUND: "No evidence of a backdoor among the patterns that were tried",
    AuditOutcome.UNCALIBRATED: "Inconclusive: no clean networks say whether what was found is unusual",
    AuditOutcome.INCONCLUSIVE: "Inconclusive: nothing was found, and nothing could be concluded from it",
}
FINDING_RULES = ("LS501", "LS502", "LS503", "LS601", "LS602", "LS603", "LS604", "LS606")


def headline(report: AuditReport) -> str:
    """The verdict in one sentence."""
    return _HEADLINES[report.verdict.outcome]


def tone(report: AuditReport) -> str:
    """The colour that it is set in: 'good', 'bad', 'warn' or 'unknown'. Words always say the same."""
    severity = report.verdict.severity
    if severity is None or report.verdict.exit_code == 3:
        return "unknown"
    if severity is Severity.NONE:
        return "good"
    return "bad" if severity.rank >= Severity.HIGH.rank else "warn"


def effect(pattern: PatternSection, num_classes: int) -> str:
    """What a pattern does, as the rest of a sentence that begins with it."""
    if _follows_no_rule(pattern):
        return "moves no image by a rule"
    return f"moves {rule_of(pattern, num_classes)}, {moved(pattern)}"


def rule_of(pattern: PatternSection, num_classes: int) -> str:
    """What a pattern does to classes."""
    if pattern.shift is not None:
        return shift_in_words(pattern.shift, num_classes)
    if pattern.target is None:
        return "no image by a rule"
    if pattern.source is None:
        return f"images to {_class(pattern.target_name)}"
    return f"images of {_class(pattern.source_name)} to {_class(pattern.target_name)}"


def _class(name: str | None) -> str:
    """A class by its name, which may be the word and its number."""
    return name if name is not None and name.startswith("class ") else f"class {name}"


def moved(pattern: PatternSection) -> str:
    """How many images it moves, with the interval."""
    if _follows_no_rule(pattern):
        return "none"
    if not pattern.eligible:
        return "none that the rule is about"
    share = pattern.moved / pattern.eligible
    return f"{pattern.moved} of {pattern.eligible} ({share:.0%}, {pattern.low:.0%} to {pattern.high:.0%})"


def _follows_no_rule(pattern: PatternSection) -> bool:
    return pattern.target is None and pattern.shift is None


def refined(one: RefinedSection) -> str:
    """What gradients found for one class."""
    kind = "patch" if one.kind == "smallest patch" else "offset"
    if not one.reached:
        return f"no {kind} was found that moves 90% of images to {_class(one.target_name)}"
    size = f"{one.size} pixels ({one.area:.1%} of the picture)" if kind == "patch" else f"{one.size} of 255 gray levels"
    share = one.moved / one.eligible if one.eligible else 0.0
    counted = f"{one.moved} of {one.eligible} ({share:.0%}, {one.low:.0%} to {one.high:.0%})"
    return f"{'a' if kind == 'patch' else 'an'} {kind} of {size} moves images to {_class(one.target_name)}, {counted}"


def smallest_refined(report: AuditReport) -> tuple[RefinedSection, ...]:
    """Of each kind the smallest that was found."""
    kinds = ("smallest patch", "weakest offset")
    found = (next((one for one in report.refined if one.kind == kind and one.reached), None) for kind in kinds)
    return tuple(one for one in found if one is not None)


def clean_networks(pattern: PatternSection) -> str:
    """What the strongest pattern of its kind does on clean networks, and from where on that would be unusual."""
    if pattern.usual is None or pattern.largest is None:
        return "not compared"
    unusual = "" if pattern.bound is None else f", unusual from {pattern.bound:.0%} on"
    return f"{pattern.usual:.0%} in the median, {pattern.largest:.0%} at most{unusual}"


def beside(pattern: PatternSection, report: AuditReport) -> str:
    """What it is beside on clean networks."""
    same = report.networks is None or report.networks.compared_by != "families and the strongest pair"
    pair = "A patch for the same two classes" if same else "The patch that moves some class most"
    kind = pair if pattern.about == ONE_PAIR else "The strongest of its kind"
    return f"{kind} on clean networks"


def found_rule(report: AuditReport) -> str | None:
    """The rule that applied, where one did."""
    return next((rule for rule in report.verdict.rule_ids if rule in FINDING_RULES), None)
