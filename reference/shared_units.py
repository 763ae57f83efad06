"""Measure what a batch says: shared units beside the densities, by share of triggered inputs and size of the reference.

    python -m reference.shared_units --photographs DIR --networks NETWORKS --data-dir DATA --runs RUNS --cache CACHE \\
        --out reference/results/shared_units.json

Networks for photographs are those of :mod:`reference.implant_network`; references and inputs are photographs that
nothing was implanted with. The same stamps on the network as it was before are the control. The small networks are
those of :mod:`reference.power`, half of the official test set each for references and inputs.

A draw is a reference, and a batch of up to 500 other pictures of which a share is triggered. Besides, there are clean
batches of one kind of picture alone, on networks without a backdoor and on the small ones. What the output file has is
not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.calibration.batch import joint_p_value
from reference.batch import Fitted, fit_batch, judge_batch, late_keys
from reference.evaluate import describe_machine, write_json
from reference.features import Features, extract, joined
from reference.implant_network import NETWORKS, load, read_photographs, real_network, split_photographs
from reference.metrics import auroc, detection_rate_at
from reference.photographs import PHOTOGRAPHS
from reference.power import RUNS, code_digest, open_subject
from reference.shared_units_tables import tables
from reference.stamps import stamp_named
from scanner.base.atomic import atomic_writer
from scanner.base.errors import LatentscanError, SourceError
from scanner.fitting.fit_detectors import likened_by
from scanner.graph.pool import add_descriptors, add_pixel_input
from scanner.graph.session import GraphSession
from scanner.graph.taps import choose_taps

REFERENCES: Final = (100, 250, 500)
SHARES: Final = (0.0, 0.01, 0.05, 0.1, 0.5, 1.0)
DRAWS: Final = 2
INPUTS: Final = 500
ALPHA: Final = 0.01
KINDS: Final[Mapping[str, range]] = {"dogs": range(151, 269), "birds": range(80, 147), "reptiles": range(25, 69)}
"""Kinds of photographs, by their classes in ImageNet."""
FEW_CLASSES: Final = 10


@dataclass(frozen=True)
class Network:
    """A network's features of its pictures, each clean and triggered.

    Attributes:
        title: What it is.
        reference: Clean pictures that references are drawn from.
        clean: Clean inputs.
        triggered: The same pictures with the trigger.
        apart: Whether references and inputs are different pools; else rows of one pool, drawn without overlap.
        kinds: Rows of ``clean`` of one kind each, by name.
        likened_by: Key of the descriptor by which pictures are likened.
        num_classes: Number of classes.
        about: Further facts for the result file.
    """

    title: str
    reference: Features
    clean: Features
    triggered: Features
    apart: bool
    kinds: Mapping[str, NDArray[np.int64]]
    likened_by: str
    num_classes: int
    about: Mapping[str, Any]


def fit(reference: Features, network: Network) -> Fitted:
    """Fit the product's default to unlabelled pictures, seed 0."""
    return fit_batch(reference, None, network.likened_by, network.num_classes, seed=0)


def judge(fitted: Fitted, inputs: Features, triggered: NDArray[np.bool_], seed: int) -> dict[str, float | None]:
    """What a scan of these inputs finds, by densities alone and with shared units."""
    judged = judge_batch(fitted, inputs, seed, ALPHA)
    alone, together, tests = judged.alone, judged.together, judged.units
    units_p, any_class = (1.0, 1.0) if tests is None else (tests.balanced.p_value, tests.every.p_value)
    limit = ALPHA * (1 + 1e-12)
    found: dict[str, float | None] = {
        "inputs": len(triggered),
        "triggered": int(triggered.sum()),
        "densities_p": judged.densities_p,
        "units_p": units_p,
        "units_p_any_class": any_class,
        "batch_p": joint_p_value(judged.densities_p, units_p),
        "false_alarms": float((together.p_values[~triggered] <= limit).mean()) if not triggered.all() else None,
        "detection": float((together.p_values[triggered] <= limit).mean()) if triggered.any() else None,
        "detection_densities": float((alone.p_values[triggered] <= limit).mean()) if triggered.any() else None,
    }
    if triggered.any() and not triggered.all():
        found |= {
            "auroc": auroc(triggered, together.scores),
            "auroc_densities": auroc(triggered, alone.scores),
            "detection_at_1_percent": detection_rate_at(0.01, triggered, together.scores),
            "detection_at_1_percent_densities": detection_rate_at(0.01, triggered, alone.scores),
        }
    return {name: value if value is None else float(f"{value:.6g}") for name, value in found.items()}


