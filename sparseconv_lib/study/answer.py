"""The report's question answered in a few sentences, for whoever reads no further."""

from collections.abc import Callable, Mapping, Sequence

from sparseconv_lib.study import (
    depth_in_words,
    invariance_in_words,
    ledger,
    numbers,
    report_caltech,
    report_resnet,
    whole_matrix,
)
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.claims import NOT_REPRODUCED
from sparseconv_lib.study.comparisons import Shown
from sparseconv_lib.study.grid import DENSE_NETWORKS, grid_of
from sparseconv_lib.study.report import signed
from sparseconv_lib.study.report_invariance import KEPT, SPARSE, diagonal, shown_among
from sparseconv_lib.study.statistics import Summary, summarise
from sparseconv_lib.study.wording import n_of_gaps

SOURCES_CLAIMS = ("mnist-no-gain", "caltech-no-gain")
PAPERS_CLAIMS = ("uhrig-invariance", "uhrig-transfers-better")
Gaps = Mapping[float, Sequence[float]]

# A plain network -> what it is told of the missing pixels.
TOLD = {
    "ConvNet": "which is not told which pixels are missing",
    "ConvNet+mask": "which reads the mask as one more channel",
}
NO_PHOTOGRAPHS = "Photographs have not been run by two seeds yet."


def in_plain_words() -> str:
    """Does the layer help? Without sizes: where it is shown to win and to lose, then the verdicts.

    Of digits the original paper's layer is told, of photographs the source's, of which alone the
    grid asks several sparsities there.
    """
    several = _of_several_seeds()
    against = [
        f"to win {_at(shown.above)} and to lose {_at(shown.below)} against {other}, {told}"
        for other, told in TOLD.items()
        if (shown := shown_among(several.get((SPARSE, other), {}))).tested
    ]
    digits = (
        "On digits with equal care, trained and tested at one sparsity, the original paper’s layer "
        f"is shown {'; '.join(against)}."
        if against
        else "Digits have not been run by two seeds yet."
    )
    verdicts = f"{_of_the_sources_verdicts()} {_of_the_papers_verdicts()}"
    return f"{digits}{_on_average()} {_shown_on_photographs()} {verdicts}"


def _on_average() -> str:
    """Where the layer is shown to be ahead or behind on average over where it was trained."""
    gaps = whole_matrix.leads(whole_matrix.parts())
    shown = shown_among(gaps)
    told = [
        f"{which} {in_a_row(its)}"
        for which, found in (("ahead of", shown.above), ("behind", shown.below))
        if (its := [other for part, other in found if part == whole_matrix.WHERE_TRAINED])
    ]
    return (
        " On average over the sparsities of training, a summary chosen with the records in view, "
        f"it is shown to be {in_a_row(told)}."
        if told
        else ""
    )


def _of_the_sources_verdicts() -> str:
    """What is made of the claim that the layer gains nothing; and where its code parts from it."""
    digits, photographs = (ledger.row_of(name) for name in SOURCES_CLAIMS)
    where = ""
    if digits.word == NOT_REPRODUCED and ledger.turned_by_the_code(digits):
        assert digits.verdict.decisive is not None
        cells = digits.verdict.cells
        p = digits.claim.contrasts()[digits.verdict.decisive].minuend.train
        if sum(cell["outside"] is True for cell in cells) == 1:
            where = (
                f" (by one of {len(cells)} sparsities: at p = {p:g} it gains if trained as the "
                "source’s text has it, and does not if trained as its code has it)"
            )
    return (
        f"The source’s claim that its layer gains nothing is {digits.word} on digits{where} and "
        f"{photographs.word} on photographs."
    )


def _of_the_papers_verdicts() -> str:
    invariant, better = (ledger.row_of(name) for name in PAPERS_CLAIMS)
    which_way = invariance_in_words.which_way(invariant)
    return (
        "Of the original paper’s claims, asked of digits, that its layer does as well at other "
        f"sparsities as if it were trained there is {invariant.word}"
        f"{f' ({which_way})' if which_way else ''}; that it beats plain networks there, even those "
        f"that are given the mask, is {better.word}."
    )


def _at(sparsities: Sequence[float]) -> str:
    """ "at p = 0.8 and 0.9", or "nowhere"."""
    return f"at p = {in_a_row([f'{p:g}' for p in sorted(sparsities)])}" if sparsities else "nowhere"


def _shown_on_photographs() -> str:
    gaps, planned = _photographs()
    if not gaps:
        return NO_PHOTOGRAPHS
    shown = shown_among(gaps)
    planned_too = f" (of {planned} planned)" if len(gaps) < planned else ""
    return (
        "On photographs, trained as the source’s text has it, the source’s layer is shown to win "
        f"against ConvNet in {len(shown.above) or 'none'} of {len(gaps)} comparison"
        f"{'s' * (len(gaps) > 1)}{planned_too} and to lose in {len(shown.below) or 'none'}."
    )


