"""Densities against SciPy, scikit-learn and torch.distributions; laws of moments and cross-fitting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from detectors.deep_features.density import FAMILIES, Family, whitener_of
from detectors.deep_features.families import _best_mixture
from detectors.deep_features.fit import DensitySettings, fit_cross, fit_split
from detectors.deep_features.moments import ClassMoments, class_moments
from detectors.deep_features.projection import fit_projection
from detectors.deep_features.scores import DescriptorDensity, score_features
from detectors.deep_features.shrinkage import ledoit_wolf

CLASSES = 3


def make_data(seed: int = 0, count: int = 240, dim: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Correlated Gaussian features with class means, as float32."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    features = rng.normal(size=(count, dim)) @ mixing + 2.0 * rng.normal(size=(CLASSES, dim))[labels]
    return features.astype(np.float32), labels.astype(np.int64)


def moments_of(features: np.ndarray, labels: np.ndarray) -> ClassMoments:
    return class_moments(features, np.arange(len(features)), labels, CLASSES, np.ones(features.shape[1]))


def fit(family: Family, seed: int = 0, **data: int) -> tuple[DescriptorDensity, np.ndarray, np.ndarray]:
    features, labels = make_data(seed, **data)
    fitted = fit_split(
        features, labels, labels, np.zeros(len(labels), bool), CLASSES, DensitySettings(family, seed=0)
    ).fitted
    return fitted, features.astype(np.float64), labels


class TestMoments:
    def test_against_numpy(self) -> None:
        features, labels = make_data()
        moments = moments_of(features, labels)
        exact = features.astype(np.float64)
        np.testing.assert_allclose(moments.mean(), exact.mean(0), rtol=1e-12)
        np.testing.assert_allclose(moments.total_covariance(), np.cov(exact.T, bias=True), rtol=1e-9, atol=1e-12)
        for label in range(CLASSES):
            np.testing.assert_allclose(moments.class_means()[label], exact[labels == label].mean(0), rtol=1e-12)

    @given(cut=st.integers(1, 239))
    @settings(max_examples=20, deadline=None)
    def test_subtraction_undoes_addition(self, cut: int) -> None:
        features, labels = make_data()
        pilot = np.ones(12)
        first = class_moments(features, np.arange(cut), labels, CLASSES, pilot)
        second = class_moments(features, np.arange(cut, 240), labels, CLASSES, pilot)
        back = (first + second) - second
        np.testing.assert_array_equal(back.counts, first.counts)
        np.testing.assert_allclose(back.scatter, first.scatter, atol=1e-9)
        np.testing.assert_allclose((first + second).scatter, moments_of(features, labels).scatter, rtol=1e-10)

    def test_large_offset_loses_no_digits(self) -> None:
        features, labels = make_data()
        shifted = (features.astype(np.float64) + 4096.0).astype(np.float32)
        moments = class_moments(shifted, np.arange(240), labels, CLASSES, shifted[:10].astype(np.float64).mean(0))
        np.testing.assert_allclose(
            moments.total_covariance(), np.cov(shifted.astype(np.float64).T, bias=True), rtol=1e-9, atol=1e-10
        )

    def test_class_without_images_gets_the_overall_mean(self) -> None:
        features, labels = make_data()
        moments = class_moments(features, np.arange(240), np.minimum(labels, 1), CLASSES, np.zeros(12))
        np.testing.assert_allclose(moments.class_means()[2], moments.mean())


class TestProjection:
    @given(retained=st.floats(0.3, 1.0), seed=st.integers(0, 50))
    @settings(max_examples=30, deadline=None)
    def test_component_count_against_scikit_learn(self, retained: float, seed: int) -> None:
        features, labels = make_data(seed)
        moments = moments_of(features, labels)
        projection = fit_projection(moments.mean(), moments.total_covariance(), 240, retained)
        share = np.cumsum(PCA(svd_solver="full").fit(features.astype(np.float64)).explained_variance_ratio_)
        expected = min(int(np.searchsorted(share, retained)) + 1, 12)
        assert projection.dim in (expected, expected + (abs(share[expected - 1] - retained) < 1e-12))

    def test_coordinates_and_error_against_scikit_learn(self) -> None:
        features, labels = make_data()
        moments = moments_of(features, labels)
        exact = features.astype(np.float64)
        projection = fit_projection(moments.mean(), moments.total_covariance(), 240, 0.9)
        pca = PCA(n_components=projection.dim, svd_solver="full").fit(exact)
        np.testing.assert_allclose(np.abs(projection.transform(exact)), np.abs(pca.transform(exact)), atol=1e-9)
        back = pca.inverse_transform(pca.transform(exact))
        np.testing.assert_allclose(projection.reconstruction_error(exact), ((exact - back) ** 2).sum(1), atol=1e-9)

    def test_one_dominant_component_is_kept_not_zero(self) -> None:
        covariance = np.diag([1.0, 1e-9, 1e-9])
        assert fit_projection(np.zeros(3), covariance, 100, 0.995).dim == 1

    def test_never_more_components_than_images_allow(self) -> None:
        features, labels = make_data(count=6, dim=12)
        moments = moments_of(features, labels)
        assert fit_projection(moments.mean(), moments.total_covariance(), 6, 1.0).dim <= 5

    def test_constant_features_do_not_fail(self) -> None:
        assert fit_projection(np.zeros(3), np.zeros((3, 3)), 10).dim == 1


class TestShrinkage:
    @given(seed=st.integers(0, 100), count=st.integers(5, 200))
    @settings(max_examples=30, deadline=None)
    def test_against_scikit_learn(self, seed: int, count: int) -> None:
        features = make_data(seed, count)[0].astype(np.float64)
        features -= features.mean(0)
        fourth = float(((features**2).sum(1) ** 2).mean())
        shrunk, intensity = ledoit_wolf(features.T @ features / count, fourth, count)
        reference = LedoitWolf(assume_centered=True).fit(features)
        assert intensity == pytest.approx(reference.shrinkage_, rel=1e-9)
        np.testing.assert_allclose(shrunk, reference.covariance_, rtol=1e-9, atol=1e-12)


class TestLogLikelihood:
    def test_separate_against_scipy(self) -> None:
        fitted, features, labels = fit("separate")
        coordinates = fitted.projection.transform(features)
        for label in range(CLASSES):
            members = coordinates[labels == label]
            reference = stats.multivariate_normal(members.mean(0), np.cov(members.T, bias=True))
            np.testing.assert_allclose(
                fitted.density.log_likelihood(coordinates)[:, label], reference.logpdf(coordinates), rtol=1e-8
            )

    def test_tied_against_torch_distributions(self) -> None:
        fitted, features, labels = fit("tied")
        coordinates = fitted.projection.transform(features)
        means = np.stack([coordinates[labels == c].mean(0) for c in range(CLASSES)])
        residual = coordinates - means[labels]
        covariance = torch.from_numpy(residual.T @ residual / len(residual))
        for label in range(CLASSES):
            reference = torch.distributions.MultivariateNormal(torch.from_numpy(means[label]), covariance)
            np.testing.assert_allclose(
                fitted.density.log_likelihood(coordinates)[:, label],
                reference.log_prob(torch.from_numpy(coordinates)).numpy(),
                rtol=1e-8,
            )

    def test_tied_shrunk_against_scikit_learn(self) -> None:
        fitted, features, labels = fit("tied-shrunk", count=60)
        coordinates = fitted.projection.transform(features)
        means = np.stack([coordinates[labels == c].mean(0) for c in range(CLASSES)])
        covariance = LedoitWolf(assume_centered=True).fit(coordinates - means[labels]).covariance_
        reference = stats.multivariate_normal(means[1], covariance)
        np.testing.assert_allclose(
            fitted.density.log_likelihood(coordinates)[:, 1], reference.logpdf(coordinates), rtol=1e-8
        )

    def test_mixture_against_scikit_learn(self) -> None:
        rng = np.random.default_rng(3)
        members = np.concatenate([rng.normal(-3, 1, (150, 4)), rng.normal(3, 0.5, (150, 4))])
        components = _best_mixture(members, seed=0)
        orders = [GaussianMixture(m, covariance_type="diag", random_state=0).fit(members).bic(members) for m in (1, 2)]
        assert orders[1] < orders[0]
        assert len(components) >= 2
        weights, means, variances = zip(*components, strict=True)
        ours = np.logaddexp.reduce(
            [
                np.log(w) + stats.multivariate_normal(m, np.diag(v)).logpdf(members)
                for w, m, v in zip(weights, means, variances, strict=True)
            ],
            axis=0,
        )
        assert ours.mean() > GaussianMixture(1, covariance_type="diag").fit(members).score(members)

    def test_mixture_density_equals_its_components(self) -> None:
        fitted, features, labels = fit("mixture")
        coordinates = fitted.projection.transform(features)
        components = _best_mixture(coordinates[labels == 2], seed=0)
        reference = np.logaddexp.reduce(
            [np.log(w) + stats.multivariate_normal(m, np.diag(v)).logpdf(coordinates) for w, m, v in components], axis=0
        )
        np.testing.assert_allclose(fitted.density.log_likelihood(coordinates)[:, 2], reference, rtol=1e-9)

    def test_rank_deficient_covariance_stays_finite(self) -> None:
        whitener = whitener_of(np.diag([1.0, 0.0]))
        assert np.isfinite(whitener).all()

    @pytest.mark.parametrize("family", FAMILIES)
    def test_supremum_bounds_every_likelihood(self, family: Family) -> None:
        fitted, features, _ = fit(family)
        coordinates = np.concatenate(
            [fitted.projection.transform(features), fitted.density.means.reshape(-1, fitted.projection.dim)]
        )
        assert fitted.density.log_likelihood(coordinates).max() <= fitted.density.supremum + 1e-9


class TestScores:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_definitions(self, family: Family) -> None:
        fitted, features, labels = fit(family)
        scores = score_features(fitted, features, labels)
        likelihood = fitted.density.log_likelihood(fitted.projection.transform(features))
        own = likelihood[np.arange(len(labels)), labels]
        others = np.where(np.arange(CLASSES) == labels[:, None], -np.inf, likelihood).max(1)
        np.testing.assert_allclose(scores["likelihood"], -own)
        np.testing.assert_allclose(scores["max-likelihood"], -likelihood.max(1))
        np.testing.assert_allclose(scores["mismatch"], others - own)

    def test_predicted_class_without_images_falls_back_to_the_best_class(self) -> None:
        features, labels = make_data()
        two = np.minimum(labels, 1)
        fitted = fit_split(features, two, two, np.zeros(240, bool), CLASSES, DensitySettings()).fitted
        scores = score_features(fitted, features.astype(np.float64), np.full(240, 2))
        assert all(np.isfinite(values).all() for values in scores.values())
        np.testing.assert_allclose(scores["likelihood"], scores["max-likelihood"])

    def test_outliers_score_higher(self) -> None:
        fitted, features, labels = fit("tied-shrunk")
        clean = score_features(fitted, features, labels)
        moved = score_features(fitted, features + 5.0, labels)
        assert np.median(moved["likelihood"]) > clean["likelihood"].max()


class TestCrossFit:
    def test_no_image_is_scored_by_a_density_that_saw_it(self) -> None:
        """Moving one image far away must change its own score as if the density never knew it.

        All components are kept here: their number alone is taken from the whole reference.
        """
        whole = DensitySettings(retained_variance=1.0)
        features, labels = make_data()
        folds = np.arange(240) % 5
        outlier = features.copy()
        outlier[7] += 100.0
        plain = fit_cross(features, labels, labels, folds, CLASSES, whole)
        moved = fit_cross(outlier, labels, labels, folds, CLASSES, whole)
        same_fold = np.flatnonzero((folds == folds[7]) & (np.arange(240) != 7))
        np.testing.assert_allclose(
            moved.scores["likelihood"][same_fold], plain.scores["likelihood"][same_fold], rtol=1e-6
        )
        held_out = np.flatnonzero(folds != folds[7])
        direct = fit_split(
            features[held_out],
            labels[held_out],
            labels[held_out],
            np.zeros(len(held_out), bool),
            CLASSES,
            whole,
        )
        expected = score_features(direct.fitted, outlier[7:8].astype(np.float64), labels[7:8])["likelihood"][0]
        assert moved.scores["likelihood"][7] == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_family_cross_fits(self, family: Family) -> None:
        features, labels = make_data()
        fitted = fit_cross(features, labels, labels, np.arange(240) % 5, CLASSES, DensitySettings(family))
        assert all(np.isfinite(scores).all() for scores in fitted.scores.values())

    def test_folds_keep_as_many_components_as_the_whole(self) -> None:
        """At a share that falls between two counts, folds would disagree, and with them their errors."""
        features, labels = make_data(count=300)
        folds = np.arange(300) % 5
        share = np.cumsum(np.linalg.eigvalsh(np.cov(features.T, bias=True))[::-1])
        retained = float(share[-2] / share[-1])
        scores = fit_cross(features, labels, labels, folds, CLASSES, DensitySettings(retained_variance=retained)).scores
        medians = [np.median(scores["reconstruction"][folds == fold]) for fold in range(5)]
        assert max(medians) < 4 * min(medians)
