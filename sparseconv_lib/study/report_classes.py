"""Where the errors on Caltech-101 are: by class and class size, as HTML, made from records.

Everything here is a mean over the same trainings: the seeds that both networks have at both
sparsities, tested on the committed split.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas

from sparseconv_lib.study import caltech, figures, numbers, records
from sparseconv_lib.study.grid import SOURCE_NETWORKS
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import NO_BREAK, as_html, devices_by_seed, mark, percent, points
from sparseconv_lib.study.report_caltech import SPARSE, committed_answers
from sparseconv_lib.study.statistics import paired_difference, summarise
from sparseconv_lib.study.traced import Traced

WHOLE, SPARSER = 0.0, 0.8
LARGE = 4  # airplanes, Motorbikes, Faces and Faces_easy hold more than a quarter of the images
NOT_RUN = "Not run yet at both sparsities with the committed split."


@dataclass(frozen=True)
class OfClass:
    """One class: its name, its training and test images, and sparsity -> seed -> accuracy."""

    name: str
    train: int
    test: int
    by_seed: Mapping[float, Mapping[int, float]]

    @property
    def accuracy(self) -> dict[float, float]:
        """Sparsity -> mean over seeds."""
        return {p: summarise(seeds.values()).mean for p, seeds in self.by_seed.items()}


def compared(protocol: str) -> dict[int, list[Record]]:
    """Seed -> its four records: both networks at both sparsities. Seeds that lack one are left out,
    and so are records of another split, whose bits belong to other images.
    """
    found: dict[int, list[Record]] = {}
    for record in records.load("caltech", protocol):
        asked = record.key.network in SOURCE_NETWORKS and record.key.sparsity in (WHOLE, SPARSER)
        if asked and committed_answers(record) is not None:
            found.setdefault(record.key.seed, []).append(record)
    return {seed: four for seed, four in sorted(found.items()) if len(four) == 4}


def by_class(protocol: str, network: str) -> list[OfClass]:
    """Every class with the accuracies of `network` on its test images; [] if not run."""
    seeds = compared(protocol)
    if not seeds:
        return []
    answers = {
        record.key: bits
        for four in seeds.values()
        for record in four
        if record.key.network == network and (bits := committed_answers(record)) is not None
    }  # (N_test,) each
    entries = caltech.read_manifest()
    train = pandas.Series([e.label for e in entries if e.part == "train"]).value_counts()
    labels = np.array([e.label for e in entries if e.part == "test"])
    return [
        OfClass(
            name,
            int(train[name]),
            int((labels == name).sum()),
            {
                p: {
                    key.seed: Traced(bits[labels == name].mean(), (key,))
                    for key, bits in answers.items()
                    if key.sparsity == p
                }
                for p in (WHOLE, SPARSER)
            },
        )
        for name in caltech.classes(entries)
    ]


def by_size(found: list[OfClass]) -> list[list[OfClass]]:
    """The classes from small to large, in about thirds, and the few largest.

    Cut between sizes, so that classes of one size are in one group.
    """
    ordered = sorted(found, key=lambda c: c.train)
    small = ordered[:-LARGE]
    cuts = [ordered[i].train for i in (len(small) // 3, 2 * len(small) // 3, len(small))]
    group = np.searchsorted(cuts, [c.train for c in ordered], side="right")
    groups = [[c for c, g in zip(ordered, group, strict=True) if g == i] for i in range(4)]
    return [classes for classes in groups if classes]


def _seeds_in_words(protocol: str) -> str:
    """ "means over n = 3 seeds", the devices, and where other code than today's made one, that."""
    seeds = compared(protocol)
    found = [record for four in seeds.values() for record in four]
    n = f"means over n = {len(seeds)} seeds" if len(seeds) > 1 else f"n = {len(seeds)}"
    other = ", made by other code than today's" if mark(found) else ""
    return f"{n}; {devices_by_seed(found)}{other}"


def _sizes(classes: list[OfClass]) -> str:
    return f"{classes[0].train} to {classes[-1].train}"


def class_figure(protocol: str) -> str:
    """Accuracy of each class against its size, on whole images and with 80 % missing."""
    panels = {n: by_class(protocol, n) for n in SOURCE_NETWORKS}
    if not all(panels.values()):
        return f"<p>{NOT_RUN}</p>"
    shown = []
    for network, found in panels.items():
        figure, axis = figures.new_figure(3.4, 3.4)
        color, _, marker = figures.STYLES[network]
        for p, face in ((WHOLE, color), (SPARSER, "none")):
            axis.plot(
                [c.train for c in found],
                [100 * c.accuracy[p] for c in found],
                linestyle="none", marker=marker, markersize=4, color=color,
                markerfacecolor=face, label=f"p = {p:g}", alpha=0.8,
            )  # fmt: skip
        axis.set(
            xscale="log",
            xlabel="training images of the class",
            ylabel="accuracy of the class (%)",
            ylim=(-4, 104),
            title=network,
        )
        axis.set_xticks([30, 60, 150, 300, 600], ["30", "60", "150", "300", "600"])
        axis.minorticks_off()
        axis.legend(loc="lower right")
        shown.append((figure, f"{len(found)} classes; {_ranges(network, found)}."))
    return figures.pictures(
        shown,
        f"{_small_and_large(panels)}These are means over classes, whatever their size. "
        f"Accuracy of each of the {len(found)} classes against the "
        f"number of its training images, on whole images (full) and with {100 * SPARSER:g} % of "
        f"the pixels missing (open); {_seeds_in_words(protocol)}.",
    )


