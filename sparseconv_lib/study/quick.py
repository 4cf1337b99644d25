"""`make quick`: the whole book by the same code at a reduced size, apart from what is published.

With $SPARSECONV_QUICK set, `paths` names a folder of its own for records, pages and chapters, below
_build/quick, and `data` gives a few generated images in the place of every data set. Protocols,
networks, notebooks, verdict rules and the book are the published ones; of the grid, the few pages
below are run. What generated images say is nothing about the source's claims, and every page of
that book says so.

`python -m sparseconv_lib.study.quick` lays out that folder, trains and measures; the Makefile then
executes the chapters and builds the book, with the rules that serve the published one.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from sparseconv_lib.study import (
    benchmark,
    denominators,
    ladder,
    layouts,
    paths,
    provenance,
    records,
    sweep,
)
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.grid import EXPERIMENTS, SOURCE_NETWORKS, Page
from sparseconv_lib.study.processes import usable_cores

TITLE = "Quick: not the published numbers"
BANNER = (
    "<strong>A quick book.</strong> Its networks were trained on a few generated images, to show "
    "that the whole report can be made; its numbers and verdicts say nothing about the claims. "
    "The published numbers are in the book that “make book” builds."
)


class QuickError(OneLineError, RuntimeError):
    """`make quick` cannot go on; the message names the remedy."""


@dataclass(frozen=True)
class Part:
    """Some pages of an experiment: those of these protocols and sparsities, with these seeds.

    networks: of pages with one network each, those that are run; empty for all.
    """

    experiment: str
    protocols: tuple[str, ...]
    sparsities: tuple[float, ...]
    seeds: int = 1
    networks: tuple[str, ...] = ()

    def pages(self) -> Iterator[Page]:
        for page in EXPERIMENTS[self.experiment].pages(self.seeds):
            if page.apart and self.networks and page.networks[0] not in self.networks:
                continue
            if page.protocol in self.protocols and page.sparsity in self.sparsities:
                yield page


# A page of every chapter that trains, and two seeds where the first page has an interval.
PARTS = (
    Part("mnist", ("as_written",), (0.8,), seeds=2),
    Part("mnist", ("as_written",), (0.0,)),
    Part("invariance", ("fair",), (0.5,)),
    Part("depth", ("elevation", "digits"), (0.95,)),
    Part("caltech", ("as_written",), (0.8,)),
    Part("caltech", ("compounding",), (0.9,)),
    Part(
        "resnet18_reduced",
        tuple(ladder.trained_as("reduced", rung) for rung in (ladder.CODE, ladder.DENSE)),
        (0.0,),
    ),
    Part("resnet18_reduced", ("reduced",), (0.95,), networks=SOURCE_NETWORKS),
    Part("forensics", ("as_coded", "as_written, batch_size=64"), (0.8,)),
    Part("batch_norm", ("as_written, batch_norm=false",), (0.0,)),
)
# What was counted of the code and its tests, not of trainings: the book shows it as it is.
COUNTED = ("probes.json", "mutation.json", "coverage.json", "faults.json", "sameness.json")


def pages() -> list[Page]:
    """Every page of the quick book's grid, each once."""
    return list(dict.fromkeys(page for part in PARTS for page in part.pages()))


def lay_out(folder: Path = paths.QUICK, root: Path = paths.ROOT) -> None:
    """Copies what the book is made from: its own pages, rules and configuration, and `COUNTED`.

    Never a record or a run page. Records that are there are kept, unless other code made them.
    """
    results = folder / "results"
    if any(_made_by_other_code(path) for path in results.glob("*/*/*.json")):
        for made in (results, folder / "book" / "runs"):
            shutil.rmtree(made, ignore_errors=True)
    results.mkdir(parents=True, exist_ok=True)
    for kept in [
        *(root / "results").glob("*.toml"),
        *(root / "results" / name for name in COUNTED),
    ]:
        shutil.copy2(kept, results)
    shutil.copytree(root / "book", folder / "book", ignore=_made, dirs_exist_ok=True)
    (folder / "book" / "runs").mkdir(exist_ok=True)
    shutil.copy2(root / "book" / "runs" / "index.md", folder / "book" / "runs")
    shutil.copy2(root / "_toc.yml", folder)
    text = configuration((root / "_config.yml").read_text(encoding="utf-8"))
    place = folder / "_config.yml"
    if not place.exists() or place.read_text(encoding="utf-8") != text:
        place.write_text(text, encoding="utf-8")


def configuration(published: str) -> str:
    """The published _config.yml with the banner that stands on every page, and another title."""
    config = yaml.safe_load(published)
    config["title"] = TITLE
    config["sphinx"]["config"]["html_theme_options"]["announcement"] = BANNER
    return yaml.safe_dump(config, allow_unicode=True, sort_keys=False)


def _made(folder: str, names: list[str]) -> set[str]:
    """What of the book is not copied: what was executed, and what was compiled."""
    return {"chapters", "runs", "__pycache__"} & set(names)


def _made_by_other_code(path: Path) -> bool:
    try:
        made_by = records.read(path).content["identity"]["code"]
    except records.RecordError:
        return True
    return made_by != provenance.code_identity()


def measure() -> None:
    """What `sparseconv measure` does, in two rounds, where it has not been done."""
    if not denominators.load():
        denominators.save(denominators.measure(rounds=2))
    if not layouts.load():
        layouts.save(layouts.measure(rounds=2, batch=4))
    if not benchmark.path("cpu").exists() and not benchmark.path("cuda").exists():
        benchmark.save(benchmark.measure(quick=True))


def main() -> None:
    """Raises QuickError where a page failed, or this is no quick run."""
    if not paths.QUICKLY:
        raise QuickError("set SPARSECONV_QUICK=1, or use `make quick`, which does")
    lay_out()
    lacking = [page for page in pages() if sweep.missing_keys(page)]
    done = sweep.sweep(lacking, workers=usable_cores())
    if failed := [page for page in done if page.error]:
        raise QuickError(f"{len(failed)} of {len(lacking)} pages failed; the first: {failed[0]}")
    measure()


if __name__ == "__main__":
    try:
        main()
    except (OneLineError, OSError) as error:
        raise SystemExit(f"quick: {error}") from None
