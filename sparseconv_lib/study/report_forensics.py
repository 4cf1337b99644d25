"""Tables and figures of the chapter on where the source's first numbers came from, as HTML."""

from collections.abc import Mapping

import pandas

from sparseconv_lib.study import figures, forensics, probe, records
from sparseconv_lib.study.forensics import (
    AS_CODED,
    MINIMUM_N,
    SETTINGS,
    Judged,
    Seeds,
    Setting,
)
from sparseconv_lib.study.grid import (
    EXPERIMENTS,
    FORENSIC_SPARSITIES,
    SOURCE_NETWORKS,
)
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import NO_BREAK, as_html, devices, signed
from sparseconv_lib.study.statistics import Summary, paired_difference

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


def _told(judged: Judged) -> str:
    if not judged.cells:
        return judged.word
    inside = sum(cell.inside for cell in judged.cells)
    cell = judged.farthest
    return (
        f"{judged.word}: {inside} of {len(judged.cells)} inside; "
        f"{'farthest out' if not cell.inside else 'nearest the edge'} {cell.network}, "
        f"p = {cell.sparsity:g}: {100 * cell.source:.2f}, ours {100 * cell.mean:.2f} "
        f"({100 * cell.low:.2f} to {100 * cell.high:.2f})"
    )


def settings_table(found: Measured) -> str:
    """The eight settings against Table 3 and against the curve that `ACC` printed."""
    by_table = forensics.judge(forensics.table_3(), found)
    by_curve = forensics.judge(forensics.printed_curve(), found)
    rows = [
        {
            "batch": a.setting.batch_size,
            "order": {"text": "BatchNorm first", "code": "BatchNorm last"}[a.setting.block_order],
            "statistics": a.setting.evaluation,
            "n": _n(a.setting, found),
            "Table 3": _told(a),
            "the curve of ACC": _told(b),
        }
        for a, b in zip(by_table, by_curve, strict=True)
    ]
    return as_html(
        pandas.DataFrame(rows),
        "Is each of the source's eight values (two networks, four sparsities) where one more run "
        "of "
        "ours would be? Accuracies in per cent, in brackets the 95 % prediction interval, "
        "corrected "
        "for eight values, its spread pooled over networks and block orders. n is the number of "
        f"seeds of a cell; fewer than {MINIMUM_N} are not judged.",
    )


def settings_in_words(found: Measured) -> str:
    """Which settings the source's numbers leave possible, in a sentence or two."""
    told = []
    for name, source in (
        ("Table 3", forensics.table_3()),
        ("the printed curve", forensics.printed_curve()),
    ):
        judged = forensics.judge(source, found)
        groups = {
            word: [str(j.setting) for j in judged if j.word == word]
            for word in ("possible", "ruled out", "not judged")
        }
        parts = [f"{len(group)} {word}" for word, group in groups.items() if group]
        possible = "; ".join(groups["possible"]) or "none"
        told.append(f"Of {name}: {', '.join(parts)}. Possible: {possible}.")
    return " ".join(told)


def settings_figure(found: Measured) -> str:
    """Every setting's prediction intervals beside the source's two values, a panel for each p."""
    judged = {j.setting: j for j in forensics.judge(forensics.table_3(), found) if j.cells}
    if not judged:
        return "<p>No setting has been trained often enough yet.</p>"
    figure, axes = figures.new_figure(8.6, 5.0, 2, 4, sharex=True)
    table, curve = forensics.table_3(), forensics.printed_curve()
    labels = [
        f"{s.batch_size}, {'last' if s.block_order == 'code' else 'first'}, {s.evaluation}"
        for s in SETTINGS
    ]
    for row, network in zip(axes, SOURCE_NETWORKS, strict=True):
        for axis, p in zip(row, FORENSIC_SPARSITIES, strict=True):
            axis.axhline(100 * table[network, p], color="#D55E00", linewidth=1.2)
            axis.axhline(100 * curve[network, p], color="#D55E00", linewidth=1.2, linestyle="--")
            for i, setting in enumerate(SETTINGS):
                if setting not in judged:
                    continue
                (cell,) = (
                    c for c in judged[setting].cells if (c.network, c.sparsity) == (network, p)
                )
                color = figures.STYLES["ConvNet" if setting.batch_size == 4 else "SparseConvNet"][0]
                axis.errorbar(
                    i, 100 * cell.mean, 100 * (cell.high - cell.mean), color=color, marker="o",
                    markersize=3.5, linewidth=1.3, capsize=2,
                )  # fmt: skip
            axis.set_title(f"{network.removesuffix('-kept')}, p = {p:g}", fontsize=9)
            axis.set_xticks(range(len(SETTINGS)), labels, rotation=90, fontsize=7)
        row[0].set_ylabel("test accuracy (%)")
    return figures.as_html(
        figure,
        "Where one more run of ours would be in each setting (batch size, BatchNorm first or last "
        "in its block, statistics in testing): mean and corrected 95 % prediction interval. "
        "Orange: "
        "the source's value, in Table 3 (line) and as its notebook ACC printed it (dashes).",
        "Eight panels, two networks by four sparsities, of eight settings' intervals beside the "
        "source's two values. " + settings_in_words(found),
    )


