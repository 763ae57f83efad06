"""What weight draws add to densities: detection and cost on the paper's models.

    python -m reference.compare_bayesian --data-dir DATA --runs RUNS --work WORK --out reference/results/bayesian.json

For each finished training run, one profile without a posterior and one for each choice of layers, the two named
ones with fine-tuning and without; all on the same halves of the official test set as :mod:`reference.evaluate`.
Of the same scans are compared: the densities' combined score, the mutual information alone, and both
combined as the product combines them. What is finished is kept in WORK and not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.evaluate import ALPHA, RUNS, Case, describe_machine, open_case, write_case, write_json
from reference.features import ARCHITECTURES
from reference.files import read_truth
from reference.metrics import auroc, average_precision, detection_rate_at
from scanner.base.errors import LatentscanError
from scanner.fitting.fit import fit
from scanner.fitting.options import BayesianOptions, FitOptions
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.source import open_source
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.profile.content import Profile
from scanner.profile.reader import read_profile
from scanner.scoring.scorer import Scorer

DENSITIES = "densities"
VARIANTS: Mapping[str, BayesianOptions | None] = {
    DENSITIES: None,
    "last-stage, untrained": BayesianOptions(epochs=0),
    "last-stage, fine-tuned": BayesianOptions(),
    "last 3, fine-tuned": BayesianOptions(layers="3"),
    "last 1, fine-tuned": BayesianOptions(layers="1"),
    "all, untrained": BayesianOptions(layers="all", epochs=0),
    "all, fine-tuned": BayesianOptions(layers="all"),
}
TIMED_IMAGES = 256


class _Quiet:
    """Prints findings of the pipelines on standard error."""

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    def task(self, name: str, total: int) -> Callable[[int], None]:
        del name, total
        return lambda _done: None


def measure(case: Case, name: str, pairs: int) -> dict[str, Any]:
    """Fit one variant, scan, and compare with the truth; a finished measurement is read back."""
    folder = case.folder / "bayesian"
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.replace(", ", "-").replace(" ", "-")
    result = folder / f"{stem}.json"
    if result.exists():
        finished: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return finished
    path = folder / f"{stem}.h5"
    fit_seconds = _fit(case, VARIANTS[name], path)
    profile = read_profile(path)
    triggered, successful, predicted_correct, scores = scan(case, profile, pairs)
    summary: dict[str, Any] = {
        "profile_bytes": path.stat().st_size,
        "fit_seconds": fit_seconds,
        "cpu_seconds_per_1000_images": cost(profile),
        "clean_accuracy": round(float(predicted_correct[~triggered].mean()), 6),
        "attack_success_rate": round(float(successful[triggered].mean()), 6),
        "scores": columns(profile, scores, triggered, successful),
    }
    if (info := profile.header.bayesian) is not None:
        summary["posterior"] = info.model_dump(mode="json", exclude={"weights"}) | {"tensors": len(info.weights)}
    write_json(result, summary)
    return summary


def _fit(case: Case, bayesian: BayesianOptions | None, path: Path) -> float:
    """Fit a profile, unless it is there already; the seconds that it took."""
    record = path.with_suffix(".fit.json")
    if not (path.exists() and record.exists()):
        started = time.monotonic()
        arch = ARCHITECTURES[case.data.name]
        reference = case.images / "ref"
        fit(FitOptions(case.model, reference, path, architecture=arch, bayesian=bayesian, device="cpu"), _Quiet())
        write_json(record, {"seconds": round(time.monotonic() - started, 1)})
    seconds: float = json.loads(record.read_text(encoding="utf-8"))["seconds"]
    return seconds


def scan(
    case: Case, profile: Profile, pairs: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    """Score ``pairs`` pictures, chosen at random by the case's seed, and their triggered copies.

    Returns:
        Whether each input is triggered, whether the attack succeeded on it, whether the prediction is
        the true label, ``(N,)`` bool each, and all scores ``(N, S)``.
    """
    truth = {row.file_name: row for row in read_truth(case.images / "truth.csv")}
    source = open_source(case.images / "inputs", labels=False)
    pictures = sorted({row.source for row in truth.values()})
    # At random: data sets are often in the order of their classes.
    wanted = set(np.random.default_rng(case.seed).permutation(pictures)[:pairs].tolist())
    chosen = [item for item in source.items if truth[item.id].source in wanted]
    scorer = Scorer(profile, "cpu")
    spec = PreprocessSpec.from_dict(profile.header.preprocess.spec)
    logits, scores, ids = [], [], []
    for batch in run_pipeline(source, spec, scorer.run, batch_size=scorer.chunk, items=chosen):
        logits.append(batch.outputs["logits"])
        scores.append(np.asarray(batch.outputs["scores"], np.float64))
        ids += [batch.items[i].id for i in batch.readable.tolist()]
    predicted = [profile.header.class_names[i] for i in np.concatenate(logits).argmax(1)]
    rows = [truth[i] for i in ids]
    triggered = np.array([row.triggered for row in rows])
    successful = np.array([p == row.attack_label for p, row in zip(predicted, rows, strict=True)])
    correct = np.array([p == row.true_label for p, row in zip(predicted, rows, strict=True)])
    return triggered, successful, correct, np.concatenate(scores)


def columns(
    profile: Profile, scores: NDArray[np.float64], triggered: NDArray[np.bool_], successful: NDArray[np.bool_]
) -> dict[str, Any]:
    """Figures of the combined score and of each Bayesian score alone."""
    calibration = calibration_from_arrays(profile.calibration, profile.header.scores)
    judged = calibration.judge(scores)
    found = {"combined": figures(judged.combined, judged.p_values, triggered, successful)}
    for index, score in enumerate(profile.header.scores):
        if score.descriptor.startswith("bayesian"):
            found[score.kind] = figures(scores[:, 0, index], judged.score_p_values[:, index], triggered, successful)
    return found


def figures(
    values: NDArray[np.float64], p: NDArray[np.float64], triggered: NDArray[np.bool_], successful: NDArray[np.bool_]
) -> dict[str, float]:
    """Areas, and detection at 1% false alarms: by an ideal threshold, and by the calibration."""
    effective = ~triggered | successful
    flagged = p <= ALPHA * (1 + 1e-12)
    result = {
        "auroc": auroc(triggered, values),
        "aupr": average_precision(triggered, values),
        "detection_at_1_percent": detection_rate_at(0.01, triggered, values),
        "detection_at_1_percent_where_the_attack_succeeds": detection_rate_at(
            0.01, triggered[effective], values[effective]
        ),
        "flagged_triggered": float(flagged[triggered].mean()),
        "flagged_clean": float(flagged[~triggered].mean()),
    }
    return {name: round(value, 6) for name, value in result.items()}


def cost(profile: Profile) -> float:
    """Processor seconds of scoring 1,000 images that are decoded already, on one thread."""
    scorer = Scorer(profile, "cpu")
    spec = PreprocessSpec.from_dict(profile.header.preprocess.spec)
    pixels = np.random.default_rng(0).integers(0, 256, (TIMED_IMAGES, *spec.size, spec.channels), np.uint8)
    scorer.run(pixels[: scorer.chunk])
    seconds = []
    for _ in range(3):
        started = time.process_time()
        for start in range(0, TIMED_IMAGES, scorer.chunk):
            scorer.run(pixels[start : start + scorer.chunk])
        seconds.append(time.process_time() - started)
    return round(1000 * min(seconds) / TIMED_IMAGES, 4)


def table(model: Mapping[str, Any]) -> list[str]:
    """One model's figures as rows of a Markdown table: AUROC, AUPR, detection at 1% false alarms, cost."""
    variants = model["variants"]
    rows = [_row(DENSITIES, variants[DENSITIES]["scores"]["combined"], variants[DENSITIES])]
    for name, variant in variants.items():
        if name != DENSITIES:
            rows.append(_row(f"BALD alone ({name})", variant["scores"]["bald"], variant))
            rows.append(_row(f"both combined ({name})", variant["scores"]["combined"], variant))
    return rows


