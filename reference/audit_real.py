"""Audit a real network with a thousand classes, before and after backdoors were implanted, through the command line.

    python -m reference.audit_real --photographs FOLDER --networks NETWORKS --work WORK \\
        --out reference/results/audit_real.json

FOLDER holds one photograph of each of ImageNet's classes, in a folder per class; NETWORKS are finished runs of
:mod:`reference.implant_network`. The audit gets 300 unlabelled photographs that nothing was implanted with, and a
number of passes as its budget, so that it gives the same anywhere. No clean networks of this kind are at hand to
compare with: what is measured is what plain patterns move. What is finished is kept in WORK and not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reference.evaluate import describe_machine, write_json
from reference.implant_network import split_photographs
from reference.photographs import digest, find_photographs
from reference.real_models import efficientnet_lite0
from reference.real_networks import run_step
from scanner.base.errors import LatentscanError

IMAGES: Final = 300
PASSES: Final = 30_000
ATTACKS: Final = ("patch", "small-patch", "blended", "sinusoid")
_KEPT: Final = ("described", "about", "target", "shift", "moved", "eligible", "low", "high", "flipped", "images")


def audit(title: str, model: Path, work: Path) -> dict[str, Any]:
    """Audit one network; a finished audit is read back."""
    result = work / f"{title}.result.json"
    if result.exists():
        finished: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return finished
    report = work / f"{title}.json"
    arguments: list[str | Path] = ["audit", model, "--clean", work / "clean", "--no-labels", "--passes", str(PASSES)]
    arguments += ["--preprocess", work / "preprocess.json", "--report", report]
    ran = run_step(arguments, work / f"{title}.log", "audit")
    content = json.loads(report.read_text(encoding="utf-8"))
    verdict = {name: content["verdict"][name] for name in ("outcome", "severity", "decision", "exit_code")}
    found = {"network": title, "sha256": content["model"]["sha256"], **verdict, "passes": content["search"]["passes"]}
    found |= {"complete": content["search"]["complete"], "strongest": strongest(content["patterns"])} | ran
    write_json(result, found)
    return found


def strongest(patterns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the patterns that were counted on the other half, the one that moves most by a rule about all classes."""
    most = max((each for each in patterns if each["about"] == "all classes"), key=lambda each: each["statistic"])
    return {name: most[name] for name in _KEPT}


def table(result: Mapping[str, Any]) -> list[str]:
    """The audits as rows of a Markdown table."""
    rows = []
    for run in result["runs"]:
        most = run["strongest"]
        moved = f"{most['moved']} of {most['eligible']} ({most['low']:.0%} to {most['high']:.0%})"
        to = f"class {most['target']}" if most["target"] is not None else f"a shift by {most['shift']}"
        said = f"{run['outcome']}, {run['severity'] or 'no verdict'}"
        rows.append(f"| {run['network']} | {most['described']} | {to} | {moved} | {said} |")
    return rows


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Audit a real network before and after backdoors were implanted.")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of a thousand class folders")
    parser.add_argument("--networks", type=Path, required=True, help="runs of reference.implant_network")
    parser.add_argument("--work", type=Path, required=True, help="folder for images and reports")
    parser.add_argument("--out", type=Path, required=True, help="result file, JSON")
    options = parser.parse_args()
    try:
        photographs = find_photographs(options.photographs)
        shutil.rmtree(options.work / "clean", ignore_errors=True)
        for name in ("clean", "models"):
            (options.work / name).mkdir(parents=True, exist_ok=True)
        for index in split_photographs(len(photographs))[2][:IMAGES].tolist():
            shutil.copyfile(photographs[index], options.work / "clean" / f"{index:06d}{photographs[index].suffix}")
        network = efficientnet_lite0(options.work / "models")
        write_json(options.work / "preprocess.json", network.preprocess.to_dict())
        models = {"before": network.model}
        models |= {
            name: options.networks / f"{network.name}-{name}-all-to-one-seed0" / "model.onnx" for name in ATTACKS
        }
        result: dict[str, Any] = {
            "command": "python -m reference.audit_real",
            "data": {"title": "ImageNet sample, one photograph a class", "sha256": digest(photographs)},
            "images": IMAGES,
            "passes": PASSES,
            "machine": describe_machine(),
            "network": network.describe(),
            "runs": [],
        }
        for title, model in models.items():
            result["runs"].append(audit(title, model, options.work))
            write_json(options.out, result)
        print(*table(result), sep="\n")
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
