"""What is committed in results/ and book/runs belongs together, and is what it says it is.

Each check is a function of a checkout's root that lists the problems. It is applied to this
checkout, whatever it holds yet, and to an invented one that each test breaks in one way: there the
check must find just that.
"""

import collections
import dataclasses
import json
import re
from pathlib import Path

import nbformat
import pytest
import torch
from test_notebooks import an_executed_notebook, output_problems, told
from test_records import MNIST_IDENTITY, a_record

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import (
    caltech,
    fields,
    ladder,
    probe,
    provenance,
    records,
    releases,
    report,
    report_confounds,
    report_depth,
    report_invariance,
    report_ladder,
    report_resnet,
    training,
    two_tasks,
)
from sparseconv_lib.study.grid import EXPERIMENTS, Page, grid_of, task_of
from sparseconv_lib.study.paths import NOTEBOOKS, ROOT
from sparseconv_lib.study.protocol import ParameterError, preset

BUDGETS = {"results": 12_000_000, "book/runs": 40_000_000}  # bytes; the whole grid is 801 pages
PAGE_BUDGET = 200_000
CALTECH = caltech.read_manifest()
# Of each data set: what its records say of the data, of the split as it stands, and of its size.
DATA = {
    "mnist": (MNIST_IDENTITY, "standard", {"train": 60_000, "test": 10_000}),
    "caltech101": (
        caltech.identity(CALTECH),
        f"stratified-{caltech.split_identity(CALTECH)}",
        {"train": 6_941, "test": 1_736},
    ),
    "elevation": (fields.identity("elevation"), "blocks", {"train": 234, "test": 10}),
    "depth_reduced": (fields.identity("depth_reduced"), "blocks", {"train": 160, "test": 60}),
    "depth": (fields.identity("depth"), "blocks", {"train": 160, "test": 60}),
}
SEED = re.compile(r".+-seed(\d+)")


def record_paths(root):
    return sorted((root / "results").glob("*/*/*.json"))


def page_paths(root):
    return sorted((root / "book" / "runs").glob("*/*.ipynb"))


def read_all(root):
    """Every record that can be read; those that cannot are `record_problems`' business."""
    found = []
    for path in record_paths(root):
        try:
            found.append(records.read(path))
        except records.RecordError:
            continue
    return found


def record_problems(root):
    problems = []
    for path in record_paths(root):
        try:
            records.read(path)
        except records.RecordError as error:
            problems.append(str(error))
    for path in (root / "results").glob("*/**/*"):
        beside = path.with_suffix(".json")
        if path.is_dir() or ".partial" in path.parts or path in record_paths(root):
            continue
        if path.parent == root / "results" / "releases" and path.suffix == ".json":
            try:
                releases.read(path)
            except releases.ReleaseError as error:
                problems.append(str(error))
            continue
        if path.suffix != ".npz" or "-seed0." not in path.name or not beside.exists():
            problems.append(f"{path}: neither a record nor an example beside one")
    return problems


def page_of(path):
    """The grid's page that stands in `path`, whatever its seed, or None."""
    name = SEED.fullmatch(path.stem)
    for experiment in EXPERIMENTS.values():
        if name and experiment.notebook == path.parent.name:
            for page in experiment.pages(int(name[1]) + 1):
                if page.name == path.stem:
                    return page
    return None


def pairing_problems(root):
    """Of pages and records: none without the other, and the page shows the record's number."""
    problems = []
    for record in read_all(root):
        if not (root / record.page).is_file():
            problems.append(f"{record.key}: its page {record.page} is not there")
    for path in page_paths(root):
        page = page_of(path)
        if page is None:
            problems.append(f"{path.name}: no page of the grid")
            continue
        notebook = nbformat.read(path, as_version=4)
        shown = "".join(told(o) for cell in notebook.cells for o in cell.get("outputs", []))
        injected = [
            cell.source
            for cell in notebook.cells
            if "injected-parameters" in cell.metadata.get("tags", [])
        ]
        for name in ("sparsity", "seed", "protocol"):
            line = f"{name} = {page.parameters[name]!r}".replace("'", '"')
            if not any(line in source.splitlines() for source in injected):
                problems.append(f"{path.name}: was not run with {line}")
        for key in page.keys:
            if not key.path(root / "results").is_file():
                problems.append(f"{path.name}: there is no record of {key}")
                continue
            record = records.read(key.path(root / "results"))
            if record.page != str(page.path):
                problems.append(f"{key}: names {record.page}, not {page.path}")
            elif not re.search(rf"(?<![\d.]){re.escape(headline(record))}(?!\d)", shown):
                problems.append(f"{path.name}: does not show {headline(record)}")
    return problems


