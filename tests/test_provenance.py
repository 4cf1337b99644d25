"""Provenance: the identity of the code changes with what can change a number, and with no more."""

import ast
import copy
import os
import re
import shutil
import subprocess

import pytest

from sparseconv_lib.study import provenance
from sparseconv_lib.study.paths import ROOT

DECIDING = provenance.deciding_modules()


def identity(root, module=provenance.TRAINING):
    return provenance.code_identity.__wrapped__(module, root)  # uncached: the files change here


@pytest.fixture
def copied(tmp_path):
    """A folder with a copy of the package: root, and a function name -> path of that module."""
    shutil.copytree(
        ROOT / "sparseconv_lib",
        tmp_path / "sparseconv_lib",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return tmp_path, lambda name: tmp_path.joinpath(*name.split(".")).with_suffix(".py")


# Which modules decide


def test_the_modules_that_decide_a_number_today():
    assert {
        "sparseconv_lib.masks",
        "sparseconv_lib.layers",
        "sparseconv_lib.networks",
        "sparseconv_lib.study.protocol",
        "sparseconv_lib.study.training",
    } <= set(DECIDING)
    # What only draws, tabulates or schedules must not mark every record as made by other code.
    for name in ("figures", "report", "cli", "sweep", "records", "tables", "grid", "verdicts"):
        assert f"sparseconv_lib.study.{name}" not in DECIDING


def test_no_deciding_module_imports_through_the_package_itself():
    """`from sparseconv_lib import SparseConv2d` would hide layers.py from the identity."""
    for name in DECIDING:
        tree = ast.parse(provenance._file_of(name, ROOT).read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in (
                "sparseconv_lib",
                "sparseconv_lib.study",
            ):
                for alias in node.names:
                    assert f"{node.module}.{alias.name}" in DECIDING, f"{name}: {alias.name}"


def package(root, **sources):
    folder = root / "sparseconv_lib"
    (folder / "study").mkdir(parents=True)
    for name, source in {"__init__": "", "study/__init__": "", **sources}.items():
        (folder / f"{name}.py").write_text(source)
    return root


def test_imports_are_followed_wherever_and_however_they_stand(tmp_path):
    names = {
        "a": "import torch\nimport sparseconv_lib.b\n",
        "b": "def f():\n    from sparseconv_lib.c import thing\n",
        "c": "if True:\n    from sparseconv_lib import d\nfrom sparseconv_lib.study import e\n",
        "d": "from sparseconv_lib import a, not_a_module\n",  # a circle
        "study/e": "import os.path, sparseconv_lib.study.f as g\n",
        "study/f": "",
        "unrelated": "import sparseconv_lib.a\n",
    }
    root = package(tmp_path, **names)
    found = provenance.deciding_modules("sparseconv_lib.a", root)
    followed = ("a", "b", "c", "d", "study", "study.e", "study.f")
    assert found == [f"sparseconv_lib.{name}" for name in followed]


def test_a_relative_import_is_refused(tmp_path):
    root = package(tmp_path, a="from . import b\n", b="")
    with pytest.raises(ValueError, match=r"sparseconv_lib\.a imports relatively"):
        provenance.deciding_modules("sparseconv_lib.a", root)


# What changes the identity


def test_identity_is_16_digits_and_that_of_this_checkout(copied):
    root, _ = copied
    assert re.fullmatch("[0-9a-f]{16}", identity(root))
    assert identity(root) == provenance.code_identity()


class Redocument(ast.NodeTransformer):
    """Other docstrings, where there were some and where there were none."""

    def visit_documented(self, node):
        self.generic_visit(node)
        body = node.body[1:] if ast.get_docstring(node) else node.body
        if body:  # else the docstring is all there is, and stands for `pass`
            node.body = [ast.Expr(ast.Constant("Other words.")), *body]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_documented


def test_comments_docstrings_and_layout_do_not_count(copied):
    root, path = copied
    before = identity(root)
    for name in DECIDING:
        source = path(name).read_text("utf-8")
        path(name).write_text(f"# A comment.\n\n\n{source}\n\n# Another.\n", "utf-8")
        assert identity(root) == before, f"a comment in {name}"
        bare = ast.unparse(ast.parse(source))  # no comment, no blank line, other line breaks
        assert bare != source
        path(name).write_text(bare, "utf-8")
        assert identity(root) == before, f"the layout of {name}"
        other = ast.unparse(ast.fix_missing_locations(Redocument().visit(ast.parse(source))))
        assert other.count("Other words.") > 1
        path(name).write_text(other, "utf-8")
        assert identity(root) == before, f"the docstrings of {name}"
        spaced = re.sub(r"\n\n+", "\n\n\n\n", source).replace("    ", "        ")
        if ast.dump(ast.parse(spaced)) == ast.dump(ast.parse(source)):
            path(name).write_text(spaced, "utf-8")
            assert identity(root) == before, f"the indentation of {name}"
        path(name).write_text(source, "utf-8")


@pytest.mark.parametrize("name", DECIDING)
def test_code_counts_in_each_deciding_module(copied, name):
    root, path = copied
    before = identity(root)
    source = path(name).read_text("utf-8")
    for addition in ("_x = 0\n", "import math as _m\n", "def _f(): ...\n", "if 0:\n    pass\n"):
        path(name).write_text(source + addition, "utf-8")
        assert identity(root) != before, addition
    path(name).write_text(source, "utf-8")
    assert identity(root) == before


def variants(tree):
    """Copies of a tree, each with one constant, name, attribute or operator changed."""
    texts = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    }
    for position, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Constant) and id(node) not in texts:
            change = ("value", f"{node.value}!" if isinstance(node.value, str) else "changed")
        elif isinstance(node, ast.Name):
            change = ("id", f"{node.id}_")
        elif isinstance(node, ast.Attribute):
            change = ("attr", f"{node.attr}_")
        elif isinstance(node, ast.BinOp):
            change = ("op", ast.Mod() if not isinstance(node.op, ast.Mod) else ast.Add())
        else:
            continue
        yield position, change


