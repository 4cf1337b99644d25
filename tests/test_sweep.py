"""The sweep, with a stub for the notebook: it makes its records in a moment, and keeps a log.

Most tests execute pages in this process, and the stub's cells too, without a kernel. Those that
kill something run the command in a copy of the checkout, with its workers and kernels.
"""

import concurrent.futures
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import filelock
import nbformat
import papermill
import psutil
import pytest
from test_records import a_record

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import data, grid, provenance, records, runner, sweep
from sparseconv_lib.study.grid import Experiment, Grid, Page
from sparseconv_lib.study.paths import ROOT
from sparseconv_lib.study.protocol import ParameterError, preset

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
PAGE = Page("mnist", "as_written", 0.5, 3, NETWORKS)

# What runner.run does for a page: each training's record as soon as it ends, none made twice.
STUB = r"""
import json, os, pathlib, time
stage, folder = pathlib.Path(os.environ["SPARSECONV_STAGE"]), pathlib.Path(os.environ["STUB"])
with (folder / "executions").open("a") as executions:
    executions.write(".")
content = json.loads(TEMPLATE)
for n, network in enumerate(networks.split(", ")):
    name = f"{network}-p{sparsity:.2f}-seed{seed}.json"
    path = stage / "mnist" / protocol / name
    if path.exists():
        continue
    if (folder / f"hang-{n}").exists():
        (folder / f"hanging-{os.getpid()}-{os.getppid()}").touch()
        until = time.monotonic() + 600
        while (folder / f"hang-{n}").exists() and time.monotonic() < until:
            time.sleep(0.1)
    if (folder / f"stop-{n}").exists():
        raise KeyboardInterrupt
    with (folder / "log").open("a") as log:
        log.write(f"{protocol} {name}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    content |= {"protocol": protocol, "network": network, "sparsity": sparsity, "seed": seed}
    content["accuracy"] = {f"{sparsity:g}": 0.75}
    content["provenance"]["page"] = os.environ["SPARSECONV_PAGE"]
    path.with_suffix(".part").write_text(json.dumps(content))
    path.with_suffix(".part").rename(path)
    if seed == 0:
        path.with_suffix(".npz").write_bytes(b"an example")
if (folder / "fail").exists():
    raise ValueError("the stub was told to fail")
""".replace("TEMPLATE", repr(json.dumps(a_record().content)))


def stub_notebook():
    v4 = nbformat.v4
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Stub\n\nA notebook that trains nothing."),
            v4.new_code_cell("1 + 1", metadata={"tags": ["hide-input"]}),
            v4.new_code_cell(
                "sparsity = 0.8\nprotocol = ''\nnetworks = ''\nseed = 0\nsource = 'records'",
                metadata={"tags": ["parameters"]},
            ),
            v4.new_code_cell(STUB),
            v4.new_code_cell("print(f'{sparsity=} {protocol=} {seed=} {source=}')"),
            v4.new_code_cell("raise SystemExit('a chapter')", metadata={"tags": ["chapter"]}),
            v4.new_markdown_cell("A chapter's text.", metadata={"tags": ["x", "chapter"]}),
        ],
        metadata={"kernelspec": KERNEL},
    )


class Root(SimpleNamespace):
    """A checkout to publish into: path, and folder, where the stub's log and switches are."""

    def log(self):
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def published(self):
        """Keys of the records in results."""
        return [record.key for record in records.load("mnist", folder=self.path / "results")]

    def files(self):
        """Everything below results and book, but for what sweeps keep to themselves."""
        return sorted(
            str(path.relative_to(self.path))
            for top in ("results", "book")
            for path in (self.path / top).rglob("*")
            if path.is_file() and ".partial" not in path.parts
        )

    def switch(self, name, on=True):
        (self.folder / name).touch() if on else (self.folder / name).unlink()


def execute_here(notebook, output, parameters, **_):
    """papermill's part in a sweep, without a kernel: in this process, in a millisecond."""
    names, cells, error = {}, [], None
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(cell.source, names)  # what a kernel would do
        except BaseException as reason:
            error = reason
            break
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed.getvalue())]
        if "parameters" in cell.metadata.get("tags", []):
            names.update(parameters)
            injected = nbformat.v4.new_code_cell(repr(parameters))
            injected.metadata = {"tags": ["injected-parameters"], "papermill": {"path": output}}
            cells.append(injected)
    executed = nbformat.v4.new_notebook(cells=cells, metadata={"papermill": {"path": output}})
    nbformat.write(executed, output)  # as papermill does, also when it failed
    if error is not None:
        raise error


