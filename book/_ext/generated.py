"""Sphinx directives for the tables that the book makes from rules, presets and records.

A page that holds one is read anew in every build, so neither its table nor its glued numbers can
be older than what they come from.
"""

import html
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from sparseconv_lib.study import claims, deviations, ledger, numbers
from sparseconv_lib.study.protocol import PRESETS
from sparseconv_lib.study.records import protocol_in_names

Cell = list[nodes.Node]


def table(name: str, headers: list[str], widths: list[int], body: list[list[Cell]]) -> nodes.table:
    """A table whose first column names its rows."""
    group = nodes.tgroup(cols=len(headers))
    group += [nodes.colspec(colwidth=width, stub=(i == 0)) for i, width in enumerate(widths)]
    head: list[Cell] = [[nodes.Text(text)] for text in headers]
    for part, rows in ((nodes.thead(), [head]), (nodes.tbody(), body)):
        for cells in rows:
            row = nodes.row()
            for cell in cells:
                row += nodes.entry("", nodes.paragraph("", "", *cell))
            part += row
        group += part
    return nodes.table("", group, classes=["generated", name])


def told(text: str) -> Cell:
    """Text whose marked numbers are links that tell their trainings."""
    return [nodes.raw("", numbers.as_html(html.escape(text)), format="html")]


def verdict(row: ledger.Row) -> Cell:
    name = row.word.replace(" ", "-")
    return [nodes.inline("", row.word, classes=["verdict", f"verdict-{name}"])]


def label(row: ledger.Row) -> str:
    return f"claim-{row.claim.id}"