def _row(name: str, found: Mapping[str, float], variant: Mapping[str, Any]) -> str:
    detection = found["detection_at_1_percent"]
    where = found["detection_at_1_percent_where_the_attack_succeeds"]
    cost = variant["cpu_seconds_per_1000_images"]
    areas = f"{100 * found['auroc']:.2f} | {100 * found['aupr']:.2f}"
    return f"| {name} | {areas} | {detection:.1%} | {where:.1%} | {cost:.2f} |"


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compare densities, weight draws and both on finished training runs.")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with MNIST and CIFAR-10")
    parser.add_argument("--runs", type=Path, required=True, help="folder of reference.training's runs")
    parser.add_argument("--run", action="append", help="name of a run, repeatable; default: the paper's two at 10%%")
    parser.add_argument("--work", type=Path, required=True, help="folder for images and profiles")
    parser.add_argument("--out", type=Path, required=True, help="result file, JSON")
    parser.add_argument("--pairs", type=int, default=2500, help="pictures to scan, each clean and triggered")
    parser.add_argument("--seed", type=int, default=0, help="of the split into reference and inputs")
    options = parser.parse_args()
    try:
        models = {}
        for run in options.run or RUNS:
            case = open_case(run, options.runs, options.data_dir, options.work, options.seed)
            write_case(case)
            measured = {}
            for name in VARIANTS:
                print(f"{run}: {name}", file=sys.stderr, flush=True)
                measured[name] = measure(case, name, options.pairs)
            models[run] = {"data": case.data.title, "training": case.record, "variants": measured}
        result = {
            "command": "python -m reference.compare_bayesian",
            "split_seed": options.seed,
            "pairs": options.pairs,
            "alpha": ALPHA,
            "settings": {name: None if v is None else asdict(v) for name, v in VARIANTS.items()},
            "machine": describe_machine(),
            "models": models,
        }
        write_json(options.out, json.loads(json.dumps(result, default=str)))
        for run, model in models.items():
            print(run, *table(model), sep="\n")
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
