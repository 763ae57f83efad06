"""The figures of :mod:`reference.shared_units` as tables of the documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

_HEADER: Final = (
    "| references | triggered | batch p, densities alone | batch p, units | all inputs' units | batch p "
    "| AUROC, densities alone | AUROC | detection, densities alone | detection | false alarms |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)
_KINDS_HEADER: Final = (
    "| references | kind | inputs | batch p, densities alone | batch p, units: lowest | median "
    "| all inputs' units: lowest | median | false alarms |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)
_SUMMARY_HEADER: Final = (
    "| network, backdoor | attack success | batch p, clean | 5% triggered | 10% triggered | AUROC, half triggered "
    "| detection, densities alone | detection | false alarms, clean |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


def tables(result: Mapping[str, Any]) -> list[str]:
    """The figures of a result as lines of Markdown: for every network its shares, and its kinds where there are some.

    P-values are medians over draws, everything else means.
    """
    lines: list[str] = []
    for network in result["networks"].values():
        lines += ["", f"{network['title']} (attack success {network['attack_success_here']:.1%}):", "", *_HEADER]
        for key, draws in network["shares"].items():
            references, share = key.split("/")
            cells = (
                *(_p(draws, name, np.median) for name in ("densities_p", "units_p", "units_p_any_class", "batch_p")),
                *(_mean(draws, name, ".4f") for name in ("auroc_densities", "auroc")),
                *(_mean(draws, name, ".1%") for name in ("detection_densities", "detection", "false_alarms")),
            )
            lines.append(f"| {references} | {float(share):.0%} | {' | '.join(cells)} |")
        if network["kinds"]:
            lines += ["", f"{network['title']}, clean inputs of one kind:", "", *_KINDS_HEADER]
        for key, draws in network["kinds"].items():
            references, kind = key.split("/")
            cells = (
                _mean(draws, "inputs", ".0f"),
                _p(draws, "densities_p", np.median),
                _p(draws, "units_p", np.min),
                _p(draws, "units_p", np.median),
                _p(draws, "units_p_any_class", np.min),
                _p(draws, "units_p_any_class", np.median),
                _mean(draws, "false_alarms", ".1%"),
            )
            lines.append(f"| {references} | {kind} | {' | '.join(cells)} |")
    return lines[1:]


def summary(result: Mapping[str, Any], references: int = 250) -> list[str]:
    """One line of Markdown for every network: what is found with one size of the reference.

    P-values are medians over draws, everything else means.
    """
    lines = list(_SUMMARY_HEADER)
    for network in result["networks"].values():
        shares = {float(key.split("/")[1]): draws for key, draws in network["shares"].items()
                  if int(key.split("/")[0]) == references}  # fmt: skip
        cells = (
            f"{network['attack_success_here']:.0%}",
            *(_p(shares[share], "batch_p", np.median) for share in (0.0, 0.05, 0.1)),
            _mean(shares[0.5], "auroc", ".3f"),
            _mean(shares[0.5], "detection_densities", ".0%"),
            _mean(shares[0.5], "detection", ".0%"),
            _mean(shares[0.0], "false_alarms", ".1%"),
        )
        lines.append(f"| {network['title']} | {' | '.join(cells)} |")
    return lines


def _p(draws: Sequence[Mapping[str, float]], name: str, by: Callable[[list[float]], np.floating]) -> str:
    return f"{by([draw[name] for draw in draws]):.1e}"


def _mean(draws: Sequence[Mapping[str, float | None]], name: str, form: str) -> str:
    """The mean of those draws that have the figure; a dash where none has."""
    known = [value for draw in draws if (value := draw.get(name)) is not None]
    return format(sum(known) / len(known), form) if known else "-"
