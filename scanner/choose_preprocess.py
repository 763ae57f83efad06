"""Find the preprocessing the model was trained with, or refuse to guess.

Wrong preprocessing is the main cause of false alarms: it makes every clean image look unusual. The
order of trust is flag, sidecar file, ONNX metadata, and last the candidate under which the model is
best on labelled clean images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.confidence import log_softmax
from detectors.class_order import Assignment, assign_classes
from scanner.errors import PreprocessError
from scanner.graph.session import GraphSession
from scanner.inputs.decode import decode
from scanner.inputs.items import Item, Source, UnreadableInput
from scanner.inputs.normalise import normalise
from scanner.inputs.preprocess import PreprocessSpec, candidates
from scanner.models.load import LoadedModel

# Networks on small images are cheap to try, and their candidates close to one another.
TRIAL_IMAGES, TRIAL_IMAGES_SMALL = 400, 2000
SMALL_PIXELS = 64 * 64
MIN_SKILL = 0.05


@dataclass(frozen=True)
class Labels:
    """Labels of the reference in terms of network outputs.

    Attributes:
        names: ``L`` label names in natural order.
        given: ``(L,)`` output that each label stands for by name or position.
    """

    names: tuple[str, ...]
    given: NDArray[np.int64]

    def of(self, items: Sequence[Item]) -> NDArray[np.int64]:
        """Label index of every item, ``(N,)``."""
        index = {name: i for i, name in enumerate(self.names)}
        return np.array([index[item.label] for item in items if item.label is not None], np.int64)


@dataclass(frozen=True)
class TriedCandidate:
    """A preprocessing candidate with what the model made of it."""

    name: str
    spec: PreprocessSpec
    accuracy: float
    log_likelihood: float
    images: int


def reference_labels(source: Source, num_classes: int) -> Labels | None:
    """Map label names to outputs: integers by value, names by natural order; None without labels."""
    names = source.class_names
    if not names:
        return None
    if all(name.isdecimal() and int(name) < num_classes for name in names):
        return Labels(names, np.array([int(name) for name in names], np.int64))
    if len(names) > num_classes:
        raise PreprocessError(
            f"the reference has {len(names)} classes, the model {num_classes} outputs",
            where=str(source.root),
            hint="Point --clean at images of the model's classes",
        )
    return Labels(names, np.arange(len(names), dtype=np.int64))


def trial_items(source: Source, count: int, seed: int) -> list[Item]:
    """About ``count`` items, spread evenly over the labels."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(source.items))
    by_label: dict[str | None, list[int]] = {}
    for index in order.tolist():
        by_label.setdefault(source.items[index].label, []).append(index)
    quota = max(1, count // max(1, len(by_label)))
    chosen = sorted(index for members in by_label.values() for index in members[:quota])
    return [source.items[index] for index in chosen]


def try_candidates(
    model: LoadedModel,
    session: GraphSession,
    source: Source,
    labels: Labels,
    image_sizes: Sequence[tuple[int, int]],
    seed: int,
) -> list[TriedCandidate]:
    """Evaluate every candidate on a labelled sample, in the order of :func:`candidates`."""
    channels, height, width = model.input_shape
    items = trial_items(source, TRIAL_IMAGES_SMALL if height * width <= SMALL_PIXELS else TRIAL_IMAGES, seed)
    label_index = labels.of(items)
    tried = []
    pixels: dict[PreprocessSpec, tuple[NDArray[np.uint8], NDArray[np.bool_]]] = {}
    for name, spec in candidates(channels, (height, width), image_sizes):
        geometry = spec.geometry()
        if geometry not in pixels:
            pixels[geometry] = _decode_all(source, items, geometry)
        images, readable = pixels[geometry]
        if not readable.any():
            raise PreprocessError("none of the sampled images can be read", where=str(source.root))
        logits = _run(session, normalise(images, spec, model.layout))
        accuracy, log_likelihood = agreement(logits, label_index[readable], labels, model.num_classes)
        tried.append(TriedCandidate(name, spec, accuracy, log_likelihood, len(logits)))
    return tried


def agreement(
    logits: NDArray[np.float64], known: NDArray[np.int64], labels: Labels, num_classes: int
) -> tuple[float, float]:
    """Accuracy and mean log-likelihood of labels ``(N,)`` under logits ``(N, C)``.

    Logits that are not finite predict no class, and are never right.
    """
    finite = np.isfinite(logits).all(1)
    if not finite.any():
        return 0.0, -math.inf
    assignment = assign_classes(known[finite], logits[finite].argmax(1), labels.given, num_classes)
    likelihood = _likelihood(logits, assignment, known) if finite.all() else -math.inf
    return assignment.accuracy * float(finite.mean()), likelihood


def rank_candidates(tried: Sequence[TriedCandidate]) -> list[TriedCandidate]:
    """Best candidate first.

    Accuracy decides where it can. Candidates within two standard errors of the best accuracy are
    equal as far as the sample can tell, and among them the labels' mean log-likelihood decides: it
    uses every image, and a network is best calibrated on the inputs it was trained with.
    """
    best = max(candidate.accuracy for candidate in tried)
    images = tried[0].images
    margin = 2.0 * (max(best * (1.0 - best), 1.0 / images) / images) ** 0.5
    return sorted(
        tried,
        key=lambda c: (c.accuracy < best - margin, -c.log_likelihood if c.accuracy >= best - margin else -c.accuracy),
    )


def require_above_chance(best: TriedCandidate, num_labels: int, where: Path) -> None:
    """Refuse a search that found nothing.

    Raises:
        PreprocessError: If the best accuracy is near chance.
    """
    chance = 1.0 / num_labels
    if num_labels > 1 and best.accuracy <= chance + MIN_SKILL * (1.0 - chance):
        raise PreprocessError(
            f"no candidate preprocessing makes the model better than chance (best {best.accuracy:.1%})",
            where=str(where),
            hint="Give --preprocess, and check that the images and labels belong to this model",
        )


def _decode_all(
    source: Source, items: Sequence[Item], spec: PreprocessSpec
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    images, readable = [], np.zeros(len(items), bool)
    for index, item in enumerate(items):
        try:
            images.append(decode(source.read(item), spec))
        except UnreadableInput:
            continue
        readable[index] = True
    height, width = spec.size
    empty = np.empty((0, height, width, spec.channels), np.uint8)
    return (np.stack(images) if images else empty), readable


def _run(session: GraphSession, inputs: NDArray[np.float32], batch_size: int = 16) -> NDArray[np.float64]:
    parts = [
        session.run({"image": inputs[start : start + batch_size]}, ["logits"])["logits"]
        for start in range(0, len(inputs), batch_size)
    ]
    return np.concatenate(parts).astype(np.float64)


def _likelihood(logits: NDArray[np.float64], assignment: Assignment, labels: NDArray[np.int64]) -> float:
    return float(log_softmax(logits)[np.arange(len(labels)), assignment.outputs[labels]].mean())
