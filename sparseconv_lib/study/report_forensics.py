"""Tables and figures of the chapter on where the source's first numbers came from, as HTML."""

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence

import pandas

from sparseconv_lib.study import captions, figures, forensics, numbers, probe, records, transfer
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.forensics import (
    AS_CODED,
    AS_WRITTEN,
    MINIMUM_N,
    SETTINGS,
    Cell,
    Judged,
    Seeds,
    Setting,
)
from sparseconv_lib.study.grid import (
    EXPERIMENTS,
    FORENSIC_SPARSITIES,
    SOURCE_NETWORKS,
)
from sparseconv_lib.study.report import (
    HEADLINE_SPARSITY,
    accuracies_plotted,
    as_html,
    devices,
    difference_in_words,
    points,
    signed,
    with_interval,
)
from sparseconv_lib.study.statistics import paired_difference, prediction_interval, summarise
from sparseconv_lib.study.wording import span

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
Measured = Mapping[Setting, Mapping[tuple[str, float], Seeds]]


def measured() -> dict[Setting, dict[tuple[str, float], Seeds]]:
    """Every setting's accuracies, from the records."""
    return {setting: forensics.accuracies(setting) for setting in SETTINGS}


def _n(setting: Setting, found: Measured) -> str:
    cells = found.get(setting, {})
    n = sorted(
        {len(cells.get((name, p), ())) for name in SOURCE_NETWORKS for p in FORENSIC_SPARSITIES}
    )
    return str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"


ORDER_IN_WORDS = {"text": "BatchNorm first", "code": "BatchNorm last"}


def _told(judged: Judged) -> str:
    if not judged.cells:
        return judged.word
    inside = sum(cell.inside for cell in judged.cells)
    cell, name = (
        (judged.farthest, "farthest out")
        if judged.word == "ruled out"
        else (judged.widest, "the widest interval")
    )
    cautiously = "" if judged.cautiously == judged.word else f", cautiously {judged.cautiously}"
    return (
        f"{judged.word}{cautiously}: {inside} of {len(judged.cells)} inside; {name} "
        f"{cell.network}, p = {cell.sparsity:g}: {100 * cell.source:.2f}, "
        "ours "
        + numbers.number(
            f"{100 * cell.mean:.2f} ({100 * cell.low:.2f} to {100 * min(cell.high, 1):.2f})",
            cell.mean,
        )
    )


def settings_table(found: Measured) -> str:
    """The eight settings against Table 3 and against the curve that `ACC` printed."""
    by_table = forensics.judge(forensics.table_3(), found)
    by_curve = forensics.judge(forensics.printed_curve(), found)
    rows = [
        {
            "batch": a.setting.batch_size,
            "order": ORDER_IN_WORDS[a.setting.block_order],
            "tested with": f"{a.setting.evaluation} statistics",
            "n": _n(a.setting, found),
            "Table 3": _told(a),
            "the curve of ACC": _told(b),
        }
        for a, b in zip(by_table, by_curve, strict=True)
    ]
    return as_html(
        pandas.DataFrame(rows),
        "Is each of the source's eight values (two networks, four sparsities) where one more run "
        "of ours would be? Accuracies in per cent; in brackets the 95 % prediction interval for "
        "one more run, widened for eight values (Bonferroni), its spread pooled over both networks "
        "and both orders. Cautiously: with as many degrees of freedom as the cells of that pool "
        "have seeds, less one, so that few seeds in one order lean on those in the other. n is the "
        "number of seeds of a cell, for batch statistics of those whose record has them; fewer "
        f"than {MINIMUM_N} are not judged.",
    )


