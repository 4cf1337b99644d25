"""The promises that README and book make about safety, and the tests that try to break each.

results/promises.toml lists them. The book shows each with its tests' own source, read when it is
built, so that a reader sees what was tried, and no promise can stand there without a test.
"""

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.paths import ROOT

PROMISES = ROOT / "results" / "promises.toml"


class PromiseError(OneLineError, RuntimeError):
    """A list of promises that cannot be used; the message names the entry."""


@dataclass(frozen=True)
class Promise:
    """One promise.

    group: the heading that it stands under.
    says: the promise, one sentence in Markdown.
    tests: FILE::FUNCTION of each, from the top folder.
    command: what else is to be run for it, such as `make mutate`; empty for none.
    needs: what its tests are skipped without, such as a GPU; empty where they always run.
    """

    group: str
    says: str
    tests: tuple[str, ...]
    command: str = ""
    needs: str = ""


def load(path: Path = PROMISES) -> list[Promise]:
    """Every promise, in the order of the file. Raises PromiseError for one without a test."""
    found = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("promise", []):
        try:
            promise = Promise(**{**entry, "tests": tuple(entry["tests"])})
        except (TypeError, KeyError) as error:
            raise PromiseError(f"{path.name}: {entry}: {error}") from None
        if not promise.tests:
            raise PromiseError(f"{path.name}: {promise.says!r} has no test; name one")
        found.append(promise)
    return found


def source(test: str, root: Path = ROOT) -> str:
    """The test's own source, with its decorators. Raises PromiseError where there is none."""
    name, _, function = test.partition("::")
    path = root / name
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name == function:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    raise PromiseError(f"there is no test {test}; mend results/promises.toml")