@pytest.fixture
def root(tmp_path, monkeypatch):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    nbformat.write(stub_notebook(), notebooks / "mnist.ipynb")
    monkeypatch.setattr(sweep, "NOTEBOOKS", notebooks)
    path, folder = tmp_path / "root", tmp_path / "stub"
    for each in (path / "results", path / "book", folder):
        each.mkdir(parents=True)
    monkeypatch.setenv("STUB", str(folder))
    for name in ("STAGE", "PAGE", "PROCESSES", "COMMIT"):  # which a sweep sets, to be restored
        monkeypatch.setenv(f"SPARSECONV_{name}", "before")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    return Root(path=path, folder=folder)


@pytest.fixture
def quick(root, monkeypatch):
    monkeypatch.setattr(papermill, "execute_notebook", execute_here)
    return root


def whole(root, pages=(PAGE,)):
    """Checks that these pages are published, and that each training was run and written once."""
    keys = sorted(key for page in pages for key in page.keys)
    assert root.published() == keys
    assert sorted(root.log()) == sorted(f"{key.protocol} {key.path().name}" for key in keys)
    expected = [str(page.path) for page in pages]
    expected += [str(key.path(Path("results"))) for key in keys]
    expected += [str(key.path(Path("results")).with_suffix(".npz")) for key in keys if not key.seed]
    assert root.files() == sorted(expected)
    for page in pages:
        assert sweep.missing_keys(page, root.path) == []
        assert not (root.path / "results/.partial/mnist" / page.name).exists()
        assert nbformat.read(root.path / page.path, as_version=4).cells
    for record in records.load("mnist", folder=root.path / "results"):
        assert (root.path / record.page).exists()


# One page


def test_a_page_is_published_with_its_records(root):
    """With papermill and a kernel, as in earnest."""
    done = sweep.run_page(PAGE, root.path)
    assert done.error is None and done.page == PAGE and done.seconds > 0
    whole(root)
    text = (root.path / PAGE.path).read_text("utf-8")
    page = nbformat.read(root.path / PAGE.path, as_version=4)
    nbformat.validate(page)
    assert page.cells[0].source.splitlines()[0] == "# Stub: p = 0.5, seed 3, as_written"
    assert "A notebook that trains nothing." in page.cells[0].source
    assert "chapter" not in text.replace("'records'", "")
    (printed,) = (cell.outputs[0].text for cell in page.cells if "print(" in cell.source)
    assert printed == "sparsity=0.5 protocol='as_written' seed=3 source='train'\n"
    tags = [cell.metadata.get("tags", []) for cell in page.cells]
    assert ["injected-parameters"] in tags and ["hide-input"] in tags
    assert set(page.metadata) <= {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in page.cells)
    for private in (str(root.path), "/tmp", "/home", "/root", "duration", "start_time", "T0"):
        assert private not in text.replace("T00:00:00+00:00", "")


def test_what_is_published_is_left_alone(quick):
    assert sweep.run_page(PAGE, quick.path).error is None
    states = [(quick.path / name).stat().st_mtime_ns for name in quick.files()]
    assert sweep.run_page(PAGE, quick.path).error is None
    assert [(quick.path / name).stat().st_mtime_ns for name in quick.files()] == states
    whole(quick)


def test_examples_are_published_beside_the_records_of_seed_0(quick):
    page = Page("mnist", "fair", 0.05, 0, NETWORKS)
    assert sweep.run_page(page, quick.path).error is None
    whole(quick, [page])


@pytest.mark.parametrize("k", range(len(NETWORKS)))
def test_interrupted_after_k_trainings(quick, k):
    quick.switch(f"stop-{k}")
    with pytest.raises(KeyboardInterrupt):
        sweep.run_page(PAGE, quick.path)
    assert quick.files() == [] and len(quick.log()) == k
    assert sweep.missing_keys(PAGE, quick.path) == PAGE.keys
    quick.switch(f"stop-{k}", on=False)
    assert sweep.run_page(PAGE, quick.path).error is None
    whole(quick)


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def die_at(call, times=0, before=lambda *arguments: None):
    """`call`, until it has been called `times` times; then `before`, and the end."""
    calls = []

    def stand_in(*arguments, **named):
        if len(calls) == times:
            before(*arguments)
            raise Killed
        calls.append(arguments)
        return call(*arguments, **named)

    return stand_in


# The page is executed, but does not yet have the name that says so.
FIRST_RENAME = die_at(os.replace)


def half(_, target):
    Path(target).write_text('{"cells": [')


STEPS = [
    (3, sweep, "forget_machine", die_at(None)),
    (3, os, "replace", FIRST_RENAME),
    (3, sweep, "_publish", die_at(None)),
    (3, shutil, "copyfile", die_at(None, before=half)),  # the page half copied
    (3, os, "replace", die_at(os.replace, 1)),  # the page copied, not yet renamed
    *((3, records, "write", die_at(records.write, k)) for k in range(len(NETWORKS))),
    (3, shutil, "rmtree", die_at(None)),  # all published, not yet cleared away
    (0, shutil, "copyfile", die_at(shutil.copyfile, 2, before=half)),  # an example half copied
    (0, os, "replace", die_at(os.replace, 3)),
    (0, records, "write", die_at(records.write, 2)),
]


