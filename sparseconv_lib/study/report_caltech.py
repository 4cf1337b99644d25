"""Tables and figures of the chapter on Caltech-101, as HTML, made from records."""

import collections
import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas
from scipy.stats import norm

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import (
    caltech,
    captions,
    claims,
    figures,
    layouts,
    numbers,
    records,
    tables,
)
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import CALTECH_SPARSITIES, EXPERIMENTS, SOURCE_NETWORKS, grid_of
from sparseconv_lib.study.images import lost_before
from sparseconv_lib.study.paths import RESULTS
from sparseconv_lib.study.protocol import Protocol, preset
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import (
    NO_BREAK,
    as_html,
    devices,
    devices_by_seed,
    images_a_second,
    mark,
    note,
    percent,
    points,
    signed,
    source_accuracy,
    spread,
    time_in_words,
)
from sparseconv_lib.study.statistics import (
    Summary,
    holm,
    paired,
    paired_difference,
    prediction_interval,
    summarise,
    unpaired_proportions,
)
from sparseconv_lib.study.wording import (
    HALF,
    UNCORRECTED,
    difference,
    n_of_gaps,
    percents,
    span,
    with_intervals,
)
from sparseconv_lib.study.wording import points as in_points

CLAIM = "caltech-table-4"
SPARSE, PLAIN = "SparseConvNet-kept", "ConvNet"
TEST_IMAGES = 1736  # of the source, and of ours

BY_SEED = "as_written, split=by_seed"  # by which Table 4 is judged
TOLD_TWICE = 6  # of trainings that were made again

Cells = Mapping[tuple[str, float, float], Mapping[int, float]]


def accuracies(protocol: str) -> Cells:
    """(network, training sparsity, test sparsity) -> seed -> accuracy, from the records."""
    return tables.accuracies(records.load("caltech", protocol))


def of(cells: Cells, network: str, sparsity: float) -> Mapping[int, float]:
    """Seed -> accuracy, trained and tested at `sparsity`; empty if not run."""
    return cells.get((network, sparsity, sparsity), {})


def trainings(protocol: str, networks: Sequence[str], sparsity: float) -> list[Record]:
    """The records of these networks, trained at `sparsity`."""
    return [
        record
        for record in records.load("caltech", protocol)
        if record.key.network in networks and record.key.sparsity == sparsity
    ]


# What was found


TOLD_SPARSITIES = (0.5, 0.8)  # beside the least sparsity, what sentences tell
TABLE_4_FIRST = 0.05  # the source's Table 4 has no row for whole images


SPLIT_IN_SHORT = {
    "as_written": "with one split for all seeds",
    BY_SEED: "with a split for each seed, by which Table 4 is judged,",
}
SPLIT_IN_WORDS = {
    BY_SEED: f"With a split of its own for each seed ({BY_SEED}), by which Table 4 is judged",
    "as_written": "With one split for all seeds (as_written)",
}


def found_in_words(protocol: str) -> list[str]:
    """`in_words` of the protocol that judges Table 4, where it has been run, and of another."""
    others = [BY_SEED] if accuracies(BY_SEED) and protocol != BY_SEED else []
    return [in_words(each) for each in (*others, protocol)]


def in_words(protocol: str) -> str:
    """The chapter's answer, in a few sentences."""
    cells = accuracies(protocol)
    told, several, found = [], False, []
    for p in (*_fewest_missing(cells), *TOLD_SPARSITIES):
        its = of(cells, PLAIN, p), of(cells, SPARSE, p)
        shared = its[0].keys() & its[1].keys()
        if not shared:
            continue
        plain, sparse = ({seed: seeds[seed] for seed in sorted(shared)} for seeds in its)
        gap = paired_difference(sparse, plain)
        several |= gap.n > 1
        found += [r for r in trainings(protocol, SOURCE_NETWORKS, p) if r.key.seed in shared]
        shown = f"with {100 * p:g} % of the pixels missing" if p else "on whole images"
        told.append(
            f"{shown} SparseConvNet-kept reaches {percents(sparse)} and ConvNet {percents(plain)}, "
            f"a difference of {_points(gap, 1)}"
        )
    if not told:
        return "Nothing has been trained yet under this protocol."
    by = SPLIT_IN_WORDS.get(protocol, f"Under {protocol}")
    marks = "± one standard deviation over seeds; in brackets 95 % intervals, " * several
    marks += "of another seed’s loss prediction intervals; " * several
    return (
        f"{by}, in per cent and points: {'; '.join(told)}. {_loss_in_words(cells)} "
        f"({marks}{devices_by_seed(found)}.)"
    )


def _loss_in_words(cells: Cells) -> str:
    lost = [
        (network, paired(fewest, masked))
        for p in _fewest_missing(cells)
        for network in SOURCE_NETWORKS
        if (fewest := of(cells, network, p)).keys() & (masked := of(cells, network, 0.8)).keys()
    ]
    if not lost:
        return ""
    (start,) = _fewest_missing(cells)
    since = f"{100 * start:g} % missing" if start else "whole images"
    each = "; ".join(f"{network} {_with_another_seed(its)}" for network, its in lost)
    theirs = "where the source says about 13"
    if start:
        lost_there = [
            f"{100 * (first - last):.1f}"
            for n in SOURCE_NETWORKS
            if (first := source_accuracy(n, start, CLAIM))
            and (last := source_accuracy(n, 0.8, CLAIM))
        ]
        theirs = f"where the source's Table 4 has {' and '.join(lost_there)}"
    return f"Points lost from {since} to 80 % missing, {theirs}: {each}."