def _of_several_seeds() -> dict[tuple[str, str], Gaps]:
    """(a network, a plain one) -> p -> the differences of two seeds or more."""
    return {
        pair: {p: gap for p, gap in gaps.items() if len(gap) > 1}
        for pair, gaps in diagonal().items()
        if pair[1] in DENSE_NETWORKS
    }


def at_one_sparsity() -> str:
    """Where the layer is shown to be better or worse than plain convolutions, and by how much."""
    several = _of_several_seeds()
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
        "On digits with equal care, each network tested at the sparsity of its training, "
        f"{is_shown} (after Holm’s correction for each pair; compared at p = {in_a_row(tried)}, "
        f"{n})."
    )


def _ahead_and_behind(other: str, gaps: Gaps, shown: Shown) -> str:
    if not shown.above and not shown.below:
        return f"to differ from {other} nowhere"
    return (
        f"to beat {other} {_where(gaps, shown.above)} and to lose to it {_where(gaps, shown.below)}"
    )


def _where(gaps: Gaps, sparsities: Sequence[float]) -> str:
    """ "by 1.3 to 3.0 points at p = 0.8 and 0.9", or "nowhere"."""
    if not sparsities:
        return "nowhere"
    by_size = sorted((summarise(gaps[p]) for p in sparsities), key=lambda gap: abs(gap.mean))
    sizes = [_size(gap) for gap in (by_size[0], by_size[-1])[: len(by_size)]]
    return f"by {' to '.join(sizes)} points {_at(sparsities)}"


def _size(gap: Summary) -> str:
    return numbers.number(f"{100 * abs(gap.mean):.1f}", gap, f"{100 * gap.sd:.2f} points")


def of_the_sources_claim() -> str:
    """The verdicts on what the source claims of the whole question.

    A claim of many comparisons falls with one: then which it is, and what the source's code makes
    of it where that is the opposite.
    """
    digits, photographs = (ledger.row_of(name) for name in SOURCES_CLAIMS)
    told = (
        "By rules committed before the runs, the source’s claim that its layer gains nothing is "
        f"{digits.word} on digits and {photographs.word} on photographs."
    )
    if digits.word != NOT_REPRODUCED:
        return told
    assert digits.verdict.decisive is not None
    decisive = digits.claim.contrasts()[digits.verdict.decisive]
    return (
        f"{told} Decisive on digits, trained as the source’s text has it (as_written), is "
        f"{ledger.ours(digits, named=True)}; the rule asks for {ledger.in_bounds(decisive)}. "
        f"{ledger.turned_by_the_code(digits)}"
    ).rstrip()


def of_the_papers_claims() -> str:
    """The verdicts on what the original paper claims, with what decides or comes nearest to it."""
    told = invariance_in_words.claims_in_short()
    return (
        "Of the original paper’s claims, asked of digits with equal care: "
        f"{told[0].lower()}{told[1:]}"
    )


def on_photographs() -> str:
    """How many differences on photographs are shown to be a gain of the source's layer, or none."""
    gaps, planned = _photographs()
    if not gaps:
        return NO_PHOTOGRAPHS
    shown = shown_among(gaps)
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
        f"{_photographs_once()}"
    )


def _photographs_once() -> str:
    """The differences on photographs that one seed tells, which are not counted; "" if none."""
    once = {label: gap for label, gap in report_caltech.gaps().items() if len(gap) == 1}
    if not once:
        return ""
    told = [
        f"{numbers.number(signed(100 * gap[0], 1), summarise(gap))} at p = {p:g}"
        for (_, p), gap in once.items()
    ]
    return f" Not counted, one run each: {in_a_row(told)}."


def _photographs() -> tuple[dict[tuple[str, float], list[float]], int]:
    """(protocol of a split, sparsity) -> the differences of several seeds; how many are planned."""
    gaps = {label: gap for label, gap in report_caltech.gaps().items() if len(gap) > 1}
    grids = [grid_of("caltech", protocol) for protocol in report_caltech.SPLIT_IN_SHORT]
    return gaps, sum(len(grid.sparsities) for grid in grids if grid)


# What stands under the answer in plain words, by the name that the first page has it under.
IN_NUMBERS: dict[str, Callable[[], str]] = {
    "answer_digits": at_one_sparsity,
    "answer_source": of_the_sources_claim,
    "answer_paper": of_the_papers_claims,
    "answer_photographs": on_photographs,
    "answer_maps": depth_in_words.kept_in_short,
    "answer_notebook": report_caltech.notebook_in_short,
    "answer_resnet18": report_resnet.in_short,
}
