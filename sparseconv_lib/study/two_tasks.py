"""One data set, two tasks: digits asked for their class, and asked for every pixel.

The images, masks and convolutions are the same, so that task and data are not confounded; the
output layer, the loss and the optimiser are each task's own.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas

from sparseconv_lib.study import numbers, transfer
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.comparisons import Shown
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.protocol import BASELINES
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import (
    NO_BREAK,
    as_html,
    devices,
    mark,
    note,
    signed,
    without_what_lacks,
)
from sparseconv_lib.study.report_depth import (
    NOT_RUN,
    SPARSE,
    errors,
    log_ratio,
    measured,
    records_of,
    unit_of,
)
from sparseconv_lib.study.report_invariance import (
    SHOWN,
    SHOWN_IN_WORDS,
    n_of_seeds,
    shown_among,
    starred,
)
from sparseconv_lib.study.statistics import Summary, paired, summarise
from sparseconv_lib.study.wording import HALF, difference, points, span, with_intervals

PROTOCOL = "digits"
SPARSITIES = (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY)

Label = tuple[str, float, float]  # the other network, trained at, tested at


def errors_table() -> str:
    """Digits asked for every pixel, trained at one sparsity, tested at others."""
    rows, found = [], []
    for p in SPARSITIES:
        cells, some = measured(PROTOCOL, p), records_of(PROTOCOL, p)
        found += some
        for method in PAPERS_NETWORKS:
            own = [record for record in some if record.key.network == method]
            row = {"trained at": f"{p:g}", "network": method, "n": f"{len(own)}{mark(own)}"}
            for q in TEST_SPARSITIES:
                row[f"{q:g}"] = errors(cells.get((method, q), {}))
            rows.append(row)
    if not found:
        return NOT_RUN
    cells = measured(PROTOCOL)
    for method in BASELINES:
        if any(name == method for name, _ in cells):
            row = {"trained at": "–", "network": method, "n": str(len(cells[method, 0.0]))}
            for q in TEST_SPARSITIES:
                row[f"{q:g}"] = errors(cells.get((method, q), {}))
            rows.append(row)
    unit, _ = unit_of(PROTOCOL)
    rows, lacks = without_what_lacks(rows, ["trained at"])
    return as_html(
        pandas.DataFrame(rows),
        f"MNIST, asked for every pixel: mean absolute error in {unit} by the sparsity tested at "
        "(0.95 is 5 % observed), mean ± standard deviation over n seeds. Protocol digits; "
        f"{devices(found)}.{lacks}{note(found)}",
    )


def cost_in_words(trained_at: float = TWO_SPARSITIES[0]) -> str:
    """Asked for the pixels, what a network loses by having been trained at another sparsity."""
    cells, told = measured(PROTOCOL, trained_at), []
    n: set[int] = set()
    beside = {trained_at}
    lacking: dict[str, list[str]] = {}  # where -> the networks that were not run there
    for method in PAPERS_NETWORKS:
        parts, lacks = [], []
        for q in SPARSITIES:
            own = measured(PROTOCOL, q).get((method, q), {})
            if not own:
                lacks.append(f"{q:g}")
            elif q != trained_at and (gap := difference(cells.get((method, q), {}), own)):
                parts.append(f"{_in_unit(gap)} at p = {q:g}")
                n.add(gap.n)
                beside.add(q)
        if parts:
            told.append(f"{method} {in_a_row(parts)}")
        if lacks:
            lacking.setdefault(in_a_row(lacks), []).append(method)
    if not told:
        return f"After training at p = {trained_at:g} digits have not been asked for pixels yet."
    unit, _ = unit_of(PROTOCOL)
    worse = _worse_than_one_map_for_all(trained_at)
    rest = "".join(
        f" {in_a_row(networks)} {'have' if len(networks) > 1 else 'has'} not been trained at "
        f"p = {where} yet."
        for where, networks in lacking.items()
    )
    return (
        f"Asked for every pixel of the same digits, the error of a network trained at "
        f"p = {trained_at:g} minus that of the same network trained where it is tested is, in "
        f"{unit}, ± half of the 95 % interval: {'; '.join(told)} (n = {span(n)}; "
        f"{devices([record for p in sorted(beside) for record in _of_networks(p)])}).{worse}{rest}"
    )


def _worse_than_one_map_for_all(trained_at: float) -> str:
    """Where a network errs more than each pixel's median does, which sees no image; "" if nowhere.

    By the 95 % interval of the difference, not corrected.
    """
    cells, constant = measured(PROTOCOL, trained_at), measured(PROTOCOL)
    told = []
    for method in PAPERS_NETWORKS:
        where = []
        for q in SPARSITIES:
            gap = difference(cells.get((method, q), {}), constant.get(("constant", q), {}))
            if gap is not None and gap.n > 1 and gap.low > 0:
                where.append(f"{_in_unit(gap, sign=False)} at p = {q:g}")
        if where:
            told.append(f"{method} by {in_a_row(where)}")
    if not told:
        return ""
    return (
        f" One map for all, each pixel’s median, errs less than {'; '.join(told)}, if trained at "
        f"p = {trained_at:g}."
    )


def _of_networks(trained_at: float) -> list[Record]:
    """The trainings at one sparsity, without what needs none."""
    return [r for r in records_of(PROTOCOL, trained_at) if r.key.network in PAPERS_NETWORKS]


def _in_unit(gap: Summary, sign: bool = True) -> str:
    half = "" if gap.n == 1 else f" ± {gap.high - gap.mean:.1f}"
    mean = signed(gap.mean, 1) if sign else f"{gap.mean:.1f}"
    return numbers.number(f"{mean}{half}".replace(" ", NO_BREAK), gap)


@dataclass(frozen=True)
class Lead:
    """What the layer has over another network at both tasks, in one cell, seed by seed.

    points: its accuracy minus the other's. error: how much more it errs in grey levels; log_ratio:
    the same as the logarithm of the ratio of their errors.
    """

    points: Sequence[float]
    error: Sequence[float]
    log_ratio: Sequence[float]


def leads() -> dict[Label, Lead]:
    """Cells away from training that have been run at both tasks, by two seeds or more."""
    accuracies, found = transfer.measured("fair"), {}
    for p in SPARSITIES:
        cells = measured(PROTOCOL, p)
        for other in DENSE_NETWORKS:
            for q in SPARSITIES:
                own, others = cells.get((SPARSE, q), {}), cells.get((other, q), {})
                lead = Lead(
                    paired(accuracies.get((SPARSE, p, q), {}), accuracies.get((other, p, q), {})),
                    paired(own, others),
                    log_ratio(own, others),
                )
                if p != q and min(len(lead.points), len(lead.error)) > 1:
                    found[other, p, q] = lead
    return found


def _shown(found: Mapping[Label, Lead]) -> tuple[Shown, Shown]:
    """Which leads are shown in accuracy, and which in error; each after its own correction."""
    return (
        shown_among({label: lead.points for label, lead in found.items()}),
        shown_among({label: lead.log_ratio for label, lead in found.items()}),
    )


def layer_in_words() -> str:
    """How the layer stands beside plain networks at both tasks, away from its training."""
    found = leads()
    if not found:
        return "The layer has not been compared at both tasks by two seeds yet."
    at_decisions, at_values = _shown(found)
    told = []
    for other in DENSE_NETWORKS:
        its = {label: lead for label, lead in found.items() if label[0] == other}
        if not its:
            continue
        gaps = sorted((summarise(lead.points) for lead in its.values()), key=lambda s: s.mean)
        ratios = sorted((summarise(lead.log_ratio) for lead in its.values()), key=lambda s: s.mean)
        more, less, errs_less, errs_more = (
            sum(label in its for label in labels) or "none"
            for labels in (at_decisions.above, at_decisions.below, at_values.below, at_values.above)
        )
        told.append(
            f"Beside {other}, its accuracy differs by {points(gaps[0])} to {points(gaps[-1])} "
            f"points, shown to be more in {more} of {len(its)} cells and less in {less}; it errs "
            f"{_factor(ratios[0])} to {_factor(ratios[-1])} times as much, shown to be less in "
            f"{errs_less} and more in {errs_more}."
        )
    trained, tested = (
        in_a_row([f"{p:g}" for p in sorted({label[i] for label in found})]) for i in (1, 2)
    )
    nearest = _beaten_by_nearest({(p, q) for _, p, q in found})
    seeds = {len(gap) for lead in found.values() for gap in (lead.points, lead.error)}
    return (
        "The same digits and masks were asked for their class, and for every pixel; SparseConvNet "
        f"was trained at p = {trained} and tested elsewhere, at {tested}. {' '.join(told)} "
        f"{nearest}(After Holm’s correction over {len(found)} differences of each task; "
        f"{with_intervals(f'{HALF}, or in brackets', seeds)}.)"
    )


def _factor(log: Summary) -> str:
    """ "0.81 (0.77 to 0.86)": the geometric mean of ratios and its 95 % interval."""
    mean, low, high = (math.exp(value) for value in (log.mean, log.low, log.high))
    return numbers.number(f"{mean:.2f} ({low:.2f} to {high:.2f})", log)


def _beaten_by_nearest(pairs: Collection[tuple[float, float]]) -> str:
    """In how many cells with missing pixels the nearest observed one errs less, on average."""
    nearest = measured(PROTOCOL)
    ahead = []
    for p, q in pairs:
        if not q:  # where all are observed the nearest one is the answer
            continue
        own, its = measured(PROTOCOL, p).get((SPARSE, q), {}), nearest.get(("nearest", q), {})
        if gap := paired(own, its):
            ahead.append(summarise(gap).mean > 0)
    if not ahead:
        return ""
    return (
        f"Where pixels are missing the nearest observed one errs less than it in "
        f"{sum(ahead) or 'none'} of {len(ahead)} cells. "
    )


def layer_table() -> str:
    """What the layer has over plain networks at both tasks, away from its training."""
    found = leads()
    if not found:
        return NOT_RUN
    at_decisions, at_values = _shown(found)
    rows = []
    for p, q in dict.fromkeys((p, q) for _, p, q in found):
        row = {"trained at": f"{p:g}", "tested at": f"{q:g}"}
        for other in DENSE_NETWORKS:
            label = (other, p, q)
            lead = found.get(label, Lead([], [], []))
            row[f"accuracy over {other}"] = starred(lead.points, label in at_decisions)
            star = SHOWN * (label in at_values)
            row[f"error over {other}"] = (
                f"{_in_unit(summarise(lead.error))}{star}" if lead.error else "not run"
            )
        rows.append(row)
    unit, _ = unit_of(PROTOCOL)
    behind = [record for p in SPARSITIES for record in _of_networks(p)]
    gaps = [gap for lead in found.values() for gap in (lead.points, lead.error)]
    return as_html(
        pandas.DataFrame(rows),
        f"{SPARSE} minus the other network, paired by seed, {HALF}: accuracy in points (above 0 is "
        f"better) and mean absolute error in {unit} (below 0 is better). {SHOWN_IN_WORDS} the "
        f"{len(found)} differences of a task, of errors by the logarithm of their ratio. "
        f"{n_of_seeds(gaps)}; errors: {devices(behind)}.{note(behind)}",
    )
