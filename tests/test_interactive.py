"""Sliders and charts in a real browser: by mouse, keyboard and touch, in print, without script."""

import re

import pytest

from sparseconv_lib.study import records, report_slider, tables
from sparseconv_lib.study.statistics import summarise

pytestmark = pytest.mark.browser


def at(html, name):
    return (html / "book" / "chapters" / f"{name}.html").as_uri()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("experiment", ["mnist", "caltech"])
def test_arrow_keys_move_the_slider(width, experiment, html, opened):
    page = opened(width)
    page.goto(at(html, experiment))
    levels = [f"p = {p:g}" for p in report_slider.left_examples(experiment, "as_written")]
    box = page.locator("figure.slider")
    slider, output = box.get_by_role("slider", name="Sparsity"), box.locator("output")
    assert output.inner_text() == "p = 0.5"
    before = box.bounding_box()["height"]
    slider.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    seen = []
    for key, i in [("Home", 0), ("ArrowRight", 1), ("End", len(levels) - 1)]:
        slider.press(key)
        assert output.inner_text() == slider.get_attribute("aria-valuetext") == levels[i]
        shown = [p for p in box.locator(".stepper-panel").all() if p.is_visible()]
        assert [panel.get_attribute("aria-label") for panel in shown] == [levels[i]]
        images = shown[0].locator("img").all()
        assert len(images) >= 4 and all(image.is_visible() for image in images)
        seen.append([image.get_attribute("src") for image in images])
    assert all(len(set(pictures)) == 3 for pictures in zip(*seen, strict=False))
    assert box.bounding_box()["height"] == before  # nothing below moves


