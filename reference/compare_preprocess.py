"""Search for the preprocessing of networks that need an unusual one, and see what wrong ones are warned of.

    python -m reference.compare_preprocess --data-dir DATA --runs RUNS --out reference/results/preprocess.json

Two clean ResNet-20 are trained on CIFAR-10, one on blue, green, red and one as Caffe's networks are: blue, green, red
in grey levels, minus the mean. Each is fitted on images of the official test set without a word on preprocessing, and
once more with each preset for red, green, blue: what the search could have chosen if it knew no other. With ``--onnx``
and ``--photographs`` a network of ImageNet's classes is searched for on labelled photographs, and given wrong ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reference.datasets import DataSet, ImageSet, load, stratified_split
from reference.files import write_class_folders
from reference.training import TrainConfig, print_line, read_record, train
from scanner.base.atomic import atomic_writer
from scanner.base.errors import LatentscanError
from scanner.base.progress import SILENCE
from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.fitting.fit import fit
from scanner.fitting.options import FitOptions
from scanner.inputs.preprocess import NORMALISATIONS

EPOCHS = 3
REFERENCE = 1000
CAFFE_MEAN = (104.0, 117.0, 123.0)
IN_RGB = tuple(name for name, known in NORMALISATIONS.items() if known.channel_order == "RGB" and 3 in known.tried_for)


def in_bgr(data: DataSet) -> DataSet:
    """The same images with blue first, and the same normalisation."""

    def swapped(images: ImageSet) -> ImageSet:
        return ImageSet(images.images.flip(1), images.labels)

    return replace(data, train=swapped(data.train), test=swapped(data.test), mean=data.mean[::-1], std=data.std[::-1])


def as_caffe(data: DataSet) -> DataSet:
    """Blue first, in grey levels, minus ImageNet's mean color."""
    return replace(in_bgr(data), mean=tuple(mean / 255 for mean in CAFFE_MEAN), std=(1 / 255,) * 3)


TRAINED: dict[str, Callable[[DataSet], DataSet]] = {"bgr": in_bgr, "caffe": as_caffe}


def fitted(options: FitOptions, folder: Path) -> dict[str, Any]:
    """What a profile says of its preprocessing."""
    try:
        header = fit(replace(options, output=folder / "profile.h5", gallery=False), SILENCE).profile.header
    except LatentscanError as error:
        return {"error": error.what}
    return {
        "source": header.preprocess.source,
        "clean_accuracy": header.reference.clean_accuracy,
        "candidates": {c.name: round(c.accuracy, 4) for c in header.preprocess.candidates},
        "warnings": [text for text in header.warnings if "reprocessing" in text],
    }


def measure(options: FitOptions, forced: Sequence[str]) -> dict[str, Any]:
    """The search, and what follows from each preset that is forced on the model."""
    with tempfile.TemporaryDirectory() as folder:
        found = {"search": fitted(options, Path(folder))}
        for name in forced:
            result = fitted(replace(options, preprocess=name), Path(folder))
            found[name] = {key: value for key, value in result.items() if key not in ("source", "candidates")}
            print_line(f"{options.model.name} {name} {found[name]}")
    return found


def trained_case(name: str, data: DataSet, runs: Path, device: torch.device) -> dict[str, Any]:
    """Train a network on a variant of CIFAR-10, or take it from ``runs``, and measure it."""
    config = TrainConfig("cifar10", "square", 0.0, 0, EPOCHS)
    run = train(config, TRAINED[name](data), runs / name, device=device)
    chosen, _ = stratified_split(data.test.labels, REFERENCE / len(data.test), 0)
    with tempfile.TemporaryDirectory() as folder:
        write_class_folders(Path(folder) / "ref", data.test.take(chosen), data.classes)
        options = FitOptions(run / "model.pt", Path(folder) / "ref", Path("unused"), architecture="resnet20")
        record = read_record(run)
        return {
            "data": data.title,
            "epochs": EPOCHS,
            "seed": 0,
            "test_accuracy": record["clean_accuracy"],
            "images": len(chosen),
            **measure(options, IN_RGB),
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, help="network with ImageNet's classes")
    parser.add_argument("--photographs", type=Path, help="a folder for each of its classes, or a manifest")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "libraries": library_versions(FIT_LIBRARIES),
        "cases": json.loads(arguments.out.read_text())["cases"] if arguments.out.exists() else {},
    }

    def keep(name: str, case: dict[str, Any]) -> None:
        result["cases"][name] = case
        with atomic_writer(arguments.out) as file:
            file.write((json.dumps(result, indent=1) + "\n").encode())

    if missing := [name for name in TRAINED if name not in result["cases"]]:
        data = load("cifar10", arguments.data_dir)
        for name in missing:
            keep(name, trained_case(name, data, arguments.runs, torch.device("cpu")))
    if arguments.onnx and arguments.photographs and arguments.onnx.stem not in result["cases"]:
        options = FitOptions(arguments.onnx, arguments.photographs, Path("unused"))
        keep(arguments.onnx.stem, measure(options, ("imagenet:crop", "unit:crop", "caffe:crop")))


if __name__ == "__main__":
    main()
