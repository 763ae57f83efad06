"""Checks, findings and the verdict, with the gate that it passes or fails."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from scanner.profile.header import Count, Part, Sha256, Share, Text
from scanner.report.schema.fields import RuleId
from scanner.verdict.terms import CheckStatus, Confidence, Decision, ExitCode, FailOn, Severity

FINDING_RULES = {
    "model": ("LS101", "LS102", "LS103", "LS104", "LS105", "LS120", "LS121", "LS501", "LS502", "LS503"),
    "class": ("LS402",),
    "input": ("LS401", "LS403"),
}


class CheckResult(Part):
    """One named check of the verdict."""

    id: RuleId = Field(description="Stable identifier.")
    name: Text = Field(description="Short name.")
    status: CheckStatus = Field(description="Outcome. A check that could not run is 'not_assessed', never 'passed'.")
    message: Text = Field(description="The outcome in one sentence; for a failed check with what to do.")
    statistic: float | None = Field(description="The value looked at, in `units`.")
    units: Text = Field(description="Unit of the statistic.")
    p_value: Share | None = Field(description="p-value, where the check is a test.")
    threshold: float | None = Field(
        description="The bound that the statistic, or the p-value where the check is the batch test, is compared with."
    )
    n: Count | None = Field(description="Number of observations behind the statistic.")
    limitations: Text = Field(description="What the check cannot tell.")


class RulesInfo(Part):
    """The rules that the verdict follows."""

    version: Text = Field(description="Version of the rules.")
    sha256: Sha256 = Field(description="SHA-256 of the file of rules.")


class Suppression(Part):
    """Why a finding does not count any more: an entry of the ignore file."""

    reason: Text = Field(description="The reason, as somebody wrote it.")
    expires: Text | None = Field(description="Last day on which it holds, RFC 3339; null where it does not expire.")
    source: Text = Field(description="Name of the ignore file.")


class Finding(Part):
    """Something that was found. It stays here when it is suppressed."""

    id: Sha256 = Field(description="Fingerprint of what was found where: the same in every scan that finds it again.")
    rule: Text = Field(description="Identifier of the rule; `modelscan explain` knows it.")
    subject: Literal["model", "class", "input"] = Field(description="What it is about.")
    severity: Severity = Field(description="How bad it is, if it holds.")
    message: Text = Field(description="The finding in one sentence.")
    index: Count | None = Field(description="Index of the input or of the class; null for the model.")
    name: Text = Field(description="Name of the input, of the class or of the model file.")
    known: bool = Field(description="Whether the baseline has it.")
    suppressed: Suppression | None = Field(description="Why it does not count any more; null where it counts.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rule not in FINDING_RULES[self.subject]:
            raise ValueError(f"no rule about a {self.subject}")
        return self


class PolicySection(Part):
    """The gate's settings, and where each came from."""

    values: dict[Text, JsonValue] = Field(description="Effective values by name.")
    sources: dict[Text, Text] = Field(description="'flag', 'environment', 'file' or 'default', by name.")
    config: Text | None = Field(description="Name of the configuration file; null without one.")
    baseline_sha256: Sha256 | None = Field(description="SHA-256 of the baseline; null without one.")
    ignore_sha256: Sha256 | None = Field(description="SHA-256 of the ignore file; null without one.")
    sha256: Sha256 = Field(
        description="SHA-256 of `values`, `baseline_sha256` and `ignore_sha256` as canonical JSON: one gate, one "
        "digest."
    )


class VerdictSection(Part):
    """What follows from all of it."""

    severity: Severity | None = Field(
        description="Severity that the evidence supports; null when the evidence cannot be used."
    )
    decision: Decision = Field(description="What to do with the model.")
    confidence: Confidence = Field(
        description="'provisional' when something that the calibration relies on is missing; the reasons say what."
    )
    reasons: tuple[Text, ...] = Field(min_length=1, description="Sentences, the decisive one first.")
    rule_ids: tuple[RuleId, ...] = Field(
        description="The severity rule that applied and the checks that failed, by identifier."
    )
    fail_on: FailOn = Field(description="The severity from which on the exit code is 1.")
    exit_code: ExitCode = Field(description="0 below `fail_on` or accepted, 1 at or above it, 3 inconclusive.")
    accepted: Suppression | None = Field(
        default=None, description="Who accepted a finding that would have failed the gate, and why; null otherwise."
    )
    rules: RulesInfo = Field(description="The rules that the verdict follows.")