def headline(record):
    """A record's own number, as its page writes it."""
    if "accuracy" in record.content:
        return f"{100 * record.accuracy:.2f}"
    _, factor = report_depth.unit_of(record.key.protocol)
    return report_depth.in_digits(factor * record.error)


def content_problems(root):
    """Of pages: errors, standard error, a machine's paths, its metadata."""
    return [
        f"{path.name}: {problem}"
        for path in page_paths(root)
        for problem in output_problems(nbformat.read(path, as_version=4))
    ]


def size_problems(root):
    problems = []
    for folder, budget in BUDGETS.items():
        files = [path for path in (root / folder).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files if ".partial" not in path.parts)
        if size > budget:
            problems.append(f"{folder} holds {size:,} bytes, of {budget:,}")
    for path in page_paths(root):
        if (size := path.stat().st_size) > PAGE_BUDGET:
            problems.append(f"{path.name} has {size:,} bytes, of {PAGE_BUDGET:,}")
    return problems


def protocol_problems(root):
    """One name, one protocol: that which has the name today."""
    problems = []
    for record in read_all(root):
        name = record.key.protocol
        try:
            today = preset(name, task_of(record.key.experiment))
        except ParameterError:
            problems.append(f"{record.key}: there is no protocol {name}")
            continue
        # A knob that came after the record has its default there: what was done before it existed.
        for knob in dataclasses.fields(today):
            if getattr(record.protocol, knob.name) != getattr(today, knob.name):
                problems.append(f"{record.key}: {knob.name} is not that of {name} today")
    return problems


def identity_problems(root):
    """Same data, same split, and for each seed and sparsity the same masks for every network."""
    problems = []
    masks = collections.defaultdict(set)
    for record in read_all(root):
        content, key = record.content, record.key
        identity, knobs = content["identity"], content["knobs"]
        files, split, size = DATA[knobs["dataset"]]
        if identity["data"] != files:
            problems.append(f"{key}: made from other data")
        if record.protocol.split != "standard":
            split = record.protocol.split
        if identity["split"] != split or content["images"] != size:
            problems.append(f"{key}: made from another split")
        field = knobs["dataset"], knobs["mask_kind"], knobs.get("side", 0)
        masks[field, key.sparsity, key.seed].add(identity["masks"])
    problems += [f"{cell}: {len(found)} masks" for cell, found in masks.items() if len(found) > 1]
    # Other seeds have other masks, but for p = 0, where every pixel is observed.
    drawn = collections.Counter(
        mask for (_, sparsity, _), found in masks.items() if sparsity for mask in found
    )
    return problems + [f"masks {mask} stand for {n} cells" for mask, n in drawn.items() if n > 1]


def answer_problems(root):
    """Where the answers to single images are kept, they make the accuracy."""
    return [
        f"{record.key}: its answers do not make its accuracy at {q}"
        for record in read_all(root)
        for q in record.content.get("correct", {})
        if abs(record.correct_at(float(q)).mean() - record.accuracy_at(float(q))) > 1e-6
    ]


def asked_together(notebook, protocol, sparsity):
    """The networks that the grid trains on one page there: not those that have pages of their own,
    each of which is published as soon as it is whole."""
    asked = {False: set(), True: set()}
    for experiment in EXPERIMENTS.values():
        for grid in experiment.grids:
            here = protocol in grid.protocols and sparsity in grid.sparsities
            if experiment.notebook == notebook and here:
                asked[grid.apart] |= set(grid.networks)
    return asked[False] - asked[True]


