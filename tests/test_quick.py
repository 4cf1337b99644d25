"""`make quick` runs the published code on a little, and can write to nothing that is published."""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml
from test_records import a_record

from sparseconv_lib.study import (
    collect,
    data,
    fault_counts,
    guards,
    paths,
    probe,
    quick,
    records,
    sameness,
)
from sparseconv_lib.study.grid import EXPERIMENTS
from sparseconv_lib.study.paths import ROOT
from sparseconv_lib.study.protocol import TRAINING_IMAGES, preset


def quickly(script, root=ROOT, **more):
    """Runs Python in a checkout with $SPARSECONV_QUICK set; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={**os.environ, "SPARSECONV_QUICK": "1", "PYTHONPATH": str(root), **more},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_its_pages_are_of_the_published_grid_and_of_every_chapter_that_trains():
    pages = quick.pages()
    assert all(list(part.pages()) for part in quick.PARTS)
    assert len(pages) == len(set(pages))
    trains = {each.notebook for each in EXPERIMENTS.values()}
    assert {page.experiment for page in pages} == trains


def test_its_images_are_enough_for_its_protocols():
    from sparseconv_lib.study.grid import task_of

    assert set(data.QUICK_IMAGES) == set(TRAINING_IMAGES)
    for page in quick.pages():
        protocol = preset(page.protocol, task_of(page.experiment))
        assert protocol.held_out < data.QUICK_IMAGES[protocol.dataset]
    for name, images in data.QUICK_IMAGES.items():
        assert images < TRAINING_IMAGES[name]


def test_without_the_variable_nothing_is_quick():
    assert not paths.QUICKLY
    assert paths.RESULTS == ROOT / "results"
    with pytest.raises(quick.QuickError, match="make quick"):
        quick.main()
    paths.check_apart(ROOT / "results" / "mnist")  # what is published may be written to


def test_the_quick_path_cannot_write_to_what_is_published(tmp_path):
    (tmp_path / "link").symlink_to(ROOT / "results")
    out = quickly(
        """
import inspect, os, sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_records import a_record
from sparseconv_lib.study import collect, notebooks, paths, probe, records, sweep
from sparseconv_lib.study import benchmark, denominators, layouts, quick
top = paths.ROOT / "_build" / "quick"
places = [paths.RESULTS, paths.RUNS, paths.BOOK, a_record().key.path(), probe.PROBES,
          denominators.MEASURED, layouts.MEASURED, benchmark.path("cpu")]
for function in (sweep.sweep, sweep.run_page, sweep.train_ahead, sweep.missing_keys,
                 sweep.missing_pages, collect.pack, collect.unpack):
    places.append(inspect.signature(function).parameters["root"].default)
assert all(place.is_relative_to(top) for place in places), places
record = a_record(seed=987)
for folder in (paths.ROOT / "results", Path("results"), Path(os.environ["LINK"])):
    try:
        records.write(record, folder)
    except RuntimeError as refused:
        print("refused:", refused)
try:
    sweep.sweep(quick.pages()[:1], workers=1, root=paths.ROOT)
except RuntimeError as refused:
    print("refused:", refused)
try:
    sweep._publish(quick.pages()[0], top / "no stage", paths.ROOT)
except Exception as refused:
    print("refused:", refused)
try:
    notebooks.main()
except SystemExit as refused:
    print("refused:", refused)
""",
        LINK=str(tmp_path / "link"),
    )
    assert out.count("refused:") == 6
    assert not list((ROOT / "results").rglob("*seed987*"))


def test_what_the_book_reads_beside_records_is_laid_out(tmp_path):
    quick.lay_out(tmp_path)
    there = {path.name for path in (tmp_path / "results").iterdir()}
    counted = {
        guards.MUTATION,
        guards.COVERAGE,
        sameness.SAMENESS,
        fault_counts.TRIED,
        probe.PROBES,
    }
    assert {path.name for path in counted} == set(quick.COUNTED)
    assert there == set(quick.COUNTED) | {path.name for path in (ROOT / "results").glob("*.toml")}


def test_a_quick_record_is_not_taken_from_an_archive():
    record = a_record(images={"train": data.QUICK_IMAGES["mnist"], "test": 1350})
    with pytest.raises(collect.CollectError, match="quick"):
        collect._check_training(record)
    collect._check_training(a_record())


def test_the_configuration_differs_in_its_title_and_banner_alone():
    text = (ROOT / "_config.yml").read_text("utf-8")
    published, changed = yaml.safe_load(text), yaml.safe_load(quick.configuration(text))
    options = changed["sphinx"]["config"]["html_theme_options"]
    assert "quick" in options.pop("announcement").lower()
    assert changed.pop("title") != published.pop("title")
    assert changed == published


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a sweep and the book need, without any record or page."""
    root = tmp_path / "checkout"
    made = shutil.ignore_patterns("__pycache__", "chapters", "runs", "*.npz", "mnist", "caltech",
                                  "resnet18", "invariance", "depth", ".partial")  # fmt: skip
    for name in ("sparseconv_lib", "book", "results"):
        ignore = made if name != "sparseconv_lib" else shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    (root / "book" / "runs").mkdir()
    shutil.copy2(ROOT / "book" / "runs" / "index.md", root / "book" / "runs")
    (root / "notebooks").mkdir()
    shutil.copy2(ROOT / "notebooks" / "mnist.ipynb", root / "notebooks")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(ROOT / name, root)
    return root


def published(root):
    return {
        path.relative_to(root): path.read_bytes()
        for folder in ("results", "book", "notebooks")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }


SWEEP = """
from sparseconv_lib.study import quick
if __name__ == "__main__":
    quick.PARTS = (quick.Part("batch_norm", ("as_written, batch_size=64, scale=none",), (0.0,)),)
    quick.measure = lambda: None
    quick.main()
"""


def test_a_tiny_quick_sweep(checkout):
    before = published(checkout)
    out = quickly(SWEEP, checkout, SPARSECONV_COMMIT="none")
    assert "published" in out
    assert published(checkout) == before
    top = checkout / "_build" / "quick"
    (record,) = records.load("mnist", folder=top / "results")
    assert record.content["images"]["train"] == data.QUICK_IMAGES["mnist"]
    synthetic = data.synthetic("mnist", data.QUICK_IMAGES["mnist"])
    assert record.content["identity"]["data"] == synthetic.identity
    assert record.protocol == preset("as_written, batch_size=64, scale=none")
    page = nbformat.read(top / record.page, as_version=4)
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    assert outputs and not [o for o in outputs if o.output_type == "error"]
    assert (top / "_config.yml").read_text("utf-8") == quick.configuration(
        (ROOT / "_config.yml").read_text("utf-8")
    )
    assert (top / "results" / "verdicts.toml").exists() and (top / "book" / "intro.md").exists()

    assert "published" not in quickly(SWEEP, checkout, SPARSECONV_COMMIT="none")  # nothing lacks
    # Records of other code are not mixed with those of today's.
    layers = checkout / "sparseconv_lib" / "layers.py"
    layers.write_text(layers.read_text("utf-8") + "\nOTHER = 1\n", "utf-8")
    quickly("from sparseconv_lib.study import quick; quick.lay_out()", checkout)
    assert records.load("mnist", folder=top / "results") == []
    assert not list((top / "book" / "runs").glob("*/*.ipynb"))
