"""Bad input of every kind, wherever it enters: one clear line, soon, and no traceback of ours.

Properties over any value of every parameter of every notebook and of every option of every command;
damaged files; and that nothing in the library reads what could run code.
"""

import ast
import contextlib
import json
import math
import re
import time

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_records import a_record

from sparseconv_lib.study import benchmark, caltech, cli, collect, records, releases, runner, sweep
from sparseconv_lib.study.data_error import DataError
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.notebooks import cells_of
from sparseconv_lib.study.one_line import LONGEST, one_line
from sparseconv_lib.study.paths import NOTEBOOKS, ROOT
from sparseconv_lib.study.protocol import ParameterError
from sparseconv_lib.study.records import RecordError
from sparseconv_lib.study.releases import ReleaseError

MANY = settings(
    max_examples=40,
    # In milliseconds: no refusal waits for data or a training. On a busy machine it takes a while.
    deadline=60_000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def is_one_line(text):
    return 0 < len(text) <= LONGEST + 100 and text.isprintable()


# Messages


@given(st.text(max_size=2000))
def test_a_message_is_one_line_and_not_long(text):
    shown = one_line(text)
    assert shown.isprintable() and len(shown) <= LONGEST
    if text.isprintable() and len(text) <= LONGEST:
        assert shown == text


def test_a_long_message_keeps_its_beginning_and_its_end():
    shown = one_line(f"sparsity is {'9' * 5000}; it must be a number")
    assert shown.startswith("sparsity is 999") and shown.endswith("it must be a number")
    assert one_line("a\nb\x00\x1b[31m\u202e") == r"a\nb\x00\x1b[31m\u202e"


# Parameters of notebooks

SOURCES = sorted(NOTEBOOKS.glob("*.py"))
# Python neither reads nor writes a whole number of more than 4,300 digits.
HUGE = [10**30, -(10**30), 10**4000, 1e308, "9" * 20_000, "x" * 20_000, [0] * 5000]
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=9),
    st.lists(st.one_of(st.integers(), st.text()), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    st.sampled_from([math.nan, math.inf, -math.inf, "", " ", "\n", "nan", "0.5", "ConvNet\n", "é"]),
    st.sampled_from(HUGE),
)  # fmt: skip
changes = st.lists(
    st.tuples(
        st.sampled_from([
            "batch_size", "epochs", "learning_rates", "momentum", "side", "held_out", "patience",
            "fill", "trial_epochs", "drop_after", "masks", "evaluation", "batch_norm", "dataset",
            "", "optimiser", "scaling", "x",
        ]),
        st.one_of(
            st.integers().map(str), st.floats().map(str), st.text(max_size=9),
            st.sampled_from(["", "1e999", "0.1 nan", "true", "batch", "adam", "9" * 6000, "1\n2"]),
        ),
    ).map("=".join),
    max_size=3,
).map(lambda parts: ", ".join(["as_written", *parts]))  # fmt: skip


@pytest.fixture(scope="module")
def checks():
    """Notebook -> (its parameters, a function that checks them as a run of it would)."""
    made = {}
    for source in SOURCES:
        code = [cell for cell in cells_of(source).cells if cell.cell_type == "code"]
        (at,) = [i for i, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])]
        before = {}
        for cell in code[:at]:
            rest, found, remember = cell.source.partition("_before =")
            exec(rest, before)
        # Of a page that checks and then reads or measures, only what checks.
        body = ast.parse(code[at + 1].source).body
        kept = [n for n in body if "report_forensics" not in ast.unparse(n)]
        check = ast.unparse(ast.Module(kept, []))

        def run(injected, before=before, first=found + remember, given=code[at].source, then=check):
            names = dict(before)
            exec(first, names)
            exec(given, names)
            names.update(injected)
            exec(then, names)

        made[source.stem] = (
            [
                target.id
                for node in ast.parse(code[at].source).body
                if isinstance(node, ast.Assign)
                for target in node.targets
            ],
            run,
        )
    return made


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch):
    monkeypatch.setattr(benchmark, "measure", lambda **_: {})


