"""Every weakness of a reference is said in a sentence."""

from __future__ import annotations

import numpy as np

from detectors.calibration.judge import calibrate
from detectors.calibration.plan import CalibrationPlan
from detectors.calibration.standardise import fit_standardiser
from detectors.class_order import Assignment
from scanner.build_profile import ReferenceSummary
from scanner.fit_warnings import fit_warnings


def warnings_of(
    per_class: dict[str, int], accuracy: float | None = 0.9, size: int = 200, parity: float = 1e-5, unreadable: int = 0
) -> str:
    scores = np.random.default_rng(0).gamma(2.0, size=(size, 2))
    calibration = calibrate(scores, fit_standardiser(scores, np.zeros(2)), 2.0)
    labels = None if accuracy is None else tuple(per_class)
    assignment = None if accuracy is None else Assignment(np.arange(len(per_class)), accuracy, False)
    summary = ReferenceSummary("folder", size, unreadable, "0" * 64, per_class, accuracy, labels, assignment)
    plan = CalibrationPlan("split", np.zeros(size, np.int64))
    return "\n".join(fit_warnings(summary, plan, calibration, 10, parity))


FULL = {str(c): 20 for c in range(10)}


def test_nothing_to_say_of_a_good_reference() -> None:
    assert warnings_of(FULL) == ""


def test_each_weakness() -> None:
    assert "no labels" in warnings_of(FULL, accuracy=None)
    assert "9 of the model's 10 classes have no reference image" in warnings_of({"3": 200})
    assert "1 classes have fewer than 10 reference images (the smallest has 4)" in warnings_of({**FULL, "3": 4})
    assert "near chance" in warnings_of(FULL, accuracy=0.12)
    assert "support no alpha below 0.0196" in warnings_of(FULL, size=50)
    assert "differ from float64" in warnings_of(FULL, parity=0.2)
    assert "3 reference images could not be read" in warnings_of(FULL, unreadable=3)
