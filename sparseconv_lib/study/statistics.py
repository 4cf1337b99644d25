"""Means, intervals and tests over a handful of seeds.

Pure functions of plain numbers. A value is an accuracy, a fraction in [0, 1], or a difference of
two; the unit is the training seed, so everything here is conditional on one split and one test
set. All intervals and tests are Student's: seeds are taken as independent and roughly normal.

Too little data shows nothing: with n = 1 an interval is (nan, nan) and a test's p is 1. A spread
of zero is believed: the interval is a point, and p is 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from sparseconv_lib.study.traced import Traced, behind

# Accuracies are multiples of 1 / (test images); anything this small is floating-point rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Summary:
    """n values: their mean, standard deviation (n − 1) and the t interval of the mean.

    The mean remembers what the values were computed from, where these do: see `traced`.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float


def summarise(values: Iterable[float], confidence: float = 0.95) -> Summary:
    """Mean, spread and t interval of the mean: mean ± t_{n−1, 1−α/2} · sd / √n  (Student, 1908).

    With n = 1 there is no spread to speak of: sd, low and high are nan. n = 0 raises ValueError.
    """
    values = list(values)
    x = _values(values)
    _check_probability("confidence", confidence)
    mean, sd = _mean_sd(x)
    half = _t_quantile(x.size, 1 - confidence) * sd / math.sqrt(x.size)
    return Summary(x.size, Traced(mean, behind(values)), sd, mean - half, mean + half)


def prediction_interval(
    values: Iterable[float],
    confidence: float = 0.95,
    comparisons: int = 1,
    pooled: tuple[float, int] | None = None,
) -> tuple[float, float]:
    """Where one more run would fall: mean ± t_{n−1, 1−α/(2m)} · sd · √(1 + 1/n).

    Hahn & Meeker, Statistical Intervals, 1991, §4.7; with m = `comparisons` > 1, Bonferroni's
    bound makes the m intervals hold together. This, not the interval of the mean, is what a
    single value published elsewhere is compared with. n = 1 gives (nan, nan).

    pooled: a standard deviation and its degrees of freedom, as `pooled_sd` gives them, to be used
    instead of the values' own sd and n − 1.
    """
    x = _values(values)
    _check_probability("confidence", confidence)
    if comparisons < 1:
        raise ValueError(f"comparisons must be at least 1, not {comparisons}")
    mean, sd = _mean_sd(x)
    sd, freedom = pooled or (sd, x.size - 1)
    half = _t_quantile(freedom + 1, (1 - confidence) / comparisons) * sd * math.sqrt(1 + 1 / x.size)
    return mean - half, mean + half


def pooled_sd(groups: Iterable[Iterable[float]]) -> tuple[float, int]:
    """One standard deviation for groups of equal spread, and its degrees of freedom.

    √(Σ (n_i − 1) sd_i² / Σ (n_i − 1)); groups of one value add nothing. (nan, 0) if all are such.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        x = _values(group)
        squares += float(((x - x.mean()) ** 2).sum())
        freedom += x.size - 1
    sd = math.sqrt(squares / freedom) if freedom else math.nan
    return (0.0 if sd <= _ROUNDING else sd), freedom


def paired(a: Mapping[Any, float], b: Mapping[Any, float]) -> list[float]:
    """a − b, seed by seed, for the seeds that both hold, in a's order; [] if they share none."""
    return [a[seed] - b[seed] for seed in a if seed in b]


def paired_difference(
    a: Mapping[Any, float], b: Mapping[Any, float], confidence: float = 0.95
) -> Summary:
    """Summary of a − b over the seeds that both hold: the paired t interval (Student, 1908).

    a and b map seed → accuracy. Pairing pays because trainings with the same seed share order
    and masks. Raises ValueError when there is no common seed.
    """
    differences = paired(a, b)
    if not differences:
        raise ValueError(f"no common seed: {sorted(map(str, a))} and {sorted(map(str, b))}")
    return summarise(differences, confidence)


