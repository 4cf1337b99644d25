"""The chapter on invariance in sentences, each computed from the records, each fit to be quoted.

Two networks are compared, as a rule, by the mean of their difference over seeds and half of its
95 % interval. Where one network is looked at along all test sparsities, what counts is what Holm's
correction over them leaves; what it takes away is told in brackets.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import captions, comparisons, ledger, numbers, records, transfer
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.comparisons import Shown
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    FILLS,
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.protocol import full_name
from sparseconv_lib.study.report import devices
from sparseconv_lib.study.report_invariance import (
    KINDS,
    MIXED,
    RESCALED,
    SPARSE,
    fill_protocol,
    gains_behind,
    not_sought,
    on_masks_by_seed,
    records_at,
    regret_in_points,
    seeds_of,
    statistics_gains,
)
from sparseconv_lib.study.statistics import Summary, paired, summarise
from sparseconv_lib.study.transfer import REESTIMATED, Cells, measured, regret
from sparseconv_lib.study.wording import difference, n_of_gaps, percents, points, span

KEPT = "SparseConvNet-kept"
# (trained at, tested at): what a reader is told of first, on fuller images and on sparser ones.
FULLER, SPARSER = (0.8, 0.0), (0.5, 0.95)
HALF = "± half of the 95 % interval"


def claim() -> str:
    """What the rule makes of the paper's claim of invariance, and what it rests on."""
    row = ledger.row_of("uhrig-invariance")
    losses: dict[float, list[str]] = {}  # trained at -> what that loses elsewhere
    seeds: set[int] = set()
    for contrast, cell in zip(row.claim.contrasts(), row.verdict.cells, strict=True):
        if contrast.subtrahend is not None and cell["n"]:
            it = f"{_in_points(cell)} at {contrast.minuend.test:g}"
            losses.setdefault(contrast.subtrahend.train, []).append(it)
            seeds.add(cell["n"])
    if not losses:
        return "Whether SparseConvNet is invariant to the level of sparsity has not been run yet."
    allowed = in_a_row(sorted({f"{contrast.high:g}" for contrast in row.claim.contrasts()}))
    lost = "; ".join(f"trained at p = {p:g}, it loses {in_a_row(its)}" for p, its in losses.items())
    return (
        f"That SparseConvNet is invariant to the level of sparsity is {row.word}. In points, "
        f"against itself trained where it is tested: {lost} "
        f"({_with_intervals(f'{ledger.level(row.claim)}s in brackets', seeds)}); the rule allows "
        f"{allowed}."
    )


def beats() -> str:
    """What the rule makes of the claim that the layer does better away from its training."""
    row = ledger.row_of("uhrig-transfers-better")
    leads: dict[tuple[float, str], list[str]] = {}  # trained at, other network -> its leads
    seeds: set[int] = set()
    for contrast, cell in zip(row.claim.contrasts(), row.verdict.cells, strict=True):
        if contrast.subtrahend is not None and cell["n"]:
            it = f"{_in_points(cell, sign=True)} at {contrast.minuend.test:g}"
            key = contrast.minuend.train, contrast.subtrahend.network
            leads.setdefault(key, []).append(it)
            seeds.add(cell["n"])
    if not leads:
        return (
            "Whether SparseConvNet beats plain convolutions at a sparsity not met in training has "
            "not been run yet."
        )
    trained = in_a_row(sorted({f"{p:g}" for p, _ in leads}))
    told = "; ".join(f"over {other} {in_a_row(its)}" for (_, other), its in leads.items())
    asked = len(row.claim.contrasts())
    return (
        "That SparseConvNet beats plain convolutions at a sparsity not met in training, even those "
        f"that are given the mask, is {row.word}; its rule asks for all {asked}. In points, "
        f"trained at p = {trained}: {told} "
        f"({_with_intervals(f'{ledger.level(row.claim)}s in brackets', seeds)})."
    )


