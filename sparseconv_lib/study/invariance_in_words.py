"""The chapter on invariance in sentences, each computed from the records, each fit to be quoted.

Of networks two are compared, as a rule, by the mean of their difference over seeds and half of its
95 % interval. Where one network is looked at along all test sparsities, what counts is what Holm's
correction over them leaves; what it takes away is told beside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import captions, ledger, numbers, records, transfer
from sparseconv_lib.study.captions import in_a_row
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
from sparseconv_lib.study.report import devices
from sparseconv_lib.study.report_invariance import (
    KINDS,
    MIXED,
    RESCALED,
    SPARSE,
    STATISTICS,
    chosen,
    difference,
    fill_protocol,
    gains_behind,
    n_of,
    on_masks,
    percents,
    points,
    records_at,
    regret_in_points,
    seeds_of,
    sought_over,
    span,
    statistics_gains,
)
from sparseconv_lib.study.statistics import (
    Summary,
    holm,
    p_above,
    p_below,
    paired,
)
from sparseconv_lib.study.traced import Traced, behind
from sparseconv_lib.study.transfer import REESTIMATED, RUNNING, Cells, measured, regret

KEPT = "SparseConvNet-kept"
# What a reader is told of first: (trained at, tested at), to fewer missing pixels and to more.
TOLD = ((0.8, 0.0), (0.5, 0.95))


def claim() -> str:
    """What the rule makes of the paper's claim of invariance, and what it rests on."""
    (row,) = [row for row in ledger.rows() if row.claim.id == "uhrig-invariance"]
    told = f"That SparseConvNet is invariant to the level of sparsity is {row.word}"
    losses: dict[float, list[str]] = {}  # trained at -> what that loses elsewhere
    for contrast, cell in zip(row.claim.contrasts(), row.verdict.cells, strict=True):
        if contrast.subtrahend is not None and cell["n"]:
            it = f"{_loss(cell)} at {contrast.minuend.test:g}"
            losses.setdefault(contrast.subtrahend.train, []).append(it)
    if not losses:
        return f"{told}."
    allowed = in_a_row(sorted({f"{contrast.high:g}" for contrast in row.claim.contrasts()}))
    n = span({cell["n"] for cell in row.verdict.cells if cell["n"]})
    lost = "; ".join(f"trained at p = {p:g}, it loses {in_a_row(its)}" for p, its in losses.items())
    return (
        f"{told}. In points, against itself trained where it is tested: {lost} "
        f"({ledger.level(row.claim)}s in brackets, n = {n}); the rule allows {allowed}."
    )


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
    told, seeds = [], set()
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
        f"Training at p = {trained_at:g} costs at the worst test sparsity, in points against the "
        f"same network trained there: {'; '.join(told)} "
        f"(n = {span(seeds)}, 95 % intervals in brackets; {sought_over(sparsities)})."
        f"{_at_worst_alone(trained_at, sparsities, protocol)}"
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
            told.append(f"{network}’s, {regret_in_points(summary)} at {named}")
    return f" Sought wherever it was trained itself: {'; '.join(told)}." if told else ""


def far(pairs: Sequence[tuple[float, float]] = TOLD, protocol: str = "fair") -> str:
    """How networks do far from where they were trained.

    pairs: (trained at, tested at).
    """
    cells, sentences = measured(protocol), []
    for p, q in pairs:
        here = {
            network: cells[network, p, q]
            for network in PAPERS_NETWORKS
            if cells.get((network, p, q))
        }
        if SPARSE not in here:
            continue
        scores = ", ".join(f"{network} {percents(seeds)} %" for network, seeds in here.items())
        gaps = [
            f"{points(gap)} against {other}"
            for other in DENSE_NETWORKS
            if (gap := difference(here[SPARSE], here.get(other, {})))
        ]
        told = f" In points, SparseConvNet has {' and '.join(gaps)}." if gaps else ""
        told += _sentence(along_the_row(cells, p))
        sentences.append(f"Trained at p = {p:g} and tested at p = {q:g}: {scores}.{told}")
    if not sentences:
        return "No network has been tested far from where it was trained yet."
    return (
        f"{' '.join(sentences)} (Digits, equal care for every network, mean ± standard deviation; "
        f"differences with ± half of the 95 % interval, {n_of(cells)}; "
        f"{devices(records_at(protocol, pairs))}.)"
    )


@dataclass(frozen=True)
class Shown:
    """At which of some cells a difference is shown to be above 0, and at which below.

    corrected: after Holm's correction over all of them; single: by single tests alone.
    """

    tested: int
    corrected: tuple[tuple[float, ...], tuple[float, ...]]
    single: tuple[tuple[float, ...], tuple[float, ...]]


