"""What each input says, by the direction in which the suspicious ones among the other inputs differ from all others.

What a trigger adds to the last layer's features is much the same in all inputs that carry it, whatever the picture
shows. One input does not tell that from what its picture adds; many do. For the inputs of a part, the suspects are
those of the *other* parts that few clean images of the *other* calibration folds are as suspicious as. Fisher's linear
discriminant between them and everything else tells a direction, and the input is judged by how far it goes in that
direction, against clean images. So an input has no say in what it is judged by, nor have the clean images that it is
compared with, as in :mod:`~detectors.shared_units.learn`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.shared_units.clean_features import CleanFeatures
from detectors.shared_units.clean_scores import CleanScores
from detectors.shared_units.combine import Surprise
from detectors.shared_units.whitening import ClassWhitening, fit_class_whitening

SUSPICIOUS = 0.02
"""Share of the clean images that are as suspicious as a suspect."""
MIN_SUSPECTS = 5
MIN_PURITY = 0.2
"""Suspects of which fewer are more than clean images would give say nothing."""
MOST_NATS = 8.0
"""No input gets more, so that a direction never says more than a few thousand clean images could."""
MOST_LEVERAGE = 0.95
"""An image that is nearly alone in its direction says little about how far others go in it."""


@dataclass(frozen=True)
class Suspects:
    """What is known of a batch, or of a sample of it.

    Attributes:
        combined: ``(N, K)`` the densities' combined scores, by every fold.
        features: ``(N, D)`` float16, standardised features.
        predicted: ``(N,)`` predicted classes, -1 where there is none.
        parts: ``(N,)`` part of the batch, 0 to P - 1; how they are numbered must not depend on what is in the inputs.

    Raises:
        ValueError: If lengths differ.

    Example:
        >>> zeros = np.zeros(2, int)
        >>> Suspects(np.zeros((2, 5)), np.zeros((2, 3), np.float16), zeros, zeros).features.shape
        (2, 3)

    References:
        docs/method.md, section Direction of suspects.
    """

    combined: NDArray[np.float64]
    features: NDArray[np.float16]
    predicted: NDArray[np.int64]
    parts: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        each = self.parts.shape
        if self.combined.ndim != 2 or self.features.ndim != 2:
            raise ValueError(
                f"scores (N, K) and features (N, D) are needed, got {self.combined.shape} and {self.features.shape}"
            )
        if not self.combined.shape[:1] == self.features.shape[:1] == self.predicted.shape == each:
            raise ValueError(
                f"scores, features, a class and a part of each input are needed, got {self.combined.shape}, "
                f"{self.features.shape}, {self.predicted.shape} and {each}"
            )


@dataclass(frozen=True)
class Direction:
    """A direction for one part of the batch and one fold.

    Attributes:
        weights: ``(D,)`` float64.
        centres: ``(C + 1,)`` float64, how far the centre of each class goes in it, the last for no known class.
        purity: Share of the suspects that clean images do not account for; what the direction says counts so much.
        surprise: Turns how far an image goes into nats, by the other folds' clean images.

    Example:
        >>> direction = Direction(np.array([1.0, 0.0]), np.zeros(2), 0.5, Surprise(np.array([0.0, 1.0])))
        >>> direction(np.array([[1.0, 7.0]], np.float16), np.zeros(1, int)).round(3)
        array([0.549])

    References:
        Fisher (1936), The use of multiple measurements in taxonomic problems, Annals of Eugenics 7, 179-188.
    """

    weights: NDArray[np.float64]
    centres: NDArray[np.float64]
    purity: float
    surprise: Surprise

    def __call__(self, features: NDArray[np.float16], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """Nats ``(N,)`` of features ``(N, D)`` of images predicted as classes ``(N,)``."""
        return self.purity * np.minimum(self.surprise(self.project(features, predicted)), MOST_NATS)

    def project(self, features: NDArray[np.float16], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """How far ``(N,)`` images go in it, from their class's centre."""
        # Not a product of matrices, which rounds a row by how many rows there are.
        along = np.einsum("nd,d->n", np.ascontiguousarray(features, np.float64), self.weights)
        return np.asarray(along - self.centres[predicted], np.float64)


