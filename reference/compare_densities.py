"""Compare densities, descriptors and combinations on poisoned models: the measurement behind the default.

    python -m reference.compare_densities --data-dir DATA --runs RUNS --out reference/results/densities.json

For every finished run the product's own taps and descriptors are computed for half of the official
test set (the reference), the other half (clean) and its triggered copies. Nothing is tuned on the
latter two: every variant is fitted and calibrated on the reference alone, and all are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.confidence import confidence
from detectors.calibration.plan import plan_calibration
from detectors.deep_features.density import FAMILIES
from detectors.deep_features.detector import DeepFeatures, ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT, PAPER, Recipe
from detectors.deep_features.scores import SCORE_KINDS, ScoreKind, score_by_folds
from reference.attacks import attack_named
from reference.datasets import DataSet, load, stratified_halves
from reference.features import Features, extract, keys_of, load_trained, tap
from reference.metrics import auroc, average_precision, detection_rate_at
from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.graph.pool import Descriptor
from scanner.graph.session import GraphSession

FEW = (100, 200, 500, 1000)


def measure(fitted: DeepFeatures, clean: Features, triggered: Features, changed: NDArray[np.bool_]) -> dict[str, float]:
    """AUROC, AUPR, detection and false alarms of the combined score."""

    def judge(features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        judged = fitted.calibration.judge(fitted.score(features.values, features.predicted, features.confidence))
        return judged.combined, judged.p_values

    (clean_score, clean_p), (trigger_score, trigger_p) = judge(clean), judge(triggered)
    truth = np.concatenate([np.zeros(len(clean_score), bool), np.ones(len(trigger_score), bool)])
    score = np.concatenate([clean_score, trigger_score])
    kept = np.concatenate([np.ones(len(clean_score), bool), changed])
    return {
        "auroc": round(auroc(truth, score), 5),
        "aupr": round(average_precision(truth, score), 5),
        "detection_at_1_percent": round(detection_rate_at(0.01, truth, score), 5),
        "detection_at_alpha_0.01": round(float((trigger_p <= 0.01).mean()), 5),
        "false_alarms_at_alpha_0.01": round(float((clean_p <= 0.01).mean()), 5),
        "aupr_where_the_trigger_shows": round(average_precision(truth[kept], score[kept]), 5),
    }


def variants() -> Iterator[tuple[str, Recipe]]:
    """Named recipes to compare."""
    yield "default", DEFAULT
    yield "paper", PAPER
    for family in FAMILIES:
        yield f"family {family}", replace(DEFAULT, family=family)
    for kinds in (
        ("likelihood",),
        ("max-likelihood",),
        ("reconstruction",),
        ("mismatch",),
        ("likelihood", "mismatch"),
        SCORE_KINDS,
    ):
        yield f"scores {'+'.join(kinds)}", replace(DEFAULT, kinds=kinds)
    for poolings in (("mean", "value"), ("max", "value")):
        yield f"pooling {poolings[0]} alone", replace(DEFAULT, poolings=poolings)
    for sharpness in (1.0, 4.0, 50.0):
        yield f"sharpness {sharpness:g}", replace(DEFAULT, sharpness=sharpness)
    yield "deepest tap alone", replace(DEFAULT, taps="deepest")
    yield "all taps", replace(DEFAULT, taps="all")


def fit(recipe: Recipe, descriptors: Sequence[Descriptor], reference: Features, num_classes: int) -> DeepFeatures:
    """Fit a recipe on the reference as the product does."""
    keys = keys_of(recipe, [d.key for d in descriptors])
    plan = plan_calibration(reference.labels, 0)
    classes = ImageClasses(reference.labels, reference.predicted, num_classes, reference.confidence)
    return fit_deep_features(reference.only(keys), classes, recipe, plan, 0)


def single_scores(
    descriptors: Sequence[Descriptor], reference: Features, clean: Features, triggered: Features, num_classes: int
) -> dict[str, dict[ScoreKind, float]]:
    """AUROC of every single score of every descriptor."""
    fitted = fit(replace(DEFAULT, kinds=SCORE_KINDS, taps="all"), descriptors, reference, num_classes)
    truth = np.concatenate([np.zeros(len(clean.labels), bool), np.ones(len(triggered.labels), bool)])
    result = {}
    for key, folds in fitted.densities.items():
        both = [score_by_folds(folds, features.values[key], features.predicted) for features in (clean, triggered)]
        result[key] = {
            kind: round(auroc(truth, np.concatenate([scores[kind].mean(1) for scores in both])), 4)
            for kind in SCORE_KINDS
        }
    return result


def few_images(
    descriptors: Sequence[Descriptor],
    reference: Features,
    clean: Features,
    triggered: Features,
    changed: NDArray[np.bool_],
    num_classes: int,
) -> dict[str, dict[str, float]]:
    """The default with a smaller reference: mean over five random subsets."""
    result = {}
    for count in FEW:
        runs = []
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(len(reference.labels))
            classes = reference.labels[order]
            rank = np.array([np.count_nonzero(classes[:i] == c) for i, c in enumerate(classes)])
            subset = reference.take(np.sort(order[rank < count // num_classes]))
            runs.append(measure(fit(DEFAULT, descriptors, subset, num_classes), clean, triggered, changed))
        result[str(count)] = {key: round(float(np.mean([run[key] for run in runs])), 5) for key in runs[0]}
    return result


def compare(folder: Path, data: DataSet) -> dict[str, Any]:
    """Everything for one finished training run."""
    run = json.loads((folder / "run.json").read_text())
    _, channels, height, width = data.train.images.shape
    attack = attack_named(run["config"]["attack"], (channels, height, width))
    num_classes = len(data.classes)
    model = load_trained(folder / "model.pt", data)
    tapped, descriptors = tap(model, data)
    session = GraphSession(*tapped.serialise(), device="cpu", threads=2)
    ours, theirs = stratified_halves(data.test.labels, 0)
    held_out = data.test.take(theirs)
    images = attack.trigger.apply(held_out.images)
    changed = ((images.int() - held_out.images.int()).abs().amax((1, 2, 3)) > 10).numpy()
    reference = extract(session, descriptors, data.test.images[ours], data.test.labels[ours])
    clean = extract(session, descriptors, held_out.images, held_out.labels)
    triggered = extract(session, descriptors, images, attack.rule(held_out.labels, num_classes))
    truth = np.concatenate([np.zeros(len(clean.labels), bool), np.ones(len(changed), bool)])
    softmax = np.concatenate([confidence(f.logits.astype(np.float64)) for f in (clean, triggered)])
    return {
        "data": data.title,
        "config": run["config"],
        "clean_accuracy": round(float((clean.predicted == clean.labels).mean()), 5),
        "attack_success_rate": round(float((triggered.predicted == triggered.labels).mean()), 5),
        "triggers_that_show": round(float(changed.mean()), 5),
        "softmax_confidence_auroc": round(max(auroc(truth, softmax), auroc(truth, -softmax)), 5),
        "variants": {
            name: measure(fit(recipe, descriptors, reference, num_classes), clean, triggered, changed)
            for name, recipe in variants()
        },
        "single_scores_auroc": single_scores(descriptors, reference, clean, triggered, num_classes),
        "default_by_reference_size": few_images(descriptors, reference, clean, triggered, changed, num_classes),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of runs; all finished ones by default")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "libraries": library_versions(FIT_LIBRARIES),
        "split": "official test set, stratified halves, seed 0: reference and held out",
        "models": json.loads(options.out.read_text())["models"] if options.out.exists() else {},
    }
    for folder in sorted(path.parent for path in options.runs.glob("*/run.json")):
        if folder.name in result["models"] or (options.only and folder.name not in options.only):
            continue
        data = load(folder.name.split("-")[0], options.data_dir)
        result["models"][folder.name] = compare(folder, data)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
        print(folder.name, json.dumps(result["models"][folder.name]["variants"]["default"]), flush=True)


if __name__ == "__main__":
    main()