def shown(gaps: Mapping[float, Sequence[float]]) -> Shown:
    """Two-sided tests at 5 % of paired differences; by which is told them apart, such as q."""
    above = [p_above(gap, 0.0) for gap in gaps.values()]
    two_sided = [
        min(1.0, 2 * min(p, p_below(gap, 0.0))) for p, gap in zip(above, gaps.values(), strict=True)
    ]
    corrected: list[tuple[float, ...]] = []
    single: list[tuple[float, ...]] = []
    for side in (True, False):
        its = [
            (q, alone, adjusted)
            for q, p, alone, adjusted in zip(gaps, above, two_sided, holm(two_sided), strict=True)
            if (p < 0.5) == side
        ]
        corrected.append(tuple(q for q, _, adjusted in its if adjusted < 0.05))
        single.append(tuple(q for q, alone, adjusted in its if alone < 0.05 <= adjusted))
    return Shown(len(gaps), (corrected[0], corrected[1]), (single[0], single[1]))


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
            found[other] = shown(gaps)
    return found


def _sentence(found: Mapping[str, Shown]) -> str:
    """ " At the 7 other test sparsities ... SparseConvNet is ...", or nothing."""
    if not found:
        return ""
    return f" {_elsewhere(found)} {_where(found)}."


def _elsewhere(found: Mapping[str, Shown]) -> str:
    tested = max(each.tested for each in found.values())
    return (
        f"At the {tested} sparsities that it was not trained at, after Holm’s correction over them "
        "(in brackets: only without it), SparseConvNet is shown to be"
    )


def _where(found: Mapping[str, Shown]) -> str:
    """ "better than ConvNet at 0.9 (0 and 0.7) and worse nowhere, better than ..."."""
    return ", ".join(
        f"better than {other} {_places(each.corrected[0], each.single[0])} and worse "
        f"{_places(each.corrected[1], each.single[1])}"
        for other, each in found.items()
    )


def _places(corrected: Sequence[float], single: Sequence[float]) -> str:
    at = f"at {in_a_row([f'{q:g}' for q in corrected])}" if corrected else "nowhere"
    return f"{at} ({in_a_row([f'{q:g}' for q in single])})" if single else at


def far_in_short(protocol: str = "fair") -> str:
    """At which test sparsities the layer is shown to differ from networks without it."""
    cells = measured(protocol)
    rows = {p: found for p in TWO_SPARSITIES if (found := along_the_row(cells, p))}
    if not rows:
        return "No network has been tested far from where it was trained yet."
    told = "; ".join(f"trained at p = {p:g}, {_where(found)}" for p, found in rows.items())
    begin = _elsewhere({str(p): each for p, found in rows.items() for each in found.values()})
    return f"{begin}, {told}. ({n_of(cells)}.)"


def dilation(protocol: str = "fair") -> str:
    """What dilating the mask is worth away from the training sparsity."""
    cells, told = measured(protocol), []
    for p in TWO_SPARSITIES:
        if not (row := along_the_row(cells, p, (KEPT,))):
            continue
        gaps = {
            q: gap
            for q in TEST_SPARSITIES
            if q != p
            and (gap := difference(cells.get((SPARSE, p, q), {}), cells.get((KEPT, p, q), {})))
        }
        least, most = (choose(gaps, key=lambda q: gaps[q].mean) for choose in (min, max))
        told.append(
            f"trained at p = {p:g}, from {points(gaps[least])} (tested at {least:g}) to "
            f"{points(gaps[most])} points ({most:g}), {_where(row)}"
        )
    if not told:
        return "A mask that is kept as it is has not been run yet."
    found = records_at(protocol, [(p, p) for p in TWO_SPARSITIES])
    return (
        "Dilating the mask, the line that the source left out, gives SparseConvNet at the "
        "sparsities that it was not trained at, after Holm’s correction over them (in brackets: "
        f"only without it): {'; '.join(told)} ({n_of(cells)}; {devices(found)})."
    )


def equal_care(p: float) -> str:
    """Every network against ConvNet, trained and tested at p with equal care."""
    cells = measured("fair")
    gaps = [
        f"{network} {points(gap)}"
        for network in (KEPT, SPARSE, "ConvNet+mask")
        if (gap := _gap_at(cells, network, p))
    ]
    if not gaps:
        return "With equal care for every network nothing has been trained there yet."
    return (
        "With equal care for every network, each trained until two epochs bring nothing better on "
        f"held-out images, the differences are, in points: {', '.join(gaps)} (± half of the 95 % "
        f"interval, {n_of(cells)}; {devices(records_at('fair', [(p, p)]))})."
    )


