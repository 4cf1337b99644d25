"""The table of runs, what numbers.js is told, and the page on provenance."""

import json
import sys

import pytest
from bs4 import BeautifulSoup
from test_records import MNIST_IDENTITY, a_record

from sparseconv_lib.study import provenance, report_provenance, run_index
from sparseconv_lib.study.grid import EXPERIMENTS
from sparseconv_lib.study.paths import BOOK


@pytest.fixture
def run_pages(monkeypatch):
    """The book's extension of that name."""
    monkeypatch.setattr(sys, "path", [str(BOOK / "_ext"), *sys.path])
    import run_pages

    return run_pages


def some(**where):
    found = [
        a_record("SparseConvNet"),
        a_record("ConvNet"),
        a_record("ConvNet", seed=1),
        a_record("ConvNet", protocol="as_coded", sparsity=0.0),
    ]
    found[1].content["provenance"] |= where
    return found


def test_a_run_is_a_page():
    runs = run_index.runs(some(seconds=5.0, started="2025-12-31T23:00:00+00:00"))
    assert [run.name for run in runs] == [
        "mnist/as_written-p0.50-seed0",
        "mnist/as_written-p0.50-seed1",
        "mnist/as_coded-p0.00-seed0",
    ]
    first = runs[0]
    assert first.networks == ("ConvNet", "SparseConvNet")  # in the report's order
    assert (first.seconds, first.day, first.seed) == (30.0, "2025-12-31", 0)
    assert first.other_code  # no probe is known of the invented code
    assert (first.dataset, first.chapter) == ("mnist", "mnist")


def test_code_of_today_is_not_other():
    record = a_record()
    assert run_index.made_by_other_code(record)
    record.content["identity"]["code"] = provenance.code_identity()
    assert not run_index.made_by_other_code(record)


def test_what_the_script_is_told():
    found = some(together=50, seconds=1.2345, commit="f" * 40 + "+changes")
    told = json.loads(json.dumps(run_index.for_script(found)))
    assert told["pages"][0] == "mnist/as_written-p0.50-seed0"
    assert told["commits"] == ["0" * 10, "f" * 10 + "+changes"]
    assert told["cells"]["mnist;as_written;ConvNet;0.5"] == [
        [0, 0, 1.23, 50, 0, 1, 1],
        [1, 1, 25.0, 0, 0, 0, 1],
    ]
    assert set(told["cells"]) == {
        "mnist;as_written;ConvNet;0.5",
        "mnist;as_written;SparseConvNet;0.5",
        "mnist;as_coded;ConvNet;0",
    }


def test_the_table_of_runs(run_pages):
    soup = BeautifulSoup(run_pages.table(run_index.runs(some())), "html.parser")
    heads = [cell.text for cell in soup.find_all("th")]
    assert heads == list(run_pages.COLUMNS) and all(th["scope"] == "col" for th in soup("th"))
    filtered = {th["data-filter"] for th in soup("th") if th.has_attr("data-filter")}
    assert filtered >= {"dataset", "network", "protocol", "sparsity", "device"}
    rows = soup.tbody.find_all("tr")
    assert len(rows) == 3
    assert rows[0].a["href"] == "mnist/as_written-p0.50-seed0.html"
    assert rows[0].a["aria-label"].startswith(rows[0].a.text)
    labels = [row.a["aria-label"] for row in rows]
    assert len(set(labels)) == len(labels)
    assert len(str(soup)) / len(rows) < 900  # there will be hundreds


class AnApp:
    def __init__(self, name):
        self.builder, self.scripts = self, []
        self.name = name

    def get_relative_uri(self, here, there):
        return f"from:{here}:to:{there}"

    def add_js_file(self, name, **more):
        self.scripts.append(name)


LINK = (
    '<a class="number" href="../book/runs/mnist/a.ipynb" '
    'data-runs="mnist;as_written;ConvNet;0.5;0">1.2</a>'
)


