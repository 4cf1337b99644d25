"""The chapter on maps: its numbers are those of the records, paired by seed."""

import numpy as np
import pytest
from invented import PLAIN, SPARSE, classified, reconstructed, soup
from test_captions import caption
from test_report_caltech import cells

from sparseconv_lib.study import numbers, report_depth, skill
from sparseconv_lib.study.grid import PAPERS_NETWORKS, TEST_SPARSITIES
from sparseconv_lib.study.protocol import BASELINES
from sparseconv_lib.study.statistics import summarise


def test_a_network_keeps_its_error_only_if_the_interval_says_so():
    def ratio(*values):
        return summarise(values)

    times = {
        "ConvNet": ratio(17.0, 17.4, 16.6),
        "ConvNet+mask": ratio(1.0, 1.0, 1.4),
        "SparseConvNet": ratio(0.93, 0.92, 0.94),
        "nearest": ratio(0.16, 0.16, 0.16),
    }
    half = 4.302653 * np.std([1.0, 1.0, 1.4], ddof=1) / 3**0.5
    assert report_depth._moved(times) == (
        "With 70 % observed instead of 5 %, SparseConvNet keeps its error to within a factor of "
        "1.25 (0.93 ± 0.02 times), ConvNet errs 17 ± 1 times as much and ConvNet+mask is not shown "
        f"to keep its error (1.13 ± {half:.2f} times). "
    )
    both = {"ConvNet": ratio(1.0, 1.02), "SparseConvNet": ratio(0.5, 0.5)}
    assert report_depth._moved(both) == (
        "With 70 % observed instead of 5 %, ConvNet keeps its error to within a factor of 1.25 "
        "(1.01 ± 0.13 times) and SparseConvNet errs 0.50 ± 0.00 times as much. "
    )
    one = {"ConvNet": ratio(1.0)}  # which shows nothing
    assert report_depth._moved(one).endswith(" ConvNet errs 1 times as much in one seed. ")
    assert report_depth._moved({}) == ""


def test_the_control_says_what_it_shows(recorded):
    def flat(method, error, seeds=3):
        records = [reconstructed(method, 0.95, seed) for seed in range(seeds)]
        for seed, record in enumerate(records):
            record.content["error"] = dict.fromkeys(record.content["error"], error + seed / 10)
        return records

    def steep(method):  # 10 + 100 q + seed metres
        return [reconstructed(method, 0.95, seed) for seed in range(3)]

    lacking = "The control has not been run by two seeds yet."
    assert report_depth.control_in_words() == lacking
    recorded(*flat(SPARSE, 30.0, 1), *steep(PLAIN)[:1], *flat("nearest", 5.0, 1))
    assert report_depth.control_in_words() == lacking
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *flat("nearest", 5.0))
    told = report_depth.control_in_words()
    assert told == (
        "The control does not count: SparseConvNet is not shown to beat the nearest observed pixel "
        "at any density. Asked for elevation, SparseConvNet’s error depends little on how many "
        "pixels are observed, and that of ConvNet much: that speaks against a gross fault of its "
        "code, and for nothing more. (n = 3.)"
    )
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *flat("nearest", 50.0))
    assert report_depth.control_in_words().endswith(
        "that of ConvNet much; and it is shown to beat the nearest observed pixel. (n = 3.)"
    )
    # That ConvNet beats the nearest pixel is no merit of the layer.
    recorded(*flat(SPARSE, 60.0), *steep(PLAIN), *flat("nearest", 50.0))
    assert "The control does not count: " in report_depth.control_in_words()
    recorded(*flat(SPARSE, 30.0), *flat(PLAIN, 30.0), *flat("nearest", 50.0))
    assert "no plain convolution is shown to lose its own" in report_depth.control_in_words()
    recorded(*steep(SPARSE), *flat(PLAIN, 30.0), *flat("nearest", 5.0))
    told = report_depth.control_in_words()
    assert told.endswith("does not keep its error: a fault of its code is likely. (n = 3.)")
    unsure = flat(SPARSE, 30.0)
    unsure[0].content["error"]["0.3"] *= 2
    recorded(*unsure, *steep(PLAIN), *flat("nearest", 5.0))
    assert "is not ruled out. (n = 3.)" in report_depth.control_in_words()
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *flat("ConvNet+mask", 30.0), *flat("nearest", 5.0))
    assert "and that of ConvNet much" in report_depth.control_in_words()


