"""The chapter on invariance in short answers, each computed from the records, each to be quoted.

Two networks are compared, as a rule, by the mean of their difference over seeds and half of its
95 % interval. Where many cells are looked at, what counts is what Holm's correction leaves. Every
number beyond that is in a table of the chapter.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from scipy.stats import t

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import (
    comparisons,
    confounds_in_words,
    cures_in_words,
    ledger,
    numbers,
    records,
    transfer,
    whole_matrix,
)
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.claims import Contrast
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.ledger import Row
from sparseconv_lib.study.report import HEADLINE_SPARSITY, NO_BREAK, devices, signed
from sparseconv_lib.study.report_invariance import (
    FULLER,
    KEPT,
    SPARSE,
    SPARSER,
    by_seed,
    diagonal,
    given_back,
    leads,
    n_of_seeds,
    not_sought,
    records_at,
    regret_in_points,
    shown_among,
    shown_elsewhere,
    statistics_gains,
)
from sparseconv_lib.study.statistics import Summary, summarise
from sparseconv_lib.study.transfer import REESTIMATED, RUNNING, measured, regret
from sparseconv_lib.study.wording import (
    HALF,
    UNCORRECTED,
    at_each,
    difference,
    n_of_gaps,
    percents,
    points,
    span,
    with_intervals,
)

PHOTOGRAPHS_TESTED_AT = (0.0, 0.5, 0.8, 0.9)
CHANCE = 0.1  # of ten digits, which are about equally frequent
LeadsBy = Mapping[str, Mapping[float, Summary]]  # plain network -> test sparsity -> the lead
REGRETTED = (*TWO_SPARSITIES, *TEST_SPARSITIES[-2:])  # training sparsities, of whose regret is told


def claim() -> str:
    """What the rule makes of the paper's claim of invariance, and what it rests on."""
    row = ledger.row_of("uhrig-invariance")
    run = list(_run(row))
    if not run:
        return "Whether SparseConvNet is invariant to the level of sparsity has not been run yet."
    return (
        f"The claim that SparseConvNet is invariant to the level of sparsity is {row.word}: "
        f"{_most_lost(run)}, the most of the {len(row.claim.contrasts())} test sparsities of its "
        f"rule. The rule allows {_allowed(run)}{_shown_to_lose(run)} "
        f"({_as_the_rule_reads(row, run)})."
    )


def beats() -> str:
    """What the rule makes of the claim that the layer does better away from its training."""
    row = ledger.row_of("uhrig-transfers-better")
    run = list(_run(row))
    if not run:
        return (
            "Whether SparseConvNet beats plain convolutions at a sparsity not met in training has "
            "not been run yet."
        )
    above, below = _above_and_below(run)
    by: dict[float, dict[str, list[str]]] = {}  # trained at -> other network -> leads over it
    for contrast, cell in run:
        it = f"{_with_half(cell, sign=True)} at {contrast.minuend.test:g}"
        others = by.setdefault(contrast.minuend.train, {})
        others.setdefault(contrast.subtrahend.network, []).append(it)
    told = "; ".join(
        f"trained at p = {p:g}, "
        + "; ".join(f"over {other} {in_a_row(its)}" for other, its in others.items())
        for p, others in by.items()
    )
    return (
        "The claim that SparseConvNet beats plain convolutions at a sparsity not met in training, "
        f"even those that are given the mask, is {row.word}: its rule asks that each of "
        f"{len(row.claim.contrasts())} leads be shown to be above 0, and by its own test, "
        f"one-sided and not corrected, {above}; after Holm’s correction {below} shown to be below. "
        f"They are, in points, {told} "
        f"({_as_the_rule_reads(row, run)})."
    )


