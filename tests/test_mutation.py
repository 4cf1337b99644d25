"""What `make mutate` counted: enough is caught, and what is not has a reason."""

import json
import sys

import mutate
import pytest

from sparseconv_lib.study import guards

FIGURES = json.loads(guards.MUTATION.read_text("utf-8"))


def test_every_module_is_counted_that_should_be():
    assert set(FIGURES["modules"]) == set(guards.MODULES) == set(mutate.TESTS)


@pytest.mark.parametrize("counted", guards.mutations(), ids=lambda counted: counted.module)
def test_nine_of_ten_mutants_are_caught(counted):
    assert counted.mutants > 50
    assert counted.caught >= guards.LEAST_CAUGHT * counted.mutants
    assert counted.caught + len(counted.survivors) == counted.mutants


def test_every_survivor_has_a_reason_and_every_reason_a_survivor():
    assert mutate.problems(FIGURES) == []
    assert all(len(reason) > 10 for reason in guards.reasons().values())


def test_what_is_wrong_with_figures_is_told(monkeypatch):
    mutant = {"function": "f", "was": "a", "is": "b", "untested": False}
    figures = {"modules": {"masks": {"mutants": 10, "caught": 8, "survivors": [mutant]}}}
    monkeypatch.setattr(mutate, "reasons", lambda: {("masks", "f", "a", "c"): "gone"})
    few, unlisted, gone = mutate.problems(figures)
    assert "8 of 10" in few and "no reason given" in unlisted and "caught or gone" in gone


def test_a_mutant_is_told_by_its_function_and_lines():
    text = (
        "def x_f__mutmut_orig(a):\n    return a + 1\n\n"
        "def x_f__mutmut_1(a):\n    return a - 1\n\n"
        "class C:\n    def xǁCǁg__mutmut_orig(self):\n        return 1\n"
        "    def xǁCǁg__mutmut_12(self):\n        return 2\n"
        "    def xǁ_Cǁ__init____mutmut_orig(self):\n        return 1\n"
        "    def xǁ_Cǁ__init____mutmut_1(self):\n        return 2\n"
    )
    assert mutate._change(text, "m.x_f__mutmut_1") == ("f", "return a + 1", "return a - 1")
    assert mutate._change(text, "m.xǁCǁg__mutmut_12") == ("C.g", "return 1", "return 2")
    named = mutate._change(text, "m.xǁ_Cǁ__init____mutmut_1")
    assert named == ("_C.__init__", "return 1", "return 2")


def test_to_count_again_is_to_try_what_survived(tmp_path):
    """mutmut tries what has no exit code; 0 is a survivor, 33 one that no test reached."""
    meta = tmp_path / "x.meta"
    meta.write_text(json.dumps({"exit_code_by_key": {"a": 0, "b": 1, "c": 33, "d": 24}}))
    mutate._forget_survivors(meta)
    codes = json.loads(meta.read_text())["exit_code_by_key"]
    assert codes == {"a": None, "b": 1, "c": None, "d": 24}


def test_a_change_of_code_and_none_of_comments_makes_figures_old(tmp_path):
    file = tmp_path / guards.MODULES["masks"]
    file.parent.mkdir(parents=True)
    texts = (
        "def f(a):\n    return a + 1\n",
        'def f(a):  # one\n    """More."""\n    return a + 1\n',
        "def f(a):\n    return a + 2\n",
    )
    digests = []
    for text in texts:
        file.write_text(text)
        digests.append(guards.identity("masks", tmp_path))
    assert digests[0] == digests[1] != digests[2]


# `make coverage` ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lines", "branches"])
def test_nearly_all_lines_and_branches_are_run(kind):
    """As counted, which takes long, by the code that results/coverage.json names."""
    run, all_of_them = guards.coverage()[kind]
    assert all_of_them > 1000 and run >= guards.LEAST_RUN * all_of_them


def test_coverage_is_what_coverage_py_says(monkeypatch):
    monkeypatch.setenv("SPARSECONV_COMMIT", "abc")
    totals = {"covered_lines": 5, "num_statements": 8, "covered_branches": 1, "num_branches": 4}
    found = guards.count_coverage({"totals": totals})
    assert (found["lines"], found["branches"], found["commit"]) == ([5, 8], [1, 4], "abc")


def test_coverage_is_kept_for_the_book(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(guards, "COVERAGE", tmp_path / "coverage.json")
    assert guards.coverage(guards.COVERAGE) is None
    report = tmp_path / "report.json"
    totals = {"covered_lines": 5, "num_statements": 8, "covered_branches": 1, "num_branches": 4}
    report.write_text(json.dumps({"totals": totals}))
    monkeypatch.setattr(sys, "argv", ["guards", str(report)])
    guards.main()
    assert guards.coverage(guards.COVERAGE)["lines"] == [5, 8]
    assert capsys.readouterr().out == "5 of 8 lines run: 62.5%\n1 of 4 branches run: 25.0%\n"
    report.write_text("{}")
    with pytest.raises(SystemExit):
        guards.main()
    assert "run `make coverage`" in capsys.readouterr().err
