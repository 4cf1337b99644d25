"""The table on the first page against the records' files, read and averaged by other code."""

import json
import re
import statistics

import pytest
from bs4 import BeautifulSoup
from scipy.stats import t

from sparseconv_lib.study import numbers, records, report_summary
from sparseconv_lib.study.paths import RESULTS

# The maps of depth are told of as far as they were run, whole ones first; their records are in m.
MAPS, METRE = next(
    (name, unit)
    for name, unit in (("depth", 1000), ("depth_reduced", 1000), ("elevation", 1))
    if (RESULTS / "depth" / name).is_dir()
)
COLUMNS = [  # experiment/protocol, trained at, tested at, what is measured, its factor
    ("mnist/as_written", "0.80", "0.8", "accuracy", 100),
    ("invariance/fair", "0.80", "0.8", "accuracy", 100),
    ("invariance/fair", "0.80", "0", "accuracy", 100),
    (f"depth/{MAPS}", "0.95", "0.95", "error", METRE),
    (f"depth/{MAPS}", "0.95", "0.3", "error", METRE),
]


def shown():
    """A dictionary for each column of the table: network -> text, and the header as "asked"."""
    table = BeautifulSoup(report_summary.in_short(), "html.parser").table
    heads, *body = [
        [cell.get_text().strip() for cell in row.find_all(["th", "td"])]
        for row in table.find_all("tr")
    ]
    names = [cells[0].partition(":")[0] for cells in body]
    return [
        {"asked": head} | dict(zip(names, (cells[i] for cells in body), strict=True))
        for i, head in enumerate(heads)
        if i
    ]


@pytest.mark.parametrize("column", range(len(COLUMNS)))
def test_every_cell_is_the_mean_and_deviation_of_its_files(column):
    folder, trained, tested, measure, factor = COLUMNS[column]
    told, seen = shown()[column], 0
    for network in ("ConvNet", "ConvNet+mask", "SparseConvNet", "SparseConvNet-kept", "nearest"):
        files = sorted((RESULTS / folder).glob(f"{network}-p{trained}-seed*.json"))
        values = [factor * json.loads(path.read_text("utf-8"))[measure][tested] for path in files]
        if not values:
            assert told[network] == "–"
            continue
        seen += 1
        plain = told[network].replace(",", "")
        mean, sd = re.fullmatch(r"([\d.]+)\s±\s([\d.]+)", plain).groups()
        half = 0.51 * 10.0 ** -len(mean.partition(".")[2])
        assert float(mean) == pytest.approx(statistics.mean(values), abs=half)
        assert float(sd) == pytest.approx(statistics.stdev(values), abs=half)
        assert told["asked"].endswith(f"n = {len(values)}")
    assert seen >= 3


def test_what_has_not_been_run_is_a_dash(monkeypatch):
    monkeypatch.setattr(records, "load", lambda *_: [])
    table = shown()
    assert len(table) == len(COLUMNS)
    assert all(column.pop("asked").endswith("not run") for column in table)
    assert {text for column in table for text in column.values()} == {"–"}


def test_the_finding_is_that_of_the_files():
    at = {
        network: {
            path.stem.rpartition("seed")[2]: 100
            * json.loads(path.read_text("utf-8"))["accuracy"]["0.8"]
            for path in (RESULTS / "mnist" / "as_written").glob(f"{network}-p0.80-seed*.json")
        }
        for network in ("ConvNet", "SparseConvNet-kept", "SparseConvNet", "ConvNet+mask")
    }
    plain = at.pop("ConvNet")
    told = numbers.plain(report_summary.finding()).replace("\u00a0", " ")
    for network, seeds in at.items():
        gaps = [seeds[seed] - plain[seed] for seed in seeds.keys() & plain.keys()]
        half = t.ppf(0.975, len(gaps) - 1) * statistics.stdev(gaps) / len(gaps) ** 0.5
        gap = f"{network} {statistics.mean(gaps):+.1f} ± {half:.1f}"
        assert gap.replace(" -", " −") in told
        assert f"n = {len(gaps)}" in told


def test_without_records_there_is_no_finding(recorded):
    assert report_summary.finding() == ("No two networks have been trained at p = 0.8 yet.")