def _with_intervals(intervals: str, seeds: Collection[int]) -> str:
    """How intervals are told, where there are any, and of how many seeds."""
    n = f"n = {span(seeds)}"
    return f"{intervals}, {n}" if max(seeds) > 1 else n


def _in_points(cell: Mapping[str, Any], sign: bool = False) -> str:
    """ "9.2 (8.2 to 10.1)", or the mean alone where there is no interval."""
    mean, low, high = (
        None if cell[name] is None else f"{100 * cell[name]:{'+' * sign}z.1f}".replace("-", "−")
        for name in ("mean", "low", "high")
    )
    told = numbers.number(str(mean), cell["mean"])
    return told if low is None else f"{told} ({low} to {high})"


def at_worst() -> str:
    """How much each network's regret is, where all were trained and where it was."""
    cells = measured("fair")
    sparsities = transfer.shared_diagonal(cells)
    if len(sparsities) < 2:
        return (
            "Too little of the train × test matrix has been run yet to tell the most that a "
            "training sparsity costs (its regret, below)."
        )
    told: list[str] = []
    seeds: set[int] = set()
    for p in TWO_SPARSITIES:
        parts = []
        for network in NETWORKS:
            if summary := regret(cells, network, p, sparsities):
                parts.append(f"{network} {regret_in_points(summary)}")
                seeds.add(summary.n)
        if parts:
            told.append(f"trained at p = {p:g}, {', '.join(parts)}")
    if not told:
        either = " or ".join(f"{p:g}" for p in TWO_SPARSITIES)
        return f"No network has been trained at p = {either} yet."
    return (
        "The most that a training sparsity costs at any of the test sparsities "
        f"{in_a_row([f'{q:g}' for q in sparsities])}, in points against the same network trained "
        f"there: {'; '.join(told)} ({_with_intervals('95 % intervals in brackets', seeds)})."
        f"{not_sought(sparsities)}"
    )


def far(trained_at: float, tested_at: float) -> str:
    """How networks do far from where they were trained."""
    cells = measured("fair")
    here = {
        network: seeds
        for network in PAPERS_NETWORKS
        if (seeds := cells.get((network, trained_at, tested_at)))
    }
    if SPARSE not in here:
        return "No network has been tested far from where it was trained yet."
    scores = ", ".join(f"{network} {percents(seeds)} %" for network, seeds in here.items())
    gaps = [
        f"{points(gap)} against {other}"
        for other in DENSE_NETWORKS
        if (gap := difference(here[SPARSE], here.get(other, {})))
    ]
    told = f" In points, SparseConvNet has {' and '.join(gaps)}." if gaps else ""
    if row := along_the_row(cells, trained_at):
        told += f" {_elsewhere(row)} {comparisons.where(row)}."
    counts = {len(seeds) for seeds in here.values()}
    how = f"mean ± standard deviation; differences with {HALF}"
    return (
        f"Trained at p = {trained_at:g} and tested at p = {tested_at:g}: {scores}.{told} (Digits, "
        f"equal care for every network; {_with_intervals(how, counts)}; "
        f"{devices(records_at('fair', [(trained_at, tested_at)]))}.)"
    )


def along_the_row(
    cells: Cells, p: float, others: Sequence[str] = DENSE_NETWORKS
) -> dict[str, Shown]:
    """Where SparseConvNet, trained at p, differs from others at the sparsities it was not trained.

    Other networks without two seeds in common with it are left out.
    """
    found = {}
    for other in others:
        gaps = {
            q: gap
            for q in TEST_SPARSITIES
            if q != p
            and len(gap := paired(cells.get((SPARSE, p, q), {}), cells.get((other, p, q), {}))) > 1
        }
        if gaps:
            found[other] = comparisons.shown(gaps)
    return found


