"""The chapter on invariance in sentences, each computed from the records, each fit to be quoted.

Two networks are compared, as a rule, by the mean of their difference over seeds and half of its
95 % interval. Where one network is looked at along all test sparsities, what counts is what Holm's
correction over them leaves; what it takes away is told in brackets.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

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
    TUNING,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.protocol import full_name, preset
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import devices, signed
from sparseconv_lib.study.report_invariance import (
    KINDS,
    MIXED,
    RESCALED,
    SPARSE,
    STATISTICS,
    chosen,
    fill_protocol,
    gains_behind,
    not_sought,
    on_masks_by_seed,
    records_at,
    regret_in_points,
    seeds_of,
    statistics_gains,
)
from sparseconv_lib.study.statistics import Summary, paired
from sparseconv_lib.study.traced import Traced, behind
from sparseconv_lib.study.transfer import REESTIMATED, RUNNING, Cells, measured, regret
from sparseconv_lib.study.wording import difference, n_of_gaps, percents, points, span

KEPT = "SparseConvNet-kept"
# (trained at, tested at): what a reader is told of first, on fuller images and on sparser ones.
FULLER, SPARSER = (0.8, 0.0), (0.5, 0.95)
HALF = "± half of the 95 % interval"


def claim() -> str:
    """What the rule makes of the paper's claim of invariance, and what it rests on."""
    (row,) = [row for row in ledger.rows() if row.claim.id == "uhrig-invariance"]
    losses: dict[float, list[str]] = {}  # trained at -> what that loses elsewhere
    seeds: set[int] = set()
    for contrast, cell in zip(row.claim.contrasts(), row.verdict.cells, strict=True):
        if contrast.subtrahend is not None and cell["n"]:
            it = f"{_loss(cell)} at {contrast.minuend.test:g}"
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


def _with_intervals(intervals: str, seeds: Collection[int]) -> str:
    """How intervals are told, where there are any, and of how many seeds."""
    n = f"n = {span(seeds)}"
    return f"{intervals}, {n}" if max(seeds) > 1 else n


def _loss(cell: Mapping[str, Any]) -> str:
    """ "9.2 (8.2 to 10.1)", or the mean alone where there is no interval."""
    mean, low, high = (
        None if cell[name] is None else f"{100 * cell[name]:z.1f}".replace("-", "−")
        for name in ("mean", "low", "high")
    )
    told = numbers.number(str(mean), cell["mean"])
    return told if low is None else f"{told} ({low} to {high})"


def at_worst(trained_at: float = 0.5, protocol: str = "fair") -> str:
    """How much each network's regret is, where all were trained and where it was."""
    sparsities = transfer.shared_diagonal(measured(protocol))
    if len(sparsities) < 2:
        return (
            "Too little of the train × test matrix has been run yet to tell the most that a "
            "training sparsity costs (its regret, below)."
        )
    told: list[str] = []
    seeds: set[int] = set()
    for statistics in (RUNNING, REESTIMATED):
        cells = measured(protocol, statistics)
        parts = []
        for network in NETWORKS:
            if summary := regret(cells, network, trained_at, sparsities):
                parts.append(f"{network} {regret_in_points(summary)}")
                seeds.add(summary.n)
        if parts:
            told.append(f"{', '.join(parts)} with statistics {STATISTICS[statistics]}")
    if not told:
        return f"No network has been trained at p = {trained_at:g} yet."
    return (
        f"Training at p = {trained_at:g} costs, at the worst of the test sparsities "
        f"{in_a_row([f'{q:g}' for q in sparsities])}, in points against the same network trained "
        f"there: {'; '.join(told)} ({_with_intervals('95 % intervals in brackets', seeds)})."
        f"{not_sought(sparsities)}{_at_worst_alone(trained_at, sparsities, protocol)}"
    )


