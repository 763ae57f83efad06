"""Every weakness of a reference is said in a sentence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from detectors.calibration.judge import calibrate
from detectors.calibration.standardise import fit_standardiser
from detectors.class_order import Assignment
from detectors.deep_features.detector import DeepFeatures
from detectors.deep_features.grouping import group_classes
from scanner.fitting.fit_warnings import fit_warnings, usual_accuracy
from scanner.fitting.reference_summary import ReferenceSummary


def warnings_of(
    per_class: dict[str, int],
    accuracy: float | None = 0.9,
    size: int = 200,
    constant: tuple[str, ...] = (),
    unreadable: int = 0,
    overconfidence: float | None = None,
) -> str:
    scores = np.random.default_rng(0).gamma(2.0, size=(size, 2))
    calibration = calibrate(scores, np.arange(size) % 5, fit_standardiser(scores, np.zeros(2)), 2.0)
    labels = None if accuracy is None else tuple(per_class)
    assignment = None if accuracy is None else Assignment(np.arange(len(per_class)), accuracy, False)
    summary = ReferenceSummary(
        "folder", size, unreadable, "0" * 64, per_class, accuracy, labels, assignment, 0.95, overconfidence
    )
    groups = group_classes(np.array([per_class.get(str(c), 0) for c in range(10)]))
    detector = cast(DeepFeatures, SimpleNamespace(groups=groups, constant=constant))
    return "\n".join(fit_warnings(summary, calibration, 10, detector))


FULL = {str(c): 20 for c in range(10)}


def test_nothing_to_say_of_a_good_reference() -> None:
    assert warnings_of(FULL) == ""


def test_each_weakness() -> None:
    assert "no labels" in warnings_of(FULL, accuracy=None)
    assert "9 of the model's 10 classes have no reference image" in warnings_of({"3": 200})
    assert "1 classes have fewer than 10 reference images (the smallest has 4)" in warnings_of({**FULL, "3": 4})
    assert "near chance" in warnings_of(FULL, accuracy=0.12)
    assert "support no alpha below 0.0196" in warnings_of(FULL, size=50)
    assert "2 descriptors do not vary over the reference and are not scored (a:mean, b:max)." in warnings_of(
        FULL, constant=("a:mean", "b:max")
    )
    assert "3 reference images could not be read" in warnings_of(FULL, unreadable=3)


def test_labels_that_are_nearly_all_the_same_confirm_nothing() -> None:
    """A network that always gives one answer is right about 199 of 200."""
    uneven = {"0": 199, "1": 1}
    assert "99.5% of the reference have one and the same label" in warnings_of(uneven, accuracy=0.995)
    assert "one and the same label" not in warnings_of(uneven, accuracy=1.0)
    assert "near chance" not in warnings_of(uneven, accuracy=0.995)


def test_the_usual_accuracy_falls_with_the_number_of_classes() -> None:
    assert [usual_accuracy(classes) for classes in (10, 100, 1000)] == pytest.approx([0.7, 0.6, 0.5])
    assert usual_accuracy(10**9) == 0.0


def test_accuracy_far_below_the_usual_is_said_where_it_is_no_accident() -> None:
    said = "far below what a network with 10 outputs usually reaches (at least 70%)"
    assert said in warnings_of(FULL, accuracy=0.558)
    assert said not in warnings_of(FULL, accuracy=0.68)  # 136 of 200, where 140 are usual
    assert said in warnings_of({str(c): 200 for c in range(10)}, accuracy=0.68, size=2000)
    assert said not in warnings_of(FULL, accuracy=0.725)
    assert "far below" not in warnings_of(FULL, accuracy=0.12)  # near chance says it all
    assert "far below" not in warnings_of(FULL, accuracy=None)


def test_a_model_that_is_surer_than_right() -> None:
    said = "gives its predictions 95.0% on average, and 75.0% of them are right"
    assert said in warnings_of(FULL, accuracy=0.75, overconfidence=0.18)
    assert warnings_of(FULL, accuracy=0.75, overconfidence=0.16) == ""
    assert warnings_of(FULL, accuracy=0.75, overconfidence=float("nan")) == ""
    assert warnings_of(FULL, accuracy=0.75, overconfidence=-0.3) == ""


def test_classes_that_share_a_density_are_counted() -> None:
    shared = "of the model's 10 classes have the 5 reference images that a density of their own needs"
    assert f"9 {shared}" in warnings_of({**FULL, "3": 4})
    without_two = {name: count for name, count in FULL.items() if name not in "89"}
    assert f"7 {shared}" in warnings_of({**without_two, "3": 1})
    assert shared not in (few := warnings_of(dict.fromkeys(FULL, 1)))
    assert "one density describes all images, whatever their class" in few
    # A class without images joins those that share; where nobody does, the nearest class stands in for it.
    assert "have no reference image" not in warnings_of({**without_two, "3": 1})
    assert "2 of the model's 10 classes have no reference image" in warnings_of(without_two)
    assert "compared with all" not in warnings_of(without_two)
    assert "compared with all" not in warnings_of({**FULL, "3": 5})