def claims_in_short() -> str:
    """Both claims of the original paper with the number that comes first, for the first page."""
    rows = [ledger.row_of(name) for name in ("uhrig-invariance", "uhrig-transfers-better")]
    lost, ahead = (list(_run(row)) for row in rows)
    if not lost or not ahead:
        return f"{claim()} {beats()}"
    # Plain network -> where the layer is above it by the rule's test, and where below by the same.
    by: dict[str, list[str]] = {}
    below_by: dict[str, list[str]] = {}
    for contrast, cell in ahead:
        other, where = contrast.subtrahend.network, f"{contrast.minuend.test:g}"
        by.setdefault(other, []).extend([where] * bool(cell["inside"]))
        is_below = cell["high"] is not None and cell["high"] < 0
        below_by.setdefault(other, []).extend([where] * is_below)
    above = " and of ".join(
        f"{other} {f'at {in_a_row(at)}' if at else 'nowhere'}" for other, at in by.items()
    )
    behind = in_a_row(
        [f"{other} at {in_a_row(at)}" for other, at in below_by.items() if at] or ["none"]
    )
    trained = in_a_row(sorted({f"{contrast.minuend.train:g}" for contrast, _ in ahead}))
    tested = in_a_row(sorted({f"{contrast.minuend.test:g}" for contrast, _ in ahead}))
    _, below = _above_and_below(ahead)
    half = f"± half of the {ledger.level(rows[0].claim)}, which its rule reads"
    return (
        f"That SparseConvNet is invariant to the level of sparsity is {rows[0].word}: "
        f"{_most_lost(lost)}, the most of {len(rows[0].claim.contrasts())} test sparsities, and "
        f"the rule allows {_allowed(lost)}{_shown_to_lose(lost)} "
        f"({with_intervals(half, {c['n'] for _, c in lost})}). "
        "That it beats plain convolutions at a sparsity not met in training, even those that are "
        f"given the mask, is {rows[1].word}: the rule asks that, trained at p = {trained}, it be "
        f"shown to be ahead at {tested}; by the rule’s own test, one-sided and not corrected, it "
        f"is ahead of {above}, and by the same test behind {behind}; after Holm’s correction, "
        f"which the rule asks for before it says no, {below} shown to be behind."
    )


def _most_lost(run: Iterable[tuple[Any, Mapping[str, Any]]]) -> str:
    """What the layer loses where it loses the most of a claim's comparisons."""
    most, cell = max(run, key=lambda each: each[1]["mean"])
    return (
        f"trained at p = {most.subtrahend.train:g} and tested at {most.minuend.test:g}, it loses "
        f"{_with_half(cell)} points against itself trained there"
    )


def _allowed(run: Iterable[tuple[Any, Mapping[str, Any]]]) -> str:
    return in_a_row(sorted({f"{contrast.high:g}" for contrast, _ in run}))


def _shown_to_lose(run: Sequence[tuple[Any, Mapping[str, Any]]]) -> str:
    """ "; it is shown to lose more at 0.8, with fewer pixels than in training, and less at 0"."""
    several = len({contrast.subtrahend.train for contrast, _ in run}) > 1
    told: list[str] = []
    than = " pixels than in training"  # said once
    for more, shown in (("more", "outside"), ("less", "inside")):
        where = [contrast for contrast, cell in run if cell.get(shown)]
        names = [
            f"{c.subtrahend.train:g} → {c.minuend.test:g}" if several else f"{c.minuend.test:g}"
            for c in where
        ]
        pixels = {_pixels(contrast) for contrast in where}
        which = ""
        if len(pixels) == 1:
            which, than = f", with {pixels.pop()}{than}", ""
        if names:
            told.append(f"{more} at {in_a_row(names)}{which}")
    return f"; it is shown to lose {', and '.join(told)}" if told else ""


def _pixels(contrast: Contrast) -> str:
    """Whether what is compared with a training where it is tested had more or fewer pixels."""
    assert contrast.subtrahend is not None  # the training elsewhere
    return "fewer" if contrast.minuend.test > contrast.subtrahend.train else "more"


def which_way(row: Row) -> str:
    """Where the claim of invariance fails, if with fewer pixels than in training alone; or ""."""
    run = list(_run(row))
    by: dict[str, list[Mapping[str, Any]]] = {"fewer": [], "more": []}
    for contrast, cell in run:
        by[_pixels(contrast)].append(cell)
    fails = any(cell.get("outside") for cell in by["fewer"])
    if not fails or not by["more"] or not all(cell["inside"] for cell in by["more"]):
        return ""
    trained = in_a_row(sorted({f"{contrast.subtrahend.train:g}" for contrast, _ in run}))
    tested = sorted({f"{contrast.minuend.test:g}" for contrast, cell in run if cell.get("outside")})
    return (
        f"trained at p = {trained}, it loses more than the {_allowed(run)} points of the rule "
        f"where it is tested with fewer pixels, at {in_a_row(tested)}, and not with more"
    )