@pytest.mark.parametrize(
    "seed, where, name, stand_in", STEPS, ids=[f"{i}-{step[2]}" for i, step in enumerate(STEPS)]
)
def test_interrupted_while_publishing(quick, monkeypatch, seed, where, name, stand_in):
    page = Page("mnist", "as_written", 0.5, seed, NETWORKS)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, stand_in)
        with pytest.raises(Killed):
            sweep.run_page(page, quick.path)
    # At no moment is there a record without its page, nor half a page under its name.
    if quick.published():
        assert (quick.path / page.path).exists()
    if (quick.path / page.path).exists():
        assert nbformat.read(quick.path / page.path, as_version=4).cells
    before = {key: key.path(quick.path / "results").stat().st_mtime_ns for key in quick.published()}
    assert sweep.run_page(page, quick.path).error is None
    for leftover in quick.path.rglob("*.part"):  # of a file that a kill cut; git ignores them
        leftover.unlink()
    if name == "rmtree":  # the next page's run clears it, or `make clean`
        shutil.rmtree(quick.path / "results/.partial/mnist" / page.name, ignore_errors=True)
    whole(quick, [page])
    executed_whole = (where, name) != (sweep, "forget_machine") and stand_in is not FIRST_RENAME
    assert len((quick.folder / "executions").read_text()) == (1 if executed_whole else 2)
    for key, written in before.items():
        assert key.path(quick.path / "results").stat().st_mtime_ns == written


def test_a_failing_notebook_publishes_nothing_and_says_why(root):
    root.switch("fail")
    done = sweep.run_page(PAGE, root.path)
    assert done.error.startswith("failed: PapermillExecutionError: ")
    assert done.error.endswith("ValueError: the stub was told to fail")
    assert "\n" not in done.error
    assert root.files() == []
    root.switch("fail", on=False)
    assert sweep.run_page(PAGE, root.path).error is None
    whole(root)  # what the failed run had trained was not trained again


def test_a_page_that_made_no_record_is_not_published(quick, monkeypatch):
    monkeypatch.setattr(sweep, "missing_keys", lambda page, root: page.keys)
    notebook = stub_notebook()
    notebook.cells[3].source = "pass"
    nbformat.write(notebook, sweep.NOTEBOOKS / "mnist.ipynb")
    done = sweep.run_page(PAGE, quick.path)
    assert "made no record of" in done.error and str(PAGE.keys[0]) in done.error
    assert quick.files() == []


