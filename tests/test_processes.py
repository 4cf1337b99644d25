"""Worker processes: what they are started with, and that this process is left as it was."""

import os
import subprocess
import sys

import pytest

from sparseconv_lib.study import processes

NAMES = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")
TOLD = f"import os; print(*(os.environ.get(name) for name in {NAMES!r}))"


def in_a_child():
    done = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_children_keep_freed_memory_and_nothing_is_left_behind():
    before = dict(os.environ)
    with processes.children_keep_freed_memory():
        assert in_a_child() == ["0", str(2**40)]
    assert dict(os.environ) == before and in_a_child() == ["None", "None"]
    with pytest.raises(KeyError), processes.children_keep_freed_memory():
        raise KeyError
    assert dict(os.environ) == before


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv(NAMES[0], "7")
    with processes.children_keep_freed_memory():
        assert in_a_child() == ["7", str(2**40)]
    assert os.environ[NAMES[0]] == "7" and NAMES[1] not in os.environ


def test_a_process_knows_how_it_was_started():
    assert not processes.keeps_freed_memory()
    asked = "from sparseconv_lib.study import processes; print(processes.keeps_freed_memory())"
    with processes.children_keep_freed_memory():
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout == "True\n"
