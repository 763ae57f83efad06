"""Patterns that an audit of the same model found, for a scan to try."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detectors.demonstration.rule import Rule
from detectors.probing.parameters import probe_of
from detectors.probing.probe import Probe, Shape
from detectors.probing.search import ABOUT_ALL
from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.header import ProfileHeader
from scanner.report.audit.read import read_audit
from scanner.report.audit.schema import AuditReport, PatternSection


@dataclass(frozen=True)
class HandedPattern:
    """One pattern of an audit.

    Attributes:
        described: What it is, in a few words.
        probe: The pattern.
        rule: What it does to classes, by the audit.
    """

    described: str
    probe: Probe
    rule: Rule


@dataclass(frozen=True)
class HandedOver:
    """What an audit hands over.

    Attributes:
        digest: Of the audit's report.
        patterns: Those that move images by a rule about all classes.
    """

    digest: str
    patterns: tuple[HandedPattern, ...]


def read_patterns(path: Path, header: ProfileHeader) -> HandedOver:
    """The patterns of an audit's JSON report, from a file that may come from anybody.

    Args:
        path: The report.
        header: Of the profile: the audit has to be of its model.

    Raises:
        UsageError: It is no such report, or was altered; it is of another model or of images of another size; or its
            patterns cannot be made again.
    """
    audit, where = read_audit(path), printable(str(path))
    spec = PreprocessSpec.from_dict(header.preprocess.spec)
    shape = (*spec.size, spec.channels)
    if audit.model.sha256 != header.model.sha256:
        raise UsageError(
            f"is the audit of another model (sha256 {audit.model.sha256[:16]}..., the profile's is "
            f"{header.model.sha256[:16]}...)",
            where=where,
            hint="Audit the model that the profile was made for",
        )
    if (audit.input_shape, audit.num_classes) != (shape, header.num_classes):
        size = "x".join(map(str, audit.input_shape))
        raise UsageError(
            f"is about images of {size} and {audit.num_classes} classes, the profile's are {'x'.join(map(str, shape))} "
            f"and {header.num_classes}",
            where=where,
            hint="Audit the model with the preprocessing of the profile",
        )
    return HandedOver(audit.report_digest, _patterns(audit, where))


def _patterns(audit: AuditReport, where: str) -> tuple[HandedPattern, ...]:
    found = []
    for one in audit.patterns:
        # On clean networks, too, patches move most of one class to another: such rules tell nothing (docs/audit.md).
        if one.about != ABOUT_ALL or (one.target is None and one.shift is None):
            continue
        try:
            found.append(_pattern(one, audit))
        except ValueError as error:
            raise UsageError(
                f"has a pattern that cannot be made again: {printable(str(error), limit=200)}",
                where=where,
                hint="Audit the model again with this version",
            ) from None
    return tuple(found)


def _pattern(one: PatternSection, audit: AuditReport) -> HandedPattern:
    """The pattern and its rule.

    Raises:
        ValueError: The values make none.
    """
    if one.parameters is None:
        raise ValueError("its parameters are missing")
    rule = Rule(target=one.target, shift=one.shift)
    if any(each is not None and each >= audit.num_classes for each in (rule.target, rule.shift)):
        raise ValueError(f"its rule is about more than {audit.num_classes} classes")
    probe = probe_of(one.family, one.parameters, Shape(*audit.input_shape))
    return HandedPattern(probe.describe(), probe, rule)
