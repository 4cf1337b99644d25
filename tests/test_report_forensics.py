"""The chapter on the source's first numbers: its tables say what the records say."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from test_captions import caption
from test_forensics import CELLS, everything, seeds
from test_records import a_record

from sparseconv_lib.study import (
    forensics,
    numbers,
    probe,
    provenance,
    records,
    report_forensics,
)
from sparseconv_lib.study.forensics import AS_CODED, AS_WRITTEN, SETTINGS
from sparseconv_lib.study.grid import FORENSIC_SPARSITIES

CURVE = forensics.printed_curve()


def rows(html):
    """The body of a table: a dict for each row."""
    table = BeautifulSoup(html, "html.parser").find("table")
    heads = [cell.text for cell in table.thead.find_all("th")]
    return [
        dict(
            zip(
                heads,
                (cell.text.replace("\u00a0", " ") for cell in row.find_all("td")),
                strict=True,
            )
        )
        for row in table.tbody.find_all("tr")
    ]


def test_settings_are_told_with_their_verdicts(monkeypatch):
    measured = everything()
    for setting, cell in itertools.product(SETTINGS, CELLS):
        measured[setting][cell] = seeds(forensics.table_3()[cell], 0.001)
    measured[SETTINGS[1]][CELLS[0]] = seeds(0.5, 0.001, n=4)
    measured[SETTINGS[2]] = {}
    found = rows(report_forensics.settings_table(measured))
    assert len(found) == 8
    assert found[0]["Table 3"].startswith("possible: 8 of 8 inside; the widest interval ")
    assert found[1]["Table 3"].startswith(
        "ruled out: 7 of 8 inside; farthest out ConvNet, p = 0.05"
    )
    assert "98.88, ours 50.00" in found[1]["Table 3"]
    assert found[1]["n"] == "3 to 4" and found[2]["n"] == "0"
    assert found[2]["Table 3"] == "not judged"
    assert found[0]["the curve of ACC"].startswith("ruled out: ")
    told = report_forensics.settings_in_words(measured)
    possible = "; ".join(str(setting) for setting in SETTINGS if setting not in SETTINGS[1:3])
    assert told.startswith(
        f"Table 3, of the 7 settings judged (1 more wait for seeds), allows: {possible}. The curve"
    )
    assert (
        "rules out each of the 7 settings judged (1 more wait for seeds), by the cautious rule "
        "too. The nearest are"
    ) in told
    nothing = report_forensics.settings_in_words({})
    assert nothing.count("no setting has been judged yet") == 2
    assert caption(report_forensics.settings_figure(measured)).startswith(
        "Of the settings judged, 6 of 7 could have made Table 3 and 0 of 7 the curve that ACC "
        "printed. Where one more run"
    )
    assert "trained often enough yet" in report_forensics.settings_figure({})
    assert report_forensics.settings_in_short({}) == "No setting has been judged yet."
    one = forensics.judge(forensics.table_3(), measured)[0]
    judged = [dataclasses.replace(one, word=word, cautiously="possible")
              for word in ("possible", "ruled out", "ruled out")]  # fmt: skip
    monkeypatch.setattr(report_forensics.forensics, "judge", lambda source, found: judged)
    assert (
        f"allows: {one.setting}. By the cautious rule, of wider intervals, also: {one.setting}; "
        f"{one.setting}. The curve"
    ) in report_forensics.settings_in_words({})
    assert report_forensics.settings_in_short(measured) == (
        "Of the settings judged, 1 of 3 (3 by wider intervals) could have made Table 3 and 1 of 3 "
        "(3 by wider intervals) the curve that ACC printed."
    )
    out = dataclasses.replace(one, word="ruled out", cautiously="ruled out")
    judged[0] = dataclasses.replace(out, cautiously="possible")
    none = tuple(dataclasses.replace(cell, source=cell.high + 1) for cell in out.cells)
    judged[1:] = [dataclasses.replace(out, cells=none)]
    inside = sum(cell.inside for cell in out.cells)
    assert (
        "Table 3 rules out each of the 2 settings judged (6 more wait for seeds). The cautious "
        f"rule, of wider intervals, allows: {one.setting}. The nearest is {one.setting}: {inside} "
        f"of 8 values inside; {out.farthest.network} at p = "
    ) in report_forensics.settings_in_words({})
    far = out.farthest
    moved = [dataclasses.replace(c, mean=c.mean + 0.01 * (c is far)) for c in out.cells]
    other = dataclasses.replace(out, setting=SETTINGS[1], cells=tuple(moved))
    judged[:] = [out, other]  # as near as each other
    told = numbers.plain(report_forensics.settings_in_words({}))
    assert (
        "2 settings judged (6 more wait for seeds), by the cautious rule too. The nearest are "
        f"{one.setting}; {SETTINGS[1]}: {inside} of 8 values inside each; {far.network} at p = "
        f"{far.sparsity:g} has {100 * far.source:.2f} % in the source, {100 * far.mean:.2f} % and "
        f"{100 * far.mean + 1:.2f} % in ours, in this order."
    ) in told
    elsewhere = report_forensics._farthest([far, dataclasses.replace(far, sparsity=0.123)])
    assert elsewhere.count(" % in ours") == 2 and "; ConvNet at p = 0.123 has" in elsewhere


def test_costs_are_told_in_points_with_intervals():
    measured = everything()
    for p in FORENSIC_SPARSITIES:
        for setting in SETTINGS:
            lost = 0.02 if setting.batch_size == 64 else 0.0
            measured[setting]["ConvNet", p] = {0: 0.9 - lost, 1: 0.8 - lost, 2: 0.7 - lost * 1.5}
    first, last, *others = rows(report_forensics.costs_table(measured, "ConvNet"))
    assert first["line of the code"] == "batches of 64 instead of 4"
    assert (first["in"], last["in"]) == ("as_written", "as_coded")
    # -2, -2 and -3 points: mean -2.33, t(2, 97.5 %) = 4.303, sd 0.577.
    assert first["p = 0.8"] == last["p = 0.9"] == "−2.33 (−3.8 to −0.9)"
    assert {row["p = 0.5"] for row in others} == {"+0.00 (the same in each of 3 seeds)"}
    assert len(others) == 4 and {row["n"] for row in others} == {"3"}
    assert rows(report_forensics.costs_table({}, "ConvNet"))[0]["p = 0.05"] == "not run"
    assert "no line has been trained" in report_forensics.costs_in_short({}, 0.8)
    told = report_forensics.costs_in_short(measured, 0.8).replace("\u00a0", " ")
    assert (
        "ConvNet, the dearest of 3 tried, batches of 64 instead of 4: −2.33 (−3.8 to −0.9), n = 3."
        in told
    )
    assert "eval()" not in told  # the dearest line alone


def gap_cells(kept=(0.82, 0.83, 0.842)):
    """Three networks at p = 0.9 with three common seeds, and one more that two of them have."""
    cells = {
        ("ConvNet", 0.9): {0: 0.90, 1: 0.91, 2: 0.920, 5: 0.1},
        ("SparseConvNet", 0.9): {0: 0.88, 1: 0.89, 2: 0.901, 5: 0.9},
        ("SparseConvNet-kept", 0.9): dict(enumerate(kept)),
    }
    return {AS_CODED: cells}


def test_the_gap_is_split_into_the_masks_rule_and_the_rest(monkeypatch):
    measured = gap_cells()
    (row,) = rows(report_forensics.mask_table(measured))
    printed = CURVE["ConvNet", 0.9] - CURVE["SparseConvNet-kept", 0.9]
    assert row["the source's gap"] == "+14.13" == f"{100 * printed:+.2f}"
    # The three seeds that all have: the fourth of two networks counts nowhere, so the parts add up.
    assert (row["protocol"], row["p"], row["n"]) == ("as_coded", "0.9", "3")
    assert row["our gap, mask kept"].startswith("+7.93 (")
    assert row["of which the mask's rule"].startswith("+5.97 (")
    assert row["left, mask dilated"].startswith("+1.97 (")
    assert row["share of ours"] == "75%"
    assert row["share of the source's"] == f"{5.97 / 14.13:.0%}"
    monkeypatch.setattr(report_forensics.transfer, "measured", lambda protocol: {})
    told = report_forensics.mask_in_words(measured, 0.9).replace("\u00a0", " ")
    assert "7.9 points worse (" in told and "2.0 points worse (" in told and "+6.0 (" in told
    written = {**measured, AS_WRITTEN: measured[AS_CODED]}
    told = report_forensics.mask_in_words(written, 0.9).replace("\u00a0", " ")
    assert re.search(
        r" points there; \+6\.0 \(\S+ to \S+\) under as_written, n = 3 \(in brackets ", told
    )
    fair = {("SparseConvNet", 0.9, 0.9): {0: 0.9, 1: 0.91}, ("SparseConvNet", 0.9, 0.5): {0: 0.5},
            ("SparseConvNet-kept", 0.9, 0.9): {0: 0.89, 1: 0.905}}  # fmt: skip
    monkeypatch.setattr(report_forensics.transfer, "measured", lambda protocol: fair)
    told = report_forensics.mask_in_words(written, 0.9).replace("\u00a0", " ")
    assert re.search(
        r" under as_written, n = 3; \+0\.8 \(.* with equal care, n = 2 \(in brackets ", told
    )
    assert rows(report_forensics.mask_table(written))[1]["the source's gap"] == "+2.81"  # Table 3


def test_what_the_masks_rule_leaves_of_the_sources_gap_is_said():
    """Gaps of 8, 8 and 7.8 points; t(2, 97.5 %) = 4.303. The source's is 14.13."""
    ours = [0.08, 0.08, 0.078]
    high = 100 * (np.mean(ours) + 4.30265 * np.std(ours, ddof=1) * (1 + 1 / 3) ** 0.5)
    assert report_forensics.unexplained(gap_cells()).replace("\u00a0", " ") == (
        "The rule for the mask does not explain all of what ACC printed. ConvNet was ahead there "
        f"by 14.1 points at p = 0.9, where one more run of ours would have {high:.1f} at most "
        "(mask kept; 95 % prediction interval, corrected for one sparsity, n = 3). Nothing that is "
        "trained here tells what made the rest."
    )
    wide = gap_cells((0.7, 0.83, 0.9))
    assert report_forensics.unexplained(wide) == report_forensics.unexplained({}) == ""


