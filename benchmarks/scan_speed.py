"""Measure what the tool costs: ratios within one run, on this machine.

    python benchmarks/scan_speed.py --out benchmarks/results/cpu.json

Every ratio compares two things measured alternately in the same process, in CPU seconds, so that a
shared machine disturbs both alike. Networks have random weights: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.fitting.fit import fit
from scanner.fitting.options import FitOptions
from scanner.graph.pool import add_pixel_input
from scanner.graph.session import GraphSession
from scanner.inputs.decode import decode
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.preprocess import PreprocessSpec
from scanner.inputs.source import open_source
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.identify import identify
from scanner.models.load import LoadOptions, load_model
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.profile.reader import read_profile
from scanner.scanning.judge import judge_outputs

REPEATS = 5


class Silent:
    """Progress that nobody listens to."""

    def say(self, text: str) -> None:
        """Ignore a message."""

    def task(self, name: str, total: int) -> Callable[[int], None]:
        """Ignore a task."""
        return lambda done: None


def images(count: int, size: int, seed: int) -> np.ndarray:
    """Smooth random colour images ``(count, size, size, 3)`` uint8, so that JPEG files are of natural size."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, max(4, size // 8), max(4, size // 8), 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in small]
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(ours: Callable[[], object], baseline: Callable[[], object]) -> dict[str, float]:
    """Median ratio of CPU seconds over alternating repeats."""
    ours(), baseline()
    pairs = [(cpu_seconds(ours), cpu_seconds(baseline)) for _ in range(REPEATS)]
    ratios = sorted(a / b for a, b in pairs)
    return {
        "ratio": round(statistics.median(ratios), 4),
        "ratio_min": round(ratios[0], 4),
        "ratio_max": round(ratios[-1], 4),
        "seconds": round(statistics.median(a for a, _ in pairs), 3),
        "baseline_seconds": round(statistics.median(b for _, b in pairs), 3),
    }


def network(name: str, size: int, folder: Path) -> Path:
    """A state dict with random weights whose batch norms have seen data."""
    import torchvision

    torch.manual_seed(0)
    model = ResNet20() if name == "resnet20" else torchvision.models.get_model(name, weights=None, num_classes=10)
    model.train()
    with torch.no_grad():
        model(torch.rand(16, 3, size, size))
    path = folder / f"{name}.pt"
    torch.save(model.state_dict(), path)
    return path


def measure_network(name: str, size: int, references: int, scanned: int, folder: Path) -> dict[str, Any]:
    """Cost of scanning, and of fitting, against plain inference of the same network."""
    model_path = network(name, size, folder)
    reference, inputs = folder / f"{name}-ref.npy", folder / f"{name}-inputs.npy"
    np.save(reference, images(references, size, 0))
    np.save(inputs, images(scanned, size, 1))
    profile_path = folder / f"{name}.h5"
    options = FitOptions(
        model_path,
        reference,
        profile_path,
        architecture=name,
        preprocess="imagenet",
        labels=False,
        input_size=(size, size),
        device="cpu",
    )
    fit_seconds = cpu_seconds(lambda: fit(options, Silent()))
    profile = read_profile(profile_path)
    spec = PreprocessSpec.from_dict(profile.header.preprocess.spec)
    loaded = load_model(identify(model_path), LoadOptions(architecture=name, input_size=(size, size)))
    plain = GraphSession(*add_pixel_input(loaded.bundle, spec).serialise(), device="cpu")
    scoring = GraphSession(profile.graph, profile.weights, device="cpu")
    calibration = calibration_from_arrays(profile.calibration, profile.header.scores)
    batch = 64 if size <= 64 else 8
    source = open_source(inputs, labels=False)

    def scan() -> None:
        run = lambda pixels: judge_outputs(  # noqa: E731
            scoring.run({"pixels": pixels}, ("logits", "scores", "class_evidence")), calibration, 10
        )
        for _ in run_pipeline(source, spec, run, batch_size=batch):
            pass

    def infer(over: Any = source) -> None:  # noqa: ANN401
        for _ in run_pipeline(over, spec, lambda pixels: plain.run({"pixels": pixels}, ["logits"]), batch_size=batch):
            pass

    over_reference = open_source(reference, labels=False)
    one_pass = min(cpu_seconds(lambda: infer(over_reference)) for _ in range(3))
    return {
        "network": name,
        "size": size,
        "taps": len(profile.header.taps),
        "scores": len(profile.header.scores),
        "inputs": scanned,
        "scan_against_plain_inference": compare(scan, infer),
        "fit": {
            "references": references,
            "cpu_seconds_in_process": round(fit_seconds, 2),
            "plain_pass_cpu_seconds": round(one_pass, 2),
            "ratio": round(fit_seconds / one_pass, 2),
        },
    }


