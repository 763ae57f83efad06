"""Write the clean networks that the program ships to compare others with.

    python -m reference.audit_shipped

From `audit_one_class.json` and `audit_cifar.json`: all clean networks, by families of patterns and by pairs of classes.
Those of the test are among them: how many networks a null has decides how far its own rate of false alarms may be from
the level. Classes of CIFAR-10 look too much alike to tell which is which: of those networks' pairs, the one that is
moved most is written, if there are as many as that takes.
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
from reference.audit_cifar_summary import FEWEST_FOR_PAIRS, strongest_pair
from reference.audit_one_class_summary import looks
from scanner.base.atomic import atomic_writer

VERSION: Final = 2
"""Of the file: since 2 with pairs of classes."""
Record = Mapping[str, Any]
RESULTS: Final = Path(__file__).with_name("results")


def digits(networks: Sequence[Record]) -> dict[str, Any]:
    """The clean networks for MNIST."""
    clean = [one for one in networks if one["attack"] == CLEAN]
    return {
        "data": "mnist",
        "described": "small convolutional networks, trained for two epochs on 12,000 MNIST digits",
        "shape": [28, 28, 1],
        "classes": 10,
        "look": _look(clean),
        "looks": np.rint(looks(networks)).astype(int).tolist(),
        "accuracy": _accuracy(clean),
        "networks": [one["statistics"] for one in clean],
        "pairs": [one["pairs"] for one in clean],
    }


def colour(networks: Sequence[Record]) -> dict[str, Any]:
    """The clean networks for CIFAR-10."""
    clean = [one for one in networks if one["attack"] == CLEAN]
    pairs = {"strongest_pairs": [strongest_pair(one) for one in clean]} if len(clean) >= FEWEST_FOR_PAIRS else {}
    return {
        "data": "cifar10",
        "described": "small networks with and without residual blocks, trained for three epochs on 25,000 images of "
        "CIFAR-10",
        "shape": [32, 32, 3],
        "classes": 10,
        "look": _look(clean),
        "accuracy": _accuracy(clean),
        "networks": [one["statistics"] for one in clean],
        **pairs,
    }


def _look(clean: Sequence[Record]) -> list[float]:
    found: list[float] = np.mean([one["look"] for one in clean], 0).round(3).tolist()
    return found


def _accuracy(clean: Sequence[Record]) -> list[float]:
    accuracies = [float(one["accuracy"]) for one in clean]
    return [min(accuracies), max(accuracies)]


def content(for_digits: Sequence[Record], for_colour: Sequence[Record]) -> str:
    """The text of ``clean_networks.json``, a row of a table in each line."""
    tables = [digits(for_digits), colour(for_colour)]
    return written({"version": VERSION, "statistics": list(STATISTICS), "tables": tables}) + "\n"


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
    measured = (
        json.loads((RESULTS / f"audit_{name}.json").read_text(encoding="utf-8"))["networks"]
        for name in ("one_class", "cifar")
    )
    path = Path(str(files("scanner.auditing") / "clean_networks.json"))
    with atomic_writer(path) as file:
        file.write(content(*measured).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
