"""What else could make the difference, in sentences: fills, and other kinds of masks.

What SparseConvNet has over networks that are given a fill, and on other kinds of masks. Single
differences are shown or not as in the tables beside them, after one correction over each table.
"""

from collections.abc import Mapping

from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import DENSE_NETWORKS, FILLS, PAPERS_NETWORKS, TWO_SPARSITIES
from sparseconv_lib.study.marked import Marked
from sparseconv_lib.study.report import devices
from sparseconv_lib.study.report_confounds import (
    FILLED,
    FILLS_TESTED_AT,
    GROUNDS,
    KINDS,
    SINGLE,
    by_fill,
    by_kind,
    fill_gaps,
    fills_behind,
    kind_gaps,
    kinds_behind,
    over_fill,
)
from sparseconv_lib.study.report_invariance import SPARSE, n_of_seeds, shown_among
from sparseconv_lib.study.statistics import paired, summarise
from sparseconv_lib.study.transfer import averaged
from sparseconv_lib.study.wording import HALF, points, with_intervals

ASKED_AT = TWO_SPARSITIES[-1]  # where fills are told of that were trained where they are tested
ELSEWHERE = [(p, q) for p in TWO_SPARSITIES for q in FILLS_TESTED_AT if p != q]
OVER_TESTS = (
    f"averaged over training at p = {in_a_row([f'{p:g}' for p in TWO_SPARSITIES])} and tests at "
    f"{in_a_row([f'{q:g}' for q in FILLS_TESTED_AT])}"
)


def fills() -> str:
    """Whether SparseConvNet wins away from its training where 0 is a bad guess, or a better one."""
    cells = by_fill()
    gaps = {
        (other, fill): gap
        for other in DENSE_NETWORKS
        for fill in FILLS
        if (gap := over_fill(cells, "inverted", other, fill, ELSEWHERE))
    }
    if not gaps:
        return "Whether SparseConvNet wins where 0 is a bad guess cannot be said yet."
    shown = shown_among(gaps)
    told = _over_each_fill({label: points(summarise(gap)) for label, gap in gaps.items()})
    sides = []
    for side, labels in (("ahead of", shown.above), ("behind", shown.below)):
        by: dict[str, list[str]] = {}  # fill -> the networks that are given it
        for other, fill in labels:
            by.setdefault(fill, []).append(other)
        if by:
            its = [f"{in_a_row(others)}{_given(fill)}" for fill, others in by.items()]
            sides.append(f"{side} {in_a_row(its)}")
    verdict = f"is shown to be {', and '.join(sides)}" if sides else "is not shown to differ"
    tested = f"After Holm’s correction over {shown.tested} averages, which" * bool(shown.tested)
    return (
        f"On inverted digits SparseConvNet {verdict}. Tested elsewhere than trained, {OVER_TESTS}, "
        f"it has, in points, {told}. ({tested or 'Averages'} were chosen with the records in view; "
        f"{with_intervals(HALF, {len(gap) for gap in gaps.values()})}.)"
    )


def fills_trained(sparsity: float = ASKED_AT) -> str:
    """The same where both were trained."""
    every = fill_gaps()
    gaps = {
        label: gap
        for label, gap in every.items()
        if (label[0], label[1], label[4]) == ("inverted", sparsity, sparsity)
    }
    if not gaps:
        return f"No fill has been run yet at p = {sparsity:g}."
    marked = Marked(gaps, shown_among(every))
    behind = fills_behind((ground, fill) for ground, _, _, fill, _ in gaps)
    found = [record for record in behind if record.key.sparsity == sparsity]
    told = _over_each_fill({label[2:4]: marked[label] for label in gaps})
    return (
        f"Trained and tested at p = {sparsity:g} with equal care, SparseConvNet has on inverted "
        f"digits, in points, {told}. ({marked.conditions()}; {devices(found)}.)"
    )


def _over_each_fill(parts: Mapping[tuple[str, str], str]) -> str:
    """ "over ConvNet +1.2 ± 0.4 given 0 for a missing pixel and ...; over ConvNet+mask, ...".

    parts: (other network, its fill) -> the difference.
    """
    told: list[str] = []
    named: list[str] = []  # what the network before was given, in this order
    for other in dict.fromkeys(other for other, _ in parts):
        its = [fill for name, fill in parts if name == other]
        alike = named == its
        each = [
            parts[other, fill] + _given(fill, first=fill == its[0]) * (not alike) for fill in its
        ]
        told.append(f"over {other}{', given the same in that order,' * alike} {in_a_row(each)}")
        named = its
    return "; ".join(told)


def _given(fill: str, first: bool = False) -> str:
    the = "" if fill == "value" else "the "
    return f" given {the}{FILLED[fill]}{' for a missing pixel' * first}"