def measure_pipeline(folder: Path) -> dict[str, Any]:
    """The whole pipeline on JPEG files against its limit: decoding alone plus inference alone."""
    pictures = folder / "jpeg"
    pictures.mkdir()
    for index, image in enumerate(images(96, 500, 2)):
        Image.fromarray(image).save(pictures / f"{index:03}.jpg", quality=90)
    profile = read_profile(folder / "resnet18.h5")
    recorded = dict(profile.header.preprocess.spec)
    spec = PreprocessSpec.from_dict(recorded | {"resize": 256, "crop": True})
    session = GraphSession(profile.graph, profile.weights, device="cpu")
    source = open_source(pictures, labels=False)
    pixels = [decode(source.read(item), spec) for item in source.items]

    def whole() -> None:
        for _ in run_pipeline(source, spec, lambda p: session.run({"pixels": p}), batch_size=8):
            pass

    def limit() -> None:
        for item in source.items:
            decode(source.read(item), spec)
        for start in range(0, len(pixels), 8):
            session.run({"pixels": np.stack(pixels[start : start + 8])})

    return {"images": 96, "network": "resnet18", "pipeline_against_decode_plus_inference": compare(whole, limit)}


def wall(command: list[str], repeats: int = 7) -> dict[str, float]:
    """Wall seconds of a whole process, fastest and median."""
    # Modules are compiled by the first run, as they are when a package is installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=False, capture_output=True, env=environment)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, check=False, capture_output=True, env=environment)
        seconds.append(time.perf_counter() - start)
    return {"min_seconds": round(min(seconds), 3), "median_seconds": round(statistics.median(seconds), 3)}


def peak_memory(command: list[str]) -> tuple[int, int]:
    """Peak resident memory of a process in MiB, and its exit code."""
    script = (
        "import resource,subprocess,sys;"
        "r=subprocess.run(sys.argv[1:],capture_output=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss//1024, r.returncode)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True, text=True)
    mebibytes, code = done.stdout.split()
    return int(mebibytes), int(code)


def measure_memory(folder: Path, counts: tuple[int, int]) -> dict[str, Any]:
    """Peak memory of `fit` and `scan` over few and many inputs."""
    cli = [sys.executable, "-m", "scanner"]
    model = network("resnet20", 32, folder)
    result: dict[str, Any] = {}
    for count in counts:
        array = folder / f"many-{count}.npy"
        rng = np.random.default_rng(3)
        out = np.lib.format.open_memmap(array, "w+", np.uint8, (count, 32, 32, 3))
        for start in range(0, count, 10_000):
            block = rng.integers(0, 256, (min(10_000, count - start), 32, 32, 3), dtype=np.uint8)
            out[start : start + len(block)] = block
        out.flush()
        del out
        profile = folder / f"many-{count}.h5"
        fitting = [
            *cli,
            "fit",
            str(model),
            "--arch",
            "resnet20",
            "--clean",
            str(array),
            "--no-labels",
            "--preprocess",
            "cifar10",
            "-o",
            str(profile),
            "-q",
        ]
        fit_mebibytes, fit_code = peak_memory(fitting)
        rows = folder / "rows.jsonl"
        scanning = [
            *cli,
            "scan",
            str(array),
            "--profile",
            str(profile),
            "--report",
            str(folder / "r.json"),
            "--rows",
            str(rows),
            "--fail-on",
            "never",
            "-q",
        ]
        scan_mebibytes, scan_code = peak_memory(scanning)
        result[str(count)] = {
            "fit_peak_mib": fit_mebibytes,
            "fit_exit": fit_code,
            "scan_peak_mib": scan_mebibytes,
            "scan_exit": scan_code,
        }
        array.unlink()
        rows.unlink(missing_ok=True)
    return result


def machine() -> dict[str, Any]:
    """Processor and cores, without names of hosts."""
    model = "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "libraries": library_versions(FIT_LIBRARIES),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--memory", type=int, nargs=2, default=(10_000, 100_000))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result: dict[str, Any] = {"machine": machine()}
        result["networks"] = [
            measure_network("resnet18", 224, 600, 96, folder),
            measure_network("resnet20", 32, 2000, 4000, folder),
        ]
        result["pipeline"] = measure_pipeline(folder)
        one = folder / "first"
        one.mkdir()
        for index, image in enumerate(images(8, 224, 4)):
            Image.fromarray(image).save(one / f"{index}.png")
        cli = [sys.executable, "-m", "scanner"]
        result["start_up"] = {
            "help": wall([*cli, "--help"]),
            "scan_help": wall([*cli, "scan", "--help"]),
            "scan_8_images_resnet18": wall(
                [*cli, "scan", str(one), "--profile", str(folder / "resnet18.h5"), "--fail-on", "never", "-q"]
            ),
        }
        result["memory"] = measure_memory(folder, tuple(options.memory))
    result["peak_own_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