def in_short() -> str:
    """What SparseConvNet-kept has over ConvNet by each split, where several seeds tell it."""
    by_split, found = [], []
    for protocol, split in SPLIT_IN_SHORT.items():
        cells = accuracies(protocol)
        gaps = {}
        for p in (*_fewest_missing(cells), *TOLD_SPARSITIES):
            its = of(cells, SPARSE, p), of(cells, PLAIN, p)
            gap = difference(*its)
            if gap and gap.n > 1:
                gaps[p] = gap
                shared = its[0].keys() & its[1].keys()
                at_p = trainings(protocol, SOURCE_NETWORKS, p)
                found += [record for record in at_p if record.key.seed in shared]
        if gaps:
            told = captions.in_a_row([f"{in_points(gap)} at p = {p:g}" for p, gap in gaps.items()])
            by_split.append(f"{split} {told} ({n_of_gaps(gaps.values())})")
    if not by_split:
        return f"On Caltech-101 no difference of {SPARSE} and {PLAIN} has several seeds yet."
    return (
        f"On Caltech-101, {SPARSE} minus {PLAIN} is, in points, {'; '.join(by_split)}. "
        f"({UNCORRECTED}; {devices(found)}.)"
    )


def gaps() -> dict[tuple[str, float], list[float]]:
    """(protocol of a split, sparsity) -> SparseConvNet-kept minus ConvNet, seed by seed."""
    found = {}
    for protocol in SPLIT_IN_SHORT:
        cells = accuracies(protocol)
        for p in CALTECH_SPARSITIES:
            if gap := paired(of(cells, SPARSE, p), of(cells, PLAIN, p)):
                found[protocol, p] = gap
    return found


def _fewest_missing(cells: Cells) -> tuple[float, ...]:
    """Whole images, or the source's lowest sparsity where they were not trained on; or neither."""
    for p in (0.0, TABLE_4_FIRST):
        if of(cells, PLAIN, p) and of(cells, SPARSE, p):
            return (p,)
    return ()


def _with_another_seed(differences: Sequence[float]) -> str:
    """ "6.0 (4.0 to 7.9; another seed 1.2 to 10.8; n = 5)", in points.

    The second interval is a prediction interval, since the source has one difference, not a mean.
    """
    summary = summarise(differences)
    told = f"{100 * summary.mean:.1f} (n = 1)"
    if summary.n > 1:
        mean, another = (
            f"{100 * low:.1f} to {100 * high:.1f}"
            for low, high in ((summary.low, summary.high), prediction_interval(differences))
        )
        told = f"{100 * summary.mean:.1f} ({mean}; another seed {another}; n = {summary.n})"
    return numbers.number(told.replace("-", "−"), summary, f"{100 * summary.sd:.2f} points")


def data_in_words(protocol: Protocol) -> str:
    """What the data set is, counted in the committed list, and what a protocol makes of it."""
    entries = caltech.read_manifest()
    sizes = collections.Counter(entry.label for entry in entries)
    tests = sum(entry.part == "test" for entry in entries)
    scaled = {
        "unit": "pixels are scaled to [0, 1]",
        "imagenet": "pixels are scaled to [0, 1], and then by ImageNet's mean and deviation",
    }[protocol.scaling]
    kept = {
        "standard": f"A fifth of each class, {tests:,} images, is kept for testing; the two "
        "versions of one photograph that Faces and Faces_easy hold fall on the same side.",
        "by_seed": f"A fifth, {tests:,} images, is kept for testing, drawn from the seed whatever "
        "their class; the two versions of one photograph that Faces and Faces_easy hold may fall "
        "on different sides.",
    }[protocol.split]
    drawn = (
        "Masks are drawn from the seed, after the earlier sparsities of a sweep have taken pixels "
        "that no mask tells of."
        if protocol.compounding
        else "Masks are drawn from the seed, each sparsity from the untouched images."
    )
    return (
        f"Caltech-101 (Li, Andreeto, Ranzato and Perona, 2022, CC BY 4.0) has {len(entries):,} "
        f"photographs of {len(sizes)} kinds of objects, {min(sizes.values())} to "
        f"{max(sizes.values())} of each; its background class is left out. They are resized to "
        f"{caltech.SIDE} × {caltech.SIDE} pixels without regard to their shape, grey ones are made "
        f"RGB, and {scaled}. {kept} A mask has one channel: where a pixel is missing, red, green "
        f"and blue are, and the network sees {protocol.fill:g}. {drawn}"
    )


def glue_minutes() -> None:
    """Gives the book's page on reproduction the time that a training takes, from the records."""
    from myst_nb import glue  # only where chapters are made

    glue("caltech_minutes", time_in_words("caltech", "as_written"), display=False)


