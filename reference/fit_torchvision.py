"""Tell and fit every classifier of torchvision from its weights alone: ``python -m reference.fit_torchvision IMAGES``.

Random weights and photographs: what is tried is that the network is told, built, exported, and fitted, and that its
predictions are those of torchvision on 40 images. Results are written after each network, the smallest first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torchvision
from torch import nn

from reference.evaluate import describe_machine
from scanner.base.errors import LatentscanError
from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.fitting.fit import fit
from scanner.fitting.options import FitOptions
from scanner.inputs.source import open_source
from scanner.models.identify import identify
from scanner.models.job import Job
from scanner.models.weights_file import open_weights

RESULTS: Final = Path(__file__).parent / "results" / "torchvision.json"
SIDES: Final = {"inception_v3": 96}
"""Heights and widths of networks that the usual small one is too small for."""
SMALL: Final = 64
CLASSES: Final = 10
IMAGES: Final = 40


class _Quiet:
    """Nobody listens."""

    def say(self, text: str) -> None:
        """Let it pass."""

    def task(self, name: str, total: int) -> Callable[[int], None]:
        """Let it pass."""
        del name, total
        return lambda done: None


def main() -> None:
    """Try all networks, or those that are not in the results yet, or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="A folder of photographs, in class folders or not.")
    parser.add_argument("--limit", type=int, default=100, help="How many of them.")
    arguments = parser.parse_args()
    done: dict[str, Any] = json.loads(RESULTS.read_text())["networks"] if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder, "ref")
        reference.mkdir()
        source = open_source(arguments.images, labels=False)
        for number in range(min(arguments.limit, len(source.items))):
            (reference / f"{number:04}.jpg").write_bytes(bytes(source.read(source.items[number])))
        names = by_size()
        for step in (told, fitted):
            for name in names:
                found = done.setdefault(name, {})
                if not is_done(found, step):
                    found.pop("error", None)
                    found |= try_network(name, step, reference, Path(folder))
                    write(done, arguments.limit)


def by_size() -> list[str]:
    """Names of the classifiers, the smallest first."""
    sizes = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        weights = torchvision.models.get_model_weights(name).DEFAULT
        sizes[name] = int(weights.meta["num_params"])
    return sorted(sizes, key=lambda name: sizes[name])


Step = Callable[[str, Path, Path, tuple[int, int] | None], dict[str, Any]]


def is_done(found: dict[str, Any], step: Step) -> bool:
    """Whether a step was taken, on as many images as now."""
    return found.get("images") == IMAGES if step is told else bool(found.get("fitted"))


def try_network(name: str, step: Step, reference: Path, folder: Path) -> dict[str, Any]:
    """What became of one network in one step."""
    path = folder / "suspect.pt"
    torch.save(build(name).state_dict(), path)
    side = None if name.startswith(("vit_", "maxvit")) else SIDES.get(name, SMALL)
    size = None if side is None else (side, side)
    started = time.monotonic()
    try:
        found = step(name, path, reference, size)
    except LatentscanError as error:
        found = {step.__name__: False, "error": str(error)[:300]}
    return {**found, f"seconds_{step.__name__}": round(time.monotonic() - started, 1)}


def fitted(name: str, path: Path, reference: Path, size: tuple[int, int] | None) -> dict[str, Any]:
    """Fit the weights alone, as the command line does."""
    options = FitOptions(
        path, reference, path.with_name("p.h5"), preprocess="imagenet", input_size=size, labels=False, device="cpu"
    )
    header = fit(options, _Quiet()).profile.header
    return {"fitted": header.model.architecture == name, "parity": header.parity.relative}


def build(name: str) -> nn.Module:
    """The network with random weights, and statistics as after training."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    module: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)
    return module.eval()


def told(name: str, path: Path, _reference: Path, size: tuple[int, int] | None) -> dict[str, Any]:
    """The network that is told from the weights, and how far its logits are from torchvision's."""
    job = Job(
        kind=identify(path).kind,
        architecture=None,
        trust=False,
        trust_code=False,
        input_size=size,
        num_classes=None,
        has_probe=False,
        memory=1,
        seconds=1,
        threads=1,
    )
    opened, module = open_weights(path, job), build(name)
    shape = opened.network.input_shape
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((IMAGES, *shape), dtype=np.float32))
    worst = 0.0
    with torch.no_grad():
        for batch in torch.split(images, 4):
            expected, got = module(batch), opened.network.module(batch)
            worst = max(worst, float((expected - got).abs().max()))
    return {"told": opened.network.architecture, "input": list(shape), "images": IMAGES, "largest_difference": worst}


def write(done: dict[str, Any], images: int) -> None:
    """Write the results."""
    summary = {
        "networks": len(done),
        "told": sum(found.get("told") == name for name, found in done.items()),
        "fits_tried": sum("fitted" in found for found in done.values()),
        "equal": sum(found.get("largest_difference") == 0.0 for found in done.values()),
        "fitted": sum(bool(found.get("fitted")) for found in done.values()),
    }
    about = {
        "images": images,
        "seed": 0,
        "weights": "random",
        "machine": describe_machine(),
        "versions": library_versions(FIT_LIBRARIES),
    }
    RESULTS.write_text(json.dumps({"about": about, "summary": summary, "networks": done}, indent=1) + "\n")


if __name__ == "__main__":
    main()