def _above_and_below(run: Iterable[tuple[Any, Mapping[str, Any]]]) -> tuple[str, str]:
    """ "2 are" and "none is": of a claim's leads, how many are shown to be what."""
    both = (sum(cell.get(which) is True for _, cell in run) for which in ("inside", "outside"))
    above, below = (f"{count or 'none'} {'are' if count > 1 else 'is'}" for count in both)
    return above, below


def _run(row: Row) -> Iterable[tuple[Any, Mapping[str, Any]]]:
    """The comparisons of a claim of which something was run, each with its cell."""
    for contrast, cell in zip(row.claim.contrasts(), row.verdict.cells, strict=True):
        if contrast.subtrahend is not None and cell["n"]:
            yield contrast, cell


def _as_the_rule_reads(row: Row, run: Iterable[tuple[Any, Mapping[str, Any]]]) -> str:
    """ "± half of the 90 % interval, which the rule reads; n = 5"."""
    half = f"± half of the {ledger.level(row.claim)}, which the rule reads"
    return with_intervals(half, {cell["n"] for _, cell in run})


def _with_half(cell: Mapping[str, Any], sign: bool = False) -> str:
    """ "9.2 ± 1.2", in points; the mean alone where there is no interval."""
    mean = 100 * cell["mean"]
    told = signed(mean, 1) if sign else f"{mean:z.1f}".replace("-", "−")
    if cell["high"] is not None:
        told += f"{NO_BREAK}±{NO_BREAK}{100 * (cell['high'] - cell['mean']):.1f}"
    return numbers.number(told, cell["mean"])


def elsewhere(statistics: str = RUNNING) -> str:
    """In how many cells off the diagonal the layer is shown to differ from a plain network."""
    cells = measured("fair", statistics)
    told, run = [], 0
    gaps: list[list[float]] = []
    for other in DENSE_NETWORKS:
        shown = shown_elsewhere(cells, other)
        run = max(run, shown.tested)
        if shown.tested:
            better, worse, single = comparisons.how_often(shown)
            told.append(
                f"better than {other} in {better} and worse in {worse}, by single tests in {single}"
            )
            gaps += by_seed(cells, other).values()
    if not told:
        return "What the layer is worth away from its training has not been run by two seeds yet."
    whole = len(TEST_SPARSITIES) * (len(TEST_SPARSITIES) - 1)
    so_far = f" run so far, of {whole}" if run < whole else ""
    begin = "Away" if statistics == RUNNING else "With re-estimated statistics, away"
    return (
        f"{begin} from the sparsity of its training SparseConvNet is shown to be "
        f"{'; '.join(told)}. (Holm’s correction is over the cells{so_far}: the first of {run} must "
        f"have a p-value below {0.05 / run:.1g}, for which a mean must be "
        f"{_times_its_half(run, max(map(len, gaps))):.1f} times the half of its 95 % interval, so "
        f"that large effects stay unseen as well; {n_of_seeds(gaps)}.)"
    )


def _times_its_half(tests: int, n: int) -> float:
    """How far from 0 the first of Holm's `tests` must lie, over the half of its 95 % interval."""
    first, single = (t.ppf(1 - 0.025 / several, n - 1) for several in (tests, 1))
    return float(first / single)


def far(trained_at: float, tested_at: float) -> str:
    """How networks do far from where they were trained."""
    cells = measured("fair")
    here = {
        network: seeds
        for network in PAPERS_NETWORKS
        if (seeds := cells.get((network, trained_at, tested_at)))
    }
    where = f"Trained at p = {trained_at:g} and tested at p = {tested_at:g}"
    if SPARSE not in here:
        return f"{where}: not run yet."
    scores = ", ".join(f"{network} {percents(seeds)} %" for network, seeds in here.items())
    parts, tested = [], set()
    for other, gap in leads(cells, trained_at, tested_at).items():
        found = shown_elsewhere(cells, other)
        tested.add(found.tested)
        shown = "shown" if (trained_at, tested_at) in found else "not shown"
        parts.append(f"{points(gap)} points against {other}{f' ({shown})' * (gap.n > 1)}")
    told = f"; SparseConvNet has {in_a_row(parts)}" if parts else ""
    how = f"Mean ± standard deviation, differences {HALF}"
    counts = {len(seeds) for seeds in here.values()}
    several = tested and max(counts) > 1
    which = f"; shown or not among {span(tested)} cells off the diagonal" if several else ""
    return f"{where}: {scores}{told}. ({with_intervals(how, counts)}{which}.)"


