"""One direction: every module imports only from its left."""

import ast
import subprocess
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

import sparseconv_lib

PACKAGE = Path(sparseconv_lib.__file__).parent
LIBRARY = ["masks", "layers", "networks", "resnet"]
# data -> protocol -> training -> records -> statistics -> figures, with what stands beside each.
# Those before `data` know nothing of the study, and everyone may use them.
STUDY = [
    *("paths", "torchvision_compat", "errors", "one_line", "traced", "provenance", "processes"),
    *(
        "data_error",
        "caltech",
        "fields",
        "data",
        "interpolation",
        "protocol",
        "field_store",
        "images",
        "objectives",
        "replay",
        "evaluation",
        "training",
        "baselines",
        "stacked",
        "mask_spread",
        "denominators",
        "layouts",
        "operations",
        "benchmark",
    ),
    *(
        "records",
        "ladder",
        "grid",
        "probe",
        "sameness",
        "notebooks",
        "examples",
        "stages",
        "reconstructions",
        "runner",
        "executors",
        "sweep",
        "collect",
        "quick",
        "scaling",
        "fault_counts",
        "fault_place",
        "fault_command",
        "faults",
    ),
    *(
        "statistics",
        "numbers",
        "captions",
        "claims",
        "verdicts",
        "implementations",
        "mask_twice",
        "tables",
        "transfer",
        "skill",
        "ledger",
        "forensics",
        "deviations",
    ),
    *(
        "charts",
        "stepper",
        "figures",
        "report",
        "comparisons",
        "wording",
        "marked",
        "run_index",
        "releases",
        "report_provenance",
        "report_maths",
        "report_forensics",
        "report_batch_norm",
        "report_caltech",
        "report_classes",
        "report_ladder",
        "report_resnet",
        "report_walk",
        "report_slider",
        "report_invariance",
        "report_confounds",
        "confound_figures",
        "whole_matrix",
        "confounds_in_words",
        "cures_in_words",
        "invariance_in_words",
        "care_in_words",
        "report_depth",
        "two_tasks",
        "receptive_fields",
        "depth_in_words",
        "answer",
        "report_summary",
        "report_benchmark",
        "report_limitations",
        "guards",
        "promises",
        "readme",
        "pdf",
        "cli",
    ),
]


def imports(path):
    """Full names of all that a file imports, also inside functions: `from a import b` is a.b."""
    package = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1])
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def modules(folder):
    """The modules in a folder, without the package's own __init__ and __main__."""
    paths = sorted(path for path in folder.glob("*.py") if not path.stem.startswith("__"))
    return [pytest.param(path, id=path.stem) for path in paths]


def on_the_left_of(name, order):
    assert name in order, f"give the new module {name} its place in tests/test_imports.py"
    return order[: order.index(name)]


def ours(name, *above):
    """The module below `above` that a full name belongs to, or None."""
    parts = name.split(".")
    prefix = ["sparseconv_lib", *above]
    return parts[len(prefix)] if parts[: len(prefix)] == prefix and parts != prefix else None


@pytest.mark.parametrize("path", modules(PACKAGE))
def test_the_library_needs_torch_alone_and_what_is_on_its_left(path):
    left = on_the_left_of(path.stem, LIBRARY)
    for name in imports(path):
        top = name.split(".")[0]
        if top == "sparseconv_lib":
            assert ours(name) in left, f"{path.stem} imports {name}"
        else:
            assert top == "torch" or top in sys.stdlib_module_names, f"{path.stem} imports {name}"


@pytest.mark.parametrize("path", modules(PACKAGE / "study"))
def test_the_study_imports_from_its_left(path):
    left = on_the_left_of(path.stem, STUDY)
    for name in imports(path):
        if ours(name) == "study":
            assert ours(name, "study") in left, f"{path.stem} imports {name}"
        elif name.split(".")[0] == "sparseconv_lib":
            assert ours(name) in LIBRARY, f"{path.stem} imports {name}"


def test_the_library_does_not_know_the_study():
    assert not [name for name in imports(PACKAGE / "__init__.py") if ours(name) == "study"]


def test_the_reading_of_imports(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "sparseconv_lib")
    path = tmp_path / "sparseconv_lib" / "study" / "some.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import torch.nn as nn\nfrom . import paths\nfrom .data import load\n"
        "def f():\n    from ..layers import a, b\n"
    )
    found = ["torch.nn", "sparseconv_lib.study.paths", "sparseconv_lib.study.data.load",
             "sparseconv_lib.layers.a", "sparseconv_lib.layers.b"]  # fmt: skip
    assert imports(path) == found
    assert [ours(name) for name in found] == [None, "study", "study", "layers", "layers"]
    assert [ours(name, "study") for name in found] == [None, "paths", "data", None, None]


def test_importing_the_library_loads_nothing_but_torch():
    # What torch itself loads (numpy among it) is torch's; the rest is ours.
    present = [name for name in LIBRARY if (PACKAGE / f"{name}.py").exists()]
    script = (
        "import sys, torch; before = set(sys.modules)\n"
        f"import sparseconv_lib, {', '.join(f'sparseconv_lib.{name}' for name in present)}\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})\n"
        "print(*[name for name in sys.modules if name.startswith('sparseconv_lib.study')])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    new, study, loaded = (set(line.split()) for line in done.stdout.split("\n")[:3])
    assert "sparseconv_lib" in new and not study
    assert new - set(sys.stdlib_module_names) - {"torch"} == {"sparseconv_lib"}
    heavy = {"matplotlib", "seaborn", "pandas", "papermill", "torchvision", "scipy", "IPython"}
    assert not loaded & heavy
