"""Peers that look at features: Beatrix, TED and Mahalanobis, against loops over the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from detectors.baselines.beatrix import fit_beatrix, gram_features
from detectors.baselines.mahalanobis import fit_mahalanobis
from detectors.baselines.ted import fit_ted

GENERATOR = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], 12)


def test_gram_features_are_those_of_the_definition() -> None:
    maps = GENERATOR.normal(size=(3, 4, 9)).astype(np.float32)
    features = gram_features(maps)
    for image, found in zip(maps.astype(np.float64), features, strict=True):
        expected = []
        for order in (1, 2, 3, 4):
            powered = image**order  # public code forgets this power
            for i in range(4):
                for j in range(i, 4):
                    entry = float(powered[i] @ powered[j])
                    expected.append(np.sign(entry) * abs(entry) ** (1 / order))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"\(N, C, positions\)"):
        gram_features(maps[0])


def test_beatrix_is_the_mean_deviation_from_the_predicted_class() -> None:
    clean = GENERATOR.normal(5, 1, (36, 6)).astype(np.float32)
    inputs = GENERATOR.normal(5, 30, (10, 6)).astype(np.float32)
    predicted = np.arange(10) % 3
    scores = fit_beatrix(clean, LABELS, 4).score(inputs, predicted)
    for row, label, score in zip(inputs, predicted, scores, strict=True):
        own = clean[label == LABELS].astype(np.float64)
        middle = np.median(own, 0)
        spread = 10 * np.median(np.abs(own - middle), 0)
        low, high = middle - spread, middle + spread
        deviation = np.maximum(low - row, 0) / np.abs(low) + np.maximum(row - high, 0) / np.abs(high)
        assert score == pytest.approx(deviation.mean(), rel=1e-4)
    assert scores.max() > 0
    assert fit_beatrix(clean, LABELS, 4).score(inputs[:1], np.array([3]))[0] == np.inf


def ranks_by_hand(rows: np.ndarray, predicted: np.ndarray, bank: np.ndarray, labels: np.ndarray) -> list[int]:
    found = []
    for distances, label in zip(cdist(rows, bank), predicted, strict=True):
        order = np.argsort(distances)
        found.append(int(np.flatnonzero(labels[order] == label)[0]))
    return found


def test_ted_ranks_are_those_of_sorted_distances() -> None:
    bank = [GENERATOR.normal(size=(36, size)).astype(np.float32) for size in (5, 8)]
    rows = [GENERATOR.normal(size=(300, layer.shape[1])).astype(np.float32) for layer in bank]
    predicted = GENERATOR.integers(0, 3, 300)
    fitted = fit_ted(bank, LABELS)
    expected = np.array([ranks_by_hand(r, predicted, b, LABELS) for r, b in zip(rows, bank, strict=True)]).T
    np.testing.assert_array_equal(fitted.ranks(rows, predicted), expected)
    assert (fitted.ranks(rows, np.full(300, 7)) == 36).all()  # a class without clean images is farther than all


def test_ted_scores_by_all_principal_components() -> None:
    bank = [GENERATOR.normal(size=(36, 5)).astype(np.float32) for _ in range(3)]
    rows = [GENERATOR.normal(size=(20, 5)).astype(np.float32) for _ in range(3)]
    predicted = GENERATOR.integers(0, 3, 20)
    fitted = fit_ted(bank, LABELS)
    others = [np.delete(np.arange(36), i) for i in range(36)]
    own = np.array(
        [
            [ranks_by_hand(b[i : i + 1], LABELS[i : i + 1], b[rest], LABELS[rest])[0] for b in bank]
            for i, rest in enumerate(others)
        ]
    )
    scaler = StandardScaler().fit(own)
    components = PCA().fit(scaler.transform(own))
    projected = components.transform(scaler.transform(fitted.ranks(rows, predicted)))
    expected = (projected**2 / (components.explained_variance_ * 35 / 36)).sum(1)
    np.testing.assert_allclose(fitted.score(rows, predicted), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="two images"):
        fit_ted([], LABELS)


def test_ted_plus_plus_ranks_last_what_lies_outside_the_tube() -> None:
    bank = [GENERATOR.normal(size=(36, 5)).astype(np.float32)]
    rows = [np.concatenate([GENERATOR.normal(size=(40, 5)), bank[0] + 1e-3]).astype(np.float32)]
    predicted = np.concatenate([GENERATOR.integers(0, 3, 40), LABELS])
    plain, tube = fit_ted(bank, LABELS), fit_ted(bank, LABELS, neighbours=0.5)
    expected = []
    for row, label, rank in zip(rows[0], predicted, plain.ranks(rows, predicted)[:, 0], strict=True):
        own = bank[0][label == LABELS]
        distances = cdist(row[None], own)[0]
        nearest = own[distances.argmin()]
        reach = np.sort(cdist(nearest[None], own)[0])[6]  # the sixth of twelve, after itself
        expected.append(rank if distances.min() <= reach else 35)
    found = tube.ranks(rows, predicted)[:, 0]
    np.testing.assert_array_equal(found, expected)
    assert 0 < (found == 35).sum() < 40
    assert (found[40:] == 0).all()


def test_mahalanobis_is_the_distance_to_the_nearest_class() -> None:
    features = GENERATOR.normal(size=(36, 4)) + 3 * LABELS[:, None]
    inputs = GENERATOR.normal(2, 4, (9, 4))
    scores = fit_mahalanobis(features, LABELS, 4).score(inputs)
    means = np.stack([features[label == LABELS].mean(0) for label in range(3)])
    residual = features - means[LABELS]
    precision = np.linalg.inv(residual.T @ residual / 36)
    expected = [min(mahalanobis(row, mean, precision) ** 2 for mean in means) for row in inputs]
    np.testing.assert_allclose(scores, expected)
    with pytest.raises(ValueError, match="labels"):
        fit_mahalanobis(features, LABELS[:3], 4)