def seed_problems(root):
    """The networks of a cell have the same seeds, none of them left out.

    A seed may wait for a later sweep where it waits in every cell of its protocol, so that none is
    picked by what it gave in one.
    """
    cells = collections.defaultdict(set)
    of_protocol = collections.defaultdict(set)
    for record in read_all(root):
        key = record.key
        cells[key.experiment, key.protocol, key.sparsity, key.network].add(key.seed)
        of_protocol[key.experiment, key.protocol].add(key.seed)
    problems = [
        f"{cell}: seeds {sorted(seeds)}"
        for cell, seeds in cells.items()
        if seeds != set(range(len(seeds))) and seeds != of_protocol[cell[:2]]
    ]
    for experiment, protocol, sparsity, _ in {(*cell[:3], None) for cell in cells}:
        grid = grid_of(experiment, protocol)
        if grid is None:
            problems.append(f"{experiment} {protocol}: in no grid")
            continue
        networks = asked_together(experiment, protocol, sparsity)
        all_seeds = {
            frozenset(cells.get((experiment, protocol, sparsity, network), ()))
            for network in networks
        }
        if len(all_seeds) > 1:
            problems.append(f"{experiment} {protocol} p={sparsity:g}: networks differ in seeds")
    return problems


CHECKS = [
    record_problems,
    pairing_problems,
    content_problems,
    size_problems,
    protocol_problems,
    identity_problems,
    answer_problems,
    seed_problems,
]


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_committed_has_no_problem(check):
    assert check(ROOT) == []


def test_nothing_committed_escapes_the_checks():
    """Records and pages are looked for where the sweep puts them."""
    page = Page("mnist", "as_written", 0.5, 0, NETWORKS)
    assert (ROOT / page.path).parent.parent == ROOT / "book" / "runs"
    for path in (ROOT / "results").rglob("*.json"):
        if ".partial" not in path.parts and path.name not in (
            "probes.json",
            "sameness.json",
            "mutation.json",
            "coverage.json",
            "denominators.json",
            "layouts.json",
            "benchmark-cpu.json",
            "benchmark-cuda.json",
            "faults.json",
        ):
            assert path in record_paths(ROOT)
    for path in (ROOT / "book" / "runs").rglob("*.ipynb"):
        assert path in page_paths(ROOT)


# The checks find what they look for

PAGES = [Page("mnist", "as_written", p, seed, NETWORKS) for p in (0.0, 0.5) for seed in (0, 1)]


@pytest.fixture
def invented(tmp_path):
    """A checkout with four pages and their sixteen records, in order."""
    (tmp_path / "book" / "runs").mkdir(parents=True)
    for page in PAGES:
        notebook = an_executed_notebook()
        injected = nbformat.v4.new_code_cell(
            "# Parameters\n"
            + "\n".join(
                f"{name} = {value!r}".replace("'", '"') for name, value in page.parameters.items()
            ),
            metadata={"tags": ["injected-parameters"]},
        )
        notebook.cells.insert(1, injected)
        for key in page.keys:
            record = a_record(key.network, key.sparsity, key.seed)
            path = records.write(record, tmp_path / "results")
            if key.seed == 0:
                path.with_suffix(".npz").write_bytes(b"an example")
            notebook.cells[-1].outputs.append(
                nbformat.v4.new_output(
                    "display_data",
                    {"text/html": f"<td>{key.network}</td><td>{report.percent(record.accuracy)}"},
                )
            )
        path = tmp_path / page.path
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
    return tmp_path


def edit(root, key, change):
    """Changes the content of one record, as an editor would."""
    path = key.path(root / "results")
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def edit_page(root, page, change):
    notebook = nbformat.read(root / page.path, as_version=4)
    change(notebook)
    nbformat.write(notebook, root / page.path)


@pytest.mark.parametrize("check", CHECKS)
def test_the_invented_checkout_has_no_problem(invented, check):
    assert len(read_all(invented)) == 16 and len(page_paths(invented)) == 4
    assert check(invented) == []


@pytest.mark.parametrize("check", CHECKS)
def test_an_empty_checkout_has_no_problem(tmp_path, check):
    assert check(tmp_path) == []


KEY, LAST = PAGES[0].keys[0], PAGES[3].keys[3]


def cut(root):
    path = KEY.path(root / "results")
    path.write_text(path.read_text()[:300])


def stray(name):
    return lambda root: (KEY.path(root / "results").parent / name).write_text("x")


def add_output(**output):
    def change(root):
        edit_page(
            root,
            PAGES[0],
            lambda nb: nb.cells[-1].outputs.append(nbformat.v4.new_output(**output)),
        )

    return change


def remove(path):
    return lambda root: (root / path).unlink()


def content(key, change):
    return lambda root: edit(root, key, change)


def grow(path, size):
    def change(root):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with (root / path).open("ab") as file:
            file.truncate(size)

    return change