def coverage_table() -> str:
    """What the published grid asks for, and how much of it has been trained."""
    protocols = dict.fromkeys(
        name for grid in EXPERIMENTS["caltech"].grids for name in grid.protocols
    )
    rows = []
    for name in protocols:
        grid = grid_of("caltech", name)
        assert grid is not None
        asked = len(grid.networks) * len(grid.sparsities) * grid.seeds
        done = len(records.load("caltech", name))
        rows.append(
            {
                "protocol": name,
                "networks": ", ".join(grid.networks),
                "p": ", ".join(f"{p:g}" for p in grid.sparsities),
                "seeds": grid.seeds,
                "trained": f"{done} of {asked}",
            }
        )
    return as_html(
        pandas.DataFrame(rows),
        "Trainings that the published grid asks for. `sparseconv sweep caltech` runs what is "
        "missing, on a GPU if there is one.",
    )


# Which of the source's differences were noise


def noise_table(protocol: str) -> str:
    """Table 4's differences between the two networks, and which single runs could tell."""
    cells = accuracies(protocol)
    rows, shown = [], []
    for row in source_differences():
        found = trainings(protocol, SOURCE_NETWORKS, row.sparsity)
        seeds = of(cells, SPARSE, row.sparsity), of(cells, PLAIN, row.sparsity)
        ours = "not run"
        if seeds[0].keys() & seeds[1].keys():
            ours = _points(paired_difference(*seeds)) + mark(found)
            shown += found
        images = "not run"
        if by_image := paired_by_image(protocol, row.sparsity):
            images = points(by_image, 2, "images") + mark(r for r in found if r.key.seed == 0)
        rows.append(
            {
                "p": f"{row.sparsity:g}",
                "the source's difference": signed(100 * row.difference, 2),
                "± by chance": f"{100 * row.half_width:.1f}",
                "beyond chance": "yes" if abs(row.difference) > row.half_width else "no",
                "after Holm": "yes" if row.adjusted < 0.05 else "no",
                "ours, by training seed": ours,
                "ours, by image, seed 0": images,
            }
        )
    return as_html(
        pandas.DataFrame(rows),
        "SparseConvNet minus ConvNet in Table 4, in points. ± by chance: what two networks of "
        "equal worth differ by in 19 of 20 cases on "
        f"{TEST_IMAGES:,} test images, from the choice of images alone (unpaired, since the "
        "source's answers to single images are not known). After Holm: "
        "beyond chance even though ten were looked at. Ours are differences of SparseConvNet-kept "
        "and ConvNet: by seed with 95 % intervals over paired seeds; by image with 95 % intervals "
        "over the test images of seed 0, both networks asked about the same images: of these two "
        "trained networks only, without the luck of a training. Ours are not corrected for ten. "
        f"Protocol {protocol}; {devices_by_seed(shown) or 'not run'}.{note(shown)}",
    )


@dataclass(frozen=True)
class Difference:
    """SparseConvNet minus ConvNet in Table 4: fractions, and its p-value after Holm."""

    sparsity: float
    difference: float
    half_width: float
    adjusted: float


@functools.cache
def source_differences() -> tuple[Difference, ...]:
    """The ten of Table 4, each with what chance allows on the source's test images."""
    source = claims.load()[CLAIM].source
    assert source is not None
    found = []
    for p in source.sparsities:
        a, b = source_accuracy(SPARSE, p, CLAIM), source_accuracy(PLAIN, p, CLAIM)
        assert a is not None
        assert b is not None
        found.append((p, a - b, *unpaired_proportions(a, b, TEST_IMAGES)))
    adjusted = holm([p_value for *_, p_value in found])
    return tuple(Difference(*row[:3], p) for row, p in zip(found, adjusted, strict=True))


def noise_in_short() -> str:
    """How many of Table 4's differences lie within what the choice of test images gives."""
    judged = source_differences()
    within = sum(abs(row.difference) <= row.half_width for row in judged)
    return (
        f"{within} of the {len(judged)} differences of Table 4 lie within what the choice of test "
        "images alone would give two equal networks."
    )


def noise_in_words() -> str:
    """How many of Table 4's differences single runs could tell."""
    judged = source_differences()
    beyond = [row for row in judged if abs(row.difference) > row.half_width]
    after = [row for row in judged if row.adjusted < 0.05]

    def listed(rows: Sequence[Difference]) -> str:
        return ", ".join(
            f"p = {row.sparsity:g} ({signed(100 * row.difference, 2)} points)" for row in rows
        )

    told = f"{noise_in_short().removesuffix('.')}; the luck of a training comes on top."
    if beyond:
        told += f" Beyond it: {listed(beyond)}"
        told += (
            ", which stays so after a correction for having looked at ten."
            if after == beyond
            else f"; after a correction for having looked at ten: {listed(after) or 'none'}."
        )
    return f"{told} {_same_images_in_words(judged)}".strip()