def _at_worst_alone(trained_at: float, shared: Sequence[float], protocol: str) -> str:
    """The regret of networks that were trained at more sparsities than the others."""
    cells, told = measured(protocol), []
    for network in NETWORKS:
        its = {key: seeds for key, seeds in cells.items() if key[0] == network}
        sparsities = transfer.shared_diagonal(its)
        if len(sparsities) > len(shared) and (
            summary := regret(its, network, trained_at, sparsities)
        ):
            named = in_a_row([f"{q:g}" for q in sparsities])
            told.append(
                f" {network} has, with statistics of training, {regret_in_points(summary)} at the "
                f"worst of {named} (n = {summary.n})."
            )
    return "".join(told)


def far(trained_at: float, tested_at: float, protocol: str = "fair") -> str:
    """How networks do far from where they were trained."""
    cells = measured(protocol)
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
        f"{devices(records_at(protocol, [(trained_at, tested_at)]))}.)"
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


def _elsewhere(found: Mapping[str, Shown]) -> str:
    return (
        f"At the {comparisons.tested(found)} sparsities that it was not trained at, after Holm’s "
        "correction over them (in brackets: only without it), SparseConvNet is shown to be"
    )


def far_in_short(protocol: str = "fair") -> str:
    """At which test sparsities the layer is shown to differ from networks without it."""
    cells = measured(protocol)
    rows = {p: found for p in TWO_SPARSITIES if (found := along_the_row(cells, p))}
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


def dilation(protocol: str = "fair") -> str:
    """What dilating the mask is worth away from the training sparsity."""
    cells = measured(protocol)
    extremes, rows, seeds = [], [], set()
    for p in TWO_SPARSITIES:
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
    if not rows:
        return "What dilating the mask is worth has not been run by two seeds yet."
    return (
        "Dilating the mask, the line that the source left out, gives SparseConvNet, in points, at "
        f"sparsities that it was not trained at: {'; '.join(extremes)}. After Holm’s correction "
        f"over them (in brackets: only without it) it is shown to be, {'; '.join(rows)}. (The "
        f"least and the most are picked, with single intervals; {HALF}, n = {span(seeds)}; "
        f"{devices(records_at(protocol, [(p, p) for p in TWO_SPARSITIES]))}.)"
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
        f"held-out images, the differences from ConvNet are, in points: {told} "
        f"({_with_intervals(HALF, {gap.n for gap in gaps.values()})}; "
        f"{devices(records_at('fair', [(p, p)]))})."
    )


def batch_norm(protocol: str = "fair") -> str:
    """Whether stale statistics are why networks fail away from their training, and what is left."""
    gains = statistics_gains(protocol)
    if not gains:
        return "What re-estimating BatchNorm’s statistics gives has not been run by two seeds yet."
    found = {network: comparisons.shown(gaps) for network, gaps in gains.items()}
    told = [
        f"{network} better in {_count(each.above, each.above_uncorrected)} and worse in "
        f"{_count(each.below, each.below_uncorrected)}"
        for network, each in found.items()
    ]
    number = len(next(iter(gains.values())))
    again = measured(protocol, REESTIMATED)
    left = {p: row for p in TWO_SPARSITIES if (row := along_the_row(again, p))}
    rest = "; ".join(f"trained at p = {p:g}, {comparisons.where(row)}" for p, row in left.items())
    return (
        f"{_stale(found)} Of the {number} cells off the diagonal that all networks have, "
        "re-estimated statistics make, after Holm’s correction over them (in brackets: only "
        f"without it), {'; '.join(told)}."
        + (
            " With them SparseConvNet is shown to be, after the correction over the test "
            f"sparsities, {rest}."
            if rest
            else ""
        )
        + f" ({seeds_of(gains)}; {devices(gains_behind(gains, protocol))}.)"
    )


