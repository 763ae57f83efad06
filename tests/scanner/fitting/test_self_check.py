"""What `fit` tries on its own result: sound profiles pass, and each check fails where what it stands for is broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from feature_samples import groups_of, make_data
from onnx import numpy_helper
from PIL import Image
from scnn_samples import pixels, scnn_bundle

import scanner.fitting.finish_graph
import scanner.fitting.fit_detectors
from detectors.calibration.judge import Calibration, calibrate
from detectors.calibration.plan import CalibrationPlan, plan_calibration
from detectors.deep_features.detector import DeepFeatures, ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT
from scanner.base.errors import ModelError, SourceError
from scanner.fitting.fit import fit
from scanner.fitting.options import FitOptions
from scanner.fitting.self_check import (
    LEAST_SAMPLE,
    REPRODUCED,
    RESCANNED,
    SAMPLE,
    SCORES_AGREE,
    Rescan,
    _most_flagged,
    sample_rows,
    self_checks,
)
from scanner.graph.bundle import GraphBundle
from scanner.graph.head import merge_head
from scanner.profile.reader import read_profile
from scanner.scoring.agreement import LARGEST_DIFFERENCE

CLASSES = 3
SURE = np.random.default_rng(3).normal(4.0, 2.0, 10_000)


def detector_of(method: str, count: int = 240) -> tuple[DeepFeatures, CalibrationPlan, Rescan]:
    """A sound detector, and its reference as a graph without rounding would score it."""
    features, labels = make_data(count=count)
    plan = plan_calibration(labels, 0)
    if method == "split":
        plan = CalibrationPlan("split", np.array([0, 1, 2, 2])[np.arange(count) // 3 % 4])
    detector = fit_deep_features(
        {"tap:mean": features}, ImageClasses(labels, labels, CLASSES, SURE[:count]), DEFAULT, plan, 0
    )
    assert detector.groups.own.tolist() == groups_of(labels).own.tolist()
    rows = sample_rows(count)
    exact = detector.score({"tap:mean": features[rows]}, labels[rows], SURE[rows])
    return detector, plan, Rescan(rows, exact.copy(), exact)


METHODS = ["cross-conformal", "split"]


@pytest.mark.parametrize("method", METHODS)
def test_a_sound_profile_passes(method: str) -> None:
    detector, plan, rescan = detector_of(method)
    checks = self_checks(rescan, detector, plan)
    assert [check.name for check in checks] == [SCORES_AGREE, RESCANNED, REPRODUCED]
    assert all(check.statistic <= check.threshold for check in checks)
    assert [check.n for check in checks[:2]] == [LEAST_SAMPLE, LEAST_SAMPLE]
    assert checks[0].statistic == 0
    assert checks[2].n == (
        LEAST_SAMPLE if method == "cross-conformal" else np.isin(rescan.rows, plan.calibration_rows()).sum()
    )


@pytest.mark.parametrize("method", METHODS)
def test_rounding_of_a_network_passes(method: str) -> None:
    detector, plan, rescan = detector_of(method)
    noise = 1 + 1e-3 * np.random.default_rng(0).normal(size=rescan.scores.shape)
    self_checks(replace(rescan, scores=rescan.scores * noise), detector, plan)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1.2])
def test_one_score_of_one_image_that_differs(method: str, value: float) -> None:
    detector, plan, rescan = detector_of(method)
    scores = rescan.scores.copy()
    scores[17, -1, 1] = value * scores[17, -1, 1]
    with pytest.raises(ModelError, match=f"'{SCORES_AGREE}' failed: .*tap:mean:reconstruction") as caught:
        self_checks(replace(rescan, scores=scores), detector, plan)
    assert "no profile was written" in (caught.value.hint or "")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_from_images_that_were_fitted(method: str) -> None:
    """Half the spread, as if densities had judged what they knew by heart: clean images are flagged in droves."""
    detector, plan, rescan = detector_of(method)
    sound = detector.calibration
    quiet = calibrate(
        _quieter(sound),
        np.repeat(np.arange(sound.num_folds), sound.fold_sizes),
        sound.standardiser,
        sound.sharpness,
    )
    with pytest.raises(ModelError, match=f"'{RESCANNED}' failed: [0-9]+ of 64 images"):
        self_checks(rescan, replace(detector, calibration=quiet), plan)


def _quieter(sound: Calibration) -> np.ndarray:
    """Every score lower by two standard deviations, on the scale on which it is standardised."""
    bounded, scales = ~np.isnan(sound.standardiser.bounds), 2 * sound.standardiser.scales
    return np.where(bounded, sound.scores * np.exp(-scales), sound.scores - scales)


def test_folds_in_another_order() -> None:
    """The graph scores and the densities agree, and both are compared with the images of another fold."""
    detector, plan, _ = detector_of("cross-conformal")
    features, labels = make_data()
    densities = {key: tuple(reversed(folds)) for key, folds in detector.densities.items()}
    mixed = replace(detector, densities=densities)
    rows = sample_rows(240)
    exact = mixed.score({"tap:mean": features[rows]}, labels[rows], SURE[rows])
    with pytest.raises(ModelError, match=f"'{REPRODUCED}' failed: [0-9]+ of 64 calibration images"):
        self_checks(Rescan(rows, exact, exact), mixed, plan)


def test_the_split_without_its_own_scores() -> None:
    """Clean scores in another order than the images they belong to."""
    detector, plan, rescan = detector_of("split")
    mixed = replace(detector, clean_scores=detector.clean_scores[::-1])
    with pytest.raises(ModelError, match=f"'{REPRODUCED}' failed"):
        self_checks(rescan, mixed, plan)


def test_the_most_that_may_be_flagged() -> None:
    """Exact, by SciPy: the probability that new clean images exceed it is below 1e-4, and not below for one fewer."""
    from scipy import stats

    for images, size, alpha in ((128, 500, 0.01), (60, 60, 1 / 61), (128, 99, 0.01)):
        allowed = _most_flagged(images, size, alpha)
        rank = int(np.floor(alpha * (size + 1) * (1 + 1e-12)))
        null = stats.betabinom(images, rank, size + 1 - rank)
        assert null.sf(allowed) < 1e-4 <= null.sf(allowed - 1)


@pytest.mark.parametrize(("images", "tried"), [(1, 1), (20, 20), (64, 64), (65, 64), (1000, 100), (5000, SAMPLE)])
def test_the_sample_is_spread_over_the_reference(images: int, tried: int) -> None:
    rows = sample_rows(images)
    assert len(rows) == tried
    assert (rows[0], rows[-1]) == (0, images - 1)
    assert (np.diff(rows) >= 1).all()
    assert images == 1 or np.diff(rows).max() <= np.ceil(images / tried) + 1


# The whole of `fit`


class Silent:
    def say(self, message: str) -> None:
        """Nothing."""

    def task(self, name: str, total: int) -> Callable[[int], None]:
        return lambda _: None


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> FitOptions:
    folder = tmp_path_factory.mktemp("fit")
    onnx.save_model(scnn_bundle().to_model_proto(), str(folder / "model.onnx"))
    (folder / "clean").mkdir()
    for index, image in enumerate(pixels(60)):
        Image.fromarray(image[..., 0]).save(folder / "clean" / f"{index}.png")
    return FitOptions(
        folder / "model.onnx",
        folder / "clean",
        folder / "profile.h5",
        preprocess="unit",
        labels=False,
        device="cpu",
        gallery=False,
    )


def refused(options: FitOptions, check: str) -> None:
    with pytest.raises(ModelError, match=f"self-check '{check}' failed"):
        fit(options, Silent())
    assert not options.output.exists()


def test_fit_writes_what_it_tried(options: FitOptions, tmp_path: Path) -> None:
    output = tmp_path / "profile.h5"
    fit(replace(options, output=output), Silent())
    tried = read_profile(output).header.self_checks
    assert [(check.name, check.n) for check in tried] == [(name, 60) for name in (SCORES_AGREE, RESCANNED, REPRODUCED)]
    assert tried[0].statistic < LARGEST_DIFFERENCE / 10


def test_fit_refuses_a_graph_whose_weights_were_changed(options: FitOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def tampered(*arguments, **named) -> GraphBundle:
        model = merge_head(*arguments, **named).to_model_proto()
        components = next(item for item in model.graph.initializer if item.name == "latentscan/0/components")
        changed = 1.1 * numpy_helper.to_array(components)
        components.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), components.name))
        return GraphBundle.from_model_proto(model)

    monkeypatch.setattr(scanner.fitting.finish_graph, "merge_head", tampered)
    refused(options, SCORES_AGREE)


def test_fit_refuses_a_calibration_that_its_densities_do_not_keep(
    options: FitOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampered(*arguments, **named) -> DeepFeatures:
        detector = fit_deep_features(*arguments, **named)
        calibration = detector.calibration
        return replace(detector, calibration=replace(calibration, combined=calibration.combined - 5.0))

    monkeypatch.setattr(scanner.fitting.fit_detectors, "fit_deep_features", tampered)
    refused(options, RESCANNED)


def test_fit_refuses_folds_that_were_mixed_up(options: FitOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def tampered(*arguments, **named) -> DeepFeatures:
        detector = fit_deep_features(*arguments, **named)
        return replace(detector, densities={key: folds[1:] + folds[:1] for key, folds in detector.densities.items()})

    monkeypatch.setattr(scanner.fitting.fit_detectors, "fit_deep_features", tampered)
    refused(options, f"({REPRODUCED}|{RESCANNED})")


def test_an_image_that_is_gone_when_the_graph_is_tried_is_named(
    options: FitOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = tmp_path / "clean"
    shutil.copytree(options.clean, clean)

    def and_remove(*arguments, **named) -> GraphBundle:
        (clean / "7.png").unlink()
        return merge_head(*arguments, **named)

    monkeypatch.setattr(scanner.fitting.finish_graph, "merge_head", and_remove)
    with pytest.raises(SourceError, match=r"an image cannot be read any more: 7.png \(missing"):
        fit(replace(options, clean=clean), Silent())
    assert not options.output.exists()
