"""The command, and bad input wherever it enters: one clear line, a non-zero exit, nothing lost."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
import torch
from test_records import a_record

import sparseconv_lib.study
from sparseconv_lib import __main__
from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import (
    benchmark,
    cli,
    data,
    denominators,
    layouts,
    paths,
    probe,
    protocol,
    provenance,
    scaling,
    sweep,
)
from sparseconv_lib.study.grid import EXPERIMENTS
from sparseconv_lib.study.notebooks import cells_of

COLUMNS = "dataset network protocol metric train_sparsity test_sparsity n mean sd low high device"


def run(capsys, *arguments):
    """(exit status, standard output, standard error) of one command, in this process."""
    try:
        status = cli.main(arguments)
    except SystemExit as stop:  # argparse's
        status = stop.code
    told = capsys.readouterr()
    return status, told.out, told.err


def refusal(capsys, *arguments):
    """The one line with which a command refuses, after checking that it does no more."""
    began = time.monotonic()
    status, out, errors = run(capsys, *arguments)
    assert status not in (0, None)
    assert out == "" and "Traceback" not in errors
    assert time.monotonic() - began < 60
    lines = errors.splitlines()
    if lines[0].startswith("usage: "):  # argparse puts the usage before its line
        lines = lines[-1:]
    (line,) = lines
    return line


# What the commands say


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_help_teaches(capsys, command):
    status, out, errors = run(capsys, *command, "--help")
    assert status == 0 and errors == ""
    assert out.startswith(f"usage: sparseconv {' '.join(command)}".rstrip())
    wanted = {
        "sweep": [
            "--workers",
            "--seeds",
            "--budget",
            "--dry-run",
            "--together",
            "--scheduler",
            "EXPERIMENT",
            "8m",
        ],
        "missing": ["EXPERIMENT", "missing: N", "--summary", "mnist"],
        "table": ["--csv", "mnist"],
        "data": ["mnist", "caltech101"],
        "probe": ["probes.json"],
        "collect": ["ARCHIVE", "--unpack", ".tar.gz"],
        "release": ["NAME", "results/releases/NAME.json"],
        "measure": ["denominators.json", "layouts.json", "benchmark-cpu.json"],
        "": [*cli.COMMANDS, "examples", "--budget", "papermill notebooks/mnist.ipynb out.ipynb"],
    }
    for word in wanted["".join(command)]:
        assert word in out


def test_the_command_has_both_names():
    """`sparseconv` is what `python -m sparseconv_lib` runs."""
    (script,) = metadata.entry_points(group="console_scripts", name="sparseconv")
    assert script.value == "sparseconv_lib.__main__:main"


@pytest.mark.parametrize("package", ["numpy", "jsonschema"])
def test_the_library_installed_alone_says_what_the_command_needs(package):
    """As after `pip install .`, which brings torch alone."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from sparseconv_lib.__main__ import main; sys.exit(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "missing"], capture_output=True, text=True
    )
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr == (
        f"sparseconv: {package} is not installed; the command needs more than the library: "
        "pip install '.[study]', in the repository\n"
    )


def test_a_module_of_our_own_that_is_missing_is_a_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "sparseconv_lib.study.cli", None)
    monkeypatch.delattr(sparseconv_lib.study, "cli")
    with pytest.raises(ModuleNotFoundError):
        __main__.main()


def test_missing_closes_with_their_number(capsys):
    status, out, errors = run(capsys, "missing")
    assert status == 0 and errors == ""
    *keys, last = out.splitlines()
    pages = sweep.missing_pages(list(EXPERIMENTS))
    assert keys == [str(key) for page in pages for key in sweep.missing_keys(page)]
    assert last == f"missing: {len(keys)}"
    assert run(capsys, "missing", "mnist", "mnist")[1] == run(capsys, "missing", "mnist")[1]


def test_the_summary_counts_what_is_listed(capsys):
    names = ["two_epochs", "invariance_caltech", "mnist"]
    status, out, errors = run(capsys, "missing", *names, "--summary")
    assert status == 0 and errors == ""
    head, *rows, _, _, last = out.splitlines()
    assert head.split() == ["experiment", "missing", "of", "hours", "pages", "measured"]
    assert last == run(capsys, "missing", *names)[1].splitlines()[-1]
    for name, row in zip(names, rows, strict=True):
        count, of = (int(number) for number in row.split()[1:3])
        assert run(capsys, "missing", name)[1].splitlines()[-1] == f"missing: {count}"
        assert row.split()[0] == name and of == sum(len(p.keys) for p in EXPERIMENTS[name].pages())