def _stale(found: Mapping[str, Shown]) -> str:
    """What re-estimated statistics show of the networks that do not divide by the observed."""
    dense = [network for network in DENSE_NETWORKS if network in found]
    helped = [network for network in dense if found[network].above]
    harmed = [network for network in dense if found[network].below]
    if helped and harmed:
        return "Re-estimated statistics help plain convolutions in some cells and harm in others."
    if harmed:
        return f"Re-estimated statistics are shown to harm {in_a_row(harmed)}."
    if helped:
        return (
            f"Stale statistics are shown to be a reason why {in_a_row(helped)} "
            f"{'do' if len(helped) > 1 else 'does'} worse away from training."
        )
    return (
        "Stale statistics are not shown to be a reason why plain convolutions do worse away from "
        "their training."
    )


def _count(corrected: Sequence[object], uncorrected: Sequence[object]) -> str:
    return f"{len(corrected) or 'none'}" + (f" ({len(uncorrected)})" if uncorrected else "")


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
    cells, own = measured(MIXED), measured("fair")
    told: list[str] = []
    taken: list[Summary] = []
    for other in DENSE_NETWORKS:
        gaps = {
            q: gap
            for q in (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY)
            if (
                gap := difference(
                    cells.get((SPARSE, PAPERS_SPARSITY, q), {}),
                    cells.get((other, PAPERS_SPARSITY, q), {}),
                )
            )
        }
        taken += gaps.values()
        if gaps:
            parts = [f"{points(gap)} at {q:g}" for q, gap in gaps.items()]
            told.append(f"against {other} {in_a_row(parts)}")
    if not told:
        return "Training at mixed sparsities has not been run yet."
    q = TWO_SPARSITIES[-1]
    price = {
        network: gap
        for network in NETWORKS
        if (
            gap := difference(
                cells.get((network, PAPERS_SPARSITY, q), {}), own.get((network, q, q), {})
            )
        )
    }
    taken += price.values()
    trained = records.load(transfer.EXPERIMENT, MIXED)
    beside = ""
    if price:
        parts = [f"{network} {points(gap)}" for network, gap in price.items()]
        beside = f" Beside training at p = {q:g} alone, that gives there: {', '.join(parts)}."
        trained = [*trained, *records_at("fair", [(q, q)])]
    return (
        f"Trained at all sparsities at once, SparseConvNet has, in points, {'; '.join(told)}."
        f"{beside} ({_with_intervals(HALF, {gap.n for gap in taken})}; {devices(trained)}.)"
    )


def tuning() -> str:
    """Whether the one learning rate of `fair` is a good one for every network."""
    (rate,), told = preset("fair", "invariance").learning_rates, []
    tuned = records.load(transfer.EXPERIMENT, TUNING)
    for record in tuned:
        scores = {
            each["learning_rate"]: each["held_out_accuracy"]
            for each in record.content["candidates"]
        }
        listed = ", ".join(
            f"{numbers.of_trainings(f'{100 * score:.2f}', [record.key])} ({r:g})"
            for r, score in sorted(scores.items())
        )
        best = [f"{r:g}" for r, score in sorted(scores.items()) if score == max(scores.values())]
        if lost := max(scores.values()) - scores[rate]:
            listed += f" ({rate:g} costs it {100 * lost:.2f} points)"
        else:
            listed += f" ({in_a_row(best)} {'are' if len(best) > 1 else 'is'} the best)"
        told.append(f"{record.key.network} {listed}")
    if not told:
        return "Whether that rate is a good one for every network has not been run yet."
    return (
        "Held-out accuracy in per cent by learning rate, each trained until two epochs brought "
        f"nothing better, at p = {tuned[0].key.sparsity:g}, seed 0, n = 1: {'; '.join(told)}. A "
        f"tenth of a point is {tuned[0].protocol.held_out // 1000} of the "
        f"{tuned[0].protocol.held_out:,} held-out images, so that near rates are not told apart. "
        f"({devices(tuned)}.)"
    )