def test_a_half_written_record_of_a_stage_is_made_again(quick, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_publish", die_at(None))
        with pytest.raises(Killed):
            sweep.run_page(PAGE, quick.path)
    (staged,) = quick.path.rglob("ConvNet-*.json")
    staged.write_text(staged.read_text()[:100])
    assert sweep.run_page(PAGE, quick.path).error is None
    assert len(quick.log()) == len(PAGE.keys) + 1  # that one, and none of the others
    assert quick.published() == sorted(PAGE.keys)


def test_a_stage_from_before_its_protocol_changed_is_made_again(quick, monkeypatch):
    """Its name is the same, its knobs are not: published, it would be another training."""
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_publish", die_at(None))
        with pytest.raises(Killed):
            sweep.run_page(PAGE, quick.path)
    (staged,) = quick.path.rglob("ConvNet-*.json")
    content = json.loads(staged.read_text())
    content["knobs"]["batch_size"] += 1
    staged.write_text(json.dumps(content))
    assert sweep.run_page(PAGE, quick.path).error is None
    assert len(quick.log()) == len(PAGE.keys) + 1
    results = quick.path / "results"
    assert {r.protocol for r in records.load("mnist", folder=results)} == {preset("as_written")}


def test_a_page_that_another_sweep_holds_is_left_to_it(quick):
    stage = quick.path / "results/.partial/mnist"
    stage.mkdir(parents=True)
    with filelock.FileLock(stage / f"{PAGE.name}.lock"):
        done = sweep.run_page(PAGE, quick.path)
        assert done.skipped and done.error is None and "another sweep" in str(done)
        assert quick.log() == [] and quick.files() == []
    assert sweep.run_page(PAGE, quick.path).error is None
    whole(quick)


# Which pages, and in what order


@pytest.fixture
def two_experiments(monkeypatch):
    small = {
        "mnist": Experiment("mnist", (Grid(("as_written", "fair"), NETWORKS, (0.0, 0.5), 3),)),
        "other": Experiment(
            "other",
            (
                Grid(("as_written",), NETWORKS[:2], (0.9,), 2),
                Grid(("as_written, batch_size=64",), NETWORKS[:1], (0.5,), 1),
            ),
        ),
    }
    monkeypatch.setattr(grid, "EXPERIMENTS", small)
    return small


def test_missing_pages_have_the_seeds_outermost_over_all_experiments(quick, two_experiments):
    def names(pages):
        return [f"{page.experiment} {page.name}" for page in pages]

    seed = [
        "mnist as_written-p0.00-seed{}",
        "mnist as_written-p0.50-seed{}",
        "mnist fair-p0.00-seed{}",
        "mnist fair-p0.50-seed{}",
        "other as_written-p0.90-seed{}",
        "other as_written-batch_size_64-p0.50-seed{}",
    ]
    # The grids ask for three seeds, two, and one.
    expected = [name.format(k) for k, n in ((0, 6), (1, 5), (2, 4)) for name in seed[:n]]
    assert names(sweep.missing_pages(["mnist", "other"], root=quick.path)) == expected
    assert names(sweep.missing_pages(["mnist", "other"], 1, quick.path)) == expected[:6]
    assert names(sweep.missing_pages(["other"], 4, quick.path)) == [
        name.format(k) for k in range(4) for name in seed[4:]
    ]
    first = Page("mnist", "as_written", 0.0, 0, NETWORKS)
    assert sweep.run_page(first, quick.path).error is None
    assert names(sweep.missing_pages(["mnist", "other"], root=quick.path)) == expected[1:]


def test_missing_pages_of_bad_requests(quick):
    with pytest.raises(ParameterError, match="'mnits' does not exist; known: caltech, resnet18"):
        sweep.missing_pages(["mnits"], root=quick.path)
    for seeds in (0, -1, 1.5):
        with pytest.raises(ParameterError, match=r"seeds is .*; it must be a whole number"):
            sweep.missing_pages(["mnist"], seeds, quick.path)


def test_what_is_missing_of_a_page(quick):
    assert sweep.run_page(PAGE, quick.path).error is None
    assert sweep.missing_keys(PAGE, quick.path) == []
    gone = PAGE.keys[2]
    gone.path(quick.path / "results").unlink()
    assert sweep.missing_keys(PAGE, quick.path) == [gone]
    (quick.path / PAGE.path).unlink()  # records without their page do not count
    assert sweep.missing_keys(PAGE, quick.path) == PAGE.keys


# The budget


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90s", 90), ("90", 90), ("8m", 480), ("1.5h", 5400), (" 2 m ", 120), ("0.5s", 0.5),
        (None, float("inf")),
    ],
)  # fmt: skip
def test_budgets(text, seconds):
    assert sweep.parse_budget(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0", "0s", "0.0h", "-5m", "8 min", "m", "1d", "1h30m", "nan", "inf", "1e3"],
)
def test_bad_budgets(text):
    with pytest.raises(ParameterError) as error:
        sweep.parse_budget(text)
    assert "8m" in str(error.value) and "\n" not in str(error.value)


class Clocked:
    """Stands in for the pool of workers: pages take the seconds that `takes` says, by its clock."""

    def __init__(self, monkeypatch, takes):
        self.now, self.takes, self.started, self.running = 0.0, list(takes), [], []
        monkeypatch.setattr(sweep, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", lambda *_: self)
        monkeypatch.setattr(concurrent.futures, "wait", self.wait)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, *arguments):  # how and in what environment, what, then the job and the folder
        *_, page, _ = arguments
        future = concurrent.futures.Future()
        seconds = self.takes[len(self.started)]
        self.started.append(page)
        self.running.append((self.now + seconds, seconds, len(self.started), page, future))
        return future

    def wait(self, futures, return_when):
        assert return_when == concurrent.futures.FIRST_COMPLETED
        first = min(self.running, key=lambda each: each[:3])
        self.running.remove(first)
        self.now, seconds, _, page, future = first
        future.set_result(sweep.Done(page, seconds))
        return {future}, set(futures) - {future}


def pages(n):
    return [Page("mnist", "as_written", 0.5, seed, NETWORKS) for seed in range(n)]


@pytest.mark.parametrize(
    "takes, workers, budget, started, ends",
    [
        ([10] * 5, 1, float("inf"), 5, 50),
        ([10] * 5, 1, 30, 3, 30),
        ([10] * 5, 1, 29.9, 2, 20),
        ([10, 12, 10, 10], 1, 33, 2, 22),  # by the slowest: after 22 s 11 are left
        ([10, 5, 10, 10], 1, 24, 2, 15),
        ([10] * 8, 2, 25, 4, 20),
        ([10, 11, 10, 10, 10], 2, 21, 3, 20),  # the second worker's page ends at 11 s: too late
        ([10] * 5, 1, 0.001, 1, 10),  # nothing is known of this device: the first is started
    ],
)
def test_nothing_is_started_that_could_not_end_in_time(
    quick, monkeypatch, takes, workers, budget, started, ends
):
    clock = Clocked(monkeypatch, takes)
    said = []
    done = sweep.sweep(
        pages(len(takes)), workers=workers, budget=budget, root=quick.path, report=said.append
    )
    assert clock.started == pages(len(takes))[:started]  # the most valuable first
    assert sorted(each.page.seed for each in done) == list(range(started))
    assert clock.now == ends and not clock.running
    stops = [line for line in said if line.startswith("budget: ")]
    assert len(stops) == (started < len(takes))