def test_the_summary_tells_hours_where_they_are_known(capsys, monkeypatch):
    known = {"mnist": scaling.Lack(7, 20, 5, 2, 5400.0), "caltech": scaling.Lack(3, 4, 2, 0, None)}
    monkeypatch.setattr(scaling, "lack", lambda name, device: known[name])
    _, *rows, _, _, last = run(capsys, "missing", "mnist", "caltech", "--summary")[1].splitlines()
    assert [row.split(maxsplit=4) for row in rows] == [
        ["mnist", "7", "20", "1.5", "2 of 5"],
        ["caltech", "3", "4", "-", "0 of 2"],
    ]
    assert last == "missing: 10"


def test_a_dry_run_lists_the_pages_and_runs_nothing(capsys, monkeypatch):
    def never(*_, **__):
        raise AssertionError("a dry run ran")

    monkeypatch.setattr(sweep, "sweep", never)
    monkeypatch.setattr(sweep, "run_page", never)
    status, out, errors = run(capsys, "sweep", "mnist", "--seeds", "99", "--dry-run", "--workers=3")
    assert status == 0 and errors == ""
    first, *listed = out.splitlines()
    pages = sweep.missing_pages(["mnist"], 99)
    assert listed == [str(page.path) for page in pages] and len(pages) > 1000
    trainings = sum(len(sweep.missing_keys(page)) for page in pages)
    assert first == f"{len(pages)} pages to run ({trainings} trainings), 3 at a time"


def test_probe_tells_which_code_gave_the_same_digits(capsys, monkeypatch, tmp_path):
    path, today = tmp_path / "probes.json", provenance.code_identity()
    path.write_text(
        json.dumps(
            {
                "other": {"fair/ConvNet": [1.0], "fair/SparseConvNet": [3.0]},
                "elsewhere": {"resnet18/fair/ConvNet": [5.0, 3.02, 1.5]},
                "processors": {"elsewhere": "a slide rule"},
            }
        )
    )
    for name in ("load", "save", "processors"):
        monkeypatch.setattr(getattr(probe, name), "__defaults__", (path,))
    digits = {"fair/ConvNet": [1.0], "fair/SparseConvNet": [2.0]}
    digits["resnet18/fair/ConvNet"] = [5.0, 3.0, 1.0]
    monkeypatch.setattr(probe, "run_all", lambda: digits)
    status, out, errors = run(capsys, "probe")
    assert status == 0 and errors == ""
    assert out.splitlines() == [
        f"3 probes of code {today} in probes.json",
        "other: 1 of 3 give today's digits",
        "elsewhere: 1 of 3 give today's digits",
        f"{today}: 3 of 3 give today's digits",
    ]
    assert probe.load(path)[today] == digits and set(probe.load(path)) == {
        "other",
        "elsewhere",
        today,
    }


def test_measure_keeps_what_it_measured(capsys, monkeypatch):
    row = {"time_ratio": 1.25, "time_ratio_low": 1.1, "time_ratio_high": 1.5}
    row |= {"shape": "6 → 16", "design": "1 → 1", "network": "ConvNet", "variant": "float32"}
    row |= {"images_a_second": 54.0, "case": "MNIST"}
    found, kept = {"rounds": 3, "rows": [row], "steps": [row]}, []
    for module in (benchmark, denominators, layouts):
        monkeypatch.setattr(module, "measure", lambda: found)
        monkeypatch.setattr(
            module, "save", lambda measured: kept.append(measured) or paths.ROOT / "benchmark-x"
        )
    status, out, errors = run(capsys, "measure")
    assert (status, errors, kept) == (0, "", [found] * 3)
    assert out.splitlines() == [
        "6 → 16, 1 → 1: 1.25 times (1.10 to 1.50)",
        "kept in denominators.json; 3 rounds",
        "ConvNet, float32: 54 images/s, 1.25 times the time of float32",
        "kept in layouts.json; 3 rounds",
        "MNIST, ConvNet: 1.25 times ConvNet's step",
        "kept in benchmark-x; 3 rounds",
    ]