@dataclass(frozen=True)
class LearnedDirections:
    """Directions for every part of the batch and every fold of the calibration.

    Attributes:
        directions: ``P`` times ``K``; None where there are too few suspects.

    Example:
        >>> LearnedDirections(((None,),)).score(np.zeros((2, 3), np.float16), np.zeros(2, int), np.zeros(2, int)).T
        array([[0., 0.]])

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    directions: tuple[tuple[Direction | None, ...], ...]

    @property
    def purities(self) -> NDArray[np.float64]:
        """``(P, K)``, that of each direction's suspects; 0 where there is no direction."""
        return np.array([[0.0 if one is None else one.purity for one in by_fold] for by_fold in self.directions])

    def score(
        self, features: NDArray[np.float16], predicted: NDArray[np.int64], parts: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Nats ``(N, K)`` of inputs, by the directions of their part.

        Args:
            features: ``(N, D)`` float16, standardised.
            predicted: ``(N,)`` predicted classes, -1 where there is none.
            parts: ``(N,)`` part of each.

        Raises:
            ValueError: If lengths differ.
        """
        if features.ndim != 2 or not features.shape[:1] == predicted.shape == parts.shape:
            raise ValueError(
                f"features (N, D), classes and parts (N,) are needed, got {features.shape}, {predicted.shape}, "
                f"{parts.shape}"
            )
        result = np.zeros((len(features), len(self.directions[0])))
        for part in np.unique(parts):
            rows = parts == part
            for fold, direction in enumerate(self.directions[part]):
                if direction is not None:
                    result[rows, fold] = direction(features[rows], predicted[rows])
        return result

    def clean_scores(self, clean: CleanFeatures, folds: NDArray[np.int64]) -> NDArray[np.float64]:
        """Nats ``(n, P)`` of the clean images, by the directions of their own fold.

        NaN for those that calibrate nothing.

        Args:
            clean: What the directions were learned with.
            folds: ``(n,)`` fold of each image; -1 for one that calibrates nothing.
        """
        result = np.full((len(folds), len(self.directions)), np.nan)
        for part, by_fold in enumerate(self.directions):
            for fold, direction in enumerate(by_fold):
                rows = folds == fold
                own = clean.features[rows], clean.predicted[rows]
                result[rows, part] = 0.0 if direction is None else direction(*own)
        return result


def learn_directions(scores: CleanScores, clean: CleanFeatures, inputs: Suspects) -> LearnedDirections:
    """Find a direction for every part and fold.

    Args:
        scores: Of the clean images.
        clean: Their features.
        inputs: The batch, or a sample of it.

    Raises:
        ValueError: If shapes do not fit together, or there are fewer than two parts.

    Example:
        >>> from detectors.shared_units.clean_features import fit_clean_features
        >>> generator = np.random.default_rng(0)
        >>> clean, values = (generator.normal(size=(100, 3)).astype(np.float32) for _ in range(2))
        >>> values[::2, 1] += 4
        >>> zeros, fifths, fold = np.zeros(100, int), np.arange(100) // 2 % 5, np.arange(100) % 2 - 1
        >>> kept = fit_clean_features([clean], zeros, 1)
        >>> scores = CleanScores(clean.max(1).astype(float), np.ones(100, bool), fold)
        >>> batch = Suspects(values.max(1)[:, None].astype(float), kept.standardised(values), zeros, fifths)
        >>> direction = learn_directions(scores, kept, batch).directions[0][0]
        >>> bool(direction.weights[1] > 5 * np.abs(direction.weights[[0, 2]]).max())
        True

    References:
        Fisher (1936), The use of multiple measurements in taxonomic problems, Annals of Eugenics 7, 179-188.
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    folds = int(scores.folds.max()) + 1
    if inputs.combined.shape[1] != folds or inputs.features.shape[1] != clean.width:
        raise ValueError(
            f"combined scores (N, {folds}) and features (N, {clean.width}) are needed, got {inputs.combined.shape} and "
            f"{inputs.features.shape}"
        )
    if scores.folds.shape != clean.predicted.shape:
        raise ValueError(f"scores of {len(clean.predicted)} images are needed, got {scores.folds.shape}")
    if np.unique(inputs.parts).size < 2 or inputs.parts.min() < 0:
        raise ValueError(f"two parts or more, numbered from 0, are needed, got {np.unique(inputs.parts).tolist()}")
    by_fold = [_of_fold(scores, clean, inputs, fold) for fold in range(folds)]
    return LearnedDirections(tuple(zip(*by_fold, strict=True)))


def _of_fold(scores: CleanScores, clean: CleanFeatures, inputs: Suspects, fold: int) -> tuple[Direction | None, ...]:
    """Directions for every part, by the clean images that are not of one fold."""
    parts = range(int(inputs.parts.max()) + 1)
    scored = scores.others(fold)
    if len(scored) < MIN_SUSPECTS:
        return (None,) * len(parts)
    own = scores.combined[scored]
    limit = np.sort(own)[int(np.ceil((1 - SUSPICIOUS) * len(own))) - 1]
    suspicious = inputs.combined[:, fold] > limit
    purities = [_purity(suspicious[inputs.parts != part]) for part in parts]
    if not any(purities):
        return (None,) * len(parts)
    rows = np.flatnonzero(scores.folds != fold)
    whitening = fit_class_whitening(clean.features[rows].astype(np.float64), clean.predicted[rows], clean.classes)
    ordinary = _Ordinary(whitening, np.searchsorted(rows, scored), own > limit)
    off = whitening.offsets(inputs.features.astype(np.float64), inputs.predicted)
    return tuple(
        ordinary.direction(off[inputs.parts != part], suspicious[inputs.parts != part], purity) if purity else None
        for part, purity in zip(parts, purities, strict=True)
    )


def _purity(suspicious: NDArray[np.bool_]) -> float:
    """Share of the suspects that clean images do not account for; 0 where it, or their number, is too small."""
    suspects = int(suspicious.sum())
    purity = 1 - SUSPICIOUS * len(suspicious) / max(suspects, 1)
    return purity if suspects >= MIN_SUSPECTS and purity >= MIN_PURITY else 0.0


class _Ordinary:
    """Clean images that suspects are compared with.

    Args:
        whitening: Of all of them.
        scored: Which of them have scores.
        as_high: Which of these are as suspicious as suspects.
    """

    def __init__(self, whitening: ClassWhitening, scored: NDArray[np.int64], as_high: NDArray[np.bool_]) -> None:
        self._whitening = whitening
        self._off = whitening.off[scored]
        self._as_high = as_high
        self._alone = 1 - np.minimum(whitening.leverages()[scored], MOST_LEVERAGE)

    def direction(self, off: NDArray[np.float64], suspicious: NDArray[np.bool_], purity: float) -> Direction:
        """From everything ordinary to the suspects among inputs ``(N, D)``, but for what clean images explain."""
        rest = off[~suspicious]
        ordinary = (rest.sum(0) + self._off.sum(0)) / (len(rest) + len(self._off))
        difference = off[suspicious].mean(0) - ordinary
        if self._as_high.any():
            difference = difference - (1 - purity) * (self._off[self._as_high].mean(0) - ordinary)
        weights = self._whitening.solve(difference)
        # An image that helped to shrink the spread in a direction goes less far in it than one that did not.
        along = np.sort((self._off @ weights) / self._alone)
        return Direction(weights, self._whitening.centres @ weights, purity, Surprise(along))
