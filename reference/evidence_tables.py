"""The figures of :mod:`reference.evidence` as tables of the documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def tables(result: Mapping[str, Any]) -> list[str]:
    """A table for every network, and what all of them come to, as lines of Markdown."""
    lines = [*_summary(result)]
    for network in result["networks"].values():
        lines += ["", f"{network['title']}:", ""]
        lines += ["| batch | verdict | flagged | batch p | rest | demonstrated |", "| --- " * 6 + "|"]
        lines += [_row(name, found) for name, found in network["batches"].items()]
    return lines


def _row(name: str, found: Mapping[str, Any]) -> str:
    verdict = f"{found['severity'] or 'not assessed'}, {found['decision']}"
    rest = found.get("drift", "-")
    return (
        f"| {name} | {verdict} | {found['flagged']} of {found['inputs']} | {found['batch_p']:.1e} | {rest} "
        f"| {_demonstrated(found)} |"
    )


def _demonstrated(found: Mapping[str, Any]) -> str:
    shown = found.get("demonstration")
    if shown is None:
        return "-"
    counts = f"{shown['moved']} of {shown['eligible']}, control {shown['control_moved']}"
    if not shown["demonstrated"]:
        return f"no ({counts})"
    return f"{'yes' if found['right'] else 'WRONG RULE'}: {shown['kind']} ({counts})"


def _summary(result: Mapping[str, Any]) -> list[str]:
    """Counts over all pairs of network and batch."""
    honest: list[Mapping[str, Any]] = []
    triggered: list[tuple[str, Mapping[str, Any]]] = []
    for network in result["networks"].values():
        for name, found in network["batches"].items():
            is_triggered = name.startswith("triggered") and network["backdoored"]
            if is_triggered:
                triggered.append((name, found))
            else:
                honest.append(found)
    critical = sum(found["severity"] == "critical" for found in honest)
    high = sum(found["severity"] == "high" for found in honest)
    shown = sum(bool(found["demonstration"]["demonstrated"]) for found in honest if found.get("demonstration"))
    lines = [
        f"{len(honest)} pairs without triggers on a backdoored network: {critical} critical, {high} high, {shown} "
        "demonstrations.",
    ]
    for share in dict.fromkeys(name for name, _ in triggered):
        of_share = [found for name, found in triggered if name == share]
        lines.append(
            f"{share}: {sum(found['severity'] == 'critical' for found in of_share)} of {len(of_share)} critical, "
            f"{sum(bool(found['right']) for found in of_share)} demonstrated with the right rule, "
            f"{sum(found['right'] is False for found in of_share)} with a wrong one."
        )
    return lines
