"""The run pages in the book: their table, and the way to them from every number.

`runs-table` is a row for each run page. What book/_static/numbers.js shows of a number's trainings
is written into runs.js when the book has been built. Numbers in notebooks link to run pages from
the folder of notebooks; in the book these links are set right for the page they stand on.
"""

import functools
import html
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from generated import Generated
from sphinx.application import Sphinx

from sparseconv_lib.study import numbers, run_index
from sparseconv_lib.study.records import Key

# Read once in a build: a record is checked when it is read, which takes a while for hundreds.
every_record = functools.cache(run_index.every_record)

INDEX = "book/runs/index"
LINK = re.compile(r'href="\.\./(book/runs/[^"]+)\.ipynb"')
NUMBER = re.compile(r'<a class="number" [^>]*>([^<]*)</a>')
RUNS = re.compile(r'<a class="number"( [^>]*data-runs="([^"]+)"[^>]*>[^<†]*</a>)')

# Header -> attributes: what it is filtered by, whether cells hold several, whether numbers.
COLUMNS = {
    "Run": "",
    "Chapter": 'data-filter="chapter"',
    "Data set": 'data-filter="dataset"',
    "Network": 'data-filter="network" data-several',
    "Protocol": 'data-filter="protocol"',
    "p": 'data-filter="sparsity" data-number',
    "Seed": "data-number",
    "Device": 'data-filter="device"',
    "Seconds": "data-number",
    "Day": "",
}


class RunsTable(Generated):
    """Every run page; sorts and filters where there is script."""

    def content_nodes(self) -> list[nodes.Node]:
        found = every_record()
        told = run_index.runs(found)
        count = f"{len(told)} run pages hold {len(found)} trainings."
        return [nodes.paragraph("", count), nodes.raw("", table(told), format="html")]


def table(runs: list[run_index.Run]) -> str:
    """The table as HTML; raw, since hundreds of rows would be slow as nodes."""
    heads = "".join(f'<th scope="col" {more}>{name}</th>' for name, more in COLUMNS.items())
    return (
        '<div class="table-scroll" tabindex="0" role="region" aria-label="The runs">'
        f'<table class="runs" aria-label="The runs"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{''.join(map(row, runs))}</tbody></table></div>"
    )


def row(run: run_index.Run) -> str:
    # The visible name is short; the spoken one is the row's own.
    short = f"p {run.sparsity:g}, seed {run.seed}"
    spoken = f"{short}, {run.chapter}, {run.protocol}, {run.networks[0]}"
    mark = " †" if run.other_code else ""
    cells = (
        run.chapter,
        run.dataset,
        ", ".join(run.networks),
        run.protocol,
        f"{run.sparsity:g}",
        str(run.seed),
        "; ".join(run.devices),
        f"{run.seconds:.0f}" if run.seconds >= 10 else f"{run.seconds:.1f}",
        run.day,
    )
    link = f'<a href="{html.escape(run.name)}.html" aria-label="{html.escape(spoken)}">{short}</a>'
    rest = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr><td>{link}{mark}</td>{rest}</tr>\n"


def set_links(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leads the links of numbers to the book's run pages; in a book in one page, away with them."""
    if page == INDEX:
        app.add_js_file("runs-table.js", loading_method="defer")
    if "body" not in context:
        return

    def here(found: re.Match[str]) -> str:
        return f'href="{app.builder.get_relative_uri(page, found[1])}"'

    if app.builder.name in ("html", "dirhtml"):
        context["body"] = RUNS.sub(marked, LINK.sub(here, context["body"]))
    else:
        context["body"] = NUMBER.sub(r"\1", context["body"])


def marked(found: re.Match[str]) -> str:
    """A number with the class that shows a dagger, if other code than today's made it."""
    keys = numbers.from_short(html.unescape(found[2]))
    return f'<a class="number other-code"{found[1]}' if keys & made_by_other_code() else found[0]


@functools.cache
def made_by_other_code() -> set[Key]:
    return {record.key for record in every_record() if run_index.made_by_other_code(record)}


def write_runs(app: Sphinx, error: Exception | None) -> None:
    """Writes runs.js, which a page loads when a reader first asks for a number."""
    if error is None and app.builder.format == "html":
        told = json.dumps(run_index.for_script(every_record()), separators=(",", ":"))
        path = Path(app.outdir) / "_static" / "runs.js"
        path.write_text(f"window.sparseconvRuns = {told};\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, int]:
    app.add_directive("runs-table", RunsTable)
    app.add_css_file("numbers.css")
    app.add_js_file("numbers.js", loading_method="defer")
    app.connect("html-page-context", set_links)
    app.connect("build-finished", write_runs, priority=400)  # before the book is marked as built
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