@pytest.mark.parametrize("device, started", [("this one", 0), ("another one", 1)])
def test_recorded_seconds_of_this_device_are_known_beforehand(quick, monkeypatch, device, started):
    """A page takes the sum of its trainings' seconds, here 4 x 25 s, and its kernel's start."""
    for network in NETWORKS:
        record = a_record(network, seed=9)
        record.content["provenance"]["device"] = device
        records.write(record, quick.path / "results")
    as_one = a_record(seed=8)
    as_one.content["provenance"] |= {"device": "this one", "seconds": 1e9, "together": 9}
    records.write(as_one, quick.path / "results")  # which tells of no page's time
    monkeypatch.setattr(provenance, "device_name", lambda _: "this one")
    monkeypatch.setattr(sweep, "START_UP", 7.0)
    clock = Clocked(monkeypatch, [107] * 2)
    assert len(sweep.sweep(pages(2), workers=1, budget=106, root=quick.path)) == started
    if device == "this one":
        assert len(sweep.sweep(pages(2), workers=1, budget=107, root=quick.path)) == 1
    assert clock.now == 107


def test_zero_workers_and_a_cut_record_stop_a_sweep_before_it_starts(quick, monkeypatch):
    clock = Clocked(monkeypatch, [])
    with pytest.raises(ParameterError, match="workers is 0"):
        sweep.sweep(pages(2), workers=0, root=quick.path)
    path = records.write(a_record(), quick.path / "results")
    path.write_text(path.read_text()[:500])
    with pytest.raises(records.RecordError, match=re.escape(str(path))):
        sweep.sweep(pages(2), workers=1, root=quick.path)
    assert clock.started == []


AS_NOBODY = """
import os, sys
from pathlib import Path
from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import sweep
from sparseconv_lib.study.grid import Page
if os.geteuid() == 0:
    os.setuid(65534)  # no folder is read-only to root
for closed in ("results", "book"):
    try:
        page = Page("mnist", "as_written", 0.5, 0, NETWORKS)
        sweep.sweep([page], workers=1, root=Path(sys.argv[1], closed))
    except sweep.SweepError as error:
        print(error)
"""


def test_a_read_only_output_folder_stops_a_sweep_at_once():
    import tempfile  # pytest's own folders are closed to others than us

    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        for closed in ("results", "book"):
            for name in ("results", "book"):
                (Path(top) / closed / name).mkdir(parents=True)
                os.chmod(Path(top) / closed / name, 0o555 if name == closed else 0o777)
        run = [sys.executable, "-c", AS_NOBODY, top]
        done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout.splitlines() == [
            f"cannot write to {top}/{closed}/{closed}; run in a checkout that is yours"
            for closed in ("results", "book")
        ], done.stderr
        assert not [path for path in Path(top).rglob("*") if path.is_file()]


# Trainings that run as one, ahead of their pages


def stand_in_for_training(monkeypatch, asked):
    """Writes into `asked` which keys were trained together, and gives each a record."""

    def together(keys, protocol, dataset, places, progress=None):
        asked.append(list(keys))
        made = []
        for key, (_, page) in zip(keys, places, strict=True):
            record = a_record(key.network, key.sparsity, key.seed)
            record.content["provenance"]["page"] = page
            made.append(record)
        return made

    monkeypatch.setattr(runner, "train_together", together)
    monkeypatch.setattr(data, "load", lambda name: name)


def grid_of(sparsities, seeds):
    return [Page("mnist", "as_written", p, s, NETWORKS) for s in range(seeds) for p in sparsities]