def other_page(root):
    """A page under another page's name."""
    (root / PAGES[3].path).write_bytes((root / PAGES[1].path).read_bytes())


@pytest.mark.parametrize(
    "check, spoil, problem",
    [
        (record_problems, cut, "not a whole record"),
        (record_problems, stray("ConvNet-p0.50-seed0.json.12.part"), "neither a record"),
        (record_problems, stray("ConvNet-p0.50-seed1.npz"), "neither a record"),
        (record_problems, stray("ConvNet-p0.90-seed0.npz"), "neither a record"),
        (record_problems, stray("ConvNet-p0.90-seed0.json"), "not a whole record"),
        (pairing_problems, remove(PAGES[1].path), "is not there"),
        (pairing_problems, remove(Path("results", LAST.path(Path()))), f"no record of {LAST}"),
        (pairing_problems, other_page, "was not run with sparsity = 0.5"),
        (
            pairing_problems,
            content(KEY, lambda c: c["provenance"].update(page=str(PAGES[1].path))),
            f"names {PAGES[1].path}",
        ),
        (
            pairing_problems,
            content(KEY, lambda c: c["provenance"].update(page="none")),
            "page none is not there",
        ),
        (pairing_problems, content(KEY, lambda c: c["accuracy"].update({"0": 0.1234})), "12.34"),
        (
            pairing_problems,
            lambda root: (root / PAGES[0].path).rename((root / PAGES[0].path).with_stem("copy")),
            "no page of the grid",
        ),
        (
            content_problems,
            add_output(output_type="error", ename="ValueError", evalue="x"),
            "an error: ValueError",
        ),
        (
            content_problems,
            add_output(output_type="stream", name="stderr", text="UserWarning"),
            "standard error",
        ),
        (
            content_problems,
            add_output(output_type="stream", name="stdout", text="/home/me/main"),
            "names a path",
        ),
        (size_problems, grow("results/mnist/large.npz", BUDGETS["results"]), "results holds"),
        (size_problems, grow(PAGES[2].path, 200_001), "of 200,000"),
        (size_problems, grow("book/runs/mnist/large.png", BUDGETS["book/runs"]), "book/runs holds"),
        (
            protocol_problems,
            content(KEY, lambda c: c["knobs"].update(batch_size=64)),
            "batch_size is not that of as_written",
        ),
        (
            identity_problems,
            content(KEY, lambda c: c["identity"].update(data="0" * 64)),
            "other data",
        ),
        (
            identity_problems,
            content(KEY, lambda c: c["images"].update(train=50_000)),
            "another split",
        ),
        (
            identity_problems,
            content(KEY, lambda c: c["identity"].update(masks="f" * 16)),
            "2 masks",
        ),
        (
            identity_problems,
            lambda root: [
                edit(root, key, lambda c: c["identity"].update(masks="f" * 16))
                for page in PAGES[2:]
                for key in page.keys
            ],
            "stand for 2 cells",
        ),
        (
            seed_problems,
            remove(Path("results", LAST.path(Path()))),
            "networks differ in seeds",
        ),
        (
            seed_problems,
            lambda root: [key.path(root / "results").unlink() for key in PAGES[0].keys],
            "seeds [1]",
        ),
    ],
)
def test_each_check_finds_its_problem(invented, check, spoil, problem):
    spoil(invented)
    found = check(invented)
    assert any(problem in each for each in found), found


# The code that made a number


def unmarked(found):
    """Records that other code made, with other digits or none, and that the book does not mark."""
    problems = []
    marked = {}
    for record in found:
        key = record.key
        task, code = task_of(key.experiment), record.content["identity"]["code"]
        if probe.same_numbers(code, task, key.protocol, key.network):
            continue
        cell = (key.experiment, key.protocol)
        if cell not in marked:
            marked[cell] = daggers(tables(*cell))
        if key.experiment in OTHER_TABLES:  # whose rows are others
            marks = "†" in OTHER_TABLES[key.experiment](key.protocol)
        else:
            marks = (key.network, f"{key.sparsity:g}") in marked[cell]
        if not marks:
            problems.append(str(key))
    return problems


# The tables by sparsity in each chapter: (function, experiment, claim).
TABLES = [
    call
    for path in sorted(NOTEBOOKS.glob("*.py"))
    for call in re.findall(
        r'report\.(\w+_table)\("(\w+)", protocol, "([^"]+)"\)', path.read_text("utf-8")
    )
]