def batch_norm(protocol: str = "fair") -> str:
    """Whether stale statistics are why networks fail away from their training, and what is left."""
    gains = statistics_gains(protocol)
    if not gains:
        return "What re-estimating BatchNorm’s statistics gives has not been run by two seeds yet."
    found = {
        network: shown({float(i): gap for i, gap in enumerate(gaps.values())})
        for network, gaps in gains.items()
    }
    told = [
        f"{network} better in {_count(each, 0)} and worse in {_count(each, 1)}"
        for network, each in found.items()
    ]
    helped = [network for network in DENSE_NETWORKS if network in found
              and found[network].corrected[0]]  # fmt: skip
    number = len(next(iter(gains.values())))
    again = measured(protocol, REESTIMATED)
    left = {p: row for p in TWO_SPARSITIES if (row := along_the_row(again, p))}
    rest = "; ".join(f"trained at p = {p:g}, {_where(row)}" for p, row in left.items())
    return (
        f"Stale statistics are {'' if helped else 'not '}shown to be a reason why plain "
        f"convolutions do worse away from their training. Of the {number} cells off the diagonal "
        "that all networks have, re-estimated statistics make, after Holm’s correction over them "
        f"(in brackets: only without it), {'; '.join(told)}."
        + (f" With them SparseConvNet is, {rest}." if rest else "")
        + f" ({seeds_of(gains)}; {devices(gains_behind(gains, protocol))}.)"
    )


def _count(each: Shown, side: int) -> str:
    corrected, single = len(each.corrected[side]), len(each.single[side])
    return f"{corrected or 'none'}" + (f" ({single})" if single else "")


def cures_far(p: float = TOLD[0][0], q: float = TOLD[0][1]) -> str:
    """What each cure gives ConvNet far from where it was trained, in points, paired by seed."""
    plain = measured("fair").get(("ConvNet", p, q), {})
    cures = {
        "dividing its input gives": measured(RESCALED).get(("ConvNet", p, q), {}),
        "re-estimating BatchNorm’s statistics": measured("fair", REESTIMATED).get(
            ("ConvNet", p, q), {}
        ),
        "training it at all sparsities instead, those near the tested one among them,": measured(
            MIXED
        ).get(("ConvNet", PAPERS_SPARSITY, q), {}),
    }
    gaps = {cure: gap for cure, seeds in cures.items() if (gap := difference(seeds, plain))}
    if not gaps:
        return "No cure has been run yet."
    told = "; ".join(f"{cure} {points(gap)}" for cure, gap in gaps.items())
    return (
        f"To ConvNet, trained at p = {p:g} and tested at p = {q:g}, in points, ± half of the "
        f"95 % interval, {told} (n = {span({gap.n for gap in gaps.values()})})."
    )


def mixed() -> str:
    """Whether training at many sparsities makes the layer needless, and what that costs."""
    cells, own = measured(MIXED), measured("fair")
    told = []
    for other in DENSE_NETWORKS:
        gaps = [
            f"{points(gap)} at {q:g}"
            for q in (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY)
            if (
                gap := difference(
                    cells.get((SPARSE, PAPERS_SPARSITY, q), {}),
                    cells.get((other, PAPERS_SPARSITY, q), {}),
                )
            )
        ]
        if gaps:
            told.append(f"against {other} {in_a_row(gaps)}")
    if not told:
        return "Training at mixed sparsities has not been run yet."
    q = TWO_SPARSITIES[-1]
    price = [
        f"{network} {points(gap)}"
        for network in NETWORKS
        if (
            gap := difference(
                cells.get((network, PAPERS_SPARSITY, q), {}), own.get((network, q, q), {})
            )
        )
    ]
    return (
        f"Trained at all sparsities at once, SparseConvNet has, in points, {'; '.join(told)}. "
        + (
            f"Beside training at p = {q:g} alone, that gives at p = {q:g}: {', '.join(price)}. "
            if price
            else ""
        )
        + f"(± half of the 95 % interval, {n_of(cells)}; "
        f"{devices(records.load(transfer.EXPERIMENT, MIXED))}.)"
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
        "Held-out accuracy in per cent by learning rate, each trained until nothing improved, at "
        f"p = {tuned[0].key.sparsity:g}, seed 0, n = 1: {'; '.join(told)}. A tenth of a point is "
        f"{tuned[0].protocol.held_out // 1000} of the {tuned[0].protocol.held_out:,} held-out "
        f"images, so that near rates are not told apart. ({devices(tuned)}.)"
    )


