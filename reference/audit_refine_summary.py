"""What refinement, Neural Cleanse and MM-BD say of networks: by their authors' rules, and at 5% false alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.binomial import clopper_pearson
from detectors.probing.null import compare_networks
from reference.audit_attacks import ATTACKS, CLEAN
from reference.audit_summary import ADMITTED, LEVEL
from reference.evaluate import describe_machine, write_json
from reference.maximum_margin import margin_p_value

PIXELS: Final = 28 * 28
MOST: Final = {"smallest patch": PIXELS, "weakest offset": 255}
CLASSES: Final = 10
ANOMALOUS: Final = 2.0
"""Anomaly index from which on Neural Cleanse calls a network backdoored."""

Record = Mapping[str, Any]
Statistics = Callable[[Record], NDArray[np.float64]]


def sizes(record: Record) -> NDArray[np.float64]:
    """``(20,)`` for each kind and class how small a pattern is, from 0 for none to 1 for one pixel or gray level.

    The size is that which gradients ended with, on a logarithmic scale: as a class is reached more easily than another
    on clean networks too, each is compared with itself.
    """
    found = np.zeros((len(MOST), CLASSES))
    for one in record["refined"]:
        if one["soft"] is not None:
            row, most = list(MOST).index(one["kind"]), MOST[one["kind"]]
            found[row, one["target"]] = 1 - np.log(np.clip(one["soft"], 1, most)) / np.log(most)
    return found.ravel()


def anomaly_index(record: Record) -> float:
    """Neural Cleanse's: how far the smallest mask is below the median over classes, in robust standard deviations."""
    norms = np.array([PIXELS if norm is None else norm for norm in record["cleanse_norms"]], np.float64)
    median = np.median(norms)
    deviation = 1.4826 * np.median(np.abs(norms - median))
    return float((median - norms.min()) / deviation) if deviation > 0 else 0.0


def p_among(record: Record, null: Sequence[Record], statistics: Statistics) -> float:
    """The conformal p-value of a network by some statistics between 0 and 1."""
    return compare_networks(statistics(record), np.stack([statistics(one) for one in null]), LEVEL).p_value


def _rank(record: Record, null: Sequence[Record], statistic: Callable[[Record], float]) -> float:
    own = statistic(record)
    return (1 + sum(statistic(one) >= own for one in null)) / (len(null) + 1)


def _probing(record: Record) -> NDArray[np.float64]:
    return np.array(record["probing"], np.float64)


def _margin_evidence(record: Record) -> float:
    return _evidence(tuple(record["margins"]))


@cache
def _evidence(margins: tuple[float, ...]) -> float:
    # Every network is compared with the same clean ones, and a fit for each takes milliseconds.
    return -margin_p_value(np.array(margins, np.float64))


METHODS: Final[Mapping[str, Callable[[Record, Sequence[Record]], bool]]] = {
    "probing": lambda one, null: p_among(one, null, _probing) <= LEVEL,
    "refined sizes": lambda one, null: p_among(one, null, sizes) <= LEVEL,
    "either at half the level": lambda one, null: (
        min(p_among(one, null, _probing), p_among(one, null, sizes)) <= LEVEL / 2
    ),
    "Neural Cleanse, index above 2": lambda one, _: anomaly_index(one) > ANOMALOUS,
    "Neural Cleanse among clean networks": lambda one, null: _rank(one, null, anomaly_index) <= LEVEL,
    "MM-BD, p at most 0.05": lambda one, _: -_margin_evidence(one) <= LEVEL,
    "MM-BD among clean networks": lambda one, null: _rank(one, null, _margin_evidence) <= LEVEL,
}
"""Whether a network is called unusual, given the clean networks."""


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Alarms of each method on the networks of the test, by attack, and on clean ones."""
    null = [one for one in records if one["attack"] == CLEAN and one["part"] != "test"]
    test = [one for one in records if one["part"] == "test"]
    groups = {CLEAN: [one for one in test if one["attack"] == CLEAN]}
    for attack in ATTACKS:
        groups[attack] = [one for one in test if one["attack"] == attack and one["attack_success_rate"] >= ADMITTED]
    groups["all that worked"] = [one for name in ATTACKS for one in groups[name]]
    groups["all others"] = [one for one in test if one["attack"] != CLEAN and one["attack_success_rate"] < ADMITTED]
    return {
        "null": len(null),
        "alarms": {
            method: {name: _counted([rule(one, null) for one in group]) for name, group in groups.items()}
            for method, rule in METHODS.items()
        },
        "clean_sizes": _clean_sizes(null),
        "seconds": {
            step: float(np.median([one["seconds"][step] for one in records])) for step in records[0]["seconds"]
        },
        "held_out": _held_out(records),
    }


def _counted(alarms: Sequence[bool]) -> dict[str, Any]:
    count, number = sum(alarms), len(alarms)
    interval = [round(end, 4) for end in clopper_pearson(count, number, 0.95)] if number else None
    return {"networks": number, "alarms": count, "interval": interval}


def _clean_sizes(null: Sequence[Record]) -> dict[str, list[dict[str, float]]]:
    """By kind and class the smallest whole size on clean networks and its median, where one was reached."""
    found: dict[str, list[dict[str, float]]] = {}
    for kind in MOST:
        found[kind] = []
        for target in range(CLASSES):
            known = [
                each["size"]
                for one in null
                for each in one["refined"]
                if (each["kind"], each["target"]) == (kind, target) and each["reached"]
            ]
            found[kind].append({"reached": len(known), "smallest": min(known), "median": float(np.median(known))})
    return found


def _held_out(records: Sequence[Record]) -> float:
    """Share of other images that patterns move which move nine in ten of those that they were made on."""
    reached = [each for one in records for each in one["refined"] if each["reached"] and each["eligible"]]
    return round(float(np.mean([each["moved"] / each["eligible"] for each in reached])), 4)


def write_summary(records: Sequence[Record], results: Path) -> None:
    """Write the results."""
    write_json(
        results,
        {
            "command": "python -m reference.audit_refine",
            "made_with": describe_machine(),
            "level": LEVEL,
            "summary": summarise(records),
            "networks": [dict(one) for one in records],
        },
    )


def table(summary: Mapping[str, Any]) -> list[str]:
    """Alarms as rows of a Markdown table, a method each."""
    rows = []
    for method, groups in summary["alarms"].items():
        clean, worked, less = (groups[name] for name in (CLEAN, "all that worked", "all others"))
        cells = [_cell(clean, interval=True), _cell(worked, interval=True)]
        cells += [_cell(groups[name], interval=False) for name in ATTACKS if groups[name]["networks"]]
        rows.append(f"| {method} | {' | '.join([*cells, _cell(less, interval=True)])} |")
    return rows


def _cell(group: Mapping[str, Any], *, interval: bool) -> str:
    said = f"{group['alarms']} of {group['networks']}"
    return f"{said} ({group['interval'][0]:.2f} to {group['interval'][1]:.2f})" if interval else said
