"""What else could make the difference, in sentences: cheap cures, fills, other kinds of masks.

Of fills and kinds of masks there is a short answer, fit to be quoted, and the whole of its numbers.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import records, transfer
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    FILLS,
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.protocol import full_name
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import devices
from sparseconv_lib.study.report_invariance import (
    FULLER,
    KINDS,
    MIXED,
    RESCALED,
    SPARSE,
    fill_protocol,
    on_masks_by_seed,
    records_at,
)
from sparseconv_lib.study.statistics import Summary
from sparseconv_lib.study.transfer import REESTIMATED, measured, over_the_row
from sparseconv_lib.study.wording import HALF, at_each, difference, percents, points, with_intervals

ASKED_AT = TWO_SPARSITIES[-1]  # where fills, kinds and mixed training are told of
TOLD_AT = (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY)
FILLED = {"value": "0", "mean": "the mean of the observed pixels", "nearest": "the nearest of them"}


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
        f"({with_intervals(HALF, {gap.n for gap in gaps.values()})}; {devices(trained)})."
    )


def mixed() -> str:
    """Whether a plain network that is trained at many sparsities makes the layer needless."""
    cells, own, p = measured(MIXED), measured("fair"), ASKED_AT
    alike = _present({
        other: difference(*(
            over_the_row(cells, network, PAPERS_SPARSITY, TEST_SPARSITIES)
            for network in (SPARSE, other)
        ))
        for other in DENSE_NETWORKS
    })  # fmt: skip
    sparse = over_the_row(own, SPARSE, p, TEST_SPARSITIES)
    instead = _present({
        other: difference(over_the_row(cells, other, PAPERS_SPARSITY, TEST_SPARSITIES), sparse)
        for other in DENSE_NETWORKS
    })  # fmt: skip
    far = PAPERS_SPARSITY
    there = _present({
        other: difference(_trained_at_all(other, far), own.get((SPARSE, far, far), {}))
        for other in DENSE_NETWORKS
    })  # fmt: skip
    told = []
    if alike:
        its = in_a_row([f"{points(gap)} over {other}" for other, gap in alike.items()])
        told.append(
            f"Trained with each image at its own sparsity, from 0 to {far:g}, SparseConvNet has, "
            f"averaged over the {len(TEST_SPARSITIES)} test sparsities, {its}, trained alike."
        )
    for begin, gaps in (
        (f"Such plain networks against a SparseConvNet trained at p = {p:g} alone", instead),
        (f"Tested at p = {far:g}, against a SparseConvNet trained there", there),
    ):
        if gaps:
            its = ", ".join(f"{other} {points(gap)}" for other, gap in gaps.items())
            told.append(f"{begin}: {its}.")
    if not told:
        return "Training at mixed sparsities has not been run yet."
    taken = [gap for gaps in (alike, instead, there) for gap in gaps.values()]
    return f"{' '.join(told)} (In points; {with_intervals(HALF, {gap.n for gap in taken})}.)"


def mixed_alike() -> str:
    """What the layer is worth where all train at many sparsities, and what that costs."""
    own, p = measured("fair"), ASKED_AT
    alike = _by_test(lambda other, q: (_trained_at_all(SPARSE, q), _trained_at_all(other, q)))
    price = _present(
        {n: difference(_trained_at_all(n, p), own.get((n, p, p), {})) for n in NETWORKS}
    )
    told = []
    if alike:
        its = [f"over {other} {at_each(gaps)}" for other, gaps in alike.items()]
        told.append(
            f"Where both are trained at all sparsities, SparseConvNet has {'; '.join(its)}."
        )
    if price:
        its = [f"{network} {points(gap)}" for network, gap in price.items()]
        told.append(
            f"Tested at p = {p:g}, such a training gives, over a network’s own there, "
            f"{', '.join(its)}."
        )
    if not told:
        return "Training at mixed sparsities has not been run yet."
    taken = [gap for by in (*alike.values(), price) for gap in by.values()]
    found = [*records.load(transfer.EXPERIMENT, MIXED), *records_at("fair", [(p, p)])]
    return (
        f"{' '.join(told)} (In points; {with_intervals(HALF, {gap.n for gap in taken})}; "
        f"{devices(found)}.)"
    )


def _trained_at_all(network: str, tested_at: float) -> Mapping[int, float]:
    return measured(MIXED).get((network, PAPERS_SPARSITY, tested_at), {})


def _by_test(
    pair: Callable[[str, float], tuple[Mapping[int, float], Mapping[int, float]]],
) -> dict[str, dict[float, Summary]]:
    """Dense network -> test sparsity -> difference of the two that `pair` gives, where there is."""
    gaps = {
        other: _present({q: difference(*pair(other, q)) for q in TOLD_AT})
        for other in DENSE_NETWORKS
    }
    return {other: its for other, its in gaps.items() if its}


def _present(gaps: Mapping[Any, Summary | None]) -> dict[Any, Summary]:
    """Those differences that there are."""
    return {key: gap for key, gap in gaps.items() if gap}


def fills() -> str:
    """Whether SparseConvNet wins where 0 is a bad guess, and where the guess is better."""
    p, told = ASKED_AT, []
    far: dict[str, bool] = {}  # the other and its fill -> whether the layer is worse, tested far
    taken: list[Summary] = []
    for other in DENSE_NETWORKS:
        gaps = _over_fills("inverted", p, p, other)
        if gaps:
            each = in_a_row([f"{points(gap)} given {FILLED[fill]}" for fill, gap in gaps.items()])
            told.append(f"over {other} {each}")
            taken += gaps.values()
        for fill, gap in _over_fills("inverted", p, PAPERS_SPARSITY, other).items():
            far[f"{other} given {FILLED[fill]}"] = gap.high < 0
    if not told:
        return "Whether SparseConvNet wins where 0 is a bad guess has not been run yet."
    worse, rest = ([name for name, is_worse in far.items() if is_worse is side]
                   for side in (True, False))  # fmt: skip
    than = in_a_row(worse) if worse else ""
    if len(worse) > 1 and len(worse) > len(rest):
        than = f"all of these{f' but {in_a_row(rest)}' if rest else ''}"
    single = (
        f" Tested at p = {PAPERS_SPARSITY:g} it is worse, by single intervals, than {than}."
        if worse
        else ""
    )
    return (
        f"On inverted digits SparseConvNet, trained and tested at p = {p:g}, has, in points, "
        f"{'; '.join(told)}.{single} (What the other is given stands for a missing pixel; "
        f"{with_intervals(HALF, {gap.n for gap in taken})}; {devices(_with_a_fill())}.)"
    )


def _with_a_fill(grounds: Collection[str] = ("inverted",)) -> list[Record]:
    """The records of fills, trained where they are told of."""
    names = dict.fromkeys(fill_protocol(ground, fill) for ground in grounds for fill in FILLS)
    return [record for name in names for record in records_at(name, [(ASKED_AT, ASKED_AT)])]


def fills_in_full() -> str:
    """SparseConvNet's differences from networks given a fill, on both grounds."""
    p, told = ASKED_AT, []
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
        f"{' '.join(told)} (What the other is given stands for a missing pixel; "
        f"{with_intervals(HALF, {gap.n for gap in taken})}; "
        f"{devices(_with_a_fill(('as they are', 'inverted')))}.)"
    )


