"""Measure what `fit` costs as a whole process, against a process that runs the same network once over the same images.

    python benchmarks/fit_speed.py --out benchmarks/results/fit.json --before ../checkout-of-an-earlier-version

The plain process starts Python, loads the ONNX file with ONNX Runtime and runs all images through it on one thread: no
`fit` can do less. Both are run alternately, and the earlier version with them where one is given. CPU seconds are of a
process and all that it started; the peak of memory is of the largest of them. Networks have random weights: speed does
not depend on them. A second call with the same --out goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLAIN = """
import sys
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
images, batch = np.load(sys.argv[2], mmap_mode="r"), int(sys.argv[3])
for start in range(0, len(images), batch):
    pixels = images[start : start + batch].transpose(0, 3, 1, 2) / np.float32(255)
    session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(pixels, np.float32)})
"""
# A process begins with the peak of memory of the one that it was forked from, which therefore has to be a small one.
LAUNCHER = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Case:
    """A network, the form of its file, and a reference; repeats of the measurement."""

    network: str
    suffix: str
    size: int
    images: int
    repeats: int

    @property
    def name(self) -> str:
        """What it is called in the results."""
        return f"{self.network} at {self.size}, {'ONNX' if self.suffix == '.onnx' else 'state dict'}, {self.images}"

    @property
    def batch(self) -> int:
        """Images a run of the plain pass, as many as `fit` takes."""
        return 64 if self.size <= 64 else 8


CASES = (
    Case("resnet20", ".onnx", 32, 200, 5),
    Case("resnet20", ".pt", 32, 200, 3),
    Case("resnet18", ".onnx", 224, 600, 1),
    Case("resnet20", ".onnx", 32, 1_000, 1),
    Case("resnet20", ".onnx", 32, 30_000, 1),
    Case("resnet20", ".onnx", 32, 100_000, 1),
)


def measure_process(command: list[str], package: Path) -> dict[str, float]:
    """Seconds on the clock, CPU seconds and the peak of memory in MiB of a process and what it starts.

    Raises:
        RuntimeError: If it fails.
    """
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(package)
    started = [sys.executable, "-I", "-c", LAUNCHER, *command]
    done = subprocess.run(started, capture_output=True, text=True, env=environment, cwd=package, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[:5]} failed: {done.stderr[-2000:]}")
    seconds, cpu_seconds, kibibytes = map(float, done.stdout.split()[-3:])
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": kibibytes / 1024}


def prepare(case: Case, folder: Path) -> tuple[Path, Path, Path]:
    """The file to fit, the same network as ONNX, and the images.

    PyTorch makes them in a process of its own, which leaves no trace in what is measured.
    """
    model, plain = folder / f"{case.network}{case.suffix}", folder / f"{case.network}.onnx"
    images = folder / f"{case.size}-{case.images}.npy"
    words = [str(folder), case.network, str(case.size), str(case.images)]
    subprocess.run(
        [sys.executable, __file__, "--prepare", *words], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    return model, plain, images


def write_files(folder: Path, network: str, size: int, count: int) -> None:
    """A network with random weights, as a state dict and as ONNX, and random images."""
    import numpy as np
    import torch
    import torchvision

    from scanner.models.architectures.resnet20 import ResNet20
    from scanner.models.export import export_network

    if not (folder / f"{network}.onnx").exists():
        torch.manual_seed(0)
        module = ResNet20() if network == "resnet20" else torchvision.models.get_model(network, num_classes=10)
        with torch.no_grad():
            module.train()(torch.rand(16, 3, size, size))
        torch.save(module.eval().state_dict(), folder / f"{network}.pt")
        probe = np.random.default_rng(0).normal(size=(4, 3, size, size)).astype(np.float32)
        proto = export_network(module, (3, size, size), probe).bundle.to_model_proto()
        (folder / f"{network}.onnx").write_bytes(proto.SerializeToString())
    images = folder / f"{size}-{count}.npy"
    if not images.exists():
        generator = np.random.default_rng(1)
        out = np.lib.format.open_memmap(images, "w+", np.uint8, (count, size, size, 3))
        for start in range(0, count, 1000):
            few = generator.integers(0, 256, (min(1000, count - start), size // 8, size // 8, 3), dtype=np.uint8)
            out[start : start + len(few)] = few.repeat(8, axis=1).repeat(8, axis=2)
        out.flush()


def measure(case: Case, folder: Path, before: Path | None) -> dict[str, Any]:
    """One case: this version, the earlier one and the plain pass, alternately."""
    model, plain, images = prepare(case, folder)
    words = [
        "fit",
        str(model),
        "--clean",
        str(images),
        "--no-labels",
        "--preprocess",
        "cifar10",
        "--device",
        "cpu",
        "-q",
    ]
    words += [] if case.suffix == ".onnx" else ["--arch", case.network]
    fitting = [sys.executable, "-m", "scanner", *words, "-o", str(folder / "profile.h5")]
    commands = {
        "fit": (fitting, ROOT),
        "plain": ([sys.executable, "-c", PLAIN, str(plain), str(images), str(case.batch)], ROOT),
        "start": ([sys.executable, "-c", ""], ROOT),
    }
    if before is not None:
        commands["before"] = (fitting, before)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(case.repeats):
        for name, (command, package) in commands.items():
            found[name].append(measure_process(command, package))
    medians = {
        name: {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
        for name, runs in found.items()
    }
    ratios = {}
    for name in [name for name in ("fit", "before") if name in found]:
        pairs = zip(found[name], found["plain"], strict=True)
        both = sorted(ours["cpu_seconds"] / theirs["cpu_seconds"] for ours, theirs in pairs)
        ratios[name] = {"median": round(statistics.median(both), 2), "range": [round(both[0], 2), round(both[-1], 2)]}
    return {"repeats": case.repeats, **medians, "cpu_seconds_against_plain": ratios}


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Cost of fit as a whole process.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--before", type=Path, help="A checkout of an earlier version.")
    parser.add_argument("--only", help="Cases whose name has this in it.", default="")
    parser.add_argument("--prepare", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        folder, network, size, count = options.prepare
        write_files(Path(folder), network, int(size), int(count))
        return
    from reference.evaluate import describe_machine

    done: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    result: dict[str, Any] = {"machine": describe_machine(), "cases": done.get("cases", {})}
    with tempfile.TemporaryDirectory() as name:
        for case in CASES:
            if options.only in case.name and case.name not in result["cases"]:
                result["cases"][case.name] = measure(case, Path(name), options.before)
                print(case.name, json.dumps(result["cases"][case.name]), flush=True)
                options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
