"""Streamed moments and principal components against NumPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from feature_samples import make_data
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from detectors.deep_features.moments import Moments, moments_of
from detectors.deep_features.projection import projection_from_covariance, projection_from_images


def all_moments(features: np.ndarray) -> Moments:
    return moments_of(features, np.arange(len(features)), np.ones(features.shape[1]))


class TestMoments:
    def test_against_numpy(self) -> None:
        features, _ = make_data()
        moments = all_moments(features)
        exact = features.astype(np.float64)
        np.testing.assert_allclose(moments.mean(), exact.mean(0), rtol=1e-12)
        np.testing.assert_allclose(moments.covariance(), np.cov(exact.T, bias=True), rtol=1e-9, atol=1e-12)

    @given(cut=st.integers(1, 239))
    @settings(max_examples=20, deadline=None)
    def test_subtraction_undoes_addition(self, cut: int) -> None:
        features, _ = make_data()
        pilot = np.ones(12)
        first = moments_of(features, np.arange(cut), pilot)
        second = moments_of(features, np.arange(cut, 240), pilot)
        back = (first + second) - second
        assert back.count == first.count == cut
        np.testing.assert_allclose(back.total, first.total, atol=1e-9)
        np.testing.assert_allclose(back.scatter, first.scatter, atol=1e-9)
        np.testing.assert_allclose((first + second).scatter, all_moments(features).scatter, rtol=1e-10)

    def test_large_offset_loses_no_digits(self) -> None:
        features, _ = make_data()
        shifted = (features.astype(np.float64) + 4096.0).astype(np.float32)
        moments = moments_of(shifted, np.arange(240), shifted[:10].astype(np.float64).mean(0))
        np.testing.assert_allclose(
            moments.covariance(), np.cov(shifted.astype(np.float64).T, bias=True), rtol=1e-9, atol=1e-10
        )


class TestProjection:
    @given(retained=st.floats(0.3, 1.0), seed=st.integers(0, 50))
    @settings(max_examples=30, deadline=None)
    def test_component_count_against_scikit_learn(self, retained: float, seed: int) -> None:
        features, _ = make_data(seed)
        moments = all_moments(features)
        projection = projection_from_covariance(moments.mean(), moments.covariance(), 240, retained)
        share = np.cumsum(PCA(svd_solver="full").fit(features.astype(np.float64)).explained_variance_ratio_)
        expected = min(int(np.searchsorted(share, retained)) + 1, 12)
        assert projection.dim in (expected, expected + (abs(share[expected - 1] - retained) < 1e-12))

    def test_coordinates_and_error_against_scikit_learn(self) -> None:
        """Up to the rounding of components to float32, in which a profile stores them."""
        features, _ = make_data()
        moments = all_moments(features)
        exact = features.astype(np.float64)
        projection = projection_from_covariance(moments.mean(), moments.covariance(), 240, 0.9)
        pca = PCA(n_components=projection.dim, svd_solver="full").fit(exact)
        np.testing.assert_allclose(np.abs(projection.components), np.abs(pca.components_.T), atol=6e-8)
        np.testing.assert_allclose(np.abs(projection.transform(exact)), np.abs(pca.transform(exact)), atol=1e-6)
        back = pca.inverse_transform(pca.transform(exact))
        # Components are rounded to float32: to first order that costs a share of the squared length, not of the error.
        lengths = ((exact - exact.mean(0)) ** 2).sum(1)
        difference = projection.reconstruction_error(exact) - ((exact - back) ** 2).sum(1)
        assert (np.abs(difference) < 3e-7 * lengths).all()
        np.testing.assert_array_equal(projection.components, projection.components.astype(np.float32))

    @given(
        seed=st.integers(0, 1000),
        images=st.integers(2, 40),
        dim=st.integers(1, 60),
        retained=st.floats(0.2, 0.999),
        most=st.none() | st.integers(1, 10),
    )
    @settings(max_examples=80, deadline=None)
    def test_images_give_the_projection_of_their_covariance(
        self, seed: int, images: int, dim: int, retained: float, most: int | None
    ) -> None:
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(images, dim)) * np.exp(rng.normal(size=dim)) + rng.normal(size=dim)
        direct = projection_from_images(features, retained, most)
        through = projection_from_covariance(
            features.mean(0), np.cov(features.T, bias=True).reshape(dim, dim), images, retained, most
        )
        assert direct.dim == through.dim
        assert direct.total_variance == pytest.approx(through.total_variance, rel=1e-10)
        np.testing.assert_allclose(direct.mean, through.mean)
        np.testing.assert_allclose(direct.components.T @ direct.components, np.eye(direct.dim), atol=1e-5)
        variances = np.linalg.eigvalsh(np.cov(features.T, bias=True).reshape(dim, dim))[::-1]
        gap = variances[direct.dim - 1] - (variances[direct.dim] if direct.dim < dim else 0.0)
        if gap > 1e-3 * variances[0]:  # otherwise the subspace is not determined
            ours, theirs = (p.components @ p.components.T for p in (direct, through))
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
            np.testing.assert_allclose(
                direct.reconstruction_error(features),
                through.reconstruction_error(features),
                atol=1e-5 * direct.total_variance,
            )

    def test_signs_and_digits_do_not_depend_on_lapack(self) -> None:
        """The largest entry of every component is positive, so that refits are comparable."""
        features, _ = make_data(count=10, dim=30)
        for projection in (
            projection_from_images(features.astype(np.float64), 0.9),
            projection_from_covariance(features.mean(0), np.cov(features.T, bias=True), 10, 0.9),
        ):
            components = projection.components
            assert (components[np.abs(components).argmax(0), np.arange(projection.dim)] > 0).all()

    def test_one_dominant_component_is_kept_not_zero(self) -> None:
        covariance = np.diag([1.0, 1e-9, 1e-9])
        assert projection_from_covariance(np.zeros(3), covariance, 100, 0.995).dim == 1

    def test_never_more_components_than_images_allow(self) -> None:
        features, _ = make_data(count=6, dim=12)
        moments = all_moments(features)
        assert projection_from_covariance(moments.mean(), moments.covariance(), 6, 1.0).dim <= 5
        assert projection_from_images(features.astype(np.float64), 1.0).dim <= 5

    def test_copies_of_one_image_add_no_component(self) -> None:
        features = np.repeat(make_data(count=6, dim=30)[0], 4, axis=0).astype(np.float64)
        assert projection_from_images(features, 1.0).dim == 5
        assert projection_from_covariance(features.mean(0), np.cov(features.T, bias=True), 24, 1.0).dim == 5

    def test_constant_features_do_not_fail(self) -> None:
        assert projection_from_covariance(np.zeros(3), np.zeros((3, 3)), 10).dim == 1
        assert projection_from_images(np.ones((4, 9))).dim == 1
