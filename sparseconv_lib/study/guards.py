"""What was counted of the guards themselves: which breaks the tests notice, and what they run.

`make mutate` writes results/mutation.json, and results/mutants.toml says of each break that was not
noticed why it may be; `make coverage` writes results/coverage.json.
"""

import argparse
import ast
import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseconv_lib.study import provenance
from sparseconv_lib.study.paths import RESULTS, ROOT

MUTATION = RESULTS / "mutation.json"
REASONS = RESULTS / "mutants.toml"
COVERAGE = RESULTS / "coverage.json"
LEAST_CAUGHT = 0.9  # of a module's mutants
LEAST_RUN = 0.95  # of the library's lines, and of its branches

# The modules that are broken on purpose, each by its file.
MODULES = {
    "layers": "sparseconv_lib/layers.py",
    "masks": "sparseconv_lib/masks.py",
    "statistics": "sparseconv_lib/study/statistics.py",
    "records": "sparseconv_lib/study/records.py",
}

Mutant = tuple[str, str, str, str]  # module, function, its lines before, and after


@dataclass(frozen=True)
class Counted:
    """Of one module: how many mutants, how many were caught, and what survived, with the reason.

    of_today: whether the module is still the one that was broken, but for comments.
    """

    module: str
    mutants: int
    caught: int
    survivors: tuple[tuple[Mutant, str], ...]
    of_today: bool


def identity(module: str, root: Path = ROOT) -> str:
    """16 hex digits over the module's syntax tree, comments and docstrings apart."""
    tree = ast.parse((root / MODULES[module]).read_text(encoding="utf-8"))
    return hashlib.sha256(provenance._dump(tree).encode()).hexdigest()[:16]


def reasons(path: Path = REASONS) -> dict[Mutant, str]:
    """Why each mutant that is known to survive may live."""
    mutants = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    return {(m["module"], m["function"], m["was"], m["is"]): m["reason"] for m in mutants}


def survivors(counts: dict[str, Any]) -> Iterable[Mutant]:
    """What survived, of results/mutation.json's content."""
    for module, found in counts["modules"].items():
        for mutant in found["survivors"]:
            yield module, mutant["function"], mutant["was"], mutant["is"]


def mutations(path: Path = MUTATION) -> list[Counted]:
    """What `make mutate` counted, module by module."""
    counts, known = json.loads(path.read_text(encoding="utf-8")), reasons()
    return [
        Counted(
            module,
            found["mutants"],
            found["caught"],
            tuple(
                (mutant, known.get(mutant, "no reason given"))
                for mutant in survivors({"modules": {module: found}})
            ),
            found["code"] == identity(module),
        )
        for module in MODULES
        if (found := counts["modules"].get(module))
    ]


def coverage(path: Path = COVERAGE) -> dict[str, Any] | None:
    """What `make coverage` counted: see `count_coverage`. None where it was not run."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def count_coverage(report: dict[str, Any]) -> dict[str, Any]:
    """Of coverage.py's JSON report: lines and branches that were run, and that there are."""
    totals = report["totals"]
    return {
        "code": provenance.code_identity(),
        "commit": provenance.commit(),
        "device": provenance.device_name("cpu"),
        "lines": [totals["covered_lines"], totals["num_statements"]],
        "branches": [totals["covered_branches"], totals["num_branches"]],
    }


def main() -> None:
    """Writes results/coverage.json from what `coverage json` wrote."""
    parser = argparse.ArgumentParser(description=(main.__doc__ or ""))
    parser.add_argument("report", type=Path)
    path = parser.parse_args().report
    try:
        found = count_coverage(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"{path} is no report of `coverage json` ({error}); run `make coverage`")
    COVERAGE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for kind in ("lines", "branches"):
        run, all_of_them = found[kind]
        print(f"{run:,} of {all_of_them:,} {kind} run: {run / all_of_them:.1%}")


if __name__ == "__main__":
    main()
