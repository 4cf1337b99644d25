"""Records: written whole or not at all, never rewritten, and read only if they are whole.

`a_record` invents records for the tests of everything that reads them.
"""

import base64
import dataclasses
import errno
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import data, paths, records
from sparseconv_lib.study.grid import Page
from sparseconv_lib.study.paths import RESULTS
from sparseconv_lib.study.protocol import PRESETS, ParameterError, preset
from sparseconv_lib.study.records import Key, Record, RecordError
from sparseconv_lib.study.traced import behind

MNIST_IDENTITY = data._identity(list(data.MNIST_SHA256.values()))


def a_record(
    network="ConvNet", sparsity=0.5, seed=0, protocol="as_written", experiment="mnist", **changes
):
    """An invented record, whole and valid; `changes` replace its top fields."""
    knobs = dataclasses.asdict(preset(protocol))
    accuracy = 0.9 - sparsity / 4 + seed % 50 / 1000 + NETWORKS.index(network) / 100
    content = {
        "version": records.VERSION,
        "experiment": experiment,
        "protocol": protocol,
        "network": network,
        "sparsity": sparsity,
        "seed": seed,
        "knobs": {**knobs, "learning_rates": list(knobs["learning_rates"])},
        "epochs": [
            {"loss": 0.5, "train_accuracy": 0.8, "test_accuracy": 0.85, "seconds": 12.5},
            {"loss": 0.25, "train_accuracy": 0.9, "test_accuracy": accuracy, "seconds": 12.25},
        ],
        "curve": [0.75, 0.5, 0.25],
        "candidates": [
            {"learning_rate": 1e-3, "epochs": 2, "best_epoch": 1, "held_out_accuracy": 0.0}
        ],
        "accuracy": {f"{sparsity:g}": accuracy},
        "images": {"train": 60_000, "test": 10_000},
        "identity": {
            "code": "0123456789abcdef",
            "data": MNIST_IDENTITY,
            "split": "standard",
            "masks": f"{seed:08x}{round(sparsity * 1000):08x}",
        },
        "provenance": {
            "device": "an invented processor, 2 cores",
            "threads": 1,
            "versions": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
            "started": "2026-01-01T00:00:00+00:00",
            "seconds": 25.0,
            "commit": "0" * 40,
            "page": str(Page(experiment, protocol, sparsity, seed, NETWORKS).path),
        },
    }
    return Record(json.loads(json.dumps({**content, **changes})))


