"""What a report says of the gate's settings."""

from __future__ import annotations

from scanner.report.schema import PolicySection
from scanner.verdict.gate_policy import Policy


def policy_section(
    policy: Policy | None, baseline_sha256: str | None, ignore_sha256: str | None
) -> PolicySection | None:
    """The settings and where each came from; None where a program called without any."""
    if policy is None:
        return None
    return PolicySection(
        values={**policy.gate},
        sources={name: policy.origins[name] for name in policy.gate},
        config=policy.config_name,
        baseline_sha256=baseline_sha256,
        ignore_sha256=ignore_sha256,
        sha256=policy.digest(baseline_sha256, ignore_sha256),
    )
