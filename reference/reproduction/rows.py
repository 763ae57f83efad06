"""The rows of the tables, each by the product's own detector.

The official test set is split into two stratified halves. Detectors see the first; figures are of the second and of
its triggered copies (Subedar et al., section 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.baselines.confidence import entropy
from detectors.bayesian.uncertainty import DrawStatistics
from detectors.calibration.plan import CalibrationPlan, plan_calibration
from detectors.deep_features.density import FAMILIES, Family
from detectors.deep_features.detector import DeepFeatures, ImageClasses, fit_deep_features
from detectors.deep_features.fit import fit_rows
from detectors.deep_features.grouping import group_classes
from detectors.deep_features.recipe import DEFAULT, PAPER, Recipe
from detectors.deep_features.scores import ScoreKind, score_rows
from detectors.deep_features.settings import DensitySettings
from reference.attacks import attack_named
from reference.datasets import DataSet, ImageSet, stratified_halves
from reference.features import CHUNK, Features, extract, keys_of, load_trained, pixels_of, tap
from reference.reproduction.cell import Row
from reference.reproduction.measured import Measured, Truth, figures
from reference.reproduction.poisoned_bnn import train_on_poisoned
from reference.training import TrainConfig
from scanner.base.device import Device
from scanner.base.progress import Progress
from scanner.fitting.bayesian.fit_bayesian import fit_bayesian
from scanner.fitting.bayesian.terms import TailData, TailReference
from scanner.fitting.options import BayesianOptions
from scanner.graph.session import GraphSession
from scanner.graph.weights import choose_weights, cut_tail, expose
from scanner.models.load import LoadedModel
from scanner.profile.posterior import Posterior
from scanner.scoring.draw_scorer import DrawScorer

ALPHAS = (0.01, 0.05)
BATCH = 64
_INDEXING = 1e-12  # p-values are shares; alpha is meant, not its last bit


@dataclass(frozen=True)
class Bench:
    """A trained network with the images that its detectors are fitted to and measured on.

    Attributes:
        config: What was trained.
        data: Its data set.
        model: The trained network as a graph.
        folder: The training run's folder.
        device: Where graphs run and posteriors are trained.
        progress: Told about long steps.
    """

    config: TrainConfig
    data: DataSet
    model: LoadedModel
    folder: Path
    device: Device
    progress: Progress

    @cached_property
    def reference(self) -> ImageSet:
        """The half that detectors may see."""
        return self.data.test.take(self._halves[0])

    @cached_property
    def clean(self) -> ImageSet:
        """The half that figures are of."""
        return self.data.test.take(self._halves[1])

    @cached_property
    def triggered(self) -> ImageSet:
        """The same images with the trigger, and the attacker's labels."""
        _, channels, height, width = self.clean.images.shape
        attack = attack_named(self.config.attack, (channels, height, width))
        labels = attack.rule(self.clean.labels, len(self.data.classes))
        return ImageSet(attack.trigger.apply(self.clean.images), labels)

    @cached_property
    def _halves(self) -> tuple[torch.Tensor, torch.Tensor]:
        return stratified_halves(self.data.test.labels, self.config.seed)

    @cached_property
    def features(self) -> tuple[Features, Features, Features]:
        """Descriptors of the reference, the clean and the triggered images."""
        tapped, descriptors = tap(self.model, self.data)
        session = GraphSession(*tapped.serialise(), device=self.device, threads=torch.get_num_threads())
        reference, clean, triggered = (
            extract(session, descriptors, images.images, images.labels)
            for images in (self.reference, self.clean, self.triggered)
        )
        return reference, clean, triggered

    @cached_property
    def truth(self) -> Truth:
        """What the measured images are."""
        _, _, triggered = self.features
        succeeds = triggered.predicted == triggered.labels
        return Truth(self.clean.labels.numpy(), triggered.labels, succeeds)


def open_bench(config: TrainConfig, data: DataSet, folder: Path, device: Device, progress: Progress) -> Bench:
    """Load a finished training run."""
    return Bench(config, data, load_trained(folder / "model.pt", data), folder, device, progress)


def measure_row(bench: Bench, row: Row) -> dict[str, Any]:
    """All figures of one row."""
    measured, more = _MEASURE[row](bench)
    return figures(measured, bench.truth) | more


