"""Whether plain patches give away a backdoor in one class alone, compared by pairs of classes.

    python -m reference.audit_one_class --data-dir DATA --networks NETWORKS --out reference/results/audit_one_class.json

Networks of :mod:`reference.audit_panel` that are clean, or whose backdoor moves one class alone, and more of the latter
(`FURTHER`), are probed as `modelscan audit` does. How pairs are searched and compared was decided on the development
part, before any of the others was measured. What the output file has already is not measured again; networks that are
not in the folder are made. :mod:`reference.audit_one_class_summary` tells what comes of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detectors.probing.probing import Probed, probe
from reference.audit_attacks import CLEAN
from reference.audit_networks import Made, attack_of, logits, network, panel_data, qualities
from reference.audit_one_class_summary import lines
from reference.audit_panel import clean_pictures, panel
from reference.datasets import DataSet
from reference.evaluate import describe_machine, write_json
from scanner.base.errors import LatentscanError

ATTACK: Final = "patch-one-class"
FURTHER: Final = {"development": range(4, 8), "further": range(3000, 3015)}
"""Seeds of networks with a backdoor in one class alone, beside those of the panel, by part."""
FURTHER_CLEAN: Final = range(5000, 5030)
"""Seeds of further clean networks of the test, measured after the panel's thirty had more alarms than expected."""


class NotSearchedError(ValueError):
    """A network that pairs of classes cannot be searched for: it is left out, and the result says so."""


def networks() -> Iterator[tuple[str, Made]]:
    """Every network with its part: the development part first, then clean ones and others in turns."""
    known = [(part, made) for part, made in panel("mnist") if made.attack in (CLEAN, ATTACK)]
    known += [(part, Made("mnist", ATTACK, seed)) for part, seeds in FURTHER.items() for seed in seeds]
    known += [("further", Made("mnist", CLEAN, seed)) for seed in FURTHER_CLEAN]
    kinds: dict[tuple[str, str], list[tuple[str, Made]]] = {}
    for part, made in known:
        kinds.setdefault((part, made.attack), []).append((part, made))
    turns = [(row / len(kind), *one) for kind in kinds.values() for row, one in enumerate(kind)]
    turns.sort(key=lambda one: (one[1] != "development", one[0]))
    return ((part, made) for _, part, made in turns)


def measure(part: str, made: Made, data: DataSet, folder: Path, seed: int) -> dict[str, Any]:
    """One network; the seed chooses the halves of its pictures."""
    model, attack = network(made, data, folder), attack_of(made, data)
    accuracy, success = qualities(model, made, data)
    return {
        "part": part,
        "name": made.name,
        "attack": made.attack,
        "source": None if attack is None else attack.source,
        "target": None if attack is None else attack.target,
        "accuracy": round(accuracy, 4),
        "attack_success_rate": None if success is None else round(success, 4),
        **probed_by_pairs(model, clean_pictures(made, data), data, seed),
    }


def probed_by_pairs(model: nn.Module, pictures: NDArray[np.uint8], data: DataSet, seed: int = 0) -> dict[str, Any]:
    """What probing finds of a network, in numbers that are compared, and what it takes.

    Args:
        model: The network.
        pictures: Clean ones ``(N, H, W, C)``.
        data: Says how pictures are normalised.
        seed: Chooses the halves of them.

    Raises:
        NotSearchedError: If the network predicts some class for too few of the pictures.
    """

    def ask(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = logits(model, torch.from_numpy(pixels).permute(0, 3, 1, 2), data).numpy()
        return found

    started = time.monotonic()
    probed = probe(pictures, ask, lambda passes: True, seed)
    return {
        "seconds": round(time.monotonic() - started, 1),
        "passes": probed.passes,
        "statistics": [round(value, 4) for value in probed.statistics.tolist()],
        "look": [round(float(value), 3) for value in (pictures.mean(), pictures.std())],
        **_pairs(probed),
    }


def _pairs(probed: Probed) -> dict[str, Any]:
    """What is moved of pairs of classes, as ``[source, target, share]``, and how the classes look."""
    if probed.pairs is None or probed.looks is None:
        raise NotSearchedError("predicts some class for too few of the clean pictures")
    moved = np.round(probed.pairs.moved, 4)
    return {
        "pairs": [[int(source), int(target), float(moved[source, target])] for source, target in np.argwhere(moved)],
        "looks": np.rint(probed.looks).astype(int).tolist(),
    }


def run(
    about: str,
    networks: Iterable[tuple[str, Made]],
    told: Callable[[Sequence[Mapping[str, Any]]], Iterable[str]],
    name: str = "mnist",
    seed: int = 0,
) -> int:
    """Command line of a script that measures small networks, each with its part; returns the exit code.

    Args:
        about: What the script does, in a sentence.
        networks: What is measured, in this order, but for what the output file has.
        told: Lines about all of them.
        name: Of the data set.
        seed: Chooses the halves of each network's pictures.
    """
    parser = argparse.ArgumentParser(description=about)
    for option in ("data-dir", "networks", "out"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        data = panel_data(name, options.data_dir)
        result: dict[str, Any] = {"machine": describe_machine(), "data": data.title, "networks": []}
        if options.out.exists():
            result = json.loads(options.out.read_text(encoding="utf-8"))
        known = {one["name"] for one in [*result["networks"], *result.get("left_out", [])]}
        options.networks.mkdir(parents=True, exist_ok=True)
        for part, made in networks:
            if made.name in known:
                continue
            try:
                result["networks"].append(measure(part, made, data, options.networks, seed))
                print(made.name, result["networks"][-1]["seconds"], flush=True)
            except NotSearchedError as error:
                left_out = {"part": part, "name": made.name, "attack": made.attack, "why": str(error)}
                result.setdefault("left_out", []).append(left_out)
            write_json(options.out, result)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(*told(result["networks"]), sep="\n")
    return 0


def main() -> int:
    """Command line of this module; returns the exit code."""
    return run("Compare small networks by pairs of classes.", networks(), lines)


if __name__ == "__main__":
    sys.exit(main())
