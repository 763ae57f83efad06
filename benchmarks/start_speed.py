"""Measure how long it takes until a command has done something small, beside an earlier version.

    python benchmarks/start_speed.py --out benchmarks/results/start.json --before ../checkout-of-an-earlier-version

Whole processes, run alternately: both versions, and a plain one that starts Python, loads the same network with ONNX
Runtime and runs the same eight images once. Modules are compiled beforehand, as those of an installed package are. The
network has random weights: speed does not depend on them. On a machine that does other work, CPU seconds count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fit_speed import PLAIN, ROOT, Case, measure_process, prepare

IMAGES = 8
REFERENCE = Case("resnet18", ".onnx", 224, 600, 1)
PACKAGES = ("latentscan", "scanner", "detectors", "reference")


def commands(folder: Path) -> dict[str, list[str]]:
    """What is started, by its name; a profile and the images of a scan are made before."""
    model, plain, reference = prepare(REFERENCE, folder)
    _, _, images = prepare(Case("resnet18", ".onnx", 224, IMAGES, 1), folder)
    cli = [sys.executable, "-m", "scanner"]
    profile = ["--profile", str(folder / "profile.h5")]
    fitting = [*cli, "fit", str(model), "--clean", str(reference), "--no-labels", "--preprocess", "cifar10", "-q"]
    measure_process([*fitting, "-o", profile[1], "--device", "cpu"], ROOT)
    scanning = [*cli, "scan", str(images), *profile, "--fail-on", "never", "--allow-drift", "made-up images"]
    return {
        "--help": [*cli, "--help"],
        "import latentscan": [sys.executable, "-c", "import latentscan"],
        "scan of 8 images": [*scanning, "-q", "--device", "cpu"],
        "plain pass of 8 images": [sys.executable, "-c", PLAIN, str(plain), str(images), str(IMAGES)],
    }


def measure(repeats: int, before: Path) -> dict[str, Any]:
    """Medians of every command in both versions, and the ratio of their CPU seconds."""
    for tree in (ROOT, before):
        compiling = [sys.executable, "-m", "compileall", "-q", *(str(tree / package) for package in PACKAGES)]
        subprocess.run(compiling, check=True)
    with tempfile.TemporaryDirectory() as name:
        wanted = commands(Path(name))
        found: dict[str, dict[str, list[dict[str, float]]]] = {key: {"before": [], "now": []} for key in wanted}
        for _ in range(repeats):
            for key, command in wanted.items():
                for version, tree in (("before", before), ("now", ROOT)):
                    found[key][version].append(measure_process(command, tree))
    return {key: summary(runs) for key, runs in found.items()}


def summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of each version, and the ratio of the CPU seconds of both."""
    ratios = sorted(
        now["cpu_seconds"] / before["cpu_seconds"] for before, now in zip(runs["before"], runs["now"], strict=True)
    )
    medians = {
        version: {key: round(statistics.median(run[key] for run in measured), 3) for key in measured[0]}
        for version, measured in runs.items()
    }
    return {
        **medians,
        "ratio": round(statistics.median(ratios), 3),
        "range": [round(ratios[0], 3), round(ratios[-1], 3)],
    }


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Seconds until a command has done something small.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--before", type=Path, required=True, help="A checkout of an earlier version.")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    from reference.evaluate import describe_machine

    cases = measure(options.repeats, options.before)
    text = json.dumps({"machine": describe_machine(), "repeats": options.repeats, "cases": cases}, indent=2)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