def trained_for_the_matrix() -> str:
    """What the same training gave in the matrix of train × test sparsities; empty if not run.

    There are networks in it that this chapter's grid still lacks.
    """
    found = records.load("invariance", "caltech101")
    by: dict[float, dict[str, dict[int, float]]] = {}
    for record in found:
        cell = by.setdefault(record.key.sparsity, {}).setdefault(record.key.network, {})
        cell[record.key.seed] = record.accuracy
    if not by:
        return ""
    told = "; ".join(
        f"at p = {p:g}, "
        + in_a_row(
            [f"{network} {percents(its[network])}" for network in NETWORKS if network in its]
        )
        for p, its in sorted(by.items())
    )
    counts = {len(seeds) for its in by.values() for seeds in its.values()}
    return (
        "The chapter on invariance has trainings of its own, made in the same way and tested at "
        "other sparsities, too. Where they were trained, its networks recognise, in per cent, "
        f"{told} ({with_intervals('± one standard deviation', counts)}; "
        f"{devices(found)})."
    )


def trained_twice() -> str:
    """What became of trainings that were made again for the matrix of train × test sparsities.

    That matrix trains as as_written does, so that images, masks, order and first weights are the
    same, and what differs is rounding: by another processor, or by code that computes the same in
    another order. Empty while there are none.
    """
    again = {
        (r.key.network, r.key.sparsity, r.key.seed): r
        for r in records.load("invariance", "caltech101")
    }
    pairs = [
        (first, second)
        for first in records.load("caltech", "as_written")
        if (second := again.get((first.key.network, first.key.sparsity, first.key.seed)))
    ]
    if not pairs:
        return ""
    changes = sorted(abs(100 * (second.accuracy - first.accuracy)) for first, second in pairs)
    low, high = f"{changes[0]:.1f}", f"{changes[-1]:.1f}"
    by = numbers.of_trainings(
        low if low == high else f"{low} to {high}", [r.key for pair in pairs for r in pair]
    )
    many = len(pairs) > 1
    return (
        "The luck of a training is there even with the same images, masks, order and first "
        f"weights: {len(pairs)} training{'s' * many} of this chapter {'were' if many else 'was'} "
        "made again for another, where only rounding differs, by the code or the processor, and "
        f"{'their accuracies differ' if many else 'its accuracy differs'} by {by} points ("
        + "; ".join(
            f"{first.key.network} at p = {first.key.sparsity:g}, seed {first.key.seed}: "
            f"{percents({0: first.accuracy})} and {percents({0: second.accuracy})} %"
            for first, second in pairs[:TOLD_TWICE]
        )
        + f"{'; and others' * (len(pairs) > TOLD_TWICE)}; "
        f"{devices([r for pair in pairs for r in pair])})."
    )


def _same_images_in_words(judged: Sequence[Difference]) -> str:
    """What changes if the source tested both networks on the same images."""
    ours = {p: paired_by_image("as_written", p) for p in CALTECH_SPARSITIES}
    errors = {p: summary.sd / summary.n**0.5 for p, summary in ours.items() if summary}
    if not any(errors.values()):  # not run, or two networks that never differ
        return ""
    standard = max(errors.values())
    half = norm.ppf(0.975) * standard
    adjusted = holm([2 * norm.sf(abs(row.difference) / standard) for row in judged])
    beyond = [
        f"p = {row.sparsity:g}{' (also after Holm’s correction over ten)' * (after < 0.05)}"
        for row, after in zip(judged, adjusted, strict=True)
        if abs(row.difference) > half
    ]
    where = captions.in_a_row([f"{p:g}" for p in errors])
    return (
        "This takes the two networks' test images for different ones. If both were tested on the "
        "same images, which the source's notebooks do not tell, chance allows less: about ± "
        f"{100 * half:.1f} points, by the answers of our own networks (seed 0, the most of p = "
        f"{where}); beyond that: {', '.join(beyond) or 'none'}."
    )


def paired_by_image(protocol: str, sparsity: float) -> Summary | None:
    """SparseConvNet-kept minus ConvNet over the test images of seed 0; None if not kept.

    The interval is over test images, so it does not hold the luck of a training.
    """
    return _over_images(*(trainings(protocol, (network,), sparsity) for network in (SPARSE, PLAIN)))


def _over_images(a: Sequence[Record], b: Sequence[Record]) -> Summary | None:
    """What a's training of seed 0 has over b's on the test images; None if either is not kept."""
    bits = [
        answers.astype(float)
        for found in (a, b)
        for record in found
        if record.key.seed == 0 and (answers := committed_answers(record)) is not None
    ]
    return summarise((bits[0] - bits[1]).tolist()) if len(bits) == 2 else None


def committed_answers(record: Record) -> np.ndarray | None:
    """Which test images of the committed split were classified correctly: bool (N,).

    At the training sparsity. None where that was not kept, or was of another split, whose images
    stand in another order.
    """
    if record.content["identity"]["split"] != caltech.split_name(caltech.read_manifest()):
        return None
    return record.correct_at(record.key.sparsity)


def _points(summary: Summary, digits: int = 2) -> str:
    return f"{points(summary, digits)}, n{NO_BREAK}={NO_BREAK}{summary.n}"


# Masks that compound


@functools.cache
def printed() -> dict[float, float]:
    """Sparsity -> accuracy of SparseConvNet, as the source's notebook printed it."""
    with (RESULTS / "source.toml").open("rb") as file:
        curve = tomllib.load(file)["caltech_sparseconv"]
    return dict(zip(map(float, curve["sparsities"]), curve[SPARSE], strict=True))