def accepted(run, injected):
    """Whether a notebook takes these parameters; if not, that it says so in one line."""
    began = time.monotonic()
    try:
        run(injected)
    except ParameterError as error:
        told = str(error)
    else:
        return True
    assert time.monotonic() - began < 60
    assert "\n" not in told and told.strip()
    return False


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@given(data=st.data())
@MANY
def test_any_value_of_a_parameter_is_taken_or_refused_in_one_line(checks, source, data):
    names, run = checks[source.stem]
    injected = {}
    for name in names:
        if data.draw(st.booleans(), label=f"change {name}"):
            of_it = st.one_of(anything, changes) if name == "protocol" else anything
            injected[name] = data.draw(of_it, label=name)
    if "seeds" in injected and injected["seeds"] is not True:
        injected["seeds"] = data.draw(st.sampled_from([injected["seeds"], 10**9]), label="seeds")
    accepted(run, injected)


BAD = {
    "sparsity": st.one_of(
        st.floats(min_value=1), st.floats(max_value=-1e-9), st.text(), st.none(), st.booleans(),
        st.sampled_from([math.nan, "0.5", [0.5], *HUGE]),
    ),
    "protocol": st.one_of(
        st.text().filter(lambda text: text.split(",")[0].strip() not in (
            "as_written", "as_coded", "fair", "compounding", "reduced", "caltech101", "elevation",
            "depth_reduced", "depth", "digits")),
        st.none(), st.integers(), st.sampled_from(HUGE),
        st.sampled_from(["as_written, batch_size=0", "as_written, batch_size=1e3", "fair, fair",
                         f"as_written, batch_size={10**12}", f"as_written, epochs={10**12}",
                         "as_written,", "as_written, x=1", "as_written, learning_rates=nan"]),
    ),
    "networks": st.one_of(
        st.text(alphabet="abc, \n", max_size=9), st.none(), st.integers(), st.sampled_from(HUGE),
        st.sampled_from(["ConvNet, ConvNet", "convnet", "ConvNet,", ["ConvNet", 3], []]),
    ),
    "seed": st.one_of(
        st.integers(max_value=-1), st.floats(), st.text(), st.none(), st.booleans(),
    ),
    "seeds": st.one_of(
        st.integers(max_value=0), st.integers(min_value=1001), st.floats(), st.text(), st.none(),
    ),
    "source": st.one_of(
        st.text().filter(lambda text: text not in ("train", "records")), st.none(), st.integers(),
    ),
    "variant": st.one_of(
        st.none(), st.integers(), st.text(alphabet="xyz+ \n", min_size=1, max_size=9),
        st.sampled_from(["text+text", "code+dense", "+", "Text"]),
    ),
    "quick": st.one_of(st.none(), st.integers(2), st.text()),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@given(data=st.data())
@MANY
def test_a_bad_value_of_a_parameter_is_refused(checks, source, data):
    names, run = checks[source.stem]
    assert set(names) <= set(BAD)
    if not names:
        assert not accepted(run, {data.draw(st.sampled_from(["source", "sparsity"])): 1})
        return
    name = data.draw(st.sampled_from(names))
    assert not accepted(run, {name: data.draw(BAD[name], label=name)})


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@given(name=st.from_regex(r"[a-zé][a-z0-9_]{3,40}", fullmatch=True).filter(str.isidentifier))
@MANY
def test_a_parameter_of_another_name_is_refused(checks, source, name):
    names, run = checks[source.stem]
    if name not in names:
        assert not accepted(run, {name: 1})


@pytest.mark.parametrize("value", HUGE, ids=lambda value: str(type(value).__name__))
@pytest.mark.parametrize("name", ["sparsity", "protocol", "networks", "seeds", "source"])
def test_a_huge_value_is_not_told_whole(name, value):
    usual = {"sparsity": 0.5, "protocol": "as_written", "networks": "ConvNet",
             "seed": 0, "seeds": 1, "source": "train"}  # fmt: skip
    with pytest.raises(ParameterError) as error:
        runner.asked("mnist", **usual | {name: value})
    assert is_one_line(str(error.value))


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"seeds": 1001}, "seeds is 1001; give at most 1,000"),
        ({"protocol": "as_written, batch_size=60001"}, "batch_size is 60001; give at most 60,000"),
        ({"protocol": "as_written, epochs=100001"}, "epochs is 100001; give at most 100,000"),
    ],
)
def test_what_no_machine_could_do_is_refused(changed, told):
    usual = dict(sparsity=0.5, protocol="as_written", networks="ConvNet", seed=0, seeds=1)
    with pytest.raises(ParameterError, match=told):
        runner.asked("mnist", **usual | changed, source="train")