def on_average() -> str:
    """What the layer is worth over all test sparsities together, by the sparsity of training."""
    cells, told = measured("fair"), []
    taken: list[Summary] = []
    trained: set[float] = set()
    for other in DENSE_NETWORKS:
        gaps = {}
        for p in TEST_SPARSITIES:
            rows = (transfer.over_the_row(cells, n, p, TEST_SPARSITIES) for n in (SPARSE, other))
            if gap := difference(*rows):
                gaps[p] = gap
        parts = [f"{points(gap)} trained at p = {p:g}" for p, gap in gaps.items()]
        if parts:
            told.append(f"against {other} {', '.join(parts)}")
        taken += gaps.values()
        trained |= gaps.keys()
    counts = {gap.n for gap in taken}
    if not told:
        return "What the layer is worth over all test sparsities has not been run yet."
    return (
        f"Averaged over the {len(TEST_SPARSITIES)} test sparsities, SparseConvNet has, in points, "
        f"{'; '.join(told)}. (Digits, equal care for every network; an average chosen with most of "
        f"the records in view; {_with_intervals(f'{HALF}, each by itself', counts)}; "
        f"{devices(records_at('fair', [(p, p) for p in trained]))}.)"
    )


def _elsewhere(found: Mapping[str, Shown]) -> str:
    return (
        f"At the {comparisons.tested(found)} sparsities that it was not trained at, after Holm’s "
        "correction over them (in brackets: only without it), SparseConvNet is shown to be"
    )


def far_in_short() -> str:
    """At which test sparsities the layer is shown to differ from networks without it."""
    cells = measured("fair")
    rows = {p: found for p in TEST_SPARSITIES if (found := along_the_row(cells, p))}
    if not rows:
        return "No network has been tested far from where it was trained yet."
    told = "; ".join(
        f"trained at p = {p:g}, {comparisons.where(found)}" for p, found in rows.items()
    )
    begin = _elsewhere({f"{p} {n}": each for p, row in rows.items() for n, each in row.items()})
    seeds = {
        len(paired(cells.get((SPARSE, p, p), {}), cells.get((other, p, p), {})))
        for p, row in rows.items()
        for other in row
    }
    return f"{begin}, {told}. (n = {span(seeds)}.)"


def dilation() -> str:
    """What dilating the mask is worth away from the training sparsity."""
    cells = measured("fair")
    extremes, rows, seeds, trained = [], [], set(), []
    for p in TEST_SPARSITIES:
        gaps = {
            q: gap
            for q in TEST_SPARSITIES
            if q != p
            and (gap := difference(cells.get((SPARSE, p, q), {}), cells.get((KEPT, p, q), {})))
        }
        if not (row := along_the_row(cells, p, (KEPT,))):
            continue
        least, most = (choose(gaps, key=lambda q: gaps[q].mean) for choose in (min, max))
        extremes.append(
            f"trained at p = {p:g}, from {points(gaps[least])} (tested at {least:g}) to "
            f"{points(gaps[most])} (tested at {most:g})"
        )
        rows.append(f"trained at p = {p:g}, {comparisons.where(row)}")
        seeds |= {gap.n for gap in gaps.values()}
        trained.append((p, p))
    if not rows:
        return "What dilating the mask is worth has not been run by two seeds yet."
    return (
        "Dilating the mask, the line that the source left out, gives SparseConvNet, in points, at "
        f"sparsities that it was not trained at: {'; '.join(extremes)}. After Holm’s correction "
        f"over them (in brackets: only without it) it is shown to be, {'; '.join(rows)}. (The "
        f"least and the most are picked, with single intervals; {HALF}, n = {span(seeds)}; "
        f"{devices(records_at('fair', trained))}.)"
    )