def left_at(sparsity: float) -> float:
    """Share of pixels left where the source's sweep says `sparsity`, masks compounding."""
    return (1 - lost_before(sparsity)) * (1 - sparsity)


def _share_left(sparsity: float) -> str:
    """ "2.6 %": two digits that count."""
    share = 100 * left_at(sparsity)
    told = np.format_float_positional(share, precision=2, fractional=False, trim="-")
    return f"{told}{NO_BREAK}%"


COMPOUNDING = ("as_coded", "compounding")


def compounding_table() -> str:
    """What the source's notebook printed with compounding masks, its Table 4, and ours."""
    ours = {name: accuracies(name) for name in COMPOUNDING}
    rows, shown = [], []
    for p in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9):
        table = source_accuracy(SPARSE, p, CLAIM)
        row = {
            "p": f"{p:g}",
            "pixels left": _share_left(p),
            "its notebook": percent(printed()[p]),
            "its Table 4": "–" if table is None else percent(table),
        }
        for name in COMPOUNDING:
            asked = grid_of("caltech", name)
            seeds = of(ours[name], SPARSE, p)
            if seeds:
                found = trainings(name, (SPARSE,), p)
                row[f"ours, {name}"] = spread(summarise(seeds.values())) + mark(found)
                shown += found
            else:
                row[f"ours, {name}"] = (
                    "not run" if asked is not None and p in asked.sparsities else "–"
                )
        rows.append(row)
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy of SparseConvNet (ours: SparseConvNet-kept) where masks compound. Pixels "
        "left: what its notebook's sweep has left of an image when it says p, by calculation. "
        "as_coded trains as its code does, compounding has this one fault in as_written; ours "
        f"are mean ± standard deviation over n seeds. {devices_by_seed(shown) or 'Not run'}."
        + note(shown),
    )


def compounding_in_words() -> str:
    """What compounding alone changes ours by, and ours by the notebook beside it; "" if not run."""
    return " ".join(filter(None, (_alone_in_words(), _as_coded_in_words())))


def _alone_in_words() -> str:
    alone, whole = accuracies("compounding"), accuracies("as_written")
    told, gaps, found = [], [], []
    for p in CALTECH_SPARSITIES:
        its, others = of(alone, SPARSE, p), of(whole, SPARSE, p)
        gap = difference(its, others)
        if gap is None:
            continue
        gaps.append(gap)
        found += [
            record
            for name in ("compounding", "as_written")
            for record in trainings(name, (SPARSE,), p)
            if record.key.seed in its.keys() & others.keys()
        ]
        told.append(f"by {in_points(gap)} at p = {p:g}, {_left_in_words(p)} being left")
    if not told:
        return ""
    return (
        "Masks that compound, and nothing else, change the accuracy of SparseConvNet-kept, in "
        f"points against as_written, {'; '.join(told)} "
        f"({with_intervals(UNCORRECTED, {gap.n for gap in gaps})}; {devices_by_seed(found)})."
    )


def _left_in_words(sparsity: float) -> str:
    """ "2.3 % of the pixels", or "0.016 of the 50,176 pixels of a photograph"."""
    pixels = left_at(sparsity) * caltech.SIDE**2
    if pixels >= 1:
        return f"{_share_left(sparsity)} of the pixels"
    return f"{pixels:.2g} of the {caltech.SIDE**2:,} pixels of a photograph"


def _as_coded(
    sparsities: Sequence[float],
) -> tuple[dict[float, Mapping[int, float]], list[Record]]:
    """Sparsity -> seed -> accuracy of what has been trained under as_coded, and the trainings."""
    coded = accuracies("as_coded")
    run = {p: seeds for p in sparsities if (seeds := of(coded, SPARSE, p))}
    return run, [record for p in run for record in trainings("as_coded", (SPARSE,), p)]


def _as_coded_in_words() -> str:
    run, found = _as_coded(CALTECH_SPARSITIES)
    if not run:
        return ""
    told, more, by_chance = [], [], []
    for p, seeds in run.items():
        mean, theirs = summarise(seeds.values()).mean, printed()[p]
        told.append(
            f"{percents(seeds)} at p = {p:g}, where the notebook printed {100 * theirs:.2f}"
        )
        more.append(numbers.number(signed(100 * (mean - theirs), 1), summarise(seeds.values())))
        by_chance.append(f"{100 * unpaired_proportions(mean, theirs, TEST_IMAGES)[0]:.1f}")
    n = {len(seeds) for seeds in run.values()}
    return (
        "With networks trained as the source’s code has it (as_coded) SparseConvNet-kept reaches, "
        f"in per cent, {'; '.join(told)} ({with_intervals('± one standard deviation', n)}; "
        f"{devices_by_seed(found)}). That is {in_a_row(more)} points; two networks of equal worth "
        f"differ by up to {in_a_row(by_chance)} in 19 of 20 cases from the choice of test images "
        "alone, and the luck of a training comes on top."
    )