def test_a_gap_that_is_not_shown_has_no_share_and_may_be_negative():
    (row,) = rows(report_forensics.mask_table(gap_cells((0.8, 1.0, 0.9))))
    assert row["share of ours"] == row["share of the source's"] == "–"
    better = gap_cells((0.95, 0.961, 0.97))
    assert rows(report_forensics.mask_table(better))[0]["share of ours"] == "–"
    assert "5.0 points better (" in report_forensics.mask_in_words(better, 0.9)
    assert "too few seeds" in report_forensics.mask_in_words(gap_cells((0.8,)), 0.9)
    assert "too few seeds" in report_forensics.mask_in_words({}, 0.9)
    assert "Not run yet" in report_forensics.mask_table({})
    assert "Not run yet" in report_forensics.curve_figure({})


def test_the_figures_show_what_they_are_given(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        report_forensics.figures, "pictures", lambda panels, *_: drawn.extend(panels) or ""
    )
    measured = everything()
    del measured[SETTINGS[3]]
    measured[SETTINGS[0]][CELLS[0]] = seeds(0.995, 0.01)  # its interval would end beyond 100 %
    report_forensics.settings_figure(measured)
    panels = [axis for figure, _ in drawn for axis in figure.axes]
    assert [
        f"{figure.get_suptitle()}, {axis.get_title()}"
        for figure, _ in drawn
        for axis in figure.axes
    ] == [f"{network}, p = {p:g}" for network, p in CELLS]
    for axis, cell in zip(panels, CELLS, strict=True):
        assert len(axis.containers) == 7  # one setting was not trained
        table, curve = (line.get_ydata()[0] for line in axis.lines[:2])
        assert table == pytest.approx(100 * forensics.table_3()[cell])
        assert curve == pytest.approx(100 * CURVE[cell])
    bars = [bar for each in panels[0].containers for bar in each.lines[2][0].get_segments()]
    assert max(top for _, (_, top) in bars) == pytest.approx(100)
    legend = re.findall("</svg>([^<]+)</button>", report_forensics.curve_figure(gap_cells()))
    assert caption(report_forensics.curve_figure(gap_cells())).startswith(
        "Mean accuracies are between 70.8 and 89.3 % at p = 0.9. Test accuracy under as_coded"
    )
    ours = [name for name in legend if not name.startswith("source")]
    assert ours == list(report_forensics.MASK_NETWORKS) and len(legend) > len(ours)