def stopping(protocol: str = "fair") -> str:
    """How long trainings went on, and whether those that did were better for it."""
    found = records.load(transfer.EXPERIMENT, protocol)
    cells: dict[tuple[str, float], list[Record]] = {}
    for record in found:
        cells.setdefault((record.key.network, record.key.sparsity), []).append(record)
    rs = [r for its in cells.values() if (r := _longer_is_better(its)) is not None]
    if not rs:
        return "How long it takes until nothing improves has not been run by three seeds yet."
    p, q = TOLD[0]
    moved = _longer_is_better(cells.get(("ConvNet", p), []), q)
    there = (
        f" For ConvNet, trained at p = {p:g} and tested at p = {q:g}, it is {_of_r(moved)}: a part "
        "of what it loses there may be that some of its trainings were stopped early."
        if moved is not None and moved > 0.5
        else ""
    )
    share = sum(r > 0 for r in rs) / len(rs)
    early = ", so that the stop comes early" if share > 0.75 else ""
    return (
        f"Trainings ended after {span([chosen(record)[1] for record in found])} epochs. Among the "
        "seeds of a network and sparsity, the correlation of epochs and accuracy where they were "
        f"trained is above 0 in {sum(r > 0 for r in rs)} of {len(rs)} cases, from "
        f"{_of_r(min(rs))} to {_of_r(max(rs))}{early}.{there} More patience has not been tried yet."
    )


def _longer_is_better(found: Sequence[Record], tested_at: float | None = None) -> Traced | None:
    """Pearson's r over seeds of epochs and accuracy, by default where they were trained.

    None for less than three seeds, or where one of the two does not vary.
    """
    epochs = np.array([chosen(record)[1] for record in found], dtype=float)
    scores = [
        record.accuracy if tested_at is None else record.accuracy_at(tested_at) for record in found
    ]
    if len(found) < 3 or not epochs.std() or not np.std(scores):
        return None
    return Traced(float(np.corrcoef(epochs, scores)[0, 1]), behind(scores))


def _of_r(r: Traced) -> str:
    return numbers.number(f"{r:+.2f}".replace("-", "−"), r)


def same_sparsity(protocol: str = "fair") -> str:
    """Trained and tested at one sparsity with equal care: does the layer help?"""
    cells, told = measured(protocol), []
    for network in NETWORKS[1:]:
        gaps = [(p, gap) for p in TEST_SPARSITIES if (gap := _gap_at(cells, network, p))]
        if gaps:
            parts = ", ".join(f"{points(gap)} (p = {p:g})" for p, gap in gaps)
            told.append(f"{network} {parts}")
    if not told:
        return "The fair protocol has not been run yet."
    return (
        "With equal care for every network, trained and tested at one sparsity, in points against "
        f"ConvNet: {'; '.join(told)} ({n_of(cells)})."
    )


def same_sparsity_in_short(protocol: str = "fair") -> str:
    """The same without its numbers: at which sparsities a network is told apart from ConvNet."""
    cells = measured(protocol)
    gaps = {
        network: {p: gap for p in TEST_SPARSITIES if (gap := _gap_at(cells, network, p))}
        for network in NETWORKS[1:]
    }
    tried = sorted({p for by in gaps.values() for p in by})
    if not tried:
        return "The fair protocol has not been run yet."
    return (
        f"{captions.differences(gaps, 'ConvNet')}(Tried at p = "
        f"{in_a_row([f'{p:g}' for p in tried])}; {n_of(cells)}.)"
    )


def _gap_at(cells: Cells, network: str, p: float) -> Summary | None:
    """A network against ConvNet, both trained and tested at p."""
    return difference(cells.get((network, p, p), {}), cells.get(("ConvNet", p, p), {}))


FILLED = {"value": "0", "mean": "the mean of the observed pixels", "nearest": "the nearest of them"}


