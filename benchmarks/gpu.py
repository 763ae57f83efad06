"""Measure on a GPU: are the scores the CPU's, and does a scan wait for anything but the network and the decoders?

    PYTHONPATH=.:packages python benchmarks/gpu.py --out gpu.json      # at most 8 minutes, on a machine with a GPU
    PYTHONPATH=. python benchmarks/gpu.py --device cpu --small --out gpu.json

What the machine lacks is carried there by benchmarks/gpu_pieces.py, into `packages`. Every part is written as soon as
it is measured, so that a run which is cut short leaves what it has, and no part is begun after --limit seconds. Seconds
are on the clock: a GPU's time is nobody's CPU time. Networks have random weights and images are made up: neither speed
nor agreement depends on them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from io_binding import Bound  # beside this script
from numpy.typing import NDArray
from PIL import Image

import latentscan
from latentscan import FitOptions, Profile, ScanOptions
from reference.datasets import DataSet, ImageSet
from reference.evaluate import describe_machine
from reference.training import TrainConfig, train
from scanner.base.device import Device
from scanner.fitting.options import BayesianOptions
from scanner.graph.pool import add_pixel_input
from scanner.graph.probe import usable_providers
from scanner.graph.session import GraphSession, images_per_run
from scanner.inputs.decode import decode
from scanner.inputs.presets import preset
from scanner.inputs.spec import PreprocessSpec
from scanner.inputs.threads import usable_cores
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.export import export_network
from scanner.models.identify import identify
from scanner.models.load import LoadOptions, load_model
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.scoring.scorer import Scorer

CUDA = "CUDAExecutionProvider"
TOLERANCE = 0.05
"""Largest difference between a GPU's scores and a CPU's, in robust standard deviations: that of a fit's own check."""
AIM, AIM_OF_ARRAYS = 0.9, 0.95
DRAWS = 40
SIDE = 500


@dataclass(frozen=True)
class Sizes:
    """How much is measured: networks with their sizes, and numbers of images."""

    networks: tuple[tuple[str, int], ...]
    fast: tuple[str, int]
    references: int
    compared: int
    scanned: int
    photographs: int
    trained: int
    draws: int


FULL = Sizes(
    (("resnet20", 32), ("resnet18", 224), ("resnet50", 224)), ("resnet50", 224), 200, 64, 16_384, 8192, 20_000, DRAWS
)
SMALL = Sizes((("resnet20", 32),) * 3, ("resnet20", 32), 40, 8, 256, 96, 256, 2)