def at_worst() -> str:
    """How much the regret of the paper's networks is, where all were trained and where it was."""
    cells = measured("fair")
    sparsities = transfer.shared_diagonal(cells)
    if len(sparsities) < 2:
        return (
            "Too little of the train × test matrix has been run yet to tell the most that a "
            "training sparsity costs (its regret, below)."
        )
    told: list[str] = []
    seeds: set[int] = set()
    for p in REGRETTED:
        parts = []
        for network in PAPERS_NETWORKS:
            if summary := regret(cells, network, p, sparsities):
                parts.append(f"{network} {regret_in_points(summary)}")
                seeds.add(summary.n)
        if parts:
            told.append(f"trained at p = {p:g}, {', '.join(parts)}")
    if not told:
        either = in_a_row([f"{p:g}" for p in REGRETTED])
        return f"No network has been trained at p = {either} yet."
    return (
        "The most that a training sparsity costs at any of the test sparsities "
        f"{in_a_row([f'{q:g}' for q in sparsities])}, in points against the same network trained "
        f"there: {'; '.join(told)} ({with_intervals('95 % intervals in brackets', seeds)})."
        f"{not_sought(sparsities)}"
    )


def batch_norm() -> str:
    """Whether stale statistics are why networks fail away from their training."""
    gains = statistics_gains()
    if not gains:
        return "What re-estimating BatchNorm’s statistics gives has not been run by two seeds yet."
    together = comparisons.shown(
        {(network, *cell): gap for network, its in gains.items() for cell, gap in its.items()}
    )
    helped, harmed = len(together.above), len(together.below)
    told, by_direction = [], {}
    for towards_fewer, where in ((True, "with fewer pixels"), (False, "With more")):
        by_direction[towards_fewer] = {
            network: (summarise(loss), summarise(gain))
            for network, (loss, gain) in given_back(towards_fewer).items()
            if network in PAPERS_NETWORKS
        }
        parts = [
            f"{network} {_in_points(loss)} and {points(gain)}"
            for network, (loss, gain) in by_direction[towards_fewer].items()
        ]
        if parts:
            told.append(f"{where}, {'; '.join(parts)}")
    between = in_a_row([f"{p:g}" for p in transfer.shared_diagonal(measured("fair"))] or [""])
    average = (
        f"Lost on average between p = {between}, in points against training where tested, "
        f"and regained by re-estimation: {'. '.join(told)}. "
        if told
        else ""
    )
    half = f"{HALF}, " * bool(told)
    in_short = _not_stale_statistics(by_direction[True], by_direction[False])
    return (
        f"{in_short}{average}By single tests re-estimation helps in "
        f"{helped + len(together.above_uncorrected)} of {together.tested} and harms in "
        f"{harmed + len(together.below_uncorrected)}; by Holm’s correction, in "
        f"{helped} and {harmed}{_harmed_alone(together.below)}. "
        f"({half}{n_of_seeds(gap for its in gains.values() for gap in its.values())}.)"
    )


def _not_stale_statistics(
    fewer: Mapping[str, tuple[Summary, Summary]], more: Mapping[str, tuple[Summary, Summary]]
) -> str:
    """That most of a loss stays with statistics of the test sparsity; "" where it does not.

    fewer, more: network -> its loss tested with fewer pixels than in training, or with more, and
    what re-estimated statistics give it there.
    """
    stays = [loss.low > 0 and gain.high < loss.mean / 2 for loss, gain in fewer.values()]
    if not stays or not all(stays):
        return ""
    worse = [network for network, (_, gain) in more.items() if gain.high < 0]
    also = f"; with more, they harm {in_a_row(worse)}" if worse else ""
    return (
        "BatchNorm’s statistics are not the main reason: with fewer pixels than in training most "
        f"of the loss stays with re-estimated ones{also}. "
    )


