"""The sentence that opens a chart's caption says what the numbers say, and no more."""

import html
import re

import pytest
from test_records import a_record

from sparseconv_lib.study import captions, numbers, records, report
from sparseconv_lib.study.statistics import summarise

# Three seeds around a mean: t(2, 97.5 %) = 4.303, so that the interval is the mean ± 2.48 points.
ABOVE, BELOW, NEITHER = (
    summarise([mean - 0.01, mean, mean + 0.01]) for mean in (0.03, -0.03, 0.02)
)


def plain(text):
    return numbers.plain(text).replace("\u00a0", " ")


def caption(figure):
    """A chart's caption as text."""
    found = re.search("<figcaption>(.*?)</figcaption>", figure, re.DOTALL)[1]
    return html.unescape(re.sub("<[^>]+>", "", found)).replace("\u00a0", " ")


def test_above_below_and_neither_are_told_by_their_intervals():
    told = captions.differences(
        {
            "A": {0.0: BELOW, 0.1: NEITHER, 0.5: ABOVE, 0.8: ABOVE, 0.9: ABOVE},
            "B": {0.0: ABOVE, 0.5: NEITHER, 0.8: ABOVE},
            "C": {0.0: NEITHER, 0.5: NEITHER},
            "D": {0.0: BELOW, 0.5: BELOW},
            "E": {0.0: BELOW, 0.8: BELOW},
        },
        "P",
    )
    assert told == (
        "By single 95 % intervals, against P, A is better at p = 0.5 to 0.9 and worse at p = 0; B "
        "is better at p = 0 and 0.8; D is worse at p = 0 and 0.5; E is worse at p = 0 and 0.8; C "
        "is not told apart at any p tried. "
    )
    # What lies between was tried with another network, and not with this one.
    gap = {"A": dict.fromkeys((0.0, 0.1, 0.9), ABOVE), "B": {0.5: BELOW}}
    assert "A is better at p = 0, 0.1 and 0.9; B" in captions.differences(gap, "P")
    every = {"A": dict.fromkeys((0.0, 0.5), ABOVE), "B": {0.5: BELOW}}
    assert "A is better at every p; B is worse at p = 0.5" in captions.differences(every, "P")
    none = captions.differences({"A": {0.0: NEITHER}, "B": {0.0: NEITHER}}, "P")
    assert none == (
        "By single 95 % intervals, against P, A and B are not told apart at any p tried. "
    )


def test_one_run_each_has_no_better_or_worse():
    one = {p: summarise([value]) for p, value in ((0.0, 0.01), (0.5, -0.02), (0.8, 0.005))}
    told = captions.differences({"A": one, "B": {0.5: summarise([0.0])}, "C": {}}, "P")
    assert told == (
        "In one run each, points against P: A −2.0 (p = 0.5) to +1.0 (p = 0); B +0.0 (p = 0.5). "
    )
    # Beside several seeds a single one is no finding, and is named as one.
    assert captions.differences({"A": {0.0: ABOVE}, "B": {0.5: summarise([0.5])}}, "P") == (
        "By single 95 % intervals, against P, A is better at p = 0 (not judged, one run: B at p = "
        "0.5). "
    )
    part = {"A": {0.0: NEITHER, 0.5: summarise([0.5]), 0.8: NEITHER}}
    assert captions.differences(part, "P") == (
        "By single 95 % intervals, against P, A is not told apart at any p judged (not judged, "
        "one run: A at p = 0.5). "
    )
    part = {"A": {0.0: BELOW, 0.5: summarise([0.5]), 0.8: BELOW}, "B": {0.0: summarise([0.1])}}
    assert captions.differences(part, "P") == (
        "By single 95 % intervals, against P, A is worse at every p judged (not judged, one run: A "
        "at p = 0.5; B at p = 0). "
    )


def test_without_numbers_there_is_no_sentence():
    assert captions.differences({}, "P") == captions.differences({"A": {}}, "P") == ""
    assert captions.accuracies({}) == captions.accuracies({"A": {}}) == ""
    apart = {"A": {0.0: summarise([0.9])}, "B": {0.5: summarise([0.9])}}
    assert captions.accuracies(apart) == ""  # no sparsity that both have


