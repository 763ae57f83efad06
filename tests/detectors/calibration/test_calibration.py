"""P-values, combination and batch tests against SciPy and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from detectors.calibration.batch import batch_test, target_classes, triggered_share
from detectors.calibration.binomial import beta_binomial_tail, beta_quantile, binomial_tail, clopper_pearson
from detectors.calibration.combine import soft_maximum
from detectors.calibration.conformal import p_values, rank_limit, smallest_alpha
from detectors.calibration.folds import stratified_folds
from detectors.calibration.judge import Calibration, calibrate
from detectors.calibration.plan import calibrate_by_plan, plan_calibration
from detectors.calibration.standardise import fit_standardiser


class TestConformal:
    @given(
        calibration=st.lists(st.integers(0, 20), min_size=1, max_size=40),
        scores=st.lists(st.integers(-1, 21), min_size=1, max_size=20),
    )
    def test_definition(self, calibration: list[int], scores: list[int]) -> None:
        ours = p_values([np.sort(np.array(calibration, float))], np.array(scores, float)[:, None])
        expected = [(1 + sum(c >= s for c in calibration)) / (len(calibration) + 1) for s in scores]
        np.testing.assert_array_equal(ours, expected)

    @given(data=st.data())
    def test_cross_conformal_definition(self, data: st.DataObject) -> None:
        """Vovk 2015, (6): every calibration image by the function that did not see it, beside the input by the same."""
        sizes = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
        number = st.integers(0, 12)
        folds = [data.draw(st.lists(number, min_size=size, max_size=size)) for size in sizes]
        inputs = data.draw(st.lists(st.lists(number, min_size=len(sizes), max_size=len(sizes)), min_size=1, max_size=5))
        ours = p_values([np.sort(np.array(fold, float)) for fold in folds], np.array(inputs, float))
        for p, by_fold in zip(ours, inputs, strict=True):
            not_stranger = 0
            for fold, own in zip(folds, by_fold, strict=True):
                for clean in fold:
                    if clean >= own:
                        not_stranger += 1
            assert p == (not_stranger + 1) / (sum(sizes) + 1)

    def test_folds_that_agree_are_one(self) -> None:
        rng = np.random.default_rng(0)
        clean, fresh = rng.normal(size=60), rng.normal(size=30)
        together = p_values([np.sort(clean)], fresh[:, None])
        apart = p_values([np.sort(part) for part in np.split(clean, [7, 30])], np.repeat(fresh[:, None], 3, axis=1))
        np.testing.assert_array_equal(apart, together)

    @pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3)])
    def test_columns_are_folds(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"scores \(N, 2\)"):
            p_values([np.zeros(4), np.zeros(5)], np.zeros(shape))
        with pytest.raises(ValueError, match="0 images"):
            p_values([np.zeros(0)], np.zeros((3, 1)))

    @pytest.mark.parametrize("alpha", [0.1, 0.2])
    def test_twice_alpha_bounds_folds_that_disagree(self, alpha: float) -> None:
        """Two functions that find the same inputs suspicious and order them against each other: close to the bound.

        Both p-values are uniform, and their mean is at most alpha for nearly twice as many inputs.
        """
        rng = np.random.default_rng(0)
        size, draws, tail = 4000, 2000, 1 - 1.8 * alpha

        def by_fold(x: np.ndarray) -> np.ndarray:
            return np.stack([x, np.where(x > tail, 1 + tail - x, x)], axis=-1)

        flagged = 0
        for _ in range(draws):
            clean, fresh = by_fold(rng.random((2, size // 2))), by_fold(rng.random(1))
            p = p_values([np.sort(clean[fold, :, fold]) for fold in (0, 1)], fresh)[0]
            flagged += bool(p <= alpha * (1 + 1e-12))
        bound = 2 * alpha + 2 * (1 - alpha) / (size + 2)
        error = np.sqrt(bound * (1 - bound) / draws)
        assert flagged / draws <= bound + 4 * error
        assert flagged / draws > alpha + 4 * error, "folds that disagree cost nothing here: the case is no test"

    @given(n=st.integers(1, 5000), k=st.integers(1, 99))
    def test_rank_limit_counts_p_values_up_to_alpha(self, n: int, k: int) -> None:
        alpha = k / 100
        assert rank_limit(n, alpha) == k * (n + 1) // 100

    def test_not_a_number_is_the_most_suspicious(self) -> None:
        assert p_values([np.arange(9.0)], np.array([[np.nan]]))[0] == pytest.approx(0.1)
        assert p_values([np.arange(4.0), np.arange(5.0)], np.array([[np.nan, np.inf]]))[0] == pytest.approx(0.1)

    def test_smallest_alpha(self) -> None:
        assert smallest_alpha(99) == pytest.approx(0.01)
        assert rank_limit(99, 0.01) == 1
        assert rank_limit(98, 0.01) == 0

    def test_uniform_on_exchangeable_scores(self) -> None:
        """Over many draws of calibration set and input, p is uniform on its grid (chi-squared)."""
        rng = np.random.default_rng(0)
        draws = rng.gamma(2.0, size=(20_000, 20))
        p = np.array([p_values([np.sort(row[:19])], row[19:, None])[0] for row in draws])
        counts = np.bincount(np.round(p * 20).astype(int), minlength=21)[1:]
        assert stats.chisquare(counts).pvalue > 1e-4


class TestBinomial:
    @given(n=st.integers(1, 400), a=st.integers(1, 60), b=st.integers(1, 400), data=st.data())
    @settings(max_examples=100, deadline=None)
    def test_beta_binomial_against_scipy(self, n: int, a: int, b: int, data: st.DataObject) -> None:
        k = data.draw(st.integers(0, n))
        # SciPy's survival function is one minus a sum; its probabilities are accurate in the tail.
        expected = stats.betabinom.pmf(np.arange(k, n + 1), n, a, b).sum()
        assert beta_binomial_tail(k, n, a, b) == pytest.approx(expected, rel=1e-6, abs=1e-300)

    @given(n=st.integers(1, 2000), p=st.floats(1e-6, 1 - 1e-6), data=st.data())
    @settings(max_examples=100, deadline=None)
    def test_binomial_against_scipy(self, n: int, p: float, data: st.DataObject) -> None:
        k = data.draw(st.integers(0, n))
        assert binomial_tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-6, abs=1e-250)

    @given(a=st.integers(1, 300), b=st.integers(1, 300), q=st.floats(0.001, 0.999))
    @settings(max_examples=50, deadline=None)
    def test_beta_quantile_against_scipy(self, a: int, b: int, q: float) -> None:
        assert beta_quantile(q, a, b) == pytest.approx(special.betaincinv(a, b, q), abs=1e-9)

    @pytest.mark.parametrize("n", [65_536, 65_537, 131_073, 300_000])
    def test_many_trials_in_blocks_against_scipy(self, n: int) -> None:
        for k in (1, 65_535, 65_536, 65_537, n - 1, n):
            p = min(0.999, k / n)
            assert binomial_tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-6)
            expected = stats.betabinom.pmf(np.arange(k, n + 1), n, 20, 1981).sum()
            assert beta_binomial_tail(k, n, 20, 1981) == pytest.approx(expected, rel=1e-6, abs=1e-300)

    @pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (500, 100_000)])
    def test_clopper_pearson_against_scipy(self, k: int, n: int) -> None:
        reference = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        assert clopper_pearson(k, n, 0.95) == pytest.approx((reference.low, reference.high), abs=1e-8)

    def test_far_tail_is_not_lost(self) -> None:
        assert beta_binomial_tail(100, 100, 20, 1981) == pytest.approx(
            np.exp(stats.betabinom.logpmf(100, 100, 20, 1981)), rel=1e-6
        )

    def test_a_tail_below_double_precision_is_not_zero(self) -> None:
        assert 0 < beta_binomial_tail(100_000, 100_000, 20, 1981) < 1e-300


class TestStandardise:
    def test_robust_scale_of_a_gaussian(self) -> None:
        rng = np.random.default_rng(0)
        scores = rng.normal(5.0, 3.0, (20_000, 1))
        standardiser = fit_standardiser(scores, np.array([np.nan]))
        upper = stats.scoreatpercentile(scores[:, 0], 95) - np.median(scores)
        assert standardiser.scales[0] == pytest.approx(upper / stats.norm.ppf(0.95))
        assert standardiser.scales[0] == pytest.approx(3.0, rel=0.03)
        assert standardiser.locations[0] == pytest.approx(np.median(scores))

    def test_only_the_upper_half_sets_the_scale(self) -> None:
        scores = np.random.default_rng(0).normal(size=(2001, 1))  # the median is one of them
        stretched = np.where(scores < np.median(scores), 100.0 * scores, scores)
        one, other = (fit_standardiser(each, np.array([np.nan])) for each in (scores, stretched))
        assert other.scales[0] == pytest.approx(one.scales[0], rel=1e-9)

    @pytest.mark.parametrize(("images", "quantile"), [(5000, 0.95), (200, 0.95), (100, 0.9), (40, 0.75)])
    def test_ten_scores_lie_above_the_quantile_that_sets_the_scale(self, images: int, quantile: float) -> None:
        scores = np.random.default_rng(1).normal(size=(images, 1))
        upper = np.quantile(scores, quantile) - np.median(scores)
        expected = upper / stats.norm.ppf(quantile)
        assert fit_standardiser(scores, np.array([np.nan])).scales[0] == pytest.approx(expected)
        louder = np.where(scores > np.quantile(scores, 1 - 9 / images), 1e6, scores)
        assert fit_standardiser(louder, np.array([np.nan])).scales[0] == pytest.approx(expected)

    def test_few_images_or_one_value_leave_the_scale_to_the_middle(self) -> None:
        few = np.random.default_rng(2).normal(size=(39, 1))
        middle = stats.median_abs_deviation(few[:, 0], scale="normal")
        assert fit_standardiser(few, np.array([np.nan])).scales[0] == pytest.approx(middle)
        same = np.sort(np.random.default_rng(3).normal(size=(400, 1)), axis=0)
        same[199:] = same[199]
        middle = stats.median_abs_deviation(same[:, 0], scale="normal")
        assert fit_standardiser(same, np.array([np.nan])).scales[0] == (pytest.approx(middle) if middle else 1.0)

    def test_bounded_scores_are_logarithmic(self) -> None:
        scores = np.exp(np.random.default_rng(0).normal(size=(500, 1))) - 3.0
        standardiser = fit_standardiser(scores, np.array([-3.0]))
        assert standardiser(np.array([[-3.0 + np.e]]))[0, 0] == pytest.approx(
            (1.0 - standardiser.locations[0]) / standardiser.scales[0]
        )

    def test_constant_scores_do_not_divide_by_zero(self) -> None:
        standardiser = fit_standardiser(np.ones((10, 1)), np.array([0.0]))
        assert np.isfinite(standardiser(np.array([[2.0]]))).all()

    def test_rounding_is_no_spread(self) -> None:
        """An error of reconstruction where nothing is left to reconstruct: single precision adds some of its own."""
        scores = np.random.default_rng(0).gamma(2.0, 1e-15, (200, 1))
        standardiser = fit_standardiser(scores, np.array([-1e-7]))
        rounded, foreign = standardiser(np.array([[1e-11], [1e-4]]))
        assert abs(rounded[0]) < 1e-3
        assert foreign[0] > 5


class TestCombine:
    @given(st.lists(st.floats(-50, 50), min_size=1, max_size=10), st.floats(0.5, 10))
    def test_between_maximum_and_maximum_plus_log_count(self, z: list[float], sharpness: float) -> None:
        combined = soft_maximum(np.array([z]), sharpness)[0]
        assert max(z) - 1e-9 <= combined <= max(z) + np.log(len(z)) / sharpness + 1e-9


class TestJudge:
    def make(self, n: int = 199) -> tuple[np.random.Generator, object]:
        rng = np.random.default_rng(1)
        scores = rng.gamma(3.0, size=(n, 4))
        bounds = np.zeros(4)
        return rng, calibrate(scores, np.zeros(n, np.int64), fit_standardiser(scores, bounds), 2.0)

    def test_p_values_of_fresh_clean_inputs_are_uniform(self) -> None:
        """Averaged over calibration sets, the flag rate at alpha is alpha (within 4 standard errors)."""
        rng = np.random.default_rng(2)
        rates = []
        for _ in range(300):
            scores = rng.gamma(3.0, size=(199 + 100 + 50, 4))
            standardiser = fit_standardiser(scores[:100], np.zeros(4))
            calibration = calibrate(scores[100:299], np.zeros(199, np.int64), standardiser, 2.0)
            rates.append((calibration.judge(scores[299:, None]).p_values <= 0.05).mean())
        error = np.std(rates) / np.sqrt(len(rates))
        assert abs(np.mean(rates) - 0.05) < 4 * error

    def test_infinite_score_is_flagged(self) -> None:
        _, calibration = self.make()
        judgement = calibration.judge(np.array([[[1.0, np.nan, 1.0, 1.0]], [[1.0, 1.0, np.inf, 1.0]]]))
        np.testing.assert_allclose(judgement.p_values, 1 / 200)
        np.testing.assert_allclose(judgement.score_p_values[[0, 1], [1, 2]], 1 / 200)

    def test_p_falls_as_any_score_rises(self) -> None:
        rng, calibration = self.make()
        base = rng.gamma(3.0, size=(50, 1, 4))
        higher = base.copy()
        higher[:, :, 2] *= 3
        assert (calibration.judge(higher).p_values <= calibration.judge(base).p_values).all()

    def crossed(self) -> tuple[np.ndarray, np.ndarray, Calibration]:
        """Scores of three folds, two of them bounded, one that does not enter."""
        rng = np.random.default_rng(4)
        folds = rng.permutation(np.repeat([0, 1, 2], [20, 35, 7]))
        scores = np.column_stack([rng.gamma(2.0, size=(62, 2)), rng.normal(size=(62, 2))])
        standardiser = fit_standardiser(scores, np.array([0.0, -1.0, np.nan, np.nan]))
        return scores, folds, calibrate(scores, folds, standardiser, 2.0, np.array([True, True, True, False]))

    def test_folds_against_the_definition(self) -> None:
        """Everything once more, image by image: standardised, combined, and compared within the fold alone."""
        scores, folds, calibration = self.crossed()
        fresh = np.random.default_rng(5).gamma(2.0, size=(9, 3, 4))
        judged = calibration.judge(fresh)
        s = calibration.standardiser

        def combined(row: np.ndarray) -> float:
            z = [(np.log(row[i] - s.bounds[i]) - s.locations[i]) / s.scales[i] for i in (0, 1)]
            z.append((row[2] - s.locations[2]) / s.scales[2])
            return float(np.log(np.exp(2.0 * np.array(z)).sum()) / 2.0)

        for index, each in enumerate(fresh):
            mine = [combined(row) for row in each]
            reached = sum(combined(row) >= mine[fold] for row, fold in zip(scores, folds, strict=True))
            assert judged.p_values[index] == (1 + reached) / 63
            assert judged.combined[index] == pytest.approx(np.mean(mine), rel=1e-12)
            for i in range(4):
                reached = sum(row[i] >= each[fold, i] for row, fold in zip(scores, folds, strict=True))
                assert judged.score_p_values[index, i] == (1 + reached) / 63
        np.testing.assert_allclose(judged.z, s(fresh).mean(1))

    def test_one_fold_that_overflows_is_seen(self) -> None:
        """The images of the other folds are compared as ever; the fold's own reach nothing."""
        _, _, calibration = self.crossed()
        quiet = np.full((1, 3, 4), -50.0)
        quiet[..., :2] = 1e-6
        assert calibration.judge(quiet).p_values[0] == 1.0
        for fold, size in enumerate((20, 35, 7)):
            loud = quiet.copy()
            loud[0, fold, 1] = np.nan
            assert calibration.judge(loud).p_values[0] == (63 - size) / 63
            assert np.isinf(calibration.judge(loud).combined[0])

    def test_a_score_that_does_not_enter_changes_no_decision(self) -> None:
        _, _, calibration = self.crossed()
        fresh = np.random.default_rng(5).gamma(2.0, size=(9, 3, 4))
        other = fresh.copy()
        other[..., 3] = np.inf
        np.testing.assert_array_equal(calibration.judge(other).p_values, calibration.judge(fresh).p_values)
        np.testing.assert_array_equal(calibration.judge(other).score_p_values[:, 3], 1 / 63)

    def test_sorted_within_each_fold(self) -> None:
        scores, folds, calibration = self.crossed()
        assert calibration.fold_sizes.tolist() == [20, 35, 7]
        assert (calibration.size, calibration.num_folds) == (62, 3)
        start = 0
        for fold, size in enumerate((20, 35, 7)):
            rows = slice(start, start + size)
            np.testing.assert_array_equal(calibration.scores[rows], np.sort(scores[folds == fold], axis=0))
            np.testing.assert_array_equal(
                calibration.combined[rows], np.sort(calibration.combine(scores[folds == fold][:, None])[:, 0])
            )
            start += size

    def test_what_cannot_be_calibrated(self) -> None:
        scores, folds, calibration = self.crossed()
        standardiser = calibration.standardiser
        with pytest.raises(ValueError, match="fold 1 of 3 has no image"):
            calibrate(scores, np.where(folds == 1, 0, folds), standardiser, 2.0)
        with pytest.raises(ValueError, match=r"folds \(n,\) are needed"):
            calibrate(scores, folds[:-1], standardiser, 2.0)
        bad = scores.copy()
        bad[3, 1], bad[3, 2], bad[9, 0] = np.nan, np.inf, np.nan
        with pytest.raises(ValueError, match="2 clean images have scores that are not finite"):
            calibrate(bad, folds, standardiser, 2.0)
        for shape in [(5, 4), (5, 2, 4), (5, 3, 3)]:
            with pytest.raises(ValueError, match=r"scores \(N, 3, 4\) are needed"):
                calibration.judge(np.ones(shape))


