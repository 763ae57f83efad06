"""What every rule means and what to do about it: the words of `modelscan explain` and of SARIF's rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from scanner.verdict.terms import Severity


@dataclass(frozen=True)
class RuleText:
    """One rule in words.

    Attributes:
        id: Identifier.
        name: One word, in Pascal case.
        title: Short title.
        severity: Severity of a finding by this rule; none for what is a condition and no finding.
        what: What it means, in sentences.
        act: What to do.
    """

    id: str
    name: str
    title: str
    severity: Severity
    what: str
    act: str


@cache
def catalogue() -> Mapping[str, RuleText]:
    """Every rule, by identifier."""
    entries = json.loads((files("scanner.verdict") / "catalogue.json").read_bytes())
    return {id: RuleText(id=id, **entry | {"severity": Severity(entry["severity"])}) for id, entry in entries.items()}
