"""`make mutate`: breaks the code in one small way after another; some test should notice each.

mutmut changes one expression of a function at a time (a sign, a bound, an argument, a text) and
runs the tests that reach the function. results/mutation.json counts what was caught. Every mutant
that no test caught stands in results/mutants.toml with the reason why it may live: the command
fails where one is not listed, where a listed one is caught, or where fewer than 90 % are caught.

Each module is broken in a copy of its own below _build/mutation. Modules whose code is the one that
was measured are left out; name one to measure it anyway:

    .venv/bin/python tests/mutate.py records

and after you have added tests, to try only what has survived:

    .venv/bin/python tests/mutate.py --again records

mutmut leaves decorated functions (a property, a cache) and tables outside of functions as they are.
"""

import argparse
import ast
import difflib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from sparseconv_lib.study.guards import (
    LEAST_CAUGHT,
    MODULES,
    MUTATION,
    identity,
    reasons,
    survivors,
)

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "_build" / "mutation"

# Module -> the tests that guard it, and which of them are left out: those that start other
# processes, or a compiler, which takes longer than all the rest.
TESTS = {
    "masks": (["tests/test_masks.py"], ""),
    "statistics": (["tests/test_statistics.py"], ""),
    "records": (["tests/test_records.py"], "read_only"),
    "layers": (["tests/test_layers.py"], "compiled or program"),
}
CAUGHT, SURVIVED, UNTESTED = "caught", "survived", "untested"
# mutmut's exit codes; any other (a time-out, a crash of the interpreter) is a caught mutant.
_VERDICTS = {0: SURVIVED, 5: UNTESTED, 33: UNTESTED}


def measure(module: str, again: bool = False) -> dict:
    """Runs mutmut on one module; what was counted, and the mutants that nothing caught.

    again: after tests were added, of the count before only what survived it is tried.
    """
    path, (tests, left_out) = MODULES[module], TESTS[module]
    folder = WORK / module
    if again:
        _forget_survivors(folder / "mutants" / f"{path}.meta")
        for copy in (folder, folder / "mutants"):
            shutil.copytree(ROOT / "tests", copy / "tests", dirs_exist_ok=True)
        return _run(module, folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    skip = shutil.ignore_patterns("__pycache__", "*.ipynb")
    for name in ("sparseconv_lib", "tests", "results"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", folder)
    options = ["-p", "no:cacheprovider", "--hypothesis-seed=0", "-k", f"not ({left_out})"]
    lines = {
        "source_paths": ["sparseconv_lib"],
        "only_mutate": [path],
        "also_copy": ["results"],
        "pytest_add_cli_args_test_selection": tests,
        "pytest_add_cli_args": options if left_out else options[:-2],
        "track_dependencies": ["false"],
        "use_git_change_detection": ["false"],
    }
    text = "\n".join(f"{key}=\n    " + "\n    ".join(each) for key, each in lines.items())
    # One value stands beside its name; a list below it.
    text = re.sub(r"=\n    ([^\n]*)(?=\n\w|$)", r"=\1", text)
    (folder / "setup.cfg").write_text(f"[mutmut]\n{text}\n", encoding="utf-8")
    return _run(module, folder)


def _forget_survivors(meta: Path) -> None:
    found = json.loads(meta.read_text("utf-8"))
    for name, code in found["exit_code_by_key"].items():
        if code in _VERDICTS:
            found["exit_code_by_key"][name] = None
    meta.write_text(json.dumps(found), "utf-8")


def _run(module: str, folder: Path) -> dict:
    path = MODULES[module]
    with (folder / "log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", "mutmut", "run", "--max-children", "1"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SPARSECONV_SOURCE": "records"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,  # what it exits with says only whether some mutant survived
        )
    verdicts = json.loads((folder / "mutants" / f"{path}.meta").read_text("utf-8"))
    codes = verdicts["exit_code_by_key"]
    if None in codes.values() or 2 in codes.values():
        raise SystemExit(f"{module}: mutmut did not finish; see {folder / 'log'}")
    kinds = {name: _VERDICTS.get(code, CAUGHT) for name, code in codes.items()}
    mutated = (folder / "mutants" / path).read_text("utf-8")
    return {
        "code": identity(module),
        "mutants": len(kinds),
        "caught": sum(kind == CAUGHT for kind in kinds.values()),
        "survivors": [
            {"function": function, "was": was, "is": now, "untested": kinds[name] == UNTESTED}
            for name in sorted(kinds)
            if kinds[name] != CAUGHT
            for function, was, now in [_change(mutated, name)]
        ],
    }


@functools.cache
def _functions(text: str) -> dict[str, list[str]]:
    """The lines of each function in a file."""
    lines = text.splitlines()
    return {
        node.name: lines[node.lineno - 1 : node.end_lineno]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    }


def _change(mutated: str, name: str) -> tuple[str, str, str]:
    """(function, lines before, lines after) of a mutant, from the file that holds all of them."""
    mangled = name.rsplit(".", 1)[-1]  # x_name__mutmut_3, or xǁClassǁname__mutmut_3
    stem = mangled.rsplit("__mutmut_", 1)[0]
    functions = _functions(mutated)
    before, after = functions[f"{stem}__mutmut_orig"][1:], functions[mangled][1:]
    changed = [line for line in difflib.ndiff(before, after) if line[:1] in "+-"]
    was, now = ("\n".join(x[2:].strip() for x in changed if x[0] == sign) for sign in "-+")
    function = stem.removeprefix("xǁ" if stem.startswith("xǁ") else "x_")
    return function.replace("ǁ", "."), was, now


def problems(figures: dict) -> list[str]:
    """What is wrong with the figures, a line each."""
    found = []
    for module, counts in figures["modules"].items():
        if counts["caught"] < LEAST_CAUGHT * counts["mutants"]:
            found.append(f"{module}: {counts['caught']} of {counts['mutants']} caught")
    alive, known = set(survivors(figures)), set(reasons())
    found += [f"no reason given: {mutant}" for mutant in sorted(alive - known)]
    found += [f"listed, but caught or gone: {mutant}" for mutant in sorted(known - alive)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts the mutants that the tests catch.")
    parser.add_argument("module", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--again", action="store_true", help="only what survived the last count")
    arguments = parser.parse_args()
    asked = arguments.module
    if unknown := set(asked) - set(TESTS):
        parser.error(f"{', '.join(sorted(unknown))}: known are {', '.join(TESTS)}")
    try:
        figures = {"mutmut": metadata.version("mutmut"), "modules": {}}
    except metadata.PackageNotFoundError:
        parser.error("mutmut is not installed; run `make mutate`, which installs it")
    if MUTATION.exists():
        figures["modules"] = json.loads(MUTATION.read_text("utf-8"))["modules"]
    for module in asked or TESTS:
        counted = figures["modules"].get(module, {}).get("code") == identity(module)
        if arguments.again and not counted:
            parser.error(f"{module} has changed since it was counted; leave --again out")
        if arguments.again and not (WORK / module / "mutants").is_dir():
            parser.error(f"{module} was not counted in this checkout; leave --again out")
        if counted and not asked and not arguments.again:
            continue
        print(f"{module} …", flush=True)
        figures["modules"][module] = found = measure(module, arguments.again)
        print(f"{module}: {found['caught']} of {found['mutants']} mutants caught", flush=True)
        MUTATION.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    wrong = problems(figures)
    print(*wrong, sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