def test_a_small_spread_is_not_shown_as_none():
    assert report_depth.errors({0: 31.4, 1: 31.41}) == "31.4\u00a0±\u00a00.007"
    assert report_depth.errors({0: 31.4, 1: 31.4}) == "31.4\u00a0±\u00a00.0"


def test_errors_are_shown_in_the_unit_of_the_data(recorded):
    recorded(*(reconstructed(m, 0.95, seed) for m in (*PAPERS_NETWORKS, *BASELINES)
               for seed in range(2)))  # fmt: skip
    rows = {row["method"]: row for row in cells(report_depth.error_table("elevation"))}
    # 10 + 100 q + seed metres
    assert rows[PLAIN]["5\u00a0%"] == "106 ± 1"
    assert rows["nearest"]["100\u00a0%"] == "10.5 ± 0.7"
    missing = cells(report_depth.error_table("elevation", missing_only=True))
    assert missing[0]["5\u00a0%"] == "211 ± 1" and "100\u00a0%" not in missing[0]
    assert report_depth.unit_of("depth_reduced") == ("mm", 1000.0)
    assert report_depth.unit_of("digits")[1] == 255.0
    figure = soup(report_depth.error_figure("elevation"))
    told = [title.text.replace("\u00a0", " ") for title in figure.find_all("title")]
    assert f"{PLAIN}, 5% observed: 106 ± 1 m, n = 2" in told
    assert len(told) == (len(PAPERS_NETWORKS) + len(BASELINES)) * (len(TEST_SPARSITIES) - 1)
    assert "mathdefault" not in str(figure) and "tspan" not in str(figure)


def test_the_figure_of_errors_opens_with_the_least_and_the_flattest(recorded):
    def opening():
        return caption(report_depth.error_figure("elevation")).split("Mean absolute error over")[0]

    def flat(method, error):
        record = reconstructed(method, 0.95)
        record.content["error"] = dict.fromkeys(record.content["error"], error)
        return record

    recorded(
        reconstructed(PLAIN, 0.95), flat(SPARSE, 50.0), reconstructed("linear", 0.95, factor=0.9)
    )
    # 10 + 100 q metres: 105 with 5 % observed, 20 with 90 %
    assert opening() == (
        "With 5 % of the pixels observed the least error is SparseConvNet's; with 90 % linear's, "
        "of the networks ConvNet's. From 5 % to 90 % observed a network's highest error is so many "
        "times its lowest: ConvNet 5.2, SparseConvNet 1. "
    )
    recorded(reconstructed(PLAIN, 0.95))
    assert opening() == ""