def equal_care(p: float) -> str:
    """Every network against ConvNet, trained and tested at p with equal care."""
    cells = measured("fair")
    gaps = {
        network: gap
        for network in (KEPT, SPARSE, "ConvNet+mask")
        if (gap := _gap_at(cells, network, p))
    }
    if not gaps:
        return f"ConvNet and another network have not both been trained with equal care at {p:g}."
    told = ", ".join(f"{network} {points(gap)}" for network, gap in gaps.items())
    return (
        "With equal care for every network, each trained until two epochs bring nothing better on "
        "held-out images, which chance can bring about early, the differences from ConvNet are, in "
        f"points: {told} "
        f"({_with_intervals(HALF, {gap.n for gap in gaps.values()})}; "
        f"{devices(records_at('fair', [(p, p)]))})."
    )


def batch_norm() -> str:
    """Whether stale statistics are why networks fail away from their training, and what is left."""
    gains = statistics_gains()
    if not gains:
        return "What re-estimating BatchNorm’s statistics gives has not been run by two seeds yet."
    together = comparisons.shown(
        {(network, *cell): gap for network, its in gains.items() for cell, gap in its.items()}
    )
    alone = "; ".join(
        f"{network} better in {_alone(network, together.above, together.above_uncorrected)} and "
        f"worse in {_alone(network, together.below, together.below_uncorrected)}"
        for network in gains
    )
    (p, q), again = FULLER, measured("fair", REESTIMATED)
    there = ", ".join(
        f"{network} {points(summarise(its[p, q]))}"
        for network, its in gains.items()
        if (p, q) in its
    )
    left = {p: row for p in TEST_SPARSITIES if (row := along_the_row(again, p))}
    rest = "; ".join(f"trained at p = {p:g}, {comparisons.where(row)}" for p, row in left.items())
    return (
        f"Of {together.tested} cells off the diagonal, {len(next(iter(gains.values())))} for each "
        "network, re-estimated statistics are shown, after Holm’s correction over all of them, to "
        f"help {_cells(together.above)} and to harm {_cells(together.below)}. By tests of single "
        f"cells: {alone}."
        + (f" Trained at {p:g} and tested at {q:g} they give, in points, {there}." if there else "")
        + (
            " With them SparseConvNet is shown to be, after the correction over the test "
            f"sparsities (in brackets: only without it), {rest}."
            if rest
            else ""
        )
        + f" ({HALF}, {seeds_of(gains)}; {devices(gains_behind(gains))}.)"
    )


def _cells(cells: Sequence[tuple[str, float, float]]) -> str:
    """ "ConvNet trained at 0 and tested at 0.7 and 0.8", or "none"."""
    rows: dict[tuple[str, float], list[str]] = {}
    for network, p, q in cells:
        rows.setdefault((network, p), []).append(f"{q:g}")
    told = [f"{n} trained at {p:g} and tested at {in_a_row(qs)}" for (n, p), qs in rows.items()]
    return "; ".join(told) or "none"


def _alone(network: str, *cells: Sequence[tuple[str, float, float]]) -> str:
    """In how many cells of a network something is shown."""
    return str(sum(cell[0] == network for its in cells for cell in its) or "none")


def cures_far(p: float = FULLER[0], q: float = FULLER[1]) -> str:
    """What each cure gives ConvNet far from where it was trained, in points, paired by seed."""
    plain = measured("fair").get(("ConvNet", p, q), {})
    cures = {
        "dividing its input": (RESCALED, measured(RESCALED).get(("ConvNet", p, q), {})),
        "re-estimating BatchNorm’s statistics": (
            "fair",
            measured("fair", REESTIMATED).get(("ConvNet", p, q), {}),
        ),
        "training at all sparsities instead, those near the tested one among them,": (
            MIXED,
            measured(MIXED).get(("ConvNet", PAPERS_SPARSITY, q), {}),
        ),
    }
    gaps = {cure: gap for cure, (_, seeds) in cures.items() if (gap := difference(seeds, plain))}
    if not gaps:
        return "No cure has been run yet."
    told = "; ".join(f"{cure} {points(gap)}" for cure, gap in gaps.items())
    trained = [
        record
        for name in ("fair", *(name for cure, (name, _) in cures.items() if cure in gaps))
        for record in records.load(transfer.EXPERIMENT, name)
        if record.key.network == "ConvNet"
        and record.key.sparsity == (PAPERS_SPARSITY if name == MIXED else p)
    ]
    return (
        f"What cures give ConvNet, trained at p = {p:g} and tested at p = {q:g}, in points: {told} "
        f"({_with_intervals(HALF, {gap.n for gap in gaps.values()})}; {devices(trained)})."
    )


