"""What the checks of a graph's structure find in backdoored graphs, and what they say of clean ones.

    python -m reference.structure_graphs --out GRAPHS
    python -m reference.structure --graphs GRAPHS [--trained FOLDER] --out reference/results/structure.json

GRAPHS holds exported classifiers of other people, ``GROUP+NAME.onnx`` each (:mod:`reference.structure_graphs`); those
of :mod:`reference.structure_graphs_keras` may lie beside them. FOLDER holds ONNX files of trained networks as
they are published: they count as clean graphs, too, and the scales of their channels are measured. Every backdoored
graph of :mod:`reference.graph_backdoor_variants` is run beside the honest network.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper
from scipy.stats import beta

from reference.evaluate import describe_machine, write_json
from reference.graph_backdoor_variants import VARIANTS
from reference.graph_backdoors import behaviour, clean_images
from scanner.graph.structure.analyse import analyse
from scanner.graph.structure.read import read_program_bytes, read_program_path
from scanner.graph.structure.words import suspicions
from scanner.verdict.structure import graph_severity

LEVEL: Final = 0.95
_PACKAGES: Final = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxruntime-gpu", "tf2onnx")


def clean_graph(path: Path) -> dict[str, Any]:
    """What is said of one clean graph."""
    found = analyse(read_program_path(path))
    origin = onnx.load(path, load_external_data=False)
    return {
        "producer": f"{origin.producer_name} {origin.producer_version}".strip(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "fewest": found.fewest,
        "joined": found.joined,
        "selected": found.selected,
        "severity": graph_severity(found).value,
        "said": [sentence for _, sentence in suspicions(found)],
    }


def backdoors() -> Iterator[dict[str, Any]]:
    """What each backdoored graph does, and what is said of it."""
    images = clean_images()
    for variant in VARIANTS:
        attacked, kept = behaviour(variant, images)
        found = analyse(read_program_bytes(variant.build().SerializeToString()))
        yield {
            "name": variant.name,
            "attack_success": attacked,
            "predictions_kept": kept,
            "severity": graph_severity(found).value,
            "expected": variant.seen,
            "rules": [rule for rule, _ in suspicions(found)],
            "fewest": found.fewest,
        }


def channel_scales(path: Path) -> dict[str, float | int]:
    """How far a channel's largest weight is from its layer's median one: the extremes over all layers."""
    low, high, layers = 1.0, 1.0, 0
    for tensor in onnx.load(path).graph.initializer:
        if len(tensor.dims) not in (2, 4) or tensor.data_type != onnx.TensorProto.FLOAT or tensor.dims[0] < 4:
            continue
        weights = numpy_helper.to_array(tensor)
        largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
        if (median := float(np.median(largest))) > 0:
            layers += 1
            low, high = min(low, float(largest.min()) / median), max(high, float(largest.max()) / median)
    return {"layers": layers, "smallest": low, "largest": high}


def at_most(wrong: int, graphs: int) -> float:
    """Upper end of the exact one-sided interval for the share of clean graphs that are reported."""
    return 1.0 if wrong >= graphs else float(beta.ppf(LEVEL, wrong + 1, graphs - wrong))


def summary(groups: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Counts over all clean graphs, and by group."""
    rows = [row for group in groups.values() for row in group.values()]
    wrong = sum(row["severity"] != "none" for row in rows)
    return {
        "graphs": len(rows),
        "distinct": len({row["sha256"] for row in rows}),
        "by_group": {name: len(group) for name, group in groups.items()},
        "producers": {name: sorted({row["producer"] for row in group.values()}) for name, group in groups.items()},
        "reported": wrong,
        "reported_at_most": at_most(wrong, len(rows)),
        "level": LEVEL,
        "fewest": dict(sorted(Counter(str(row["fewest"]) for row in rows).items(), key=lambda pair: int(pair[0]))),
    }


def failures(folder: Path) -> dict[str, str]:
    """Models that could not be exported, and why."""
    return {
        path.name.removesuffix(".failed"): path.read_text(encoding="utf-8").splitlines()[0][:200]
        for path in sorted(folder.glob("*.failed"))
    }


def libraries() -> dict[str, str]:
    """Versions of what exported and ran the graphs."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=Path, required=True)
    parser.add_argument("--trained", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(options.graphs.glob("*+*.onnx")):
        group, _, name = path.stem.partition("+")
        groups.setdefault(group, {})[name] = clean_graph(path)
    trained = sorted(options.trained.glob("*.onnx")) if options.trained else []
    if trained:
        groups["published"] = {path.stem: clean_graph(path) for path in trained}
    result = {
        "machine": describe_machine(),
        "libraries": libraries(),
        "summary": summary(groups),
        "backdoors": list(backdoors()),
        "channel_scales": {path.stem: channel_scales(path) for path in trained},
        "clean": groups,
        "not_exported": failures(options.graphs),
    }
    write_json(options.out, result)


if __name__ == "__main__":
    main()
