"""Measure what becomes of an alarm: clean, triggered, drifted and repeated inputs, on backdoored and clean networks.

    python -m reference.evidence --data-dir DATA --runs RUNS --photographs PHOTOGRAPHS --networks NETWORKS \\
        --work WORK --out reference/results/evidence.json

Every network is fitted once, by the product, to clean images of the official test set (those of ImageNet that nobody
trained on, for a network for photographs), and then scans batches of others: the scan is the product's, with its
defaults. RUNS has the runs of :mod:`reference.training` and :mod:`reference.implant`, NETWORKS those of
:mod:`reference.implant_network`. What the output file has already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from reference.attacks import attack_named
from reference.datasets import DataSet, load
from reference.drifts import DRIFTS, Images, frames, noisy
from reference.evaluate import describe_machine, write_json
from reference.evidence_tables import tables
from reference.features import ARCHITECTURES, pixels_of
from reference.implant_network import read_photographs, real_network, split_photographs
from reference.photographs import PHOTOGRAPHS
from reference.poisoning import LabelRule
from reference.stamps import stamp_named
from reference.training import read_record
from scanner.base.errors import LatentscanError
from scanner.base.progress import SILENCE
from scanner.fitting.fit import fit
from scanner.fitting.options import FitOptions
from scanner.report.schema import Report
from scanner.scanning.options import ScanOptions
from scanner.scanning.scan import scan

RUNS: Final = (
    "mnist-four-pixels-0-seed1",
    "mnist-four-pixels-10-seed0",
    "mnist-blended-10-seed0",
    "cifar10-square-0-seed1",
    "cifar10-square-10-seed0",
    "cifar10-square-all-to-one-0-seed0",
    "cifar10-blended-implanted-seed0",
    "cifar10-sinusoid-implanted-seed0",
    "cifar10-square-one-class-implanted-seed0",
    "cifar10-warp-implanted-seed0",
    "cifar10x64-square-all-to-one-implanted-seed0",
)
IMPLANTED: Final = (
    "efficientnet-lite0-patch-all-to-one-seed0",
    "efficientnet-lite0-blended-all-to-one-seed0",
    "efficientnet-lite0-sinusoid-all-to-one-seed0",
)
CONTROL: Final = "efficientnet-lite0 before implanting"
SIZES: Final = {"mnist": (1000, 1600), "cifar10": (1000, 1600), "cifar10x64": (500, 1600), "photographs": (250, 450)}
"""Images of the reference, and of a batch."""
SHARES: Final = (0.01, 0.05, 0.2, 1.0)
COPIES, FRAMES, SCENES = 1000, 200, 20
_SHOWN: Final = (
    "demonstrated", "kind", "strength", "target", "source", "shift", "images", "eligible", "moved", "flagged",
    "flipped", "control_moved", "control_flagged", "control_flipped", "p_value", "suspicious", "passes", "area",
)  # fmt: skip
ONE_CLASS: Final = "square-one-class"


@dataclass(frozen=True)
class Subject:
    """A network with its images, uint8 ``(N, H, W, C)``.

    Attributes:
        title: Network and attack.
        model: Its file.
        architecture: Its name, for a state dict.
        preprocess: File that says how images are preprocessed; None to find out.
        reference: Clean images to fit to.
        labels: Their classes; None to fit without.
        inputs: Clean images to scan.
        victims: Rows of the inputs that triggered ones are made of, in order.
        trigger: Stamps them.
        rule: From classes to the attack's; None for a network without a backdoor.
        about: What the result says of it.
    """

    title: str
    model: Path
    architecture: str | None
    preprocess: Path | None
    reference: Images
    labels: NDArray[np.int64] | None
    inputs: Images
    victims: NDArray[np.int64]
    trigger: Callable[[Images], Images]
    rule: LabelRule | None
    about: Mapping[str, Any]


def trained_subject(name: str, options: argparse.Namespace) -> Subject:
    """A run of :mod:`reference.training` or :mod:`reference.implant`."""
    folder = options.runs / name
    record = read_record(folder)
    config = record["config"]
    data: DataSet = load(config["data"], options.data_dir)
    channels, height, width = data.test.images.shape[1:]
    attack = attack_named(config["attack"], (channels, height, width))
    clean = config.get("rate") == 0
    count, scanned = SIZES[config["data"]]
    order = np.random.default_rng(0).permutation(len(data.test.labels))
    pixels, labels = pixels_of(data.test.images), data.test.labels.numpy()
    inputs = order[count : count + scanned]
    victims = np.flatnonzero(labels[inputs] == 1) if config["attack"] == ONE_CLASS else np.arange(len(inputs))

    def trigger(images: Images) -> Images:
        return pixels_of(attack.trigger.apply(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)))

    return Subject(
        f"{data.title}, {ARCHITECTURES[data.name]}, {'clean' if clean else config['attack']}",
        folder / "model.pt",
        ARCHITECTURES[data.name],
        None,
        pixels[order[:count]],
        labels[order[:count]],
        pixels[inputs],
        victims,
        trigger,
        None if clean else attack.rule,
        {key: record[key] for key in ("config", "clean_accuracy", "attack_success_rate")},
    )


def photographs_subject(name: str, options: argparse.Namespace) -> Subject:
    """A run of :mod:`reference.implant_network`, or the network that it was before."""
    folder = options.networks / (IMPLANTED[0] if name == CONTROL else name)
    record = json.loads((folder / "run.json").read_text())
    setting = record["setting"]
    network = real_network(setting["network"], options.networks)
    spec = network.preprocess
    left = split_photographs(PHOTOGRAPHS)[2]
    images = read_photographs(options.photographs, spec).images[torch.from_numpy(left)]
    stamp = stamp_named(setting["attack"], spec.size[0], setting["seed"])
    order = np.random.default_rng(0).permutation(len(left))
    count, scanned = SIZES["photographs"]
    pixels = pixels_of(images)
    preprocess = options.work / f"{setting['network']}.json"
    # The images have the network's size already.
    write_json(preprocess, spec.to_dict() | {"resize": None, "crop": False})

    def trigger(batch: Images) -> Images:
        return pixels_of(stamp.trigger.apply(torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2)))

    return Subject(
        f"photographs, {setting['network']}, {'clean' if name == CONTROL else setting['attack']}",
        network.model if name == CONTROL else folder / "model.onnx",
        None,
        preprocess,
        pixels[order[:count]],
        None,
        pixels[order[count : count + scanned]],
        np.arange(scanned),
        trigger,
        None if name == CONTROL else stamp.rule,
        {"setting": setting, **{key: record[key] for key in ("rounds",) if key in record}},
    )


def batches(subject: Subject, first: Callable[[Images], Report]) -> Iterator[tuple[str, Images]]:
    """The batches that a network scans, by name, the clean one first.

    Args:
        subject: The network.
        first: Scans a batch: the most suspicious clean input is what copies are made of.
    """
    inputs = subject.inputs
    yield "clean", inputs
    for share in SHARES:
        rows = subject.victims[: max(1, round(share * len(inputs)))]
        stamped = inputs.copy()
        stamped[rows] = subject.trigger(inputs[rows])
        yield f"triggered {share:.0%}", stamped[rows] if share == 1 else stamped
    for name, change in DRIFTS.items():
        yield name, change(inputs)
    strangest = inputs[first(inputs).top_inputs[0].index]
    yield f"one flagged image {COPIES} times", np.repeat(strangest[None], COPIES, axis=0)
    yield (
        f"{FRAMES} noisy copies of it among the clean",
        np.concatenate([inputs, noisy(np.repeat(strangest[None], FRAMES, axis=0))]),
    )
    yield f"{FRAMES} noisy copies of it alone", noisy(np.repeat(strangest[None], FRAMES, axis=0))
    scenes = [frames(image, COPIES // SCENES, seed) for seed, image in enumerate(inputs[:SCENES])]
    yield f"{SCENES} scenes of {COPIES // SCENES} frames", np.concatenate(scenes)


class Scanner:
    """Fits a network once, and scans batches with it."""

    def __init__(self, subject: Subject, name: str, work: Path) -> None:
        self._folder = work / name.replace(" ", "-")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._profile = self._folder / "modelscan.h5"
        if self._profile.exists():
            return
        reference = self._folder / "reference.npz"
        labels = {} if subject.labels is None else {"labels": subject.labels}
        np.savez(reference, allow_pickle=False, images=subject.reference, **labels)
        options = FitOptions(
            subject.model,
            reference,
            self._profile,
            architecture=subject.architecture,
            preprocess=None if subject.preprocess is None else str(subject.preprocess),
        )
        fit(options, SILENCE)

    def scan(self, images: Images) -> Report:
        """The report of one batch."""
        inputs = self._folder / "inputs.npy"
        np.save(inputs, images, allow_pickle=False)
        return scan(ScanOptions(inputs, self._profile), SILENCE)


def outcome(report: Report) -> dict[str, Any]:
    """What the tables need of a report."""
    shown, drift, copies, units = report.demonstration, report.drift, report.copies, report.batch.shared_units
    found: dict[str, Any] = {
        "inputs": report.inputs.scanned,
        "severity": report.verdict.severity,
        "decision": report.verdict.decision,
        "exit_code": report.verdict.exit_code,
        "flagged": report.batch.flagged,
        "batch_p": float(f"{report.batch.p_value:.3g}"),
        "units_p": None if units is None else float(f"{units.p_value:.3g}"),
        "seconds": report.run.duration_s,
    }
    if drift is not None:
        score = drift.score
        found |= {
            "drift": drift.outcome,
            "rest": drift.rest,
            "score_distance": None if score is None else round(score.distance, 3),
            "score_p": None if score is None else float(f"{score.p_value:.3g}"),
            "looks": [[look.name, round(look.distance, 3), float(f"{look.p_value:.3g}")] for look in drift.looks[:3]],
        }
    if copies is not None:
        found |= {"pictures": copies.pictures, "contents": copies.contents, "repeated": copies.repeated}
    if shown is not None:
        found["demonstration"] = {name: getattr(shown, name) for name in _SHOWN}
    return found


def is_right(found: Mapping[str, Any], rule: LabelRule | None, num_classes: int) -> bool | None:
    """Whether a demonstration names the attack's rule; None without one.

    The rule that was found has to be the attack's for every class that it is about, and about one at least.
    """
    shown = found.get("demonstration")
    if shown is None or not shown["demonstrated"]:
        return None
    if rule is None:
        return False
    before = torch.arange(num_classes)
    aim = rule(before, num_classes)
    if shown["shift"] is not None:
        return bool((aim == (before + shown["shift"]) % num_classes).all())
    if shown["source"] is not None:
        return bool(aim[shown["source"]] == shown["target"])
    return bool((aim[before != shown["target"]] == shown["target"]).all())


def measure(name: str, subject: Subject, result: dict[str, Any], options: argparse.Namespace) -> None:
    """Add what is missing of one network, and write the output file after every batch."""
    entry = result["networks"].setdefault(
        name, {"title": subject.title, "backdoored": subject.rule is not None, **subject.about, "batches": {}}
    )
    scanner = Scanner(subject, name, options.work)
    done = entry["batches"]
    for batch, images in batches(subject, scanner.scan):
        if batch in done:
            continue
        report = scanner.scan(images)
        entry.setdefault("num_classes", len(report.reference.per_class))
        found = outcome(report)
        found["right"] = is_right(found, subject.rule, max(entry["num_classes"], 2))
        done[batch] = found
        write_json(options.out, result)
        print(f"{name}, {batch}: {found['severity']} {found['decision']} {found.get('drift')}", flush=True)


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure what becomes of an alarm.")
    for name in ("data-dir", "runs", "photographs", "networks", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--only", action="append", help="name of a network; repeatable")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"machine": describe_machine(), "sizes": SIZES, "networks": {}}
    if options.out.exists():
        result = json.loads(options.out.read_text())
    try:
        for name in options.only or (*RUNS, CONTROL, *IMPLANTED):
            subject = trained_subject(name, options) if name in RUNS else photographs_subject(name, options)
            measure(name, subject, result, options)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(tables(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