@pytest.mark.parametrize("name", DECIDING)
def test_any_constant_name_or_operator_counts(name):
    tree = ast.parse(provenance._file_of(name, ROOT).read_text("utf-8"))
    before = provenance._dump(tree)
    assert provenance._dump(copy.deepcopy(tree)) == before
    nodes = list(ast.walk(tree))
    changes = list(variants(tree))
    assert len(changes) > 5
    for position, (field, value) in changes[:: max(1, len(changes) // 120)]:
        old = getattr(nodes[position], field)
        setattr(nodes[position], field, value)
        assert provenance._dump(tree) != before, ast.unparse(nodes[position])
        setattr(nodes[position], field, old)


@pytest.mark.parametrize(
    "a, b",
    [
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 0", "x = None"),
        ("x = 'a'", "x = b'a'"),
        ("f(x)", "f(*x)"),
        ("f(x)", "f(x=x)"),
        ("f(x, y)", "f(y, x)"),
        ("x = {**a}", "x = {a: a}"),
        ("x = a and b", "x = a or b"),
        ("x = a < b", "x = a <= b"),
        ("x = -a", "x = +a"),
        ("x = a[1:]", "x = a[:1]"),
        ("x = (a,)", "x = [a]"),
        ("def f(x): return x", "def f(x, /): return x"),
        ("def f(x): return x", "def f(*, x): return x"),
        ("def f(x=1): ...", "def f(x=2): ..."),
        ("@d\ndef f(): ...", "def f(): ..."),
        ("f'{x}'", "f'{x!r}'"),
        ("f'{x:.1f}'", "f'{x:.2f}'"),
        ("for i in x: pass\nelse: y()", "for i in x: pass\ny()"),
        ("return_ = 1; 'not a docstring'", "return_ = 1"),
    ],
)
def test_what_python_tells_apart_has_two_identities(a, b):
    assert provenance._dump(ast.parse(a)) != provenance._dump(ast.parse(b))


def test_a_newly_imported_module_counts(copied):
    root, path = copied
    before = identity(root)
    new = path("sparseconv_lib.study.schedule")
    new.write_text("RATE = 1\n")
    assert identity(root) == before  # nobody imports it
    training = path(provenance.TRAINING)
    training.write_text(training.read_text("utf-8") + "import sparseconv_lib.study.schedule\n")
    imported = identity(root)
    assert imported != before
    new.write_text("RATE = 2\n")
    assert identity(root) not in (before, imported)


def test_modules_that_decide_nothing_do_not_count(copied):
    root, path = copied
    before = identity(root)
    others = {
        ".".join(file.relative_to(root).with_suffix("").parts)
        for file in (root / "sparseconv_lib").rglob("*.py")
    } - set(DECIDING)
    assert len(others) > 8
    for name in others:
        path(name).write_text(path(name).read_text("utf-8") + "\n_x = 0\n", "utf-8")
    assert identity(root) == before
    path("sparseconv_lib.study.figures").unlink()
    assert identity(root) == before


# The commit


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout in the place of ours, with one commit; run(*arguments) runs git in it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv("SPARSECONV_COMMIT", raising=False)
    root = tmp_path / "checkout"
    for name in ("sparseconv_lib/layers.py", "notebooks/mnist.py", "book/intro.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x = 1\n")
    monkeypatch.setattr(provenance, "ROOT", root)

    def run(*arguments):
        who = ["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(root), *who, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    run("init", "-q")
    run("add", ".")
    run("commit", "-q", "-m", "first")
    return root, run


def test_commit_of_a_clean_and_of_a_changed_checkout(checkout):
    root, run = checkout
    head = run("rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", head)
    assert provenance.commit() == head
    (root / "book" / "intro.md").write_text("Other words, which no training reads.\n")
    (root / "results").mkdir()
    (root / "results" / "new.json").write_text("{}")
    assert provenance.commit() == head
    (root / "sparseconv_lib" / "layers.py").write_text("x = 2\n")
    assert provenance.commit() == f"{head}+changes"
    run("checkout", "-q", "sparseconv_lib")
    assert provenance.commit() == head
    (root / "notebooks" / "new.py").write_text("untracked\n")
    assert provenance.commit() == f"{head}+changes"


def test_commit_that_the_environment_names_wins(checkout, monkeypatch):
    monkeypatch.setenv("SPARSECONV_COMMIT", "abc123")
    assert provenance.commit() == "abc123"
    monkeypatch.setenv("SPARSECONV_COMMIT", "")
    assert len(provenance.commit()) == 40


def test_commit_without_git_or_without_a_checkout_is_unknown(checkout, monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)  # no checkout
    assert provenance.commit() == "unknown"
    monkeypatch.setattr(provenance, "ROOT", checkout[0])
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert provenance.commit() == "unknown"


# The machine


def test_device_and_versions_say_what_a_reader_needs():
    import torch

    assert re.fullmatch(r"\S.*, \d+ cores", provenance.device_name("cpu"))
    found = provenance.versions()
    assert found["torch"] == torch.__version__
    assert {"python", "numpy"} < set(found)
    assert ("cuda" in found) == torch.cuda.is_available()
