"""What some weight draws say of all of them: the bounds by which it is measured are exact."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.bayesian.uncertainty import DrawStatistics

DRAWS, CLASSES = 5, 3
PATH = Path(__file__).parents[2] / "benchmarks" / "draw_stopping.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_stopping", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bald(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """The product's own, of draws ``(N, T, C)``."""
    statistics = DrawStatistics(len(draws), draws.shape[2])
    for draw in draws.swapaxes(0, 1):
        statistics.add(np.log(np.maximum(draw, 1e-300)))
    return statistics.scores()["bald"]


def between(script: ModuleType, first: NDArray[np.float64]) -> tuple[float, float]:
    sums, entropies = first.sum(0)[None], script.entropy(first).sum()[None]
    least, most = script.bounds(sums, entropies, len(first), DRAWS)
    return float(least[0]), float(most[0])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), done=st.integers(0, DRAWS), concentration=st.sampled_from((0.05, 1.0, 20.0)))
def test_all_draws_lie_within_the_bounds(script: ModuleType, seed: int, done: int, concentration: float) -> None:
    draws = np.random.default_rng(seed).dirichlet(np.full(CLASSES, concentration), DRAWS)
    least, most = between(script, draws[:done])
    assert least - 1e-9 <= bald(draws[None])[0] <= most + 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), done=st.integers(1, DRAWS - 1))
def test_the_bounds_are_reached(script: ModuleType, seed: int, done: int) -> None:
    first = np.random.default_rng(seed).dirichlet(np.ones(CLASSES), done)
    least, most = between(script, first)
    alike = np.repeat(first.mean(0)[None], DRAWS - done, axis=0)
    certain = np.array(list(itertools.product(np.eye(CLASSES), repeat=DRAWS - done)))

    def with_first(rest: NDArray[np.float64]) -> NDArray[np.float64]:
        return bald(np.concatenate((np.repeat(first[None], len(rest), axis=0), rest), axis=1))

    assert with_first(alike[None])[0] == pytest.approx(least, abs=1e-9)
    assert with_first(certain).max() == pytest.approx(most, abs=1e-9)
