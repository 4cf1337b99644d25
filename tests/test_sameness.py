"""The same numbers again: from the same command, from another PyTorch, from a GPU."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from sparseconv_lib.study import quick, sameness

ROOT = Path(__file__).resolve().parents[1]
TIMES = {"seconds", "started"}

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


pytestmark = pytest.mark.usefixtures("one_thread")


def timeless(content):
    """A record without its times, which alone may differ."""
    if isinstance(content, dict):
        return {name: timeless(each) for name, each in content.items() if name not in TIMES}
    return [timeless(each) for each in content] if isinstance(content, list) else content


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the code and the rules, laid out for quick runs, which need no data set."""
    top = tmp_path_factory.mktemp("checkout")
    skip = shutil.ignore_patterns(
        "__pycache__", "runs", "chapters", "*.json", "*.ipynb_checkpoints"
    )
    for name in ("sparseconv_lib", "book"):
        shutil.copytree(ROOT / name, top / name, ignore=skip)
    (top / "book" / "runs").mkdir()
    (top / "results").mkdir()
    (top / "notebooks").mkdir()
    files = ["book/runs/index.md", "_toc.yml", "_config.yml"]
    files += [f"results/{name}" for name in quick.COUNTED]
    for name in (*files, "notebooks/mnist.ipynb", *map(str, (ROOT / "results").glob("*.toml"))):
        shutil.copy2(ROOT / name, top / Path(ROOT / name).relative_to(ROOT))
    in_checkout(top, "-c", "from sparseconv_lib.study import quick; quick.lay_out()")
    return top