def _points(summary: Summary | None) -> str:
    if summary is None:
        return "not run"
    if summary.n == 1:
        return signed(100 * summary.mean, 2).replace(" ", NO_BREAK)
    low, high = signed(100 * summary.low, 1), signed(100 * summary.high, 1)
    return f"{signed(100 * summary.mean, 2)} ({low} to {high})".replace(" ", NO_BREAK)


def costs_table(found: Measured, network: str) -> str:
    """What each line of the source's code costs that network, first and last."""
    rows = []
    costs = [cost for cost in forensics.costs(found) if cost.network == network]
    for line in dict.fromkeys(cost.line for cost in costs):
        for side in ("first", "last"):
            row = {"line of the code": line, "changed": side}
            sides = {cost.sparsity: getattr(cost, side) for cost in costs if cost.line == line}
            row |= {f"p = {p:g}": _points(summary) for p, summary in sides.items()}
            n = sorted({summary.n for summary in sides.values() if summary})
            row["n"] = "–" if not n else str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
            rows.append(row)
    return as_html(
        pandas.DataFrame(rows),
        f"{network}: points of test accuracy that each line of the source's code adds (+) or takes "
        "(−), paired by seed, with 95 % intervals. First: changed alone in what the text says "
        "(batches of 4). Last: the last step to what the notebook ACC does (batches of 64).",
    )


def mask_table(found: Measured) -> str:
    """The gap between the two networks, and how much of it the mask's rule explains."""
    cells, curve = found.get(AS_CODED, {}), forensics.printed_curve()
    rows = []
    for p in (0.5, 0.7, 0.8, 0.85, 0.9, 0.95):
        plain, kept, dilated = (
            cells.get((name, p), {}) for name in ("ConvNet", "SparseConvNet-kept", "SparseConvNet")
        )
        if not plain.keys() & kept.keys() & dilated.keys():
            continue
        gap, line, rest = (
            paired_difference(a, b) for a, b in ((plain, kept), (dilated, kept), (plain, dilated))
        )
        shown = gap.n > 1 and gap.low > 0
        rows.append(
            {
                "p": f"{p:g}",
                "n": gap.n,
                "the source's gap": signed(
                    100 * (curve["ConvNet", p] - curve["SparseConvNet-kept", p]), 2
                ),
                "our gap, mask kept": _points(gap),
                "of which the mask's rule": _points(line),
                "left with the mask dilated": _points(rest),
                "share explained": f"{line.mean / gap.mean:.0%}" if shown else "–",
            }
        )
    if not rows:
        return "<p>Not run yet.</p>"
    return as_html(
        pandas.DataFrame(rows),
        "ConvNet minus SparseConvNet as the source's notebook ACC trained them, in points: its own "
        "single run, ours, and ours split into what dilating the mask gives back and what is left; "
        "95 % intervals over n paired seeds. A share is told where the gap is shown to be one.",
    )


def mask_in_words(found: Measured, p: float) -> str:
    """The share of the gap at p that the mask's rule explains, in one sentence."""
    cells = found.get(AS_CODED, {})
    plain, kept, dilated = (
        cells.get((name, p), {}) for name in ("ConvNet", "SparseConvNet-kept", "SparseConvNet")
    )
    if len(plain.keys() & kept.keys() & dilated.keys()) < 2:
        return f"At p = {p:g} too few seeds have been trained to say."
    gap, line = paired_difference(plain, kept), paired_difference(dilated, kept)
    left = paired_difference(dilated, plain)
    return (
        f"At p = {p:g} (n = {gap.n}) the network with the mask kept is {100 * gap.mean:.1f} points "
        f"below ConvNet; dilating the mask gives it {_points(line)} points, which puts it "
        f"{_points(left)} points from ConvNet."
    )


def provenance_in_words() -> str:
    """How many trainings this chapter rests on, where they ran, and what code made them."""
    names = {name for key in ("forensics", "batch_norm") for name in _protocols(key)}
    found = [record for name in sorted(names) for record in records.load("mnist", name)]
    if not found:
        return "None of this chapter's own trainings has been run yet."
    other = sum(
        not probe.same_numbers(
            record.content["identity"]["code"], record.key.protocol, record.key.network
        )
        for record in found
    )
    made = (
        "all made by today's code, or by code that gives the same digits"
        if not other
        else f"† {other} of them made by other code than today's"
    )
    return (
        f"This chapter rests on {len(found)} trainings of its own, {made}, and on those of the "
        f"chapter on MNIST. {devices(found)}."
    )


def _protocols(experiment: str) -> list[str]:
    return [name for grid in EXPERIMENTS[experiment].grids for name in grid.protocols]


def sameness() -> str:
    """Whether trainings that were done twice gave the same digits."""
    twice = "as_written, evaluation=batch"
    pairs = [
        (record.with_statistics("running"), first)
        for record in records.load("mnist", twice)
        if (first := records.find(_as(record, "as_written"))) is not None
    ]
    same = sum(
        again is not None and again[first.key.sparsity] == first.accuracy for again, first in pairs
    )
    return (
        f"{same} of {len(pairs)} trainings that were done twice gave the same accuracy both times."
    )


def _as(record: Record, protocol: str) -> records.Key:
    key = record.key
    return records.Key(key.experiment, protocol, key.network, key.sparsity, key.seed)