# From records


@pytest.fixture
def recorded(monkeypatch):
    """A function: makes these the records that are read."""

    def install(*found):
        by_key = {record.key: record for record in found}
        monkeypatch.setattr(
            records, "load",
            lambda notebook, protocol=None: [r for r in found if r.key.protocol == protocol],
        )  # fmt: skip
        monkeypatch.setattr(records, "find", lambda key: by_key.get(key))

    return install


def test_before_any_run(recorded):
    recorded()
    assert report_forensics.provenance_in_words().startswith("None of")
    assert report_forensics.sameness() == "No training has been done twice yet."
    assert report_forensics.measured()[AS_WRITTEN] == {}


def test_trainings_that_were_done_twice(recorded):
    twice = "as_written, evaluation=batch"

    def pair(seed, first, again, curve=(0.75, 0.5, 0.25)):
        yield a_record("ConvNet", 0.8, seed, accuracy={"0.8": first})
        other = {"running": {"0.8": again}}
        yield a_record(
            "ConvNet", 0.8, seed, twice,
            accuracy={"0.8": 0.1}, other_statistics=other, curve=list(curve),
        )  # fmt: skip

    alone = a_record("ConvNet", 0.8, 9, twice)
    without = [a_record("ConvNet", 0.8, 8, protocol) for protocol in ("as_written", twice)]
    recorded(
        *pair(0, 0.9, 0.9), *pair(1, 0.8, 0.8), *pair(2, 0.7, 0.7001),
        *pair(3, 0.6, 0.6, (0.75, 0.5, 0.2501)), alone, *without,
    )  # fmt: skip
    told = report_forensics.sameness()
    assert told.startswith(
        "Of 4 trainings that were done twice, 3 gave the same accuracy, and 3 the same loss curve "
        "to all digits recorded, the others to within 10⁻⁴ nats; 1 version of"
    )


def test_records_of_other_code_are_counted(recorded, monkeypatch):
    def made_by(code, seed):
        record = a_record("ConvNet", 0.8, seed, "as_coded")
        record.content["identity"]["code"] = code
        return record

    today = provenance.code_identity()
    recorded(made_by(today, 0), made_by("0" * 16, 1))
    monkeypatch.setattr(probe.same_numbers, "__defaults__", (provenance.ROOT / "nothing.json",))
    told = report_forensics.provenance_in_words()
    assert "rests on 2 trainings" in told and "1 of them were made by other code" in told
    recorded(made_by(today, 0))
    assert "All of them were made by today's code" in report_forensics.provenance_in_words()
