"""Faults: a few of each kind now, a hundred kills where there is time; and that damage is seen."""

import json
import random
import re
import subprocess
import sys
import time

import pytest
from test_sweep import PAGE, root, stub_notebook, whole  # noqa: F401

from sparseconv_lib.study import (
    fault_command,
    fault_counts,
    fault_place,
    faults,
    records,
    sweep,
)
from sparseconv_lib.study.fault_counts import Count
from sparseconv_lib.study.fault_place import Before
from sparseconv_lib.study.paths import ROOT


def tried(tmp_path, *arguments, within):
    """What the command counts, after checking that nothing was lost, and nothing was wrong."""
    to = tmp_path / "faults.json"
    done = subprocess.run(
        [sys.executable, "-m", "sparseconv_lib.study.faults", "--to", to, *arguments],
        cwd=ROOT,  # a process of its own, since it forks: this one has threads
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
    )
    assert done.returncode == 0 or "no file system can be mounted" in done.stderr, done.stderr
    counts = fault_counts.load(to)
    for count in counts:
        assert count.tried > 0, count
        assert no_damage(count), count
    return {count.kind: count.tried for count in counts}


def no_damage(count):
    return count.damage == 0


def test_a_few_faults_of_each_kind_lose_and_repeat_nothing(tmp_path):
    found = tried(tmp_path, "--quick", within=900)
    mountable = any("tmpfs" in kind for kind in found)
    assert len(found) == len(faults.KINDS) - 1 - (not mountable)
    assert found["a sweep, its workers and its kernels killed"] == 6


def test_a_kill_of_the_real_command_loses_and_repeats_nothing_and_changes_no_number(tmp_path):
    count = fault_command.killed_in_earnest(tmp_path, 1, random.Random(0))
    assert count.tried == 1 and no_damage(count), count
    assert sum(count.found.values()) == 1


@pytest.mark.slow
def test_a_hundred_kills_lose_and_repeat_nothing(tmp_path):
    found = tried(tmp_path, "killed", within=1800)
    assert found == {"a sweep, its workers and its kernels killed": 100}


@pytest.mark.slow
def test_kills_of_the_real_command_lose_and_repeat_nothing_and_change_no_number(tmp_path):
    found = tried(tmp_path, "killed-in-earnest", within=1800)
    assert found == {"the real command killed, with kernels and trainings": 6}


@pytest.mark.slow
def test_many_faults_of_the_other_kinds(tmp_path):
    others = [kind for kind in faults.KINDS if not kind.startswith("killed")]
    found = tried(tmp_path, *others, within=1800)
    mountable = any("tmpfs" in kind for kind in found)
    assert len(found) == len(others) - (not mountable)
    assert all(n >= 9 for n in found.values())


def test_a_kernel_that_dies_fails_its_page_in_one_line(root):
    """With papermill and a real kernel, which kills itself at its third training."""
    import nbformat

    notebook = stub_notebook()
    notebook.cells[3].source = notebook.cells[3].source.replace(
        'if (folder / f"stop-{n}").exists():\n        raise KeyboardInterrupt',
        'if (folder / f"stop-{n}").exists():\n        os.kill(os.getpid(), 9)',
    )
    nbformat.write(notebook, sweep.NOTEBOOKS / "mnist.ipynb")
    root.switch("stop-2")
    began = time.monotonic()
    done = sweep.run_page(PAGE, root.path)
    assert done.error == "failed: DeadKernelError: Kernel died"
    assert time.monotonic() - began < 60
    assert root.files() == [] and len(root.log()) == 2
    root.switch("stop-2", on=False)
    assert sweep.run_page(PAGE, root.path).error is None
    whole(root)


# The damage that is looked for is found


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A function: a place of its own where a whole page has been published."""
    folder = tmp_path_factory.mktemp("faults")
    script = f"""