def _harmed_alone(harmed: Iterable[tuple[str, float, float]]) -> str:
    """ " (ConvNet)", where it is only one network that re-estimation is shown to harm."""
    networks = {network for network, *_ in harmed}
    return f" ({networks.pop()})" if len(networks) == 1 else ""


def below_chance() -> str:
    """Where re-estimated statistics leave a network worse than a guess; empty if nowhere."""
    worst = {
        cell: summarise(seeds.values())
        for cell, seeds in measured("fair", REESTIMATED).items()
        if len(seeds) > 1
    }
    worst = {cell: summary for cell, summary in worst.items() if summary.mean < CHANCE}
    if not worst:
        return ""
    network, p, q = min(worst, key=lambda cell: worst[cell].mean)
    return (
        f"Re-estimated statistics leave {in_a_row(sorted({name for name, *_ in worst}))} below "
        f"chance, {100 * CHANCE:g} %, in {len(worst)} cell{'s' * (len(worst) > 1)}, at worst at "
        f"{_percent(worst[network, p, q])} % (trained at p = {p:g}, tested at {q:g}); with those "
        f"of training it has {_percent(summarise(measured('fair')[network, p, q].values()))} % "
        f"there ({n_of_gaps(worst.values())}). Why is not known."
    )


def _percent(summary: Summary) -> str:
    return numbers.number(f"{100 * summary.mean:.1f}", summary)


def checked() -> str:
    """What re-estimated statistics change where there is nothing to cure."""
    kinds = {kind: measured("fair", kind) for kind in (RUNNING, REESTIMATED)}
    told, taken = [], []
    for network in NETWORKS:
        own = [(q, q) for q in transfer.shared_diagonal(kinds[RUNNING])]
        gap = difference(
            *(transfer.averaged(kinds[kind], network, own) for kind in (REESTIMATED, RUNNING))
        )
        if gap:
            told.append(f"{network} {points(gap)}")
            taken.append(gap)
    if not told:
        return "What re-estimation does where there is nothing to cure has not been run yet."
    return (
        "Where a network is tested at the sparsity of its training, re-estimation should change "
        f"nothing. It changes, in points, on average over these sparsities: {in_a_row(told)} "
        f"({with_intervals(HALF, {gap.n for gap in taken})})."
    )


def _in_points(summary: Summary) -> str:
    return numbers.number(f"{100 * summary.mean:.1f}", summary, f"{100 * summary.sd:.2f} points")


def dilation() -> str:
    """What dilating the mask is worth away from the training sparsity."""
    cells = measured("fair")
    shown = shown_elsewhere(cells, KEPT)
    if not shown.tested:
        return "What dilating the mask is worth has not been run by two seeds yet."
    gaps = {
        (p, q): summarise(gap)
        for (p, q), gap in by_seed(cells, KEPT).items()
        if p != q and len(gap) > 1
    }
    least, most = (choose(gaps, key=lambda at: gaps[at].mean) for choose in (min, max))
    helps, harms, single = comparisons.how_often(shown)
    low, high = (
        f"{points(gaps[p, q])} (trained at {p:g}, tested at {q:g})" for p, q in (least, most)
    )
    return (
        "Away from the sparsity of training, dilating the mask, the line that the source left out, "
        f"is shown to help SparseConvNet in {helps} and to harm it in {harms}, by single tests in "
        f"{single}. It is worth from {low} to {high} points, picked from all cells "
        f"({HALF}, {n_of_gaps(gaps.values())})."
    )