def _dnn(bench: Bench) -> tuple[Measured, dict[str, Any]]:
    """The network's own softmax: its entropy as the score, its arg max as the class."""
    _, clean, triggered = bench.features
    scores = [entropy(each.logits.astype(np.float64)) for each in (clean, triggered)]
    return Measured(scores[0], scores[1], clean.predicted, triggered.predicted), {"score": "entropy of the softmax"}


def _df(bench: Bench) -> tuple[Measured, dict[str, Any]]:
    """DeepFeatures as the paper has it: Gaussians of one layer, fitted to the whole reference half.

    The class is the one with the largest log-likelihood (table 1: "if the log-likelihood scores are used to
    perform classification instead of the softmax scores"). What the paper leaves open is measured beside it: the
    likelihood of the predicted class or the largest one, and the family of densities.
    """
    found = {family: _one_layer(bench, family) for family in FAMILIES}
    measured, largest, key = found["separate"]
    plain = ("clean_accuracy", "triggered_accuracy", "auroc", "aupr")
    variants = {"separate, largest likelihood": largest}
    variants |= {family: each for family, (each, _, _) in found.items() if family != "separate"}
    return measured, {
        "score": "negative log-likelihood of the predicted class",
        "descriptor": key,
        "variants": {
            name: {figure: figures(each, bench.truth)[figure] for figure in plain} for name, each in variants.items()
        },
    }


def _one_layer(bench: Bench, family: Family) -> tuple[Measured, Measured, str]:
    """The paper's recipe with one family: by the likelihood of the predicted class, by the largest, and the layer."""
    reference, clean, triggered = bench.features
    (key,) = _descriptors(bench, PAPER)
    groups = group_classes(np.bincount(reference.labels, minlength=len(bench.data.classes)))
    settings = DensitySettings(family, PAPER.retained_variance, seed=bench.config.seed)
    rows = np.arange(len(reference.labels))
    density = fit_rows(reference.values[key], rows, reference.labels, groups, settings)
    scores, classes = [], []
    for each in (clean, triggered):
        rows = np.arange(len(each.labels))
        scores.append(score_rows(density, each.values[key], rows, each.predicted))
        coordinates = density.projection.transform(each.values[key].astype(np.float64))
        by_group = density.density.log_likelihood(coordinates)
        classes.append(np.where(groups.own, by_group[:, groups.of_class], -np.inf).argmax(1))

    def by(kind: ScoreKind) -> Measured:
        return Measured(scores[0][kind], scores[1][kind], classes[0], classes[1])

    return by("likelihood"), by("max-likelihood"), key


def _default(bench: Bench) -> tuple[Measured, dict[str, Any]]:
    """What `fit` and `scan` do without options; the class is the one that most descriptors speak for."""
    reference, *others = bench.features
    fitted = _fit(bench, DEFAULT, plan_calibration(reference.labels, bench.config.seed))
    combined, p_values, classes = [], [], []
    for each in others:
        judged = fitted.calibration.judge(fitted.score(each.values, each.predicted, each.confidence))
        combined.append(judged.combined)
        p_values.append(judged.p_values)
        classes.append(fitted.class_evidence(each.values).argmin(1))
    flagged = {
        f"flagged_at_alpha_{alpha:g}": {
            kind: round(float((p <= alpha * (1 + _INDEXING)).mean()), 6)
            for kind, p in zip(("clean", "triggered"), p_values, strict=True)
        }
        for alpha in ALPHAS
    }
    return Measured(combined[0], combined[1], classes[0], classes[1]), {
        "score": "combined score of all descriptors",
        "descriptors": len(fitted.densities),
        "calibration_images": fitted.calibration.size,
        **flagged,
    }


def _descriptors(bench: Bench, recipe: Recipe) -> list[str]:
    """Keys of the descriptors that a recipe looks at."""
    _, descriptors = tap(bench.model, bench.data)
    return keys_of(recipe, [descriptor.key for descriptor in descriptors])


def _fit(bench: Bench, recipe: Recipe, plan: CalibrationPlan) -> DeepFeatures:
    reference = bench.features[0]
    return fit_deep_features(
        reference.only(_descriptors(bench, recipe)),
        ImageClasses(reference.labels, reference.predicted, len(bench.data.classes), reference.confidence),
        recipe,
        plan,
        bench.config.seed,
    )