def mixed() -> str:
    """Whether training at many sparsities makes the layer needless, and what that costs."""
    cells, own, q = measured(MIXED), measured("fair"), TWO_SPARSITIES[-1]
    ends = (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY)

    def trained_at_all(network: str, tested_at: float) -> dict[int, float]:
        return cells.get((network, PAPERS_SPARSITY, tested_at), {})

    replacing = {
        other: _present({
            at: difference(trained_at_all(other, at), own.get((SPARSE, q, at), {})) for at in ends
        })
        for other in DENSE_NETWORKS
    }  # fmt: skip
    alike = {
        other: _present({
            at: difference(trained_at_all(SPARSE, at), trained_at_all(other, at)) for at in ends
        })
        for other in DENSE_NETWORKS
    }  # fmt: skip
    price = _present(
        {n: difference(trained_at_all(n, q), own.get((n, q, q), {})) for n in NETWORKS}
    )
    told = []
    if any(replacing.values()):
        its = [f"{other} {_at(gaps)}" for other, gaps in replacing.items() if gaps]
        told.append(
            "A plain network trained at all sparsities at once has against a "
            f"SparseConvNet trained at p = {q:g} alone: {'; '.join(its)}."
        )
    if any(alike.values()):
        its = [f"{_at(gaps)} against {other}" for other, gaps in alike.items() if gaps]
        told.append(f"Trained at all of them itself, SparseConvNet has {'; '.join(its)}.")
    if price:
        its = [f"{network} {points(gap)}" for network, gap in price.items()]
        told.append(
            f"Tested at p = {q:g} it gives, over a network’s own training there, {', '.join(its)}."
        )
    if not told:
        return "Training at mixed sparsities has not been run yet."
    taken = [gap for by in (*replacing.values(), *alike.values(), price) for gap in by.values()]
    found = [*records.load(transfer.EXPERIMENT, MIXED), *records_at("fair", [(q, q)])]
    return (
        f"{' '.join(told)} (In points; {_with_intervals(HALF, {gap.n for gap in taken})}; "
        f"{devices(found)}.)"
    )


def _present(gaps: Mapping[Any, Summary | None]) -> dict[Any, Summary]:
    """Those differences that there are."""
    return {key: gap for key, gap in gaps.items() if gap}


def _at(gaps: Mapping[float, Summary]) -> str:
    """ "+1.7 ± 0.8 at 0 and −2.4 ± 1.5 at 0.8": by test sparsity."""
    return in_a_row([f"{points(gap)} at {q:g}" for q, gap in gaps.items()])


def same_sparsity() -> str:
    """Trained and tested at one sparsity with equal care: does the layer help?"""
    gaps = _gaps_along_the_diagonal()
    told = [
        f"{network} {', '.join(f'{points(gap)} (p = {p:g})' for p, gap in by.items())}"
        for network, by in gaps.items()
        if by
    ]
    if not told:
        return "ConvNet and another network have not both been trained with equal care yet."
    seeds = {gap.n for by in gaps.values() for gap in by.values()}
    cells = measured("fair")
    beside = [
        f"{points(gap)} (p = {p:g})"
        for p in TEST_SPARSITIES
        if (gap := _gap_at(cells, SPARSE, p, "ConvNet+mask"))
    ]
    if beside:
        told.append(f"and against ConvNet+mask SparseConvNet {', '.join(beside)}")
    return (
        "With equal care for every network, trained and tested at one sparsity, in points against "
        f"ConvNet: {'; '.join(told)} ({_with_intervals(HALF, seeds)})."
    )