# Options of commands

words = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "\n", "\x00", "nan", "-1", "1e3", "0", "..", "x" * 10_000, "9" * 10_000]),
    st.sampled_from(["\udcff", "-" * 99, "a\nb", "\u0663", "\x1b[31m", "/", "é", "mnist\n"]),
).filter(lambda word: not re.match("-h|--h", word))  # which asks for help, and is no bad input


def _no_numbers():
    raise releases.ReleaseError("the name is good, and no numbers are read here")


@pytest.fixture
def no_work(monkeypatch, tmp_path):
    """Commands do what they do in a folder of their own, and none of it takes long."""
    monkeypatch.setattr(sweep, "sweep", lambda *_, **__: [])
    monkeypatch.setattr(sweep, "missing_pages", _few_pages)
    monkeypatch.setattr(cli.os, "dup2", lambda *_: None)
    for name in ("_probe", "_measure"):
        monkeypatch.setitem(cli.COMMANDS, name[1:], lambda _: 0)
    pack, unpack, write = collect.pack, collect.unpack, releases.write
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(collect, "pack", lambda path: pack(path, tmp_path))
    monkeypatch.setattr(collect, "unpack", lambda path: unpack(path, tmp_path))
    monkeypatch.setattr(releases, "write", lambda name: write(name, tmp_path / "releases"))
    monkeypatch.setattr(releases, "today", _no_numbers)
    monkeypatch.setenv("SPARSECONV_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def _few_pages(names, seeds=None, root=ROOT):
    return [next(sweep.experiment(name).pages(seeds)) for name in names]


def told(capsys, arguments):
    """(exit status, the line) of a command, after checking that it ends soon and in one line."""
    began = time.monotonic()
    try:
        status = cli.main(arguments)
    except SystemExit as stop:  # argparse's
        status = stop.code
    captured = capsys.readouterr()
    assert time.monotonic() - began < 60
    lines = captured.err.splitlines()
    while lines and not lines[0].startswith("sparseconv"):  # the usage, which argparse puts first
        lines.pop(0)
    assert len(lines) <= 1 and "Traceback" not in captured.err
    assert status in (0, 1, 2) and (status == 0 or is_one_line(lines[0])), captured.err[-300:]
    return status, "".join(lines)


OPTIONS = {
    "sweep": ["--workers", "--together", "--scheduler", "--seeds", "--budget", "--x"],
    "missing": ["--x"], "table": ["--x", "--csv"], "data": ["--x"],
    "collect": ["--x", "--unpack"], "release": ["--x"], "probe": ["--x"], "measure": ["--x"],
}  # fmt: skip


def test_every_command_is_tried():
    assert set(OPTIONS) == set(cli.COMMANDS)


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
@given(data=st.data())
@MANY
def test_any_words_after_a_command_are_taken_or_refused_in_one_line(no_work, capsys, command, data):
    arguments = data.draw(st.lists(words, max_size=2), label="words")
    for option in data.draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=2)):
        arguments += [option, *data.draw(st.lists(words, max_size=1))]
    if command == "collect" and "--unpack" not in arguments:
        arguments = [word for word in arguments if "/" not in word]  # it might be a place to write
    if command == "sweep" and data.draw(st.booleans()):
        arguments.insert(0, "mnist")
    told(capsys, [command, *arguments])


@pytest.mark.parametrize("option", ["--workers", "--together", "--seeds", "--budget"])
@given(value=st.one_of(
    st.integers(max_value=0).map(str), st.integers(min_value=1001).map(str),
    st.floats().filter(lambda x: not x > 0 or math.isinf(x)).map(str),
    st.sampled_from(["", "nan", "-1m", "x" * 9000, "9" * 9000 + "x", "1 2", "m", "0x10", "1e3"]),
))  # fmt: skip
@MANY
def test_a_number_that_cannot_be_is_refused(no_work, capsys, option, value):
    if option == "--budget" and re.fullmatch(r"\d+", value) and int(value):
        return  # any number of seconds is a budget
    status, line = told(capsys, ["sweep", "mnist", f"{option}={value}"])
    assert status == 2 and is_one_line(line)