BLACK = 0.05  # pixels left of a photograph: 19 of 20 photographs, or more, have none


def black_in_words() -> str:
    """Where compounding masks left nothing to see, and what networks made of it; "" if not run."""
    run: dict[float, dict[str, list[Record]]] = {}
    for p in CALTECH_SPARSITIES:
        found = {name: trainings(name, (SPARSE,), p) for name in COMPOUNDING}
        if any(found.values()) and left_at(p) * caltech.SIDE**2 < BLACK:
            run[p] = {name: its for name, its in found.items() if its}
    if not run:
        return ""
    told = "; ".join(
        ", ".join(f"{_last_shares(its)} under {name}" for name, its in found.items())
        + f" at p = {p:g}" * (len(run) > 1)
        for p, found in run.items()
    )
    return (
        f"At p = {in_a_row([f'{p:g}' for p in run])} compounding leaves nearly all photographs "
        "black, in training and test. Only their masks tell them apart, and these are drawn "
        "whatever is on the photograph. A training image keeps its mask, so that a network can "
        "learn it by heart, which is of no use on other images. After the last epoch "
        "SparseConvNet-kept recognises, in per cent of the images that it trains on and of the "
        f"test images, {told}. Always to answer the largest class is right for "
        f"{100 * _largest_class():.1f} % of all photographs."
    )


FEW_LEFT, BLACKEST = 0.5, 0.9  # of the source's Table 4; the grid has as_coded at both


def notebook_in_short() -> str:
    """What the source's notebook measured where its masks compound, for the first page."""
    asked, table = (FEW_LEFT, BLACKEST), _table_4()
    its, theirs = (
        in_a_row([f"{100 * accuracy[p]:.2f}" for p in asked]) for accuracy in (printed(), table)
    )
    run, _ = _as_coded(asked)
    black = 100 * (1 - left_at(BLACKEST)) ** caltech.SIDE**2
    ours = "It has not been trained here yet."
    if run:
        n = with_intervals("± one standard deviation", {len(seeds) for seeds in run.values()})
        told = in_a_row([f"{percents(seeds)}{NO_BREAK}% at {p:g}" for p, seeds in run.items()])
        ours = (
            f"With networks trained as the source’s code has it (as_coded), {SPARSE} recognises "
            f"{told} ({n}{' each' * (len(run) > 1)}); always to answer the largest class is right "
            f"for {100 * _largest_class():.1f}{NO_BREAK}%."
        )
    return (
        "The source’s public notebook for photographs masks again, at each sparsity of its sweep, "
        f"what smaller ones have left: at its “p = {FEW_LEFT:g}” {_share_left(FEW_LEFT)} of the "
        f"pixels remain, at its “p = {BLACKEST:g}” {black:.0f}{NO_BREAK}% of the photographs are "
        f"all black. For SparseConvNet it printed accuracies of {its}{NO_BREAK}% there, not the "
        f"{theirs}{NO_BREAK}% of the source’s Table 4; no code that made the table is public. "
        f"{ours}"
    )


def _last_shares(found: Sequence[Record]) -> str:
    """ "99.96 and 44.18": mean accuracies of the last epoch, on training images as they trained."""
    last = [record.content["epochs"][-1] for record in found]
    train, test = (
        np.mean([epoch[f"{part}_accuracy"] for epoch in last]) for part in ("train", "test")
    )
    shares = f"{100 * train:.2f} and {100 * test:.2f}"
    return numbers.of_trainings(shares, (record.key for record in found))


def _largest_class() -> float:
    """Share of the largest class among all photographs."""
    sizes = collections.Counter(entry.label for entry in caltech.read_manifest())
    return max(sizes.values()) / sizes.total()


def compounding_figure() -> str:
    """The source's printed accuracies against the sparsity it named and the pixels it left."""
    (by_name, named), (by_rest, real) = (figures.new_figure(3.4, 3.3) for _ in range(2))
    curve = printed()
    table = _table_4()
    # Label -> style, colour, accuracies by the sparsity named, and the share that it leaves.
    drawn = {
        "its Table 4": ("x", figures.STYLES[SPARSE][0], table, lambda p: 1 - p),
        "its notebook": (".--", "#444444", curve, left_at),
    }
    found, counts = [], set()
    for name, marker in zip(COMPOUNDING, "s^", strict=True):
        cells = accuracies(name)
        run = {p: seeds for p in CALTECH_SPARSITIES if (seeds := of(cells, SPARSE, p))}
        if run:
            means = {p: summarise(seeds.values()).mean for p, seeds in run.items()}
            drawn[f"ours, {name}"] = (marker, "#D55E00", means, left_at)
            found += [record for p in run for record in trainings(name, (SPARSE,), p)]
            counts |= {len(seeds) for seeds in run.values()}
    for label, (style, color, values, left) in drawn.items():
        accuracy = [100 * value for value in values.values()]
        look = {"color": color, "markerfacecolor": color if "." in style else "none"}
        named.plot(list(values), accuracy, style, label=label, **look)
        real.plot([100 * left(p) for p in values], accuracy, style, label=label, **look)
    ours = f" Ours, n = {span(counts)}; {devices_by_seed(found)}." if found else ""
    named.set(xlabel="sparsity p that it names")
    named.legend(loc="lower left", fontsize="x-small")
    real.set(xscale="log", xlabel="pixels left (%)", xlim=(150, 1e-6))
    highest = 105 * max(*table.values(), *curve.values())
    for axis in (named, real):
        axis.set(ylabel="test accuracy (%)", ylim=(0, highest))
    return figures.pictures(
        [
            (by_name, "Against the sparsity named, the notebook's accuracies fall far below those "
                      "of Table 4."),
            (by_rest, "Against the pixels that are left, they stay high down to a few per cent."),
        ],
        f"{_farthest_below(table)}"
        "The source's accuracies of SparseConvNet, one run each: first against the sparsity that "
        "it names, then against the share of pixels left, which for its notebook is what "
        f"compounding masks leave and for Table 4 is taken to be 1 − p.{ours}",
    )  # fmt: skip


