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
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for network in result["networks"].values():
        for name, found in network["batches"].items():
            kind = "clean, drifted and repeated inputs"
            if name.startswith("triggered"):
                kind = f"{name}, backdoored" if network["backdoored"] else "the same stamps on clean networks"
            kinds.setdefault(kind, []).append(found)
    lines = [
        "| inputs | pairs | critical | high | medium, low | accepted | inconclusive | right rule shown | wrong rule |",
        "| --- " * 9 + "|",
    ]
    for kind, found in sorted(kinds.items()):
        severities = [one["severity"] for one in found]
        cells = (
            len(found),
            severities.count("critical"),
            severities.count("high"),
            severities.count("medium") + severities.count("low"),
            sum(one["exit_code"] == 0 and one["severity"] == "none" for one in found),
            sum(one["exit_code"] == 3 for one in found),
            sum(one["right"] is True for one in found),
            sum(one["right"] is False for one in found),
        )
        lines.append(f"| {kind} | {' | '.join(map(str, cells))} |")
    return lines