class Generated(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        return self.content_nodes()

    def content_nodes(self) -> list[nodes.Node]:
        raise NotImplementedError

    def markdown(self, text: str) -> Cell:
        return self.state.inline_text(text, self.lineno)[0]


# Where a claim's experiment is told of, if not in the chapter of that name.
CHAPTERS = {"discussion": "depth"}


class Ledger(Generated):
    """Every claim in one line: what it says, the verdict, the source's number, ours, and where."""

    def content_nodes(self) -> list[nodes.Node]:
        body = []
        for row in ledger.rows():
            link = addnodes.pending_xref(
                "",
                nodes.inline("", row.claim.title),
                refdomain="std",
                reftype="ref",
                refexplicit=True,
                refwarn=True,
                reftarget=label(row),
                refdoc=self.env.docname,
            )
            chapter = CHAPTERS.get(row.claim.experiment, row.claim.experiment)
            where = addnodes.pending_xref(
                "",
                nodes.inline("", chapter),
                refdomain="std",
                reftype="doc",
                refexplicit=True,
                refwarn=True,
                reftarget=f"/book/chapters/{chapter}",
                refdoc=self.env.docname,
            )
            source = [nodes.Text(row.claim.numbers)]
            remarks = ledger.remarks(row)
            ours = told(f"{ledger.ours(row) or '–'}{'. ' * bool(remarks)}{remarks}")
            body.append([[link], verdict(row), source, ours, [where]])
        headers = ["Claim", "Verdict", "The source's number", "Ours", "Chapter"]
        return [table("ledger", headers, [5, 2, 4, 5, 2], body)]


class Claims(Generated):
    """Every claim in a section of its own: its words, its place, its rule, its verdict and why."""

    def content_nodes(self) -> list[nodes.Node]:
        return [self.section(row) for row in ledger.rows()]

    def section(self, row: ledger.Row) -> nodes.section:
        claim, rule = row.claim, row.claim.rule
        section = nodes.section(ids=[label(row)], names=[label(row)])
        self.state.document.note_explicit_target(section)
        section += nodes.title("", claim.title)
        section += nodes.block_quote(
            "",
            nodes.paragraph("", claim.quote),
            nodes.attribution("", claim.where),
        )
        facts: list[tuple[str, Cell]] = [
            ("Verdict", [*verdict(row), *told(f" {row.reason} {ledger.caveats(row)}".rstrip())]),
            ("The source's number", [nodes.Text(claim.numbers)]),
            ("Ours", told(ledger.ours(row) or "–")),
            *([("Trained on", told(where))] if (where := ledger.devices(row)) else []),
            *(
                [("Ours, by the source’s code", told(by_code))]
                if (by_code := ledger.by_the_code(claim))
                else []
            ),
            ("Reproduced if", [nodes.Text(row.rule)]),
        ]
        if rule.type == "contrast" and len(rule.contrasts) > 1:
            text = "; ".join(f"{c} {ledger.in_bounds(c)}" for c in rule.contrasts)
            facts.append(("In full", [nodes.Text(text + ".")]))
        for why in (rule.margin_because, rule.widest_because, rule.decides):
            if why:
                facts.append(("Why so", [nodes.Text(why)]))
        if rule.family:
            facts.append(("Judged over", [nodes.Text(rule.family)]))
        if claim.protocol != "none":
            facts.append(("Protocol", [nodes.literal("", claim.protocol)]))
        if row.verdict.decisive is not None and claim.experiment != "discussion":
            folder = f"results/{claim.experiment}/{protocol_in_names(claim.protocol)}"
            facts.append(("Records", [nodes.literal("", folder)]))
        facts.append(("Measured", [nodes.Text(claim.metric)]))
        fields = nodes.field_list()
        for name, cell in facts:
            fields += nodes.field(
                "",
                nodes.field_name("", name),
                nodes.field_body("", nodes.paragraph("", "", *cell)),
            )
        section += fields
        return section


class SeenBefore(Generated):
    """What was known when the rules were written, as their file says it."""

    def content_nodes(self) -> list[nodes.Node]:
        items = [
            nodes.list_item("", nodes.paragraph("", text)) for text in claims.load().seen_before
        ]
        return [nodes.bullet_list("", *items)]


class Deviations(Generated):
    """Every choice of a training for a task: the text, the code, and each of our presets."""

    required_arguments = 1

    def content_nodes(self) -> list[nodes.Node]:
        task = self.arguments[0]
        presets, body = PRESETS[task], []
        for row in deviations.rows(task):
            name: Cell = [nodes.Text(row.name)]
            if row.meaning == row.name:
                name = [nodes.literal("", row.name)]
            elif row.meaning:
                name = [nodes.literal("", row.name), nodes.Text(f": {row.meaning}")]
            said = [self.markdown(text) for text in (row.text, row.code)]
            ours = [self.markdown(row.ours[preset]) for preset in presets]
            body.append([name, *said, *ours])
        headers = ["Choice", "Text", "Code", *presets]
        beyond_from = len(body) - len(deviations.BEYOND[task])
        known, beyond = body[:beyond_from], [row[:4] for row in body[beyond_from:]]
        return [
            table("deviations", headers, [4, 4, 4, *[2] * len(presets)], known),
            table("beyond", ["Beyond the protocol", "Text", "Code", "Ours"], [3] * 4, beyond),
        ]


def leave_out_of_search(app: Sphinx, doctree: nodes.document) -> None:
    """Keeps run pages, which are many and alike, from burying all others in a search."""
    name = app.env.docname
    if name.startswith("book/runs/") and name != "book/runs/index":
        app.env.metadata[name]["nosearch"] = ""


def mark_built(app: Sphinx, error: Exception | None) -> None:
    """Leaves `.built` in a book that was built without errors or warnings, and no page too many.

    After a warning the next build starts anew: Sphinx would otherwise not read that page again,
    and pass.
    """
    out = Path(app.outdir)
    for page in (out / "book").rglob("*.html"):  # of sources that are gone
        if page.relative_to(out).with_suffix("").as_posix() not in app.env.found_docs:
            page.unlink()
    mark = out / ".built"
    if error is None and not app._warncount:
        mark.touch()
    else:
        mark.unlink(missing_ok=True)
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, int]:
    app.add_directive("ledger", Ledger)
    app.add_directive("claims", Claims)
    app.add_directive("deviations", Deviations)
    app.add_directive("seen-before", SeenBefore)
    app.connect("doctree-read", leave_out_of_search)
    app.connect("build-finished", mark_built)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