class TestBatch:
    def test_exact_under_the_null_including_the_calibration(self) -> None:
        """Simulate calibration and clean batch together: P(p <= 0.05) must not exceed 0.05."""
        rng = np.random.default_rng(0)
        n_cal, n, alpha = 199, 1000, 0.01
        rejected = naive = 0
        for _ in range(1500):
            p = p_values([np.sort(rng.normal(size=n_cal))], rng.normal(size=(n, 1)))
            test = batch_test(int((p <= alpha).sum()), int((p <= 1 / (n_cal + 1)).sum()), n, n_cal, alpha)
            rejected += test.p_value <= 0.05
            naive += stats.binom.sf((p <= alpha).sum() - 1, n, alpha) <= 0.05
        assert rejected / 1500 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)
        assert naive / 1500 > 0.08, "a plain binomial test would have been good enough"

    def test_power_against_a_rare_but_strong_trigger(self) -> None:
        """60 of 10,000 inputs stand out: the flag rate hides them, the maximum does not."""
        test = batch_test(flagged=140, above_all=64, inputs=10_000, calibration_size=2000, alpha=0.01)
        assert test.flagged_p_value > 0.01
        assert test.p_value < 1e-4

    def test_small_batches_cannot_convince(self) -> None:
        assert batch_test(1, 1, 1, 100, 0.01).smallest_attainable > 0.01
        assert batch_test(2, 2, 2, 100, 0.01).smallest_attainable < 0.001

    def test_alpha_below_what_the_calibration_supports(self) -> None:
        test = batch_test(0, 50, 100, 50, 0.01)
        assert test.flagged_p_value == 1.0
        assert test.p_value < 1e-3

    @pytest.mark.parametrize(("share", "n_cal"), [(0.0, 200), (0.05, 200), (0.5, 2000)])
    def test_interval_covers_the_share(self, share: float, n_cal: int) -> None:
        rng = np.random.default_rng(3)
        covered = 0
        for _ in range(300):
            triggered = rng.random(500) < share
            scores = np.where(triggered, 100.0, rng.normal(size=500))
            p = p_values([np.sort(rng.normal(size=n_cal))], scores[:, None])
            interval = triggered_share(int((p <= 0.01).sum()), 500, n_cal, 0.01)
            assert interval.low <= interval.estimate <= interval.high
            covered += interval.low <= share <= interval.high
        assert covered / 300 >= 0.93

    def test_target_class_comes_first(self) -> None:
        ranked = target_classes(np.array([1, 30, 0]), np.array([100, 90, 0]), 500, 0.01)
        assert [c.label for c in ranked] == [1, 0]
        assert ranked[0].p_value < 1e-6 < ranked[1].p_value