def test_links_are_set_for_the_page_they_stand_on(run_pages, monkeypatch):
    monkeypatch.setattr(run_pages, "made_by_other_code", set)
    context = {"body": f"<p>{LINK}</p>"}
    app = AnApp("html")
    run_pages.set_links(app, "book/chapters/mnist", "page.html", context, None)
    assert 'href="from:book/chapters/mnist:to:book/runs/mnist/a"' in context["body"]
    assert app.scripts == []
    run_pages.set_links(app, "book/runs/index", "page.html", {}, None)
    assert app.scripts == ["runs-table.js"]


def test_what_other_code_made_is_marked_once(run_pages, monkeypatch):
    record = a_record()
    monkeypatch.setattr(run_pages, "made_by_other_code", lambda: {record.key})
    number = '<a class="number" href="x" data-runs="mnist;as_written;{};0.5;0-4" title="n">{}</a>'
    for network, text, marks in (
        ("ConvNet", "1", 1),
        ("SparseConvNet", "1", 0),
        ("ConvNet", "1 †", 0),
    ):
        context = {"body": number.format(network, text)}
        run_pages.set_links(AnApp("html"), "book/chapters/mnist", "page.html", context, None)
        assert context["body"].count('class="number other-code"') == marks
        assert context["body"].count('class="number"') == 1 - marks


def test_in_one_page_numbers_are_text(run_pages):
    context = {"body": f"<p>{LINK}</p>"}
    run_pages.set_links(AnApp("singlehtml"), "book/intro", "page.html", context, None)
    assert context["body"] == "<p>1.2</p>"


def test_machines_count_shares():
    found = some(seconds=3575.0, together=50, versions={"cuda": "13.0"}, device="a GPU")
    table = report_provenance.machines(found)
    assert [row[:4] for row in table.rows] == [
        ("an invented processor, 2 cores", "3", "0.02", "none"),
        ("a GPU", "1", "0.99", "1, up to 50 at once"),
    ]
    assert "4 trainings and interpolations took 1.01 hours" in table.caption
    assert report_provenance.gpu_hours(found) == pytest.approx(3575 / 3600)


def test_versions_data_and_code():
    found = some()
    found[0].content["identity"]["code"] = provenance.code_identity()
    found[1].content["provenance"]["versions"]["cuda"] = "13.0"
    rows = report_provenance.versions(found).rows
    assert [row[1:] for row in rows] == [
        ("3.11.7", "2.13.0", "–", "2.4.6", "3"),
        ("3.11.7", "2.13.0", "13.0", "2.4.6", "1"),
    ]
    (data,) = report_provenance.data_sets(found).rows
    assert data == ("mnist", MNIST_IDENTITY[:16], "standard", "60,000", "10,000", "4")
    rows = report_provenance.code(found).rows
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("0123456789abcdef", "3", "not known of any"),
        (provenance.code_identity(), "1", "it is today's"),
    ]


@pytest.mark.parametrize(
    "others, told",
    [(0, "yes, by the probes of all of them"), (1, "yes of 3, not known of 1")],
)
def test_what_todays_code_is_known_to_give_is_counted(monkeypatch, others, told):
    monkeypatch.setattr(run_index, "made_by_other_code", lambda record: record.key.seed < others)
    found = [a_record(seed=seed) for seed in range(4)]
    (row,) = report_provenance.code(found).rows
    assert row[:2] == ("0123456789abcdef", "4") and row[3] == told


def test_what_is_missing_adds_up():
    table = report_provenance.missing()
    assert [row[0] for row in table.rows] == list(EXPERIMENTS)
    assert all(int(row[2]) == int(row[3]) + int(row[4]) for row in table.rows)
    assert table.caption.startswith(f"{sum(int(row[4]) for row in table.rows)} of the trainings")


def test_many_splits_are_counted():
    found = [a_record(seed=seed) for seed in range(5)]
    for seed, record in enumerate(found):
        record.content["identity"]["split"] = f"by_seed-{seed}"
    (row,) = report_provenance.data_sets(found).rows
    assert row[2] == "by_seed-0 and 4 more"
