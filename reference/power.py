"""Measure detection on small and large references, and on a wide network as well as on the paper's.

    python -m reference.power --data-dir DATA --runs RUNS --cache CACHE --out reference/results/power.json

For every run (:mod:`reference.training`, :mod:`reference.implant`) one stratified half of the official test set is what
references are drawn from, of several sizes and several times each, with equal class counts. 2,500 images of the other
half are the inputs, each clean and with the trigger. The product's default detector is fitted and calibrated on
the reference alone.

A network's features are computed once and kept in CACHE. What the output file has already is not measured again, so
that an interrupted run goes on where it was; once all is there, the same command prints the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import detectors
from detectors.calibration.plan import plan_calibration
from detectors.deep_features.detector import DeepFeatures, ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT
from reference.datasets import stratified_split
from reference.evaluate import ALPHA, Case, describe_machine, held_out, open_case, write_json
from reference.features import Features, extract, keys_of, load_trained, tap
from reference.metrics import auroc, average_precision, detection_rate_at
from reference.training import read_record
from scanner.base.atomic import atomic_writer
from scanner.base.errors import LatentscanError, SourceError
from scanner.graph.session import GraphSession

RUNS = (
    "mnist-four-pixels-10-seed0",
    "cifar10-square-10-seed0",
    "mnist-blended-10-seed0",
    "mnist-sinusoid-10-seed0",
    "cifar10x64-square-all-to-one-implanted-seed0",
    "cifar10x64-blended-implanted-seed0",
    "mnistpairs-square-all-to-one-implanted-seed0",
    "mnistpairs-square-implanted-seed0",
    "mnistpairs-blended-implanted-seed0",
    "cifar10-blended-implanted-seed0",
    "cifar10-sinusoid-implanted-seed0",
    "cifar10-warp-implanted-seed0",
    "cifar10-square-one-class-implanted-seed0",
)
# Images of a reference, and how often one is drawn: small ones differ more from one another. 5,000 is the whole half.
DRAWS: Mapping[int, int] = {100: 10, 200: 10, 500: 5, 1000: 3, 2000: 3, 5000: 1}
INPUTS = 2500
SPLIT_SEED = 0
PARTS = ("reference", "clean", "triggered")


@dataclass(frozen=True)
class Subject:
    """One network's features: all that fitting and scoring need.

    Attributes:
        title: Data set and attack.
        reference: Clean images that references are drawn from.
        clean: Clean inputs, of the other half of the test set.
        triggered: The same pictures with the trigger, in the same order. Labels are those of the pictures.
        aim: ``(N,)`` int64, the attack's label for each triggered input.
        num_classes: Number of classes.
    """

    title: str
    reference: Features
    clean: Features
    triggered: Features
    aim: NDArray[np.int64]
    num_classes: int

    @property
    def attacked(self) -> NDArray[np.bool_]:
        """Triggered inputs whose own class is not the one that the attack wants anyway, ``(N,)`` bool."""
        return np.asarray(self.triggered.labels != self.aim)

    @property
    def succeeds(self) -> NDArray[np.bool_]:
        """Those of them that are predicted as the attack wants, ``(N,)`` bool."""
        return np.asarray(self.attacked & (self.triggered.predicted == self.aim))


@dataclass(frozen=True)
class Judged:
    """Combined scores and p-values of ``N`` inputs, ``(N,)`` float64 each."""

    combined: NDArray[np.float64]
    p_values: NDArray[np.float64]


def fit(reference: Features, num_classes: int) -> DeepFeatures:
    """Fit the product's default to a reference of ``N`` labelled images, seed 0."""
    plan = plan_calibration(reference.labels, 0)
    return fit_deep_features(
        reference.only(keys_of(DEFAULT, list(reference.values))),
        ImageClasses(reference.labels, reference.predicted, num_classes, reference.confidence),
        DEFAULT,
        plan,
        seed=0,
    )


def judge(fitted: DeepFeatures, features: Features) -> Judged:
    """What the product makes of inputs: the combined score and its p-value, from features and predictions alone."""
    judged = fitted.calibration.judge(fitted.score(features.values, features.predicted, features.confidence))
    return Judged(judged.combined, judged.p_values)


def extract_subject(case: Case, inputs: int = INPUTS) -> Subject:
    """Run a case's images through its network, tapped as the product taps it.

    Args:
        case: A finished training run.
        inputs: About how many images of the half that is scanned to take, each clean and triggered.
    """
    reference, scanned = held_out(case)
    if len(scanned) > inputs:
        scanned = scanned.take(stratified_split(scanned.labels, inputs / len(scanned), case.seed)[0])
    tapped, descriptors = tap(load_trained(case.model, case.data), case.data)
    session = GraphSession(*tapped.serialise(), device="cpu", threads=torch.get_num_threads())
    images = (reference.images, scanned.images, case.attack.trigger.apply(scanned.images))
    labels = (reference.labels, scanned.labels, scanned.labels)
    first, clean, triggered = (extract(session, descriptors, *pair) for pair in zip(images, labels, strict=True))
    aim = case.attack.rule(scanned.labels, len(case.data.classes)).numpy()
    title = f"{case.data.title}, {case.record['config']['attack']}"
    return Subject(title, first, clean, triggered, aim, len(case.data.classes))