def stopping(protocol: str = "fair") -> str:
    """How long trainings went on, and whether those that did were better for it."""
    found = records.load(transfer.EXPERIMENT, protocol)
    cells: dict[tuple[str, float], list[Record]] = {}
    for record in found:
        cells.setdefault((record.key.network, record.key.sparsity), []).append(record)
    rs = {key: r for key, its in cells.items() if (r := _longer_is_better(its)) is not None}
    if not rs:
        return "Whether longer trainings are better has not been run by three seeds yet."
    above = sum(r > 0 for r in rs.values())
    early = (
        ", as it would be if the stop came early and by chance"
        if len(rs) >= 6 and above > 0.75 * len(rs)
        else ""
    )
    p, q = FULLER
    plain = cells.get(("ConvNet", p), [])
    moved = _longer_is_better(plain, q)
    there = (
        f" For ConvNet, trained at p = {p:g} and tested at p = {q:g}, it is {_of_r(moved)} "
        f"(two-sided p-value {_p_of_r(moved, len(plain)):.2f}, n = {len(plain)})."
        if moved is not None
        else ""
    )
    return (
        f"Trainings ended after {span([chosen(record)[1] for record in found])} epochs. Over the "
        "seeds of a network and sparsity, the correlation of epochs and accuracy where they were "
        f"trained is above 0 in {above} of {len(rs)} cases, from {_of_r(min(rs.values()))} to "
        f"{_of_r(max(rs.values()))}{early} (n = {span({len(cells[key]) for key in rs})} each; "
        f"{devices(found)}).{there}"
    )


def _longer_is_better(found: Sequence[Record], tested_at: float | None = None) -> Traced | None:
    """Pearson's r over seeds of epochs and accuracy, by default where they were trained.

    None for fewer than three seeds, or where one of the two does not vary.
    """
    epochs = np.array([chosen(record)[1] for record in found], dtype=float)
    scores = [
        record.accuracy if tested_at is None else record.accuracy_at(tested_at) for record in found
    ]
    if len(found) < 3 or not epochs.std() or not np.std(scores):
        return None
    return Traced(float(np.corrcoef(epochs, scores)[0, 1]), behind(scores))


def _p_of_r(r: float, n: int) -> float:
    """The two-sided p-value of a correlation over n pairs (Student's t with n − 2 degrees)."""
    t = abs(r) * np.sqrt((n - 2) / max(1 - r**2, 1e-12))
    return float(2 * stats.t.sf(t, n - 2))


def _of_r(r: Traced) -> str:
    return numbers.number(signed(r, 2), r)


def same_sparsity(protocol: str = "fair") -> str:
    """Trained and tested at one sparsity with equal care: does the layer help?"""
    gaps = _gaps_along_the_diagonal(protocol)
    told = [
        f"{network} {', '.join(f'{points(gap)} (p = {p:g})' for p, gap in by.items())}"
        for network, by in gaps.items()
        if by
    ]
    if not told:
        return "ConvNet and another network have not both been trained with equal care yet."
    seeds = {gap.n for by in gaps.values() for gap in by.values()}
    return (
        "With equal care for every network, trained and tested at one sparsity, in points against "
        f"ConvNet: {'; '.join(told)} ({_with_intervals(HALF, seeds)})."
    )


def same_sparsity_in_short(protocol: str = "fair") -> str:
    """The same without its numbers: at which sparsities a network is told apart from ConvNet."""
    gaps = _gaps_along_the_diagonal(protocol)
    tried = sorted({p for by in gaps.values() for p in by})
    if not tried:
        return "ConvNet and another network have not both been trained with equal care yet."
    return (
        f"{captions.differences(gaps, 'ConvNet')}(Tried at p = "
        f"{in_a_row([f'{p:g}' for p in tried])}; "
        f"{n_of_gaps([gap for by in gaps.values() for gap in by.values()])}.)"
    )


