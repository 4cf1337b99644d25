"""The study's statistics against scipy, statsmodels, simulation and their own degenerate cases."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats import multitest, weightstats

from sparseconv_lib.study import statistics
from sparseconv_lib.study.traced import Traced, behind

VALUES = [0.912, 0.918, 0.909, 0.921, 0.915, 0.911]
DIFFERENCES = [0.002, -0.001, 0.004, 0.003, 0.0005, 0.001, -0.002]

accuracies = st.lists(st.floats(0, 1), min_size=2, max_size=12)
p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


# Against other implementations --------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_summary_is_scipys_t_interval(confidence):
    s = statistics.summarise(VALUES, confidence)
    expected = stats.ttest_1samp(VALUES, 0).confidence_interval(confidence)
    assert (s.n, s.mean) == (6, pytest.approx(np.mean(VALUES)))
    assert s.sd == pytest.approx(np.std(VALUES, ddof=1))
    assert (s.low, s.high) == pytest.approx(tuple(expected))


def test_paired_difference_is_the_paired_t_interval_of_common_seeds():
    a = dict(enumerate(VALUES)) | {98: 0.1}
    b = {99: 0.7} | {i: v - d for i, (v, d) in enumerate(zip(VALUES, DIFFERENCES, strict=False))}
    d = statistics.paired_difference(a, b)
    expected = stats.ttest_rel(VALUES, [b[i] for i in range(6)]).confidence_interval(0.95)
    assert d.n == 6
    assert (d.low, d.high) == pytest.approx(tuple(expected))


def test_prediction_interval_is_statsmodels_regression_on_a_constant():
    ols = OLS(VALUES, np.ones(len(VALUES))).fit()
    frame = ols.get_prediction([1.0]).summary_frame(alpha=0.05)
    expected = (frame["obs_ci_lower"].item(), frame["obs_ci_upper"].item())
    assert statistics.prediction_interval(VALUES) == pytest.approx(expected)
    bonferroni = ols.get_prediction([1.0]).summary_frame(alpha=0.05 / 20)
    low, high = statistics.prediction_interval(VALUES, comparisons=20)
    assert low == pytest.approx(bonferroni["obs_ci_lower"].item())
    assert high == pytest.approx(bonferroni["obs_ci_upper"].item())


@pytest.mark.parametrize("margin", [0.0005, 0.002, 0.005])
def test_equivalence_is_statsmodels_tost(margin):
    d = np.array(DIFFERENCES)
    p, *_ = weightstats.ttost_paired(d, np.zeros_like(d), -margin, margin)
    assert statistics.p_inside(DIFFERENCES, -margin, margin) == pytest.approx(p)


def test_one_sided_tests_are_scipys():
    less = stats.ttest_1samp(DIFFERENCES, 0.003, alternative="less").pvalue
    greater = stats.ttest_1samp(DIFFERENCES, -0.003, alternative="greater").pvalue
    assert statistics.p_below(DIFFERENCES, 0.003) == pytest.approx(less)
    assert statistics.p_above(DIFFERENCES, -0.003) == pytest.approx(greater)
    # One bound at infinity leaves the other test.
    assert statistics.p_inside(DIFFERENCES, -math.inf, 0.003) == pytest.approx(less)
    assert statistics.p_inside(DIFFERENCES, -0.003, math.inf) == pytest.approx(greater)


@pytest.mark.parametrize("m", [1, 2, 10, 20])
def test_holm_is_statsmodels(m):
    for p in np.random.default_rng(m).beta(0.3, 2, (5, m)).round(3):  # many small, some tied
        assert statistics.holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


# Coverage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 5, 10])
def test_prediction_interval_covers_one_more_run(n):
    rng = np.random.default_rng(n)
    runs = rng.normal(0.9, 0.003, (2000, n + 1))
    intervals = [statistics.prediction_interval(run) for run in runs[:, :n]]
    hits = [low <= x <= high for (low, high), x in zip(intervals, runs[:, n], strict=True)]
    assert np.mean(hits) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / len(hits)))


def test_bonferroni_holds_for_all_comparisons_together():
    rng, m = np.random.default_rng(1), 5
    runs = rng.normal(0.9, 0.003, (500, m, 6))
    all_inside = []
    for table in runs:
        intervals = [statistics.prediction_interval(row[:5], comparisons=m) for row in table]
        all_inside.append(
            all(lo <= row[5] <= hi for (lo, hi), row in zip(intervals, table, strict=True))
        )
    assert np.mean(all_inside) > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 500)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_interval_of_the_mean_covers_it_at_its_rate(n):
    rng = np.random.default_rng(20 + n)
    summaries = [statistics.summarise(run, 0.9) for run in rng.normal(0.9, 0.003, (3000, n))]
    hits = np.mean([s.low <= 0.9 <= s.high for s in summaries])
    assert hits == pytest.approx(0.9, abs=4 * math.sqrt(0.9 * 0.1 / 3000))


def test_the_paired_interval_covers_whatever_the_pairs_share():
    """Each seed brings its own good or bad luck to both; the difference does not feel it."""
    rng = np.random.default_rng(31)
    hits = 0
    for luck, own in zip(
        rng.normal(0, 0.05, (2000, 5)), rng.normal(0, 0.004, (2000, 5)), strict=True
    ):
        a, b = dict(enumerate(0.91 + luck + own)), dict(enumerate(0.9 + luck))
        found = statistics.paired_difference(a, b)
        hits += found.low <= 0.01 <= found.high
    assert hits / 2000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize("test", [statistics.p_above, statistics.p_below])
def test_a_one_sided_test_errs_at_its_level(test):
    """On the border itself, p is uniform: below 0.05 in one of twenty."""
    rng = np.random.default_rng(41)
    p = [test(run, 0.9) for run in rng.normal(0.9, 0.003, (3000, 4))]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=4 * math.sqrt(0.0475 / 3000))
    assert stats.kstest(p, "uniform").pvalue > 1e-4


LOSSES = {
    "one far above the rest": (0, 0, 0, 0, 0, 0.05, 0.2),
    "two near each other": (0, 0, 0, 0, 0.01, 0.1, 0.105),
    "all the same": (0.02,) * 7,
}


def drawn(means, n, times):
    """Samples (times, m, n) whose values share, at each seed, half of their variance."""
    rng = np.random.default_rng(n)
    spread = rng.normal(0, 0.007, (times, len(means), n)) + rng.normal(0, 0.007, (times, 1, n))
    return np.array(means)[:, None] + spread


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("means", LOSSES.values(), ids=LOSSES)
def test_the_interval_of_the_largest_mean_covers_at_least_at_its_rate(means, n):
    found = [statistics.largest_mean(samples) for samples in drawn(means, n, 1000)]
    above = np.mean([summary.high < max(means) for summary in found])
    below = np.mean([summary.low > max(means) for summary in found])
    assert max(above, below) < 0.025 + 3 * math.sqrt(0.025 / 1000)
    assert above + below < 0.05 + 3 * math.sqrt(0.05 / 1000)


@pytest.mark.parametrize("means", LOSSES.values(), ids=LOSSES)
def test_to_resample_five_seeds_would_cover_too_rarely(means):
    """Why the interval of the largest mean is not the bootstrap that first comes to mind."""
    resamples = np.array(list(itertools.product(range(5), repeat=5)))
    hits = 0
    for samples in drawn(means, 5, 200):
        largest = samples[:, resamples].mean(2).max(0)
        low, high = np.percentile(largest, (2.5, 97.5))
        hits += low <= max(means) <= high
    assert hits / 200 < 0.93


def test_the_largest_mean_of_one_sample_is_its_mean():
    values = [0.91, 0.93, 0.9]
    assert statistics.largest_mean([values], 0.9) == statistics.summarise(values, 0.9)


def test_the_interval_of_the_largest_mean_is_wider_below_by_bonferroni():
    samples = np.array([[0.1, 0.3, 0.2], [0.4, 0.6, 0.8], [0.5, 0.5, 0.5]])
    error = samples.std(1, ddof=1) / math.sqrt(3)
    found = statistics.largest_mean(samples.tolist(), 0.9)
    assert (found.n, found.mean, found.sd) == pytest.approx((3, 0.6, samples[1].std(ddof=1)))
    assert found.low == pytest.approx(0.5)  # that of the third, which has no spread
    assert found.high == pytest.approx(max(samples.mean(1) + stats.t.isf(0.05, 2) * error))
    spread = statistics.largest_mean(samples[:2].tolist(), 0.9)
    assert spread.low == pytest.approx(
        max(samples[:2].mean(1) - stats.t.isf(0.05 / 2, 2) * error[:2])
    )


def test_one_seed_has_a_largest_value_and_no_interval():
    found = statistics.largest_mean([[0.1], [0.3]])
    assert (found.n, found.mean) == (1, 0.3)
    assert np.isnan([found.sd, found.low, found.high]).all()


def test_holm_errs_anywhere_in_at_most_one_family_of_twenty():
    rng = np.random.default_rng(51)
    families = [statistics.holm(p) for p in rng.uniform(size=(3000, 6))]  # nothing to be found
    wrong = np.mean([min(adjusted) < 0.05 for adjusted in families])
    assert wrong <= 0.05 + 4 * math.sqrt(0.0475 / 3000)
    assert wrong > 0.03  # 1 − (1 − 0.05 / 6)^6 is 0.049


def test_the_interval_of_two_shares_covers_at_its_rate():
    rng, n = np.random.default_rng(61), 1736
    hits = 0
    for a, b in zip(rng.binomial(n, 0.55, 2000) / n, rng.binomial(n, 0.52, 2000) / n, strict=True):
        half, _ = statistics.unpaired_proportions(a, b, n)
        hits += abs(a - b - 0.03) <= half
    assert hits / 2000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))


# Degenerate cases ---------------------------------------------------------------------------


def test_the_pooled_spread_is_that_of_an_analysis_of_variance():
    """sd² and its degrees of freedom are the residual mean square of a one-way layout."""
    groups = [[0.1, 0.4, 0.3], [0.9], [0.5, 0.7], [0.2, 0.2, 0.8, 0.1]]
    y = np.concatenate(groups)
    levels = np.repeat(range(len(groups)), [len(group) for group in groups])
    import statsmodels.api as sm  # slow to import

    fit = sm.OLS(y, (levels[:, None] == range(len(groups))).astype(float)).fit()
    sd, freedom = statistics.pooled_sd(groups)
    assert freedom == fit.df_resid
    assert sd**2 == pytest.approx(fit.mse_resid)
    # One group alone: its own sd, and with it the same prediction interval as without pooling.
    alone = statistics.pooled_sd([groups[3]])
    assert statistics.prediction_interval(groups[3], pooled=alone) == pytest.approx(
        statistics.prediction_interval(groups[3])
    )
    assert math.isnan(statistics.pooled_sd([[0.5], [0.7]])[0])
    assert statistics.pooled_sd([[0.5, 0.5], [0.7, 0.7]]) == (0.0, 2)


def test_a_pooled_prediction_interval_covers_one_more_run():
    rng = np.random.default_rng(5)
    hits, trials = 0, 2000
    for _ in range(trials):
        groups = rng.normal(size=(4, 3)) + np.arange(4)[:, None]
        low, high = statistics.prediction_interval(groups[1], 0.9, 1, statistics.pooled_sd(groups))
        hits += low <= rng.normal() + 1 <= high
    assert abs(hits / trials - 0.9) < 4 * math.sqrt(0.9 * 0.1 / trials)


def test_one_value_has_no_spread_and_shows_nothing():
    s = statistics.summarise([0.9])
    assert (s.n, s.mean) == (1, 0.9)
    assert all(math.isnan(x) for x in (s.sd, s.low, s.high))
    assert all(math.isnan(x) for x in statistics.prediction_interval([0.9]))
    assert statistics.p_inside([0.0], -0.1, 0.1) == 1.0


def test_zero_spread_is_believed():
    s = statistics.summarise([0.1, 0.1, 0.1])
    assert (s.sd, s.low, s.high) == pytest.approx((0, 0.1, 0.1))
    assert statistics.prediction_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1))
    same = [0.9 - 0.8, 0.8 - 0.7, 0.7 - 0.6]  # equal but for rounding
    assert statistics.p_below(same, 0.11) == 0.0
    assert statistics.p_below(same, 0.1) == 1.0  # on the bound
    assert statistics.p_below(same, 0.09) == 1.0
    assert statistics.p_inside([0.0, 0.0], -0.001, 0.001) == 0.0
    assert statistics.p_inside([0.0, 0.0], 0.0, 0.0) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.summarise([]), "^no values: at least one is needed$"),
        (lambda: statistics.summarise([0.9, math.nan]), "finite"),
        (lambda: statistics.summarise([0.9], 95), "confidence"),
        (lambda: statistics.prediction_interval([]), "at least one"),
        (lambda: statistics.prediction_interval([0.9], comparisons=0), "comparisons"),
        (lambda: statistics.paired_difference({1: 0.9}, {2: 0.9}), "no common seed"),
        (lambda: statistics.largest_mean([]), r"equal length are needed, not \[\]$"),
        (lambda: statistics.largest_mean([[1, 2], [1]]), r"needed, not \[2, 1\]$"),
        (lambda: statistics.p_inside([], -0.1, 0.1), "at least one"),
        (lambda: statistics.p_inside([0.1], 0.1, -0.1), "in order"),
        (lambda: statistics.p_inside([0.1], math.nan, 0.1), "in order"),
        (lambda: statistics.holm([0.5, math.nan]), r"\[0, 1\]"),
        (lambda: statistics.holm([1.5]), r"\[0, 1\]"),
    ],
)
def test_nonsense_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("confidence", [0, 1, 1.5, -0.5, math.nan])
@pytest.mark.parametrize(
    "call",
    [
        lambda c: statistics.summarise(VALUES, c),
        lambda c: statistics.prediction_interval(VALUES, c),
        lambda c: statistics.paired_difference({1: 0.9, 2: 0.8}, {1: 0.7, 2: 0.7}, c),
        lambda c: statistics.unpaired_proportions(0.5, 0.4, 10, c),
        lambda c: statistics.largest_mean([VALUES], c),
    ],
)
def test_a_confidence_that_is_none_is_named(call, confidence):
    with pytest.raises(
        ValueError, match=rf"^confidence must lie between 0 and 1, not {confidence}$"
    ):
        call(confidence)


def test_holm_of_nothing_is_nothing():
    assert statistics.holm([]) == []


def test_whole_numbers_and_fractions_are_numbers():
    exact = [Fraction(1, 8), Fraction(1, 2), 1]
    assert statistics.summarise(exact) == statistics.summarise([0.125, 0.5, 1.0])
    adjusted = statistics.holm([Fraction(1, 64), Fraction(1, 2), 0])
    assert adjusted == [0.03125, 0.5, 0.0] and {type(p) for p in adjusted} == {float}


def test_a_mean_remembers_what_it_was_computed_from():
    a, b = (Traced(value, (name,)) for value, name in ((0.5, "a"), (0.75, "b")))
    assert behind([statistics.summarise([a, b]).mean]) == behind([a, b]) == {"a", "b"}
    found = statistics.paired_difference({1: a}, {1: b}).mean
    assert behind([found]) == behind([a, b])


def test_a_paired_difference_has_the_confidence_that_was_asked_for():
    a, b = (dict(enumerate(values)) for values in (VALUES, DIFFERENCES))
    expected = stats.ttest_rel(VALUES, DIFFERENCES[:6]).confidence_interval(0.6)
    found = statistics.paired_difference(a, b, 0.6)
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_a_spread_of_rounding_is_none():
    tenths = [0.1 + 0.2, 0.3, 0.3]
    assert np.std(tenths) > 0
    assert statistics.pooled_sd([tenths, [0.5, 0.5]]) == (0.0, 3)
    # On the border of what is rounding, a mean is not above.
    assert statistics.p_above([0.0, 0.0], -1e-12) == 1.0
    assert statistics.p_above([0.0, 0.0], -2e-12) == 0.0


# Properties ---------------------------------------------------------------------------------


@given(accuracies, st.integers(1, 20))
def test_intervals_nest(values, m):
    s = statistics.summarise(values)
    low, high = statistics.prediction_interval(values)
    wide = statistics.prediction_interval(values, comparisons=m)
    slack = 1e-12
    assert wide[0] - slack <= low <= s.low + slack
    assert s.high - slack <= high <= wide[1] + slack
    assert s.low - slack <= s.mean <= s.high + slack


@given(accuracies, st.floats(0.0001, 0.2))
def test_two_one_sided_tests_are_the_90_percent_interval(values, margin):
    differences = [v - 0.5 for v in values]
    whole = statistics.p_inside(differences, -margin, margin)
    s = statistics.summarise(differences, 0.9)
    assume(min(abs(s.low + margin), abs(s.high - margin)) > 1e-9)
    assert (whole < 0.05) == (-margin < s.low and s.high < margin)


@given(accuracies, st.floats(0, 1))
def test_a_mean_is_never_shown_on_both_sides(values, bound):
    assert statistics.p_above(values, bound) + statistics.p_below(values, bound) >= 1 - 1e-9


@given(p_lists)
def test_holm_never_lowers_and_keeps_the_order(p):
    adjusted = statistics.holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert all(a <= 1 for a in adjusted)
    by_p = [a for _, a in sorted(zip(p, adjusted, strict=True))]
    assert by_p == sorted(by_p)


@given(st.dictionaries(st.integers(0, 9), st.floats(0, 1), min_size=1), st.data())
def test_pairing_ignores_order_and_extra_seeds(a, data):
    keys = data.draw(st.permutations(sorted(a)))
    b = {k: a[k] for k in keys} | {100: 0.5}
    assert statistics.paired(a, b) == [0.0] * len(a)


@pytest.mark.parametrize("a, b, n", [(0.5927, 0.5501, 1736), (0.9, 0.4, 50), (0.5, 0.5, 10)])
def test_unpaired_proportions_are_statsmodels(a, b, n):
    from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep

    counts = round(a * n), n, round(b * n), n
    a, b = counts[0] / n, counts[2] / n
    half, p = statistics.unpaired_proportions(a, b, n)
    low, high = confint_proportions_2indep(*counts, method="wald")
    assert (a - b - half, a - b + half) == pytest.approx((low, high))
    assert p == pytest.approx(test_proportions_2indep(*counts, method="wald").pvalue)


def test_unpaired_proportions_at_the_ends():
    assert statistics.unpaired_proportions(1.0, 1.0, 10) == (0.0, 1.0)
    assert statistics.unpaired_proportions(1.0, 0.0, 10) == (0.0, 0.0)
    assert statistics.unpaired_proportions(0.0, 0.5, 1) == pytest.approx((1.959964 / 2, 0.3173105))
    for bad in ((1.2, 0.5, 10), (0.5, -0.1, 10), (0.5, 1.5, 10), (-0.1, 0.5, 10), (0.5, 0.5, 0)):
        with pytest.raises(ValueError, match="two shares"):
            statistics.unpaired_proportions(*bad)
