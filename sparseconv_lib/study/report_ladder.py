"""The ladder from the source's sparse ResNet18 to its dense one, as HTML, made from records."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas

from sparseconv_lib.study import figures, ladder, records, wording
from sparseconv_lib.study.ladder import FAULTS, Rung
from sparseconv_lib.study.protocol import preset
from sparseconv_lib.study.report import (
    as_html,
    devices,
    mark,
    note,
    points,
    signed,
    spread,
)
from sparseconv_lib.study.statistics import Summary, paired_difference, summarise

NOT_RUN = "not run"


@dataclass(frozen=True)
class Step:
    """Mending one fault: the rungs before and after, and the gain over seeds that both have."""

    fault: str
    before: Rung
    after: Rung
    gain: Summary | None  # None where no seed has both


def accuracies(base: str, rung: Rung) -> Mapping[int, float]:
    """The rung's accuracies, of the seeds that every rung has which has been run at all.

    So that gains, their sums and what is left over are all about the same trainings.
    """
    return {seed: a for seed, a in ladder.accuracies(base, rung).items() if seed in _seeds(base)}


def _seeds(base: str) -> set[int]:
    found = [set(ladder.accuracies(base, rung)) for rung in ladder.rungs()]
    return set.intersection(*(seeds for seeds in found if seeds)) if any(found) else set()


def steps(base: str, rungs: Sequence[Rung]) -> list[Step]:
    """The gains along a way from one rung to the next."""
    return [_step(base, before, after) for before, after in itertools.pairwise(rungs)]


def _step(base: str, before: Rung, after: Rung) -> Step:
    (fault,) = before - after
    return Step(fault, before, after, _gain(base, before, after))


def _gain(base: str, before: Rung, after: Rung) -> Summary | None:
    a, b = accuracies(base, after), accuracies(base, before)
    return paired_difference(a, b) if a.keys() & b.keys() else None


def reduced_in_words(base: str) -> str:
    """What makes a protocol smaller than the source's, to stand in every caption; "" if it is not.

    Read from the protocols themselves.
    """
    full, small = preset("as_written", "resnet18"), preset(base, "resnet18")
    if base == "as_written":
        return f"{full.epochs} epochs, photographs of 224 × 224 pixels, as the source."
    return (
        f"Reduced protocol: {small.epochs} epochs instead of {full.epochs}, photographs of "
        f"{small.side} × {small.side} pixels instead of 224 × 224."
    )


def way_table(base: str, rungs: Sequence[Rung], which: str) -> str:
    """One way from the source's code to the dense network, a row a rung.

    which: the order, in words, for the caption.
    """
    if not any(accuracies(base, rung) for rung in rungs):
        return f"<p>The ladder has not been run yet under {base}.</p>"
    rows = [["the source's code", _accuracy(base, rungs[0]), "–"]]
    for step in steps(base, rungs):
        rows.append([FAULTS[step.fault].mend, _accuracy(base, step.after), points(step.gain)])
    return as_html(
        pandas.DataFrame(rows, columns=["step", "test accuracy", "gain in points"]),
        f"From the source's sparse ResNet18 to its dense one, {which}, on whole images. Each row "
        "mends one more fault. Gains are paired by seed, with 95 % intervals where there are "
        f"several. {reduced_in_words(base)} {_where(base)}",
    )


def _accuracy(base: str, rung: Rung) -> str:
    seeds = accuracies(base, rung)
    if not seeds:
        return NOT_RUN
    found = records.load("resnet18", ladder.trained_as(base, rung))
    return spread(summarise(seeds.values())) + mark(found)


def _where(base: str) -> str:
    found = [r for name in ladder.protocols(base) for r in records.load("resnet18", name)]
    return f"{devices(found)}.{note(found)}"


def alone_table(base: str) -> str:
    """Each fault mended alone, in both orders, and left alone; what they do not add up to."""
    total = _gain(base, ladder.CODE, ladder.DENSE)
    if total is None:
        return f"<p>The ladder has not been run yet under {base}.</p>"
    ways = _ways(base)
    rows = [
        [fault.cause, *(points(gains[name]) for gains in ways.values())]
        for name, fault in FAULTS.items()
    ]
    sums = {way: _sum(base, way) for way in ways}
    rows.append(["all six, added up", *(points(found) for found in sums.values())])
    rows.append(["what they do to each other", *(points(_rest(base, way)) for way in ways)])
    rows.append(["from code to dense", *[points(total)] * len(ways)])
    return as_html(
        pandas.DataFrame(rows, columns=["fault", *ways]),
        "Points of test accuracy on whole images that mending a fault gains, by what else is "
        "mended: nothing (alone, first), what stands above it, what stands below it, or all the "
        "rest (alone, last). In both orders the gains add up to the whole. Alone they need not: "
        "what is left over, or counted twice, is what the faults do to each other. 95 % intervals "
        "over paired seeds where there are several, not corrected for their number, "
        f"n = {total.n}. {reduced_in_words(base)} {_where(base)}",
    )


WAYS = ("alone, first", "in order", "in reverse order", "alone, last")


def _ways(base: str) -> dict[str, Mapping[str, Summary | None]]:
    return {
        way: {fault: _gain(base, *rungs) for fault, rungs in _pairs(way).items()} for way in WAYS
    }


def _pairs(way: str) -> dict[str, tuple[Rung, Rung]]:
    """Fault -> the rungs before and after mending it, on one of the four ways."""
    if way == "alone, first":
        return {name: ladder.mended_alone(name) for name in FAULTS}
    if way == "alone, last":
        return {name: ladder.left_alone(name) for name in FAULTS}
    rungs = ladder.down() if way == "in order" else ladder.up()
    pairs = list(itertools.pairwise(rungs))
    return {name: pair for pair in pairs for name in pair[0] - pair[1]}


def _sum(base: str, way: str) -> Summary | None:
    """The gains of all faults added up, seed by seed."""
    gains: dict[int, float] | None = None
    for before, after in _pairs(way).values():
        a, b = accuracies(base, after), accuracies(base, before)
        both = {seed: a[seed] - b[seed] for seed in a if seed in b}
        if gains is None:
            gains = both
        else:
            gains = {seed: gains[seed] + gain for seed, gain in both.items() if seed in gains}
    return summarise(gains.values()) if gains else None


def _rest(base: str, way: str) -> Summary | None:
    """The whole gap less the added gains, seed by seed."""
    dense, code = accuracies(base, ladder.DENSE), accuracies(base, ladder.CODE)
    rest = {seed: dense[seed] - code[seed] for seed in dense if seed in code}
    for before, after in _pairs(way).values():
        a, b = accuracies(base, after), accuracies(base, before)
        rest = {s: value - (a[s] - b[s]) for s, value in rest.items() if s in a and s in b}
    return summarise(rest.values()) if rest else None


def waterfall(base: str) -> str:
    """The orders that are whole as waterfalls: each bar starts where the last one ended."""
    ways = {"in order": ladder.down(), "in reverse order": ladder.up()}
    found = {
        way: gains
        for way, rungs in ways.items()
        if (gains := _whole(steps(base, rungs))) is not None
    }
    if not found:
        return f"<p>Not every rung has been run yet under {base}.</p>"
    start = 100 * summarise(accuracies(base, ladder.CODE).values()).mean
    end = 100 * summarise(accuracies(base, ladder.DENSE).values()).mean
    panels, axes, highest = [], [], start
    for way, gains in found.items():
        figure, axis = figures.new_figure(3.4, 3.7)
        labels = ["the source's code", *(FAULTS[fault].mend for fault in gains), "dense"]
        axis.barh(0, start, color="#999999")
        level = start
        for i, gain in enumerate(gains.values(), start=1):
            step = 100 * gain.mean
            half = 100 * (gain.high - gain.mean)
            axis.barh(
                i, step, left=level, color="#009E73" if step >= 0 else "#D55E00",
                xerr=None if np.isnan(half) else half, capsize=2,
            )  # fmt: skip
            axis.annotate(
                signed(step, 1), (max(level, level + step), i), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=8,
            )  # fmt: skip
            level += step
            highest = max(highest, level)
        axis.barh(len(gains) + 1, end, color="#0072B2")
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
        axis.invert_yaxis()
        axis.set(xlabel="test accuracy (%)")
        axis.set_title(f"mended {way}", fontsize=9)
        each = ", ".join(f"{FAULTS[f].mend} {signed(100 * g.mean, 1)}" for f, g in gains.items())
        told = f"Waterfall of test accuracy, {way}: from {start:.1f} % {each}, to {end:.1f} %."
        panels.append((figure, told))
        axes.append(axis)
    for axis in axes:
        axis.set_xlim(0, 1.18 * highest)
    n = sorted({gain.n for gains in found.values() for gain in gains.values()})
    seeds = f"n = {n[0]}" + (f" to {n[-1]}" if len(n) > 1 else "")
    waiting = "".join(f" Mended {way}: not run yet." for way in ways if way not in found)
    return figures.pictures(
        panels,
        f"{_largest_steps(found)}What each mended fault gains, {seeds}; error bars are 95 % "
        f"intervals of the gain where there are several seeds.{waiting} {reduced_in_words(base)}",
    )


def _largest_steps(found: Mapping[str, Mapping[str, Summary]]) -> str:
    """The step that gains most on each way, named as the chart names it."""
    told = []
    for way, gains in found.items():
        most = max(gains, key=lambda fault: gains[fault].mean)
        told.append(f"mended {way} “{FAULTS[most].mend}”, {points(gains[most])}")
    return f"The step that gains most, in points: {'; '.join(told)}. "


def _whole(way: Sequence[Step]) -> dict[str, Summary] | None:
    """Fault -> gain, in the order of the way; None where a step has none."""
    gains = {step.fault: step.gain for step in way if step.gain is not None}
    return gains if len(gains) == len(way) else None


def has_run(base: str) -> bool:
    """Whether anything of the ladder has been run under that protocol."""
    return any(records.load("resnet18", name) for name in ladder.protocols(base))


def in_words(base: str) -> str:
    """The ladder's answer in a few sentences."""
    found = {name: records.load("resnet18", name) for name in ladder.protocols(base)}
    done = sum(map(bool, found.values()))
    of = f"{done} of the ladder's {len(found)} networks have been trained"
    total = _gain(base, ladder.CODE, ladder.DENSE)
    if total is None:
        return f"Under {base}, {of}: too few to tell."
    code, dense = (accuracies(base, rung) for rung in (ladder.CODE, ladder.DENSE))
    where = devices([record for its in found.values() for record in its])
    return (
        f"{reduced_in_words(base)} So far {of} ({where}). With all faults of "
        "the source's code the sparse ResNet18 reaches "
        f"{spread(summarise(code.values()))}, with none of them "
        f"{spread(summarise(dense.values()))}: a gap of {points(total)} points."
        f"{_alone_in_words(base)} n = {total.n} in each."
    )


