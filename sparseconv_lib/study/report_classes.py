"""Where the errors on Caltech-101 are: by class and class size, as HTML, made from records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas

from sparseconv_lib.study import caltech, figures, records
from sparseconv_lib.study.grid import SOURCE_NETWORKS
from sparseconv_lib.study.report import as_html, made_by_other_code, percent, signed
from sparseconv_lib.study.report_caltech import SPARSE


@dataclass(frozen=True)
class OfClass:
    """One class: its name, its training and test images, and accuracy -> of the sparsities."""

    name: str
    train: int
    test: int
    accuracy: Mapping[float, float]  # mean over seeds


WHOLE, SPARSER = 0.0, 0.8
NOT_RUN = "<p>Not run yet at both sparsities.</p>"


@dataclass(frozen=True)
class Answers:
    """How both networks did on each class, on whole images and on sparser ones.

    seeds: those that both networks have at both sparsities; accuracies are means over them.
    of: network -> its classes, in one order. other_code: whether any was made by code of other
    digits than today's.
    """

    seeds: tuple[int, ...]
    of: Mapping[str, tuple[OfClass, ...]]
    other_code: bool

    @property
    def n(self) -> str:
        """ "n = 3", with a remark where it is due, to stand in a caption."""
        return f"n = {len(self.seeds)}" + (", † made by other code than today's" * self.other_code)


def answers(protocol: str) -> Answers | None:
    """From the records of `protocol`; None while a network lacks a sparsity.

    Raises RecordError for a record of another split: its answers are about other images.
    """
    split = f"stratified-{caltech.split_identity(caltech.read_manifest())}"
    bits: dict[tuple[str, float], dict[int, np.ndarray]] = {
        (network, p): {} for network in SOURCE_NETWORKS for p in (WHOLE, SPARSER)
    }
    for record in records.load("caltech", protocol):
        key = record.key
        found = record.correct_at(key.sparsity)
        if (key.network, key.sparsity) not in bits or found is None:
            continue
        if record.content["identity"]["split"] != split:
            raise records.RecordError(
                f"{key}: tested on the split {record.content['identity']['split']}, but "
                f"caltech101.csv holds {split}; restore that file with `git checkout`"
            )
        bits[key.network, key.sparsity][key.seed] = found
    seeds = tuple(sorted(set.intersection(*(set(each) for each in bits.values()))))
    if not seeds:
        return None
    stale = made_by_other_code("caltech", protocol)
    return Answers(
        seeds,
        {
            network: tuple(
                _by_class(
                    {
                        p: np.mean([bits[network, p][seed] for seed in seeds], axis=0)
                        for p in (WHOLE, SPARSER)
                    }
                )
            )
            for network in SOURCE_NETWORKS
        },
        bool(stale & bits.keys()),
    )


def _by_class(share: Mapping[float, np.ndarray]) -> Iterator[OfClass]:
    """share: sparsity -> of the seeds, how many got each test image right (1736,)."""
    entries = caltech.read_manifest()
    train = pandas.Series([e.label for e in entries if e.part == "train"]).value_counts()
    labels = np.array([e.label for e in entries if e.part == "test"])
    for name in caltech.classes(entries):
        its = labels == name
        accuracy = {p: float(right[its].mean()) for p, right in share.items()}
        yield OfClass(name, int(train[name]), int(its.sum()), accuracy)


def class_figure(protocol: str) -> str:
    """Accuracy of each class against its size, on whole images and with 80 % missing."""
    both = answers(protocol)
    if both is None:
        return NOT_RUN
    figure, axes = figures.new_figure(7.6, 3.4, 1, 2, sharey=True)
    told = []
    for axis, (network, found) in zip(axes, both.of.items(), strict=True):
        color, _, marker = figures.STYLES[network]
        for p, face in ((WHOLE, color), (SPARSER, "none")):
            axis.plot(
                [c.train for c in found],
                [100 * c.accuracy[p] for c in found],
                linestyle="none", marker=marker, markersize=4, color=color,
                markerfacecolor=face, label=f"p = {p:g}", alpha=0.8,
            )  # fmt: skip
            of_classes = np.quantile([100 * c.accuracy[p] for c in found], (0.25, 0.5, 0.75))
            told.append(
                f"{network} at p = {p:g}: half of the classes lie between {of_classes[0]:.0f} and "
                f"{of_classes[2]:.0f} %, the middle one at {of_classes[1]:.0f} %"
            )
        axis.set(xscale="log", xlabel="training images of the class", title=network)
        axis.set_xticks([30, 60, 150, 300, 600], ["30", "60", "150", "300", "600"])
        axis.minorticks_off()
        axis.legend(loc="lower right")
    axes[0].set_ylabel("accuracy of the class (%)")
    classes = len(next(iter(both.of.values())))
    return figures.as_html(
        figure,
        f"Accuracy of each of the {classes} classes against the number of its training images, on "
        f"whole images (full) and with 80 % of the pixels missing (open); {both.n}.",
        f"Two charts, a dot for each of {classes} classes. {'; '.join(told)}.",
    )


def size_groups(found: Sequence[OfClass]) -> list[list[OfClass]]:
    """The classes by size: the LARGE largest, and the rest in thirds, cut between sizes.

    Classes with equally many training images are in one group.
    """
    by_size = sorted(found, key=lambda c: c.train)
    small, large = by_size[:-LARGE], by_size[-LARGE:]
    third: list[int] = []
    for i, one in enumerate(small):
        same_size = i > 0 and small[i - 1].train == one.train
        third.append(third[-1] if same_size else 3 * i // len(small))
    groups = [
        [one for one, its in zip(small, third, strict=True) if its == k] for k in sorted(set(third))
    ]
    return [*groups, large]


def size_table(protocol: str) -> str:
    """Accuracy by class size: thirds of the classes, and the few largest."""
    both = answers(protocol)
    if both is None:
        return NOT_RUN
    rows = []
    for network, found in both.of.items():
        for group in size_groups(found):
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
    return as_html(
        pandas.DataFrame(rows),
        f"Test accuracy by the size of the class, and the points lost to p = 0.8; {both.n}.",
    )


LARGE = 4  # airplanes, Motorbikes, Faces and Faces_easy hold more than a quarter of the images


def lost_table(protocol: str, rows_shown: int = 10) -> str:
    """The classes that lose most from 0 to 80 % missing, both networks together."""
    both = answers(protocol)
    if both is None:
        return NOT_RUN
    rows = []
    for plain, sparse in zip(*both.of.values(), strict=True):
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
        f"The {len(table)} classes of {len(rows)} that lose most from whole images to 80 % "
        f"missing, in points, both networks together; {both.n}. A class with ten test images moves "
        "by ten points with each of them, and the worst of many look worse than they are.",
    )


def errors_in_words(protocol: str) -> str:
    """How far the accuracy is that of a few large classes."""
    both = answers(protocol)
    if both is None:
        return "Not run yet at both sparsities."
    told = []
    for network, found in both.of.items():
        images = sum(c.test for c in found)
        for p in (WHOLE, SPARSER):
            over_images = sum(c.accuracy[p] * c.test for c in found) / images
            over_classes = float(np.mean([c.accuracy[p] for c in found]))
            none = sum(c.accuracy[p] == 0 for c in found)
            classes = "1 class" if none == 1 else f"{none} classes"
            told.append(
                f"{network} at p = {p:g}: {percent(over_images)} of the images, but "
                f"{percent(over_classes)} as a mean over classes, with {classes} of which no "
                "test image is recognised"
            )
    tests = pandas.Series([e.label for e in caltech.read_manifest() if e.part == "test"])
    share = tests.value_counts().iloc[:LARGE].sum() / len(tests)
    return (
        f"The {LARGE} largest classes hold {percent(share)} of the test images. {'; '.join(told)} "
        f"({both.n})."
    )


def photographs_in_words() -> str:
    """How many photographs there are, of what, and how many are kept for testing."""
    entries = caltech.read_manifest()
    sizes = pandas.Series([entry.label for entry in entries]).value_counts()
    tests = sum(entry.part == "test" for entry in entries)
    return (
        f"{len(entries):,} photographs of {len(sizes)} kinds of objects, {sizes.min()} to "
        f"{sizes.max()} of each; {tests:,} of them, a fifth of each class, are kept for testing."
    )
