"""Whether the inputs that are not flagged are like the reference, and what follows where they are not."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from scanner.base.text import printable
from scanner.verdict.rules import NO_FINDING, Rules, SeverityRule
from scanner.verdict.terms import Check, CheckStatus, DriftEvidence, Evidence, LookShift, Severity

LIKE: Final = "LS207"
_TOLD: Final = 3
"""Differences in looks that are told."""
_WORDS: Final = {
    "brightness": ("brighter", "darker"),
    "contrast": ("richer in contrast", "poorer in contrast"),
    "sharpness": ("sharper", "blurrier"),
    "noise": ("noisier", "smoother"),
    "blocking": ("more marked by JPEG blocks", "less marked by JPEG blocks"),
    "red against green": ("redder", "greener"),
    "blue against green": ("bluer", "yellower"),
    "colourfulness": ("more colourful", "less colourful"),
    "size": ("larger", "smaller"),
    "aspect": ("wider", "narrower"),
}
"""Of a higher and of a lower median."""


class Rest(StrEnum):
    """What the inputs that are not flagged are."""

    ALIKE = "alike"
    DRIFTED = "drifted"
    LOOKS_DIFFERENT = "looks different"
    TOO_FEW = "too few"


def rest_of(evidence: Evidence, rules: Rules) -> Rest:
    """What they are, by the network's scores first, and by what they look like second."""
    drift = evidence.drift
    if drift is None or drift.score is None or drift.rest < rules.drift.min_rest:
        return Rest.TOO_FEW
    if rules.drift.drifted(drift.score):
        return Rest.DRIFTED
    return Rest.LOOKS_DIFFERENT if any(rules.drift.drifted(look) for look in drift.looks) else Rest.ALIKE


def admissible(evidence: Evidence, rules: Rules) -> SeverityRule | None:
    """The severity rule that the batch's p-value supports; None where nothing follows from it.

    A shown trigger settles it: then the flagged inputs are no drift. Otherwise inputs that the network sees as unlike
    the reference make every p-value meaningless. Inputs that only look unlike it cannot explain why nothing is flagged,
    but they may explain why something is. Where next to none are left to compare, most of a batch that is flagged may
    be anything.
    """
    rule = next((rule for rule in rules.severity if rule.applies(evidence)), NO_FINDING)
    if rules.demonstration.applies(evidence):
        return rule
    left, found = rest_of(evidence, rules), rule.severity is not Severity.NONE
    allowed = evidence.allow_drift is not None
    if left is Rest.DRIFTED and not allowed:
        return None
    if left is Rest.LOOKS_DIFFERENT and found and not allowed:
        return None
    if left is Rest.TOO_FEW and found and evidence.drift is not None and _mostly_flagged(evidence.drift):
        return None
    if left is Rest.ALIKE:
        return rule
    return _at_most(rule, rules)


def _mostly_flagged(drift: DriftEvidence) -> bool:
    return 2 * drift.rest < drift.looked_at


def _at_most(rule: SeverityRule, rules: Rules) -> SeverityRule:
    most = rules.drift.most_without_rest
    if rule.severity.rank <= most.rank:
        return rule
    return next(lesser for lesser in rules.severity if lesser.severity is most)


def like_the_reference(evidence: Evidence, rules: Rules) -> Check:
    """Whether the inputs that are not flagged are like the reference, as far as the verdict needs to know."""
    drift, left = evidence.drift, rest_of(evidence, rules)
    shown, allowed = rules.demonstration.applies(evidence), evidence.allow_drift
    unusable = evidence.inputs_compared > 0 and admissible(evidence, rules) is None
    status = CheckStatus.FAILED if unusable else CheckStatus.PASSED
    if left is Rest.TOO_FEW and not unusable:
        status = CheckStatus.NOT_ASSESSED
    message = _message(drift, left, rules)
    if unusable:
        message += (
            " So nothing follows from what is flagged and what is not. Look at the inputs; fit with images of their "
            "kind, or say why they are as they should be with --allow-drift."
        )
    elif left in (Rest.DRIFTED, Rest.LOOKS_DIFFERENT):
        if shown:
            message += " The trigger that was shown stands without them."
        elif allowed is not None:
            message += f" Allowed: {printable(allowed, limit=300)}."
    score = None if drift is None else drift.score
    return Check(
        id=LIKE,
        name="inputs like the reference",
        status=status,
        message=message,
        statistic=None if score is None else score.distance,
        units="largest distance of distribution functions",
        p_value=None if score is None else score.p_value,
        threshold=rules.drift.max_p,
        n=None if drift is None else drift.rest,
        limitations="Compares inputs that are not flagged with the reference. It cannot tell a batch of nothing but "
        "triggered inputs from inputs of another kind.",
    )


def _message(drift: DriftEvidence | None, left: Rest, rules: Rules) -> str:
    if drift is None:
        return "There are no inputs to compare with the reference."
    if left is Rest.TOO_FEW or drift.score is None:
        return (
            f"Of {drift.looked_at} different inputs that are not the reference's own, {drift.rest} are not flagged: "
            f"too few to tell whether the inputs are like the reference ({rules.drift.min_rest} are needed)."
        )
    score = drift.score
    told = f"(largest distance {score.distance:.2f}, in {printable(score.name, limit=100)}, p = {score.p_value:.2g})"
    if left is Rest.ALIKE:
        return f"The {drift.rest} inputs that are not flagged are like the reference {told}."
    if left is Rest.DRIFTED:
        text = f"The inputs are unlike the reference: the network sees a difference even in the {drift.rest} that are "
        text += f"not flagged {told}."
    else:
        text = f"The inputs look unlike the reference, even the {drift.rest} that are not flagged."
    looks = [look for look in drift.looks if rules.drift.drifted(look)]
    if looks:
        text += f" They are {', '.join(_look(look) for look in looks[:_TOLD])}."
    return text


def _look(look: LookShift) -> str:
    higher, lower = _WORDS.get(look.name, (f"higher in {look.name}", f"lower in {look.name}"))
    numbers = f"median {look.inputs:.3g} against {look.reference:.3g}"
    if f"{look.inputs:.3g}" == f"{look.reference:.3g}":
        return f"different in {look.name} (distance {look.distance:.2f})"
    return f"{higher if look.inputs > look.reference else lower} ({numbers})"
