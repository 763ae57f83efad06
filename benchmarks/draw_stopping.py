r"""Measure whether weight draws could stop early: for how many inputs some of 40 draws decide what all 40 say.

    python benchmarks/draw_stopping.py --data-dir DATA --runs RUNS --work WORK \
        --out benchmarks/results/draw_stopping.json

Exact, not likely: an input counts as decided after some draws only where no outcome of the others could change its
place among the calibration images. Of trained models (reference.training) with profiles as `fit` makes them, on clean
images of the official test set that no profile saw, and on the same with the trigger. Profiles are kept in WORK.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.calibration.conformal import p_values
from detectors.calibration.judge import Calibration
from reference.datasets import ImageSet
from reference.evaluate import ALPHA, RUNS, Case, describe_machine, held_out, open_case, write_case
from reference.features import ARCHITECTURES
from scanner.base.progress import SILENCE
from scanner.fitting.fit import fit
from scanner.fitting.options import BayesianOptions, FitOptions
from scanner.graph.session import GraphSession
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.profile.content import Profile
from scanner.profile.reader import read_profile
from scanner.scoring.draw_scorer import DrawScorer

AFTER = (0, 10, 20, 30, 39)
"""Numbers of draws after which is asked what is decided."""
VARIANTS = {"untrained": BayesianOptions(epochs=0), "fine-tuned": BayesianOptions()}
BATCH = 64
Scores = NDArray[np.float64]


def bounds(sums: Scores, entropies: Scores, done: int, draws: int) -> tuple[Scores, Scores]:
    """Least and largest mutual information of all draws that the first ones leave possible, ``(N,)`` each.

    Mutual information is a Jensen-Shannon divergence, convex in all distributions together. So it is least where the
    remaining draws are alike, and of those at the mean of the first: ``done / draws`` times theirs. So it is largest
    where every remaining draw is sure of a class; of such draws, where each in turn takes the class that is least
    probable by then, since entropy is a sum over classes that is concave in each.

    Args:
        sums: ``(N, C)`` sums of the first draws' probabilities.
        entropies: ``(N,)`` sums of their entropies.
        done: How many they are.
        draws: How many there are in all.
    """
    least = np.zeros(len(sums)) if not done else (entropy(sums / done) * done - entropies) / draws
    filled, rows = np.array(sums), np.arange(len(sums))
    for _ in range(draws - done):
        filled[rows, filled.argmin(1)] += 1.0
    return np.maximum(least, 0.0), np.maximum(entropy(filled / draws) - entropies / draws, 0.0)


def entropy(probabilities: Scores) -> Scores:
    """In nats, ``(N,)`` of distributions ``(N, C)``."""
    return -(probabilities * np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))).sum(1)


class Scored:
    """Inputs with all that a scan computes of them, and what it would know after fewer draws.

    Args:
        profile: With a posterior.
        pixels: ``(N, H, W, channels)`` uint8.
    """

    def __init__(self, profile: Profile, pixels: NDArray[np.uint8]) -> None:
        assert profile.posterior is not None
        session = GraphSession(profile.graph, profile.weights, device="cpu")
        names = ("scores", *profile.posterior.inputs)
        parts = [session.run({"pixels": pixels[at : at + BATCH]}, names) for at in range(0, len(pixels), BATCH)]
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in names}
        self.draws = profile.posterior.samples
        self._scorer, self._inputs = DrawScorer(profile.posterior, "cpu"), outputs
        self.column = [score.kind for score in profile.header.scores].index("bald")
        self._densities, self._kinds = np.asarray(outputs["scores"], np.float64), len(profile.header.scores)
        self.bald = self._scorer.score(outputs, BATCH)[:, 0]

    def between(self, done: int) -> tuple[Scores, Scores]:
        """Least and largest mutual information that some draws leave possible; that of all is between them."""
        classes = self._scorer.run(self._inputs, BATCH, draws=1).mean_probabilities().shape[1]
        sums, entropies = np.zeros((len(self.bald), classes)), np.zeros(len(self.bald))
        if done:
            first = self._scorer.run(self._inputs, BATCH, draws=done)
            sums, entropies = first.mean_probabilities() * done, first.scores()["expected-entropy"] * done
        least, most = bounds(sums, entropies, done, self.draws)
        assert ((least <= self.bald + 1e-9) & (self.bald <= most + 1e-9)).all()
        return least, most

    def with_bald(self, bald: Scores) -> Scores:
        """Scores ``(N, K, S)`` as a scan has them, with these values for the mutual information."""
        folds = self._densities.shape[1]
        # Only one of the four scores of weight draws enters the combined one; the others may be anything.
        scores = np.zeros((len(bald), folds, self._kinds))
        scores[:, :, : self._densities.shape[2]] = self._densities
        scores[:, :, self.column] = bald[:, None]
        return scores


def decided(scored: Scored, calibration: Calibration, done: int) -> dict[str, NDArray[np.bool_]]:
    """Of which inputs some draws decide the rank of the mutual information, the p-value, and whether it is flagged."""
    folds, ranks, ps = calibration.columns[scored.column], [], []
    for bald in scored.between(done):
        ranks.append(p_values(folds, np.repeat(bald[:, None], len(folds), axis=1)))
        ps.append(calibration.judge(scored.with_bald(bald)).p_values)
    flags = [p <= ALPHA * (1 + 1e-12) for p in ps]
    return {"rank of bald": ranks[0] == ranks[1], "p-value": ps[0] == ps[1], "flagged or not": flags[0] == flags[1]}


def measure(profile: Profile, groups: dict[str, NDArray[np.uint8]]) -> dict[str, Any]:
    """For each group of inputs, the shares decided after some draws, and the draws that stopping at those would run."""
    calibration = calibration_from_arrays(profile.calibration, profile.header.scores)
    found: dict[str, Any] = {}
    for name, pixels in groups.items():
        scored = Scored(profile, pixels)
        after = {done: decided(scored, calibration, done) for done in AFTER}
        found[name] = {"inputs": len(pixels), "median_bald": float(np.median(scored.bald))}
        for what in after[AFTER[0]]:
            runs = np.full(len(pixels), scored.draws)
            for done in reversed(AFTER):
                runs[after[done][what]] = done
            found[name][what] = {
                "decided_after": {str(done): round(float(after[done][what].mean()), 4) for done in AFTER},
                "draws_run": round(float(runs.mean()), 2),
            }
    return found


def profile_of(case: Case, variant: str) -> Profile:
    """A profile with a posterior of the last stage, fitted unless it is there."""
    path = case.folder / f"stopping-{variant}.h5"
    if not path.exists():
        write_case(case)
        reference, architecture = case.images / "ref", ARCHITECTURES[case.data.name]
        options = FitOptions(
            case.model, reference, path, architecture=architecture, bayesian=VARIANTS[variant], device="cpu"
        )
        fit(options, SILENCE)
    return read_profile(path)


def inputs(case: Case, count: int) -> dict[str, NDArray[np.uint8]]:
    """Clean and triggered images, chosen at random by the case's seed."""
    _, scanned = held_out(case)
    chosen = torch.from_numpy(np.random.default_rng(case.seed).permutation(len(scanned))[:count])
    clean: ImageSet = scanned.take(chosen)
    pixels = {"clean": clean.images, "triggered": case.attack.trigger.apply(clean.images)}
    return {name: np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()) for name, images in pixels.items()}


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="For how many inputs some weight draws decide what all of them say.")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with MNIST and CIFAR-10")
    parser.add_argument("--runs", type=Path, required=True, help="folder of reference.training's runs")
    parser.add_argument("--work", type=Path, required=True, help="folder for images and profiles")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--inputs", type=int, default=500, help="images of each network, each clean and triggered")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"machine": describe_machine(), "alpha": ALPHA, "seed": 0, "models": {}}
    for run in RUNS:
        case = open_case(run, options.runs, options.data_dir, options.work, seed=0)
        for variant in VARIANTS:
            found = measure(profile_of(case, variant), inputs(case, options.inputs))
            result["models"][f"{run}, {variant}"] = found
            print(run, variant, json.dumps(found), flush=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
