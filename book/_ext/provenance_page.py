"""The directive `provenance`, which draws one part of the page on where the numbers came from."""

import itertools
from collections.abc import Callable

from docutils import nodes
from docutils.parsers.rst import directives
from generated import Generated, table
from run_pages import every_record
from sphinx.application import Sphinx

from sparseconv_lib.study import releases, report_provenance
from sparseconv_lib.study.report_provenance import Table


class Provenance(Generated):
    """machines, versions, data, code, missing or changelog."""

    required_arguments = 1

    def content_nodes(self) -> list[nodes.Node]:
        parts: dict[str, Callable[[], list[nodes.Node]]] = {
            "machines": self.machines,
            "versions": lambda: self.shown(report_provenance.versions(every_record())),
            "data": lambda: self.shown(report_provenance.data_sets(every_record())),
            "code": lambda: self.shown(report_provenance.code(every_record())),
            "missing": lambda: self.shown(report_provenance.missing()),
            "changelog": self.changelog,
        }
        return parts[directives.choice(self.arguments[0], tuple(parts))]()

    def shown(self, found: Table) -> list[nodes.Node]:
        caption = nodes.paragraph("", "", *self.markdown(found.caption))
        if not found.rows:
            return [caption]
        body = [[[nodes.Text(cell)] for cell in row] for row in found.rows]
        # A column is as wide as its longest cell, within reason.
        widths = [
            min(30, 2 + max(map(len, column)))
            for column in zip(found.headers, *found.rows, strict=True)
        ]
        return [caption, table("provenance", list(found.headers), widths, body)]

    def machines(self) -> list[nodes.Node]:
        found = every_record()
        told = f"On GPUs: {report_provenance.gpu_hours(found):.2f} hours."
        return [*self.shown(report_provenance.machines(found)), nodes.paragraph("", told)]

    def changelog(self) -> list[nodes.Node]:
        found = releases.load()
        if not found:
            told = (
                "There is no release yet, and so nothing that the numbers could be compared with. "
                "`sparseconv release NAME` makes one of today's."
            )
            return [nodes.paragraph("", "", *self.markdown(told))]
        shown = self.shown(report_provenance.all_releases(found))
        for before, after in reversed(list(itertools.pairwise([*found, releases.today()]))):
            told, changed = report_provenance.changelog(before, after)
            name = f"From {before.name} to {after.name}"
            shown.append(nodes.paragraph("", "", nodes.strong("", f"{name}. "), nodes.Text(told)))
            shown += self.shown(changed) if changed else []
        return shown


def setup(app: Sphinx) -> dict[str, int]:
    app.add_directive("provenance", Provenance)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