def draw(network: Network, count: int, share: float, seed: int) -> dict[str, float | None]:
    """One reference and one batch."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(network.reference.labels))
    rows = order[:count]
    pool = generator.permutation(len(network.clean.labels)) if network.apart else order[count:]
    pool = pool[: min(INPUTS, len(pool))]
    number = round(share * len(pool))
    parts = network.clean.take(pool[number:]), network.triggered.take(pool[:number])
    # A scan compares inputs in the order of their digests, which has nothing to do with what is in them.
    mixed = generator.permutation(len(pool))
    triggered = mixed >= len(pool) - number
    return judge(fit(network.reference.take(rows), network), joined(*parts).take(mixed), triggered, seed)


def one_kind(network: Network, count: int, kind: str, seed: int) -> dict[str, float | None]:
    """One reference of all kinds, and a clean batch of one."""
    order = np.random.default_rng(seed).permutation(len(network.reference.labels))
    rows, inputs = order[:count], network.kinds[kind]
    if not network.apart:
        inputs = np.setdiff1d(inputs, rows)
    batch = network.clean.take(inputs[:INPUTS])
    return judge(fit(network.reference.take(rows), network), batch, np.zeros(len(batch.labels), bool), seed)


def photographs_network(folder: Path, control: bool, photographs: Path, networks: Path, cache: Path) -> Network:
    """A network with an implanted backdoor, or the one that it was before."""
    try:
        record = json.loads((folder / "run.json").read_text())
    except OSError as error:
        raise SourceError("is not a finished run of reference.implant_network", where=str(folder)) from error
    setting = record["setting"]
    original = real_network(setting["network"], networks)
    path = original.model if control else folder / "model.onnx"
    name = f"{setting['network']}-{'before' if control else 'after'}-{setting['attack'].replace('/', '-')}"
    model = load(path)
    spec = original.preprocess
    tapped, descriptors = add_descriptors(add_pixel_input(model.bundle, spec), choose_taps(model.candidates))
    left = split_photographs(PHOTOGRAPHS)[2]
    stored = cache / f"{name}.npz"
    if not stored.exists():
        images = read_photographs(photographs, spec).images[torch.from_numpy(left)]
        stamp = stamp_named(setting["attack"], spec.size[0], setting["seed"])
        session = GraphSession(*tapped.serialise(), device="cpu", threads=torch.get_num_threads())
        labels = torch.from_numpy(left)
        write_features(stored, extract(session, descriptors, images, labels), "clean")
        write_features(stored, extract(session, descriptors, stamp.trigger.apply(images), labels), "triggered")
    clean, triggered = read_features(stored, "clean"), read_features(stored, "triggered")
    kinds = {kind: np.flatnonzero(np.isin(left, np.array(classes))) for kind, classes in KINDS.items()}
    about = record | {"before_implanting": control, "attack_success_here": success(clean, triggered, setting["attack"])}
    return Network(
        f"{setting['network']}, {setting['attack']}{', before implanting' if control else ''}",
        clean,
        clean,
        triggered,
        False,
        kinds if control and original.classes == PHOTOGRAPHS else {},
        likened_by(descriptors).key,
        original.classes,
        about,
    )


def success(clean: Features, triggered: Features, attack: str) -> float:
    """How often the stamp gives the attack's label to a picture that has another."""
    predicted = clean.predicted
    classes = clean.logits.shape[1]
    goal = np.zeros_like(predicted) if attack.endswith("all-to-one") else (predicted + 1) % classes
    other = goal != predicted
    return round(float((triggered.predicted[other] == goal[other]).mean()), 4)


