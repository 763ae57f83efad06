"""Detection by references of several sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from detectors.calibration.plan import FOLDS, plan_calibration
from reference.features import Features
from reference.panel.few_images import figures, table

CLASSES = 3
ROOT = Path(__file__).parents[3]


def features(count: int, seed: int, away: float = 0.0) -> Features:
    """Images of classes that lie apart; those that are `away` do so from all classes."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    values = generator.normal(6.0 * np.eye(CLASSES, 6)[labels] + away, size=(count, 6)).astype(np.float32)
    return Features({"layer:mean": values}, 8.0 * np.eye(CLASSES, dtype=np.float32)[labels], labels)


def test_what_lies_far_off_is_found_with_any_folds() -> None:
    for folds in (None, 5, 10):
        found = figures(features(150, 0), features(400, 1), features(100, 2, away=20.0), folds)
        assert found["detection"] == found["at_exact_threshold"] == 1.0
        assert found["false_alarms"] < 0.04


def test_clean_inputs_are_found_as_often_as_clean_inputs() -> None:
    clean = features(400, 1)
    found = figures(features(150, 0), clean, clean, None)
    assert found["detection"] == found["false_alarms"]
    assert found["at_exact_threshold"] == 0.01


def test_the_product_chooses_its_own_folds() -> None:
    parts = features(600, 0), features(300, 1), features(300, 2, away=1.0)
    assert figures(*parts, None) == figures(*parts, FOLDS)
    assert len(list(plan_calibration(parts[0].labels, 0).parts())) == FOLDS


def test_cells_in_which_the_attack_fails_are_in_no_mean() -> None:
    one = {"detection": 0.5, "false_alarms": 0.01, "at_exact_threshold": 0.75}
    cells = {"first": {"found": {"10/5": one}}, "second": {"found": {}}}
    assert table({"cells": cells})[-1] == "| 10 | 5 | 0.500 | 0.500 | 0.0100 | 0.750 |"


def test_the_page_says_what_was_measured() -> None:
    result = json.loads((ROOT / "reference" / "results" / "few_images.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "panel.md").read_text(encoding="utf-8")
    assert "\n".join(table(result)) in page
