"""The comparison of densities measures the detector as a scan would use it."""

from __future__ import annotations

import numpy as np
import pytest
from feature_samples import CLASSES, make_data
from sklearn.metrics import average_precision_score, roc_auc_score

from detectors.deep_features.recipe import DEFAULT
from detectors.deep_features.scores import SCORE_KINDS
from reference.compare_densities import few_images, fit, measure, single_scores
from reference.features import Features
from scanner.graph.pool import Descriptor
from scanner.graph.taps import Tap

DESCRIPTORS = [Descriptor(Tap("tap", "tap", (12,), "NC", 12, False, 0.5), "mean", "tap:mean", 12)]


def features_of(seed: int, count: int, shift: float = 0.0) -> Features:
    """New images of the same classes; triggered ones are moved and predicted as class 0."""
    values, labels = make_data(0, 3000)
    rows = np.sort(np.random.default_rng(seed).choice(3000, count, replace=False))
    predicted = np.zeros(count, np.int64) if shift else labels[rows]
    logits = np.eye(CLASSES, dtype=np.float32)[predicted]
    return Features({"tap:mean": values[rows] + np.float32(shift)}, logits, labels[rows])


def test_figures_against_scikit_learn() -> None:
    reference, clean, triggered = features_of(1, 300), features_of(2, 200), features_of(3, 150, shift=0.4)
    changed = triggered.labels != 0
    fitted = fit(DEFAULT, DESCRIPTORS, reference, CLASSES)
    found = measure(fitted, clean, triggered, changed)
    judged = [
        fitted.calibration.judge(fitted.score(each.values, each.predicted, each.confidence))
        for each in (clean, triggered)
    ]
    truth = np.repeat([0, 1], [200, 150])
    score = np.concatenate([each.combined for each in judged])
    shows = np.concatenate([np.ones(200, bool), changed])
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=1e-5)
    assert 0.6 < found["auroc"] < 1
    assert found["aupr"] == pytest.approx(average_precision_score(truth, score), abs=1e-5)
    expected = average_precision_score(truth[shows], score[shows])
    assert found["aupr_where_the_trigger_shows"] == pytest.approx(expected, abs=1e-5)
    assert found["false_alarms_at_alpha_0.01"] == round(float((judged[0].p_values <= 0.01).mean()), 5)
    assert found["detection_at_alpha_0.01"] == round(float((judged[1].p_values <= 0.01).mean()), 5)
    assert found["detection_at_alpha_0.01"] > found["false_alarms_at_alpha_0.01"]


def test_single_scores_are_means_over_folds() -> None:
    reference, clean, triggered = features_of(1, 300), features_of(2, 200), features_of(3, 150, shift=0.4)
    found = single_scores(DESCRIPTORS, reference, clean, triggered, CLASSES)
    assert set(found) == {"tap:mean"}
    assert set(found["tap:mean"]) == set(SCORE_KINDS)
    fitted = fit(DEFAULT, DESCRIPTORS, reference, CLASSES)
    scores = np.concatenate([fitted.score(each.values, each.predicted, each.confidence) for each in (clean, triggered)])
    expected = roc_auc_score(np.repeat([0, 1], [200, 150]), scores[:, :, 0].mean(1))
    assert found["tap:mean"]["likelihood"] == pytest.approx(expected, abs=1e-4)


def test_few_images_are_of_equal_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    import reference.compare_densities as module

    seen: list[list[int]] = []
    whole = module.fit

    def watched(recipe, descriptors, subset, num_classes):
        seen.append(np.bincount(subset.labels).tolist())
        return whole(recipe, descriptors, subset, num_classes)

    monkeypatch.setattr(module, "fit", watched)
    monkeypatch.setattr(module, "FEW", (30, 60))
    clean, triggered = features_of(2, 60), features_of(3, 60, shift=0.4)
    found = few_images(DESCRIPTORS, features_of(1, 600), clean, triggered, triggered.labels != 0, CLASSES)
    assert list(found) == ["30", "60"]
    assert {tuple(counts) for counts in seen} == {(10, 10, 10), (20, 20, 20)}
