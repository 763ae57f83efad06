"""What densities, calibration and layers refuse: each says what it takes and what came, before it becomes a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from feature_samples import CLASSES, fit_all, groups_of, make_data
from torch import nn

from detectors.base import ScoreName
from detectors.baselines.confidence import overconfidence
from detectors.bayesian.convert import convert
from detectors.bayesian.gaussian import softplus
from detectors.bayesian.layers import ConvSettings, FlipoutConv, FlipoutLinear
from detectors.bayesian.moped import MopedSettings, WeightPosterior, moped
from detectors.bayesian.train import TrainSettings
from detectors.calibration.batch import batch_test, target_classes, triggered_share
from detectors.calibration.binomial import beta_binomial_tail, beta_quantile, binomial_tail, clopper_pearson
from detectors.calibration.conformal import rank_limit, smallest_alpha
from detectors.calibration.judge import calibrate
from detectors.calibration.plan import CalibrationPlan, plan_calibration
from detectors.calibration.standardise import Standardiser, fit_standardiser
from detectors.deep_features.density import gaussian_log_scale, principal_whitener
from detectors.deep_features.detector import ImageClasses, fit_deep_features
from detectors.deep_features.families import fit_density
from detectors.deep_features.fit import fit_descriptor, fit_rows
from detectors.deep_features.grouping import ClassGroups, group_classes
from detectors.deep_features.moments import Moments, blocks, moments_of
from detectors.deep_features.projection import projection_from_covariance, projection_from_images
from detectors.deep_features.recipe import DEFAULT
from detectors.deep_features.scores import lower_bound, score_by_folds, score_features, score_rows
from detectors.deep_features.settings import DensitySettings
from detectors.deep_features.shrinkage import ledoit_wolf
from detectors.mcnemar import mcnemar

FEATURES, LABELS = make_data()
ROWS = np.arange(len(LABELS))
SURE = np.linspace(0.0, 5.0, len(LABELS))
GROUPS = groups_of(LABELS)
FITTED = fit_all("tied-shrunk", FEATURES, LABELS)
PROJECTION, DENSITY = FITTED.projection, FITTED.density
EXACT = FEATURES.astype(np.float64)
PLAN = CalibrationPlan("cross-conformal", ROWS % 5)
MOMENTS = moments_of(FEATURES, ROWS, np.zeros(12))
SCORES = np.arange(1.0, 21.0).reshape(10, 2)
STANDARDISER = fit_standardiser(SCORES, np.zeros(2))
CALIBRATION = calibrate(SCORES, np.arange(10) % 2, STANDARDISER, 2.0)
WIDTHS = MopedSettings()
NAN, INF = float("nan"), float("inf")
ONE = np.ones(1)


def refused(cases: list[tuple[Callable[[], Any], str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("call", "message"), cases, ids=[message for _, message in cases])


@refused(
    [
        (lambda: beta_binomial_tail(1, -1, 1, 1), "got n = -1, a = 1 and b = 1"),
        (lambda: beta_binomial_tail(1, 2, 0, 1), "got n = 2, a = 0 and b = 1"),
        (lambda: beta_binomial_tail(1, 2, 1, 0), "got n = 2, a = 1 and b = 0"),
        (lambda: binomial_tail(1, -1, 0.5), "got n = -1 and p = 0.5"),
        (lambda: binomial_tail(1, 2, 1.5), "got n = 2 and p = 1.5"),
        (lambda: binomial_tail(1, 2, NAN), "got n = 2 and p = nan"),
        (lambda: beta_quantile(-0.1, 1, 1), "not both 0, are needed, got -0.1, 1 and 1"),
        (lambda: beta_quantile(0.5, 0, 0), "got 0.5, 0 and 0"),
        (lambda: beta_quantile(0.5, -1, 2), "got 0.5, -1 and 2"),
        (lambda: clopper_pearson(3, 2, 0.95), "got k = 3, n = 2 and level 0.95"),
        (lambda: clopper_pearson(1, 2, 1.0), "level 1.0"),
        (lambda: rank_limit(-1, 0.01), "got -1 and 0.01"),
        (lambda: rank_limit(99, 1.5), "got 99 and 1.5"),
        (lambda: rank_limit(99, NAN), "got 99 and nan"),
        (lambda: smallest_alpha(-1), "got -1"),
        (lambda: batch_test(1, 0, 2, 0, 0.01), "2 inputs and 0 calibration images"),
        (lambda: batch_test(3, 0, 2, 9, 0.01), "3 flagged"),
        (lambda: batch_test(1, 0, 2, 9, 2.0), "got 9 and 2.0"),
        (lambda: triggered_share(0, 0, 9, 0.01), "0 flagged of 0 inputs"),
        (lambda: triggered_share(3, 2, 9, 0.01), "3 flagged of 2 inputs"),
        (lambda: triggered_share(1, 2, 9, 1.0), "an alpha below 1"),
        (lambda: target_classes(np.zeros(2), np.zeros(3), 9, 0.01), r"got \(2,\), \(3,\) and 9 images"),
        (lambda: target_classes(np.array([0, 5]), np.array([9, 4]), 9, 0.01), "5 of 4 inputs of class 1"),
        (lambda: target_classes(np.array([-1]), np.array([4]), 9, 0.01), "-1 of 4 inputs of class 0"),
        (lambda: mcnemar(np.ones(3), np.ones(3, bool)), "type bool are needed, got float64 and bool"),
        (lambda: overconfidence(np.ones(3), np.ones(2, bool)), r"got \(3,\) and \(2,\)"),
        (lambda: overconfidence(np.ones(0), np.ones(0, bool)), r"got \(0,\) and \(0,\)"),
    ]
)
def test_statistics(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@refused(
    [
        (lambda: fit_standardiser(SCORES, np.zeros(3)), r"got \(10, 2\) and \(3,\)"),
        (lambda: fit_standardiser(SCORES, np.array([0.0, -INF])), "bounds must be finite or NaN"),
        (lambda: Standardiser(ONE, ONE, np.ones(2)), r"got shapes \[\(1,\), \(1,\), \(2,\)\]"),
        (lambda: Standardiser(ONE, ONE, 0.0 * ONE), "scales positive"),
        (lambda: Standardiser(ONE, ONE, NAN * ONE), "scales positive"),
        (lambda: STANDARDISER(np.zeros((4, 3))), r"\(..., 2\) are needed, got \(4, 3\)"),
        (lambda: CALIBRATION.combine(np.zeros((4, 2, 3))), r"\(..., 2\) are needed"),
        (lambda: CALIBRATION.judge(np.zeros((4, 1, 2))), r"\(N, 2, 2\) are needed, got \(4, 1, 2\)"),
        (lambda: CALIBRATION.loudest(np.zeros((4, 3)), 1), r"got \(4, 3\) and 1"),
        (lambda: CALIBRATION.loudest(np.zeros((4, 2)), -1), r"got \(4, 2\) and -1"),
        (lambda: replace(CALIBRATION, combined=np.zeros(9)), r"got \(10, 2\), \(9,\) and \(\(2,\), \(2,\)\)"),
        (lambda: replace(CALIBRATION, enters=np.ones(3, bool)), r"and \(\(3,\), \(2,\)\)"),
        (lambda: replace(CALIBRATION, fold_sizes=np.array([5, 6])), r"sum to 10 are needed, got \[5, 6\]"),
        (lambda: replace(CALIBRATION, fold_sizes=np.array([10, 0])), r"got \[10, 0\]"),
        (lambda: calibrate(SCORES, np.zeros(9, int), STANDARDISER, 2.0), r"got \(10, 2\) and \(9,\)"),
        (lambda: calibrate(SCORES, np.arange(10) - 1, STANDARDISER, 2.0), "numbered from 0, got -1"),
        (lambda: calibrate(SCORES, np.arange(10) * 2, STANDARDISER, 2.0), "fold 1 of 19 has no image"),
        (lambda: calibrate(SCORES, np.zeros(10, int), STANDARDISER, 2.0, np.ones(3, bool)), r"got \(3,\) and \(2,\)"),
        (lambda: calibrate(SCORES, np.zeros(10, int), STANDARDISER, 2.0, np.zeros(2, bool)), r"got \(10, 0\)"),
        (lambda: CalibrationPlan("other", ROWS % 5), "got 'other'"),
        (lambda: CalibrationPlan("split", ROWS % 2), r"needed, got \[0, 1\]"),
        (lambda: plan_calibration(LABELS[:1], 0), r"got shape \(1,\)"),
    ]
)
def test_calibration(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@refused(
    [
        (lambda: moments_of(FEATURES, ROWS, np.zeros(3)), r"got \(240, 12\) and \(3,\)"),
        (lambda: next(blocks(FEATURES[0], ROWS)), r"got \(12,\) and \(240,\)"),
        (lambda: Moments(np.zeros(2), 1, np.zeros(3), np.eye(2)), r"got \(\(2,\), \(3,\), \(2, 2\)\)"),
        (lambda: MOMENTS + moments_of(FEATURES, ROWS, np.ones(12)), "two different ones"),
        (lambda: moments_of(FEATURES, ROWS[:3], np.zeros(12)) - MOMENTS, "3 images is needed, got one of 240"),
        (lambda: (MOMENTS - MOMENTS).mean(), "at least one image are needed, got 0"),
        (lambda: (MOMENTS - MOMENTS).covariance(), "at least one image are needed, got 0"),
        (lambda: ledoit_wolf(np.eye(2), NAN, 3), "finite fourth moment is needed, got nan"),
        (lambda: projection_from_covariance(np.zeros(0), np.zeros((0, 0)), 3), r"got shape \(0,\)"),
        (lambda: projection_from_covariance(np.zeros(2), np.eye(3), 3), r"got shape \(3, 3\)"),
        (lambda: projection_from_covariance(np.zeros(2), np.eye(2), 0), "got 0, 0.995 and None"),
        (lambda: projection_from_covariance(np.zeros(2), np.eye(2), 3, 1.5), "got 3, 1.5 and None"),
        (lambda: projection_from_covariance(np.zeros(2), np.eye(2), 3, 0.9, 0), "got 3, 0.9 and 0"),
        (lambda: projection_from_images(EXACT[:3], 0.0), "got 3, 0.0 and None"),
        (lambda: replace(PROJECTION, mean=np.zeros(3)), r"got \(\(3,\), \(12, "),
        (lambda: replace(PROJECTION, variances=np.zeros(1)), r"\(1,\)\)"),
        (lambda: PROJECTION.transform(EXACT[:, :5]), r"\(N, 12\) are needed, got \(240, 5\)"),
        (lambda: PROJECTION.reconstruction_error(EXACT[0]), r"got \(12,\)"),
        (lambda: PROJECTION.leading(0), "components are needed, got 0"),
        (lambda: PROJECTION.leading(99), "components are needed, got 99"),
        (lambda: PROJECTION.rotated(np.eye(2)), r"got \(2, 2\)"),
        (lambda: gaussian_log_scale(np.ones((2, 3))), r"square whitener is needed, got shape \(2, 3\)"),
        (lambda: principal_whitener(np.ones(3)), r"square covariance is needed, got shape \(3,\)"),
        (lambda: group_classes(np.array([3]), 0), "got 0"),
        (lambda: ClassGroups(np.zeros(0, int), 1, None), r"got \(0,\) and 1 groups"),
        (lambda: ClassGroups(np.array([0, 2]), 2, None), "got 0 to 2 and None"),
        (lambda: ClassGroups(np.array([0, 1]), 2, 2), "got 0 to 1 and 2"),
        (lambda: replace(DENSITY, log_scales=np.zeros((1, 1))), r"of 3 groups are needed, got \(3, 1, "),
        (lambda: replace(DENSITY, groups=group_classes(np.array([9]))), "of 1 groups are needed"),
        (lambda: replace(DENSITY, tied=False), "tied: False, are needed"),
        (lambda: DENSITY.log_likelihood(EXACT[:, :1]), r"got \(240, 1\)"),
        (lambda: replace(FITTED, projection=PROJECTION.leading(1)), "a density over 1 coordinates is needed"),
    ]
)
def test_parts_of_a_density(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@refused(
    [
        (lambda: lower_bound("other"), "got 'other'"),
        (lambda: score_features(FITTED, EXACT, np.full(240, CLASSES)), r"in \[0, 3\) are needed, got 3 to 3"),
        (lambda: score_features(FITTED, EXACT, LABELS - 1), "got -1 to 1"),
        (lambda: score_rows(FITTED, FEATURES, ROWS, LABELS[:9]), r"240 images is needed, got shape \(9,\)"),
        (lambda: score_by_folds([], FEATURES, LABELS), "at least one fold are needed, got none"),
        (lambda: DensitySettings("other"), "got 'other'"),
        (lambda: DensitySettings(retained_variance=0.0), "got 0.0"),
        (lambda: DensitySettings(images_per_component=0), "at least 1, got 0"),
        (lambda: fit_rows(FEATURES, ROWS[:0], LABELS, GROUPS, DensitySettings()), r"got \(240, 12\) and \(0,\)"),
        (lambda: fit_density(DensitySettings("x"), FEATURES, ROWS, LABELS, GROUPS, PROJECTION), "got 'x'"),
        (
            lambda: fit_density(DensitySettings("tied"), FEATURES[:, :3], ROWS, LABELS, GROUPS, PROJECTION),
            r"got \(240, 3\)",
        ),
        (
            lambda: fit_density(DensitySettings("tied"), FEATURES, ROWS[:0], LABELS, GROUPS, PROJECTION),
            r"got shape \(0,\)",
        ),
        (
            lambda: fit_density(DensitySettings("tied"), FEATURES, ROWS, LABELS + 1, GROUPS, PROJECTION),
            "3, are needed, got 1 to 3",
        ),
        (
            lambda: fit_density(
                DensitySettings("tied"), FEATURES, ROWS, LABELS, group_classes(np.array([9, 0, 9])), PROJECTION
            ),
            "classes with a group, of 3, are needed, got 0 to 2",
        ),
        (
            lambda: fit_descriptor(FEATURES, LABELS, LABELS[:9], GROUPS, PLAN, DensitySettings()),
            r"got \(240, 12\) and \(\(240,\), \(9,\), \(240,\)\)",
        ),
        (lambda: replace(DEFAULT, kinds=()), r"'value'\) and \(\)"),
        (lambda: replace(DEFAULT, poolings=()), r"got \(\) and"),
        (lambda: replace(DEFAULT, retained_variance=1.5), "got 1.5 and 1.0"),
        (lambda: replace(DEFAULT, sharpness=INF), "got 0.995 and inf"),
        (lambda: replace(DEFAULT, images_per_component=0), "images_per_component must be at least 1, got 0"),
        (lambda: ScoreName("", "likelihood"), "got '' and 'likelihood'"),
        (lambda: ScoreName("layer:mean", "a:b"), "got 'layer:mean' and 'a:b'"),
    ]
)
def test_densities(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_detector_names_the_descriptors_that_it_lacks() -> None:
    detector = fit_deep_features({"tap:mean": FEATURES}, ImageClasses(LABELS, LABELS, CLASSES, SURE), DEFAULT, PLAN, 0)
    for call in (lambda: detector.score({}, LABELS, SURE), lambda: detector.class_evidence({"tap:max": FEATURES})):
        with pytest.raises(ValueError, match=r"1 descriptors are needed, \['tap:mean'\] are missing"):
            call()


@refused(
    [
        (lambda: softplus(torch.zeros(2, dtype=torch.long)), "floating-point type is needed, got torch.int64"),
        (
            lambda: WeightPosterior(torch.ones(2), torch.ones(3), torch.ones(2), torch.ones(2)),
            r"one shape, got \[\(2,\), \(3,\), \(2,\), \(2,\)\]",
        ),
        (lambda: TrainSettings(max_accuracy_drop=NAN), "max_accuracy_drop must be a number, got nan"),
        (lambda: FlipoutLinear(moped(torch.ones(2, 3), WIDTHS), torch.ones(3)), r"shape \[2\] is needed.*got \[3\]"),
        (lambda: FlipoutLinear(moped(torch.ones(2, 3, 1), WIDTHS), None), "2 dimensions, got 3"),
        (lambda: convert(nn.Linear(3, 2), WIDTHS).module(torch.zeros(4, 5)), r"\(N, ..., 3\) are needed, got \(4, 5\)"),
        (
            lambda: FlipoutConv(moped(torch.ones(4, 1, 3, 3), WIDTHS), None, ConvSettings(groups=3)),
            "divide 4 channels.*got 3",
        ),
        (
            lambda: FlipoutConv(moped(torch.ones(4, 1, 3, 3), WIDTHS), None, ConvSettings(stride=(1,))),
            r"each of 2 axes.*got \(1,\)",
        ),
    ]
)
def test_layers(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