def _table_4() -> dict[float, float]:
    """Sparsity -> accuracy of SparseConvNet in the source's Table 4."""
    return {
        p: value
        for p in CALTECH_SPARSITIES
        if (value := source_accuracy(SPARSE, p, CLAIM)) is not None
    }


def _farthest_below(table: Mapping[float, float]) -> str:
    """Where the notebook's accuracy is farthest below Table 4, and what is left there."""
    far = max((p for p in table if p in printed()), key=lambda p: table[p] - printed()[p])
    return (
        f"At p = {far:g} the source's notebook printed {100 * (table[far] - printed()[far]):.1f} "
        f"points less than its Table 4 has, with {_share_left(far)} of the pixels left instead of "
        f"{100 * (1 - far):g}{NO_BREAK}%. "
    )


# Are ten epochs enough?


def epochs_figure() -> str:
    """Figure 7 of the source: accuracy of ConvNet on whole images after each epoch."""
    found = {
        name: [
            record
            for record in records.load("caltech", name)
            if (record.key.network, record.key.sparsity) == (PLAIN, 0.0)
        ]
        for name in ("as_written", "as_written, epochs=50")
    }
    if not any(found.values()):
        return "<p>Not run yet.</p>"
    figure, axis = figures.new_figure(4.6, 3.1)
    told = []
    for name, line in (("as_written, epochs=50", "-"), ("as_written", "--")):
        ends = {}
        for part, color in (("test", "#0072B2"), ("train", "#999999")):
            curves = [
                [epoch[f"{part}_accuracy"] for epoch in record.content["epochs"]]
                for record in found[name]
            ]
            if curves:
                mean = 100 * np.mean(curves, axis=0)
                epochs = np.arange(1, len(mean) + 1)
                axis.plot(
                    epochs, mean, line, color=color, marker=".", label=f"{part}, {len(mean)} epochs"
                )
                ends[part] = numbers.of_trainings(
                    f"{mean[-1]:.1f}{NO_BREAK}%", (record.key for record in found[name])
                )
        if ends:
            told.append(
                f"after {len(mean)} epochs ConvNet recognises {ends['test']} of the test images "
                f"and {ends['train']} of those it trains on"
                + (f", means of n = {len(curves)}" if len(curves) > 1 else ", n = 1")
            )
    axis.axvline(5.5, color="#444444", linewidth=0.8, linestyle=":")
    axis.set(xlabel="epoch", ylabel="accuracy (%)")
    axis.legend()
    sentence = "; ".join(told)
    waiting = "" if found["as_written, epochs=50"] else " The fifty epochs have not been run yet."
    return figures.as_html(
        figure,
        f"{sentence[:1].upper()}{sentence[1:]}. Accuracy on whole images after each epoch, as it "
        "trained (grey) and on the test images (blue). The dotted line is the drop of the "
        f"learning rate. {devices_by_seed([r for its in found.values() for r in its])}.{waiting}",
        f"Accuracy against epoch: {sentence}.",
    )


def epochs_in_words() -> str:
    """How trainings of fifty epochs go on after those of the protocol; "" if not run.

    Within each training: it has the weights, the order and the learning rate of its seed's shorter
    one as far as that goes, so that a difference of the two holds rounding's luck besides.
    """
    found = trainings("as_written, epochs=50", (PLAIN,), 0.0)
    if not found:
        return ""
    short = preset("as_written", "caltech101").epochs
    keys = [record.key for record in found]
    test, train = (
        np.array([[e[f"{part}_accuracy"] for e in r.content["epochs"][short - 1 :]] for r in found])
        for part in ("test", "train")
    )
    change, learnt = (
        numbers.of_trainings(in_points(summarise((c[:, -1] - c[:, 0]).tolist())), keys)
        for c in (test, train)
    )
    least, most = (
        numbers.of_trainings(f"{100 * accuracy:.1f}", keys) for accuracy in (test.min(), test.max())
    )
    last = short + test.shape[1] - 1
    return (
        f"From epoch {short} to epoch {last} of the same training, ConvNet’s accuracy on whole "
        f"images changes by {change} points on the test images, where it is never below {least} "
        f"nor above {most}{NO_BREAK}%, and by {learnt} points on those it trains on, as it trained "
        f"({with_intervals(HALF, {len(found)})}; {devices_by_seed(found)})."
    )


