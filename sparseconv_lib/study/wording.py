"""Numbers as sentences and tables tell them: differences in points, accuracies, how many seeds."""

from collections.abc import Collection, Iterable, Mapping

from sparseconv_lib.study import numbers
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.report import NO_BREAK, signed
from sparseconv_lib.study.statistics import Summary, paired_difference, summarise

HALF = "± half of the 95 % interval"
UNCORRECTED = f"{HALF}, not corrected for the number of differences"


def difference(a: Mapping[int, float], b: Mapping[int, float]) -> Summary | None:
    """What a has over b, seed -> value each, paired by seed; None without a seed in common."""
    return paired_difference(a, b) if a.keys() & b.keys() else None


def points(summary: Summary | None) -> str:
    """ "+1.2 ± 0.4": a difference in points and half of its 95 % interval, if there is one."""
    if summary is None:
        return "not run"
    half = "" if summary.n == 1 else f" ± {100 * (summary.high - summary.mean):.1f}"
    told = f"{signed(100 * summary.mean, 1)}{half}".replace(" ", NO_BREAK)
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def percents(seeds: Mapping[int, float]) -> str:
    """ "91.20 ± 0.31", or "not run"."""
    if not seeds:
        return "not run"
    summary = summarise(seeds.values())
    spread = "" if summary.n == 1 else f" ± {100 * summary.sd:.2f}"
    told = f"{100 * summary.mean:.2f}{spread}".replace(" ", NO_BREAK)
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def span(values: Collection[int]) -> str:
    """ "4", or "4 to 19": the least and the most."""
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def n_of_gaps(gaps: Iterable[Summary]) -> str:
    """ "n = 5", or "n = 3 to 5": over how many seeds differences were taken."""
    return f"n = {span({gap.n for gap in gaps})}"


def with_intervals(intervals: str, seeds: Collection[int]) -> str:
    """How intervals are told, where there are any, and of how many seeds."""
    n = f"n = {span(seeds)}"
    return f"{intervals}, {n}" if max(seeds) > 1 else n


def at_each(gaps: Mapping[float, Summary]) -> str:
    """ "+1.7 ± 0.8 at 0 and −2.4 ± 1.5 at 0.8": by test sparsity."""
    return in_a_row([f"{points(gap)} at {q:g}" for q, gap in gaps.items()])