def write_subject(path: Path, subject: Subject, model_sha256: str) -> None:
    """Keep a network's features in one ``.npz`` file: ``<part>/values/<descriptor>``, ``<part>/logits`` and so on."""
    arrays: dict[str, NDArray[Any]] = {
        "title": np.array(subject.title),
        "model_sha256": np.array(model_sha256),
        "num_classes": np.array(subject.num_classes),
        "aim": subject.aim,
    }
    for part in PARTS:
        features: Features = getattr(subject, part)
        arrays |= {f"{part}/values/{key}": value for key, value in features.values.items()}
        arrays |= {f"{part}/logits": features.logits, f"{part}/labels": features.labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_subject(path: Path, model_sha256: str) -> Subject | None:
    """Read what :func:`write_subject` wrote; None if there is nothing, or it is another model's."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        if str(arrays["model_sha256"]) != model_sha256:
            return None
        parts = {}
        for part in PARTS:
            start = f"{part}/values/"
            values = {name.removeprefix(start): arrays[name] for name in arrays.files if name.startswith(start)}
            parts[part] = Features(values, arrays[f"{part}/logits"], arrays[f"{part}/labels"])
        return Subject(
            title=str(arrays["title"]),
            aim=arrays["aim"],
            num_classes=int(arrays["num_classes"]),
            **parts,
        )


def draw(labels: NDArray[np.int64], count: int, num_classes: int, seed: int) -> NDArray[np.int64]:
    """Draw a reference with the same number of images of every class.

    Args:
        labels: ``(N,)`` classes of the images to draw from.
        count: How many to draw. All are taken if there are no more than that.
        num_classes: Number of classes ``C``.
        seed: Of the draw.

    Returns:
        Sorted rows ``(M,)``, with ``M = C * floor(count / C)`` but for classes with fewer images.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order]
    chosen = [order[shuffled == label][: count // num_classes] for label in range(num_classes)]
    return np.sort(np.concatenate(chosen))


def figures(clean: Judged, triggered: Judged, succeeds: NDArray[np.bool_]) -> dict[str, float]:
    """What one reference finds: over all triggered inputs, and over those on which the attack ``succeeds``."""

    def areas(kept: NDArray[np.bool_]) -> tuple[float, float, float]:
        scores = np.concatenate([clean.combined, triggered.combined[kept]])
        truth = np.arange(len(scores)) >= len(clean.combined)
        return auroc(truth, scores), average_precision(truth, scores), detection_rate_at(0.01, truth, scores)

    flagged = triggered.p_values <= ALPHA * (1 + 1e-12)
    everything, effective = areas(np.ones(len(flagged), bool)), areas(succeeds)
    result = {
        "false_alarms_at_alpha": float((clean.p_values <= ALPHA * (1 + 1e-12)).mean()),
        "detection_at_alpha": float(flagged.mean()),
        "detection_at_1_percent": everything[2],
        "auroc": everything[0],
        "aupr": everything[1],
        "detection_at_alpha_where_the_attack_succeeds": float(flagged[succeeds].mean()),
        "detection_at_1_percent_where_the_attack_succeeds": effective[2],
        "auroc_where_the_attack_succeeds": effective[0],
        "aupr_where_the_attack_succeeds": effective[1],
    }
    return {name: round(value, 6) for name, value in result.items()}


def measure(subject: Subject, count: int, seed: int) -> dict[str, float]:
    """Draw one reference, fit, and judge all inputs."""
    rows = draw(subject.reference.labels, count, subject.num_classes, seed)
    fitted = fit(subject.reference.take(rows), subject.num_classes)
    found = figures(judge(fitted, subject.clean), judge(fitted, subject.triggered), subject.succeeds)
    return {"seed": seed, "images": len(rows), **found}


def describe(subject: Subject) -> dict[str, Any]:
    """What a network was measured on, and how good network and attack are there."""
    return {
        "title": subject.title,
        "inputs": len(subject.aim),
        "clean_accuracy": round(float((subject.clean.predicted == subject.clean.labels).mean()), 6),
        "attack_success_rate": round(float(subject.succeeds.sum() / subject.attacked.sum()), 6),
        "descriptors": {key: values.shape[1] for key, values in subject.clean.values.items()},
    }


def code_digest() -> str:
    """SHA-256 over the mathematics: names and contents of the source files of :mod:`detectors`, in order of name."""
    root = Path(detectors.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def open_subject(name: str, runs: Path, data_dir: Path, cache: Path) -> tuple[Subject, str]:
    """One network's features and the SHA-256 of the model file; computed where the cache has none for this file.

    Raises:
        SourceError: If the run is not finished, or its data cannot be read.
    """
    try:
        model_sha256 = hashlib.sha256((runs / name / "model.pt").read_bytes()).hexdigest()
    except OSError as error:
        raise SourceError("is not a finished training run", where=str(runs / name), hint="Train it first") from error
    path = cache / f"{name}.npz"
    subject = read_subject(path, model_sha256)
    if subject is None:
        subject = extract_subject(open_case(name, runs, data_dir, cache, SPLIT_SEED))
        write_subject(path, subject, model_sha256)
    return subject, model_sha256


def start(out: Path) -> dict[str, Any]:
    """The result so far: what is in the output file, or a result without models.

    Raises:
        SourceError: If the file was made by other mathematics, with which this one's figures must not be mixed.
    """
    about = {"command": "python -m reference.power", "split_seed": SPLIT_SEED, "alpha": ALPHA}
    fresh = {**about, "detectors_sha256": code_digest(), "machine": describe_machine(), "models": {}}
    if not out.exists():
        return fresh
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if found.get("detectors_sha256") != fresh["detectors_sha256"]:
        raise SourceError("was measured with other code", where=str(out), hint="Remove it, or write elsewhere")
    return found


def measure_run(name: str, result: dict[str, Any], options: argparse.Namespace) -> Iterator[str]:
    """Add to ``result`` what is missing of one run; writes the output file, and yields a line, after every draw."""
    subject, model_sha256 = open_subject(name, options.runs, options.data_dir, options.cache)
    record = read_record(options.runs / name)
    records = {"training": record}
    if "base" in record["config"]:
        records["base"] = read_record(options.runs / record["config"]["base"])
    before = result["models"].get(name, {})
    references = before["references"] if before.get("model_sha256") == model_sha256 else {}
    model = {**describe(subject), "model_sha256": model_sha256, **records, "references": references}
    result["models"][name] = model
    write_json(options.out, result)
    for count, times in DRAWS.items():
        draws = model["references"].setdefault(str(count), [])
        for seed in range(len(draws), times):
            draws.append(measure(subject, count, seed))
            write_json(options.out, result)
            found = draws[-1]
            yield (
                f"{name}: {found['images']} images, draw {seed}: AUROC {found['auroc']:.4f}, detection "
                f"{found['detection_at_alpha']:.1%}, false alarms {found['false_alarms_at_alpha']:.2%}"
            )


def tables(result: Mapping[str, Any]) -> list[str]:
    """The figures of a result as lines of Markdown, a table for each network."""
    lines: list[str] = []
    for model in result["models"].values():
        quality = f"clean accuracy {model['clean_accuracy']:.1%}, attack success {model['attack_success_rate']:.1%}"
        lines += ["", f"{model['title']} ({quality}):", "", *_HEADER]
        lines += [_row(int(count), draws) for count, draws in model["references"].items()]
    return lines[1:]


_HEADER = (
    "| images | AUROC | AUPR | detection | false alarms | AUROC, attack succeeds | detection, attack succeeds "
    "| lowest of draws |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def _row(count: int, draws: Sequence[Mapping[str, float]]) -> str:
    """The means over the draws of one size, and the lowest detection of a draw where the attack succeeds."""

    def mean(name: str) -> float:
        return sum(one[name] for one in draws) / len(draws)

    where = "_where_the_attack_succeeds"
    cells = (
        f"{mean('auroc'):.4f} | {mean('aupr'):.4f} | {mean('detection_at_alpha'):.1%}",
        f"{mean('false_alarms_at_alpha'):.2%} | {mean('auroc' + where):.4f}",
        f"{mean('detection_at_alpha' + where):.1%} | {min(one['detection_at_alpha' + where] for one in draws):.1%}",
    )
    return f"| {count:,} | {' | '.join(cells)} |"


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure detection by the size of the reference.")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with MNIST and CIFAR-10")
    parser.add_argument("--runs", type=Path, required=True, help="folder of finished training runs")
    parser.add_argument("--run", action="append", help="name of a run, repeatable; default: those that are reported")
    parser.add_argument("--cache", type=Path, required=True, help="folder for features")
    parser.add_argument("--out", type=Path, required=True, help="result file, JSON")
    options = parser.parse_args()
    try:
        result = start(options.out)
        for name in options.run or RUNS:
            for line in measure_run(name, result, options):
                print(line, file=sys.stderr, flush=True)
        print(*tables(result), sep="\n")
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
