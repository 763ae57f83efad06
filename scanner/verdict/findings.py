"""The checks that are findings: the batch test, the units that inputs share, and outputs that are not finite."""

from __future__ import annotations

from scanner.base.text import printable
from scanner.verdict.rules import Rules, SeverityRule
from scanner.verdict.terms import Check, CheckStatus, Evidence, FailOn, Severity, UnitsEvidence

_UNUSUAL = 0.01
"""P-value of all inputs' units up to which it is told that classes may explain them."""
_LONGEST = 300
_MOST = 5
"""Characters and number of the profile's self-checks that are repeated."""


def batch(evidence: Evidence, rule: SeverityRule | None, fail_on: FailOn, rules: Rules, *, assessable: bool) -> Check:
    """Whether the batch holds triggered inputs: the finding itself.

    Args:
        evidence: What the scan found.
        rule: The severity rule that applies; None where nothing follows from the p-values.
        fail_on: The severity to fail on.
        rules: The rules.
        assessable: Whether there are p-values at all.
    """
    if rule is None:
        status = CheckStatus.NOT_ASSESSED
        message = "Whether the batch holds triggered inputs was not assessed."
        if assessable:
            message = f"Whether the batch holds triggered inputs cannot be told: {_counts(evidence)}, but such inputs "
            message += "may be flagged for what they are, without any trigger."
    else:
        status = CheckStatus.of(rule.severity.rank < fail_on.gate.rank)
        message = _found(evidence, rule.severity)
    return Check(
        id="LS100",
        name="triggered inputs in the batch",
        status=status,
        message=message,
        statistic=evidence.flagged,
        units="flagged inputs",
        p_value=evidence.batch_p_value if assessable else None,
        threshold=rules.level(fail_on.gate),
        n=evidence.inputs_compared,
        limitations="Sees only triggers that occur among the scanned inputs, and only if clean inputs are like the "
        "reference: other cameras, subjects or preprocessing raise the same alarm.",
    )


def _found(evidence: Evidence, severity: Severity) -> str:
    counts = _counts(evidence)
    share = (
        f"the share of triggered inputs is estimated at {evidence.share:.2%} "
        f"({evidence.share_low:.2%} to {evidence.share_high:.2%})"
    )
    if severity is Severity.NONE:
        return f"Nothing beyond chance was found: {counts}; {share}."
    return f"Evidence of triggered inputs, severity {severity}: {counts}; {share}."


def _counts(evidence: Evidence) -> str:
    # An input has a p-value of at most alpha with a probability of at most alpha.
    expected = evidence.alpha * evidence.inputs_compared
    return (
        f"{evidence.flagged} of {evidence.inputs_compared} inputs were flagged where at most {expected:.3g} "
        f"are expected by chance (batch p = {evidence.batch_p_value:.2g})"
    )


def shared_units(evidence: Evidence, fail_on: FailOn, rules: Rules, *, usable: bool) -> Check:
    """Whether the inputs share units that clean images do not: the part of the finding that names the place."""
    units, level = evidence.units, rules.level(fail_on.gate)
    if units is None or not usable:
        status = CheckStatus.NOT_ASSESSED
        message = "Whether the inputs share units was not assessed."
    else:
        # Half of the error is this test's, and half that of the densities. Where these find the batch unusual as well,
        # all inputs that share units count, also those of classes that the reference hardly has.
        p_value = min(units.p_value, units.any_class) if units.counted else units.p_value
        status = CheckStatus.of(2 * p_value > level)
        # What counts for single inputs is told, even where the gate asks for more evidence.
        message = _shared(units, found=units.counted or status is CheckStatus.FAILED)
    return Check(
        id="LS113",
        name="units that inputs share",
        status=status,
        message=message,
        statistic=None if units is None else units.sharing,
        units="inputs louder in shared units than every clean image",
        p_value=None if units is None or not usable else units.p_value,
        threshold=level / 2,
        n=None if units is None else evidence.inputs_compared,
        limitations="Compares inputs with clean images that look alike to a late layer, or are predicted as the same "
        "class: a kind of picture that the reference lacks shares units without any trigger.",
    )


def _shared(units: UnitsEvidence, *, found: bool) -> str:
    over = f"(p = {units.p_value:.2g} over {units.inputs} distinct inputs)"
    if not found and units.any_class <= _UNUSUAL:
        return (
            f"The inputs share units, but these may be those of classes of which the reference has too few images: "
            f"with no more inputs of a class than it has, p = {units.p_value:.2g} instead of {units.any_class:.2g}, "
            "and the densities find nothing. More clean images of these classes would tell."
        )
    if not found:
        return f"The inputs share no units beyond what clean images like them do {over}."
    if units.any_class < units.p_value:
        over = f"(p = {units.any_class:.2g} over {units.inputs} distinct inputs, {units.p_value:.2g} with no more "
        over += "inputs of a class than clean images of it)"
    named = ", ".join(f"channel {channel} of {printable(key, limit=100)}" for key, channel in units.loudest)
    counted = f"; {units.sharing} inputs are louder in such units than every clean image" if units.counted else ""
    place = ""
    if units.place is not None:
        row, column, inputs, looked_at = units.place
        where = f"{row:.0%} of the picture's height and {column:.0%} of its width"
        place = f", {inputs} of {looked_at} of them at {where}"
    return f"The inputs share units that clean images do not {over}, above all {named}{counted}{place}."


def finite_outputs(evidence: Evidence, rules: Rules) -> Check:
    """Whether the network's outputs are finite: a finding that needs no calibration."""
    count, scanned, rule = evidence.inputs_not_finite, evidence.inputs_scanned, rules.not_finite
    status = CheckStatus.NOT_ASSESSED if not scanned else CheckStatus.of(not rule.applies(evidence))
    message = {
        CheckStatus.NOT_ASSESSED: "Whether the network's outputs are finite was not assessed.",
        CheckStatus.PASSED: f"Logits and scores of all {scanned} scanned inputs are finite.",
        CheckStatus.FAILED: f"Outputs that are not finite, severity {rule.severity}: for {count} of {scanned} inputs "
        "the network's logits or scores are infinite or no numbers, as for no clean reference image. These inputs are "
        "flagged, and counted apart from the others.",
    }[status]
    return Check(
        id=rule.rule,
        name="finite outputs",
        status=status,
        message=message,
        statistic=count,
        units="inputs",
        p_value=None,
        threshold=rule.min_inputs,
        n=scanned,
        limitations="A network that overflows on some clean images is reported as well. What is not finite only at "
        "layers that are not looked at goes unnoticed.",
    )