def write_content(folder, content):
    """`content` where the invented record belongs, by other means than records.write."""
    path = a_record().key.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def seven_digits(value):
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {name: seven_digits(item) for name, item in value.items()}
    return [seven_digits(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "sparsity, name",
    [(0.0, "0.00"), (0.5, "0.50"), (0.95, "0.95"), (0.125, "0.125"), (0.333333, "0.333333")],
)
def test_a_sparsity_in_names_has_two_digits_or_as_many_as_it_needs(sparsity, name):
    assert records.sparsity_in_names(sparsity) == name


ANSWERS = [True] * 6 + [False] * 5  # to 11 test images: two bytes, five bits of them unused


def with_answers(bits=ANSWERS, accuracy=0.5454545, sparsity="0.5", text=None, images=11):
    """The content of a record that keeps its answers to its test images, as packed by hand."""
    padded = "".join("01"[bit] for bit in bits).ljust(-(-len(bits) // 8) * 8, "0")
    packed = bytes(int(padded[i : i + 8], 2) for i in range(0, len(padded), 8))
    return a_record(
        accuracy={"0.5": accuracy},
        images={"train": 20, "test": images},
        correct={sparsity: text or base64.b64encode(packed).decode()},
    ).content


def test_answers_that_fit_their_record(tmp_path):
    record = records.read(write_content(tmp_path, with_answers()))
    assert record.correct_at(0.5).tolist() == ANSWERS
    assert records.pack(torch.tensor(ANSWERS)) == record.content["correct"]["0.5"]


@pytest.mark.parametrize(
    "content, named",
    [
        (with_answers(ANSWERS[:8]), "correct/0.5 holds 1 bytes, not a bit for each of 11"),
        (with_answers([*ANSWERS, *ANSWERS]), "correct/0.5 holds 3 bytes"),
        (with_answers(accuracy=0.6363636), "correct/0.5 has a mean of 0.5454545, but the accuracy"),
        (with_answers(sparsity="0.3"), "correct/0.3 has no accuracy beside it"),
        (with_answers(text="Zm9vYg="), "padding"),
        (with_answers(text=with_answers()["correct"]["0.5"].replace("=", "!=")), "match"),
        (with_answers(text=with_answers()["correct"]["0.5"] + "\n"), "Excess data"),
        (with_answers([True] * 4 + [False] * 4, 0.5625, images=8), "has a mean of 0.5, but"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answers_that_do_not_fit_their_record(tmp_path, content, named):
    path = write_content(tmp_path, content)
    with pytest.raises(RecordError) as error:
        records.read(path)
    assert named in one_line(error, path)


# Keys


def test_keys_order_as_a_table_is_read():
    """By experiment, protocol, network, sparsity as a number, seed as a number."""
    keys = [
        Key("a", "x", "ConvNet", 0.5, 3),
        Key("mnist", "as_coded", "SparseConvNet", 0.9, 9),
        Key("mnist", "as_written", "ConvNet", 0.05, 2),
        Key("mnist", "as_written", "ConvNet", 0.05, 10),
        Key("mnist", "as_written", "ConvNet", 0.1, 0),
        Key("mnist", "as_written", "SparseConvNet", 0.0, 0),
    ]
    assert sorted(set(keys)) == keys
    assert len({*keys, *map(dataclasses.replace, keys)}) == len(keys)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"network": "LeNet"}, "network 'LeNet'"),
        ({"sparsity": 1.0}, "sparsity is 1.0"),
        ({"sparsity": -0.1}, "sparsity is -0.1"),
        ({"sparsity": math.nan}, "sparsity is nan"),
        ({"sparsity": "abc"}, "sparsity is 'abc'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": True}, "seed is True"),
    ],
)
def test_a_key_that_no_training_can_have(change, named):
    with pytest.raises(ParameterError) as error:
        Key(
            **{
                "experiment": "mnist",
                "protocol": "as_written",
                "network": "ConvNet",
                "sparsity": 0.5,
                "seed": 0,
                **change,
            }
        )
    assert named in str(error.value) and "\n" not in str(error.value)


def test_every_training_of_the_grid_has_a_file_of_its_own():
    from sparseconv_lib.study.grid import EXPERIMENTS

    keys = [key for each in EXPERIMENTS.values() for page in each.pages() for key in page.keys]
    assert len(keys) >= 480
    assert len({str(key.path()).lower() for key in keys}) == len(keys)  # also on a Mac


def test_a_protocol_with_changes_has_a_name_that_any_file_system_takes(tmp_path):
    record = a_record(protocol="fair, learning_rates=0.01 0.1")
    path = records.write(record, tmp_path)
    assert path.parent.name == "fair-learning_rates_0.01_0.1"
    assert records.read(path).key == record.key
    assert records.load("mnist", record.key.protocol, tmp_path) == [record]
    assert records.load("mnist", "fair", tmp_path) == []


def test_accuracy_with_either_kind_of_statistics():
    plain = a_record(accuracy={"0.5": 0.75})
    assert plain.with_statistics("running") == {plain.key.sparsity: 0.75}
    assert plain.with_statistics("batch") is None
    both = a_record(accuracy={"0.5": 0.75}, other_statistics={"batch": {"0.5": 0.5, "0": 0.25}})
    assert both.with_statistics("running") == plain.with_statistics("running")
    assert both.with_statistics("batch") == {0.5: 0.5, 0.0: 0.25}
    records.validated(both.content, "it")
    for wrong in ({"median": {"0.5": 0.5}}, {"batch": {}}, {"batch": {"0.5": 2}},
                  {"batch": {"1.5": 0.5}}, {"batch": {"x": 0.5}}):  # fmt: skip
        with pytest.raises(records.RecordError):
            records.validated(a_record(other_statistics=wrong).content, "it")


# Writing and reading

shares = st.floats(0, 1)
finite = st.floats(0, 1e6)
plausible = st.fixed_dictionaries(
    {
        "network": st.sampled_from(NETWORKS),
        "sparsity": st.integers(0, 99).map(lambda n: n / 100),
        "seed": st.integers(0, 10**6),
        "protocol": st.sampled_from(sorted(PRESETS["mnist"])),
        "curve": st.lists(finite, max_size=40),
        "epochs": st.lists(
            st.fixed_dictionaries(
                {
                    "loss": finite,
                    "train_accuracy": shares,
                    "test_accuracy": shares,
                    "seconds": finite,
                },
                optional={"held_out_accuracy": shares},
            ),
            min_size=1,
            max_size=3,
        ),
    }
)


@given(fields=plausible, accuracy=shares)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(fields, accuracy):
    record = a_record(**fields, accuracy={f"{fields['sparsity']:g}": accuracy})
    assert records.validated(record.content, "here") == record
    with tempfile.TemporaryDirectory() as folder:
        path = records.write(record, Path(folder))
        assert path == record.key.path(Path(folder))
        again = records.read(path)
        assert again.content == seven_digits(record.content)
        assert again.key == record.key
        assert again.accuracy == pytest.approx(accuracy, rel=1e-6)
        assert records.load("mnist", folder=Path(folder)) == [again]
        assert again.protocol == PRESETS["mnist"][fields["protocol"]]
        assert files(Path(folder)) == [path]


def test_floats_keep_seven_digits_and_whole_numbers_all(tmp_path):
    record = a_record(
        seed=1234567890123,
        curve=[0.123456789, 123456789.0, 1.23456789e-12, 1 / 3],
        accuracy={"0.5": 0.912345678},
    )
    content = records.read(records.write(record, tmp_path)).content
    assert content["curve"] == [0.1234568, 123456800.0, 1.234568e-12, 0.3333333]
    assert content["accuracy"] == {"0.5": 0.9123457}
    assert content["seed"] == 1234567890123
    assert record.content["accuracy"] == {"0.5": 0.912345678}  # the one in memory is left alone


def test_accuracy_at_each_sparsity_it_was_tested_at():
    record = a_record(sparsity=0.0, accuracy={"0": 0.97, "0.05": 0.96, "0.3": 0.9})
    assert record.accuracy == 0.97
    assert record.accuracy_at(0.3) == 0.9
    assert record.accuracy_at(0.05) == 0.96
    with pytest.raises(KeyError):
        record.accuracy_at(0.5)


def test_load_orders_by_key_and_takes_records_only(tmp_path):
    for seed in (10, 2, 0):
        for sparsity in (0.9, 0.05):
            for network in ("SparseConvNet", "ConvNet"):
                records.write(a_record(network, sparsity, seed), tmp_path)
    records.write(a_record(protocol="fair"), tmp_path)
    folder = tmp_path / "mnist" / "as_written"
    (folder / "ConvNet-p0.05-seed0.npz").write_bytes(b"an example")
    (folder / "ConvNet-p0.05-seed3.json.0123.part").write_text("{")  # what kill -9 leaves
    keys = [record.key for record in records.load("mnist", "as_written", tmp_path)]
    assert keys == sorted(keys) and len(keys) == 12
    assert len(records.load("mnist", folder=tmp_path)) == 13
    assert records.load("caltech", folder=tmp_path) == []


def test_a_record_is_never_rewritten(tmp_path):
    path = records.write(a_record(), tmp_path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    other = a_record(curve=[1.0])
    with pytest.raises(FileExistsError, match="none is rewritten") as error:
        records.write(other, tmp_path)
    assert str(path) in str(error.value)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert files(tmp_path) == [path]


def test_of_many_writers_one_wins_and_its_record_is_whole(tmp_path):
    candidates = [a_record(curve=[float(i)] * 2000) for i in range(8)]

    def attempt(record):
        try:
            return records.write(record, tmp_path)
        except FileExistsError:
            return None

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(attempt, candidates))
    (path,) = (path for path in written if path)
    assert records.read(path) == candidates[written.index(path)]
    assert files(tmp_path) == [path]


@pytest.mark.parametrize("step", ["fsync", "link"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, step, failure):
    def fail(*_):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(type(failure)):
            records.write(a_record(), tmp_path)
    assert files(tmp_path) == []
    assert records.write(a_record(), tmp_path).exists()


def test_the_name_appears_only_when_the_file_is_whole(tmp_path, monkeypatch):
    """At the moment of the link, the text is on the disk under another name."""
    seen = []
    link = os.link

    def look(source, target):
        seen.append((json.loads(Path(source).read_text("utf-8")), Path(target).exists()))
        link(source, target)

    monkeypatch.setattr(os, "link", look)
    records.write(a_record(), tmp_path)
    assert seen == [(a_record().content, False)]


AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_records import a_record
from sparseconv_lib.study import records
if os.geteuid() == 0:
    os.setuid(65534)  # no folder is read-only to root
try:
    records.write(a_record(), Path(sys.argv[1]))
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_read_only_folder_is_an_os_error():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others than us
        os.chmod(folder, 0o555)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, folder, str(Path(__file__).parent)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.startswith("PermissionError"), done.stderr
        assert folder in done.stdout
        assert os.listdir(folder) == []


# What is no record


def one_line(error, path):
    """The error's text, after checking that it is one line with the file and the remedy."""
    text = str(error.value)
    assert "\n" not in text and len(text) < 600
    assert str(path) in text
    assert "git checkout" in text and "sparseconv sweep" in text
    return text


def test_a_record_cut_at_any_byte(tmp_path):
    path = records.write(a_record(), tmp_path)
    whole = path.read_bytes()
    assert whole.endswith(b"}\n")
    # Every third byte, and each of the last: without the last newline alone it is still whole.
    for length in (*range(0, len(whole) - 40, 3), *range(len(whole) - 40, len(whole) - 1)):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError) as error:
            records.read(path)
        one_line(error, path)
    path.write_bytes(whole)
    assert records.read(path) == a_record()


def changed(*where, to):
    """The invented content with one field changed, or removed (to=...)."""
    content = a_record().content
    part = content
    for name in where[:-1]:
        part = part[name]
    if to is ...:
        del part[where[-1]]
    else:
        part[where[-1]] = to
    return content


@pytest.mark.parametrize(
    "content, field",
    [
        (changed("seed", to="0"), "seed"),
        (changed("sparsity", to=None), "sparsity"),
        (changed("sparsity", to=1.0), "sparsity"),
        (changed("network", to="LeNet"), "network"),
        (changed("epochs", to=[]), "epochs"),
        (changed("epochs", 0, "loss", to="0.5"), "epochs/0/loss"),
        (changed("epochs", 1, "note", to=1), "note"),
        (changed("epochs", 1, "seconds", to=...), "seconds"),
        (changed("curve", to=[1.0, "1"]), "curve/1"),
        (changed("accuracy", to={}), "accuracy"),
        (changed("accuracy", "0.5", to=1.2), "accuracy/0.5"),
        (changed("accuracy", "0.5", to=-0.1), "accuracy/0.5"),
        (changed("accuracy", "0.5", to="0.9"), "accuracy/0.5"),
        (changed("identity", "code", to="not hexadecimal!"), "identity/code"),
        (changed("identity", "masks", to=...), "masks"),
        (changed("provenance", "host", to="alpha"), "host"),
        (changed("provenance", "seconds", to=-1), "provenance/seconds"),
        (changed("note", to="hello"), "note"),
        (changed("version", to=records.VERSION + 1), "version"),
        (changed("images", "test", to=0), "images/test"),
        ([], "the file"),
        (None, "the file"),
        *((changed(name, to=...), name) for name in records.SCHEMA["required"]),
    ],
)
def test_a_malformed_record_is_refused(tmp_path, content, field):
    path = write_content(tmp_path, content)
    with pytest.raises(RecordError) as error:
        records.read(path)
    assert field in one_line(error, path)
    with pytest.raises(RecordError):
        records.load("mnist", folder=tmp_path)


@pytest.mark.parametrize("version", [records.VERSION + 1, 10**20])
def test_a_record_of_a_newer_version_is_told_as_such(tmp_path, version):
    content = {**a_record().content, "version": version, "more": "than we know"}
    with pytest.raises(RecordError, match=f"of version {version}, newer than this code's"):
        records.read(write_content(tmp_path, content))


@pytest.mark.parametrize("version", [0, -1, True, None, "1", 1.5, [1]])
def test_a_record_of_no_version_is_refused(tmp_path, version):
    content = {**a_record().content, "version": version}
    if version is True:  # which JSON does not take for 1
        assert json.dumps(content).count("true")
    with pytest.raises(RecordError):
        records.read(write_content(tmp_path, content))


@pytest.mark.parametrize("to, refused", [({"block": 1.2}, True), ({"block": 1.0}, False)])
def test_no_accuracy_is_above_1_with_masks_of_another_kind_either(tmp_path, to, refused):
    path = write_content(tmp_path, changed("other_masks", to=to))
    if refused:
        with pytest.raises(RecordError, match=": an accuracy is above 1;"):
            records.read(path)
    else:
        assert records.read(path).content["other_masks"] == to


@pytest.mark.parametrize("field", ["epochs", "candidates"])
def test_a_network_has_epochs_and_candidates(field):
    content = changed(field, to=[])
    with pytest.raises(
        RecordError, match=": networks have epochs and candidates, and nothing else has;"
    ):
        records.validated(content, "it")


@pytest.mark.parametrize(
    "content",
    [
        changed("accuracy", "0.5", to=math.nan),
        changed("epochs", 0, "test_accuracy", to=math.nan),
        changed("sparsity", to=math.nan),
        changed("seed", to=0.5),
        changed("seed", to=1.0),  # whole, but not of the type that a key has
        changed("accuracy", to={"0.3": 0.9}),  # not tested where it was trained
        changed("accuracy", to={"0.5": 0.9, "half": 0.9}),
        changed("knobs", to={}),
        changed("knobs", "batch_size", to=0),
        changed("knobs", "colour", to="red"),
    ],
    ids=lambda content: None,
)
def test_a_record_that_nothing_could_use_is_refused(tmp_path, content):
    """Of the right shape, but not a training that could have been: reading says so, by name."""
    path = write_content(tmp_path, content)
    with pytest.raises(RecordError) as error:
        records.read(path)
    one_line(error, path)


@pytest.mark.parametrize(
    "name",
    [
        "mnist/as_written/ConvNet-p0.50-seed1.json",
        "mnist/as_written/ConvNet-p0.60-seed0.json",
        "mnist/as_written/SparseConvNet-p0.50-seed0.json",
        "mnist/fair/ConvNet-p0.50-seed0.json",
        "caltech/as_written/ConvNet-p0.50-seed0.json",
    ],
)
def test_a_record_under_a_wrong_name_is_refused(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(a_record().content))
    with pytest.raises(RecordError) as error:
        records.read(path)
    assert str(a_record().key) in one_line(error, path)


def test_what_is_not_there_or_no_text_is_a_record_error(tmp_path):
    path = a_record().key.path(tmp_path)
    with pytest.raises(RecordError) as error:
        records.read(path)
    one_line(error, path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(RecordError) as error:
        records.read(path)
    one_line(error, path)


def test_what_is_wrong_is_told_in_full_and_long_values_are_cut(tmp_path):
    for content, told in (
        ([], ": the file: [] is not of type 'object'; "),
        (changed("network", to="x" * 500), f": network: '{'x' * 119}; "),
        (changed("accuracy", "0.5", to=math.nan), "(NaN is not a number); "),
    ):
        path = write_content(tmp_path, content)
        with pytest.raises(RecordError) as error:
            records.read(path)
        assert told in one_line(error, path)


def test_a_record_of_pixels_is_judged_by_its_error(tmp_path):
    path = sorted((RESULTS / "depth").glob("*/*.json"))[0]
    record = records.parse(path.read_bytes(), path)  # anew, whatever was read
    assert record.protocol.objective != "classify" and "accuracy" not in record.content
    assert record.error == record.content["error"][f"{record.key.sparsity:g}"]
    assert behind([record.error, record.error_at(record.key.sparsity)]) == {record.key}
    for q, error in record.content["error_missing"].items():
        missing = record.error_at(float(q), missing_only=True)
        assert missing == error and behind([missing]) == {record.key}
    content = json.loads(json.dumps(record.content))
    del content["error"][f"{record.key.sparsity:g}"]
    content["error"]["0.123"] = 1.0
    with pytest.raises(RecordError, match="KeyError"):
        records.validated(content, "it")


def test_a_whole_file_is_checked_once_and_anew_where_it_changes_or_stands(tmp_path, monkeypatch):
    path, counted, validated = records.write(a_record(), tmp_path), [], records.validated
    monkeypatch.setattr(
        records, "validated", lambda *which: counted.append(which) or validated(*which)
    )
    first, again = records.read(path), records.read(path)
    assert first == again == a_record() and len(counted) == 1
    assert first.content is not again.content  # so that one may be changed without the other
    elsewhere = path.with_name("ConvNet-p0.00-seed9.json")
    elsewhere.write_bytes(path.read_bytes())
    for _ in range(2):  # what is refused once is refused
        with pytest.raises(records.RecordError, match="holds the training"):
            records.read(elsewhere)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(records.RecordError):
        records.read(path)


def test_a_record_is_found_where_there_is_one(tmp_path):
    key = a_record().key
    assert records.find(key, tmp_path) is None
    path = records.write(a_record(), tmp_path)
    assert records.find(key, tmp_path) == a_record()
    path.write_text("{")
    with pytest.raises(RecordError):
        records.find(key, tmp_path)


def test_what_a_record_gives_remembers_the_record():
    record = a_record(other_statistics={"batch": {"0.5": 0.25}})
    for value in (record.accuracy, *record.with_statistics("batch").values()):
        assert behind([value]) == {record.key}
    assert record.correct_at(0.5) is None
    kept = Record(with_answers())
    assert kept.correct_at(0.5).dtype == bool and kept.correct_at(0.3) is None


def test_answers_to_three_bytes_of_images(tmp_path):
    content = with_answers()
    content["images"]["test"] = 17
    content["accuracy"]["0.5"] = 1.0
    content["correct"]["0.5"] = base64.b64encode(b"\xff\xff\x80").decode()
    assert records.read(write_content(tmp_path, content)).correct_at(0.5).tolist() == [True] * 17


def test_a_file_is_its_content_in_readable_lines(tmp_path):
    record = a_record()
    record.content["provenance"]["device"] = "Prozessor für Prüfungen"
    path = records.write(record, tmp_path)
    text = json.dumps(seven_digits(record.content), indent=1, ensure_ascii=False) + "\n"
    assert path.read_bytes() == text.encode()


def test_a_quick_run_writes_nothing_among_what_is_published(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "QUICKLY", True)
    monkeypatch.setattr(paths, "PUBLISHED", (tmp_path,))
    with pytest.raises(RuntimeError, match="is published"):
        records.write(a_record(), tmp_path)
    assert files(tmp_path) == []


def test_a_file_that_cannot_be_begun_is_the_error_of_the_disk(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "not here")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(PermissionError, match="not here"):
            records.write(a_record(), tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_file_system_without_links(tmp_path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", fail)
    path = records.write(a_record(), tmp_path)
    assert records.read(path) == a_record() and files(tmp_path) == [path]
    with pytest.raises(FileExistsError, match="none is rewritten") as error:
        records.write(a_record(curve=[1.0]), tmp_path)
    assert error.value.__cause__.args == (path,)
    assert records.read(path) == a_record() and files(tmp_path) == [path]


# What the fields mean


def test_an_object_asks_for_what_is_not_optional_and_for_nothing_else():
    field = records._field("number", "a number", minimum=0, optional=True)
    assert field == {"type": "number", "description": "a number", "minimum": 0, "optional": True}
    assert records._object("both", a=records._field("string", "a text"), b=field) == {
        "type": "object",
        "description": "both",
        "properties": {
            "a": {"type": "string", "description": "a text"},
            "b": {"type": "number", "description": "a number", "minimum": 0},
        },
        "required": ["a"],
        "additionalProperties": False,
    }


def test_the_readme_is_what_the_module_says():
    assert (RESULTS / "README.md").read_text("utf-8") == records.describe()


def fields(schema, prefix=""):
    """(path, meaning) of each field of a schema, those inside objects and arrays too."""
    for name, field in schema["properties"].items():
        yield f"{prefix}{name}", field["description"]
        inner = field if "properties" in field else field.get("items", {})
        if "properties" in inner:
            yield from fields(inner, f"{prefix}{name}{'' if inner is field else '[]'}.")


def test_the_readme_tells_what_every_field_means():
    text = (RESULTS / "README.md").read_text("utf-8")
    told = dict(re.findall(r"^\| `([^`]+)` \| [^|]* \| (.+) \|$", text, re.MULTILINE))
    expected = dict(fields(records.SCHEMA))
    assert len(expected) > 30
    assert told == expected


def test_every_field_has_a_meaning_of_its_own():
    meanings = [meaning for _, meaning in fields(records.SCHEMA)]
    assert all(len(meaning) > 4 for meaning in meanings)
    assert len(set(meanings)) == len(meanings)