def in_checkout(top, *arguments, **more):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=top,
        env={
            **os.environ,
            "PYTHONPATH": str(top),
            "SPARSECONV_QUICK": "1",
            "SPARSECONV_COMMIT": "0" * 40,
            "OMP_NUM_THREADS": "1",
            **more,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def train_by_papermill(top, name):
    """The command of the README, in a process of its own, as a sweep calls it."""
    in_checkout(
        top,
        *("-m", "papermill", "notebooks/mnist.ipynb", f"{name}.ipynb", "-p", "sparsity", "0.5"),
        *("-p", "protocol", "as_written, batch_size=64, epochs=1"),
        *("--cwd", "notebooks", "--no-progress-bar"),
        SPARSECONV_SOURCE="train",
        SPARSECONV_STAGE=str(top / name),
        SPARSECONV_PAGE="book/runs/mnist/a.ipynb",
    )
    return {path.name: path.read_bytes() for path in sorted((top / name).rglob("*.json"))}


def test_the_same_command_twice_gives_the_same_records_apart_from_times(checkout):
    first, second = (train_by_papermill(checkout, name) for name in ("first", "second"))
    assert list(first) == list(second) and len(first) >= 3
    for name in first:
        a, b = (json.loads(text) for text in (first[name], second[name]))
        assert a["curve"] and timeless(a) == timeless(b), name
        # And no byte differs but on the lines of times.
        lines = zip(first[name].splitlines(), second[name].splitlines(), strict=True)
        differing = [line for line, other in lines if line != other]
        assert all(line.split(b'"')[1].decode() in TIMES for line in differing)


@pytest.mark.parametrize("digits", [sameness.layers, sameness.steps], ids=lambda f: f.__name__)
def test_the_same_digits_twice(digits):
    assert digits() == digits()


# Two versions of PyTorch ----------------------------------------------------------------------


def test_what_was_measured_between_the_versions_is_within_what_is_stated():
    """results/sameness.json is of `make versions`; the tolerances are those of the module."""
    measured = sameness.load()
    for kind, tolerance in sameness.TOLERANCES.items():
        found = measured[kind]
        assert found["tolerance"] == tolerance
        assert found["compared"] > 0 and found["largest_difference"] <= tolerance


def test_the_oldest_version_measured_is_the_oldest_that_may_be_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (torch_range,) = project["dependencies"]
    oldest = sameness.load()["oldest"]["torch"]
    assert torch_range.startswith(f"torch>={oldest.rsplit('.', 1)[0]},")
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert f"torch=={sameness.load()['newest']['torch'].split('+')[0]}" in pins


def test_the_difference_is_the_largest_as_a_share_of_the_largest_number():
    assert sameness.difference([1.0, -4.0], [1.0, -4.0]) == 0
    assert sameness.difference([1.0, -4.0], [1.5, -4.0]) == 0.5 / 4
    assert sameness.difference([0.0], [0.0]) == 0
    assert sameness.difference([1.0], [1.0, 2.0]) == float("inf")
    kinds = {kind: {"a": [1.0, 2.0], "b": [3.0]} for kind in sameness.TOLERANCES}
    other = {**kinds, "steps": {"a": [1.0, 2.5], "b": [3.0]}}
    found = sameness.compared(kinds, other)
    assert found["layers"] == {"compared": 2, "equal": 2, "largest_difference": 0.0,
                               "tolerance": sameness.TOLERANCES["layers"]}  # fmt: skip
    assert (found["steps"]["equal"], found["steps"]["largest_difference"]) == (1, 0.2)
    lacking = {**kinds, "trainings": {"a": [1.0, 2.0]}}
    assert sameness.compared(kinds, lacking)["trainings"]["largest_difference"] == float("inf")


@pytest.mark.parametrize("kind", ["layers", "steps"])
def test_a_change_of_the_numbers_would_be_seen(kind, monkeypatch):
    """The tolerance is narrow: half a thousandth on the layer's outputs is outside of it."""
    before = getattr(sameness, kind)()
    from sparseconv_lib import layers

    plain = layers.F.conv2d
    monkeypatch.setattr(
        layers.F, "conv2d", lambda *arguments, **named: plain(*arguments, **named) * 1.0005
    )
    after = getattr(sameness, kind)()
    most = max(sameness.difference(before[name], after[name]) for name in before)
    assert most > sameness.TOLERANCES[kind]


# A GPU ----------------------------------------------------------------------------------------


DIGITS = {kind: {"x": [1.0, 2.0]} for kind in sameness.TOLERANCES}


def test_the_command_compares_two_interpreters(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sameness, "SAMENESS", tmp_path / "sameness.json")
    monkeypatch.setattr(sameness, "all_digits", lambda: DIGITS)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["sameness", *words])
        sameness.main()
        return capsys.readouterr().out

    printed = command("--print")
    assert json.loads(printed)["digits"] == DIGITS
    other = tmp_path / "python"
    other.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\n")
    other.chmod(0o755)
    told = command("--other", str(other))
    assert told.splitlines()[0].startswith("layers: 1 of 1 equal, largest difference 0 (tol")
    found = sameness.load(sameness.SAMENESS)
    assert found["oldest"]["torch"] == found["newest"]["torch"] == torch.__version__
    assert found["trainings"]["equal"] == 1
    other.write_text(other.read_text().replace("2.0]", "2.1]"))
    with pytest.raises(SystemExit, match="above its tolerance"):
        command("--other", str(other))
    with pytest.raises(SystemExit, match="cannot be asked"):
        command("--other", str(tmp_path / "none"))


@on_a_gpu
@pytest.mark.parametrize(
    "kind, digits",
    [("layers", sameness.layers), ("steps", sameness.steps),
     ("trainings", sameness.short_trainings)],
    ids=["layers", "steps", "trainings"],
)  # fmt: skip
def test_a_gpu_gives_the_numbers_of_the_cpu(kind, digits):
    cpu, gpu = digits("cpu"), digits("cuda")
    assert cpu.keys() == gpu.keys()
    for name in cpu:
        assert sameness.difference(cpu[name], gpu[name]) <= sameness.TOLERANCES[kind], name


@on_a_gpu
def test_a_gpu_gives_the_same_digits_twice():
    assert sameness.short_trainings("cuda") == sameness.short_trainings("cuda")
