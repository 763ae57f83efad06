"""A GPU whose scores are not the processor's is not scanned on. There is none: a processor says that it is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latentscan import ScanOptions
from scanner.base.errors import DeviceError
from scanner.graph.session import CPU, GraphSession
from scanner.scanning.open_scan import open_profile
from scanner.scanning.same_scores import require_same_scores
from scanner.scanning.stages import OpenedProfile
from scanner.scoring.agreement import LARGEST_DIFFERENCE, difference
from scanner.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def read(demo_profile: Path) -> OpenedProfile:
    return open_profile(ScanOptions(Path("inputs"), demo_profile))


def on_gpu(read: OpenedProfile, monkeypatch: pytest.MonkeyPatch, factor: float) -> Scorer:
    """A scorer whose scores are so many times the processor's."""
    scorer = Scorer(read.profile, "cpu")
    scorer.provider = "CUDAExecutionProvider"
    run = scorer.run

    def changed(pixels: np.ndarray) -> dict[str, np.ndarray]:
        outputs = run(pixels)
        return outputs | {"scores": factor * outputs["scores"]}

    monkeypatch.setattr(scorer, "run", changed)
    return scorer


def test_rounding_is_the_same(read: OpenedProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    require_same_scores(read, on_gpu(read, monkeypatch, 1 + 1e-5))


@pytest.mark.parametrize("factor", [1.1, np.nan])
def test_more_is_refused(read: OpenedProfile, monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    with pytest.raises(DeviceError, match=r"the GPU: its scores differ.*robust standard deviations.*--device cpu"):
        require_same_scores(read, on_gpu(read, monkeypatch, factor))


def test_a_processor_is_not_compared_with_itself(read: OpenedProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = on_gpu(read, monkeypatch, np.nan)
    scorer.provider = CPU
    require_same_scores(read, scorer)
    damaged = replace(read, profile=replace(read.profile, clean_images=np.ones(1, np.uint8)))
    require_same_scores(damaged, scorer)  # for which nothing is decoded


def test_a_profile_without_clean_images_is_taken_as_it_is(read: OpenedProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(read, profile=replace(read.profile, clean_images=np.zeros(0, np.uint8)))
    require_same_scores(bare, on_gpu(read, monkeypatch, np.nan))


def test_the_limit_is_in_deviations_of_clean_images(read: OpenedProfile) -> None:
    images = np.zeros((2, *Scorer(read.profile, "cpu").image_shape), np.uint8)
    scores = GraphSession(read.profile.graph, read.profile.weights, device="cpu").run({"pixels": images})["scores"]
    standardiser = read.calibration.standardiser
    apart = difference(np.exp(LARGEST_DIFFERENCE * standardiser.scales) * scores, scores, standardiser)
    logarithmic = standardiser.bounds == 0
    assert logarithmic.any()
    np.testing.assert_allclose(apart[logarithmic], LARGEST_DIFFERENCE, rtol=1e-6)