def test_data_tells_what_was_checked(capsys, monkeypatch):
    monkeypatch.setattr(data, "load", lambda name: data.synthetic(name, images=1200, seed=0))
    status, out, errors = run(capsys, "data", "mnist")
    assert (status, errors) == (0, "")
    assert re.fullmatch(r"\S+: 1,200 training and [\d,]+ test images, checked\n", out)


def test_table_has_the_columns_that_were_agreed(capsys):
    status, out, errors = run(capsys, "table", "mnist", "--csv")
    assert status == 0 and errors == ""
    assert out.splitlines()[0].split(",") == COLUMNS.split()


def test_a_sweep_tells_how_many_pages_failed(capsys, monkeypatch):
    given = []

    def stand_in(pages, **named):
        given.append(named)
        return [sweep.Done(page, 1.0, "failed: x" if page.seed else None) for page in pages]

    monkeypatch.setattr(sweep, "sweep", stand_in)
    status, out, _ = run(capsys, "sweep", "mnist", "--seeds", "99", "--budget", "8m", "--workers=2")
    assert status == 1
    assert re.search(r"^\d+ published, \d+ failed$", out.splitlines()[-1])
    alone = {"together": 1, "scheduler": None, "train_only": False}
    assert given == [{"workers": 2, "budget": 480.0, **alone}]
    status, out, _ = run(capsys, "sweep", "mnist", "--seeds", "99", "--train-only")
    assert status == 1 and given[1]["train_only"]
    assert re.search(r"stacks trained, \d+ failed; their records wait in results/.partial", out)


def test_the_usual_number_of_workers_and_of_trainings_that_run_as_one(capsys, monkeypatch):
    given = []
    monkeypatch.setattr(sweep, "sweep", lambda pages, **named: given.append(named) or [])
    monkeypatch.setattr(cli, "usable_cores", lambda: 16)
    for gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        for options in ("", "--together=1", "--scheduler=tcp://a:8786"):
            assert run(capsys, "sweep", "mnist", "--seeds=99", *options.split())[0] == 0
    told = [(each["workers"], each["together"], each["scheduler"]) for each in given]
    assert told == [
        (16, 1, None), (16, 1, None), (16, 1, "tcp://a:8786"),
        (16, 64, None), (1, 1, None), (1, 1, "tcp://a:8786"),
    ]  # fmt: skip


def test_control_c_ends_with_a_line(capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "sweep", stop)
    status, _, errors = run(capsys, "sweep", "mnist", "--seeds", "99")
    assert status == 130
    assert errors == "sparseconv: stopped; run the same command to go on\n"