def same_sparsity() -> str:
    """Trained and tested at one sparsity with equal care: does the layer help?"""
    compared = diagonal()
    told = []
    seeds: set[int] = set()
    for p in (HEADLINE_SPARSITY, PAPERS_SPARSITY):
        by: dict[str, list[str]] = {}
        for (own, other), gaps in compared.items():
            if p in gaps and (own == SPARSE or other == "ConvNet"):
                gap = summarise(gaps[p])
                by.setdefault(other, []).append(f"{own} {points(gap)}")
                seeds.add(gap.n)
        if by:
            parts = [f"over {other}: {', '.join(parts)}" for other, parts in by.items()]
            told.append(f"at p = {p:g} {'; '.join(parts)}")
    if not told:
        either = f"p = {HEADLINE_SPARSITY:g} or {PAPERS_SPARSITY:g}"
        return f"No two networks have been trained with equal care at {either} yet."
    shown = {pair: shown_among(its) for pair, its in compared.items()}
    asked = sorted({p for its in compared.values() for p, gap in its.items() if len(gap) > 1})
    differ: dict[str, dict[str, list[str]]] = {}  # better or worse than which -> where -> networks
    for (own, other), its in shown.items():
        for word, where in (("better", its.above), ("worse", its.below)):
            if where:
                at = in_a_row([f"{p:g}" for p in sorted(where)])
                differ.setdefault(f"{word} than {other}", {}).setdefault(at, []).append(own)
    found = [
        f"{than}: {', '.join(f'{in_a_row(networks)} at {at}' for at, networks in alike.items())}"
        for than, alike in differ.items()
    ]
    is_shown = f"shown to be {'; '.join(found)}" if found else "none is shown to differ"
    rest = f" Of {len(asked)} sparsities, after Holm’s correction, {is_shown}."
    return (
        "With equal care for every network, trained and tested at one sparsity, in points, "
        f"{'; '.join(told)} ({with_intervals(HALF, seeds)}).{rest * bool(asked)}"
    )


def equal_care(p: float) -> str:
    """Every network against ConvNet, trained and tested at p with equal care."""
    gaps = {
        network: summarise(its[p])
        for (network, other), its in reversed(diagonal().items())
        if other == "ConvNet" and p in its
    }
    if not gaps:
        return f"ConvNet and another network have not both been trained with equal care at {p:g}."
    told = ", ".join(f"{network} {points(gap)}" for network, gap in gaps.items())
    return (
        "With equal care for every network, each trained until two epochs bring nothing better on "
        "held-out images, which chance can bring about early, the differences from ConvNet are, in "
        f"points: {told} "
        f"({with_intervals(HALF, {gap.n for gap in gaps.values()})}; "
        f"{devices(records_at('fair', [(p, p)]))})."
    )


def photographs() -> str:
    """The same question on Caltech-101, of the training sparsity at which most seeds were run."""
    cells = measured("caltech101")
    found = _leads_on_photographs()
    if not found:
        return (
            "On photographs SparseConvNet and a plain network have not both been tested away from "
            "their training yet."
        )
    p, by = found
    return (
        f"On photographs, trained as the source’s text has it at p = {p:g}, SparseConvNet "
        f"{_reached_and_over(cells, p, by)}{_shown_of_these(cells, p, by)}"
    )


def _shown_of_these(cells: transfer.Cells, p: float, others: Iterable[str]) -> str:
    """How many of the differences where it was not trained are shown; "" where one seed is all."""
    gaps = {
        (other, q): gap
        for other in others
        for (trained, q), gap in by_seed(cells, other).items()
        if trained == p and q != p and q in PHOTOGRAPHS_TESTED_AT and len(gap) > 1
    }
    if len(gaps) < 2:
        return ""
    found = comparisons.shown(gaps)
    above, below = (len(its) or "none" for its in (found.above, found.below))
    are = "are" if len(found.above) > 1 else "is"
    return (
        f" Of these {len(gaps)} differences where it was not trained, {above} {are} shown to be "
        f"above 0, and {below} below (after Holm’s correction)."
    )


def photographs_reestimated() -> str:
    """The same with statistics of BatchNorm that are estimated anew at the test sparsity."""
    found = _leads_on_photographs(REESTIMATED)
    if not found:
        return "Nor have they been with re-estimated statistics of BatchNorm."
    p, by = found
    return (
        "On photographs with BatchNorm’s statistics re-estimated, on training images at the test "
        f"sparsity, SparseConvNet, trained at p = {p:g}, "
        f"{_reached_and_over(measured('caltech101', REESTIMATED), p, by)}"
        f"{_gained_on_photographs(p)}"
    )


