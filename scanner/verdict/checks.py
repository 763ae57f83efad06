"""The checks that a verdict rests on, one function each; those that find something: `scanner.verdict.findings`.

A check states its outcome in one sentence, with the numbers; one that failed also says what to do.
"""

from __future__ import annotations

from typing import Final

from detectors.calibration.binomial import binomial_tail
from scanner.base.text import printable
from scanner.verdict.rules import Rules
from scanner.verdict.terms import Check, CheckStatus, Confidence, Evidence, FailOn

PARTIAL: Final = "LS209"
_LONGEST = 300
_MOST = 5
"""Characters and number of the profile's self-checks that are repeated."""


# What makes the evidence usable


def inputs_scanned(evidence: Evidence) -> Check:
    """Whether anything was scanned at all."""
    scanned = evidence.inputs_scanned
    return Check(
        id="LS201",
        name="inputs scanned",
        status=CheckStatus.of(scanned > 0),
        message=f"{scanned} of {evidence.inputs_total} inputs were scanned."
        if scanned
        else f"Nothing was scanned, of {evidence.inputs_total} inputs found. Check the path and the files.",
        statistic=scanned,
        units="inputs",
        p_value=None,
        threshold=1,
        n=evidence.inputs_total,
        limitations="Says nothing about how well the inputs represent what the model will see.",
    )


def clean_accuracy(evidence: Evidence, rules: Rules) -> Check:
    """Whether the model classifies the clean reference better than a guess would.

    Two conditions: a margin over chance, relative to what is left above chance, so that it asks as much of two
    classes as of a thousand; and an exact binomial test, so that ten images do not pass by luck.
    """
    accuracy, images = evidence.clean_accuracy, evidence.reference_images
    chance = 1 / evidence.num_classes
    threshold = chance + rules.min_skill * (1 - chance)
    p_value = None
    if accuracy is None:
        status = CheckStatus.NOT_ASSESSED
        message = "The accuracy on clean images is unknown, as the reference has no labels."
    else:
        p_value = binomial_tail(round(accuracy * images), images, chance)
        status = CheckStatus.of(accuracy > threshold and p_value <= rules.max_accuracy_p)
        message = f"The model classifies {accuracy:.1%} of {images} clean reference images correctly"
        message += (
            f", chance is {chance:.1%}."
            if status is CheckStatus.PASSED
            else f", which cannot be told from chance ({chance:.1%}): scores mean nothing then. Check the "
            "preprocessing, the labels and their order, and fit again."
        )
    return Check(
        id="LS202",
        name="accuracy on the clean reference",
        status=status,
        message=message,
        statistic=accuracy,
        units="share of images",
        p_value=p_value,
        threshold=threshold,
        n=images,
        limitations="A wrong preprocessing that costs little accuracy goes unnoticed.",
    )


# What makes the absence of findings count


def coverage(evidence: Evidence, max_unreadable: float) -> Check:
    """Whether few enough inputs were unreadable."""
    total, unreadable = evidence.inputs_total, evidence.inputs_unreadable
    share = unreadable / total if total else 0.0
    status = CheckStatus.NOT_ASSESSED if not total else CheckStatus.of(share <= max_unreadable)
    message = f"{unreadable} of {total} inputs ({share:.1%}) could not be read"
    message += (
        f", more than the {max_unreadable:.1%} allowed. Repair or remove them, or raise --max-unreadable."
        if status is CheckStatus.FAILED
        else "."
    )
    return Check(
        id="LS203",
        name="unreadable inputs",
        status=status,
        message=message,
        statistic=share,
        units="share of inputs",
        p_value=None,
        threshold=max_unreadable,
        n=total,
        limitations="Inputs that cannot be read may be the ones that matter.",
    )


def complete(evidence: Evidence) -> tuple[Check, ...]:
    """Whether all parts of the scan are there; told only where one is missing, which somebody has to have allowed."""
    missing, total = evidence.inputs_missing, evidence.inputs_total
    if not missing:
        return ()
    check = Check(
        id=PARTIAL,
        name="all parts of the scan",
        status=CheckStatus.FAILED,
        message=f"{missing} of {total} inputs were not scanned: their parts of the scan are missing. Run these, and "
        "merge again.",
        statistic=missing,
        units="inputs",
        p_value=None,
        threshold=0,
        n=total,
        limitations="The missing inputs may be the ones that matter.",
    )
    return (check,)


def significance_level(evidence: Evidence) -> Check:
    """Whether the calibration is large enough to flag anything at this alpha."""
    passed = evidence.alpha >= evidence.smallest_alpha
    return Check(
        id="LS204",
        name="significance level that the calibration supports",
        status=CheckStatus.of(passed),
        message=f"{evidence.calibration_size} calibration images support alpha {evidence.alpha:.3g}."
        if passed
        else f"{evidence.calibration_size} calibration images cannot flag any input at alpha {evidence.alpha:.3g}. "
        f"Use --alpha {evidence.smallest_alpha:.3g} or more, or fit with a larger reference.",
        statistic=evidence.alpha,
        units="significance level",
        p_value=None,
        threshold=evidence.smallest_alpha,
        n=evidence.calibration_size,
        limitations="A level that is supported may still leave little power.",
    )


