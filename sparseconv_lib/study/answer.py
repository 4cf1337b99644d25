"""The report's question answered in a few sentences, for whoever reads no further."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from sparseconv_lib.study import depth_in_words, ledger, numbers, report_caltech
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.comparisons import Shown
from sparseconv_lib.study.grid import DENSE_NETWORKS, grid_of
from sparseconv_lib.study.report import signed
from sparseconv_lib.study.report_invariance import KEPT, SPARSE, diagonal, shown_among
from sparseconv_lib.study.statistics import Summary, summarise
from sparseconv_lib.study.wording import n_of_gaps


def at_one_sparsity() -> str:
    """Where the layer is shown to be better or worse than plain convolutions, and by how much."""
    several = {
        pair: {p: gap for p, gap in gaps.items() if len(gap) > 1}
        for pair, gaps in diagonal().items()
        if pair[1] in DENSE_NETWORKS
    }
    told = {
        own: [
            _ahead_and_behind(other, gaps, shown)
            for (network, other), gaps in several.items()
            if network == own and (shown := shown_among(gaps)).tested
        ]
        for own in (SPARSE, KEPT)
    }
    if not any(told.values()):
        return f"{SPARSE} and a plain network have not been trained on digits by two seeds yet."
    compared = [gaps for (own, _), gaps in several.items() if told.get(own)]
    tried = [f"{p:g}" for p in sorted({p for gaps in compared for p in gaps})]
    n = n_of_gaps([summarise(gap) for gaps in compared for gap in gaps.values()])
    is_shown = ". ".join(f"{own} is shown {'; '.join(its)}" for own, its in told.items() if its)
    return (
        "On digits, each network trained until held-out images show no improvement and tested at "
        f"the sparsity of its training, {is_shown} (after Holm’s "
        f"correction over p = {in_a_row(tried)}, {n})."
    )


def _ahead_and_behind(other: str, gaps: Mapping[float, Sequence[float]], shown: Shown) -> str:
    if not shown.above and not shown.below:
        return f"to differ from {other} nowhere"
    return (
        f"to beat {other} {_where(gaps, shown.above)} and to lose to it {_where(gaps, shown.below)}"
    )


def _where(gaps: Mapping[float, Sequence[float]], sparsities: Iterable[float]) -> str:
    """ "by 1.3 to 3.0 points at p = 0.8 and 0.9", or "nowhere"."""
    at = sorted(sparsities)
    if not at:
        return "nowhere"
    by_size = sorted((summarise(gaps[p]) for p in at), key=lambda gap: abs(gap.mean))
    sizes = [_size(gap) for gap in (by_size[0], by_size[-1])[: len(at)]]
    return f"by {' to '.join(sizes)} points at p = {in_a_row([f'{p:g}' for p in at])}"


def _size(gap: Summary) -> str:
    return numbers.number(f"{100 * abs(gap.mean):.1f}", gap, f"{100 * gap.sd:.2f} points")


def by_the_rules() -> str:
    """The verdicts on what the source and the original paper claim of the whole question.

    A claim of many comparisons falls with one: then which it is, and what the source's code makes
    of it where that is the opposite.
    """
    rows = [
        ledger.row_of(name)
        for name in (
            "mnist-no-gain",
            "caltech-no-gain",
            "uhrig-invariance",
            "uhrig-transfers-better",
        )
    ]
    digits, photographs, invariant, better = (row.word for row in rows)
    decided = ""
    if digits == "not reproduced":
        turned = ledger.turned_by_the_code(rows[0])
        decided = (
            f" The source’s claim falls on digits by {ledger.ours(rows[0], named=True)}. {turned}"
        )
    return (
        "By rules committed before the runs, the source’s claim that its layer gains nothing is "
        f"{digits} on digits and {photographs} on photographs; of the original paper’s claims, "
        f"asked of digits, that {SPARSE} is invariant to sparsity is {invariant}, and that it "
        "beats plain convolutions at a sparsity not met in training, even those that are given the "
        f"mask, is {better}.{decided.rstrip()}"
    )


def on_photographs() -> str:
    """How many differences on photographs are shown to be a gain of the source's layer, or none."""
    gaps = {label: gap for label, gap in report_caltech.gaps().items() if len(gap) > 1}
    if not gaps:
        return "Photographs have not been run by two seeds yet."
    shown = shown_among(gaps)
    grids = [grid_of("caltech", protocol) for protocol in report_caltech.SPLIT_IN_SHORT]
    planned = sum(len(grid.sparsities) for grid in grids if grid)
    so_far = f" (of {planned} planned)" if len(gaps) < planned else ""
    run = sorted((summarise(gap) for gap in gaps.values()), key=lambda gap: gap.mean)
    ends = " to ".join(
        dict.fromkeys(numbers.number(signed(100 * gap.mean, 1), gap) for gap in (run[0], run[-1]))
    )
    many = len(gaps) > 1
    return (
        f"On photographs, trained as the source’s text has it, {len(gaps)} difference"
        f"{'s' * many}{so_far} between {report_caltech.SPARSE} and {report_caltech.PLAIN} "
        f"{'go from' if many else 'is'} {ends} points: {len(shown.above) or 'none'} shown to be a "
        f"gain, {len(shown.below) or 'none'} a loss (after Holm’s correction, {n_of_gaps(run)})."
    )


# Does the layer help to classify? A line for each, by the name that the first page has it under.
ANSWERS: dict[str, Callable[[], str]] = {
    "answer_digits": at_one_sparsity,
    "answer_claims": by_the_rules,
    "answer_photographs": on_photographs,
    "answer_maps": depth_in_words.kept_in_short,
}
