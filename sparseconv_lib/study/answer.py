"""The report's question answered in a few sentences, for whoever reads no further.

Each sentence says what tests show, and on which side: the numbers stand below it, in the answers
of the chapters.
"""

from collections.abc import Iterable, Mapping, Sequence

from sparseconv_lib.study import depth_in_words, ledger, numbers, report_caltech
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.report_invariance import SPARSE, diagonal, shown_among
from sparseconv_lib.study.statistics import Summary, summarise
from sparseconv_lib.study.wording import n_of_gaps

PAPERS_CLAIMS = ("uhrig-invariance", "uhrig-transfers-better")


def answer() -> str:
    """Does the layer help to classify? On digits, away from its training, on maps, photographs."""
    told = (at_one_sparsity(), of_the_paper(), depth_in_words.kept_in_short(), on_photographs())
    return " ".join(filter(None, told))


def at_one_sparsity() -> str:
    """Where the layer is shown to be better or worse than plain convolutions, and by how much."""
    compared = {other: gaps for (own, other), gaps in diagonal().items() if own == SPARSE}
    several = {
        other: {p: gap for p, gap in gaps.items() if len(gap) > 1}
        for other, gaps in compared.items()
    }
    told = [
        f"to beat {other} {_where(gaps, shown.above)} and to lose to it {_where(gaps, shown.below)}"
        for other, gaps in several.items()
        if (shown := shown_among(gaps)).tested
    ]
    if not told:
        return f"{SPARSE} and a plain network have not been trained on digits by two seeds yet."
    tried = sorted({p for gaps in several.values() for p in gaps})
    n = n_of_gaps([summarise(gap) for gaps in several.values() for gap in gaps.values()])
    return (
        "On digits, trained and tested at one sparsity with equal care, "
        f"{SPARSE} is shown {'; '.join(told)} ({len(tried)} sparsities from p = {tried[0]:g} to "
        f"{tried[-1]:g}, {n})."
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


def of_the_paper() -> str:
    """What the rules make of the original paper's two claims."""
    invariant, better = (ledger.row_of(name).word for name in PAPERS_CLAIMS)
    return (
        f"The original paper’s claim that it is invariant to sparsity is {invariant}; that it "
        "beats plain convolutions at a sparsity not met in training, even those that are given the "
        f"mask, is {better}."
    )


def on_photographs() -> str:
    """How many differences on photographs are shown to be a gain of the source's layer, or none."""
    gaps = report_caltech.gaps()
    shown = shown_among(gaps)
    if not shown.tested:
        return ""
    return (
        f"On photographs, so far in part, {report_caltech.SPARSE} is shown to be better than "
        f"{report_caltech.PLAIN} in {len(shown.above) or 'none'} of {shown.tested} comparisons "
        f"and worse in {len(shown.below) or 'none'}."
    )
