"""From number to run: marks in text, and the links that they become."""

import html

import pandas
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from test_records import a_record

from sparseconv_lib.study import numbers, records, report, tables
from sparseconv_lib.study.records import Key
from sparseconv_lib.study.statistics import Summary, paired_difference, summarise


@pytest.fixture
def recorded(monkeypatch):
    """Five seeds of two networks, which can be found as if they stood in results/."""
    found = [a_record(n, seed=seed) for n in ("ConvNet", "SparseConvNet") for seed in range(5)]
    by_key = {record.key: record for record in found}
    monkeypatch.setattr(records, "find", lambda key, folder=None: by_key.get(key))
    numbers.page_of.cache_clear()
    yield found
    numbers.page_of.cache_clear()


def links(text):
    return BeautifulSoup(text, "html.parser").select("a.number")


def test_a_number_in_a_table_becomes_a_link(recorded):
    seeds = tables.accuracies(recorded)["ConvNet", 0.5, 0.5]
    told = report.spread(summarise(seeds.values()))
    assert numbers.plain(told) == "77.70\u00a0±\u00a00.16\u00a0%, n\u00a0=\u00a05"
    table = pandas.DataFrame([{"p": "0.5", "<b>": told, "by hand": "79.50 & <i>"}])
    made = report.as_html(table, f"A <caption> with {told}")
    in_caption, in_cell = links(made)
    assert in_cell.parent.name == "td" and in_caption.parent["class"] == ["table-caption"]
    assert in_cell.text == "77.70 ±\u00a00.16\u00a0%, n\u00a0=\u00a05"  # two places to break
    assert in_cell["href"] == "../book/runs/mnist/as_written-p0.50-seed0.ipynb"
    assert in_cell["data-runs"] == "mnist;as_written;ConvNet;0.5;0-4"
    assert in_cell["title"] == "standard deviation 0.16 points, n = 5"
    soup = BeautifulSoup(made, "html.parser")
    assert soup.table["aria-label"] == f"A <caption> with {numbers.plain(told)}"
    assert "&lt;b&gt;" in made and "79.50 &amp; &lt;i&gt;" in made  # all else is escaped
    assert numbers.plain(made) == made


def test_a_number_in_a_sentence(recorded):
    cells = tables.accuracies(recorded)
    gap = paired_difference(cells["SparseConvNet", 0.5, 0.5], cells["ConvNet", 0.5, 0.5])
    (link,) = links(report.paragraph(f"It is {report.difference_in_words(gap)} & more."))
    assert link["data-runs"] == "mnist;as_written;ConvNet;0.5;0-4|;;SparseConvNet;;"
    assert link.text.endswith("(2.0 to 2.0)")


def test_without_a_record_there_is_no_link(recorded):
    key = Key("mnist", "as_written", "ConvNet", 0.5, 99)
    marked = numbers.of_trainings("91.2", [key])
    assert marked != "91.2" and numbers.as_html(marked) == "91.2"
    assert numbers.number("91.2", 0.912) == "91.2"  # of the source, which has no training here
    assert numbers.number("+1.2", Summary(2, 0.012, 0.0, 0.0, 0.0)) == "+1.2"
    assert numbers.of_trainings("", [recorded[0].key]) == ""


def test_the_note_escapes_what_it_holds(recorded):
    (link,) = links(numbers.as_html(numbers.of_trainings("1", [recorded[0].key], '"<&')))
    assert link["title"] == '"<&'


@given(st.text(st.characters(exclude_categories=["Co", "Cs"])))
def test_marks_come_off_whatever_the_text(text):
    key = Key("mnist", "as_written", "ConvNet", 0.5, 0)
    marked = numbers.of_trainings(text, [key])
    assert numbers.plain(f"a {marked} b") == f"a {text} b"
    assert numbers.plain(numbers.as_html(html.escape(marked))) == numbers.as_html(
        html.escape(marked)
    )


@given(
    st.sets(
        st.builds(
            Key,
            st.sampled_from(["mnist", "invariance"]),
            st.sampled_from(["as_written", "as_written, batch_size=64"]),
            st.sampled_from(["ConvNet", "ConvNet+mask"]),
            st.sampled_from([0.0, 0.8]),
            st.integers(0, 12),
        ),
        min_size=1,
    )
)
def test_in_short_loses_nothing(keys):
    assert numbers.from_short(numbers.in_short(keys)) == keys


def test_ranges():
    assert numbers.ranges([0, 1, 2, 5, 7, 8]) == ["0-2", "5", "7-8"]
    assert numbers.ranges([]) == []


def test_a_chart_has_its_numbers_below_it(recorded):
    cells = tables.accuracies(recorded)
    summaries = {
        network: {0.5: summarise(cells[network, 0.5, 0.5].values())}
        for network in ("ConvNet", "SparseConvNet")
    }
    source = {"ConvNet": {0.5: 0.987, 0.6: 0.976}}
    made = report.accuracies_plotted(summaries, source, report.with_interval, "Accuracies.")
    soup = BeautifulSoup(made, "html.parser")
    assert soup.details.summary.text == "The numbers of this chart"
    rows = [[cell.text for cell in row.find_all("td")] for row in soup.tbody.find_all("tr")]
    assert [row[0] for row in rows] == ["0.5", "0.6"]
    assert rows[0][3] == "98.70" and rows[1] == ["0.6", "–", "–", "97.60"]
    assert len(links(made)) == 2


def test_rows_of_which_nothing_was_run_are_told_in_a_sentence():
    rows = [
        {"digits": digits, "fill": fill, "p": p, "n": str(n)}
        for digits, fill, p, n in (
            ("as they are", "0", "0.5", 5), ("as they are", "0", "0.8", 0),
            ("as they are", "mean", "0.5", 0), ("inverted", "mean", "0.5", 0),
        )
    ]  # fmt: skip
    kept, told = report.without_what_lacks(rows, ["digits", "fill"])
    assert kept == rows[:2]  # one that was not run stays, beside its like that was
    assert told == " Not run yet (digits, fill): as they are, mean; inverted, mean."
    assert report.without_what_lacks(rows[:1], ["fill"]) == (rows[:1], "")


def test_cells_break_before_their_spread_and_code_is_marked_up():
    row = {"x": "1.0\u00a0±\u00a00.2", "y": "1\u00a0(0\u00a0to\u00a02) `f`"}
    table = pandas.DataFrame([row | {"z": "1\u00a0[0,\u00a02]"}])
    made = report.as_html(table, "See `sparseconv <x>`, a < b")
    assert "1.0 ±\u00a00.2" in made and "1 (0\u00a0to\u00a02) <code>f</code>" in made
    assert "1 [0,\u00a02]" in made
    assert "`" not in made and "<code>sparseconv &lt;x&gt;</code>, a &lt; b" in made


def test_networks_names_break_where_a_table_would_be_too_wide():
    table = pandas.DataFrame([{"SparseConvNet − ConvNet+mask": "SparseConvNet-kept"}])
    made = BeautifulSoup(report.as_html(table, "SparseConvNet"), "html.parser")
    assert made.th.decode_contents() == "Sparse<wbr/>ConvNet − ConvNet+<wbr/>mask"
    assert made.td.decode_contents() == "Sparse<wbr/>ConvNet-kept"
    assert made.p.decode_contents() == made.table["aria-label"] == "SparseConvNet"  # no table cells