# Bad arguments


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        ("", "required: COMMAND"),
        ("swep mnist", "'sweep'"),
        ("sweep", "required: EXPERIMENT"),
        ("sweep mnits", "experiment 'mnits' does not exist; known: caltech, resnet18"),
        ("sweep mnist mnits", "known: caltech, resnet18"),
        ("missing mnits", "known: caltech, resnet18"),
        ("table mnits", "known: caltech, resnet18"),
        ("table mnits --csv", "known: caltech, resnet18"),
        ("data mnits", "known: mnist"),
        ("sweep mnist --seeds 0", "seeds is 0; it must be a whole number, at least 1"),
        ("sweep mnist --seeds -3", "at least 1"),
        ("sweep mnist --seeds many", "invalid int value: 'many'"),
        ("sweep mnist --budget soon", "budget is 'soon'; write a time such as 90s, 8m or 1.5h"),
        ("sweep mnist --budget 0m", "8m"),
        ("sweep mnist --budget=-5m", "8m"),
        ("sweep mnist --workers 0", "--workers is 0; give at least 1"),
        ("sweep mnist --workers=-2", "at least 1"),
        ("sweep mnist --workers two", "invalid int value: 'two'"),
        ("sweep mnist --scheduler=", "--scheduler is empty; give an address such as"),
        ("sweep mnist --together 0", "--together is 0; give at least 1"),
        ("sweep mnist --workers 2 --scheduler tcp://a:1", "leave it out with --scheduler"),
        ("sweep mnist --sparsity 0.5", "unrecognized arguments: --sparsity"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(capsys, monkeypatch, arguments, remedy):
    monkeypatch.setattr(sweep, "sweep", lambda *_, **__: pytest.fail("it ran"))
    assert remedy in refusal(capsys, *arguments.split())


# Bad data


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No data and no way to fetch any: the folder that $SPARSECONV_DATA names."""
    monkeypatch.setattr(data, "_mirrors", list)
    for name, value in without_data(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "given" / "mnist"


def without_data(folder):
    (folder / "given" / "mnist").mkdir(parents=True)
    nowhere = "http://127.0.0.1:9"
    return {
        "SPARSECONV_DATA": str(folder / "given"),
        "SPARSECONV_CACHE": str(folder / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere),
    }


@pytest.mark.filterwarnings("ignore:broken file")
@pytest.mark.parametrize("state", ["missing", "corrupt"])
def test_missing_and_corrupt_data_files(capsys, offline, state):
    if state == "corrupt":
        for name in data.MNIST_SHA256:
            (offline / name).write_bytes(b"\0\0\x08\x03 and then something else")
    line = refusal(capsys, "data", "mnist")
    assert "Remedy: get online and try again, or put the files" in line
    assert str(offline) in line
    assert ("sha256" in line) == (state == "corrupt")


def test_a_cache_that_cannot_be_written(capsys, offline, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPARSECONV_CACHE", str(tmp_path / "file" / "cache"))
    assert "name a writable one in $SPARSECONV_CACHE" in refusal(capsys, "data", "mnist")


# A checkout of one's own: a copy of this one, with what records we like

IN_A_COPY = """
import contextlib, io, json, os, sys
from pathlib import Path
import pandas, scipy.stats  # before we are nobody, who may read less
from sparseconv_lib.study import cli, data, paths, records, statistics, sweep, tables
assert paths.ROOT == Path.cwd(), paths.ROOT

def run(*arguments):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = cli.main(arguments)
    return status, out.getvalue(), errors.getvalue()

told = {"empty": run("table", "mnist"), "none": run("missing", "mnist")}
for content in json.load(open(sys.argv[1])):
    records.write(records.Record(content))
told["table"], told["csv"] = run("table", "mnist"), run("table", "mnist", "--csv")
page = Path("book/runs/mnist/as_written-p0.50-seed0.ipynb")
page.parent.mkdir(parents=True)
page.touch()
told["some"] = run("missing", "mnist")
victim = next(Path("results/mnist/as_written").glob("*seed1.json"))
whole = victim.read_text()
victim.write_text(whole[: len(whole) // 2])
told["cut table"], told["cut sweep"] = run("table", "mnist"), run("sweep", "mnist", "--seeds", "1")
assert victim.read_text() == whole[: len(whole) // 2]  # left for the user to mend
victim.write_text(whole)
os.chmod("results", 0o555)
if os.geteuid() == 0:
    os.setuid(65534)  # no folder is read-only to root
told["read-only"] = run("sweep", "mnist", "--seeds", "1", "--workers", "1")
json.dump({"victim": str(victim), "told": told}, sys.stdout)
"""


@pytest.fixture(scope="module")
def copy():
    """What commands told in a copy of this checkout: name -> (status, output, errors)."""
    import tempfile  # pytest's own folders are closed to others than us

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        top = Path(folder)
        for name in ("results", "book/runs"):
            (top / name).mkdir(parents=True)
        shutil.copytree(
            paths.ROOT / "sparseconv_lib",
            top / "sparseconv_lib",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        content = [a_record(n, 0.5, seed).content for n in NETWORKS for seed in range(3)]
        (top / "records.json").write_text(json.dumps(content))
        done = subprocess.run(
            [sys.executable, "-c", IN_A_COPY, "records.json"],
            cwd=top,
            env={**os.environ, "PYTHONPATH": folder, "SPARSECONV_COMMIT": "none"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        yield {**json.loads(done.stdout), "folder": folder}


def test_without_records_everything_is_missing(copy):
    status, out, errors = copy["told"]["empty"]
    assert (status, errors) == (0, "")
    assert out == "no records of mnist; run `sparseconv sweep mnist`\n"
    status, out, _ = copy["told"]["none"]
    count = sum(len(page.keys) for page in EXPERIMENTS["mnist"].pages())
    assert status == 0 and out.splitlines()[-1] == f"missing: {count}"
    assert out.splitlines()[0] == "mnist as_written ConvNet p=0 seed 0"


def test_with_some_records_the_rest_is_missing(copy):
    status, out, _ = copy["told"]["some"]
    before = copy["told"]["none"][1].splitlines()
    expected = [line for line in before[:-1] if not line.endswith("p=0.5 seed 0")]
    assert status == 0 and out.splitlines()[:-1] == expected
    assert out.splitlines()[-1] == f"missing: {len(before) - 1 - len(NETWORKS)}"


def test_the_table_holds_the_numbers_of_the_records(copy):
    status, out, errors = copy["told"]["csv"]
    assert (status, errors) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["network"] for row in rows] == list(NETWORKS)
    assert list(rows[0]) == COLUMNS.split()
    for row, network in zip(rows, NETWORKS, strict=True):
        values = [a_record(network, 0.5, seed).accuracy for seed in range(3)]
        mean = sum(values) / 3
        sd = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
        assert float(row["mean"]) == pytest.approx(mean, abs=1e-7)
        assert float(row["sd"]) == pytest.approx(sd, abs=1e-7)
        half = 4.302653 * sd / 3**0.5  # the 97.5 % point of t with two degrees of freedom
        assert float(row["low"]) == pytest.approx(mean - half, abs=1e-6)
        assert float(row["high"]) == pytest.approx(mean + half, abs=1e-6)
        assert (row["n"], row["dataset"], row["protocol"]) == ("3", "mnist", "as_written")
        assert row["metric"] == "accuracy" and row["device"] == "an invented processor, 2 cores"
        assert float(row["train_sparsity"]) == float(row["test_sparsity"]) == 0.5
    shown = copy["told"]["table"][1]
    assert shown.splitlines()[0].split() == COLUMNS.split() and len(shown.splitlines()) == 5


@pytest.mark.parametrize("command", ["cut table", "cut sweep"])
def test_a_record_cut_in_half_is_named_with_its_remedy(copy, command):
    status, _, errors = copy["told"][command]
    assert status == 1
    (line,) = errors.splitlines()
    assert copy["victim"] in line and "not a whole record" in line
    assert "git checkout" in line and "sparseconv sweep" in line


def test_a_read_only_results_folder_is_named_with_its_remedy(copy):
    status, _, errors = copy["told"]["read-only"]
    assert status == 1
    assert errors == (
        f"sparseconv: cannot write to {copy['folder']}/results; run in a checkout that is yours\n"
    )


def test_a_reader_that_has_seen_enough_is_no_error():
    """`python -m sparseconv_lib missing | head -1`: quiet, as every command of a pipe is."""
    command = [sys.executable, "-m", "sparseconv_lib", "sweep", "mnist", "--seeds", "999"]
    with subprocess.Popen(
        [*command, "--dry-run"],
        cwd=paths.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert "pages to run" in process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        status = process.wait(timeout=300)
    assert errors == ""
    assert status == 0


# Bad parameters of the notebook

NOTEBOOK = paths.NOTEBOOKS / "mnist.ipynb"


@pytest.fixture(scope="module")
def until_parameters():
    """Runs the notebook up to the check of its parameters: a function of what papermill injects."""
    code = [
        cell for cell in cells_of(NOTEBOOK.with_suffix(".py")).cells if cell.cell_type == "code"
    ]
    (at,) = [i for i, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])]
    before = {}
    for cell in code[:at]:
        rest, found, remember = cell.source.partition("_before =")
        exec(rest, before)
    assert found

    def check(**injected):
        names = dict(before)
        exec(found + remember, names)
        exec(code[at].source, names)
        names.update(injected)
        exec(code[at + 1].source, names)
        return names

    return check


def test_good_parameters_pass(until_parameters):
    names = until_parameters(sparsity=0, networks="SparseConvNet-kept", seed=2, seeds=3)
    assert [str(key) for key in names["keys"]] == [
        f"mnist as_written SparseConvNet-kept p=0 seed {seed}" for seed in (2, 3, 4)
    ]
    assert len(until_parameters()["keys"]) == 3


@pytest.mark.parametrize(
    "injected, told",
    [
        ({"sparsty": 0.8}, "unknown parameter sparsty; known: networks, protocol, seed, seeds,"),
        ({"epochs": 1, "lr": 2}, "unknown parameter epochs, lr; known: "),
        ({"sparsity": 1.0}, "sparsity is 1.0; it must be a number from 0"),
        ({"sparsity": -0.1}, "sparsity is -0.1; it must be a number from 0"),
        ({"sparsity": "abc"}, "sparsity is 'abc'; it must be a number from 0"),
        ({"sparsity": float("nan")}, "sparsity is nan; it must be a number from 0"),
        ({"sparsity": float("inf")}, "sparsity is inf; it must be a number from 0"),
        ({"sparsity": None}, "sparsity is None; it must be a number from 0"),
        ({"sparsity": True}, "sparsity is True; it must be a number from 0"),
        ({"networks": "LeNet"}, "network 'LeNet' does not exist; known: ConvNet, "),
        ({"networks": "ConvNet, LeNet"}, "network 'LeNet' does not exist; known: ConvNet, "),
        ({"networks": ""}, "known: ConvNet, "),
        ({"networks": []}, "name at least one"),
        ({"networks": "ConvNet, ConvNet"}, "only once"),
        ({"networks": 3}, "give one or more of ConvNet"),
        ({"protocol": "as_wrote"}, "protocol is 'as_wrote'; choose one of as_written, "),
        ({"protocol": 1}, "choose one of as_written, "),
        ({"seeds": 0}, "seeds is 0; it must be a whole number, at least 1"),
        ({"seeds": 1.5}, "seeds is 1.5; it must be a whole number, at least 1"),
        ({"seed": -1}, "seed is -1; it must be a whole number, at least 0"),
        ({"seed": "first"}, "seed is 'first'; it must be a whole number, at least 0"),
        ({"source": "guess"}, "choose 'train' (train now) or 'records'"),
    ],
    ids=str,
)
def test_bad_parameters_are_one_clear_line(until_parameters, injected, told):
    with pytest.raises(protocol.ParameterError) as error:
        until_parameters(**injected)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("injected", [{"data": 5}, {"records": "x"}], ids=str)
def test_an_unknown_name_that_the_notebook_uses_itself_is_refused_too(until_parameters, injected):
    with pytest.raises(protocol.ParameterError, match=f"unknown parameter {next(iter(injected))}"):
        until_parameters(**injected)


@pytest.fixture(scope="module")
def papermills(tmp_path_factory):
    """Three calls of papermill side by side, as a user types them: name -> (status, errors)."""
    folder = tmp_path_factory.mktemp("papermill")
    env = {**os.environ, "SPARSECONV_SOURCE": "train", **without_data(folder)}
    for name in data.MNIST_SHA256:
        (folder / "given" / "mnist" / name).write_bytes(b"cut")
    calls = {"sparsty": ["-p", "sparsty", "0.8"], "nan": ["-p", "sparsity", "nan"], "data": []}
    running = {
        name: subprocess.Popen(
            [Path(sys.executable).parent / "papermill", NOTEBOOK, folder / f"{name}.ipynb", *given],
            env=env,
            cwd=paths.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, given in calls.items()
    }
    told = {name: process.communicate(timeout=300)[1] for name, process in running.items()}
    return {name: (process.returncode, told[name]) for name, process in running.items()}


@pytest.mark.parametrize(
    "name, last",
    [
        ("sparsty", r"ParameterError: unknown parameter sparsty; known: networks, protocol, .*"),
        ("nan", r"ParameterError: sparsity is nan; it must be a number from 0 .*"),
        ("data", r"DataError: MNIST: no whole .* sha256 .*Remedy: get online .*"),
    ],
)
def test_papermill_ends_with_the_one_line(papermills, name, last):
    status, errors = papermills[name]
    assert status != 0
    lines = errors.strip().splitlines()
    assert re.fullmatch(last, re.sub(r"\x1b\[[0-9;]*m", "", lines[-1]))
    # papermill's own traceback comes first; of ours there is none.
    assert str(paths.ROOT / "sparseconv_lib") not in errors