def _over_fills(ground: str, trained_at: float, tested_at: float, other: str) -> dict[str, Summary]:
    """Fill -> SparseConvNet minus another network that is given it."""
    sparse = measured(fill_protocol(ground, "value")).get((SPARSE, trained_at, tested_at), {})
    gaps = {}
    for fill in FILLS:
        dense = measured(fill_protocol(ground, fill)).get((other, trained_at, tested_at), {})
        if gap := difference(sparse, dense):
            gaps[fill] = gap
    return gaps


def kinds(sparsity: float = ASKED_AT) -> str:
    """How the layer does where pixels go missing in another way than in training."""
    gaps = _sparse_over_others(sparsity, lambda kind: "fair")
    if not gaps:
        return _kinds_so_far(sparsity)
    seeds = {gap.n for its in gaps.values() for gap in its.values()}
    return (
        f"Trained on single missing pixels at p = {sparsity:g} and tested on another kind, "
        f"SparseConvNet has, in points, {_on_kinds(gaps, 'against ')} "
        f"({with_intervals(HALF, seeds)})."
    )


def kinds_in_full(sparsity: float = ASKED_AT) -> str:
    """The same for training on that kind, and what not having met it costs each network."""
    costs: dict[str, dict[str, Summary]] = {}
    for network in PAPERS_NETWORKS:
        for kind in ("block", "scan_line"):
            own = on_masks_by_seed(_trained_on(kind), network, sparsity, kind)
            moved = on_masks_by_seed("fair", network, sparsity, kind)
            if gap := difference(own, moved):
                costs.setdefault(network, {})[kind] = gap
    trained = _sparse_over_others(sparsity, _trained_on)
    told = []
    if trained:
        told.append(
            f"Trained and tested on one kind at p = {sparsity:g}, SparseConvNet has "
            f"{_on_kinds(trained, 'against ')}."
        )
    if costs:
        told.append(
            f"To have met single pixels in training instead of the kind tested costs "
            f"{_on_kinds(costs)}."
        )
    if not told:
        return "Training on blocks or scan lines has not been run yet."
    seeds = {gap.n for by in (costs, trained) for its in by.values() for gap in its.values()}
    found = [
        record
        for kind in ("bernoulli", "block", "scan_line")
        for record in records_at(_trained_on(kind), [(sparsity, sparsity)])
    ]
    return f"{' '.join(told)} (In points; {with_intervals(HALF, seeds)}; {devices(found)}.)"


def _trained_on(kind: str) -> str:
    """The protocol that trains on that kind of masks."""
    return "fair" if kind == "bernoulli" else full_name(f"fair, mask_kind={kind}")


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
    """Accuracies on other kinds, before there are two networks to compare."""
    told, several = [], False
    for network in PAPERS_NETWORKS:
        block, line = (
            on_masks_by_seed("fair", network, sparsity, kind) for kind in ("block", "scan_line")
        )
        if block and line:
            told.append(f"{network} {percents(block)} and {percents(line)}")
            several = several or len(block) > 1
    if not told:
        return "What moving to another kind of mask costs has not been run yet."
    return (
        f"Trained on single missing pixels at p = {sparsity:g}, tested with as many missing in "
        f"blocks and in scan lines, accuracies in per cent"
        f"{', mean ± standard deviation,' * several} are: {'; '.join(told)}."
    )