def settings_in_words(found: Measured) -> str:
    """Which settings the source's numbers leave possible, and the nearest, in a few sentences."""
    told = []
    for name, source in (
        ("Table 3", forensics.table_3()),
        ("The curve that ACC printed", forensics.printed_curve()),
    ):
        judged = [each for each in forensics.judge(source, found) if each.cells]
        rest = len(SETTINGS) - len(judged)
        waiting = f" ({rest} more wait for seeds)" if rest else ""
        possible = "; ".join(str(each.setting) for each in judged if each.word == "possible")
        wider = "; ".join(
            str(each.setting)
            for each in judged
            if each.word != "possible" and each.cautiously == "possible"
        )
        if possible:
            also = f" By the cautious rule, of wider intervals, also: {wider}." if wider else ""
            told.append(
                f"{name}, of the {len(judged)} settings judged{waiting}, allows: {possible}.{also}"
            )
        elif judged:
            most = max(map(_inside, judged))
            near = [each for each in judged if _inside(each) == most]
            agrees = "" if wider else ", by the cautious rule too"
            also = f" The cautious rule, of wider intervals, allows: {wider}." if wider else ""
            told.append(
                f"{name} rules out each of the {len(judged)} settings judged{waiting}{agrees}."
                f"{also} The nearest {'are' if len(near) > 1 else 'is'} "
                f"{'; '.join(str(each.setting) for each in near)}: "
                f"{most} of {len(near[0].cells)} values inside{' each' * (len(near) > 1)}; "
                f"{_farthest([each.farthest for each in near])}."
            )
        else:
            told.append(f"{name}: no setting has been judged yet.")
    return " ".join(told)


def _inside(judged: Judged) -> int:
    return sum(cell.inside for cell in judged.cells)


def _farthest(cells: Sequence[Cell]) -> str:
    """ "ConvNet at p = 0.9 has 76 % in the source, 79 % and 78 % in ours, in this order"."""
    ours: dict[tuple[str, float, float], list[Cell]] = {}
    for cell in cells:
        ours.setdefault((cell.network, cell.sparsity, cell.source), []).append(cell)
    return "; ".join(
        f"{network} at p = {p:g} has {100 * source:.2f} % in the source, "
        f"{in_a_row([numbers.number(f'{100 * c.mean:.2f} %', c.mean) for c in its])} in ours"
        f"{', in this order' * (len(its) > 1)}"
        for (network, p, source), its in ours.items()
    )


def settings_figure(found: Measured) -> str:
    """Every setting's prediction intervals beside the source's two values, a panel for each p."""
    judged = {j.setting: j for j in forensics.judge(forensics.table_3(), found) if j.cells}
    if not judged:
        return "<p>No setting has been trained often enough yet.</p>"
    table, curve = forensics.table_3(), forensics.printed_curve()
    labels = [
        f"{s.batch_size}, {'last' if s.block_order == 'code' else 'first'}, {s.evaluation}"
        for s in SETTINGS
    ]
    panels = []
    for network in SOURCE_NETWORKS:
        figure, axes = figures.new_figure(3.4, 5.6, 2, 2, sharex=True)
        for axis, p in zip(axes.flat, FORENSIC_SPARSITIES, strict=True):
            axis.axhline(100 * table[network, p], color="#D55E00", linewidth=1.2)
            axis.axhline(100 * curve[network, p], color="#D55E00", linewidth=1.2, linestyle="--")
            for i, setting in enumerate(SETTINGS):
                if setting not in judged:
                    continue
                (cell,) = (
                    c for c in judged[setting].cells if (c.network, c.sparsity) == (network, p)
                )
                below, above = cell.mean - cell.low, min(cell.high, 1) - cell.mean
                axis.errorbar(
                    i, 100 * cell.mean, [[100 * below], [100 * above]], color="#444444",
                    marker="o", markersize=3.5, linewidth=1.3, capsize=2,
                )  # fmt: skip
            axis.set_title(f"p = {p:g}", fontsize=9)
            axis.set_xticks(range(len(SETTINGS)), labels, rotation=90, fontsize=7)
        figure.suptitle(network)
        figure.supylabel("test accuracy (%)", fontsize=9)
        alt = f"Four panels of {network}, of eight settings' intervals beside the source's values."
        panels.append((figure, alt))
    panels[-1] = (panels[-1][0], f"{panels[-1][1]} {settings_in_words(found)}")
    return figures.pictures(
        panels,
        f"{settings_in_short(found)} Where one more run of ours would be in each setting (batch "
        "size, BatchNorm first or last in its block, statistics in testing): mean and corrected "
        "95 % prediction interval. Orange: the source's value, in Table 3 (line) and as its "
        "notebook ACC printed it (dashes).",
    )