class TestPlan:
    @given(st.lists(st.integers(0, 5), min_size=10, max_size=200), st.integers(2, 10))
    def test_folds_are_balanced_in_total_and_by_class(self, classes: list[int], count: int) -> None:
        labels = np.array(classes)
        folds = stratified_folds(labels, count, 0)
        sizes = np.bincount(folds, minlength=count)
        assert sizes.max() - sizes.min() <= 1
        for label in np.unique(labels):
            within = np.bincount(folds[labels == label], minlength=count)
            assert within.max() - within.min() <= 1

    def test_large_reference_is_split_and_small_one_crossed(self) -> None:
        assert plan_calibration(np.arange(5000) % 10, 0).method == "split"
        assert plan_calibration(np.arange(500) % 10, 0).method == "cross-conformal"
        assert plan_calibration(np.arange(5000) % 1000, 0).method == "cross-conformal"

    @pytest.mark.parametrize(("images", "classes"), [(2, 1), (3, 3), (4, 1), (57, 4), (2000, 10)])
    def test_no_density_scores_what_it_fits(self, images: int, classes: int) -> None:
        plan = plan_calibration(np.arange(images) % classes, 0)
        for fit_on, scored in plan.parts():
            assert len(fit_on) > 0
            assert len(scored) > 0
            assert not set(fit_on.tolist()) & set(scored.tolist())
        every = np.concatenate([scored for _, scored in plan.parts()])
        np.testing.assert_array_equal(np.sort(every), plan.unseen())
        assert set(plan.calibration_rows().tolist()) <= set(plan.unseen().tolist())
        assert np.bincount(plan.calibration_folds()).all()

    def test_few_images_get_as_many_folds(self) -> None:
        assert np.sort(plan_calibration(np.zeros(3, np.int64), 0).folds).tolist() == [0, 1, 2]
        with pytest.raises(ValueError, match="at least two images"):
            plan_calibration(np.zeros(1, np.int64), 0)

    def test_split_roles(self) -> None:
        plan = plan_calibration(np.arange(2000) % 10, 0)
        (fit_on, scored) = next(iter(plan.parts()))
        assert (len(fit_on), len(scored), len(plan.calibration_rows())) == (1000, 1000, 800)
        np.testing.assert_array_equal(plan.fit_rows(), fit_on)
        assert not plan.calibration_folds().any()

    @pytest.mark.parametrize("images", [150, 2000])
    def test_calibrating_by_plan(self, images: int) -> None:
        """Which rows standardise and which calibrate, against the definition."""
        plan = plan_calibration(np.arange(images) % 3, 0)
        scores = np.random.default_rng(0).gamma(2.0, size=(len(plan.unseen()), 2))
        found = calibrate_by_plan(scores, np.zeros(2), plan, 2.0, np.ones(2, bool))
        whole = np.full((images, 2), np.nan)
        whole[plan.unseen()] = scores
        standardise_on = whole[plan.folds == 1] if plan.method == "split" else whole
        assert found.standardiser.locations == pytest.approx(np.log(np.median(standardise_on, axis=0)), abs=0.02)
        for fold, sizes in enumerate(found.fold_sizes):
            rows = plan.calibration_rows()[plan.calibration_folds() == fold]
            assert len(rows) == sizes
        np.testing.assert_array_equal(np.sort(found.scores, axis=0), np.sort(whole[plan.calibration_rows()], axis=0))
        with pytest.raises(ValueError, match=f"scores of {len(scores)} images are needed"):
            calibrate_by_plan(scores[1:], np.zeros(2), plan, 2.0, np.ones(2, bool))


@given(data=st.data())
def test_the_loudest_scores_are_the_largest_of_those_that_decide(data: st.DataObject) -> None:
    enters = np.array(data.draw(st.lists(st.booleans(), min_size=1, max_size=6).filter(any)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    clean = rng.normal(size=(30, len(enters)))
    calibration = calibrate(
        clean, np.arange(30) % 3, fit_standardiser(clean, np.full(len(enters), np.nan)), 2.0, enters
    )
    z = rng.permuted(np.tile(np.arange(float(len(enters))), (4, 1)), axis=1)
    z[0, 0] = np.inf
    for row, chosen in zip(z, calibration.loudest(z, 3), strict=True):
        expected = sorted(np.flatnonzero(enters), key=lambda i: -row[i])[:3]
        assert chosen.tolist() == expected
