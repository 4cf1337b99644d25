"""Promises: each has tests that exist, are collected, and are not skipped."""

import json
import subprocess
import sys

import pytest

from sparseconv_lib.study import promises
from sparseconv_lib.study.paths import ROOT
from sparseconv_lib.study.promises import PromiseError

NAMED = sorted({test for promise in promises.load() for test in promise.tests})
COLLECT = """
import json, sys
import pytest

class Seen:
    def pytest_collection_modifyitems(self, items):
        self.items = {}
        for item in items:
            name = item.nodeid.partition("[")[0]
            marks = {mark.name for mark in item.iter_markers()}
            self.items.setdefault(name, []).append(sorted(marks))

seen = Seen()
pytest.main(["--collect-only", "-qqq", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[seen])
print(json.dumps(seen.items))
"""
SKIPPED = {"skip", "skipif", "xfail"}


@pytest.fixture(scope="module")
def collected():
    """FILE::FUNCTION -> the marks of each of its tests, as pytest collects them."""
    files = sorted({test.partition("::")[0] for test in NAMED})
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, *files], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_test_that_is_named_is_collected_and_not_skipped(collected):
    missing = [test for test in NAMED if test not in collected]
    assert missing == []
    for promise in promises.load():
        for test in promise.tests:
            if not promise.needs:  # else the page says so
                assert not any(SKIPPED & set(marks) for marks in collected[test]), test


def test_every_promise_is_a_sentence_and_groups_stand_together():
    found = promises.load()
    assert len(found) >= 15
    assert all(promise.says.endswith(".") and "\n" not in promise.says for promise in found)
    groups = [promise.group for promise in found]
    changes = [b for a, b in zip([None, *groups], groups, strict=False) if a != b]
    assert len(changes) == len(set(groups))
    assert len({promise.says for promise in found}) == len(found)


def test_the_source_of_a_test_is_shown_with_its_decorators():
    shown = promises.source("tests/test_promises.py::collected")
    assert shown.startswith('@pytest.fixture(scope="module")\ndef collected():')
    assert shown.endswith("return json.loads(done.stdout.splitlines()[-1])")
    for test in NAMED:
        assert f"def {test.partition('::')[2]}(" in promises.source(test)


@pytest.mark.parametrize("test", ["tests/test_promises.py::none", "tests/none.py::x", "x", ""])
def test_a_test_that_is_not_there_is_told(test):
    with pytest.raises(PromiseError, match="there is no test"):
        promises.source(test)


@pytest.mark.parametrize(
    "entry",
    [
        'group = "a"\nsays = "b."',
        'group = "a"\nsays = "b."\ntests = []',
        'group = "a"\nsays = "b."\ntests = ["x"]\ntest = "y"',
        'says = "b."\ntests = ["x"]',
    ],
)
def test_a_promise_without_a_test_is_refused(tmp_path, entry):
    path = tmp_path / "promises.toml"
    path.write_text(f"[[promise]]\n{entry}\n")
    with pytest.raises(PromiseError, match="promises.toml"):
        promises.load(path)