import os
from pathlib import Path
from sparseconv_lib.study import fault_place
place = fault_place.lay_out(Path({str(folder)!r}), fault_place.PAGES[:1])
assert fault_place.ended(fault_place.start(place), 300) == 0
print(place.root.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    name = done.stdout.strip().splitlines()[-1]
    made = iter(range(1000))

    def place():
        import shutil

        copy = folder / f"copy-{next(made)}"
        shutil.copytree(folder / name, copy / "root")
        shutil.copytree(folder / f"{name}-notes", copy / "notes")
        return fault_place.Place(copy / "root", copy / "notes", fault_place.PAGES[:1])

    return place


def a_record(place):
    return place.keys[1].path(place.root / "results")


def a_page(place):
    return place.root / place.pages[0].path


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def begin(place, key):
    with (place.notes / "begun").open("a") as log:
        log.write(f"{key}\n")


def other_digits(place):
    content = json.loads(a_record(place).read_text())
    content["curve"][0] = 0.25
    a_record(place).write_text(json.dumps(content))


DAMAGE = {
    "a record gone": (lambda place: a_record(place).unlink(), dict(lost=2)),
    "a record rewritten": (other_digits, dict(lost=1)),
    "a record cut": (lambda place: cut(a_record(place)), dict(lost=2, broken=1)),
    "an example cut": (lambda place: cut(place.keys[0].path(place.root / "results")
                                         .with_suffix(".npz")), dict(lost=1, broken=1)),
    "half a page": (lambda place: cut(a_page(place)), dict(broken=1)),
    "a page gone": (lambda place: a_page(place).unlink(), dict(broken=4)),
    "a training once more": (lambda place: begin(place, place.keys[2]), dict(repeated=1)),
    "nothing": (lambda place: None, dict()),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(published, damage):
    place = published()
    spoil, expected = DAMAGE[damage]
    state, count = Before.of(place), Count(damage)
    assert len(state.whole) == 4 and len(state.published) == 8
    spoil(place)
    state.compare(count)
    assert count == Count(damage, **expected)
    assert no_damage(count) == (damage == "nothing")


def test_two_trainings_of_one_key_are_found(published):
    place = published()
    a_record(place).unlink()
    state, count = Before.of(place), Count("")
    for _ in range(2):
        begin(place, place.keys[1])
    state.compare(count)
    assert count.repeated == 0  # of two sweeps one may have been killed in it
    state.compare(count, once=True)
    assert count.repeated == 1


@pytest.mark.parametrize(
    "spoil, status",
    [
        (lambda place: a_record(place).unlink(), 0),
        (lambda place: a_page(place).unlink(), 0),
        (lambda place: None, 1),
        (lambda place: None, None),
    ],
)
def test_a_job_that_is_not_finished_is_found(published, spoil, status):
    place, count = published(), Count("")
    spoil(place)
    fault_place.check_finished(place, Before.of(place), status, count)
    assert count.unfinished == 1


def test_other_numbers_are_found(published):
    """Those of the stub are not those of a training."""
    place = published()
    assert fault_command._other_numbers(place) == len(place.keys)
    (path,) = place.root.rglob("ConvNet-p0.00*.json")
    record = records.read(path)
    other = json.loads(json.dumps(record.content))
    other["provenance"]["seconds"] = 99.0
    other["epochs"][0]["seconds"] = 99.0
    assert fault_command.without_times(other) == fault_command.without_times(record.content)
    other["curve"][0] += 0.01
    assert fault_command.without_times(other) != fault_command.without_times(record.content)


WRITTEN_IN_PLACE = """
import json, os, sys, time
from pathlib import Path
from sparseconv_lib.study import faults, records

def write(record, folder):
    path = record.key.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record.content)
    with path.open("w") as file:
        for i in range(0, len(text), 200):
            file.write(text[i : i + 200])
            file.flush()
            time.sleep(0.02)

records.write = write
os.environ["SPARSECONV_COMMIT"] = "none"
faults.PAGES[2:] = []
import random
print(faults.killed(Path(sys.argv[1]), 12, random.Random(0)).broken)
"""


def test_kills_find_a_sweep_that_writes_records_in_place(tmp_path):
    """What the faults are for: with a `records.write` that is not whole or nothing, they tell."""
    done = subprocess.run(
        [sys.executable, "-c", WRITTEN_IN_PLACE, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:  # the command that should finish the job cannot read what it finds
        assert "check_finished" in done.stderr and "RecordError" in done.stderr, done.stderr
    else:
        assert int(done.stdout.split()[-1]) > 0


# What is committed


def test_the_committed_counts_are_of_every_kind_and_free_of_damage():
    counts = fault_counts.load()
    assert len(counts) == len(faults.KINDS)
    assert all(map(no_damage, counts))
    for count in counts:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", count.date) and count.device and count.commit
    by_kind = {count.kind: count for count in counts}
    killed = by_kind["a sweep, its workers and its kernels killed"]
    assert killed.tried == sum(killed.found.values()) >= 100
    assert by_kind["the real command killed, with kernels and trainings"].tried >= 5


def test_what_is_saved_is_read_and_other_kinds_stay(tmp_path):
    path = tmp_path / "x.json"
    assert fault_counts.load(path) == []
    fault_counts.save(
        [Count("a", 3, seconds=1.23, found={"nothing was trained": 3}), Count("b")], path
    )
    fault_counts.save([Count("a", 4)], path)
    a, b = fault_counts.load(path)
    assert (a.kind, a.tried, a.found, b.kind) == ("a", 4, {}, "b") and a.date and a.device
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]


def test_an_unknown_kind_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["faults", "earthquake"])
    with pytest.raises(SystemExit) as stop:
        faults.main()
    assert stop.value.code == 2
    assert "earthquake: known are killed, " in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_that_is_not_there_is_told_before_any_fault(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["faults", "two", "--to", str(tmp_path / "no" / "x.json")])
    with pytest.raises(SystemExit) as stop:
        faults.main()
    assert stop.value.code == 2
    assert "--to: there is no folder" in capsys.readouterr().err.splitlines()[-1]


def test_damage_and_what_could_not_be_tried_are_a_failure(tmp_path, monkeypatch):
    def harmless(*_):
        return Count("harmless", 1)

    def harmful(*_):
        return Count("harmful", 1, broken=1)

    def impossible(*_):
        raise fault_place.FaultError("not here")

    kinds = {each.__name__: (each, 1, 1) for each in (harmless, harmful, impossible)}
    monkeypatch.setattr(faults, "KINDS", kinds)
    monkeypatch.setattr(faults.torch, "set_num_threads", lambda _: None)
    to = tmp_path / "x.json"
    results = [faults.try_all(tmp_path, to, kinds=[kind]) for kind in kinds]
    assert results == [True, False, False]
    assert [count.kind for count in fault_counts.load(to)] == ["harmless", "harmful"]
