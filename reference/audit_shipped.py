"""Write the clean networks that the program ships to compare others with.

    python -m reference.audit_shipped

From `audit_one_class.json`: all clean networks, by families of patterns and by pairs of classes. Those of the test are
among them: how many networks a null has decides how far its own rate of false alarms may be from the level.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from detectors.probing.probing import STATISTICS
from reference.audit_attacks import CLEAN
from reference.audit_one_class_summary import looks
from scanner.base.atomic import atomic_writer

VERSION: Final = 2
"""Of the file: since 2 with pairs of classes."""
RESULTS: Final = Path(__file__).with_name("results")


def table(networks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The clean networks for MNIST."""
    clean = [one for one in networks if one["attack"] == CLEAN]
    accuracies = [one["accuracy"] for one in clean]
    return {
        "data": "mnist",
        "described": "small convolutional networks, trained for two epochs on 12,000 MNIST digits",
        "shape": [28, 28, 1],
        "classes": 10,
        "look": np.mean([one["look"] for one in clean], 0).round(3).tolist(),
        "looks": np.rint(looks(networks)).astype(int).tolist(),
        "accuracy": [min(accuracies), max(accuracies)],
        "networks": [one["statistics"] for one in clean],
        "pairs": [one["pairs"] for one in clean],
    }


def content(networks: Sequence[Mapping[str, Any]]) -> str:
    """The text of ``clean_networks.json``, a row of a table in each line."""
    return written({"version": VERSION, "statistics": list(STATISTICS), "tables": [table(networks)]}) + "\n"


def written(value: object, depth: int = 0) -> str:
    """JSON, with lists of lists and objects a line for each entry, and other lists in one line."""
    inner, outer = "\n" + " " * (depth + 1), "\n" + " " * depth
    if isinstance(value, dict):
        entries = [f"{json.dumps(name)}: {written(one, depth + 1)}" for name, one in value.items()]
        return "{" + inner + f",{inner}".join(entries) + outer + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict | list) and depth < 4:
        return "[" + inner + f",{inner}".join(written(one, depth + 1) for one in value) + outer + "]"
    return json.dumps(value)


def main() -> int:
    """Command line of this module; returns the exit code."""
    measured = json.loads((RESULTS / "audit_one_class.json").read_text(encoding="utf-8"))["networks"]
    path = Path(str(files("scanner.auditing") / "clean_networks.json"))
    with atomic_writer(path) as file:
        file.write(content(measured).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