def same_sparsity_in_short() -> str:
    """The same without its numbers: at which sparsities a network is told apart from ConvNet."""
    gaps = _gaps_along_the_diagonal()
    tried = sorted({p for by in gaps.values() for p in by})
    if not tried:
        return "ConvNet and another network have not both been trained with equal care yet."
    return (
        f"{captions.differences(gaps, 'ConvNet')}(Tried at p = "
        f"{in_a_row([f'{p:g}' for p in tried])}; "
        f"{n_of_gaps([gap for by in gaps.values() for gap in by.values()])}.)"
    )


def _gaps_along_the_diagonal() -> dict[str, dict[float, Summary]]:
    """Network -> sparsity of training and test -> what it has over ConvNet."""
    cells = measured("fair")
    return {
        network: {p: gap for p in TEST_SPARSITIES if (gap := _gap_at(cells, network, p))}
        for network in NETWORKS[1:]
    }


def _gap_at(cells: Cells, network: str, p: float, other: str = "ConvNet") -> Summary | None:
    """A network against another, both trained and tested at p."""
    return difference(cells.get((network, p, p), {}), cells.get((other, p, p), {}))


def _mixed_over_sparse(p: float) -> dict[str, dict[float, Summary]]:
    """Dense network -> test sparsity -> what it has, trained at all, over a SparseConvNet of p."""
    cells, own = measured(MIXED), measured("fair")
    found: dict[str, dict[float, Summary]] = {}
    for other, q in itertools.product(DENSE_NETWORKS, (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY)):
        mixed_there = cells.get((other, PAPERS_SPARSITY, q), {})
        if gap := difference(mixed_there, own.get((SPARSE, p, q), {})):
            found.setdefault(other, {})[q] = gap
    return found


FILLED = {"value": "0", "mean": "the mean of the observed pixels", "nearest": "the nearest of them"}


def fills() -> str:
    """Whether SparseConvNet wins where 0 is a bad guess, and against a better fill."""
    p, told = TWO_SPARSITIES[-1], []
    taken: list[Summary] = []
    for q, begin in (
        (p, f"Trained and tested at p = {p:g}, SparseConvNet has, in points, "),
        (PAPERS_SPARSITY, f"Trained there and tested at p = {PAPERS_SPARSITY:g}: "),
    ):
        grounds = []
        for ground, name in (("as they are", "digits as they are"), ("inverted", "inverted ones")):
            others = []
            for other in DENSE_NETWORKS:
                gaps = _over_fills(ground, p, q, other)
                if other != "ConvNet":  # the rest is in the table
                    gaps = {fill: gap for fill, gap in gaps.items() if fill == "value"}
                parts = [f"{points(gap)} given {FILLED[fill]}" for fill, gap in gaps.items()]
                if parts:
                    others.append(f"against {other} {in_a_row(parts)}")
                taken += gaps.values()
            if others:
                grounds.append(f"on {name} {', '.join(others)}")
        if grounds:
            told.append(f"{begin}{'; '.join(grounds)}.")
    if not told:
        return "What the fill is worth has not been run yet."
    return (
        f"{_better_guess(p)}{' '.join(told)} (What the other is given stands for a missing pixel; "
        f"{_with_intervals(HALF, {gap.n for gap in taken})}.)"
    )


def _better_guess(p: float) -> str:
    """What is left of the layer's lead on inverted digits where the other has more to go by.

    By single intervals; "" where there is no such lead, or nothing to hold against it.
    """
    bad, leads = _leads(p, p)
    if bad is None or not leads or not bad.low > 0 or any(gap.low > 0 for gap in leads.values()):
        return ""
    _, far_leads = _leads(p, PAPERS_SPARSITY)
    worse = [other for other, gap in far_leads.items() if gap.high < 0]
    lost = (
        f"; tested at p = {PAPERS_SPARSITY:g} it is worse than {in_a_row(worse)}" if worse else ""
    )
    several = "any of " * (len(leads) > 1)
    return (
        f"On inverted digits SparseConvNet, trained at p = {p:g}, is better than ConvNet given 0, "
        f"and not shown to be better than {several}{in_a_row(list(leads))}{lost} (by single "
        "intervals). "
    )


