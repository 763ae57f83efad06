"""Densities and scores against SciPy, scikit-learn and torch.distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_samples import CLASSES, fit_all, make_data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture

from detectors.deep_features.density import FAMILIES, Family, principal_whitener, whitener_of
from detectors.deep_features.families import _best_mixture
from detectors.deep_features.scores import (
    RECONSTRUCTION_FLOOR,
    SCORE_KINDS,
    DescriptorDensity,
    score_features,
)
from detectors.deep_features.shrinkage import ledoit_wolf


def fit(family: Family, seed: int = 0, **data: int) -> tuple[DescriptorDensity, np.ndarray, np.ndarray]:
    features, labels = make_data(seed, **data)
    return fit_all(family, features, labels), features.astype(np.float64), labels


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
        means = fitted.density.means[:, 0]  # float32 numbers
        for label in range(CLASSES):
            np.testing.assert_allclose(means[label], coordinates[labels == label].mean(0), rtol=1e-6, atol=1e-6)
        residual = coordinates - means[labels]
        covariance = torch.from_numpy(residual.T @ residual / len(residual))
        for label in range(CLASSES):
            reference = torch.distributions.MultivariateNormal(torch.from_numpy(means[label]), covariance)
            np.testing.assert_allclose(
                fitted.density.log_likelihood(coordinates)[:, label],
                reference.log_prob(torch.from_numpy(coordinates)).numpy(),
                rtol=1e-6,  # axes are turned, and float32 numbers as well
            )

    def test_tied_shrunk_against_scikit_learn(self) -> None:
        fitted, features, labels = fit("tied-shrunk", count=60)
        coordinates = fitted.projection.transform(features)
        means = np.stack([coordinates[labels == c].mean(0) for c in range(CLASSES)])
        covariance = LedoitWolf(assume_centered=True).fit(coordinates - means[labels]).covariance_
        reference = stats.multivariate_normal(means[1], covariance)
        np.testing.assert_allclose(
            fitted.density.log_likelihood(coordinates)[:, 1], reference.logpdf(coordinates), rtol=1e-6
        )

    def test_mixture_against_scikit_learn(self) -> None:
        rng = np.random.default_rng(3)
        members = np.concatenate([rng.normal(-3, 1, (150, 4)), rng.normal(3, 0.5, (150, 4))])
        components = _best_mixture(members, members.var(0), seed=0)
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
        components = _best_mixture(coordinates[labels == 2], coordinates.var(0), seed=0)
        reference = np.logaddexp.reduce(
            [np.log(w) + stats.multivariate_normal(m, np.diag(v)).logpdf(coordinates) for w, m, v in components], axis=0
        )
        np.testing.assert_allclose(fitted.density.log_likelihood(coordinates)[:, 2], reference, rtol=1e-9)

    def test_rank_deficient_covariance_stays_finite(self) -> None:
        whitener = whitener_of(np.diag([1.0, 0.0]))
        assert np.isfinite(whitener).all()

    def test_nothing_to_whiten_by_is_said(self) -> None:
        with pytest.raises(ValueError, match="do not differ"):
            principal_whitener(np.zeros((2, 2)))
        with pytest.raises(ValueError, match="not finite"):
            principal_whitener(np.diag([1.0, np.nan]))

    @pytest.mark.parametrize("family", ["tied", "tied-shrunk"])
    def test_a_tied_covariance_is_whitened_by_division(self, family: Family) -> None:
        """In its principal axes, turned without changing a likelihood; centres as a profile stores them, in float32."""
        fitted, _, _ = fit(family)
        whitener = fitted.density.whiteners
        assert whitener.shape == (1, 1, fitted.projection.dim, fitted.projection.dim)
        assert np.count_nonzero(whitener) == fitted.projection.dim
        np.testing.assert_array_equal(fitted.density.means, fitted.density.means.astype(np.float32))

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
        np.testing.assert_allclose(scores["likelihood"], fitted.density.supremum - own)
        np.testing.assert_allclose(scores["max-likelihood"], fitted.density.supremum - likelihood.max(1))
        np.testing.assert_allclose(scores["mismatch"], others - own)
        error = fitted.projection.reconstruction_error(features)
        floor = RECONSTRUCTION_FLOOR * np.var(features, axis=0).sum()
        np.testing.assert_allclose(scores["reconstruction"], error + floor)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_scores_with_a_bound_respect_it(self, family: Family) -> None:
        fitted, features, labels = fit(family)
        everywhere = np.concatenate([features, np.zeros((1, 12)), fitted.projection.mean[None]])
        scores = score_features(fitted, everywhere, np.append(labels, [0, 1]))
        for kind in ("likelihood", "max-likelihood", "reconstruction"):
            assert scores[kind].min() >= -1e-9

    @pytest.mark.parametrize("family", FAMILIES)
    def test_predicted_class_without_images_falls_back_to_the_best_class(self, family: Family) -> None:
        features, labels = make_data()
        two = np.minimum(labels, 1)
        scores = score_features(fit_all(family, features, two), features.astype(np.float64), np.full(240, 2))
        assert all(np.isfinite(values).all() for values in scores.values())
        np.testing.assert_array_equal(scores["likelihood"], scores["max-likelihood"])
        np.testing.assert_array_equal(scores["mismatch"], 0.0)

    def test_classes_with_few_images_share_a_density_at_the_common_mean(self) -> None:
        features, labels = make_data(count=40)
        labels = labels.copy()
        labels[:4], labels[4:7] = 3, 4
        fitted = fit_all("tied-shrunk", features, labels, classes=6)
        assert fitted.density.groups.shared == 3
        exact = features.astype(np.float64)
        scores = [score_features(fitted, exact, np.full(40, label)) for label in (3, 4, 5)]
        for kind in SCORE_KINDS:  # one group, whether a class has some images or none
            np.testing.assert_array_equal(scores[0][kind], scores[1][kind])
            np.testing.assert_array_equal(scores[0][kind], scores[2][kind])
        np.testing.assert_array_equal(fitted.density.means[3], 0.0)  # coordinates count from the mean of all
        np.testing.assert_allclose(fitted.projection.mean, exact.mean(0), rtol=1e-6)

    def test_shapes_that_do_not_fit(self) -> None:
        fitted, features, labels = fit("tied")
        for bad, predicted in ((features[:, :-1], labels), (features, labels[:-1]), (features[0], labels)):
            with pytest.raises(ValueError, match=r"features \(N, 12\)"):
                score_features(fitted, bad, predicted)

    def test_outliers_score_higher(self) -> None:
        fitted, features, labels = fit("tied-shrunk")
        clean = score_features(fitted, features, labels)
        moved = score_features(fitted, features + 5.0, labels)
        assert np.median(moved["likelihood"]) > clean["likelihood"].max()