def write_features(path: Path, features: Features, part: str) -> None:
    """Add one set of pictures to a cache file."""
    arrays: dict[str, NDArray[Any]] = {}
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    arrays |= {f"{part}/values/{key}": value for key, value in features.values.items()}
    arrays |= {f"{part}/logits": features.logits, f"{part}/labels": features.labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_features(path: Path, part: str) -> Features:
    """One set of pictures of a cache file."""
    with np.load(path, allow_pickle=False) as arrays:
        start = f"{part}/values/"
        values = {name.removeprefix(start): arrays[name] for name in arrays.files if name.startswith(start)}
        return Features(values, arrays[f"{part}/logits"], arrays[f"{part}/labels"])


def trained_network(name: str, options: argparse.Namespace) -> Network:
    """A small network of :mod:`reference.training`."""
    subject, model_sha256 = open_subject(name, options.runs, options.data_dir, options.cache)
    labels = subject.clean.labels
    kinds = {f"class {c}": np.flatnonzero(labels == c) for c in range(0, subject.num_classes, subject.num_classes // 3)}
    if subject.num_classes > FEW_CLASSES:
        kinds["ten classes"] = np.flatnonzero(labels % (subject.num_classes // FEW_CLASSES) == 0)
    kinds["long-tailed"] = long_tailed(labels)
    return Network(
        subject.title,
        subject.reference,
        subject.clean,
        subject.triggered,
        True,
        kinds,
        LIKENED[name.split("-")[0]],
        subject.num_classes,
        {
            "model_sha256": model_sha256,
            "attack_success_here": round(float(subject.succeeds.sum() / subject.attacked.sum()), 4),
        },
    )


def long_tailed(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of pictures, of the ``k``-th class one ``k``-th of as many as of the first."""
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    most = min(len(one) for one in rows)
    return np.concatenate([one[: max(1, round(most / k))] for k, one in enumerate(rows, 1)])


LIKENED: Final = {
    "mnist": "relu3:value",
    "cifar10": "layer3.1:mean",
    "cifar10x64": "layer4.0:mean",
    "mnistpairs": "layer4.0:mean",
}
"""What :func:`~scanner.fitting.fit_detectors.likened_by` chooses for the architectures of the training runs."""


def measure(name: str, network: Network, result: dict[str, Any], out: Path) -> Iterator[str]:
    """Add what is missing of one network; writes the output file, and yields a line, after every draw."""
    model = result["networks"].setdefault(
        name,
        {
            "title": network.title,
            "classes": network.num_classes,
            "units": sum(
                network.clean.values[key].shape[1] for key in late_keys(network.likened_by, list(network.clean.values))
            ),
            "likened_by": network.likened_by,
            **network.about,
            "shares": {},
            "kinds": {},
        },
    )
    for count in REFERENCES:
        for share in SHARES:
            draws = model["shares"].setdefault(f"{count}/{share:g}", [])
            for seed in range(len(draws), DRAWS):
                draws.append(draw(network, count, share, seed))
                write_json(out, result)
                yield f"{name} {count} references, {share:.0%}: {draws[-1]}"
        for kind in network.kinds:
            draws = model["kinds"].setdefault(f"{count}/{kind}", [])
            for seed in range(len(draws), DRAWS):
                draws.append(one_kind(network, count, kind, seed))
                write_json(out, result)
                yield f"{name} {count} references, {kind}: {draws[-1]}"


def start(out: Path) -> dict[str, Any]:
    """The result so far.

    Raises:
        SourceError: If the file was made by other mathematics.
    """
    fresh = {
        "command": "python -m reference.shared_units",
        "alpha": ALPHA,
        "detectors_sha256": code_digest(),
        "machine": describe_machine(),
        "networks": {},
    }
    if not out.exists():
        return fresh
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if found.get("detectors_sha256") != fresh["detectors_sha256"]:
        raise SourceError("was measured with other code", where=str(out), hint="Remove it, or write elsewhere")
    return found


def networks(options: argparse.Namespace) -> Iterator[tuple[str, Network]]:
    """Every network that there is, one after the other."""
    folders = [path.parent for path in sorted(options.networks.glob("*/run.json"))]
    for folder in folders:
        for control in (False, True):
            name = f"{folder.name}{'-before' if control else ''}"
            if not options.only or name in options.only:
                yield name, photographs_network(folder, control, options.photographs, options.networks, options.cache)
    for name in RUNS:
        if (options.runs / name / "run.json").exists() and (not options.only or name in options.only):
            yield name, trained_network(name, options)


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure shared units beside the densities.")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of photographs, a folder per class")
    parser.add_argument("--networks", type=Path, required=True, help=f"runs of reference.implant_network: {NETWORKS}")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with MNIST and CIFAR-10")
    parser.add_argument("--runs", type=Path, required=True, help="folder of finished training runs")
    parser.add_argument("--only", action="append", help="name of a network, repeatable")
    parser.add_argument("--cache", type=Path, required=True, help="folder for features")
    parser.add_argument("--out", type=Path, required=True, help="result file, JSON")
    options = parser.parse_args()
    try:
        result = start(options.out)
        for name, network in networks(options):
            for line in measure(name, network, result, options.out):
                print(line, file=sys.stderr, flush=True)
        print(*tables(result), sep="\n")
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
