"""Clean batches of one class: what is drawn, and the documented table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from reference.features import Features
from reference.one_class_batches import CLASSES, DRAWS, KINDS, NETWORKS, REFERENCES, draw, rows_of, table

ROOT = Path(__file__).parents[2]
RESULT = json.loads((ROOT / "reference" / "results" / "one_class_batches.json").read_text())


def features(count: int) -> Features:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, count)
    values = np.maximum(generator.normal(size=(count, 30)), 0).astype(np.float32)
    values[np.arange(count), labels] += 3
    logits = (3 * np.eye(CLASSES)[labels] + generator.normal(size=(count, CLASSES))).astype(np.float32)
    return Features({"late:value": values}, logits, labels)


def test_kinds_are_what_they_say() -> None:
    images = features(2000)
    predicted, own, right = (set(rows_of(kind, images, 3).tolist()) for kind in KINDS)
    assert right == predicted & own
    assert predicted - own
    assert own - predicted


def test_a_draw_has_a_p_value_of_every_class_and_kind() -> None:
    found = draw(features(1500), "late:value", 200, 0)
    assert {kind: len(p) for kind, p in found.items()} == dict.fromkeys(KINDS, CLASSES)
    assert all(0 < value <= 1 for p in found.values() for value in p)


def test_the_page_has_the_table_of_the_result() -> None:
    assert "\n".join(table(RESULT)) in (ROOT / "docs" / "measurements.md").read_text()
    assert set(RESULT["networks"]) == set(NETWORKS)
    for one in RESULT["networks"].values():
        assert set(one["draws"]) == {f"{count}/{seed}" for count in REFERENCES for seed in range(DRAWS)}
