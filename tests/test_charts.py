"""Charts that answer: every point tells its number, and nothing in a page stands in two's way."""

import configparser
import math
import re
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup

from sparseconv_lib.study import charts, figures
from sparseconv_lib.study.statistics import summarise

CELLS = {
    network: {p: summarise([0.99 - p / 2 - i / 100 + s / 1000 for s in range(3)]) for p in LEVELS}
    for LEVELS in [(0.0, 0.5, 0.8, 0.9)]
    for i, network in enumerate(("ConvNet", "SparseConvNet"))
}
SOURCE = {"ConvNet": {0.0: 0.98, 0.8: 0.5123}}


def soup(text):
    return BeautifulSoup(text, "html.parser")


def accuracies():
    return figures.accuracy_by_sparsity(CELLS, SOURCE, "A <claim>.")


def told(part):
    return [title.text for title in part.find_all("title")]


def test_every_point_tells_its_network_sparsity_mean_spread_and_n():
    whole, enlarged = soup(accuracies()).find_all("svg", attrs={"role": "img"})
    expected = [
        f"{network}, p = {p:g}: {100 * s.mean:.2f} ± 0.10 %, n = 3"
        for network, by in CELLS.items()
        for p, s in by.items()
    ]
    expected += [
        "source, ConvNet, p = 0: 98.00 %, one run",
        "source, ConvNet, p = 0.8: 51.23 %, one run",
    ]
    assert told(whole) == expected
    # The second panel shows what is in its view, p from 0.65 on, and no more.
    assert told(enlarged) == [text for text in expected if re.search(r"p = 0\.[89]", text)]


def test_one_seed_has_no_spread():
    html = figures.accuracy_by_sparsity({"ConvNet": {0.5: summarise([0.9])}}, {}, "One.")
    assert told(soup(html)) == ["ConvNet, p = 0.5: 90.00 %, n = 1"]
    html = figures.paired_differences({"SparseConvNet": {0.5: summarise([-0.01])}}, "ConvNet", "")
    assert told(soup(html)) == ["SparseConvNet, p = 0.5: −1.00 points, n = 1"]


def test_the_enlarged_chart_shows_whole_intervals_and_one_run_has_none(monkeypatch):
    made, usual = [], figures.new_figure

    def noted(*arguments, **more):
        made.append(usual(*arguments, **more))
        return made[-1]

    monkeypatch.setattr(figures, "new_figure", noted)
    cells = {0.5: summarise([0.9]), 0.8: summarise([0.5, 0.6, 0.55]), 0.9: summarise([0.4])}
    figures.accuracy_by_sparsity({"ConvNet": cells}, {}, "")
    (_, whole), (_, enlarged) = made
    low, high = enlarged.get_ylim()
    assert low < 40 < 100 * cells[0.8].high < high
    assert low < 100 * cells[0.8].low
    (bars,) = whole.containers[0].lines[2]
    (bar,) = [ends for ends in bars.get_segments() if len(ends) and np.isfinite(ends).all()]
    assert bar[:, 1] == pytest.approx([100 * cells[0.8].low, 100 * cells[0.8].high])


def test_points_lie_where_matplotlib_draws_their_marks():
    svg = soup(accuracies()).svg
    for i in range(2):
        marks = [
            (float(use["x"]), float(use["y"]))
            for group in svg.find_all("g", attrs={"data-series": str(i)})
            for use in group.find_all("use")
        ]
        circles = svg.find_all("g", attrs={"data-series": str(i)})[-1].find_all("circle")
        assert len(circles) == 4
        for circle in circles:
            at = float(circle["cx"]), float(circle["cy"])
            assert min(math.dist(at, mark) for mark in marks) < 0.2


