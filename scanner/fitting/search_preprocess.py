"""Search the preprocessing under which a model is best on labelled clean images.

All candidates are tried on some of the images, the leaders on more. Decoding is shared by candidates
of one geometry, and batches are dropped as soon as the network has seen them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.confidence import log_softmax
from detectors.calibration.binomial import binomial_tail
from detectors.class_order import assign_classes
from detectors.mcnemar import mcnemar
from scanner.base.errors import PreprocessError
from scanner.fitting.reference_labels import Labels
from scanner.graph.session import GraphSession
from scanner.inputs.items import Item, Source, why_unreadable
from scanner.inputs.normalise import normalise
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.preprocess import PreprocessSpec, candidates
from scanner.models.load import LoadedModel

# Networks on small images are cheap to try, and their candidates close to one another.
TRIAL_IMAGES, TRIAL_IMAGES_SMALL = 400, 2000
SMALL_PIXELS = 64 * 64
# The first look at all candidates: this share of the images, or this many.
FIRST_SHARE, FIRST_IMAGES = 4, 100
LEADERS = 8
MIN_SKILL = 0.05
MAX_CHANCE_P = 0.01
NOISE = 0.05
BATCH = 16


@dataclass(frozen=True)
class TrialModel:
    """The model at one input size, ready to run."""

    model: LoadedModel
    session: GraphSession


@dataclass(frozen=True)
class TriedCandidate:
    """A preprocessing candidate with what the model made of it.

    Attributes:
        name: Its name.
        spec: The preprocessing.
        correct: ``(N,)`` bool, whether the model is right about each image; the same images for all
            candidates that were tried together.
        log_likelihood: Mean log-probability of the labels, in nats.
        model: The model that was tried with it.
    """

    name: str
    spec: PreprocessSpec
    correct: NDArray[np.bool_]
    log_likelihood: float
    model: LoadedModel | None = None

    @property
    def accuracy(self) -> float:
        """Share of images that the model is right about."""
        return float(self.correct.mean())

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.correct)

    @property
    def title(self) -> str:
        """Name and input size."""
        return title(self.name, self.spec)


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        leaders: Candidates that were tried on all sampled images, best first; two or more.
        others: The rest, as they did on the first images, best first.
    """

    leaders: tuple[TriedCandidate, ...]
    others: tuple[TriedCandidate, ...]

    @property
    def best(self) -> TriedCandidate:
        """The chosen one."""
        return self.leaders[0]

    @property
    def runner_up(self) -> TriedCandidate:
        """The one that would have been chosen without it."""
        return self.leaders[1]

    @property
    def tried(self) -> int:
        """Number of candidates."""
        return len(self.leaders) + len(self.others)

    def p_value(self, candidate: TriedCandidate) -> float:
        """Of the hypothesis that a leader is right as often as the best."""
        return mcnemar(self.best.correct, candidate.correct)

    @property
    def within_noise(self) -> tuple[TriedCandidate, ...]:
        """Leaders whose accuracy cannot be told from the best one's."""
        return tuple(leader for leader in self.leaders[1:] if self.p_value(leader) >= NOISE)


def title(name: str, spec: PreprocessSpec) -> str:
    """What a candidate is called: its name, and the network's input size."""
    return f"{name} at {spec.size[0]}x{spec.size[1]}"