def power(evidence: Evidence, fail_on: FailOn, rules: Rules) -> Check:
    """Whether the batch could have reached the severity to fail on."""
    level = rules.level(fail_on.gate)
    attainable = evidence.smallest_attainable_p
    status = CheckStatus.NOT_ASSESSED if not evidence.inputs_compared else CheckStatus.of(attainable <= level)
    scope = f"{evidence.inputs_compared} inputs and {evidence.calibration_size} calibration images"
    message = f"{scope} can reach severity {fail_on.gate}"
    if status is not CheckStatus.PASSED:
        message = (
            f"{scope} cannot reach severity {fail_on.gate} even if every input were triggered "
            f"(smallest attainable p = {attainable:.2g}, needed {level:.2g}). Scan more inputs, or fit with a larger "
            "reference"
        )
    return Check(
        id="LS205",
        name="power of the batch",
        status=status,
        message=message + ".",
        statistic=attainable,
        units="smallest attainable p-value",
        p_value=None,
        threshold=level,
        n=evidence.inputs_compared,
        limitations="Tells whether a batch of nothing but triggered inputs would be noticed, not how few would be.",
    )


def confidence(found: Confidence, demanded: Confidence) -> Check:
    """Whether the verdict is as well founded as the gate demands."""
    passed = found.rank >= demanded.rank
    return Check(
        id="LS206",
        name="confidence that the gate demands",
        status=CheckStatus.of(passed),
        message=f"The verdict is {found}, and the gate demands {demanded}."
        if passed
        else f"The verdict is only {found}, and the gate demands {demanded}. Repair what lowers the confidence, or "
        "lower --min-confidence.",
        statistic=None,
        units="",
        p_value=None,
        threshold=None,
        n=None,
        limitations="Says nothing about how surely a backdoor would be seen.",
    )


# What the confidence rests on


def labels(evidence: Evidence) -> Check:
    """Whether the reference has labels."""
    return Check(
        id="LS301",
        name="labels of the reference",
        status=CheckStatus.of(evidence.labelled),
        message="The reference has labels."
        if evidence.labelled
        else "The reference has no labels: the model's own predictions stood in for them, and a wrong preprocessing "
        "would go unnoticed. Fit with labels if there are any.",
        statistic=None,
        units="",
        p_value=None,
        threshold=None,
        n=evidence.reference_images,
        limitations="Labels are taken as given.",
    )


def calibration_size(evidence: Evidence, rules: Rules) -> Check:
    """Whether the calibration is large enough to trust its false-alarm rate."""
    size = evidence.calibration_size
    passed = size >= rules.min_calibration_size
    return Check(
        id="LS302",
        name="size of the calibration",
        status=CheckStatus.of(passed),
        message=f"{size} calibration images."
        if passed
        else f"Only {size} calibration images: the realised false-alarm rate may be far from alpha. Fit with at least "
        f"{rules.min_calibration_size}.",
        statistic=size,
        units="images",
        p_value=None,
        threshold=rules.min_calibration_size,
        n=size,
        limitations="Says nothing about how well the images represent clean inputs.",
    )


def class_size(evidence: Evidence, rules: Rules) -> Check:
    """Whether every class has enough reference images."""
    count = evidence.min_class_count
    passed = count >= rules.min_class_images
    return Check(
        id="LS303",
        name="reference images of the smallest class",
        status=CheckStatus.of(passed),
        message=f"The smallest class has {count} reference images."
        if passed
        else f"The smallest class has {count} reference images: clean inputs of such classes may raise more alarms. "
        f"Fit with at least {rules.min_class_images} of every class.",
        statistic=count,
        units="images",
        p_value=None,
        threshold=rules.min_class_images,
        n=evidence.reference_images,
        limitations="Says nothing about the variety within a class.",
    )


def export_parity(evidence: Evidence, rules: Rules) -> Check:
    """Whether the scanned graph computes what the original framework does."""
    parity = evidence.parity
    if parity is None:
        status = CheckStatus.NOT_ASSESSED
        message = "The model came as ONNX, so there was no other framework to compare with."
    else:
        status = CheckStatus.of(parity <= rules.max_parity)
        message = f"ONNX Runtime differs from the original framework by {parity:.2g} of the largest activation"
        message += (
            "."
            if status is CheckStatus.PASSED
            else f", more than {rules.max_parity:.2g}: the scanned graph is not quite the model. Report the "
            "architecture, and scan a model exported to ONNX by its author."
        )
    return Check(
        id="LS304",
        name="agreement with the original framework",
        status=status,
        message=message,
        statistic=parity,
        units="relative difference",
        p_value=None,
        threshold=rules.max_parity,
        n=None,
        limitations="Compared on a few probe images only.",
    )


def self_checks(evidence: Evidence) -> Check:
    """Whether the finished graph did, on the reference, what its calibration says."""
    tried = evidence.self_checks
    failed = [check for check in tried if check.statistic > check.threshold]
    if not tried:
        status = CheckStatus.NOT_ASSESSED
        message = "The profile does not say that its graph was tried on the reference."
    else:
        status = CheckStatus.of(not failed)
        # Its author chose the text: nothing of it acts on a terminal or fills the screen.
        outcome = "; ".join(printable(check.message, limit=_LONGEST) for check in (failed or tried)[:_MOST])
        message = f"When the profile was fitted, {outcome}."
        message += " Fit it again." if failed else ""
    return Check(
        id="LS305",
        name="self-checks of the profile",
        status=status,
        message=message,
        statistic=len(failed),
        units="failed self-checks",
        p_value=None,
        threshold=0,
        n=len(tried),
        limitations="Tried when the profile was made, on the machine that made it.",
    )