def largest_mean(samples: Sequence[Sequence[float]], confidence: float = 0.95) -> Summary:
    """The largest of several means over the same seeds, with an interval for the true largest.

    samples: m of them, n values each. With h_i = sd_i / √n,

        low = max_i  mean_i − t_{n−1, 1−α/(2m)} · h_i,
        high = max_i  mean_i + t_{n−1, 1−α/2} · h_i.

    The true largest lies above high only if it lies above its own upper end, and below low only if
    some mean lies below its own lower end (Bonferroni); so both ends hold together at least at
    1 − α, whatever the samples share. The lower end is the stricter since the largest of noisy
    means leans upwards. Resampling seeds, the obvious choice, covers too rarely at a handful.

    sd is that of the sample whose mean is the largest. n = 1 gives nan, as everywhere here. Raises
    ValueError for no sample, and for samples of unequal length.
    """
    found = [summarise(sample, confidence) for sample in samples]
    if len({summary.n for summary in found}) != 1:
        raise ValueError(f"samples of equal length are needed, not {[len(x) for x in samples]}")
    strict = 1 - (1 - confidence) / len(found)
    largest = max(found, key=lambda summary: summary.mean)
    low = max(summarise(sample, strict).low for sample in samples)
    high = max(summary.high for summary in found)
    return Summary(largest.n, largest.mean, largest.sd, low, high)


def unpaired_proportions(
    a: float, b: float, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """What chance alone gives of a − b, two shares of n each: (half of the interval, p-value).

    Wald's: z · √(a(1 − a)/n + b(1 − b)/n), and the two-sided p of a difference of 0 by the same
    standard error. For two accuracies on n test images whose single answers are not known.
    """
    _check_probability("confidence", confidence)
    if not (0 <= a <= 1 and 0 <= b <= 1) or n < 1:
        raise ValueError(f"two shares in [0, 1] of n ≥ 1 are needed, not {a}, {b} of {n}")
    error = math.sqrt((a * (1 - a) + b * (1 - b)) / n)
    half = float(stats.norm.isf((1 - confidence) / 2)) * error
    if error == 0:
        return half, 1.0 if a == b else 0.0
    return half, float(2 * stats.norm.sf(abs(a - b) / error))


def p_above(values: Iterable[float], bound: float) -> float:
    """One-sided t test of "the mean is > bound": p = P(T_{n−1} ≥ (mean − bound) / (sd / √n)).

    n = 1 gives 1. With sd = 0, p is 0 where the mean is above the bound and 1 where it is not.
    """
    x = _values(values)
    mean, sd = _mean_sd(x)
    if x.size == 1:
        return 1.0
    if sd == 0:
        return 0.0 if mean - bound > _ROUNDING else 1.0
    return float(stats.t.sf((mean - bound) / (sd / math.sqrt(x.size)), x.size - 1))


def p_below(values: Iterable[float], bound: float) -> float:
    """One-sided t test of "the mean is < bound": `p_above` mirrored."""
    return p_above([-v for v in values], -bound)


def p_inside(values: Iterable[float], low: float, high: float) -> float:
    """Two one-sided tests of "the mean is between low and high": the larger of the two p.

    Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987. Below α just when the 1 − 2α
    interval of the mean lies within the bounds; a bound may be infinite. Raises ValueError unless
    low <= high.
    """
    if not low <= high:
        raise ValueError(f"the bounds must be in order: {low}, {high}")
    x = list(values)
    return max(p_above(x, low), p_below(x, high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) · p_(j)).

    Holm, Scandinavian Journal of Statistics 6, 1979. Rejecting where p̃ < α keeps the chance of
    any false rejection among the m tests at α, whatever their dependence.
    """
    p = np.asarray(list(p_values), dtype=float)
    if not np.all((p >= 0) & (p <= 1)):  # nan fails too
        raise ValueError(f"p-values must lie in [0, 1]: {p.tolist()}")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(p.size, 0, -1)))
    adjusted = np.empty_like(p)
    adjusted[order] = steps
    return adjusted.tolist()


def _values(values: Iterable[float]) -> np.ndarray:
    x = np.asarray(list(values), dtype=float)
    if x.ndim != 1 or x.size == 0:
        raise ValueError("no values: at least one is needed")
    if not np.all(np.isfinite(x)):
        raise ValueError(f"values must be finite: {x.tolist()}")
    return x


def _mean_sd(x: np.ndarray) -> tuple[float, float]:
    if x.size == 1:
        return float(x[0]), math.nan
    sd = float(x.std(ddof=1))
    return float(x.mean()), sd if sd > _ROUNDING else 0.0


def _t_quantile(n: int, alpha: float) -> float:
    """t_{n−1, 1−α/2}; nan for n = 1."""
    return float(stats.t.isf(alpha / 2, n - 1)) if n > 1 else math.nan


def _check_probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {value}")
