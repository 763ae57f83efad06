"""Other detectors on a bench, each as its paper says, with the same images and the same rule for thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.baselines.beatrix import fit_beatrix, gram_features
from detectors.baselines.ibd_psc import first_depth, parameter_scaling_consistency
from detectors.baselines.mahalanobis import fit_mahalanobis
from detectors.baselines.psbd import choose_rate, prediction_shift
from detectors.baselines.scale_up import Consistency, scaled_prediction_consistency, standardise_by_class
from detectors.baselines.strip import strip
from detectors.baselines.teco import corruption_robustness_deviation
from detectors.baselines.ted import fit_ted
from reference.datasets import ImageSet
from reference.features import pixels_of
from reference.panel.bench import CHUNK, Bench
from reference.panel.corruptions import CORRUPTIONS
from reference.panel.places import last_linear

FEW = 50
"""Clean images that STRIP lays over inputs, and on which IBD-PSC chooses its depth and PSBD its rate."""
DRAWS = 16
"""STRIP's overlays for each image. The paper draws 100, six times the passes."""
BANK_PER_CLASS = 20
"""TED's clean images a class, as in its paper."""

Scores = NDArray[np.float64]
Score = Callable[[ImageSet], Scores]


@dataclass(frozen=True)
class Peer:
    """A detector.

    Attributes:
        name: As in the tables.
        prepare: From the bench, and how many of the clean images it may fit to, to what scores images, higher for what
            is more suspicious; None where the network has not what the method needs.
        fits: Whether the number of clean images matters to it.
        most: Most images of a part that are scored, for methods of many passes.
    """

    name: str
    prepare: Callable[[Bench, int], Score | None]
    fits: bool = False
    most: int = 2000


def _confidence(bench: Bench, rows: int) -> Score:
    """The largest probability: a trigger makes the network sure."""
    del rows
    return lambda images: bench.predict(pixels_of(images.images)).max(1)


def _strip(bench: Bench, rows: int) -> Score:
    del rows
    overlays = pixels_of(bench.pictures.fit.images[:FEW])
    return lambda images: strip(pixels_of(images.images), overlays, bench.predict, draws=DRAWS)


def _scale_up(bench: Bench, rows: int) -> Score:
    """Data-limited: standardised by clean images of the predicted class."""

    def consistency(images: ImageSet) -> Consistency:
        pixels = pixels_of(images.images)
        return bench.remembered("scale-up", images, lambda: scaled_prediction_consistency(pixels, bench.predict))

    every = consistency(bench.first_fitted)
    clean = Consistency(every.predicted[:rows], every.share[:rows])
    return lambda images: standardise_by_class(consistency(images), clean)


def _teco(bench: Bench, rows: int) -> Score:
    del rows
    return lambda images: corruption_robustness_deviation(pixels_of(images.images), bench.predict, CORRUPTIONS)


def _ibd_psc(bench: Bench, rows: int) -> Score | None:
    del rows
    fit = bench.pictures.fit
    try:
        with bench.counted() as module:
            depth = first_depth(module, bench.tensors(fit.images[:FEW]), fit.labels[:FEW])
    except ValueError:  # a network with fewer batch normalisations than the method amplifies
        return None

    def score(images: ImageSet) -> Scores:
        with bench.counted() as module:
            return _chunked(images, lambda part: parameter_scaling_consistency(module, bench.tensors(part), depth))

    return score


def _psbd(bench: Bench, rows: int) -> Score:
    del rows
    places = bench.opened.network.places.blocks(bench.opened.module)
    with bench.counted() as module:
        rate = choose_rate(module, places, bench.tensors(bench.pictures.fit.images[:FEW]))

    def score(images: ImageSet) -> Scores:
        with bench.counted() as module:
            return _chunked(images, lambda part: prediction_shift(module, places, bench.tensors(part), rate)[0])

    return score


def _beatrix(bench: Bench, rows: int) -> Score:
    def grams(images: ImageSet) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return bench.remembered("beatrix", images, lambda: _grams(bench, images))

    features, predicted = grams(bench.pictures.fit)
    fitted = fit_beatrix(features[:rows], predicted[:rows], bench.pictures.classes)
    return lambda images: fitted.score(*grams(images))


def _grams(bench: Bench, images: ImageSet) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    module = bench.opened.module
    grams, predicted = [], []
    for maps, logits in bench.activations(images.images, [bench.opened.network.places.grams(module), module]):
        # Tokens of a transformer are its positions.
        by_channel = maps.flatten(2) if maps.ndim == 4 else maps.transpose(1, 2)
        grams.append(gram_features(by_channel.numpy()))
        predicted.append(logits.argmax(1).numpy())
    return np.concatenate(grams), np.concatenate(predicted)


def _ted(bench: Bench, rows: int, neighbours: float | None = None) -> Score:
    few = BANK_PER_CLASS * bench.pictures.classes
    rows = min(rows, 2 * few)
    fit = ImageSet(bench.pictures.fit.images[:rows], bench.pictures.fit.labels[:rows])
    parts = [*_layers(bench, fit)]
    layers = [np.concatenate(column) for column in zip(*(part for part, _ in parts), strict=True)]
    predicted = np.concatenate([one for _, one in parts])
    right = np.flatnonzero(predicted == fit.labels.numpy())[:few]
    fitted = fit_ted([layer[right] for layer in layers], predicted[right], neighbours)
    return lambda images: np.concatenate([fitted.score(*part) for part in _layers(bench, images)])


def _layers(bench: Bench, images: ImageSet) -> Iterator[tuple[list[NDArray[np.float32]], NDArray[np.int64]]]:
    module = bench.opened.module
    for *layers, logits in bench.activations(images.images, [*bench.opened.network.places.layers(module), module]):
        yield [layer.flatten(1).numpy() for layer in layers], logits.argmax(1).numpy()


def _mahalanobis(bench: Bench, rows: int) -> Score:
    place = last_linear(bench.opened.module)

    def penultimate(images: ImageSet) -> NDArray[np.float64]:
        parts = bench.activations(images.images, [place], before=True)
        return np.concatenate([features.double().numpy() for (features,) in parts])

    def features(images: ImageSet) -> NDArray[np.float64]:
        return bench.remembered("mahalanobis", images, lambda: penultimate(images))

    fit = bench.pictures.fit
    fitted = fit_mahalanobis(features(fit)[:rows], fit.labels.numpy()[:rows], bench.pictures.classes)
    return lambda images: fitted.score(features(images))


def _chunked(images: ImageSet, score: Callable[[torch.Tensor], Scores]) -> Scores:
    return np.concatenate([score(images.images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)])


PEERS: Final[Sequence[Peer]] = (
    Peer("confidence", _confidence),
    Peer("strip", _strip, most=300),
    Peer("scale-up", _scale_up, fits=True, most=300),
    Peer("ibd-psc", _ibd_psc, most=500),
    Peer("teco", _teco, most=120),
    Peer("beatrix", _beatrix, fits=True, most=1000),
    Peer("ted", _ted, fits=True, most=300),
    Peer("ted++", lambda bench, rows: _ted(bench, rows, neighbours=0.5), fits=True, most=300),
    Peer("psbd", _psbd, most=500),
    Peer("mahalanobis", _mahalanobis, fits=True, most=1000),
)

CONTROLS: Final[Sequence[Peer]] = tuple(peer for peer in PEERS if peer.name in ("confidence", "beatrix", "mahalanobis"))
"""Those that are also measured on a clean network with the same trigger: methods of one pass."""