def test_pages_of_one_protocol_are_made_ahead_and_others_left_alone():
    some = grid_of((0.0, 0.5), 2)
    alone = Page("caltech", "compounding", 0.5, 0, NETWORKS[3:])
    single = Page("mnist", "as_written, batch_size=64", 0.5, 0, NETWORKS)
    pages = [some[0], alone, single, *some[1:]]
    assert sweep.jobs(pages, 1) == pages
    assert sweep.jobs(pages, 64) == [sweep.Ahead(tuple(some)), alone, single]
    assert sweep.jobs(pages, 3) == [sweep.Ahead(tuple(some[:3])), some[3], alone, single]
    assert sweep.jobs([], 64) == []
    # Where each network has a page of its own, only pages of one network can be stacked.

    def apart(experiment, protocol):
        return [
            Page(experiment, protocol, 0.5, seed, (network,), apart=True)
            for seed in (0, 1)
            for network in NETWORKS[:2]
        ]

    several = apart("invariance", "fair")
    stacks = [sweep.Ahead((several[0], several[2])), sweep.Ahead((several[1], several[3]))]
    assert sweep.jobs(several, 64) == stacks
    # ResNet18 keeps a GPU busy alone, and of photographs a few do.
    assert sweep.jobs(apart("resnet18", "as_written"), 64) == apart("resnet18", "as_written")
    photographs = [Page("caltech", "as_written", 0.5, seed, NETWORKS) for seed in range(20)]
    assert [len(job.pages) for job in sweep.jobs(photographs, 64)] == [16, 4]
    assert sweep.jobs(photographs, 64, cpu_workers=1) == photographs
    assert sweep.jobs(some, 64, cpu_workers=1) == [sweep.Ahead(tuple(some))]


def test_the_cores_of_a_cpu_share_what_runs_as_one():
    def sizes(number, together, cpu_workers):
        pages = grid_of((0.5,), number)
        found = sweep.jobs(pages, together, cpu_workers)
        assert [
            p for job in found for p in (job.pages if isinstance(job, sweep.Ahead) else [job])
        ] == pages
        return [len(job.pages) if isinstance(job, sweep.Ahead) else 1 for job in found]

    assert sizes(24, 64, 1) == [24]
    assert sizes(24, 64, 2) == [12, 12]
    assert sizes(48, 20, 2) == [12] * 4  # not 20, 20 and 8: one core would have 28
    assert sizes(120, 20, 4) == [15] * 8
    assert sizes(24, 24, 2) == sizes(24, 12, 2) == [12, 12]
    assert sizes(25, 12, 2) == [7, 7, 7, 4]
    assert sizes(6, 64, 4) == [2, 2, 2]
    assert sizes(3, 64, 8) == [2, 1]
    assert sizes(24, 64, 0) == [24]
    assert sizes(6, 1, 2) == [1] * 6


def test_what_is_trained_ahead_is_not_trained_again(quick, monkeypatch):
    """The stub's log has nothing that was there; two of the keys are, in two kinds of places."""
    asked, some = [], grid_of((0.0, 0.5), 2)
    stand_in_for_training(monkeypatch, asked)
    published, staged = some[0].keys[0], some[1].keys[1]
    records.write(a_record(published.network, 0.0, 0), quick.path / "results")
    stage = quick.path / "results/.partial/mnist" / some[1].name / "records"
    records.write(a_record(staged.network, 0.5, 0), stage)
    done = sweep.train_ahead(sweep.Ahead(tuple(some)), quick.path)
    assert done.error is None and str(done).startswith("trained after")
    wanted = {key for page in some for key in page.keys} - {published, staged}
    assert sorted(key for keys in asked for key in keys) == sorted(wanted)
    assert [len({key.network for key in keys}) for keys in asked] == [1] * 4
    assert len(asked) == 4  # a stack for each network
    for page in some:
        assert sweep.run_page(page, quick.path).error is None
    assert quick.log() == []
    assert quick.published() == sorted(key for page in some for key in page.keys)


def test_a_sweep_may_only_train_and_a_later_one_makes_the_pages(quick, monkeypatch):
    asked, told, some = [], [], grid_of((0.0, 0.5), 2)
    stand_in_for_training(monkeypatch, asked)
    alone = Page("caltech", "compounding", 0.5, 0, NETWORKS[3:])  # which cannot be stacked
    threads = concurrent.futures.ThreadPoolExecutor(1)  # in this process, where the stub is
    pool = contextlib.nullcontext(SimpleNamespace(submit=threads.submit, count=lambda: 1))
    monkeypatch.setattr(sweep.executors, "processes", lambda workers: pool)
    done = sweep.sweep(
        [*some, alone], workers=1, together=64, train_only=True, root=quick.path,
        report=told.append,
    )  # fmt: skip
    assert [told[0].split(":")[0], told[1].split(":")[0]] == [
        "mnist/as_written, 4 pages",
        "caltech/compounding, 1 page",
    ]
    assert [each.error for each in done] == [None, None]
    assert sorted(key for keys in asked for key in keys) == sorted(
        key for page in (*some, alone) for key in page.keys
    )
    assert quick.published() == [] and not list((quick.path / "book/runs").rglob("*.ipynb"))
    for page in some:
        assert sweep.run_page(page, quick.path).error is None
    assert quick.log() == []
    assert quick.published() == sorted(key for page in some for key in page.keys)


