"""Measure the scanner on the paper's models, from real files through the real command line.

    python -m reference.evaluate --data-dir DATA --runs RUNS --work WORK --out reference/results/cli.json

For each finished training run (:mod:`reference.training`) the official test set is split into two stratified halves.
One is the clean reference, in class folders. Of the other, every picture is scanned twice: as it is, and with the
trigger. ``fit`` and ``scan`` run as processes, once with each recipe; their rows are compared with the truth. Pixels
are stored losslessly, also those that were decoded from JPEG.

What is finished is kept in WORK and not repeated: delete a folder there to measure it again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reference.attacks import Attack, attack_named
from reference.datasets import DataSet, ImageSet, load, stratified_halves
from reference.features import ARCHITECTURES
from reference.files import mix, write_class_folders
from reference.outcome import Outcome, rates, read_outcomes
from scanner import __version__
from scanner.base.atomic import atomic_writer, output_error
from scanner.base.errors import LatentscanError, SourceError

CLI = (sys.executable, "-m", "scanner")
RUNS = ("mnist-four-pixels-10-seed0", "cifar10-square-10-seed0")
RECIPES: Mapping[str, tuple[str, ...]] = {"default": (), "paper": ("--recipe", "paper")}
# Subedar et al., DeepFeatures at 10% backdoored samples. Their CIFAR-10 is the lossless one.
PUBLISHED_AUPR = {"mnist": 0.9943, "cifar10": 0.9187}
ALPHA = 0.01
# A white patch on a white corner is no trigger: below this largest change of a pixel, a pair counts as unchanged.
UNCHANGED_GREY_LEVELS = 10
_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy", "scikit-learn", "pillow")


@dataclass(frozen=True)
class Case:
    """One finished training run and the files made for it.

    Attributes:
        name: Name of the run.
        model: The trained state dict.
        record: What the training wrote about it.
        data: Its data set.
        attack: Its attack.
        seed: Of the split into reference and inputs, and of the order of the inputs.
        folder: Where everything made for it goes.
    """

    name: str
    model: Path
    record: Mapping[str, Any]
    data: DataSet
    attack: Attack
    seed: int
    folder: Path

    @property
    def images(self) -> Path:
        """Folder of ``ref``, ``inputs`` and ``truth.csv``."""
        return self.folder / "images"


def open_case(name: str, runs: Path, data_dir: Path, work: Path, seed: int) -> Case:
    """Read a finished training run and its data.

    Raises:
        SourceError: If the run is not finished, or its data cannot be read.
    """
    folder = runs / name
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        config = record["config"]
        data = load(config["data"], data_dir)
        _, channels, height, width = data.test.images.shape
        attack = attack_named(config["attack"], (channels, height, width))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(
            "is not a finished training run", where=str(folder), hint="Train it with python -m reference.training"
        ) from error
    return Case(name, folder / "model.pt", record, data, attack, seed, work / f"{name}-split{seed}")


def held_out(case: Case) -> tuple[ImageSet, ImageSet]:
    """The reference half of the official test set, and the half that is scanned."""
    reference, scanned = stratified_halves(case.data.test.labels, case.seed)
    return case.data.test.take(reference), case.data.test.take(scanned)


def write_case(case: Case) -> None:
    """Write ``images/ref``, ``images/inputs`` and ``images/truth.csv``, unless they are there."""
    if case.images.exists():
        return
    reference, scanned = held_out(case)
    everything = torch.arange(len(scanned))
    mixture = mix(scanned, everything, everything, case.attack, case.data.classes, case.seed)
    unfinished = case.folder / "images.part"
    try:
        if unfinished.exists():
            shutil.rmtree(unfinished)
        write_class_folders(unfinished / "ref", reference, case.data.classes)
        mixture.write(unfinished / "inputs", unfinished / "truth.csv")
        unfinished.rename(case.images)
    except OSError as error:
        raise output_error(error, case.folder) from error


def measure(case: Case, recipe: str) -> dict[str, Any]:
    """Fit and scan with one recipe, and compare with the truth; a finished measurement is read back."""
    folder = case.folder / recipe
    result = folder / "result.json"
    if result.exists():
        finished: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    profile, rows = folder / "profile.h5", folder / "rows.jsonl"
    fit_command: list[str | Path] = ["fit", case.model, "--arch", ARCHITECTURES[case.data.name]]
    fit_command += ["--clean", case.images / "ref", "-o", profile, *RECIPES[recipe]]
    fit_seconds, _ = _run(fit_command, accepted=(0,))
    scan_command: list[str | Path] = ["scan", case.images / "inputs", "--profile", profile, "--alpha", str(ALPHA)]
    scan_command += ["--report", folder / "report.json", "--rows", rows]
    scan_seconds, exit_code = _run(scan_command, accepted=(0, 1))
    outcomes, unscored = read_outcomes(rows, case.images / "truth.csv")
    summary = {
        **summarise(outcomes, unchanged_pairs(case)),
        "not_scored": unscored,
        "severity": _severity(folder / "report.json"),
        "scan_exit_code": exit_code,
        "fit_seconds": round(fit_seconds, 1),
        "scan_seconds": round(scan_seconds, 1),
        "profile_bytes": profile.stat().st_size,
    }
    write_json(result, summary)
    return summary


def _run(arguments: Sequence[str | Path], accepted: tuple[int, ...]) -> tuple[float, int]:
    """Run the command line; seconds and exit code."""
    started = time.monotonic()
    # The arguments are this script's own; what the command prints goes where this script's output goes.
    code = subprocess.run([*CLI, *map(str, arguments)], stdout=sys.stderr, check=False).returncode  # noqa: S603
    if code not in accepted:
        raise LatentscanError(f"{arguments[0]} ended with exit code {code}", hint="Its message is above")
    return time.monotonic() - started, code


def _severity(report: Path) -> str | None:
    content = json.loads(report.read_text(encoding="utf-8"))
    severity: str | None = content["verdict"]["severity"]
    return severity


def unchanged_pairs(case: Case) -> set[int]:
    """Indices within the scanned half of the pictures that the trigger hardly changes."""
    _, scanned = held_out(case)
    change = case.attack.trigger.apply(scanned.images).int() - scanned.images.int()
    largest = change.abs().flatten(1).amax(1)
    return set(torch.nonzero(largest <= UNCHANGED_GREY_LEVELS).flatten().tolist())


def summarise(outcomes: Sequence[Outcome], unchanged: set[int]) -> dict[str, Any]:
    """All figures of one scan.

    Args:
        outcomes: Every scored input.
        unchanged: ``source`` of the pairs whose trigger changes next to nothing.
    """
    triggered = [outcome for outcome in outcomes if outcome.truth.triggered]
    clean = [outcome for outcome in outcomes if not outcome.truth.triggered]
    successful = [each for each in triggered if each.predicted_class == each.truth.attack_label]
    changed = [outcome for outcome in outcomes if outcome.truth.source not in unchanged]
    return {
        "all": _rounded(outcomes),
        "without_unchanged_pairs": _rounded(changed),
        "only_where_the_attack_succeeds": _rounded([*clean, *successful]),
        "source_class_accuracy": _share(each.source_class == each.truth.true_label for each in triggered),
        "source_class_accuracy_where_the_attack_succeeds": _share(
            each.source_class == each.truth.true_label for each in successful
        ),
        "clean_accuracy": _share(each.predicted_class == each.truth.true_label for each in clean),
        "attack_success_rate": _share(each.predicted_class == each.truth.attack_label for each in triggered),
    }


def _rounded(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {name: round(value, 6) for name, value in asdict(rates(outcomes)).items()}


def _share(hits: Iterable[bool]) -> float | None:
    counted = list(hits)
    return round(sum(counted) / len(counted), 6) if counted else None


def describe_machine() -> dict[str, Any]:
    """Processor, cores and versions: what timings depend on, and nothing that names the machine."""
    processor = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {"latentscan": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = {"processor": processor, "cores": os.cpu_count(), "system": platform.system(), "versions": versions}
    return machine | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON, whole or not at all."""
    with atomic_writer(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def evaluate(names: Sequence[str], runs: Path, data_dir: Path, work: Path, seed: int) -> dict[str, Any]:
    """Measure every run with every recipe.

    Raises:
        LatentscanError: If a run is not finished, or ``fit`` or ``scan`` fails.
    """
    models = {}
    for name in names:
        case = open_case(name, runs, data_dir, work, seed)
        print(f"{name}: writing files", file=sys.stderr, flush=True)
        write_case(case)
        measured = {}
        for recipe in RECIPES:
            print(f"{name}: recipe {recipe}", file=sys.stderr, flush=True)
            measured[recipe] = measure(case, recipe)
        models[name] = {
            "data": case.data.title,
            "architecture": ARCHITECTURES[case.data.name],
            "training": case.record,
            "model_sha256": hashlib.sha256(case.model.read_bytes()).hexdigest(),
            "published_deep_features_aupr": PUBLISHED_AUPR.get(case.data.name),
            "recipes": measured,
        }
    return {
        "command": "python -m reference.evaluate",
        "split_seed": seed,
        "alpha": ALPHA,
        "unchanged_grey_levels": UNCHANGED_GREY_LEVELS,
        "machine": describe_machine(),
        "models": models,
    }


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure fit and scan on finished training runs.")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with MNIST and CIFAR-10")
    parser.add_argument("--runs", type=Path, required=True, help="folder of reference.training's runs")
    parser.add_argument("--run", action="append", help="name of a run, repeatable; default: the paper's two at 10%%")
    parser.add_argument("--work", type=Path, required=True, help="folder for images, profiles and rows")
    parser.add_argument("--out", type=Path, required=True, help="result file, JSON")
    parser.add_argument("--seed", type=int, default=0, help="of the split into reference and inputs")
    options = parser.parse_args()
    try:
        result = evaluate(options.run or RUNS, options.runs, options.data_dir, options.work, options.seed)
        write_json(options.out, result)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