# Two ways to scale


def scaling_table() -> str:
    """Both networks with both scalings, at p = 0 and 0.8."""
    by_name = {name: accuracies(name) for name in ("as_written", "as_written, scaling=imagenet")}
    unit, imagenet = by_name.values()
    rows, shown = [], []
    for network in SOURCE_NETWORKS:
        for p in (0.0, 0.8):
            found = [trainings(name, (network,), p) for name in by_name]
            marks = [mark(each) for each in found]
            shown += [record for each in found for record in each]
            a, b = of(unit, network, p), of(imagenet, network, p)
            gap, over_images = difference(b, a), _over_images(*reversed(found))
            rows.append(
                {
                    "network": network,
                    "p": f"{p:g}",
                    "[0, 1]": spread(summarise(a.values())) + marks[0] if a else "not run",
                    "ImageNet's": spread(summarise(b.values())) + marks[1] if b else "not run",
                    "difference": _points(gap) + max(marks) if gap else "–",
                    "by image, seed 0": (
                        points(over_images, 1, "images") + max(marks) if over_images else "–"
                    ),
                }
            )
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy with pixels in [0, 1], and with ImageNet's mean and deviation, mean ± "
        "standard deviation over n seeds; in points, ImageNet's minus [0, 1], paired by seed with "
        "95 % intervals, and by test image with 95 % intervals that do not hold the luck of a "
        f"training. {devices_by_seed(shown) or 'Not run'}.{note(shown)}",
    )


# How fast


def speed_table() -> str:
    """Images a second of every device that trained, by network."""
    by_cell: dict[tuple[str, str, str], list[Record]] = {}
    for record in records.load("caltech"):
        where = record.content["provenance"]
        key = (
            where["device"],
            record.content["knobs"].get("precision", "float32"),
            record.key.network,
        )
        by_cell.setdefault(key, []).append(record)
    if not by_cell:
        return "<p>Not run yet.</p>"
    rows = []
    for (device, precision, network), found in sorted(by_cell.items()):
        rates = [images_a_second(record) for record in found]
        rows.append(
            {
                "device": device,
                "precision": precision,
                "network": network,
                "images/s": f"{np.median(rates):,.0f}{mark(found)}",
                "lowest to highest": f"{min(rates):,.0f} to {max(rates):,.0f}",
                "n": len(found),
            }
        )
    return as_html(
        pandas.DataFrame(rows),
        "Training images a second, testing after each epoch included, medians over n trainings: "
        "one on one core of a CPU (as many at a time as there are cores), or on a GPU; those that "
        "ran as one have each its share of one time."
        + note(record for found in by_cell.values() for record in found),
    )


def layouts_table() -> str:
    """What `layouts.measure` measured."""
    measured = layouts.load()
    if measured is None:
        return "<p>Not measured yet.</p>"
    rows = [
        {
            "network": row["network"],
            "step": row["variant"],
            "images/s": f"{row['images_a_second']:.1f}",
            "time / float32": f"{row['time_ratio']:.2f}",
            "lowest to highest": f"{row['time_ratio_low']:.2f} to {row['time_ratio_high']:.2f}",
        }
        for row in measured["rows"]
    ]
    return as_html(
        pandas.DataFrame(rows),
        f"A training step on {measured['batch']} photographs, its time over that of the first row "
        f"of its network, measured in turn in one process ({measured['rounds']} rounds; "
        f"{measured['threads']} thread; {measured['device']}; torch "
        f"{measured['versions']['torch']}). Processors with instructions for bfloat16 differ.",
    )


def layouts_in_words() -> str:
    """How the variants compare, and why trainings are done as they are."""
    measured = layouts.load()
    if measured is None:
        return "It has not been measured yet."
    first, *others = layouts.VARIANTS
    told, missing = [], []
    for variant in others:
        rows = [row for row in measured["rows"] if row["variant"] == variant]
        if not rows:
            missing.append(variant)
            continue
        low, high = min(r["time_ratio_low"] for r in rows), max(r["time_ratio_high"] for r in rows)
        told.append(f"in {variant}, {low:.2f} to {high:.2f}")
    unmeasured = f" Not measured there: {'; '.join(missing)}." if missing else ""
    half = [r for r in records.load("caltech") if r.content["knobs"].get("precision") == "bfloat16"]
    trained = str(len(half)) if half else "none, so that what it does to the accuracy is not known"
    return (
        f"A step takes, in times of one in {first} and with the channels first where not said "
        f"otherwise, {'; '.join(told)} ({measured['device']}).{unmeasured} Trainings are done in "
        f"{first} with the channels first; precision=bfloat16, behind a comma in a protocol's "
        f"name, changes the precision and not the order. Trainings in it on record: {trained}."
    )


def provenance_in_words() -> str:
    """What this chapter rests on."""
    found = records.load("caltech")
    if not found:
        return "None of this chapter's trainings has been run yet."
    hours = sum(record.content["provenance"]["seconds"] for record in found) / 3600
    return (
        f"This chapter rests on {len(found)} trainings, {hours:.1f} hours of them; "
        f"{devices(found)}."
    )