@pytest.mark.parametrize("name", ["", "x" * 101, "../x", "a b", "\n", "-", "\x00", "é"])
def test_a_release_of_no_good_name_is_refused_before_the_numbers_are_read(no_work, capsys, name):
    status, line = told(capsys, ["release", "--", name])
    assert status == 1 and "use at most 100 letters" in line


@pytest.mark.parametrize("name", ["\x00", "x" * 300, "no/such/folder", "file/x"])
def test_a_place_that_cannot_be_is_told_before_records_are_packed(
    no_work, capsys, monkeypatch, name
):
    monkeypatch.setattr(collect, "_published", lambda _: pytest.fail("it read the records"))
    open("file", "w").close()
    status, _ = told(capsys, ["collect", name])
    assert status in (1, 2)


# Damaged files


@given(data=st.data())
@settings(MANY, max_examples=200)
def test_a_record_with_any_flipped_bits_is_refused_or_whole(tmp_path_factory, data):
    content = json.dumps(a_record().content, indent=1).encode()
    text = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = a_record().key.path(tmp_path_factory.getbasetemp())
    try:
        record = records.parse(bytes(text), path)
    except RecordError:
        pass
    else:  # a digit or a letter became another
        assert records.validated(record.content, "it") == record
        assert record.key == a_record().key


SPLIT = "file,sha256,part\n" + "".join(
    f"Class_{i % 3}/image_{i:04}.jpg,{i:064x},{'train' if i < 8 else 'test'}\n" for i in range(10)
)


def read_split(folder, content):
    path = folder / f"{time.monotonic_ns()}.csv"  # another each time: what is read is remembered
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return caltech.read_manifest(path)


def test_a_split_is_read(tmp_path):
    assert len(read_split(tmp_path, SPLIT)) == 10
    assert read_split(tmp_path, SPLIT.replace("\n", "\r\n")) == read_split(tmp_path, SPLIT)


@pytest.mark.parametrize(
    "content",
    [
        "",
        SPLIT[:-30],
        SPLIT.replace("part", "set", 1),
        SPLIT.replace("part\n", "part,fold\n", 1),
        SPLIT.replace(",train", ",train,3"),
        SPLIT.replace("train", "trial", 1),
        SPLIT.replace("Class_1/", "../", 1),
        SPLIT.replace("Class_1/", "/", 1),
        SPLIT.replace("0" * 60, "g" * 60, 1),
        SPLIT + '"\n',
        b"\xff\xfe" + SPLIT.encode(),
        SPLIT.replace("1", "\x00", 1),
    ],
    ids=range(12),
)
def test_a_damaged_split_is_refused(tmp_path, content):
    with pytest.raises(DataError, match="not a whole list of images .*git checkout") as error:
        read_split(tmp_path, content)
    assert "\n" not in str(error.value)


@given(data=st.data())
@MANY
def test_a_split_with_flipped_bits_is_refused_or_of_the_same_form(tmp_path_factory, data):
    text = bytearray(SPLIT.encode())
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read_split(tmp_path_factory.getbasetemp(), bytes(text))
    except DataError:
        pass
    else:
        assert all(caltech._is_entry(entry) for entry in found)


def test_the_committed_split_is_known_to_the_last_bit(tmp_path, monkeypatch):
    content = caltech.MANIFEST.read_bytes()
    copy = tmp_path / "caltech101.csv"
    monkeypatch.setattr(caltech, "MANIFEST", copy)
    read = caltech.read_manifest.__wrapped__
    copy.write_bytes(content)
    assert len(read(copy)) == 8_677
    lines = content.splitlines(keepends=True)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for other in (b"".join(lines[:-1]), content[:-1], bytes(flipped), content + lines[-1]):
        copy.write_bytes(other)
        with pytest.raises(DataError, match="git checkout"):
            read(copy)