def test_a_legend_entry_for_each_series_and_all_that_is_drawn_of_it():
    page = soup(accuracies())
    buttons = page.select(".legend button")
    assert [button.text for button in buttons] == ["ConvNet", "SparseConvNet", "source, ConvNet"]
    # Inert until the script, which makes them work, is there.
    assert all(b.has_attr("disabled") and b["aria-pressed"] == "true" for b in buttons)
    for button in buttons:
        for svg in page.find_all("svg", attrs={"role": "img"}):
            assert svg.find_all("g", attrs={"data-series": button["data-series"]})
    parts = page.svg.find_all("g", attrs={"data-series": "0"})
    # Line and marks, two rows of caps, bars; and the points.
    assert len(parts) == 5
    colours = {mark.get("stroke") for part in parts[:-1] for mark in part.find_all("path")}
    assert colours == {"#0072b2"}


def test_a_chart_brings_nothing_that_acts_on_the_rest_of_a_page():
    page = soup(accuracies() + figures.paired_differences(CELLS, "ConvNet", "Another."))
    assert not page.find_all(["style", "script", "metadata"])
    ids = [element["id"] for element in page.find_all(id=True)]
    assert ids and len(ids) == len(set(ids))
    used = re.findall(r"url\(#(\w+)\)|href=\"#(\w+)\"", str(page))
    assert {a or b for a, b in used} <= set(ids)
    assert "http" not in str(page) and "DejaVu" not in str(page)


def test_text_is_text_in_the_colour_of_the_page_and_told_to_those_who_cannot_see_it():
    page = soup(accuracies())
    texts = page.find_all("text")
    assert {"all sparsities", "test accuracy (%)"} <= {text.text for text in texts}
    assert {text["fill"] for text in texts} == {"currentColor"}
    assert not re.search("#(000000|262626|ffffff)", str(page))
    whole, enlarged = page.find_all("svg", attrs={"role": "img"})
    assert "ConvNet from 99.1 % at p = 0 to 54.1 % at p = 0.9" in whole["aria-label"]
    assert enlarged["aria-label"]
    assert page.figcaption.text == "A <claim>."


def test_the_same_numbers_give_the_same_chart_and_a_small_one():
    assert accuracies() == accuracies()
    assert len(accuracies()) < 60_000


def test_notebooks_are_compared_by_what_charts_tell_and_not_by_where_lines_run():
    rules = configparser.RawConfigParser()
    rules.read(Path(__file__).with_name("nbval.cfg"))

    def compared(text):
        for name in rules.sections():
            text = re.sub(rules[name]["regex"], rules[name]["replace"], text)
        return text

    chart = accuracies()
    moved = re.sub(r'((?:cx="|L)\d+\.)\d', r"\g<1>0", chart)
    assert compared(chart) == compared(moved) and chart != moved
    assert told(soup(compared(chart))) == told(soup(chart))
    assert not re.search(r"<path d=\"M\d+\.", compared(chart))
    assert compared(chart) != compared(chart.replace("51.23 %", "51.24 %"))


def test_a_chart_without_any_series_is_a_chart():
    page = soup(figures.accuracy_by_sparsity({}, {}, "None."))
    assert page.svg and not page.select(".legend button")


def test_colours_of_a_matrix_can_be_read_on():
    matrix = {(0.0, q): summarise([q]) for q in [i / 50 for i in range(50)]}
    levels = sorted(q for _, q in matrix)
    page = soup(figures.accuracy_matrices({"ConvNet": matrix}, levels, "Caption.", "Alt."))
    for cell in page.select("td.point"):
        ground, ink = re.fullmatch("background:(.*);color:(.*)", cell["style"]).groups()
        a, b = sorted((luminance(ground), luminance(ink)))
        assert (b + 0.05) / (a + 0.05) >= 4.5


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    shares = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("line", ["-", "--", "-.", ":", "none"])
def test_every_style_of_the_book_has_a_swatch(line):
    styles = [style for style in figures.STYLES.values() if style[1] == line]
    assert styles
    for style in styles:
        figure, axis = figures.new_figure(2, 2)
        series = charts.Series("a series", *style)
        series.draw(axis, [0, 1], [1, 2], ["a", "b"])
        button = soup(charts.as_html([(figure, "alt")], [series], "")).button
        assert len(button.svg.find_all(["path", "circle"])) == (1 if line == "none" else 2)