def tables(experiment, protocol):
    """The HTML of the tables that an experiment's chapter shows of a protocol."""
    return "".join(
        getattr(report, function)(name, protocol, claim)
        for function, name, claim in TABLES
        if name == experiment
    )


def resnet_tables(protocol):
    """The HTML of the tables on ResNet18 that hold a protocol's accuracies."""
    base = protocol.partition(",")[0]
    return "".join((
        report_resnet.sparse_table(base),
        report_ladder.way_table(base, ladder.down(), "in order"),
        report_ladder.way_table(base, ladder.up(), "in reverse order"),
    ))  # fmt: skip


def invariance_tables(protocol):
    """The HTML of the tables on invariance that hold a protocol's accuracies."""
    if protocol in ("fair", "caltech101"):
        return report_invariance.difference_table("ConvNet", protocol=protocol)
    return "".join((
        report_invariance.cures_table(),
        report_confounds.fills_table(),
        report_confounds.kinds_table(),
    ))  # fmt: skip


def depth_tables(protocol):
    """The HTML of the tables on maps that hold a protocol's errors."""
    return report_depth.error_table(protocol) + two_tasks.errors_table()


OTHER_TABLES = {
    "resnet18": resnet_tables,
    "invariance": invariance_tables,
    "depth": depth_tables,
}


def daggers(html):
    """(network, sparsity) of each cell of such tables that carries a dagger."""
    from bs4 import BeautifulSoup

    found = set()
    for table in BeautifulSoup(html, "html.parser").find_all("table"):
        heads = [cell.text for cell in table.thead.find_all("th")]
        for row in table.tbody.find_all("tr"):
            cells = [cell.text for cell in row.find_all(["td", "th"])]
            found |= {
                (head, cells[0]) for head, cell in zip(heads, cells, strict=True) if "†" in cell
            }
    return found


def test_every_number_is_todays_or_carries_a_mark():
    assert {*(experiment for _, experiment, _ in TABLES), *OTHER_TABLES} == {
        experiment.notebook for experiment in EXPERIMENTS.values()
    }
    found = read_all(ROOT)
    assert unmarked(found) == []


@pytest.fixture
def with_records(monkeypatch, tmp_path):
    """A function: makes these the records, and these digits the probes, that the report reads."""

    def install(found, probes):
        path = tmp_path / "probes.json"
        path.write_text(json.dumps(probes))
        monkeypatch.setattr(
            records, "load", lambda experiment, protocol=None, folder=None: sorted(
                found, key=lambda record: record.key
            )
        )  # fmt: skip
        monkeypatch.setattr(probe.load, "__defaults__", (path,))
        monkeypatch.setattr(probe.same_numbers, "__defaults__", (path,))

    return install


def made_by(code, network, seed):
    record = a_record(network, 0.5, seed)
    record.content["identity"]["code"] = code
    return record


def test_a_number_made_by_other_code_carries_a_dagger(with_records):
    today, other = provenance.code_identity(), "0" * 16
    found = [made_by(today, network, 0) for network in NETWORKS[:2]]
    found += [made_by(today, NETWORKS[1], 1), made_by(other, NETWORKS[1], 2)]
    with_records(found, {})
    table = tables("mnist", "as_written")
    assert table.count("<table") == sum(name == "mnist" for _, name, _ in TABLES) > 0
    # One seed of three is enough to mark the mean that it is in, and no other.
    assert daggers(table) == {(NETWORKS[1], "0.5")}
    assert "† made by other code than today" in table
    assert unmarked(found) == []


def test_equal_probes_take_the_dagger_away_and_unequal_ones_do_not(with_records):
    today, other = provenance.code_identity(), "0" * 16
    found = [made_by(other, NETWORKS[0], 0)]
    name = f"as_written/{NETWORKS[0]}"
    digits = [2.31, 2.25, 0.5]

    def table():
        return tables("mnist", "as_written")

    with_records(found, {today: {name: digits}, other: {name: digits}})
    assert "†" not in table()
    with_records(found, {today: {name: digits}, other: {name: [2.31, 2.26, 0.5]}})
    assert daggers(table()) == {(NETWORKS[0], "0.5")}
    with_records(found, {today: {name: digits}})
    assert "†" in table()
    with_records(found, {today: {name: digits}, other: {"fair/ConvNet": digits}})
    assert "†" in table()