def test_a_stack_that_failed_is_told(quick, monkeypatch):
    def broken(keys, *_):
        raise RuntimeError("the card is gone")

    stand_in_for_training(monkeypatch, [])
    monkeypatch.setattr(runner, "train_together", broken)
    threads = concurrent.futures.ThreadPoolExecutor(1)
    pool = contextlib.nullcontext(SimpleNamespace(submit=threads.submit, count=lambda: 1))
    monkeypatch.setattr(sweep.executors, "processes", lambda workers: pool)
    pages = grid_of((0.5,), 2)
    done = sweep.sweep(
        pages, workers=1, together=64, train_only=True, root=quick.path, report=lambda _: None
    )
    assert [each.error for each in done] == ["failed: RuntimeError: the card is gone"]


def test_what_needs_no_training_is_left_to_its_page(quick, monkeypatch):
    asked = []
    stand_in_for_training(monkeypatch, asked)
    page = Page("depth", "digits", 0.5, 0, ("ConvNet", "nearest"))
    assert sweep.train_ahead(sweep.Ahead((page,)), quick.path).error is None
    assert [key.network for keys in asked for key in keys] == ["ConvNet"]


def test_pages_that_another_sweep_holds_are_not_trained_ahead(quick, monkeypatch):
    asked, some = [], grid_of((0.0, 0.5), 1)
    stand_in_for_training(monkeypatch, asked)
    folder = quick.path / "results/.partial/mnist"
    folder.mkdir(parents=True)
    with filelock.FileLock(folder / f"{some[0].name}.lock"):
        assert sweep.train_ahead(sweep.Ahead(tuple(some)), quick.path).error is None
    assert {key.sparsity for keys in asked for key in keys} == {0.5}


def test_where_training_ahead_fails_the_pages_train_themselves(quick, monkeypatch):
    def fail(*_):
        raise RuntimeError("no memory\nfor so many")

    monkeypatch.setattr(runner, "train_together", fail)
    monkeypatch.setattr(data, "load", lambda name: name)
    some = grid_of((0.0, 0.5), 1)
    done = sweep.train_ahead(sweep.Ahead(tuple(some)), quick.path)
    assert done.error == "failed: RuntimeError: for so many"
    for page in some:
        assert sweep.run_page(page, quick.path).error is None
    whole(quick, some)


def test_one_stack_at_a_time_and_pages_beside_it(quick, monkeypatch):
    """Two stacks of two pages: the pages of the first are executed while the second trains."""
    monkeypatch.setattr(sweep, "_has_gpu", lambda: True)
    clock = Clocked(monkeypatch, [10, 3, 3, 10, 2, 2])
    said = []
    done = sweep.sweep(
        grid_of((0.0, 0.5), 2), workers=4, together=2, root=quick.path, report=said.append
    )
    order = [job if isinstance(job, Page) else "stack" for job in clock.started]
    first, second, third, fourth = grid_of((0.0, 0.5), 2)
    assert order == ["stack", first, second, "stack", third, fourth]
    assert {each.page for each in done} == {first, second, third, fourth}
    # Started when the first stack ends, its pages beside the second; and then the second's.
    assert clock.now == 10 + max(10, 3, 3) + 2
    assert sum("trained after" in line for line in said) == 2


def test_without_a_gpu_every_worker_trains_a_stack(quick, monkeypatch):
    monkeypatch.setattr(sweep, "_has_gpu", lambda: False)
    clock = Clocked(monkeypatch, [10, 12, 3, 3, 2, 2])
    first, second, third, fourth = grid = grid_of((0.0, 0.5), 2)
    done = sweep.sweep(grid, workers=2, together=2, root=quick.path, report=lambda _: None)
    order = [job if isinstance(job, Page) else "stack" for job in clock.started]
    assert order == ["stack", "stack", first, third, fourth, second] and len(done) == 4
    assert clock.now == max(10 + 3 + 2, 12 + 3) + 2


def test_a_budget_holds_for_stacks(quick, monkeypatch):
    monkeypatch.setattr(sweep, "START_UP", 1.0)
    clock = Clocked(monkeypatch, [10, 1, 1, 10, 1, 1])
    said = []
    done = sweep.sweep(
        grid_of((0.0, 0.5), 3),
        workers=1,
        together=2,
        budget=21,
        root=quick.path,
        report=said.append,
    )
    assert len(done) == 2 and clock.now == 12
    assert said[-1] == "budget: 9 s left, a stack takes 10 s; stopping"


def test_a_budget_holds_for_pages_whose_trainings_are_done(quick, monkeypatch):
    monkeypatch.setattr(sweep, "START_UP", 5.0)
    clock, said = Clocked(monkeypatch, [10, 6]), []
    grid = grid_of((0.0, 0.5), 1)
    sweep.sweep(grid, workers=1, together=2, budget=21, root=quick.path, report=said.append)
    assert clock.now == 16 and said[-1] == "budget: 5 s left, a page takes 6 s; stopping"


