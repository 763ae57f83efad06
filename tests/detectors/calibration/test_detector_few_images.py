"""Small, lopsided and degenerate references: finite scores, sane false alarms, and a plain word where nothing goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from detectors.calibration.plan import plan_calibration
from detectors.deep_features.density import FAMILIES, Family
from detectors.deep_features.detector import DeepFeatures, ImageClasses, fit_deep_features
from detectors.deep_features.grouping import UNLIKE
from detectors.deep_features.recipe import DEFAULT
from detectors.deep_features.scores import SCORE_KINDS

DIM = 24
SHRUNK: tuple[Family, ...] = ("tied-shrunk", "separate-shrunk")


def world(classes: int, dim: int = DIM) -> np.ndarray:
    return 2.0 * np.random.default_rng(99).normal(size=(classes, dim))


def draw(rng: np.random.Generator, labels: np.ndarray, means: np.ndarray) -> np.ndarray:
    return (means[labels] + rng.standard_t(6, size=(len(labels), means.shape[1]))).astype(np.float32)


def sure(labels: np.ndarray) -> np.ndarray:
    """Confidences that have nothing to do with the images."""
    return np.random.default_rng(5).normal(3.0, 2.0, len(labels))


def fit(
    features: np.ndarray | dict[str, np.ndarray],
    labels: np.ndarray,
    num_classes: int,
    family: Family = "tied-shrunk",
    confidence: np.ndarray | None = None,
) -> DeepFeatures:
    named = features if isinstance(features, dict) else {"tap:mean": features}
    recipe = replace(DEFAULT, family=family, kinds=SCORE_KINDS)
    seen = ImageClasses(labels, labels, num_classes, sure(labels) if confidence is None else confidence)
    return fit_deep_features(named, seen, recipe, plan_calibration(labels, 0), seed=0)


def assert_sound(fitted: DeepFeatures) -> None:
    """Nothing that is not a number, and no spread of zero to divide by."""
    assert np.isfinite(fitted.clean_scores).all()
    for folds in fitted.densities.values():
        for fold in folds:
            assert np.isfinite(fold.density.whiteners).all()
            assert np.isfinite(fold.density.supremum)
            assert np.isfinite(fold.density.means).all()
            assert (np.abs(fold.density.whiteners).max((-1, -2)) < 1e6).all()
            assert fold.projection.total_variance > 0


def false_alarms(labels_of_reference: np.ndarray, num_classes: int, runs: int, family: Family) -> np.ndarray:
    """Share of new clean inputs with p at most 0.1, drawn as the reference was, for several references."""
    means, rates = world(num_classes), []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        fitted = fit(draw(rng, labels_of_reference, means), labels_of_reference, num_classes, family)
        assert_sound(fitted)
        labels = rng.choice(labels_of_reference, 300)
        fresh = draw(rng, labels, means)
        judged = fitted.calibration.judge(fitted.score({"tap:mean": fresh}, labels, sure(labels)))
        rates.append((judged.p_values <= 0.1).mean())
    return np.array(rates)


REFERENCES = {
    "one image a class": (np.arange(100), 100),
    "two images a class": (np.repeat(np.arange(50), 2), 50),
    "one class only": (np.full(60, 2), 4),
    "classes of 1 and 199": (np.repeat([0, 1], [1, 199]), 2),
    "few and many": (np.repeat(np.arange(8), [1, 2, 3, 4, 40, 40, 40, 5]), 10),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", REFERENCES)
def test_false_alarms_of_lopsided_references(name: str, family: Family) -> None:
    """Near alpha by every family.

    A class's only image is scored by densities that lack it, a new input of that class by four of five that have it:
    that errs on the quiet side, more so without shrinkage.
    """
    labels, num_classes = REFERENCES[name]
    rates = false_alarms(labels, num_classes, 6, family)
    error = max(rates.std(ddof=1), np.sqrt(0.1 * 0.9 / len(labels))) / np.sqrt(len(rates))
    assert rates.mean() < 0.1 + 4 * error
    assert rates.mean() > (0.03 if family in SHRUNK or name != "one image a class" else 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_images_that_are_the_same(family: Family) -> None:
    """Within the classes nothing is left: the spread is that between all images."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 2)
    features = np.repeat(draw(rng, np.arange(30), world(30)), 2, axis=0)
    fitted = fit(features, labels, 30, family)
    assert_sound(fitted)
    assert fitted.groups.shared == 0
    far = fitted.score({"tap:mean": features + 40.0}, labels, sure(labels))
    assert (fitted.calibration.judge(far).p_values < 0.05).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_class_is_copies_of_one_image(family: Family) -> None:
    """Groups of their own whose covariance is zero: the common spread stands in."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 5)
    features = np.repeat(draw(rng, np.arange(6), world(6)), 5, axis=0)
    fitted = fit(features, labels, 6, family)
    assert_sound(fitted)
    assert fitted.groups.own.all()
    assert np.isfinite(fitted.score({"tap:mean": features}, labels, sure(labels))).all()


def test_classes_that_share_a_density_are_told_from_none() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), [40, 40, 3, 1])
    features = draw(rng, labels, world(5))
    fitted = fit(features, labels, 5)
    assert fitted.groups.own.tolist() == [True, True, False, False, False]
    evidence = fitted.class_evidence({"tap:mean": features})
    assert evidence.shape == (84, 5)
    assert (evidence[:, 2:] > UNLIKE / 2).all()
    assert (np.abs(evidence[:, :2]) < UNLIKE / 2).all()
    assert (evidence[:80].argmin(1) == labels[:80]).mean() > 0.95


def test_class_evidence_is_the_standardised_log_deviance() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = {"a:mean": draw(rng, labels, world(3)), "b:max": draw(rng, labels, world(3, 7))}
    fitted = fit(
        features, labels, 3, confidence=np.ones(120)
    )  # nothing to explain: clean scores are those of densities
    expected = np.zeros((120, 3))
    for key, values in features.items():
        first = fitted.densities[key][0]
        read = values.astype(np.float64)
        deviance = first.density.supremum - first.density.log_likelihood(first.projection.transform(read))
        own = fitted.clean_scores[:, [s.key for s in fitted.scores].index(f"{key}:likelihood")]
        location = np.median(np.log(own))
        scale = (np.quantile(np.log(own), 1 - 10 / 120) - location) / stats.norm.ppf(1 - 10 / 120)
        expected += (np.log(deviance) - location) / scale / 2
    np.testing.assert_allclose(fitted.class_evidence(features), expected, rtol=1e-9)


def test_a_descriptor_that_does_not_vary_is_left_out_and_named() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    dead = np.full((60, 5), 3.25, np.float32)
    rounding = (dead * (1 + 1e-7 * rng.normal(size=dead.shape))).astype(np.float32)
    named = {
        "dead:mean": dead,
        "live:mean": draw(rng, labels, world(3)),
        "zero:max": np.zeros((60, 5), np.float32),
        "rounding:max": rounding,
        "one:max": np.where(np.arange(60)[:, None] == 7, 1.0, np.zeros((60, 5))).astype(np.float32),
    }
    fitted = fit(named, labels, 3)
    assert fitted.constant == ("dead:mean", "zero:max", "rounding:max")
    assert list(fitted.densities) == ["live:mean", "one:max"]
    assert {score.descriptor for score in fitted.scores} == {"live:mean", "one:max"}
    assert np.isfinite(fitted.clean_scores).all()
    with pytest.raises(ValueError, match="none of 2 descriptors varies"):
        fit({"dead:mean": dead, "rounding:max": rounding}, labels, 3)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_the_smallest_references(count: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros(count, np.int64)
    fitted = fit(draw(rng, labels, world(2)), labels, 2)
    assert_sound(fitted)
    assert fitted.calibration.size == count
    fresh = draw(rng, np.zeros(20, np.int64), world(2))
    p = fitted.calibration.judge(fitted.score({"tap:mean": fresh}, np.zeros(20, np.int64), np.zeros(20))).p_values
    assert p.min() >= 1 / (count + 1)


def test_one_image_has_no_spread() -> None:
    labels = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="do not differ"):
        fit(draw(np.random.default_rng(0), labels, world(2)), labels, 2)


def test_what_cannot_be_fitted_is_said() -> None:
    labels = np.arange(20) % 2
    features = draw(np.random.default_rng(0), labels, world(2))
    broken = features.copy()
    broken[3, 4] = np.inf
    for bad, classes, words in (
        ({}, labels, "at least one descriptor"),
        ({"x": features[:-1]}, labels, r"'x' has shape \(19, 24\)"),
        ({"x": features[:, :0]}, labels, r"'x' has shape \(20, 0\)"),
        ({"x": broken}, labels, "'x' is not finite"),
        (features, labels + 1, "classes lie in 1 to 2"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(bad, classes, 2)