def _gained_on_photographs(p: float) -> str:
    """What re-estimated statistics give the networks that were trained at p."""
    running, anew = (measured("caltech101", kind) for kind in (RUNNING, REESTIMATED))
    gained: dict[str, dict[float, Summary]] = {}
    for network in PAPERS_NETWORKS:
        for q in PHOTOGRAPHS_TESTED_AT:
            cell = (network, p, q)
            if q != p and (gap := difference(anew.get(cell, {}), running.get(cell, {}))):
                gained.setdefault(network, {})[q] = gap
    told = "; ".join(f"{network} {at_each(gaps)}" for network, gaps in gained.items())
    seeds = {gap.n for gaps in gained.values() for gap in gaps.values()}
    if not told:
        return ""
    intervals = with_intervals(UNCORRECTED, seeds)
    return (
        f" Re-estimated statistics give, over those of training, in points, {told} ({intervals})."
    )


def _leads_on_photographs(statistics: str = RUNNING) -> tuple[float, LeadsBy] | None:
    """The training sparsity of most seeds, the first of equals, and the leads of those networks."""
    cells = measured("caltech101", statistics)
    by_training: dict[float, dict[str, dict[float, Summary]]] = {}
    for p in dict.fromkeys((*TWO_SPARSITIES, *TEST_SPARSITIES)):
        for q in PHOTOGRAPHS_TESTED_AT:
            for other, gap in leads(cells, p, q).items():
                by_training.setdefault(p, {}).setdefault(other, {})[q] = gap
    if not by_training:
        return None

    def least(p: float) -> int:
        return min(gap.n for gaps in by_training[p].values() for gap in gaps.values())

    p = max(by_training, key=least)
    return p, by_training[p]


def _reached_and_over(cells: transfer.Cells, p: float, by: LeadsBy) -> str:
    """What SparseConvNet reaches on photographs, trained at p, and what it has over others."""
    own = {q: its for q in PHOTOGRAPHS_TESTED_AT if (its := cells.get((SPARSE, p, q)))}
    reached = in_a_row([f"{percents(its)} at {q:g}" for q, its in own.items()])
    over = "; ".join(f"over {other} {at_each(gaps)}" for other, gaps in by.items())
    marks = f"± one standard deviation, of differences {UNCORRECTED}"
    seeds = {gap.n for gaps in by.values() for gap in gaps.values()}
    seeds |= {len(its) for its in own.values()}
    compared = [r for r in records_at("caltech101", [(p, p)]) if r.key.network in (SPARSE, *by)]
    return (
        f"recognises, in per cent by test sparsity, {reached}; it has, in points, {over} "
        f"({with_intervals(marks, seeds)}; {devices(compared)})."
    )


def conditions() -> str:
    """What holds of the answers that say nothing else, and what their words mean."""
    found = [
        record
        for record in records.load(transfer.EXPERIMENT)
        if record.key.protocol.partition(",")[0] == "fair"
    ]
    told = f" ({devices(found)}.)" if found else ""
    return (
        "Where nothing else is said, these are digits, with equal care for every network; p is the "
        "share of missing pixels, and differences are paired by seed. Shown means by Student’s "
        "two-sided test at 5 %, after Holm’s correction over the differences that are counted; "
        f"verdicts follow their own rule.{told}"
    )


# The chapter's questions, and what answers each in words that may be quoted.
FINDINGS: dict[str, Callable[[], str]] = {
    "Is the layer invariant?": claim,
    "Does it beat plain convolutions where it was not trained?": beats,
    "On average over the whole matrix?": whole_matrix.in_words,
    "And in each cell of it?": elsewhere,
    "Trained with few pixels, tested with all of them?": lambda: far(*FULLER),
    "And with 5 % of them?": lambda: far(PAPERS_SPARSITY, 0.0),
    "Trained with half of the pixels, tested with 5 %?": lambda: far(*SPARSER),
    "What does a training sparsity cost at worst?": at_worst,
    "Is BatchNorm the reason?": batch_norm,
    "What is left of its lead after cheap cures?": cures_in_words.left,
    "Does the mask have to be dilated?": dilation,
    "Does training at all sparsities do as well?": cures_in_words.mixed,
    "Where it was trained, with equal care?": same_sparsity,
    "Where 0 is a bad guess?": confounds_in_words.fills,
    "Where pixels go missing in another way?": confounds_in_words.kinds,
    "On photographs?": photographs,
}