def _gaps_along_the_diagonal(protocol: str) -> dict[str, dict[float, Summary]]:
    """Network -> sparsity of training and test -> what it has over ConvNet."""
    cells = measured(protocol)
    return {
        network: {p: gap for p in TEST_SPARSITIES if (gap := _gap_at(cells, network, p))}
        for network in NETWORKS[1:]
    }


def _gap_at(cells: Cells, network: str, p: float) -> Summary | None:
    """A network against ConvNet, both trained and tested at p."""
    return difference(cells.get((network, p, p), {}), cells.get(("ConvNet", p, p), {}))


FILLED = {"value": "0", "mean": "the mean of the observed pixels", "nearest": "the nearest of them"}


def fills() -> str:
    """Whether SparseConvNet wins where 0 is a bad guess, and against a better fill."""
    p, told, seeds = TWO_SPARSITIES[-1], [], set()
    for q, begin in (
        (p, f"Trained and tested at p = {p:g}, SparseConvNet has against ConvNet, in points, "),
        (PAPERS_SPARSITY, f"Trained there and tested at p = {PAPERS_SPARSITY:g}: "),
    ):
        grounds = []
        for ground, name in (("as they are", "digits as they are"), ("inverted", "inverted ones")):
            gaps = _over_fills(ground, p, q)
            seeds |= {gap.n for gap in gaps.values()}
            if gaps:
                parts = [f"{points(gap)} given {FILLED[fill]}" for fill, gap in gaps.items()]
                grounds.append(f"on {name} {in_a_row(parts)}")
        if grounds:
            told.append(f"{begin}{'; '.join(grounds)}.")
    if not told:
        return "What the fill is worth has not been run yet."
    return (
        f"{_better_guess(p)}{' '.join(told)} (What ConvNet is given stands for a missing pixel; "
        f"{_with_intervals(HALF, seeds)}.)"
    )


def _better_guess(p: float) -> str:
    """What a better guess than 0 makes of the layer's lead on inverted digits; "" if it has none.

    By single intervals.
    """
    own, far = (_over_fills("inverted", p, q) for q in (p, PAPERS_SPARSITY))
    bad = own.pop("value", None)
    if bad is None or not own or not bad.low > 0 or any(gap.low > 0 for gap in own.values()):
        return ""
    far.pop("value", None)
    worse = far and all(gap.high < 0 for gap in far.values())
    lost = f", and tested at p = {PAPERS_SPARSITY:g} it is worse" if worse else ""
    return (
        f"On inverted digits SparseConvNet, trained at p = {p:g}, is better than ConvNet that is "
        f"given 0; than ConvNet that is given a better guess it is not shown to be{lost}. "
    )


def _over_fills(ground: str, trained_at: float, tested_at: float) -> dict[str, Summary]:
    """Fill -> SparseConvNet minus a ConvNet that is given it."""
    sparse = measured(fill_protocol(ground, "value")).get((SPARSE, trained_at, tested_at), {})
    gaps = {}
    for fill in FILLS:
        plain = measured(fill_protocol(ground, fill)).get(("ConvNet", trained_at, tested_at), {})
        if gap := difference(sparse, plain):
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
    return f"{' '.join(told)} (In points; {intervals}.)"


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


def _far_on_fuller() -> str:
    return far(*FULLER)


def _far_on_sparser() -> str:
    return far(*SPARSER)


# The chapter's questions, and what answers each in words that may be quoted.
FINDINGS: dict[str, Callable[[], str]] = {
    "Is the layer invariant?": claim,
    "Trained with few pixels, tested with all of them?": _far_on_fuller,
    "Trained with half of them, tested with few?": _far_on_sparser,
    "What does a training sparsity cost at worst?": at_worst,
    "Is BatchNorm the reason?": batch_norm,
    "Does the mask have to be dilated?": dilation,
    "Does training at all sparsities do as well?": mixed,
    "Where it was trained, with equal care?": same_sparsity,
    "Where 0 is a bad guess?": fills,
    "Where pixels go missing in another way?": kinds,
}
