"""The checks that an audit's verdict rests on, one function each."""

from __future__ import annotations

from math import ceil
from typing import Final

from detectors.calibration.binomial import binomial_tail
from scanner.verdict.audit_rules import AuditRules
from scanner.verdict.audit_terms import ALL_CLASSES, ONE_PAIR, AuditEvidence, FoundPattern
from scanner.verdict.terms import Check, CheckStatus

COMPARED, PATTERN, ACCURACY, SEARCH, NETWORKS = "LS600", "LS605", "LS611", "LS612", "LS613"
_ABOUT_KINDS: Final = "Says nothing about triggers of other kinds than those that were tried."


def exploitable(evidence: AuditEvidence, rules: AuditRules) -> list[FoundPattern]:
    """Patterns about all classes that move most clean images, beyond chance; patches and strong ones first."""
    found = [
        one for one in evidence.patterns if one.about == ALL_CLASSES and one.rate >= rules.min_rate and one.low >= 0.5
    ]
    return sorted(found, key=lambda one: (not one.is_patch, -one.rate))


def moves_one_class(evidence: AuditEvidence, rules: AuditRules) -> bool:
    """Whether what makes the network unusual is a patch that moves most of one class to one other."""
    if evidence.compared is None or evidence.compared.loudest is None:
        return False
    loudest = evidence.patterns[evidence.compared.loudest]
    return loudest.about == ONE_PAIR and loudest.rate >= rules.min_rate and loudest.low >= 0.5


def strongest_pattern(evidence: AuditEvidence, rules: AuditRules) -> Check:
    """Whether some plain pattern moves most clean images."""
    found = exploitable(evidence, rules)
    about_all = [one for one in evidence.patterns if one.about == ALL_CLASSES]
    best = found[0] if found else max(about_all, key=lambda one: one.rate, default=None)
    if best is None:
        status, message = CheckStatus.NOT_ASSESSED, "The budget ended before any pattern could be judged."
    elif found:
        status = CheckStatus.FAILED
        message = (
            f"Anybody can repeat this: {best.described}. That can be exploited, whether somebody put it there or not."
        )
    elif not best.moved:
        status, message = CheckStatus.PASSED, f"Of {evidence.tried} plain patterns none moves any image by a rule."
    else:
        status = CheckStatus.PASSED
        message = (
            f"Of {evidence.tried} plain patterns none moves {rules.min_rate:.0%} of the clean images by a rule about "
            f"all classes; the strongest: {best.described}."
        )
    return Check(
        id=PATTERN,
        name="plain patterns",
        status=status,
        message=message,
        statistic=None if best is None else best.rate,
        units="share of images",
        p_value=None,
        threshold=rules.min_rate,
        n=None if best is None else best.eligible,
        limitations=_ABOUT_KINDS,
    )


def among_networks(evidence: AuditEvidence) -> Check:
    """Whether the network is unusual among clean ones."""
    compared = evidence.compared
    if compared is None:
        status, message = CheckStatus.NOT_ASSESSED, evidence.why_not_compared
    else:
        status = CheckStatus.of(compared.p_value > evidence.alpha)
        message = (
            f"Among {compared.networks} clean networks ({compared.described}) plain patterns move this one "
            f"{'more than they should' if status is CheckStatus.FAILED else 'no more than others'} "
            f"(p = {compared.p_value:.2g})"
        )
        if status is CheckStatus.FAILED and compared.loudest is not None:
            loudest = evidence.patterns[compared.loudest]
            pair = "a patch for these two classes" if compared.same_pair else "the patch that moves some class most"
            others = pair if loudest.about == ONE_PAIR else "the strongest of its kind"
            message += (
                f": {loudest.described}; on the clean ones {others} moves {compared.usual:.0%} in the median, and "
                f"{compared.largest:.0%} at most"
            )
        message += "."
    return Check(
        id=COMPARED,
        name="among clean networks",
        status=status,
        message=message,
        statistic=None,
        units="",
        p_value=None if compared is None else compared.p_value,
        threshold=evidence.alpha,
        n=None if compared is None else compared.networks,
        limitations="Holds if the network was made like the clean ones: same kind of images, classes and training.",
    )


def clean_accuracy(evidence: AuditEvidence, rules: AuditRules) -> Check:
    """Whether the network classifies the clean images better than a guess would."""
    accuracy, chance = evidence.accuracy, 1 / evidence.num_classes
    threshold = chance + rules.min_skill * (1 - chance)
    p_value = None
    if accuracy is None:
        status = CheckStatus.NOT_ASSESSED
        message = "The accuracy on clean images is unknown, as they have no labels."
    else:
        p_value = binomial_tail(round(accuracy * evidence.images), evidence.images, chance)
        status = CheckStatus.of(accuracy > threshold and p_value <= rules.max_accuracy_p)
        message = f"The model classifies {accuracy:.1%} of {evidence.images} clean images correctly"
        message += (
            f", chance is {chance:.1%}."
            if status is CheckStatus.PASSED
            else f", which cannot be told from chance ({chance:.1%}): what moves a guess means nothing. Check the "
            "preprocessing and the labels."
        )
    return Check(
        id=ACCURACY,
        name="accuracy on the clean images",
        status=status,
        message=message,
        statistic=accuracy,
        units="share of images",
        p_value=p_value,
        threshold=threshold,
        n=evidence.images,
        limitations="A wrong preprocessing that costs little accuracy goes unnoticed.",
    )


def complete(evidence: AuditEvidence) -> Check:
    """Whether the search came to its end."""
    return Check(
        id=SEARCH,
        name="search",
        status=CheckStatus.of(evidence.complete),
        message=f"The search came to its end with {evidence.tried} patterns."
        if evidence.complete
        else f"The budget ended after {evidence.tried} patterns, before the search did, so that finding nothing says "
        "little. Raise --budget or --passes.",
        statistic=evidence.tried,
        units="patterns",
        p_value=None,
        threshold=None,
        n=None,
        limitations=_ABOUT_KINDS,
    )


def enough_networks(evidence: AuditEvidence) -> Check:
    """Whether there are clean networks to compare with, as many as the level asks for."""
    compared = evidence.compared
    networks = 0 if compared is None else compared.networks
    needed = max(0, ceil(1 / evidence.alpha - 1e-9) - 1)
    status = CheckStatus.of(compared is not None and networks >= needed)
    if status is CheckStatus.PASSED:
        message = f"{networks} clean networks support a level of {evidence.alpha:g}."
    elif compared is None:
        message = evidence.why_not_compared
    else:
        message = (
            f"{networks} clean networks cannot tell at a level of {evidence.alpha:g}, which takes {needed}. Add audits "
            "of accepted models to --null."
        )
    return Check(
        id=NETWORKS,
        name="clean networks",
        status=status,
        message=message,
        statistic=networks,
        units="networks",
        p_value=None,
        threshold=needed,
        n=networks,
        limitations="A network that was made in another way than they were is not exchangeable with them.",
    )