def test_accuracies_fall_and_lie_apart():
    def seeds(mean):
        return summarise([mean - 0.01, mean + 0.01])

    cells = {
        "A": {0.0: seeds(0.95), 0.5: seeds(0.90), 0.9: seeds(0.60), 0.95: seeds(0.1)},
        "B": {0.0: seeds(0.96), 0.5: seeds(0.80), 0.9: seeds(0.65)},
        "C": {},
    }
    assert plain(captions.accuracies(cells)) == (
        "Mean accuracies fall from between 95.0 and 96.0 % at p = 0 to between 60.0 and 65.0 % "
        "at p = 0.9; they lie farthest apart at p = 0.5, A 10.0 points above B. "
    )
    cells["B"][0.9] = seeds(0.97)  # one of them does not fall
    assert "accuracies go from" in captions.accuracies(cells)
    alone = {"A": {0.0: summarise([0.95]), 0.5: summarise([0.90])}}
    assert plain(captions.accuracies(alone)) == (
        "In one run each, accuracies fall from 95.0 % at p = 0 to 90.0 % at p = 0.5. "
    )
    alone["A"].pop(0.5)
    assert plain(captions.accuracies(alone)) == "In one run each, accuracies are 95.0 % at p = 0. "
    same = {name: {0.0: summarise([0.95]), 0.5: summarise([0.9, 0.9])} for name in "AB"}
    assert plain(captions.accuracies(same)) == (
        "Mean accuracies (of one run at p = 0) fall from 95.0 % at p = 0 to 90.0 % at p = 0.5. "
    )
    same["B"][0.0] = summarise([0.95, 0.95])
    assert "(of one run for some at p = 0) " in captions.accuracies(same)
    # A single run may lie anywhere, so that it is not where they lie farthest apart.
    several = {
        "A": {0.0: seeds(0.95), 0.5: summarise([0.9]), 0.8: seeds(0.7)},
        "B": {0.0: seeds(0.94), 0.5: summarise([0.5]), 0.8: seeds(0.65)},
    }
    assert plain(captions.accuracies(several)) == (
        "Mean accuracies (of one run at p = 0.5) fall from between 94.0 and 95.0 % at p = 0 to "
        "between 65.0 and 70.0 % at p = 0.8; where there are several runs, they lie farthest apart "
        "at p = 0.8, A 5.0 points above B. "
    )


@pytest.mark.parametrize(
    "where, told",
    [
        ([0.3], "at p = 0.3"),
        ([0.0, 0.1], "at p = 0 and 0.1"),
        ([0.0, 0.3, 0.5], "at p = 0, 0.3 and 0.5"),
        ([0.1, 0.3, 0.5], "at p = 0.1 to 0.5"),
        ([0.0, 0.1, 0.3, 0.8], "at p = 0 to 0.3 and 0.8"),
        ([0.0, 0.1, 0.3, 0.5, 0.8], "at every p"),
    ],
)
def test_neighbours_are_told_as_a_range(where, told):
    assert captions.at(where, [0.0, 0.1, 0.3, 0.5, 0.8]) == told


@pytest.fixture
def recorded(monkeypatch):
    """A function: these are all the records there are."""

    def install(*found):
        monkeypatch.setattr(
            records,
            "load",
            lambda experiment, protocol=None: [
                r for r in found if protocol in (None, r.key.protocol)
            ],
        )

    install()
    return install


def trained(network, p, accuracies):
    return [
        a_record(network, p, seed, accuracy={f"{p:g}": accuracy})
        for seed, accuracy in enumerate(accuracies)
    ]


def test_the_figures_of_a_grid_open_with_what_they_show(recorded):
    """Of MNIST and of Caltech-101 alike."""
    recorded(
        *trained("ConvNet", 0.5, (0.90, 0.91, 0.92)),
        *trained("ConvNet", 0.8, (0.80, 0.81, 0.82)),
        *trained("SparseConvNet", 0.5, (0.88, 0.88, 0.88)),  # 2, 3 and 4 points below
        *trained("SparseConvNet", 0.8, (0.82, 0.84, 0.86)),  # 2, 3 and 4 points above
        *trained("ConvNet+mask", 0.5, (0.91, 0.91, 0.91)),  # 1 above to 1 below
    )
    told = caption(report.difference_figure("mnist", "as_written", "ConvNet"))
    assert told.startswith(
        "By single 95 % intervals, against ConvNet, SparseConvNet is better at p = 0.8 and worse "
        "at p = 0.5; ConvNet+mask is not told apart at any p tried. Test accuracy minus that of "
        "ConvNet"
    )
    assert "3 seeds" in told and "not corrected" in told
    recorded(
        *trained("ConvNet", 0.5, (0.9,)), *trained("ConvNet", 0.8, (0.8,)),
        *trained("SparseConvNet", 0.5, (0.91,)), *trained("SparseConvNet", 0.8, (0.78,)),
    )  # fmt: skip
    assert caption(report.difference_figure("mnist", "as_written", "ConvNet")).startswith(
        "In one run each, points against ConvNet: SparseConvNet −2.0 (p = 0.8) to +1.0 (p = 0.5). "
    )
    assert caption(report.accuracy_figure("mnist", "as_written", "mnist-table-3")).startswith(
        "In one run each, accuracies fall from between 90.0 and 91.0 % at p = 0.5 to between 78.0 "
        "and 80.0 % at p = 0.8; they lie farthest apart at p = 0.8, ConvNet 2.0 points above "
        "SparseConvNet. Test accuracy against sparsity, 1 seed;"
    )
    recorded()
    for figure in (
        report.difference_figure("mnist", "as_written", "ConvNet"),
        report.accuracy_figure("mnist", "as_written", "mnist-table-3"),
    ):
        assert caption(figure).startswith("Test accuracy ")
