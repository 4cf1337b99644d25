"""The directive `limitation`: a sentence, or the table, of sparseconv_lib.study.report_limitations.

As with the other generated parts, a page that holds one is read anew in every build.
"""

from docutils import nodes
from generated import Generated, table, told
from sphinx.application import Sphinx

from sparseconv_lib.study import report_limitations


class Limitation(Generated):
    """`coverage` is the table of what has been trained; all others are sentences."""

    required_arguments = 1

    def content_nodes(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name == "coverage":
            return [self.coverage()]
        if name not in report_limitations.SENTENCES:
            known = ", ".join(("coverage", *report_limitations.SENTENCES))
            raise self.error(f"no limitation is called {name!r}; known: {known}")
        return [nodes.paragraph("", "", *told(report_limitations.SENTENCES[name]()))]

    def coverage(self) -> nodes.table:
        found = report_limitations.coverage()
        body = [
            [
                [nodes.literal("", row[0])],
                *(told(str(cell)) for cell in row[1:]),
            ]
            for row in found.itertuples(index=False)
        ]
        return table("coverage", list(found.columns), [4, 3, 3, 3], body)


def setup(app: Sphinx) -> dict[str, int]:
    app.add_directive("limitation", Limitation)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
