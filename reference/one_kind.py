"""Scan clean photographs of one kind against a reference of all kinds, through the real command line.

    python -m reference.one_kind --photographs FOLDER --work WORK --out reference/results/one_kind.json

FOLDER holds one photograph of each of ImageNet's classes, in a folder per class. 250 of them, chosen by a seed, are the
unlabelled reference of EfficientNet-Lite0. The inputs are the other dogs, or the other birds, or the other reptiles and
amphibians, and nothing else. Nothing is triggered: that all inputs are alike must not be taken for a trigger that they
share, and that they are unlike the reference is what a drift is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reference.evaluate import ALPHA, describe_machine, write_json
from reference.photographs import Setting, digest, find_photographs, split, write_images
from reference.real_models import RealNetwork, efficientnet_lite0
from reference.real_networks import outcome, run_step
from scanner.base.errors import LatentscanError

REFERENCES: Final = 250
SEEDS: Final = (0, 1, 2, 3, 4)
KINDS: Final[Mapping[str, Sequence[int]]] = {
    "dogs": range(151, 269),
    "birds": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "reptiles": range(25, 69),
}
"""In ImageNet's order of classes."""


def measure(network: RealNetwork, photographs: Sequence[Path], seed: int, work: Path) -> list[dict[str, Any]]:
    """Fit to one reference and scan each kind; a finished measurement is read back."""
    setting = Setting(network.name, REFERENCES, "none", seed, inputs=0)
    folder = work / setting.name
    result = folder / "result.json"
    if result.exists():
        finished: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))["runs"]
        return finished
    images, profile = folder / "images", folder / "profile.h5"
    write_images(images, photographs, setting)
    write_json(folder / "preprocess.json", network.preprocess.to_dict())
    fit: list[str | Path] = ["fit", network.model, *network.options, "--clean", images / "ref", "--no-labels"]
    fit += ["--preprocess", folder / "preprocess.json", "--device", "cpu", "-o", profile]
    fitted = run_step(fit, folder / "fit.log", "fit")
    runs = [scan(kind, split(len(photographs), setting)[2], photographs, folder) for kind in KINDS]
    runs = [{"seed": seed, "references": REFERENCES} | run | fitted for run in runs]
    write_json(result, {"runs": runs})
    shutil.rmtree(images)
    profile.unlink()
    return runs


def scan(kind: str, others: Sequence[int], photographs: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Scan those of the photographs that are not in the reference and of one kind."""
    inputs = folder / "images" / kind
    inputs.mkdir(parents=True)
    for index in sorted(set(others) & set(KINDS[kind])):
        shutil.copyfile(photographs[index], inputs / f"{index:06d}{photographs[index].suffix}")
    report, rows = folder / f"{kind}.json", folder / f"{kind}.jsonl"
    arguments: list[str | Path] = ["scan", inputs, "--profile", folder / "profile.h5", "--alpha", str(ALPHA)]
    arguments += ["--report", report, "--rows", rows, "--device", "cpu", "--threads", "1"]
    found = {"kind": kind} | run_step(arguments, folder / f"{kind}.log", "scan")
    content = json.loads(report.read_text(encoding="utf-8"))
    status = {check["id"]: check["status"] for check in content["checks"]}
    said = {"units_p": content["batch"]["shared_units"]["p_value"], "drift": status["LS207"]}
    return found | outcome(report, rows) | said


def table(result: Mapping[str, Any]) -> list[str]:
    """The scans as rows of a Markdown table."""
    return [
        f"| {run['seed']} | {run['kind']} | {run['scanned']} | {run['flagged']} ({run['interval'][0]} to "
        f"{run['interval'][1]}) | {run['batch_p']:.1e} | {run['units_p']:.1e} | {run['drift']} | "
        f"{run['severity'] or 'no verdict'}, {run['decision']} |"
        for run in result["runs"]
    ]


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Scan clean photographs of one kind.")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of a thousand class folders")
    parser.add_argument("--work", type=Path, required=True, help="folder for the model, profiles and rows")
    parser.add_argument("--out", type=Path, required=True, help="result file, JSON")
    options = parser.parse_args()
    try:
        photographs = find_photographs(options.photographs)
        (options.work / "models").mkdir(parents=True, exist_ok=True)
        network = efficientnet_lite0(options.work / "models")
        result = {
            "command": "python -m reference.one_kind",
            "data": {"title": "ImageNet sample, one photograph a class", "sha256": digest(photographs)},
            "alpha": ALPHA,
            "machine": describe_machine(),
            "network": network.describe(),
            "runs": [run for seed in SEEDS for run in measure(network, photographs, seed, options.work)],
        }
        write_json(options.out, result)
        print(*table(result), sep="\n")
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