def fills() -> str:
    """Whether SparseConvNet wins where 0 is a bad guess, and against a better fill."""
    p, told, counts = TWO_SPARSITIES[-1], [], set()
    own = _over_fills("inverted", p, p)
    for q, where in (
        (p, f"Trained and tested at p = {p:g}, SparseConvNet has against ConvNet, in points, "),
        (PAPERS_SPARSITY, f"Trained there and tested at p = {PAPERS_SPARSITY:g}: "),
    ):
        grounds = []
        for ground, name in (("as they are", "digits as they are"), ("inverted", "inverted ones")):
            gaps = _over_fills(ground, p, q)
            counts |= {gap.n for gap in gaps.values()}
            if gaps:
                parts = [f"{points(gap)} given {FILLED[fill]}" for fill, gap in gaps.items()]
                grounds.append(f"on {name} {in_a_row(parts)}")
        if grounds:
            told.append(f"{where}{'; '.join(grounds)}.")
    if not told:
        return "What the fill is worth has not been run yet."
    better = [gap for fill, gap in own.items() if fill != "value"]
    lead = (
        "Against that guess it wins; against ConvNet given a better one it is not shown to. "
        if better and own["value"].low > 0 and not any(gap.low > 0 for gap in better)
        else ""
    )
    return (
        f"{lead}{' '.join(told)} (What ConvNet is given stands for a missing pixel; ± half of the "
        f"95 % interval, n = {span(counts)}.)"
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
    told: list[str] = []
    n: set[int] = set()
    for network in PAPERS_NETWORKS:
        parts = []
        for kind in ("block", "scan_line"):
            own = _by_seed(full_name(f"fair, mask_kind={kind}"), network, sparsity, kind)
            moved = _by_seed("fair", network, sparsity, kind)
            if gap := difference(moved, own):
                parts.append(f"{points(gap)} on {KINDS[kind]}")
                n.add(gap.n)
        if parts:
            told.append(f"{network} {' and '.join(parts)}")
    if not told:
        return _kinds_so_far(sparsity)
    return (
        f"Trained on single missing pixels at p = {sparsity:g} and tested on another kind, "
        f"{_sparse_against(sparsity, lambda kind: 'fair')}. Trained on that kind itself, "
        f"{_sparse_against(sparsity, lambda kind: full_name(f'fair, mask_kind={kind}'))}. "
        f"Not having met it costs {'; '.join(told)}. (In points, ± half of the 95 % interval, "
        f"n = {span(n)}.)"
    )


def _sparse_against(sparsity: float, trained_on: Callable[[str], str]) -> str:
    """SparseConvNet against the others on blocks and on scan lines.

    trained_on: kind of mask that is tested -> protocol of the training.
    """
    told = []
    for other in DENSE_NETWORKS:
        gaps = [
            f"{points(gap)} on {KINDS[kind]}"
            for kind in ("block", "scan_line")
            if (
                gap := difference(
                    *(
                        _by_seed(trained_on(kind), network, sparsity, kind)
                        for network in (SPARSE, other)
                    )
                )
            )
        ]
        if gaps:
            told.append(f"against {other} {' and '.join(gaps)}")
    return f"SparseConvNet has {', '.join(told)}" if told else "SparseConvNet stands alone"


def _kinds_so_far(sparsity: float) -> str:
    """The same before any network has been trained on another kind."""
    told = []
    for network in PAPERS_NETWORKS:
        block, line = (_by_seed("fair", network, sparsity, kind) for kind in ("block", "scan_line"))
        if block and line:
            told.append(f"{network} {percents(block)} and {percents(line)}")
    lacking = "Training on blocks or scan lines has not been run yet."
    if not told:
        return lacking
    return (
        f"Trained on single missing pixels at p = {sparsity:g}, tested with as many missing in "
        f"blocks and in scan lines, accuracies in per cent, mean ± standard deviation, are: "
        f"{'; '.join(told)}. {lacking}"
    )


def _by_seed(protocol: str, network: str, sparsity: float, kind: str) -> dict[int, float]:
    return {
        record.key.seed: score
        for record in records.load(transfer.EXPERIMENT, protocol)
        if (record.key.network, record.key.sparsity) == (network, sparsity)
        and (score := on_masks(record, kind)) is not None
    }


def _far_to_fewer() -> str:
    return far(TOLD[:1])


def _far_to_more() -> str:
    return far(TOLD[1:])


# The chapter's questions, and what answers each in words that may be quoted.
FINDINGS: dict[str, Callable[[], str]] = {
    "Is the layer invariant?": claim,
    "Trained with few pixels, tested with all of them?": _far_to_fewer,
    "Trained with half of them, tested with few?": _far_to_more,
    "What does a training sparsity cost at worst?": at_worst,
    "Is BatchNorm the reason?": batch_norm,
    "Does the mask have to be dilated?": dilation,
    "Does training at all sparsities do as well?": mixed,
    "Where it was trained, with equal care?": same_sparsity,
    "Where 0 is a bad guess?": fills,
    "Where pixels go missing in another way?": kinds,
}