def grounds() -> str:
    """What inverted digits change where every network is given 0: for each, and for the leads."""
    cells = by_fill()
    own, gaps = {}, {}
    for network in PAPERS_NETWORKS:
        inverted, as_they_are = (
            averaged(cells[ground, "value"], network, ELSEWHERE) for ground in reversed(GROUNDS)
        )
        if gap := paired(inverted, as_they_are):
            gaps[network] = gap
            own[network] = {seed: inverted[seed] - as_they_are[seed] for seed in inverted
                            if seed in as_they_are}  # fmt: skip
    if not gaps:
        return "What the ground of a digit is worth cannot be said yet."
    leads = {
        other: gap
        for other in DENSE_NETWORKS
        if (gap := paired(own.get(SPARSE, {}), own.get(other, {})))
    }
    marked = Marked(gaps, shown_among(gaps))
    each = in_a_row([f"{network} {marked[network]}" for network in gaps])
    told = in_a_row([f"over {other} by {points(summarise(gap))}" for other, gap in leads.items()]
                    or [""])  # fmt: skip
    return (
        f"On inverted digits instead of digits as they are, 0 given to every network for a missing "
        f"pixel, accuracy changes, in points, tested elsewhere than trained, {OVER_TESTS}: "
        f"{each}{f'; and the lead of SparseConvNet {told}' * bool(leads)}. "
        f"({marked.conditions()}.)"
    )


def kinds() -> str:
    """How the layer does where pixels go missing in another way than in training."""
    gaps = {label: gap for label, gap in kind_gaps().items() if len(gap) > 1}
    shown, told = shown_among(gaps), []
    for other in DENSE_NETWORKS:
        its = {at: gap for at, gap in gaps.items() if at[2] == other and at[0] != at[3]}
        if its:
            better, worse = (
                sum(label in its for label in labels) for labels in (shown.above, shown.below)
            )
            ends = sorted((summarise(gap) for gap in its.values()), key=lambda each: each.mean)
            told.append(
                f"better than {other} in {better or 'none'} of {len(its)} and worse in "
                f"{worse or 'none'} (differences go from {points(ends[0])} to {points(ends[-1])} "
                "points)"
            )
    if not told:
        return "What another kind of mask does to the layer’s lead has not been run yet."
    where = dict.fromkeys(f"{p:g}" for _, p, _, _ in gaps)
    names = in_a_row([KINDS[kind] for kind in dict.fromkeys(trained for trained, _, _, _ in gaps)])
    return (
        f"Trained with pixels missing in one way ({names}) and tested with as large a share "
        f"missing in another, p = {in_a_row([*where])}, SparseConvNet is shown to be "
        f"{'; '.join(told)}. (After Holm’s correction over the {shown.tested} differences of the "
        f"table; {HALF}, {n_of_seeds(gaps.values())}.)"
    )


def kinds_trained() -> str:
    """How the layer does where it was trained on the kind of masks that it is tested on."""
    every = kind_gaps()
    gaps = {label: gap for label, gap in every.items() if label[0] == label[3] != SINGLE}
    if not gaps:
        return "Training on blocks or scan lines has not been run yet."
    marked = Marked(gaps, shown_among(every))
    told = _by_sparsity(
        {(p, f"over {other}", kind): marked[kind, p, other, kind] for kind, p, other, _ in gaps}
    )
    found = kinds_behind((kind, p) for kind, p, _, _ in gaps)
    return (
        f"Trained and tested on one kind, SparseConvNet has, in points, {told}. "
        f"({marked.conditions()}; {devices(found)}.)"
    )


def kinds_cost() -> str:
    """What a network loses by having met single pixels instead of the kind that it is tested on."""
    scores = by_kind()
    gaps = {
        (p, network, kind): gap
        for p in TWO_SPARSITIES
        for network in PAPERS_NETWORKS
        for kind in KINDS
        if kind != SINGLE
        and (gap := paired(*(scores.get((trained, p, network, kind), {})
                             for trained in (kind, SINGLE))))
    }  # fmt: skip
    if not gaps:
        return "What moving to another kind of mask costs has not been run yet."
    marked = Marked(gaps, shown_among(gaps))
    told = _by_sparsity({label: marked[label] for label in gaps})
    found = kinds_behind((trained, p) for p, _, kind in gaps for trained in (SINGLE, kind))
    return (
        f"Training on single pixels instead of the kind tested costs, in points, {told}. "
        f"({marked.conditions()}; {devices(found)}.)"
    )


def _by_sparsity(parts: Mapping[tuple[float, str, str], str]) -> str:
    """ "at p = 0.5, ConvNet +1.2 ± 0.4 on blocks and ... on scan lines, ...; at p = 0.8, ..."."""
    told: dict[float, dict[str, list[str]]] = {}
    for (p, network, kind), text in parts.items():
        told.setdefault(p, {}).setdefault(network, []).append(f"{text} on {KINDS[kind]}")
    return "; ".join(
        f"at p = {p:g}, {', '.join(f'{network} {in_a_row(its)}' for network, its in by.items())}"
        for p, by in sorted(told.items())
    )