def test_a_network_counts_only_where_it_beats_the_nearest_pixel(recorded):
    found = [reconstructed(m, 0.95, seed) for m in (PLAIN, "nearest") for seed in range(2)]
    found += [reconstructed(SPARSE, 0.95, seed, factor=0.5) for seed in range(2)]
    recorded(*found)
    told = report_depth.in_words("elevation").replace("\u00a0", " ")
    beats = (
        " SparseConvNet is shown to beat the nearest observed pixel with 5 %, 10 %, 20 %, 30 %, "
        "50 %, 70 %, 90 % and 100 % observed."
    )
    assert beats in told and told.count("beat") == 1 and "n = 2" in told
    assert told.endswith("an invented processor, 2 cores.")
    short = report_depth.in_short("elevation").replace("\u00a0", " ")
    assert beats in short and " m: " not in short and "(n = 2.)" in short
    recorded(
        *found,
        *(reconstructed("ConvNet+mask", 0.95, seed, factor=0.5) for seed in range(2)),
    )
    assert " ConvNet+mask and SparseConvNet are shown to beat" in report_depth.in_short("elevation")
    recorded(*found[:4])
    assert "No network is shown to beat the nearest observed pixel at any density" in (
        report_depth.in_words("elevation")
    )
    # A network that errs more at one end, and the nearest pixel that wins there.
    better = [reconstructed(SPARSE, 0.95, seed, factor=0.5) for seed in range(2)]
    for record in better:
        record.content["error"]["0"] *= 100
    worse = [
        reconstructed(network, 0.95, seed, factor=2)
        for network in (PLAIN, "ConvNet+mask")
        for seed in range(2)
    ]
    recorded(*found[2:4], *better, *worse)
    told = numbers.plain(report_depth.in_words("elevation")).replace("\u00a0", " ")
    assert "90 % observed. The nearest pixel is shown to beat all of them with 100 %. " in told
    # With 5 % observed 105 + seed metres for the nearest pixel, twice that and half of it.
    assert "in m, ± half of the 95 % interval: ConvNet +106 ± 6, ConvNet+mask +106 ± 6, " in told
    assert "SparseConvNet −53 ± 3. " in told
    # 52.5 + seed / 2 metres against 210 + 2 seed: t(1, 97.5 %) · sd 1.06 / √2 = 9.5
    each = "−158 ± 10 against"
    assert f"SparseConvNet’s error there is {each} ConvNet’s and {each} ConvNet+mask’s. " in told


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.00123456, "0.00123"), (1.23456, "1.23"), (12.3456, "12.3"), (123.456, "123"),
     (1234.56, "1,235"), (float("inf"), "inf")],
)  # fmt: skip
def test_three_digits_that_count(value, text):
    assert report_depth.in_digits(value) == text


def test_two_tasks_are_compared_in_their_own_scores(recorded):
    recorded(
        *(reconstructed(SPARSE, p, seed, "digits", 0.001)
          for p in (0.0, 0.5, 0.8) for seed in range(2)),
        *(classified(PLAIN, p, seed) for p in (0.0, 0.5, 0.8) for seed in range(2)),
        *(reconstructed(PLAIN, p, seed, "digits", 0.001)
          for p in (0.0, 0.5, 0.8) for seed in range(2)),
        *(reconstructed("constant", 0.95, seed, "digits", 0.002) for seed in range(2)),
    )  # fmt: skip
    rows = cells(report_depth.tasks_table())
    assert {row["network"] for row in rows} == {*PAPERS_NETWORKS, "constant"}
    told = numbers.plain(report_depth.tasks_in_words()).replace("\u00a0", " ")
    assert "ConvNet +0.0 ± 0.0 at p = 0 and +0.0 ± 0.0 at p = 0.8; SparseConvNet " in told
    assert "in grey levels of 255" in told and "(n = 2; " in told
    told = numbers.plain(report_depth.skill_in_words()).replace("\u00a0", " ")
    assert "of the skill at decisions" in told and "of the skill at values" in told
    assert "The claim’s rule asks for 10 points at each of 0.5 and 0.8: undecided. (n = 2.)" in told
    assert "Decisions keep " in told  # by how much: below
    skills = skill.retained()
    gaps = [
        100 * (skills[skill.DECISION, 0.5, 0.5][seed] - skills[skill.VALUES, 0.5, 0.5][seed])
        for seed in range(2)
    ]
    mean, half = np.mean(gaps), 12.706 * np.std(gaps, ddof=1) / 2**0.5
    assert f"{abs(mean):.1f} ± {half:.1f} points at p = 0.5" in told


def test_a_page_of_maps_shows_both_errors(recorded):
    trained = [reconstructed(SPARSE, 0.95), reconstructed("nearest", 0.95)]
    rows = cells(report_depth.run_table(trained))
    assert [row["pixels"] for row in rows] == ["all known", "missing"] * 2
    assert rows[0]["0.95"] == "105" and rows[1]["0"] == "–"
    recorded(*trained)
    assert "0.95: 105 (105)" in report_depth.beside_recorded(trained)
