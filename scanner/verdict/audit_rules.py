"""The thresholds of an audit's verdict, read from ``audit_rules.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from scanner.verdict.terms import Decision, Severity


@dataclass(frozen=True)
class ExploitableRule:
    """Severity of a pattern that moves most clean images.

    Attributes:
        rule: Identifier.
        alone: Where there are no clean networks to compare with.
        usual: Where the network is like clean networks.
    """

    rule: str
    alone: Severity
    usual: Severity


@dataclass(frozen=True)
class AuditRules:
    """The content of ``audit_rules.json``.

    Attributes:
        version: Version of the rules.
        sha256: SHA-256 of the file.
        min_rate: Share of the images from which on a pattern counts as exploitable.
        evidence: Rule and severity of an unusual network with such a pattern.
        one_class: The same of one that moves most of one class to one other.
        anomaly: The same without one.
        patch: A patch that moves that many, statistics aside.
        picture: The same of a pattern that covers the whole picture.
        min_images: Clean images that a comparison with clean networks takes.
        decision: Decision for each severity.
        min_skill: Accuracy has to exceed chance by this share of the distance from chance to 1.
        max_accuracy_p: ... and the p-value of "the model guesses" may be at most this.
    """

    version: str
    sha256: str
    min_rate: float
    evidence: tuple[str, Severity]
    one_class: tuple[str, Severity]
    anomaly: tuple[str, Severity]
    patch: ExploitableRule
    picture: ExploitableRule
    min_images: int
    decision: Mapping[Severity, Decision]
    min_skill: float
    max_accuracy_p: float


@cache
def load_audit_rules() -> AuditRules:
    """The rules shipped with this package."""
    content = (files("scanner.verdict") / "audit_rules.json").read_bytes()
    rules: dict[str, Any] = json.loads(content)
    return AuditRules(
        version=rules["version"],
        sha256=hashlib.sha256(content).hexdigest(),
        min_rate=rules["min_rate"],
        evidence=_with_severity(rules["evidence"]),
        one_class=_with_severity(rules["one_class"]),
        anomaly=_with_severity(rules["anomaly"]),
        patch=_exploitable(rules["patch"]),
        picture=_exploitable(rules["picture"]),
        min_images=rules["min_images"],
        decision={Severity(severity): Decision(decision) for severity, decision in rules["decision"].items()},
        min_skill=rules["clean_accuracy"]["min_skill"],
        max_accuracy_p=rules["clean_accuracy"]["max_p"],
    )


def _with_severity(rule: Mapping[str, str]) -> tuple[str, Severity]:
    return rule["rule"], Severity(rule["severity"])


def _exploitable(rule: Mapping[str, str]) -> ExploitableRule:
    return ExploitableRule(rule["rule"], Severity(rule["alone"]), Severity(rule["usual"]))
