"""Ranking of preprocessing candidates."""

from __future__ import annotations

import numpy as np
import pytest

from scanner.choose_preprocess import Labels, TriedCandidate, agreement, rank_candidates, require_above_chance
from scanner.errors import PreprocessError
from scanner.inputs.preprocess import PreprocessSpec

SPEC = PreprocessSpec((28, 28), 1, None, "bilinear", False, 1 / 255, (0.5,), (0.5,))


def tried(name: str, accuracy: float, log_likelihood: float) -> TriedCandidate:
    return TriedCandidate(name, SPEC, accuracy, log_likelihood, 400)


def test_accuracy_decides_where_it_can() -> None:
    ranked = rank_candidates([tried("a", 0.70, -0.1), tried("b", 0.90, -0.9), tried("c", 0.40, -0.2)])
    assert [c.name for c in ranked] == ["b", "a", "c"]


def test_log_likelihood_decides_where_accuracy_cannot() -> None:
    """The figures of a real MNIST network: one image of 400 favours the wrong normalisation."""
    ranked = rank_candidates([tried("unit", 0.985, -0.098), tried("mnist", 0.9825, -0.032), tried("raw", 0.98, -2.4)])
    assert ranked[0].name == "mnist"


def test_a_perfect_score_leaves_room_for_ties() -> None:
    assert rank_candidates([tried("a", 1.0, -0.5), tried("b", 0.9975, -0.01)])[0].name == "b"


def test_chance_is_refused() -> None:
    from pathlib import Path

    with pytest.raises(PreprocessError, match="better than chance"):
        require_above_chance(tried("a", 0.12, -2.0), 10, Path("ref"))
    require_above_chance(tried("a", 0.3, -2.0), 10, Path("ref"))


def test_logits_that_are_not_finite_are_never_right() -> None:
    """NaN would count as class 0, and a candidate that breaks the network could win by it."""
    labels = Labels(("a", "b"), np.arange(2))
    known, logits = np.array([0, 1, 0, 1]), np.eye(2)[[0, 1, 0, 1]]
    assert agreement(logits, known, labels, 2) == pytest.approx((1.0, -np.log1p(np.exp(-1.0))))
    logits[2] = np.nan
    assert agreement(logits, known, labels, 2) == (0.75, -np.inf)
    assert agreement(np.full((4, 2), np.inf), known, labels, 2) == (0.0, -np.inf)
