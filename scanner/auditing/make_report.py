"""Everything that an audit knows, as a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from detectors.probing.null import Comparison
from detectors.probing.probing import STATISTICS, Probed
from detectors.probing.search import ABOUT_ALL
from scanner.auditing.clean_networks import CleanNetworks
from scanner.auditing.compare import FAMILIES, PAIRS, Compared
from scanner.auditing.describe import Found, evidence_of
from scanner.auditing.open_audit import OpenedAudit
from scanner.auditing.options import AuditOptions
from scanner.auditing.refine_model import Refinement
from scanner.fitting.model_info import model_info, preprocess_info
from scanner.inputs.threads import usable_cores
from scanner.models.trust import trust_warnings
from scanner.report.audit.build import build_audit
from scanner.report.audit.schema import (
    AuditedImages,
    AuditReport,
    NetworksSection,
    PairsSection,
    PatternSection,
    SearchSection,
)
from scanner.report.build import preprocess_section
from scanner.report.policy import policy_section
from scanner.report.run import Engine, Timing, describe_run, source_date_epoch
from scanner.report.triage import IgnoreFile, accept_model, ignore_warnings
from scanner.verdict.audit_terms import ONE_PAIR, AmongNetworks, AuditEvidence
from scanner.verdict.decide_audit import decide_audit


@dataclass(frozen=True)
class Outcome:
    """What an audit came to.

    Attributes:
        probed: What probing found.
        compared: The network among clean ones.
        refinement: What gradients made of it.
        ignore: What people said of earlier findings; None without an ignore file.
    """

    probed: Probed
    compared: Compared
    refinement: Refinement
    ignore: IgnoreFile | None


def make_report(opened: OpenedAudit, outcome: Outcome, options: AuditOptions, timing: Timing) -> AuditReport:
    """The verdict and the report of a finished audit."""
    probed, compared, ignore = outcome.probed, outcome.compared, outcome.ignore
    found = Found(probed, opened.images.pixels, opened.names, compared.comparison, compared.pair)
    patterns, refined = found.sections(), found.refined(outcome.refinement.found)
    evidence = AuditEvidence(
        images=len(opened.images.items),
        accuracy=opened.accuracy,
        num_classes=opened.subject.model.num_classes,
        patterns=evidence_of(patterns, opened.subject.model.num_classes),
        tried=probed.tried,
        complete=probed.complete,
        alpha=options.alpha,
        compared=_among(compared, patterns),
        why_not_compared=compared.why_not,
        structure=opened.subject.model.structure,
    )
    engine = Engine(options.opening.device, opened.provider, usable_cores(), options.opening.isolation)
    audited, today = _audited(opened, options), (source_date_epoch(os.environ) or timing.started_at).date()
    verdict = accept_model(decide_audit(evidence, options.fail_on), audited["model"], ignore, today)
    if options.policy is not None and (loosened := options.policy.loosened) is not None:
        # A person who reads one line is to know that a file decided about this gate.
        verdict = replace(verdict, reasons=(loosened, *verdict.reasons))
    parts: dict[str, Any] = {
        **audited,
        "warnings": (
            *audited["warnings"],
            *_without_pairs(compared),
            *_not_refined(outcome.refinement),
            *ignore_warnings(ignore, (), audited["model"], today),
        ),
        "policy": policy_section(options.policy, None, None if ignore is None else ignore.sha256),
        "search": _search(probed, options),
        "patterns": patterns,
        "pairs": _pairs(probed),
        "refined": refined,
        "networks": _networks(compared, options),
        "pictures": found.pictures,
    }
    return build_audit(verdict, describe_run(timing, engine, sys.argv[1:]), parts)


def _audited(opened: OpenedAudit, options: AuditOptions) -> dict[str, Any]:
    """Sections about the model and the clean images."""
    model, images, preprocess = opened.subject.model, opened.images, opened.subject.preprocess
    return {
        "model": model_info(model, options.opening),
        "num_classes": model.num_classes,
        "input_shape": images.pixels.shape[1:],
        "clean": AuditedImages(
            name=options.opening.clean.absolute().name or "/",
            images=len(images.items),
            unreadable=images.unreadable,
            digest=images.digest,
            accuracy=opened.accuracy,
        ),
        "preprocess": preprocess_section(preprocess_info(preprocess)),
        "warnings": (*preprocess.warnings, *trust_warnings(model)),
    }


def _not_refined(refinement: Refinement) -> tuple[str, ...]:
    if refinement.why_not:
        return (f"Patterns were not refined: {refinement.why_not}.",)
    if refinement.complete:
        return ()
    return (
        f"The budget ended before refinement did: {len(refinement.found)} patterns were finished, and what is missing "
        "says nothing. Raise --budget.",
    )


def _without_pairs(compared: Compared) -> tuple[str, ...]:
    if compared.networks is None:
        return ()
    if compared.networks.pairs.strongest is not None:
        return (
            "Classes look too much alike to compare pair by pair: of all pairs only the one that is moved most is "
            "compared, and a backdoor in one class may well not be noticed.",
        )
    if not (why := compared.networks.pairs.why_not):
        return ()
    return (f"{why} Compared by patterns about all classes alone: a backdoor in one class would not be noticed.",)


def _pairs(probed: Probed) -> PairsSection | None:
    if probed.pairs is None or probed.looks is None:
        return None
    return PairsSection(
        moved=tuple(tuple(row) for row in probed.pairs.moved.tolist()),
        looks=tuple(tuple(row) for row in probed.looks.tolist()),
    )


def _search(probed: Probed, options: AuditOptions) -> SearchSection:
    return SearchSection(
        seed=options.opening.seed,
        budget_s=options.budget,
        budget_passes=options.passes,
        passes=probed.passes,
        tried=probed.tried,
        complete=probed.complete,
        searched_on=probed.searched_on,
        verified_on=probed.verified_on,
    )


def _among(compared: Compared, patterns: Sequence[PatternSection]) -> AmongNetworks | None:
    networks, comparison = compared.networks, compared.comparison
    if networks is None or comparison is None:
        return None
    by_pairs = comparison.group == PAIRS
    loudest = ("patch", ONE_PAIR) if by_pairs else (STATISTICS[comparison.loudest], ABOUT_ALL)
    positions = [number for number, one in enumerate(patterns) if (one.family, one.about) == loudest]
    return AmongNetworks(
        p_value=comparison.p_value,
        networks=comparison.networks,
        described=networks.described,
        loudest=positions[0] if positions else None,
        usual=float(comparison.medians[comparison.loudest]),
        largest=float(comparison.largest[comparison.loudest]),
        same_pair=networks.pairs.moved is not None,
    )


def _networks(compared: Compared, options: AuditOptions) -> NetworksSection | None:
    networks, comparison = compared.networks, compared.comparison
    if networks is None or comparison is None:
        return None
    return NetworksSection(
        source=networks.source,
        described=networks.described,
        sha256=networks.sha256,
        networks=comparison.networks,
        alpha=options.alpha,
        smallest_p=1 / (comparison.networks + 1),
        p_value=comparison.p_value,
        loudest_family=STATISTICS[comparison.within[FAMILIES]],
        compared_by=_compared_by(networks, comparison),
        loudest="pairs" if comparison.group == PAIRS else "families",
    )


def _compared_by(
    networks: CleanNetworks, comparison: Comparison
) -> Literal["families", "families and pairs", "families and the strongest pair"]:
    if len(comparison.within) == 1:
        return "families"
    return "families and the strongest pair" if networks.pairs.moved is None else "families and pairs"
