"""Releases of the numbers: written whole, never rewritten, and compared with each other."""

import json

import pytest
from test_records import a_record

from sparseconv_lib.study import cli, records, releases, report_provenance
from sparseconv_lib.study.releases import Cell, Release, ReleaseError, Value

CELL = Cell("mnist", "as_written", "ConvNet", "accuracy", 0.5, 0.5)
OTHER = Cell("mnist", "as_written", "SparseConvNet", "accuracy", 0.5, 0.5)


@pytest.fixture
def recorded(monkeypatch):
    """Lets a test say which records there are."""

    def install(found):
        monkeypatch.setattr(
            records, "load", lambda name, *_: [r for r in found if r.key.experiment == name]
        )

    return install


def test_a_release_holds_the_means_of_the_day(recorded, tmp_path):
    found = [a_record(seed=0), a_record(seed=1), a_record("SparseConvNet")]
    recorded(found)
    path = releases.write("1.0", tmp_path)
    assert not list(tmp_path.glob("*.part"))
    (release,) = releases.load(tmp_path)
    assert release.name == "1.0" and set(release.cells) == {CELL, OTHER}
    assert release.cells[CELL].n == 2
    mean = (found[0].accuracy + found[1].accuracy) / 2
    assert release.cells[CELL].mean == pytest.approx(mean, rel=1e-6)
    assert release.cells[OTHER] == Value(1, pytest.approx(found[2].accuracy, rel=1e-6), None)
    assert releases.changes(release.cells, releases.today().cells) == []
    with pytest.raises(ReleaseError, match="none is rewritten"):
        releases.write("1.0", tmp_path)
    assert len(path.read_text().splitlines()) < 12  # a line a cell, so that diffs can be read


@pytest.mark.parametrize("name", ["", "../1", "a b", ".hidden"])
def test_a_name_is_a_file_name(recorded, tmp_path, name):
    recorded([a_record()])
    with pytest.raises(ReleaseError, match="is no name"):
        releases.write(name, tmp_path)


def test_without_records_there_is_nothing_to_release(recorded, tmp_path):
    recorded([])
    with pytest.raises(ReleaseError, match="no records"):
        releases.write("1.0", tmp_path)


def test_a_broken_file_is_named(recorded, tmp_path):
    recorded([a_record()])
    path = releases.write("1.0", tmp_path)
    path.rename(tmp_path / "2.0.json")
    with pytest.raises(ReleaseError, match=r"2\.0\.json: holds the release 1\.0"):
        releases.load(tmp_path)
    (tmp_path / "2.0.json").write_text('{"name": "2.0"}')
    with pytest.raises(ReleaseError, match="no release"):
        releases.load(tmp_path)
    content = {"name": "2.0", "made": "long ago", "commit": "", "code": "", "cells": []}
    (tmp_path / "2.0.json").write_text(json.dumps(content))
    with pytest.raises(ReleaseError, match="no release"):
        releases.load(tmp_path)


def test_releases_come_in_the_order_of_their_making(recorded, tmp_path):
    recorded([a_record()])
    for name, made in (("1.10", "2026-03-01"), ("1.9", "2026-02-01")):
        path = releases.write(name, tmp_path)
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"made": f"{made}T00:00:00+00:00"}))
    assert [release.name for release in releases.load(tmp_path)] == ["1.9", "1.10"]


def a_release(name, **cells):
    of = {"plain": CELL, "sparse": OTHER}
    return Release(name, "", "", "", {of[key]: value for key, value in cells.items()})


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (None, Value(1, 0.9, None), "new"),
        (Value(1, 0.9, None), None, "gone"),
        (Value(1, 0.9, None), Value(2, 0.9, 0.0), "other seeds"),
        (Value(2, 0.9, 0.1), Value(2, 0.91, 0.1), "made anew"),
        (Value(2, 0.9, 0.1), Value(2, 0.9 + 1e-9, 0.1), None),
    ],
)
def test_kinds_of_change(before, after, kind):
    a, b = ({CELL: value} if value else {} for value in (before, after))
    assert [change.kind for change in releases.changes(a, b)] == ([kind] if kind else [])


def test_the_changelog_shows_what_changed_most_first():
    a = a_release("1", plain=Value(2, 0.9, 0.01), sparse=Value(2, 0.8, 0.01))
    b = a_release("2", plain=Value(3, 0.901, 0.01), sparse=Value(2, 0.7, 0.02))
    told, table = report_provenance.changelog(a, b)
    assert told == "Of 2 numbers: 1 other seeds, 1 made anew."
    assert [row[0] for row in table.rows] == ["SparseConvNet", "ConvNet"]
    assert table.rows[0][-3:] == ("80.00 ± 1.00, n = 2", "70.00 ± 2.00, n = 2", "made anew")
    assert report_provenance.changelog(a, a) == ("No number has changed.", None)
    told, table = report_provenance.changelog(a_release("0"), a)
    assert (told, table) == ("Of 2 numbers: 2 new.", None)


def test_the_command(recorded, tmp_path, monkeypatch, capsys):
    recorded([a_record()])
    monkeypatch.setattr(releases.write, "__defaults__", (tmp_path,))
    assert cli.main(["release", "1.0"]) == 0
    assert "1 numbers" in capsys.readouterr().out
    assert cli.main(["release", "1.0"]) == 1
    assert "none is rewritten" in capsys.readouterr().err