class Bench:
    """The device, the sizes, a folder, and what was made there already."""

    def __init__(self, device: Device, sizes: Sizes, folder: Path) -> None:
        self.device, self.sizes, self.folder = device, sizes, folder

    def images(self, name: str, count: int, side: int) -> Path:
        """An array of made-up images."""
        path = self.folder / f"{name}-{count}-{side}.npy"
        if not path.exists():
            coarse = np.random.default_rng(len(name)).integers(0, 256, (count, side // 8, side // 8, 3), dtype=np.uint8)
            np.save(path, coarse.repeat(8, axis=1).repeat(8, axis=2))
        return path

    def model(self, network: str, side: int) -> Path:
        """An ONNX file."""
        path = self.folder / f"{network}.onnx"
        if not path.exists():
            torch.manual_seed(0)
            module = ResNet20() if network == "resnet20" else torchvision.models.get_model(network, num_classes=10)
            with torch.no_grad():
                module.train()(torch.rand(16, 3, side, side))
            probe = np.random.default_rng(0).normal(size=(4, 3, side, side)).astype(np.float32)
            exported = export_network(module.eval(), (3, side, side), probe, threads=usable_cores())
            path.write_bytes(exported.bundle.to_model_proto().SerializeToString())
        return path

    def profile(
        self, network: str, side: int, device: Device, bayesian: BayesianOptions | None = None
    ) -> tuple[Profile, float, Path]:
        """A fitted profile, the seconds that it took, and where it is."""
        path = self.folder / f"{network}-{device}{'' if bayesian is None else '-draws'}.h5"
        reference, model = self.images("reference", self.sizes.references, side), self.model(network, side)
        options = FitOptions(
            model, reference, path, preprocess="cifar10", labels=False, device=device, bayesian=bayesian
        )
        started = time.perf_counter()
        profile = latentscan.fit(options).profile
        return profile, time.perf_counter() - started, path


def parity(bench: Bench) -> dict[str, Any]:
    """Scores of profiles made on either device, by either device, in robust standard deviations of clean images."""
    found = {}
    for number, (network, side) in enumerate(bench.sizes.networks):
        inputs = np.load(bench.images("compared", bench.sizes.compared, side))
        row: dict[str, Any] = {"network": network, "size": side, "inputs": len(inputs)}
        for made in ("cpu", bench.device):
            profile, seconds, _ = bench.profile(network, side, made)
            calibration = calibration_from_arrays(profile.calibration, profile.header.scores)
            scores = [Scorer(profile, device).run(inputs)["scores"] for device in ("cpu", bench.device)]
            z = [calibration.standardiser(np.asarray(each, np.float64)) for each in scores]
            p_values = [calibration.judge(np.asarray(each, np.float64)).p_values for each in scores]
            row[f"made on {made}"] = {
                "fit_seconds": round(seconds, 2),
                "largest_difference": float(np.abs(z[0] - z[1]).max()),
                "other_p_values": int((p_values[0] != p_values[1]).sum()),
                "holds": bool(np.abs(z[0] - z[1]).max() <= TOLERANCE),
            }
        found[f"{number} {network}"] = row
    return found


def rate_beyond_start(scan: Callable[[int], None], count: int) -> float:
    """Inputs a second of what four times as many inputs take longer: loading a profile is not waiting for inputs."""
    seconds = []
    for inputs in (count // 4, count):
        started = time.perf_counter()
        scan(inputs)
        seconds.append(time.perf_counter() - started)
    if seconds[1] <= seconds[0]:
        raise RuntimeError(f"{count} inputs took no longer than {count // 4}: {seconds[1]:.2f} and {seconds[0]:.2f} s")
    return (count - count // 4) / (seconds[1] - seconds[0])


def rate(work: Callable[[], int]) -> float:
    """Images a second, after a first run that warms up."""
    work()
    started = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - started)


def photographs(bench: Bench, count: int) -> Path:
    """A folder of JPEG files of 500 pixels, few different ones under many names."""
    folder = bench.folder / f"photographs-{count}"
    if folder.exists():
        return folder
    folder.mkdir()
    few = np.load(bench.images("photographs", 16, SIDE // 8 * 8 + 8))
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        if number < len(few):
            Image.fromarray(few[number][:SIDE, :SIDE]).save(path, quality=90)
        else:
            path.hardlink_to(folder / f"{number % len(few):05}.jpg")
    return folder


def scan_speed(bench: Bench) -> dict[str, Any]:
    """A scan against plain inference and decoding, from arrays and from photographs."""
    network, side = bench.sizes.fast
    profile, _, profile_path = bench.profile(network, side, bench.device)
    arrays = bench.images("scanned", bench.sizes.scanned, side)
    rates = plain_rates(bench, network, side, np.load(arrays, mmap_mode="r"))
    plain = rates.arrays
    spec = PreprocessSpec.from_dict(profile.header.preprocess.spec)  # as the scan decodes them
    decoding = decode_rate(photographs(bench, bench.sizes.photographs), spec)

    def scan(inputs: Path) -> None:
        options = ScanOptions(inputs, profile_path, device=bench.device, allow_drift="made-up images")
        latentscan.scan(options)

    of_arrays = rate_beyond_start(lambda n: scan(bench.images("scanned", n, side)), bench.sizes.scanned)
    of_photographs = rate_beyond_start(lambda n: scan(photographs(bench, n)), bench.sizes.photographs)
    return {
        "network": network,
        "provider": rates.provider,
        "plain_inference_per_second": round(plain, 1),
        "plain_inference_bound_per_second": round(rates.bound, 1),
        "plain_inference_from_device_memory_per_second": round(rates.in_place, 1),
        "decoding_per_second": round(decoding, 1),
        "threads": usable_cores(),
        "scan_of_arrays_per_second": round(of_arrays, 1),
        "scan_of_photographs_per_second": round(of_photographs, 1),
        "of_arrays": {"ratio": round(of_arrays / plain, 3), "aim": AIM_OF_ARRAYS},
        "of_photographs": {"ratio": round(of_photographs / min(plain, decoding), 3), "aim": AIM},
    }


@dataclass(frozen=True)
class PlainRates:
    """Images a second of the network alone, in batches of a scan's size by two threads.

    Attributes:
        provider: What runs it.
        arrays: From pixels in the host's memory, handed over as arrays: how a scan does it.
        bound: Copied into memory that is bound once, logits as well.
        in_place: From pixels that are in the device's memory already: what is between this and ``arrays`` is all that
            binding and pinned memory could save.
    """

    provider: str
    arrays: float
    bound: float
    in_place: float


def plain_rates(bench: Bench, network: str, side: int, pixels: NDArray[np.uint8]) -> PlainRates:
    """How fast the network is alone."""
    loaded = load_model(identify(bench.model(network, side)), LoadOptions())
    spec = preset("cifar10", 3, (side, side))
    assert spec is not None
    session = GraphSession(*add_pixel_input(loaded.bundle, spec).serialise(), device=bench.device)
    size = images_per_run((side, side), session.provider)
    starts = range(0, len(pixels) - size + 1, size)
    batches = [np.array(pixels[start : start + size]) for start in starts]
    mine = threading.local()

    def bound() -> Bound:
        if not hasattr(mine, "bound"):
            mine.bound = Bound(session, bench.device, batches[0])
        kept: Bound = mine.bound
        return kept

    def by_two(work: Callable[[NDArray[np.uint8]], object]) -> Callable[[], int]:
        def run() -> int:
            list(pool.map(work, batches))
            return size * len(batches)

        return run

    with ThreadPoolExecutor(2) as pool:
        arrays = rate(by_two(lambda batch: session.run({"pixels": batch}, ["logits"])))
        copied = rate(by_two(lambda batch: bound().run(batch).copy()))
        in_place = rate(by_two(lambda _: bound().run_again()))
    return PlainRates(session.provider, arrays, copied, in_place)


def decode_rate(folder: Path, spec: PreprocessSpec) -> float:
    """Photographs a second that all cores decode and resize."""
    paths = sorted(folder.iterdir())

    def one(path: Path) -> None:
        decode(path.read_bytes(), spec)

    def run() -> int:
        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(one, paths, chunksize=16))
        return len(paths)

    return rate(run)


def draws(bench: Bench) -> dict[str, Any]:
    """Weight draws of the last stage: seconds for a thousand images, against as many plain passes."""
    network, side = bench.sizes.networks[1]
    profile, seconds, _ = bench.profile(
        network, side, bench.device, BayesianOptions(samples=bench.sizes.draws, epochs=0, delta=0.1)
    )
    pixels = np.load(bench.images("compared", bench.sizes.compared, side))
    pixels = np.concatenate([pixels] * math.ceil(256 / len(pixels))) if bench.sizes is FULL else pixels
    scorer = Scorer(profile, bench.device)
    drawn = 1 / rate(lambda: len(scorer.run(pixels)["scores"]))
    plain = 1 / rate(lambda: len(scorer.features(pixels)["logits"]))
    return {
        "network": network,
        "draws": bench.sizes.draws,
        "fit_seconds": round(seconds, 2),
        "seconds_per_1000": round(1000 * drawn, 3),
        "of_as_many_passes": round(drawn / (plain * bench.sizes.draws), 3),
    }


def training(bench: Bench) -> dict[str, Any]:
    """Images a second of training as `reproduce` does it, evaluation included."""
    generator = torch.Generator().manual_seed(0)
    count = bench.sizes.trained

    def images(number: int) -> ImageSet:
        pixels = torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return ImageSet(pixels, torch.arange(number) % 10)

    names = tuple(map(str, range(10)))
    data = DataSet("cifar10", "made up", names, (0.5,) * 3, (0.25,) * 3, images(count), images(max(count // 10, 50)))
    device = torch.device("cuda" if bench.device != "cpu" and torch.cuda.is_available() else "cpu")
    started = time.perf_counter()
    train(TrainConfig("cifar10", "square", 0.1, 0, 1), data, bench.folder / "runs", lambda _: None, device)
    return {"device": device.type, "images_per_second": round(count / (time.perf_counter() - started), 1)}


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "parity": parity,
    "scan": scan_speed,
    "training": training,
    # Last: every draw of a large network is loaded anew, and how long a GPU takes for that is not known.
    "draws": draws,
}


def measured(bench: Bench, limit: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part that begins within the limit; one that fails says why, and the others go on."""
    begun = time.perf_counter()
    for name, part in PARTS.items():
        started = time.perf_counter()
        if started - begun > limit:
            yield name, {"failed": f"not begun within {limit:g} seconds"}
            continue
        try:
            found = part(bench)
        except Exception as error:  # whatever a driver that nobody here has seen comes up with
            found = {"failed": f"{type(error).__name__}: {str(error)[:500]}"}
        yield name, found | {"part_seconds": round(time.perf_counter() - started, 1)}


def main() -> int:
    """Measure, print, and write the figures; 1 if a part failed, 2 if nothing can be measured."""
    parser = argparse.ArgumentParser(description="Agreement and speed of a GPU.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--small", action="store_true", help="Few images of small networks.")
    parser.add_argument("--limit", type=float, default=300, help="Seconds after which no part is begun.")
    options = parser.parse_args()
    if options.device == "cuda" and CUDA not in usable_providers():
        missing = "this ONNX Runtime gets none" if torch.cuda.is_available() else "PyTorch sees none either"
        print(f"error: --device cuda: no GPU to measure on, {missing}", file=sys.stderr)
        return 2
    result: dict[str, Any] = {"machine": describe_machine(), "device": options.device, "small": options.small}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(options.device, SMALL if options.small else FULL, Path(name))
        for part, found in measured(bench, options.limit):
            result[part] = found
            options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
            print(part, json.dumps(found), flush=True)
    return int(any("failed" in result[part] for part in PARTS))


if __name__ == "__main__":
    sys.exit(main())