def in_short(base: str) -> str:
    """The gap and what makes it, without the accuracies; "" if the ladder has not been run."""
    total = _gain(base, ladder.CODE, ladder.DENSE)
    if total is None:
        return ""
    return (
        f"Under {base} the dense ResNet18 is ahead of the source's sparse one by {points(total)} "
        f"points.{_alone_in_words(base)} n = {total.n} in each."
    )


def untrained_in_short(base: str) -> str:
    """What training the blocks alone gains, of the whole gap; "" if the two have not been run."""
    total = _gain(base, ladder.CODE, ladder.DENSE)
    gain = _gain(base, *ladder.mended_alone("untrained"))
    if total is None or gain is None:
        return ""
    found = [r for name in ladder.protocols(base) for r in records.load("resnet18", name)]
    return (
        f"Training them, and mending nothing else, gains {wording.points(gain)} of the "
        f"{wording.points(total)} points by which the dense network is ahead "
        f"({wording.with_intervals(wording.HALF, {total.n})}; {devices(found)}). "
        f"{reduced_in_words(base)}"
    )


def _alone_in_words(base: str) -> str:
    """The one fault whose mending gains most, and what the sparse layer itself costs."""
    ways, told = _ways(base), ""
    first = {name: gain for name in FAULTS if (gain := ways["alone, first"][name]) is not None}
    if len(first) == len(FAULTS):
        best = max(first, key=lambda name: first[name].mean)
        told += (
            f" The one fault whose mending alone gains most is that {FAULTS[best].cause}: "
            f"{points(first[best])} points."
        )
    elif "untrained" in first:
        told += f" That {FAULTS['untrained'].cause}, mended alone: {points(first['untrained'])}."
    layer = [
        f"{points(gain)} {where}"
        for way, where in (
            ("alone, first", "where the other faults stay"),
            ("alone, last", "where they are mended"),
        )
        if (gain := ways[way]["layer"]) is not None
    ]
    if layer:
        told += (
            " To take out the sparse layer itself, which is all that makes the network sparse, "
            f"gains {' and '.join(layer)}."
        )
    return told