@given(data=st.data())
@MANY
def test_a_damaged_release_is_refused_or_of_the_same_form(tmp_path_factory, data):
    head = {"name": "1.0", "made": "2026-01-01T00:00:00+00:00", "commit": "x", "code": "y"}
    cell = ["mnist", "as_written", "ConvNet", "accuracy", 0.5, 0.5, 3, 0.75, None]
    text = bytearray(json.dumps({**head, "cells": [cell]}).encode())
    if data.draw(st.booleans()):
        text = text[: data.draw(st.integers(0, len(text) - 1))]
    else:
        text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "1.0.json"
    path.write_bytes(text)
    with contextlib.suppress(ReleaseError):
        assert releases.read(path).name == "1.0"


# What could run code is not there


def code():
    """name -> source, of the library, the notebooks and what builds the book."""
    found = {
        str(path.relative_to(ROOT)): path.read_text("utf-8")
        for folder in ("sparseconv_lib", "notebooks", "book/_ext")
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        found[path.name] = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return found


def dangers(source):
    """What of a source could run the code in a file that it reads."""
    problems = []
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None) or ""
            for name in (module, *names):
                if name.split(".")[0] in ("pickle", "dill", "joblib", "shelve", "marshal",
                                          "cloudpickle", "jsonpickle"):  # fmt: skip
                    problems.append(f"imports {name}")
            if module in ("numpy", "torch", "yaml", "builtins"):  # lest a call escape by its name
                problems += [
                    f"imports {n}" for n in names if n in ("load", "eval", "exec", "full_load")
                ]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        last = called.rsplit(".", 1)[-1]
        if called in ("eval", "exec", "compile", "__import__") or called.startswith("builtins."):
            problems.append(called)
        if called == "torch.load" and given.get("weights_only") != "True":
            problems.append(called)
        if called in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
            problems.append(called)
        if given.get("allow_pickle", "False") != "False" or given.get("shell", "False") != "False":
            problems.append(f"{called}({given})")
        if called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"):
            problems.append(called)
        if last in ("extractall", "extract") and given.get("filter") != "'data'":
            problems.append(called)
        if called in ("os.system", "os.popen", "shutil.unpack_archive", "torch.hub.load",
                      "pandas.read_pickle", "pd.read_pickle", "torch.jit.load"):  # fmt: skip
            problems.append(called)
    return problems


def test_nothing_that_is_read_can_run_code():
    found = code()
    assert len(found) > 90
    problems = {name: wrong for name, source in found.items() if (wrong := dangers(source))}
    # One pickle is read, of a package whose sum is known, and of it nothing but arrays.
    assert problems == {"sparseconv_lib/study/data.py": ["imports pickle"]}
    tree = ast.parse(found["sparseconv_lib/study/data.py"])
    used = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("pickle.")
    ]
    assert used == ["pickle.Unpickler"]
    (unpickler,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "pickle.Unpickler" in map(ast.unparse, node.bases)
    ]
    assert "find_class" in [getattr(node, "name", "") for node in unpickler.body]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import joblib", "eval('1')", "exec(x)",
        "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)",
        "np.load(path, allow_pickle=True)", "numpy.load(path)", "yaml.load(x)",
        "yaml.load(x, Loader=yaml.SafeLoader)", "tar.extractall(path)",
        "tar.extractall(path, filter='fully_trusted')", "tar.extract(member)", "os.system('ls')",
        "subprocess.run('ls', shell=True)", "from numpy import load", "import a, shelve as b",
        "torch.hub.load('a', 'b')", "pandas.read_pickle(x)", "__import__(name)",
    ],
)  # fmt: skip
def test_the_search_finds_what_could_run_code(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)",
        "yaml.safe_load(x)", "tar.extractall(path, filter='data')", "net.eval()", "json.load(x)",
        "re.compile('x')",
    ],
)  # fmt: skip
def test_the_search_leaves_the_rest_alone(source):
    assert not dangers(source)


def test_our_errors_are_shown_without_their_frames():
    """Each is a OneLineError, which IPython asks for its line."""
    for error in (ParameterError, RecordError, DataError, ReleaseError, collect.CollectError):
        assert issubclass(error, OneLineError)
        assert error("what, and the remedy")._render_traceback_() == [
            f"{error.__name__}: what, and the remedy"
        ]
