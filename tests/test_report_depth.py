"""The chapter on maps: its numbers are those of the records, paired by seed."""

import pytest
from invented import PLAIN, SPARSE, reconstructed, soup
from test_captions import caption
from test_report_caltech import cells

from sparseconv_lib.study import report_depth
from sparseconv_lib.study.grid import PAPERS_NETWORKS, TEST_SPARSITIES
from sparseconv_lib.study.protocol import BASELINES


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


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.00123456, "0.00123"), (1.23456, "1.23"), (12.3456, "12.3"), (123.456, "123"),
     (1234.56, "1,235"), (float("inf"), "inf")],
)  # fmt: skip
def test_three_digits_that_count(value, text):
    assert report_depth.in_digits(value) == text


def test_a_page_of_maps_shows_both_errors(recorded):
    trained = [reconstructed(SPARSE, 0.95), reconstructed("nearest", 0.95)]
    rows = cells(report_depth.run_table(trained))
    assert [row["pixels"] for row in rows] == ["all known", "missing"] * 2
    assert rows[0]["0.95"] == "105" and rows[1]["0"] == "–"
    recorded(*trained)
    assert "0.95: 105 (105)" in report_depth.beside_recorded(trained)
