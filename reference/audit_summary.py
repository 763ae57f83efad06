"""What a panel of audited networks says: false alarms, and detection by attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from detectors.calibration.binomial import clopper_pearson
from detectors.probing.null import compare_networks
from detectors.probing.probing import STATISTICS
from reference.audit_attacks import ATTACKS, CLEAN
from reference.evaluate import describe_machine, write_json
from scanner.verdict.audit_rules import load_audit_rules

LEVEL: Final = 0.05
ADMITTED: Final = 0.9
"""Success of an attack from which on it counts as one that worked."""
_DATA: Final = ("mnist", "cifar10")

Record = Mapping[str, Any]


def write_summary(records: Sequence[Record], results: Path) -> None:
    """Write the results."""
    names = [name for name in _DATA if any(one["data"] == name for one in records)]
    summaries = {name: summarise([one for one in records if one["data"] == name]) for name in names}
    write_json(
        results,
        {
            "made_with": describe_machine(),
            "level": LEVEL,
            "data": summaries,
            "networks": [dict(one) for one in records],
        },
    )


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Figures of one data set: of the development part AUROC by statistic, of the test part alarms at the level."""
    null = known_clean(records)
    test = [one for one in records if one["part"] == "test"]
    return {
        "null": {
            "networks": len(null),
            "median": np.median(null, 0).round(4).tolist(),
            "largest": null.max(0).round(4).tolist(),
        },
        "development_auroc": _development(records),
        "false_alarms": _alarms([one for one in test if one["attack"] == CLEAN], null),
        "attacks": {
            attack: {
                "worked": _alarms([one for one in of_attack if one["attack_success_rate"] >= ADMITTED], null),
                "worked_less": _alarms([one for one in of_attack if one["attack_success_rate"] < ADMITTED], null),
            }
            for attack in ATTACKS
            if (of_attack := [one for one in test if one["attack"] == attack])
        },
        "seconds": float(np.median([one["seconds"] for one in records])),
        "passes": float(np.median([one["passes"] for one in records])),
    }


def known_clean(records: Sequence[Record]) -> NDArray[np.float64]:
    """``(N, S)`` statistics of the clean networks that others are compared with: all but those of the test."""
    rows = [one["statistics"] for one in records if one["attack"] == CLEAN and one["part"] != "test"]
    return np.array(rows, np.float64).reshape(-1, len(STATISTICS))


def _alarms(records: Sequence[Record], null: NDArray[np.float64]) -> dict[str, Any]:
    """How many of some networks are unusual at the level, and how many of these with a pattern that moves most."""
    p_values = [compare_networks(np.array(one["statistics"]), null, LEVEL).p_value for one in records]
    strong = [max(one["statistics"]) >= load_audit_rules().min_rate for one in records]
    unusual = [p_value <= LEVEL for p_value in p_values]
    count = sum(unusual)
    return {
        "networks": len(records),
        "unusual": count,
        "interval": [round(end, 4) for end in clopper_pearson(count, len(records), 0.95)] if records else None,
        "evidence": sum(both and one for both, one in zip(strong, unusual, strict=True)),
        "exploitable": sum(strong),
    }


def _development(records: Sequence[Record]) -> dict[str, list[float]]:
    """AUROC of each statistic, and of the same about one class, for each attack of the development part."""
    part = [one for one in records if one["part"] == "development"]
    clean = [one for one in part if one["attack"] == CLEAN]
    found = {}
    for attack in sorted({one["attack"] for one in part} - {CLEAN}):
        attacked = [one for one in part if one["attack"] == attack]
        rows = np.array([[*one["statistics"], *one["one_class"]] for one in (*clean, *attacked)])
        truth = [0] * len(clean) + [1] * len(attacked)
        found[attack] = [round(float(roc_auc_score(truth, column)), 3) for column in rows.T]
    return found
