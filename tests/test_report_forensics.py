"""The chapter on the source's first numbers: its tables say what the records say."""

import itertools

import pytest
from bs4 import BeautifulSoup
from test_forensics import CELLS, everything, seeds
from test_records import a_record

from sparseconv_lib.study import forensics, probe, provenance, records, report_forensics
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


def test_settings_are_told_with_their_verdicts():
    measured = everything()
    for setting, cell in itertools.product(SETTINGS, CELLS):
        measured[setting][cell] = seeds(forensics.table_3()[cell], 0.001)
    measured[SETTINGS[1]][CELLS[0]] = seeds(0.5, 0.001, n=4)
    measured[SETTINGS[2]] = {}
    found = rows(report_forensics.settings_table(measured))
    assert len(found) == 8
    assert found[0]["Table 3"].startswith("possible: 8 of 8 inside; nearest the edge ")
    assert found[1]["Table 3"].startswith(
        "ruled out: 7 of 8 inside; farthest out ConvNet, p = 0.05"
    )
    assert "98.88, ours 50.00" in found[1]["Table 3"]
    assert found[1]["n"] == "3 to 4" and found[2]["n"] == "0"
    assert found[2]["Table 3"] == "not judged"
    assert found[0]["the curve of ACC"].startswith("ruled out: ")
    told = report_forensics.settings_in_words(measured)
    assert "Of Table 3: 6 possible, 1 ruled out, 1 not judged." in told
    assert f"Possible: {SETTINGS[0]}; " in told and "Possible: none." in told
    assert "<figure" in report_forensics.settings_figure(measured)
    assert "trained often enough yet" in report_forensics.settings_figure({})


def test_costs_are_told_in_points_with_intervals():
    measured = everything()
    for p in FORENSIC_SPARSITIES:
        for setting in SETTINGS:
            lost = 0.02 if setting.batch_size == 64 else 0.0
            measured[setting]["ConvNet", p] = {0: 0.9 - lost, 1: 0.8 - lost, 2: 0.7 - lost * 1.5}
    first, last, *others = rows(report_forensics.costs_table(measured, "ConvNet"))
    assert first["line of the code"] == "batches of 64 instead of 4"
    assert (first["changed"], last["changed"]) == ("first", "last")
    # -2, -2 and -3 points: mean -2.33, t(2, 97.5 %) = 4.303, sd 0.577.
    assert first["p = 0.8"] == last["p = 0.9"] == "−2.33 (−3.8 to −0.9)"
    assert {row["p = 0.5"] for row in others} == {"+0.00 (+0.0 to +0.0)"}
    assert len(others) == 4 and {row["n"] for row in others} == {"3"}
    assert rows(report_forensics.costs_table({}, "ConvNet"))[0]["p = 0.05"] == "not run"


def test_the_gap_is_split_into_the_masks_rule_and_the_rest():
    measured = {AS_CODED: {}}
    for i, (name, mean) in enumerate(
        (("ConvNet", 0.9), ("SparseConvNet", 0.88), ("SparseConvNet-kept", 0.82))
    ):
        measured[AS_CODED][name, 0.9] = {0: mean, 1: mean + 0.01, 2: mean + 0.02 + 0.001 * i}
    (row,) = rows(report_forensics.mask_table(measured))
    assert (
        row["the source's gap"]
        == "+14.13"
        == f"{100 * (CURVE['ConvNet', 0.9] - CURVE['SparseConvNet-kept', 0.9]):+.2f}"
    )
    assert (row["p"], row["n"]) == ("0.9", "3")
    assert row["our gap, mask kept"].startswith("+7.93 (")
    assert row["of which the mask's rule"].startswith("+5.97 (")
    assert row["left with the mask dilated"].startswith("+1.97 (")
    assert row["share explained"] == "75%"
    told = report_forensics.mask_in_words(measured, 0.9)
    assert "7.9 points below ConvNet" in told
    assert "+5.97\u00a0(" in told and "−1.97\u00a0(" in told
    # A gap that is not shown to be one has no share.
    measured[AS_CODED]["SparseConvNet-kept", 0.9] = {0: 0.8, 1: 1.0, 2: 0.9}
    assert rows(report_forensics.mask_table(measured))[0]["share explained"] == "–"
    assert "too few seeds" in report_forensics.mask_in_words({}, 0.9)
    assert "Not run yet" in report_forensics.mask_table({})


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
    assert report_forensics.sameness().startswith("0 of 0 ")
    assert report_forensics.measured()[AS_WRITTEN] == {}


def test_trainings_that_were_done_twice(recorded):
    def pair(seed, first, again):
        twice = "as_written, evaluation=batch"
        yield a_record("ConvNet", 0.8, seed, accuracy={"0.8": first})
        other = {"running": {"0.8": again}}
        yield a_record("ConvNet", 0.8, seed, twice, accuracy={"0.8": 0.1}, other_statistics=other)

    alone = a_record("ConvNet", 0.8, 9, "as_written, evaluation=batch")
    recorded(*pair(0, 0.9, 0.9), *pair(1, 0.8, 0.8), *pair(2, 0.7, 0.7001), alone)
    assert report_forensics.sameness().startswith("2 of 3 trainings")


def test_records_of_other_code_are_counted(recorded, monkeypatch):
    def made_by(code, seed):
        record = a_record("ConvNet", 0.8, seed, "as_coded")
        record.content["identity"]["code"] = code
        return record

    today = provenance.code_identity()
    recorded(made_by(today, 0), made_by("0" * 16, 1))
    monkeypatch.setattr(probe.same_numbers, "__defaults__", (provenance.ROOT / "nothing.json",))
    told = report_forensics.provenance_in_words()
    assert "rests on 2 trainings" in told and "† 1 of them made by other code" in told
    recorded(made_by(today, 0))
    assert "all made by today's code" in report_forensics.provenance_in_words()