def test_a_finger_moves_the_slider(html, opened):
    page = opened(390, has_touch=True, is_mobile=True)
    page.goto(at(html, "mnist"))
    slider = page.get_by_role("slider", name="Sparsity")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box["height"] >= 24  # as WCAG asks of what is touched
    page.touchscreen.tap(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert page.locator("figure.slider output").inner_text() == "p = 0.95"


def test_the_way_through_resnet18_has_the_same_slider(html, opened):
    page = opened(1280)
    page.goto(at(html, "resnet18"))
    slider = page.get_by_role("slider", name="Sparsity")
    slider.press("End")
    last = page.locator(".stepper-panel").last
    assert last.is_visible() and slider.get_attribute("aria-valuetext") == last.get_attribute(
        "aria-label"
    )
    assert not page.locator(".stepper-panel").first.is_visible()


def drawn(chart, series):
    """Whether each part of a series is drawn, of whatever size it is."""
    parts = chart.locator(f"svg[role=img] g[data-series='{series}']")
    return parts.evaluate_all(
        "parts => parts.map(part => getComputedStyle(part).display != 'none')"
    )


def test_without_script_and_in_print_some_panels_stand_and_no_slider(html, browser, opened):
    still = ["p = 0", "p = 0.5", "p = 0.8"]

    def standing(page):
        panels = page.locator("figure.slider .stepper-panel").all()
        return [panel.get_attribute("aria-label") for panel in panels if panel.is_visible()]

    with browser.new_context(java_script_enabled=False, offline=True) as context:
        page = context.new_page()
        page.goto(at(html, "mnist"))
        assert standing(page) == still
        assert not page.locator("figure.slider input").is_visible()
        assert page.locator("figure.interactive svg[role=img]").first.is_visible()

    page = opened(1280)
    page.goto(at(html, "mnist"))
    page.get_by_role("slider", name="Sparsity").press("End")
    page.locator(".legend button").first.click()
    page.emulate_media(media="print")
    assert standing(page) == still
    assert not page.locator("figure.slider input").is_visible()
    assert all(drawn(page.locator("figure.interactive").first, 0))


def recorded(network, p):
    cells = tables.accuracies(records.load("mnist", "as_written"))
    s = summarise(cells[network, p, p].values())
    return f"{network}, p = {p:g}: {100 * s.mean:.2f} ± {100 * s.sd:.2f} %, n = {s.n}"


def test_a_point_tells_what_the_records_have(html, opened):
    page = opened(1280)
    page.goto(at(html, "mnist"))
    chart = page.locator("figure.interactive").first
    chart.scroll_into_view_if_needed()
    tip = chart.locator(".tip")
    assert not tip.is_visible()
    # ConvNet's last point, in the first panel: p = 0.95.
    point = chart.locator("svg[role=img]").first.locator("g[data-series='0'] .point").last
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert tip.inner_text() == recorded("ConvNet", 0.95)
    inside, outside = tip.bounding_box(), chart.bounding_box()
    assert inside["x"] >= outside["x"] - 1
    assert inside["x"] + inside["width"] <= outside["x"] + outside["width"] + 1
    page.mouse.move(0, 0)
    assert not tip.is_visible()


def test_arrow_keys_go_from_point_to_point(html, opened):
    page = opened(1280)
    page.goto(at(html, "mnist"))
    chart = page.locator("figure.interactive").first
    plot, tip = chart.locator(".plot"), chart.locator(".tip")
    plot.focus()
    plot.press("ArrowRight")
    assert tip.inner_text() == recorded("ConvNet", 0)
    for _ in range(20):
        plot.press("ArrowRight")
    assert tip.inner_text() == recorded("ConvNet", 0.95)
    plot.press("ArrowUp")
    assert "p = 0.95" in tip.inner_text() and "ConvNet," not in tip.inner_text().split("Sparse")[0]
    plot.press("Escape")
    assert not tip.is_visible()


def test_a_touched_point_tells_too(html, opened):
    page = opened(390, has_touch=True, is_mobile=True)
    page.goto(at(html, "mnist"))
    chart = page.locator("figure.interactive").nth(1)
    point = chart.locator("g[data-series='0'] .point").last
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = chart.locator(".tip").inner_text()
    assert re.fullmatch(r"ConvNet\+mask, p = 0.95: [+−]\d+\.\d\d ± \d+\.\d\d points, n = \d+", told)


def test_a_legend_entry_hides_its_series(html, opened):
    page = opened(1280)
    page.goto(at(html, "mnist"))
    chart = page.locator("figure.interactive").first
    button = chart.get_by_role("button", name="ConvNet", exact=True)
    assert all(drawn(chart, 0)) and button.get_attribute("aria-pressed") == "true"
    button.press("Enter")
    assert drawn(chart, 0) and not any(drawn(chart, 0))
    assert button.get_attribute("aria-pressed") == "false"
    assert all(drawn(chart, 1))
    # What is hidden does not answer.
    plot = chart.locator(".plot")
    plot.focus()
    plot.press("ArrowRight")
    assert chart.locator(".tip").inner_text().startswith("ConvNet+mask")
    button.click()
    assert all(drawn(chart, 0)) and button.get_attribute("aria-pressed") == "true"


def test_a_cell_of_a_matrix_tells_its_spread(html, opened):
    page = opened(1280)
    page.goto(at(html, "invariance"))
    chart = page.locator("figure.interactive").first
    cell = chart.locator("td.point").first
    # Before the pointer is there: a moment after, the box of the number's origin opens in the cell.
    drawn_number = float(cell.inner_text())
    cell.hover()
    told = chart.locator(".tip").inner_text()
    pattern = r"ConvNet, trained at p = \S+, tested at \S+: (\d+\.\d\d)( ± \d+\.\d\d)? %, n = \d+"
    assert float(re.fullmatch(pattern, told)[1]) == pytest.approx(drawn_number, abs=0.06)
    plot = chart.locator(".plot")
    plot.focus()
    plot.press("ArrowRight")
    assert chart.locator(".tip").inner_text() != told


def test_no_name_stands_twice_on_a_page(html, opened):
    page = opened(1280)
    for name in ("mnist", "caltech", "invariance", "resnet18", "forensics"):
        page.goto(at(html, name))
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        twice = {i for i in ids if ids.count(i) > 1}
        assert not {i for i in twice if page.locator(f"figure [id='{i}']").count()}, name