def settings_in_short(found: Measured) -> str:
    """How many settings could have made each of the source's two rows of numbers."""
    told: list[str] = []
    for name, source in (
        ("Table 3", forensics.table_3()),
        ("the curve that ACC printed", forensics.printed_curve()),
    ):
        judged = [each for each in forensics.judge(source, found) if each.cells]
        possible, cautiously = (
            (
                sum(word == "possible" for word in words)
                for words in zip(*((each.word, each.cautiously) for each in judged), strict=True)
            )
            if judged
            else (0, 0)
        )
        also = f" ({cautiously} by wider intervals)" if cautiously != possible else ""
        told.append(f"{possible} of {len(judged)}{also}{' could have made' * (not told)} {name}")
    if not judged:
        return "No setting has been judged yet."
    return f"Of the settings judged, {' and '.join(told)}."


def costs_table(found: Measured, network: str) -> str:
    """What each line of the source's code costs that network, first and last."""
    rows = []
    costs = [cost for cost in forensics.costs(found) if cost.network == network]
    for line in dict.fromkeys(cost.line for cost in costs):
        for side, where in (("first", "as_written"), ("last", "as_coded")):
            row = {"line of the code": line, "in": where}
            sides = {cost.sparsity: getattr(cost, side) for cost in costs if cost.line == line}
            row |= {f"p = {p:g}": points(summary, 2) for p, summary in sides.items()}
            n = sorted({summary.n for summary in sides.values() if summary})
            row["n"] = "–" if not n else str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
            rows.append(row)
    return as_html(
        pandas.DataFrame(rows),
        f"{network}: points of test accuracy that each line of the source's code adds (+) or takes "
        "(−), paired by seed, with 95 % intervals, not corrected for their number. In as_written: "
        "this line alone is changed. In as_coded: all others are as in the notebook ACC already.",
    )


def costs_in_short(found: Measured, p: float) -> str:
    """Each network's dearest line at p, changed alone in `as_written`."""
    told = []
    for network in SOURCE_NETWORKS:
        lines = [
            (cost.line, cost.first)
            for cost in forensics.costs(found)
            if (cost.network, cost.sparsity) == (network, p) and cost.first is not None
        ]
        if lines:
            line, summary = min(lines, key=lambda line: line[1].mean)
            told.append(
                f"{network}, the dearest of {len(lines)} tried, {line}: {points(summary, 2)}, "
                f"n = {summary.n}."
            )
    if not told:
        return f"At p = {p:g} no line has been trained both ways yet."
    return (
        f"At p = {p:g}, what one line of the code costs when it alone is changed in as_written, "
        f"in points, with a 95 % interval, not corrected for choosing it. {' '.join(told)}"
    )


MASK_NETWORKS = ("ConvNet", "SparseConvNet", "SparseConvNet-kept")


def _of_common_seeds(cells: Mapping[tuple[str, float], Seeds], p: float) -> list[Seeds]:
    """Each of `MASK_NETWORKS`' accuracies at p, for the seeds that all three have."""
    three = [cells.get((network, p), {}) for network in MASK_NETWORKS]
    common = set.intersection(*(set(seeds) for seeds in three))
    return [{seed: seeds[seed] for seed in sorted(common)} for seeds in three]