def _leads(p: float, q: float) -> tuple[Summary | None, dict[str, Summary]]:
    """On inverted digits: the layer's lead over a ConvNet given 0, and over those given more."""
    plain = _over_fills("inverted", p, q, "ConvNet")
    bad = plain.pop("value", None)
    leads = {f"ConvNet given {FILLED[fill]}": gap for fill, gap in plain.items()}
    if mask := _over_fills("inverted", p, q, "ConvNet+mask").get("value"):
        leads["ConvNet+mask given 0"] = mask
    return bad, leads


def _over_fills(ground: str, trained_at: float, tested_at: float, other: str) -> dict[str, Summary]:
    """Fill -> SparseConvNet minus another network that is given it."""
    sparse = measured(fill_protocol(ground, "value")).get((SPARSE, trained_at, tested_at), {})
    gaps = {}
    for fill in FILLS:
        dense = measured(fill_protocol(ground, fill)).get((other, trained_at, tested_at), {})
        if gap := difference(sparse, dense):
            gaps[fill] = gap
    return gaps


def kinds(sparsity: float = 0.8) -> str:
    """What moving from one way to be missing to another costs each network."""
    costs: dict[str, dict[str, Summary]] = {}
    for network in PAPERS_NETWORKS:
        for kind in ("block", "scan_line"):
            own = on_masks_by_seed(full_name(f"fair, mask_kind={kind}"), network, sparsity, kind)
            moved = on_masks_by_seed("fair", network, sparsity, kind)
            if gap := difference(own, moved):
                costs.setdefault(network, {})[kind] = gap
    if not costs:
        return _kinds_so_far(sparsity)
    untrained = _sparse_over_others(sparsity, lambda kind: "fair")
    trained = _sparse_over_others(sparsity, lambda kind: full_name(f"fair, mask_kind={kind}"))
    told = []
    if untrained:
        told.append(
            f"Trained on single missing pixels at p = {sparsity:g} and tested on another kind, "
            f"SparseConvNet has {_on_kinds(untrained, 'against ')}."
        )
    if trained:
        told.append(
            f"Trained on that kind itself, it has {_on_kinds(trained, 'against ')}."
            if untrained
            else f"Trained at p = {sparsity:g} and tested on one kind, SparseConvNet has "
            f"{_on_kinds(trained, 'against ')}."
        )
    told.append(f"Not having met the kind in training costs {_on_kinds(costs)}.")
    taken = [gap for by in (costs, untrained, trained) for its in by.values()
             for gap in its.values()]  # fmt: skip
    intervals = _with_intervals(HALF, {gap.n for gap in taken})
    return f"{_on_another_kind(untrained)}{' '.join(told)} (In points; {intervals}.)"


def _on_another_kind(leads: Mapping[str, Mapping[str, Summary]]) -> str:
    """How the layer stands on kinds that it was not trained on, where they agree; else "".

    leads: other network -> kind of mask -> what SparseConvNet has over it. By single intervals.
    """
    told = []
    for other, its in leads.items():
        signs = {(gap.low > 0) - (gap.high < 0) for gap in its.values() if gap.n > 1}
        words = {1: "better than", 0: "not told apart from", -1: "worse than"}
        if len(signs) == 1:
            told.append(f"{words[signs.pop()]} {other}")
    if not told:
        return ""
    return (
        f"Tested on a kind that it was not trained on, SparseConvNet is {in_a_row(told)} (by "
        "single intervals). "
    )