def test_an_unmarked_number_is_found(with_records, monkeypatch):
    found = [made_by("0" * 16, NETWORKS[0], 0)]
    with_records(found, {})
    monkeypatch.setattr(report, "made_by_other_code", lambda _: False)
    assert unmarked(found) == [str(found[0].key)]


def test_every_probe_is_a_training_that_can_be(monkeypatch):
    """A probe shortens its protocol, in which not every value fits every other."""
    shortened = []

    def seen(short, *_, **__):
        shortened.append(short)
        return training.Outcome(accuracy={0.5: 1.0})

    monkeypatch.setattr(probe, "fit", seen)
    longer = {name: protocol for name, protocol, _ in probe.probes()}
    one_epoch = dataclasses.replace(preset("as_written", "caltech101"), epochs=1, drop_after=0)
    for protocol in [*longer.values(), one_epoch]:
        assert probe.run(protocol, NETWORKS[0]) == [1.0]
        assert shortened[-1].epochs == min(protocol.epochs, 2)
        assert (shortened[-1].drop_after == 1) == (protocol.drop_after > 0)
        assert (shortened[-1].held_out > 0) == (protocol.held_out > 0)


def test_the_probes_of_todays_code_are_committed():
    """Where this fails after a change of the code: `sparseconv probe`."""
    digits = probe.load().get(provenance.code_identity())
    assert digits is not None
    assert {name for name, _, _ in probe.probes()} <= set(digits)


def test_every_training_that_can_be_recorded_has_a_probe():
    names = [name for name, _, _ in probe.probes()]
    assert len(set(names)) == len(names)
    keys = {
        probe.probe_name(task_of(record.key.experiment), record.key.protocol, record.key.network)
        for record in read_all(ROOT)
    }
    assert keys <= set(names) and {f"fair/{network}" for network in NETWORKS} <= set(names)


@pytest.mark.parametrize(
    "name, protocol, network",
    [pytest.param(*each, id=each[0]) for each in list(probe.probes())[::3]],
)
def test_the_probes_of_today_are_the_committed_ones(name, protocol, network):
    assert probe.as_committed(name, probe.run(protocol, network))
    committed = probe.load()[provenance.code_identity()][name]
    assert not probe.as_committed(name, [x * 1.02 for x in committed])
    assert not probe.as_committed(name, committed[:-1])


def test_of_two_processors_only_the_first_losses_of_resnet18_are_compared(monkeypatch):
    """What rounding differs in the first step is thousands of times as large in the fourth."""
    committed = [5.0, 3.0, 1.0, 0.5]
    grown = [5.0, 3.02, 1.2, 0.5]
    assert probe.agree(grown, committed, "resnet18/fair/ConvNet", elsewhere=True)
    assert not probe.agree(grown, committed, "resnet18/fair/ConvNet")
    assert not probe.agree(grown, committed, "fair/ConvNet", elsewhere=True)
    for wrong in ([5.005, 3.0, 1.0, 0.5], [5.0, 3.1, 1.0, 0.5], committed[:-1]):
        assert not probe.agree(wrong, committed, "resnet18/fair/ConvNet", elsewhere=True)
    name = next(name for name, _, _ in probe.probes() if name.startswith("resnet18/"))
    first, second, *rest = probe.load()[provenance.code_identity()][name]
    grown = [first, second * 1.005, *rest]
    for here, same in ((probe.processors()[provenance.code_identity()], False), ("another", True)):
        monkeypatch.setattr(probe, "processor", lambda here=here: here)
        assert probe.as_committed(name, grown) == same


def test_a_probe_tells_its_processor(tmp_path):
    path = tmp_path / "probes.json"
    probe.save({"fair/ConvNet": [1.0]}, path)
    assert probe.processors(path) == {provenance.code_identity(): probe.processor()}
    assert probe.load(path) == {provenance.code_identity(): {"fair/ConvNet": [1.0]}}
    assert "," not in probe.processor()


def test_processors_of_one_name_are_told_apart_by_their_instructions(monkeypatch):
    """The few steps of ResNet18 differ between AVX2 and AVX-512 on an AMD EPYC."""
    monkeypatch.setattr(probe.provenance, "device_name", lambda kind: "AMD EPYC, 2 cores")
    told = []
    for capability in ("AVX2", "AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda its=capability: its)
        told.append(probe.processor())
    assert told == ["AMD EPYC with AVX2", "AMD EPYC with AVX512"]