# The command, with its workers and kernels


@pytest.fixture
def checkout(tmp_path):
    """A copy of this checkout with a small grid and the stub for its notebook: a Root."""
    path, folder = tmp_path / "checkout", tmp_path / "stub"
    for each in (path / "results", path / "book", path / "notebooks", folder):
        each.mkdir(parents=True)
    library = path / "sparseconv_lib"
    shutil.copytree(ROOT / "sparseconv_lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    text = (library / "study" / "grid.py").read_text("utf-8")
    small, n = re.subn(r"(?m)^MNIST_SPARSITIES = .*$", "MNIST_SPARSITIES = (0.0, 0.5)", text)
    assert n == 1
    (library / "study" / "grid.py").write_text(small, "utf-8")
    nbformat.write(stub_notebook(), path / "notebooks" / "mnist.ipynb")
    return Root(path=path, folder=folder)


def start(checkout, *arguments):
    command = [sys.executable, "-m", "sparseconv_lib", "sweep", "mnist", "--seeds", "1", *arguments]
    return subprocess.Popen(
        command,
        cwd=checkout.path,
        env={**os.environ, "STUB": str(checkout.folder), "SPARSECONV_COMMIT": "none"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hanging(checkout, n, process):
    """Waits until n kernels hang; their (pid, parent's pid)."""
    deadline = time.monotonic() + 180
    while len(found := list(checkout.folder.glob("hanging-*"))) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for path in found:
        path.unlink()
    return [tuple(map(int, path.name.split("-")[1:])) for path in found]


def without_jupyter(errors):
    """What a command wrote to its standard error, but for what kernels tell of themselves.

    A kernel that is shut down while it is busy writes its own warnings, and sometimes a traceback
    of Jupyter's; ours would name a file of ours.
    """
    return "".join(
        line
        for line in errors.splitlines(keepends=True)
        if line.startswith("sparseconv") or f"{os.sep}sparseconv_lib{os.sep}" in line
    )


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pids, within):
    """Whether these processes end within some seconds; what does not is killed, and told."""
    deadline = time.monotonic() + within
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not left


# Of that small grid, one seed.
BOTH = [Page("mnist", "as_written", p, 0, NETWORKS) for p in (0.0, 0.5)]


def test_killed_workers_and_killed_sweeps_lose_and_repeat_nothing(checkout):
    checkout.switch("hang-2")
    with start(checkout, "--workers", "1") as process:
        ((kernel, worker),) = hanging(checkout, 1, process)
        os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 1
        assert re.fullmatch(
            r"sparseconv: a worker died while it ran as_written-p0\.00-seed0\.ipynb, .*run the "
            r"same command again, with fewer --workers or --together\n",
            without_jupyter(errors),
        )
    assert gone([kernel], within=60)  # lest it train on, beside the next sweep
    assert len(checkout.log()) == 2 and checkout.files() == []

    with start(checkout, "--workers", "2") as process:
        pids = [pid for pair in hanging(checkout, 2, process) for pid in pair]
        process.kill()
        assert gone(pids, within=60)
    assert len(checkout.log()) == 4 and checkout.files() == []

    checkout.switch("hang-2", on=False)
    with start(checkout, "--workers", "2") as process:
        said, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and without_jupyter(errors) == ""
    assert said.splitlines()[0] == "2 pages to run (8 trainings), 2 at a time"
    assert said.splitlines()[-1] == "2 published, 0 failed"
    whole(checkout, BOTH)


def test_two_sweeps_at_once_run_each_page_once(checkout):
    with start(checkout, "--workers", "1") as a, start(checkout, "--workers", "1") as b:
        told = [process.communicate(timeout=300) for process in (a, b)]
    assert [without_jupyter(errors) for _, errors in told] == ["", ""]
    whole(checkout, BOTH)


ORPHANS = """
import concurrent.futures, multiprocessing, os, sys, time
from pathlib import Path
from sparseconv_lib.study.processes import end_with_parent

def work(folder):
    Path(folder, f"at-work-{os.getpid()}").touch()
    time.sleep(600)

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, spawn, end_with_parent) as pool:
        for _ in range(2):
            pool.submit(work, sys.argv[1])
        time.sleep(0.3)
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
"""


@pytest.mark.parametrize("when", ["at work", "starting"])
def test_workers_end_when_their_parent_is_killed(tmp_path, when):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    command = [sys.executable, script, tmp_path]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        workers = list(map(int, parent.stdout.readline().split()))
        assert len(workers) == 2
        deadline = time.monotonic() + 180
        while when == "at work" and len(list(tmp_path.glob("at-work-*"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert all(map(alive, workers))
        parent.kill()
        assert gone(workers, within=60)  # starting takes its time
