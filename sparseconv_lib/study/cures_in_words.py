"""Cheap cures for a plain network that is tested at another sparsity, in sentences.

To divide its input by the share of observed pixels, to re-estimate BatchNorm's statistics, and to
train it at many sparsities.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import records, transfer, whole_matrix
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.report import devices
from sparseconv_lib.study.report_invariance import (
    FULLER,
    MIXED,
    RESCALED,
    SPARSE,
    records_at,
)
from sparseconv_lib.study.statistics import Summary
from sparseconv_lib.study.transfer import REESTIMATED, averaged, measured, over_the_row
from sparseconv_lib.study.wording import HALF, at_each, difference, points, with_intervals

ASKED_AT = TWO_SPARSITIES[-1]  # where mixed training is told of
TOLD_AT = (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY)


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


def left() -> str:
    """What the layer has over plain networks away from its training, after each cheap cure."""
    told: list[str] = []
    taken: list[Summary] = []
    of_all = whole_matrix.parts(REESTIMATED)
    for name in [*whole_matrix.PARTS][:2]:
        if name in of_all:
            average = of_all[name].average
            gaps = _present({o: difference(average[SPARSE], average[o]) for o in DENSE_NETWORKS})
            told += [f"tested {name}, {_over_each(gaps)}"] if gaps else []
            taken += gaps.values()
    sentences = [f"With re-estimated statistics: {'; '.join(told)}."] if told else []
    alike = _all_at_all()
    if alike:
        sentences.append(f"All trained at all sparsities: {_over_each(alike)}.")
    where = [(p, q) for p in TWO_SPARSITIES for q in TEST_SPARSITIES if p != q]
    divided = difference(
        averaged(measured("fair"), SPARSE, where), averaged(measured(RESCALED), "ConvNet", where)
    )
    if divided:
        trained = in_a_row([f"{p:g}" for p in TWO_SPARSITIES])
        sentences.append(
            f"With ConvNet’s input divided by 1 − p, which was run at p = {trained} alone: "
            f"{_over_each({'ConvNet': divided})}."
        )
    if not sentences:
        return "What is left of the layer’s lead after a cure has not been run yet."
    taken += [*alike.values(), *filter(None, [divided])]
    return (
        f"What SparseConvNet has on average, in points. {' '.join(sentences)} (A lead grows, too, "
        f"where a cure harms the other; {with_intervals(HALF, {gap.n for gap in taken})}.)"
    )


def _over_each(gaps: Mapping[str, Summary]) -> str:
    return in_a_row([f"{points(gap)} over {other}" for other, gap in gaps.items()])


def mixed() -> str:
    """Whether a plain network that is trained at many sparsities makes the layer needless."""
    cells, own, p = measured(MIXED), measured("fair"), ASKED_AT
    alike = _all_at_all()
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


def _all_at_all() -> dict[str, Summary]:
    """Other network -> what the layer has over it, all trained and tested at all sparsities."""
    cells = measured(MIXED)
    return _present({
        other: difference(*(
            over_the_row(cells, network, PAPERS_SPARSITY, TEST_SPARSITIES)
            for network in (SPARSE, other)
        ))
        for other in DENSE_NETWORKS
    })  # fmt: skip


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
