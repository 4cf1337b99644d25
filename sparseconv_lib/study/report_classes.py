"""Where the errors on Caltech-101 are: by class and class size, as HTML, made from records."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas

from sparseconv_lib.study import caltech, figures, records
from sparseconv_lib.study.grid import SOURCE_NETWORKS
from sparseconv_lib.study.report import as_html, percent, signed
from sparseconv_lib.study.report_caltech import SPARSE, accuracies, of


@dataclass(frozen=True)
class OfClass:
    """One class: its name, its training and test images, and accuracy -> of the sparsities."""

    name: str
    train: int
    test: int
    accuracy: Mapping[float, float]  # mean over seeds


def by_class(protocol: str, network: str, sparsities: Sequence[float]) -> list[OfClass]:
    """Every class with the accuracies of `network` on its test images; [] where one is not run.

    A mean over the seeds that all the sparsities have.
    """
    found: dict[float, dict[int, np.ndarray]] = {p: {} for p in sparsities}
    for record in records.load("caltech", protocol):
        key = record.key
        if key.network == network and key.sparsity in found:
            bits = record.correct_at(key.sparsity)
            if bits is not None:
                found[key.sparsity][key.seed] = bits
    seeds = set.intersection(*(set(each) for each in found.values()))
    if not seeds:
        return []
    entries = caltech.read_manifest()
    names = caltech.classes(entries)
    train = pandas.Series([e.label for e in entries if e.part == "train"]).value_counts()
    labels = np.array([e.label for e in entries if e.part == "test"])
    mean = {p: np.mean([found[p][s] for s in sorted(seeds)], axis=0) for p in sparsities}
    return [
        OfClass(
            name,
            int(train[name]),
            int((labels == name).sum()),
            {p: float(mean[p][labels == name].mean()) for p in sparsities},
        )
        for name in names
    ]


WHOLE, SPARSER = 0.0, 0.8


def class_figure(protocol: str) -> str:
    """Accuracy of each class against its size, on whole images and with 80 % missing."""
    panels = {n: by_class(protocol, n, (WHOLE, SPARSER)) for n in SOURCE_NETWORKS}
    if not all(panels.values()):
        return "<p>Not run yet at both sparsities.</p>"
    figure, axes = figures.new_figure(7.6, 3.4, 1, 2, sharey=True)
    for axis, (network, found) in zip(axes, panels.items(), strict=True):
        color, _, marker = figures.STYLES[network]
        for p, face in ((WHOLE, color), (SPARSER, "none")):
            axis.plot(
                [c.train for c in found],
                [100 * c.accuracy[p] for c in found],
                linestyle="none", marker=marker, markersize=4, color=color,
                markerfacecolor=face, label=f"p = {p:g}", alpha=0.8,
            )  # fmt: skip
        axis.set(xscale="log", xlabel="training images of the class", title=network)
        axis.set_xticks([30, 60, 150, 300, 600], ["30", "60", "150", "300", "600"])
        axis.minorticks_off()
        axis.legend(loc="lower right")
    axes[0].set_ylabel("accuracy of the class (%)")
    return figures.as_html(
        figure,
        "Accuracy of each of the 101 classes against the number of its training images, on whole "
        f"images (full) and with 80 % of the pixels missing (open); {_seeds_in_words(protocol)}.",
        "Two charts of 101 classes: most of the large classes are recognised, the small ones "
        "spread from none to all.",
    )


def _seeds_in_words(protocol: str) -> str:
    n = {
        len(of(accuracies(protocol), network, p))
        for network in SOURCE_NETWORKS
        for p in (WHOLE, SPARSER)
    }
    return f"n = {min(n)}" + (f" to {max(n)}" if len(n) > 1 else "")


def size_table(protocol: str) -> str:
    """Accuracy by class size: thirds of the classes, and the few largest."""
    rows = []
    for network in SOURCE_NETWORKS:
        found = sorted(by_class(protocol, network, (WHOLE, SPARSER)), key=lambda c: c.train)
        if not found:
            continue
        small, large = found[:-LARGE], found[-LARGE:]
        third = math.ceil(len(small) / 3)
        for group in (*(small[i : i + third] for i in range(0, len(small), third)), large):
            images = sum(c.test for c in group)
            accuracy = {
                p: sum(c.accuracy[p] * c.test for c in group) / images for p in (WHOLE, SPARSER)
            }
            rows.append(
                {
                    "network": network,
                    "training images": f"{group[0].train} to {group[-1].train}",
                    "classes": len(group),
                    "test images": images,
                    "p = 0": percent(accuracy[WHOLE]),
                    "p = 0.8": percent(accuracy[SPARSER]),
                    "lost": signed(100 * (accuracy[WHOLE] - accuracy[SPARSER]), 1),
                }
            )
    if not rows:
        return "<p>Not run yet at both sparsities.</p>"
    return as_html(
        pandas.DataFrame(rows),
        f"Test accuracy by the size of the class, and the points lost to p = 0.8; "
        f"{_seeds_in_words(protocol)}.",
    )


LARGE = 4  # airplanes, Motorbikes, Faces and Faces_easy hold more than a quarter of the images


def lost_table(protocol: str, rows_shown: int = 10) -> str:
    """The classes that lose most from 0 to 80 % missing, both networks together."""
    both = [by_class(protocol, network, (WHOLE, SPARSER)) for network in SOURCE_NETWORKS]
    if not all(both):
        return "<p>Not run yet at both sparsities.</p>"
    rows = []
    for plain, sparse in zip(*both, strict=True):
        lost = [100 * (c.accuracy[WHOLE] - c.accuracy[SPARSER]) for c in (plain, sparse)]
        rows.append((plain, sparse, lost))
    rows.sort(key=lambda row: -sum(row[2]))
    table = [
        {
            "class": plain.name,
            "test images": plain.test,
            "ConvNet, p = 0": percent(plain.accuracy[WHOLE]),
            "lost by ConvNet": f"{lost[0]:.0f}",
            f"{SPARSE}, p = 0": percent(sparse.accuracy[WHOLE]),
            f"lost by {SPARSE}": f"{lost[1]:.0f}",
        }
        for plain, sparse, lost in rows[:rows_shown]
    ]
    return as_html(
        pandas.DataFrame(table),
        "The ten classes that lose most from whole images to 80 % missing, in points, both "
        f"networks together; {_seeds_in_words(protocol)}. A class with ten test images moves by "
        "ten points with each of them, and the ten worst of 101 look worse than they are.",
    )


def errors_in_words(protocol: str) -> str:
    """How far the accuracy is that of a few large classes."""
    told = []
    for network in SOURCE_NETWORKS:
        found = by_class(protocol, network, (WHOLE, SPARSER))
        if not found:
            continue
        images = sum(c.test for c in found)
        for p in (WHOLE, SPARSER):
            over_images = sum(c.accuracy[p] * c.test for c in found) / images
            over_classes = float(np.mean([c.accuracy[p] for c in found]))
            none = sum(c.accuracy[p] == 0 for c in found)
            told.append(
                f"{network} at p = {p:g}: {percent(over_images)} of the images, but "
                f"{percent(over_classes)} as a mean over classes, with {none} classes of which no "
                "test image is recognised"
            )
    if not told:
        return "Not run yet at both sparsities."
    tests = pandas.Series([e.label for e in caltech.read_manifest() if e.part == "test"])
    share = tests.value_counts().iloc[:LARGE].sum() / len(tests)
    return (
        f"The {LARGE} largest classes hold {percent(share)} of the test images. {'; '.join(told)} "
        f"({_seeds_in_words(protocol)})."
    )