def mask_table(found: Measured) -> str:
    """The gap between the two networks, and how much of it the mask's rule explains."""
    rows = []
    for setting, name, source in (
        (AS_CODED, "as_coded", forensics.printed_curve()),
        (AS_WRITTEN, "as_written", forensics.table_3()),
    ):
        cells = found.get(setting, {})
        for p in sorted({p for _, p in cells if p >= 0.5}):
            plain, dilated, kept = _of_common_seeds(cells, p)
            if not plain:
                continue
            gap, line, rest = (
                paired_difference(a, b)
                for a, b in ((plain, kept), (dilated, kept), (plain, dilated))
            )
            one, other = (source.get((network, p)) for network in SOURCE_NETWORKS)
            theirs = None if one is None or other is None else one - other
            shown = gap.n > 1 and gap.low > 0
            share = _share(line.mean / gap.mean) if shown else "–"
            of_theirs = _share(line.mean / theirs) if shown and theirs else "–"
            rows.append(
                {
                    "protocol": name,
                    "p": f"{p:g}",
                    "n": gap.n,
                    "the source's gap": "–" if theirs is None else signed(100 * theirs, 2),
                    "our gap, mask kept": points(gap, 2),
                    "of which the mask's rule": points(line, 2),
                    "left, mask dilated": points(rest, 2),
                    "share of ours": share,
                    "share of the source's": of_theirs,
                }
            )
    if not rows:
        return "<p>Not run yet.</p>"
    return as_html(
        pandas.DataFrame(rows),
        "ConvNet minus SparseConvNet, in points: the source's own single runs (its notebook ACC, "
        "and its Table 3), ours with the mask kept, and ours split into what dilating the mask "
        "gives "
        "back and what is left; 95 % intervals over the n seeds that all three networks have. The "
        "shares of our gap and of the source's that the rule explains are told where ours is shown "
        "to be a gap; above 100 %, the network with the mask dilated overtakes ConvNet.",
    )


def unexplained(found: Measured) -> str:
    """Where ACC's gap is wider than one more run of ours would make it; empty if nowhere."""
    cells, source = found.get(AS_CODED, {}), forensics.printed_curve()
    gaps: dict[float, tuple[float, list[float]]] = {}  # p -> theirs, and ours seed by seed
    for p in sorted({p for _, p in cells}):
        plain, _, kept = _of_common_seeds(cells, p)
        one, other = (source.get((network, p)) for network in SOURCE_NETWORKS)
        if len(plain) > 1 and one is not None and other is not None:
            gaps[p] = (one - other, [plain[seed] - kept[seed] for seed in plain])
    wider = {
        p: high
        for p, (theirs, ours) in gaps.items()
        if theirs > (high := prediction_interval(ours, comparisons=len(gaps))[1])
    }
    if not wider:
        return ""
    many = f"{len(gaps)} sparsities" if len(gaps) > 1 else "one sparsity"
    told = "; by ".join(
        f"{100 * gaps[p][0]:.1f} points at p = {p:g}, where one more run of ours would have "
        f"{numbers.number(f'{100 * high:.1f}', high)} at most"
        for p, high in wider.items()
    )
    return (
        "The rule for the mask does not explain all of what ACC printed. ConvNet was ahead there "
        f"by {told} (mask kept; 95 % prediction interval, corrected for {many}, "
        f"n = {span({len(gaps[p][1]) for p in wider})}). Nothing that is trained here tells what "
        "made the rest."
    )


def _share(share: float) -> str:
    return numbers.number(f"{share:.0%}", share)


def mask_in_words(found: Measured, p: float) -> str:
    """SparseConvNet against ConvNet at p as `ACC` trained, with the mask kept and dilated."""
    plain, dilated, kept = _of_common_seeds(found.get(AS_CODED, {}), p)
    if len(plain) < 2:
        return f"At p = {p:g} too few seeds have been trained under as_coded to say."
    return (
        f"Trained as the source's code trains (as_coded, n = {len(plain)}), at p = {p:g} and "
        f"against ConvNet, SparseConvNet-kept is "
        f"{difference_in_words(paired_difference(kept, plain))} and SparseConvNet "
        f"{difference_in_words(paired_difference(dilated, plain))}: dilating the mask is worth "
        f"{points(paired_difference(dilated, kept))} points there{_elsewhere(found, p)} "
        "(in brackets 95 % intervals)."
    )


def _elsewhere(found: Measured, p: float) -> str:
    """What dilating the mask is worth at p under two other protocols, to stand in a sentence."""
    told = []
    fair = transfer.measured("fair")
    for how, cells in (
        ("under as_written", found.get(AS_WRITTEN, {})),
        ("with equal care", {(name, at): its for (name, at, q), its in fair.items() if at == q}),
    ):
        dilated, kept = (cells.get((network, p), {}) for network in MASK_NETWORKS[1:])
        if dilated.keys() & kept.keys():
            gap = paired_difference(dilated, kept)
            told.append(f"{points(gap)} {how}, n = {gap.n}")
    return f"; {'; '.join(told)}" if told else ""