@dataclass(frozen=True)
class _BarsOnly:
    """Progress without the lines."""

    progress: Progress

    def say(self, text: str) -> None:
        del text

    def task(self, name: str, total: int) -> Callable[[int], None]:
        return self.progress.task(name, total)


def _bnn_clean(bench: Bench) -> tuple[Measured, dict[str, Any]]:
    """The product's Bayesian detector: MOPED from the suspect's weights, fine-tuned on clean images alone."""
    reference, *_ = bench.features
    tapped, _ = tap(bench.model, bench.data)
    options = BayesianOptions()
    tail = cut_tail(tapped, choose_weights(tapped.proto, bench.model.candidates, options.layers))
    session = GraphSession(*expose(tapped, tail).serialise(), device=bench.device, threads=torch.get_num_threads())
    names = [item.name for item in tail.inputs]

    def inputs(images: ImageSet, start: int, stop: int) -> dict[str, NDArray[np.float32]]:
        return session.run({"pixels": pixels_of(images.images[start:stop])}, names)

    parts = [inputs(bench.reference, start, start + CHUNK) for start in range(0, len(bench.reference), CHUNK)]
    shapes = {name: parts[0][name].shape[1:] for name in names}
    flat = {name: np.concatenate([part[name].reshape(len(part[name]), -1) for part in parts]) for name in names}
    del parts
    origin = hashlib.sha256(bench.reference.images.numpy().tobytes() + b"".join(tapped.serialise())).hexdigest()
    data = TailData(flat, shapes, reference.labels, origin)
    plan = plan_calibration(reference.labels, bench.config.seed)
    quiet = _BarsOnly(bench.progress)
    fitted = fit_bayesian(
        TailReference(tail, data, reference.predicted, plan), options, bench.config.seed, bench.device, quiet
    )
    more = fitted.info.model_dump(mode="json", include={"posterior", "layers", "delta", "prior_std", "samples"})
    measured = _drawn(bench, fitted.posterior, inputs)
    return measured, {"score": "mutual information (BALD)", **more, "tensors": len(fitted.info.weights)}


def _bnn(bench: Bench) -> tuple[Measured, dict[str, Any]]:
    """The paper's: mean-field variational inference with Flipout on the poisoned training set itself."""
    network = train_on_poisoned(bench.config, bench.data, bench.model, bench.folder, bench.device, bench.progress)

    def inputs(images: ImageSet, start: int, stop: int) -> dict[str, NDArray[np.float32]]:
        return network.inputs(images.images[start:stop])

    measured = _drawn(bench, network.posterior, inputs)
    return measured, {"score": "mutual information (BALD)", **network.record}


def _drawn(
    bench: Bench,
    posterior: Posterior,
    inputs: Callable[[ImageSet, int, int], dict[str, NDArray[np.float32]]],
) -> Measured:
    """BALD and the classes of the mean over draws, by the product's scorer."""
    scorer = DrawScorer(posterior, bench.device)
    total = len(bench.clean) + len(bench.triggered)
    step = bench.progress.task("weight draws", total)
    done = 0
    scores, classes = [], []
    for images in (bench.clean, bench.triggered):

        def run(start: int, images: ImageSet = images) -> DrawStatistics:
            return scorer.run(inputs(images, start, start + CHUNK), batch_size=BATCH)

        parts: list[DrawStatistics] = []
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for statistics in pool.map(run, range(0, len(images), CHUNK)):
                parts.append(statistics)
                done += len(statistics.mean_probabilities())
                step(done)
        scores.append(np.concatenate([part.scores()["bald"] for part in parts]))
        classes.append(_classes(parts))
    return Measured(scores[0], scores[1], classes[0], classes[1])


def _classes(parts: Sequence[DrawStatistics]) -> NDArray[np.int64]:
    return np.concatenate([part.mean_probabilities().argmax(1) for part in parts])


_MEASURE: dict[Row, Callable[[Bench], tuple[Measured, dict[str, Any]]]] = {
    "dnn": _dnn,
    "df": _df,
    "bnn": _bnn,
    "bnn-clean": _bnn_clean,
    "default": _default,
}