def search_preprocess(
    models: Sequence[TrialModel], source: Source, labels: Labels, image_sizes: Sequence[tuple[int, int]], seed: int
) -> Search:
    """Try every candidate at every size of the model, all on a quarter of the images and the leaders on all.

    Args:
        models: The model at each input size worth trying.
        source: The reference.
        labels: Its labels.
        image_sizes: Height and width of some of its images.
        seed: Of the choice of images.

    Raises:
        PreprocessError: If no image can be read, or no candidate is better than chance.
        SourceError: If all readable images have one label.
    """
    several = len({trial.model.architecture for trial in models}) > 1
    entries = [
        _Entry(trial, f"{trial.model.architecture} with {name}" if several else name, spec)
        for trial in models
        for name, spec in candidates(trial.model.input_shape[0], trial.model.input_shape[1:], image_sizes)
    ]
    small = all(math.prod(trial.model.input_shape[1:]) <= SMALL_PIXELS for trial in models)
    items = trial_items(source, TRIAL_IMAGES_SMALL if small else TRIAL_IMAGES, seed)
    others: list[TriedCandidate] = []
    if len(items) >= FIRST_IMAGES:
        tried, chance = _try(entries, source, items[: max(FIRST_IMAGES, len(items) // FIRST_SHARE)], labels)
        # Where so few images tell nothing, as no order of classes can be solved on them, all go on to the rest.
        if better_than_chance(tried[0], chance, len(entries)):
            others = tried[LEADERS:]
            leading = {candidate.title for candidate in tried[:LEADERS]}
            entries = [entry for entry in entries if entry.title in leading]
    leaders, chance = _try(entries, source, items, labels)
    search = Search(tuple(leaders), tuple(others))
    if not better_than_chance(search.best, chance, search.tried):
        raise PreprocessError(
            f"no candidate preprocessing makes the model better than chance (best {search.best.accuracy:.1%} of "
            f"{search.best.images} images, a guess {chance:.1%})",
            where=str(source.root),
            hint="Give --preprocess, and check that the images and labels belong to this model",
        )
    return search


def rank_models(
    models: Sequence[TrialModel], spec: PreprocessSpec, source: Source, labels: Labels, seed: int
) -> list[TriedCandidate]:
    """Models under one preprocessing, best clean accuracy first.

    Args:
        models: The models, of one input size.
        spec: The preprocessing.
        source: The reference.
        labels: Its labels.
        seed: Of the choice of images.

    Raises:
        PreprocessError: If no image can be read.
        SourceError: If all readable images have one label.
    """
    entries = [_Entry(trial, trial.model.architecture, spec) for trial in models]
    return _try(entries, source, trial_items(source, TRIAL_IMAGES, seed), labels)[0]


def trial_items(source: Source, count: int, seed: int) -> list[Item]:
    """At most ``count`` items, in an order of which every beginning is spread evenly over the labels."""
    order = np.random.default_rng(seed).permutation(len(source.items)).tolist()
    seen: dict[str | None, int] = {}
    rounds = []
    for index in order:
        label = source.items[index].label
        rounds.append(seen.get(label, 0))
        seen[label] = rounds[-1] + 1
    chosen = sorted(range(len(order)), key=lambda position: rounds[position])[:count]
    return [source.items[order[position]] for position in chosen]


def rank_candidates(tried: Sequence[TriedCandidate]) -> list[TriedCandidate]:
    """Best candidate first.

    Accuracy decides where it can. Candidates whose accuracy cannot be told from the highest (McNemar's
    exact test, on the same images) are equal as far as the sample can tell, and among them the labels'
    mean log-likelihood decides: it uses every image, and a network is best calibrated on the inputs it
    was trained with.
    """
    top = max(tried, key=lambda c: (c.accuracy, c.log_likelihood))

    def rank(candidate: TriedCandidate) -> tuple[bool, float, float]:
        behind = mcnemar(top.correct, candidate.correct) < NOISE
        return behind, -candidate.accuracy if behind else 0.0, -candidate.log_likelihood

    return sorted(tried, key=rank)


def better_than_chance(candidate: TriedCandidate, chance: float, tried: int) -> bool:
    """Whether the best of ``tried`` candidates knows more than the most frequent label.

    By a margin, relative to what is left above chance; and by an exact binomial test, so that few images
    or labels that are nearly all the same do not pass by luck.
    """
    correct, images = int(candidate.correct.sum()), candidate.images
    by_luck = tried * binomial_tail(correct, images, chance)
    return candidate.accuracy > chance + MIN_SKILL * (1.0 - chance) and by_luck <= MAX_CHANCE_P


@dataclass(frozen=True)
class _Entry:
    """A candidate that is still to be tried."""

    trial: TrialModel
    name: str
    spec: PreprocessSpec

    @property
    def title(self) -> str:
        return title(self.name, self.spec)


def _try(
    entries: Sequence[_Entry], source: Source, items: Sequence[Item], labels: Labels
) -> tuple[list[TriedCandidate], float]:
    """The candidates ranked on the images that all of them can read, and the share of the most frequent label."""
    groups: dict[tuple[int, PreprocessSpec], list[int]] = {}
    for index, entry in enumerate(entries):
        groups.setdefault((id(entry.trial), entry.spec.geometry()), []).append(index)
    readable = np.ones(len(items), bool)
    logits: dict[int, tuple[NDArray[np.bool_], NDArray[np.float32]]] = {}
    for (_, geometry), members in groups.items():
        seen, outputs = _run([entries[index] for index in members], geometry, source, items)
        readable &= seen
        logits |= {index: (seen, output) for index, output in zip(members, outputs, strict=True)}
    if not readable.any():
        why = _example(entries[0].spec, source, items)
        raise PreprocessError(f"none of the sampled images can be read{why}", where=str(source.root))
    known = labels.of([item for item, kept in zip(items, readable.tolist(), strict=True) if kept])
    tried = []
    for index, entry in enumerate(entries):
        seen, output = logits.pop(index)
        rows = output[readable[seen]].astype(np.float64)
        # A candidate that makes the network overflow is wrong, and no error.
        finite = np.logical_and.reduce(np.isfinite(rows), axis=1)
        log_p = log_softmax(np.where(np.expand_dims(finite, 1), rows, 0.0))
        predicted = log_p.argmax(1)
        assignment = assign_classes(known, predicted, labels.given, entry.trial.model.num_classes)
        outputs_of = assignment.outputs[known]
        likelihood = float(log_p[np.arange(len(known)), outputs_of].mean())
        tried.append(
            TriedCandidate(entry.name, entry.spec, finite & (predicted == outputs_of), likelihood, entry.trial.model)
        )
    return rank_candidates(tried), float(np.bincount(known).max() / len(known))


def _example(spec: PreprocessSpec, source: Source, items: Sequence[Item]) -> str:
    """Why the first of them cannot be read, as the end of a sentence."""
    for batch in run_pipeline(source, spec, lambda _: {}, items=items[:1]):
        for unreadable in batch.unreadable:
            return f", for example {why_unreadable(*unreadable)}"
    return ""


def _run(
    entries: Sequence[_Entry], geometry: PreprocessSpec, source: Source, items: Sequence[Item]
) -> tuple[NDArray[np.bool_], list[NDArray[np.float32]]]:
    """Which of the ``N`` items can be read, ``(N,)`` bool, and each candidate's logits ``(n, C)`` of those.

    The entries share a model and a geometry: each image is decoded once for all of them.
    """
    session, layout = entries[0].trial.session, entries[0].trial.model.layout

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        return {
            str(number): session.run({"image": normalise(pixels, entry.spec, layout)}, ["logits"])["logits"]
            for number, entry in enumerate(entries)
        }

    readable = np.zeros(len(items), bool)
    parts: list[list[NDArray[np.float32]]] = [[] for _ in entries]
    for batch in run_pipeline(source, geometry, run, batch_size=BATCH, items=items):
        readable[batch.start + batch.readable] = True
        if len(batch.readable):
            for number, part in enumerate(parts):
                part.append(batch.outputs[str(number)])
    classes = entries[0].trial.model.num_classes
    return readable, [np.concatenate(part) if part else np.empty((0, classes), np.float32) for part in parts]