def _small_and_large(panels: Mapping[str, list[OfClass]]) -> str:
    """What the smallest classes keep and what the largest, as means over the classes."""
    told = []
    for i in (0, -1):
        each: list[str] = []
        for network, found in panels.items():
            group = by_size(found)[i]
            whole, sparser = (
                sum((c.accuracy[p] for c in group), Traced(0)) / len(group)
                for p in (WHOLE, SPARSER)
            )
            falls = [numbers.number(f"{100 * a:.0f}", a) for a in (whole, sparser)]
            each.append(f"from {' to '.join(falls)}{NO_BREAK}% ({network})")
        told.append(f"in classes of {_sizes(group)} training images {' and '.join(each)}")
    return f"As pixels go missing mean accuracies move, {'; '.join(told)}. "


def _ranges(network: str, found: list[OfClass]) -> str:
    """What a chart shows: between which accuracies the smallest and the largest classes lie."""
    told = []
    for p in (WHOLE, SPARSER):
        for group in (by_size(found)[0], by_size(found)[-1]):
            low, *_, high = sorted(100 * c.accuracy[p] for c in group)
            told.append(
                f"at p = {p:g} classes of {_sizes(group)} images lie at {low:.0f} to {high:.0f} %"
            )
    return f"{network}: {', '.join(told)}"


def size_table(protocol: str) -> str:
    """Accuracy by class size: thirds of the classes, and the few largest."""
    rows = []
    for network in SOURCE_NETWORKS:
        found = by_class(protocol, network)
        if not found:
            return f"<p>{NOT_RUN}</p>"
        for group in by_size(found):
            images = sum(c.test for c in group)
            whole, sparser = (
                {
                    seed: sum((c.by_seed[p][seed] * c.test for c in group), Traced(0)) / images
                    for seed in group[0].by_seed[p]
                }
                for p in (WHOLE, SPARSER)
            )
            rows.append(
                {
                    "network": network,
                    "training images": _sizes(group),
                    "classes": len(group),
                    "test images": images,
                    f"p = {WHOLE:g}": percent(summarise(whole.values()).mean),
                    f"p = {SPARSER:g}": percent(summarise(sparser.values()).mean),
                    "lost": points(paired_difference(whole, sparser)),
                }
            )
    return as_html(
        pandas.DataFrame(rows),
        f"Test accuracy by the size of the class, and the points lost to p = {SPARSER:g}, with "
        "95 % intervals, paired by seed, where there are several; "
        f"{_seeds_in_words(protocol)}.",
    )


def lost_table(protocol: str, rows_shown: int = 10) -> str:
    """The classes that lose most from 0 to 80 % missing, both networks together."""
    both = [by_class(protocol, network) for network in SOURCE_NETWORKS]
    if not all(both):
        return f"<p>{NOT_RUN}</p>"
    rows = []
    for plain, sparse in zip(*both, strict=True):
        lost = [c.accuracy[WHOLE] - c.accuracy[SPARSER] for c in (plain, sparse)]
        rows.append((plain, sparse, lost))
    rows.sort(key=lambda row: -sum(row[2]))
    least = sum(rows[rows_shown - 1][2])
    ties = sum(math.isclose(sum(lost), least) for *_, lost in rows[rows_shown:])
    as_much = f" ({ties} more lose{'s' * (ties == 1)} as much as the last of these)" if ties else ""
    table = [
        {
            "class": plain.name,
            "test images": plain.test,
            f"ConvNet, p = {WHOLE:g}": percent(plain.accuracy[WHOLE]),
            "lost by ConvNet": numbers.number(f"{100 * lost[0]:.0f}", lost[0]),
            f"{SPARSE}, p = {WHOLE:g}": percent(sparse.accuracy[WHOLE]),
            f"lost by {SPARSE}": numbers.number(f"{100 * lost[1]:.0f}", lost[1]),
        }
        for plain, sparse, lost in rows[:rows_shown]
    ]
    return as_html(
        pandas.DataFrame(table),
        f"The {_classes(len(table))} of {len(rows)} with the largest loss from whole images to "
        f"{100 * SPARSER:g} % missing, in points, both networks together{as_much}; "
        f"{_seeds_in_words(protocol)}. In one training a class with ten test images moves by ten "
        "points with each of them, and the worst of so many look worse than they are.",
    )


def _classes(n: int) -> str:
    return f"{n} class" if n == 1 else f"{n} classes"


def errors_in_words(protocol: str) -> str:
    """How far the accuracy is that of a few large classes."""
    told, trainings = [], len(compared(protocol))
    by_any = f" by any of {trainings} trainings" if trainings > 1 else ""
    for network in SOURCE_NETWORKS:
        found = by_class(protocol, network)
        if not found:
            return NOT_RUN
        images = sum(c.test for c in found)
        for p in (WHOLE, SPARSER):
            over_images = sum(c.accuracy[p] * c.test for c in found) / images
            over_classes = sum(c.accuracy[p] for c in found) / len(found)
            none = sum(c.accuracy[p] == 0 for c in found)
            told.append(
                f"{network} at p = {p:g}: {percent(over_images)} of the images, but "
                f"{percent(over_classes)} as a mean over classes, with {_classes(none)} of which "
                f"no test image is recognised{by_any}"
            )
    share = sum(sorted(c.test for c in found)[-LARGE:]) / images
    return (
        f"The {LARGE} largest classes hold {percent(share)} of the test images. {'; '.join(told)} "
        f"({_seeds_in_words(protocol)})."
    )