def _on_kinds(gaps: Mapping[str, Mapping[str, Summary]], before: str = "") -> str:
    """ "against ConvNet −1.7 ± 4.6 on blocks and +1.5 ± 4.4 on scan lines, against ...".

    gaps: network -> kind of mask -> a difference.
    """
    return ", ".join(
        f"{before}{network} "
        f"{in_a_row([f'{points(gap)} on {KINDS[kind]}' for kind, gap in its.items()])}"
        for network, its in gaps.items()
    )


def _sparse_over_others(
    sparsity: float, trained_on: Callable[[str], str]
) -> dict[str, dict[str, Summary]]:
    """Other network -> kind of mask tested -> what SparseConvNet has over it.

    trained_on: kind of mask that is tested -> protocol of the training.
    """
    found: dict[str, dict[str, Summary]] = {}
    for other in DENSE_NETWORKS:
        for kind in ("block", "scan_line"):
            sparse, dense = (
                on_masks_by_seed(trained_on(kind), network, sparsity, kind)
                for network in (SPARSE, other)
            )
            if gap := difference(sparse, dense):
                found.setdefault(other, {})[kind] = gap
    return found


def _kinds_so_far(sparsity: float) -> str:
    """The same before any network has been trained on another kind."""
    told, several = [], False
    for network in PAPERS_NETWORKS:
        block, line = (
            on_masks_by_seed("fair", network, sparsity, kind) for kind in ("block", "scan_line")
        )
        if block and line:
            told.append(f"{network} {percents(block)} and {percents(line)}")
            several = several or len(block) > 1
    lacking = "Training on blocks or scan lines has not been run yet."
    if not told:
        return lacking
    return (
        f"Trained on single missing pixels at p = {sparsity:g}, tested with as many missing in "
        f"blocks and in scan lines, accuracies in per cent"
        f"{', mean ± standard deviation,' * several} are: {'; '.join(told)}. {lacking}"
    )


def photographs() -> str:
    """The same question on Caltech-101: the cells that are told first, of digits as well."""
    cells, told = measured("caltech101"), []
    taken: list[Summary] = []
    for p, q in (FULLER, SPARSER):
        gaps = {
            other: gap
            for other in DENSE_NETWORKS
            if (gap := difference(cells.get((SPARSE, p, q), {}), cells.get((other, p, q), {})))
        }
        if gaps:
            its = in_a_row([f"{points(gap)} against {other}" for other, gap in gaps.items()])
            told.append(f"trained at p = {p:g} and tested at p = {q:g}, {its}")
            taken += gaps.values()
    if not told:
        return "On photographs the train × test matrix has not been run yet; it asks for a GPU."
    return (
        f"On photographs SparseConvNet has, in points, {'; '.join(told)} "
        f"({_with_intervals(HALF, {gap.n for gap in taken})}; "
        f"{devices(records.load(transfer.EXPERIMENT, 'caltech101'))})."
    )


def _far_on_fuller() -> str:
    return far(*FULLER)


def _far_as_in_the_paper() -> str:
    return far(PAPERS_SPARSITY, 0.0)


def _far_on_sparser() -> str:
    return far(*SPARSER)


# The chapter's questions, and what answers each in words that may be quoted.
FINDINGS: dict[str, Callable[[], str]] = {
    "Is the layer invariant?": claim,
    "Does it beat plain convolutions where it was not trained?": beats,
    "Over all test sparsities together?": on_average,
    "Trained with few pixels, tested with all of them?": _far_on_fuller,
    "Trained as the original paper did, with fewer yet?": _far_as_in_the_paper,
    "Trained with half of them, tested with few?": _far_on_sparser,
    "What does a training sparsity cost at worst?": at_worst,
    "Is BatchNorm the reason?": batch_norm,
    "Does the mask have to be dilated?": dilation,
    "Does training at all sparsities do as well?": mixed,
    "Where it was trained, with equal care?": same_sparsity,
    "Where 0 is a bad guess?": fills,
    "Where pixels go missing in another way?": kinds,
    "On photographs?": photographs,
}