def glue_finding(found: Measured) -> None:
    """Gives the book's first page what the mask's rule is worth, from the records."""
    from IPython.display import HTML
    from myst_nb import glue  # only where chapters are made

    told = html.escape(mask_in_words(found, HEADLINE_SPARSITY))
    glue("mask_finding", HTML(numbers.as_html(told)), display=False)


def curve_figure(found: Measured) -> str:
    """Accuracy against sparsity as `ACC` trained, ours beside what it printed."""
    cells, curve = found.get(AS_CODED, {}), forensics.printed_curve()
    if not cells:
        return "<p>Not run yet.</p>"
    ours = {
        network: {
            p: summarise(seeds.values())
            for (name, p), seeds in sorted(cells.items())
            if name == network
        }
        for network in MASK_NETWORKS
    }
    printed = {
        network: {p: value for (name, p), value in curve.items() if name == network}
        for network in SOURCE_NETWORKS
    }
    n = sorted({summary.n for by_p in ours.values() for summary in by_p.values()})
    seeds = str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
    chart = figures.accuracy_by_sparsity(
        ours,
        printed,
        f"{captions.accuracies(ours)}Test accuracy under as_coded, n = {seeds}, with 95 % "
        "intervals of the mean where there are several seeds; crosses are what the source's "
        "notebook ACC printed, one run each.",
    )
    return chart + accuracies_plotted(
        ours, printed, with_interval, "Test accuracy in per cent, with 95 % intervals of the mean."
    )


def provenance_in_words() -> str:
    """How many trainings this chapter rests on, where they ran, and what code made them."""
    names = {name for key in ("mnist", "forensics", "batch_norm") for name in _grid_protocols(key)}
    found = [record for name in sorted(names) for record in records.load("mnist", name)]
    if not found:
        return "None of this chapter's own trainings has been run yet."
    other = sum(
        not probe.same_numbers(
            record.content["identity"]["code"], "mnist", record.key.protocol, record.key.network
        )
        for record in found
    )
    made = (
        "All of them were made by today's code, or by code that gives the same numbers."
        if not other
        else f"{other} of them were made by other code than today's †."
    )
    return (
        f"This chapter rests on {len(found)} trainings, those of as_written among them. {made} "
        f"{devices(found)}."
    )


def _grid_protocols(experiment: str) -> list[str]:
    return [name for grid in EXPERIMENTS[experiment].grids for name in grid.protocols]


def _power_of_ten(number: float) -> str:
    """ "10⁻⁶" for 0.0000004: the next one that is not less."""
    return "10" + f"{math.ceil(math.log10(number))}".translate(SUPERSCRIPTS)


def sameness() -> str:
    """Whether trainings that were done twice gave the same digits."""
    pairs = []
    for again in records.load("mnist", "as_written, evaluation=batch"):
        first = records.find(dataclasses.replace(again.key, protocol="as_written"))
        tested = again.with_statistics("running")
        if first is not None and tested is not None:
            curves = (record.content["curve"] for record in (first, again))
            apart = max(abs(a - b) for a, b in zip(*curves, strict=True))
            pairs.append((tested[first.key.sparsity] == first.accuracy, apart, first, again))
    if not pairs:
        return "No training has been done twice yet."
    both = [record for *_, first, again in pairs for record in (first, again)]
    codes = {record.content["identity"]["code"] for record in both}
    most = max(apart for _, apart, *_ in pairs)
    rest = f", the others to within {_power_of_ten(most)} nats" if most else ""
    return (
        f"Of {len(pairs)} trainings that were done twice, {sum(same for same, *_ in pairs)} gave "
        f"the same accuracy, and {sum(not apart for _, apart, *_ in pairs)} the same loss curve to "
        f"all digits recorded{rest}; {len(codes)} version{'s' * (len(codes) > 1)} of the deciding "
        f"code, {devices(both)}."
    )
