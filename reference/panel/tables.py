"""The panel's tables in Markdown, from finished cells alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from reference.panel.default import ALONE, BATCH
from reference.panel.pictures import SIZES
from reference.panel.plan import ADAPTIVE, PEERS_SEED

Result = Mapping[str, Any]
DETECTORS: Final[Mapping[str, str]] = {
    ALONE: "latentscan",
    BATCH: "latentscan, a batch",
    "confidence": "confidence",
    "strip": "STRIP",
    "scale-up": "SCALE-UP",
    "ibd-psc": "IBD-PSC",
    "teco": "TeCo",
    "beatrix": "Beatrix",
    "ted": "TED",
    "ted++": "TED++",
    "psbd": "PSBD",
    "mahalanobis": "Mahalanobis",
}
"""Titles by name, in the order of the columns."""
DETECTION: Final = "detection_at_0.01"
SUCCEEDS: Final = "succeeds_detection_at_0.01"
"""The same, of the triggered inputs that get the label that the attack wants."""
ALARMS: Final = ("false_alarms_at_0.01", "false_alarms_at_0.05")


def counted(results: Iterable[Result]) -> list[Result]:
    """Cells whose attack succeeds often enough to count; adaptive attackers are apart."""
    return [result for result in results if result["counts"] and not _adaptive(result)]


def _adaptive(result: Result) -> bool:
    return result["cell"]["attack"] in {attack for attack, _, _ in ADAPTIVE}


def values(results: Iterable[Result], detector: str, size: int, figure: str) -> list[float]:
    """One figure of one detector in every cell that has it."""
    found = (result["backdoored"]["detectors"].get(detector) for result in results)
    numbers = (None if one is None else one[str(size)][figure] for one in found)
    return [number for number in numbers if number is not None]


def tables_markdown(results: Sequence[Result], planned: int) -> str:
    """All tables.

    Args:
        results: Finished cells, in the order of the rows.
        planned: How many cells the panel has.
    """
    good = counted(results)
    networks = sorted({result["cell"]["network"] for result in results})
    parts = [
        f"{len(results)} of {planned} cells are measured, of {len(networks)} networks ({', '.join(networks)}); "
        f"the attack counts in {len(good)} of them.",
    ]
    if good:
        parts += [
            "**Detectors**, means over the cells that count and that peers are measured in, 400 clean images a class.",
            _detectors([result for result in good if result["cell"]["seed"] == PEERS_SEED]),
            "**Detection at 1% false alarms** in every cell that counts, 400 clean images a class.",
            _cells(good),
            "**Clean images a class**: means over the cells that count, and the worst cell.",
            _sizes(good),
            "**Clean networks with the trigger**: share of the same triggered inputs flagged at 1%.",
            _controls(results),
        ]
    adaptive = [result for result in results if _adaptive(result)]
    if adaptive:
        parts += [
            "**Attackers who know the detector**: detection at 1%, of all triggered inputs, 400 clean images a class.",
            _adaptive_cells(adaptive),
        ]
    failed = [result for result in results if not result["counts"] and not _adaptive(result)]
    if failed:
        parts += ["**Attacks that do not count**: success below 85%.", _failed(failed)]
    return "\n\n".join(parts) + "\n"


def _detectors(good: Sequence[Result]) -> str:
    head = ["", "cells", "detection at 1%", "at 5%", "worst cell at 1%", "AUROC", "AUPR", "where it succeeds, at 1%",
            "worst cell there", "false alarms at 1%", "at 5%", "passes", "ms an image"]  # fmt: skip
    rows = []
    for name, title in DETECTORS.items():
        numbers = values(good, name, 400, DETECTION)
        if not numbers:
            continue
        shown = [
            values(good, name, 400, figure)
            for figure in ("detection_at_0.05", "auroc", "aupr", SUCCEEDS, *ALARMS)
        ]  # fmt: skip
        five, auroc, aupr, succeeding, *alarms = (_share(fmean(one)) for one in shown)
        costs = [result["backdoored"]["detectors"].get(name) for result in good]
        passes = fmean(cost["passes"] for cost in costs if cost)
        milliseconds = fmean(cost["milliseconds"] for cost in costs if cost)
        rows.append([title, str(len(numbers)), _share(fmean(numbers)), five, _share(min(numbers)), auroc, aupr,
                     succeeding, _share(min(shown[3])), *alarms, f"{passes:.0f}", f"{milliseconds:.1f}"])  # fmt: skip
    return _table(head, rows)


def _cells(good: Sequence[Result]) -> str:
    head = ["network", "attack", "labels", "rate", "seed", "success", *DETECTORS.values()]
    rows = []
    for result in good:
        found = result["backdoored"]["detectors"]
        rows.append([*_names(result), *_shown(found)])
    return _table(head, rows)


def _sizes(good: Sequence[Result]) -> str:
    head = ["", "clean images a class", "detection at 1%", "worst cell", "where it succeeds", "worst cell there",
            "at 5%", "AUROC", "false alarms at 1%", "at 5%"]  # fmt: skip
    figures = ("detection_at_0.05", "auroc", *ALARMS)
    rows = []
    for name in (ALONE, BATCH):
        for size in SIZES:
            row = [DETECTORS[name], str(size)]
            for detection in (values(good, name, size, figure) for figure in (DETECTION, SUCCEEDS)):
                row += [_share(fmean(detection)), _share(min(detection))]
            rows.append(row + [_share(fmean(values(good, name, size, figure))) for figure in figures])
    return _table(head, rows)


def _controls(results: Sequence[Result]) -> str:
    names = [name for name in DETECTORS if any(name in one["clean_network"]["detectors"] for one in results)]
    head = ["network", "attack", "labels", "seed", *(DETECTORS[name] for name in names)]
    rows = []
    for result in results:
        cell, found = result["cell"], result["clean_network"]["detectors"]
        shown = _shown(found, names)
        rows.append([cell["network"], cell["attack"], cell["labels"], str(cell["seed"]), *shown])
    return _table(head, rows)


def _failed(failed: Sequence[Result]) -> str:
    head = ["network", "attack", "labels", "rate", "seed", "success", "clean accuracy", "latentscan where it succeeds"]
    rows = []
    for result in failed:
        found = result["backdoored"]
        caught = found["detectors"][ALONE]["400"][SUCCEEDS]
        rows.append([*_names(result), _share(found["clean_accuracy"]), "-" if caught is None else _share(caught)])
    return _table(head, rows)


def _adaptive_cells(adaptive: Sequence[Result]) -> str:
    head = ["network", "attack", "labels", "rate", "seed", "success", "clean accuracy", "before", *DETECTORS.values()]
    rows = []
    for result in adaptive:
        found = result["backdoored"]["detectors"]
        accuracies = [_share(result[name]["clean_accuracy"]) for name in ("backdoored", "clean_network")]
        rows.append([*_names(result), *accuracies, *_shown(found)])
    return _table(head, rows)


def _names(result: Result) -> list[str]:
    cell = result["cell"]
    network = cell["network"] + (" from scratch" if cell["scratch"] else "")
    success = _share(result["backdoored"]["attack_success_rate"])
    return [network, cell["attack"], cell["labels"], f"{100 * cell['rate']:g}%", str(cell["seed"]), success]


def _shown(found: Mapping[str, Any], names: Iterable[str] = tuple(DETECTORS)) -> list[str]:
    """Detection of each detector; a dash where it was not measured or does not apply."""
    return [_share(one["400"][DETECTION]) if (one := found.get(name)) else "-" for name in names]


def _share(value: float) -> str:
    return f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
