"""Densities of folds: none scores what it saw, and few images are enough."""

from __future__ import annotations

import numpy as np
import pytest
from feature_samples import groups_of, make_data

from detectors.calibration.plan import CalibrationPlan
from detectors.deep_features.density import FAMILIES, Family
from detectors.deep_features.fit import FittedDescriptor, fit_descriptor, fit_rows
from detectors.deep_features.scores import SCORE_KINDS, score_by_folds, score_features
from detectors.deep_features.settings import DensitySettings


def cross(features: np.ndarray, labels: np.ndarray, settings: DensitySettings, folds: int = 5) -> FittedDescriptor:
    plan = CalibrationPlan("cross-conformal", np.arange(len(labels)) % folds)
    return fit_descriptor(features, labels, labels, groups_of(labels), plan, settings)


class TestFolds:
    @pytest.mark.parametrize("dim", [12, 300])
    def test_no_image_is_scored_by_a_density_that_saw_it(self, dim: int) -> None:
        """Moving one image far away changes its own score as if the density never knew it, and nothing in its fold.

        With few images and with many there are two ways to the principal components, whose number is that of all folds.
        """
        settings = DensitySettings(retained_variance=1.0, images_per_component=24)
        features, labels = make_data(dim=dim)
        folds = np.arange(240) % 5
        outlier = features.copy()
        outlier[7] += 100.0
        plain, moved = cross(features, labels, settings), cross(outlier, labels, settings)
        assert len(moved.folds) == 5
        mates = np.flatnonzero((folds == folds[7]) & (np.arange(240) != 7))
        others = np.flatnonzero(folds != folds[7])
        for kind in SCORE_KINDS:
            np.testing.assert_allclose(moved.scores[kind][mates], plain.scores[kind][mates], rtol=1e-6)
        assert (np.abs(moved.scores["likelihood"] / plain.scores["likelihood"] - 1)[others] > 1e-6).all()
        held_out = features[others], np.arange(len(others)), labels[others]
        direct = fit_rows(*held_out, groups_of(labels), settings)
        expected = score_features(direct, outlier[7:8].astype(np.float64), labels[7:8])
        for kind in SCORE_KINDS:
            assert moved.scores[kind][7] == pytest.approx(expected[kind][0], rel=1e-6)

    def test_a_split_scores_what_does_not_fit(self) -> None:
        features, labels = make_data()
        plan = CalibrationPlan("split", np.repeat([0, 1, 2], [120, 40, 80]))
        fitted = fit_descriptor(features, labels, labels, groups_of(labels), plan, DensitySettings())
        (density,) = fitted.folds
        direct = fit_rows(features, np.arange(120), labels, groups_of(labels), DensitySettings())
        np.testing.assert_array_equal(density.projection.components, direct.projection.components)
        expected = score_features(direct, features[120:].astype(np.float64), labels[120:])
        for kind in SCORE_KINDS:
            np.testing.assert_array_equal(fitted.scores[kind], expected[kind])

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("dim", [12, 260])
    def test_every_family_crosses(self, family: Family, dim: int) -> None:
        features, labels = make_data(dim=dim)
        fitted = cross(features, labels, DensitySettings(family))
        assert all(np.isfinite(scores).all() for scores in fitted.scores.values())

    def test_a_fold_without_one_class_still_knows_its_group(self) -> None:
        """Fewer images of a class than folds cannot happen to a class of its own, but a plan may be anything."""
        features, labels = make_data(count=60)
        plan = CalibrationPlan("cross-conformal", labels)
        fitted = fit_descriptor(features, labels, labels, groups_of(labels), plan, DensitySettings())
        for missing, fold in enumerate(fitted.folds):
            np.testing.assert_array_equal(fold.density.means[missing], 0.0)
        assert all(np.isfinite(scores).all() for scores in fitted.scores.values())

    def test_few_images_per_component_limit_the_components(self) -> None:
        features, labels = make_data()
        settings = DensitySettings(retained_variance=1.0, images_per_component=40)
        assert [fold.projection.dim for fold in cross(features, labels, settings).folds] == [192 // 40] * 5
        assert DensitySettings(images_per_component=40).most_components(39) == 1
        assert DensitySettings().most_components(39) is None

    def test_folds_keep_equally_many_components(self) -> None:
        """At a share that falls between two counts, some folds alone would keep all of them: no error of reconstruction
        would be left there but rounding, and what is standardised together would not be alike.
        """
        features, labels = make_data(count=300)
        share = np.cumsum(np.linalg.eigvalsh(np.cov(features.T, bias=True))[::-1])
        settings = DensitySettings(retained_variance=float(share[-2] / share[-1]))
        fitted = cross(features, labels, settings)
        assert {fold.projection.dim for fold in fitted.folds} == {11}
        alone = [
            fit_rows(features, rows, labels, groups_of(labels), settings).projection.dim
            for rows, _ in CalibrationPlan("cross-conformal", np.arange(300) % 5).parts()
        ]
        assert set(alone) == {11, 12}
        by_fold = [np.median(fitted.scores["reconstruction"][np.arange(300) % 5 == fold]) for fold in range(5)]
        assert max(by_fold) < 10 * min(by_fold)  # rounding would be ten thousand times smaller

    def test_folds_side_by_side(self) -> None:
        features, labels = make_data()
        folds = cross(features, labels, DensitySettings()).folds
        together = score_by_folds(folds, features, labels)
        for index, fold in enumerate(folds):
            alone = score_features(fold, features.astype(np.float64), labels)
            for kind in SCORE_KINDS:
                np.testing.assert_array_equal(together[kind][:, index], alone[kind])
