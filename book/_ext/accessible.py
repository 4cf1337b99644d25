"""Mends what Sphinx and the theme write that a screen reader cannot follow, in the built pages.

- A long signature's parameters are a list of descriptions without anything that they describe.
- A bibliography is a list whose entries are no items of it.
- In the contents at the side, what opens and closes a part has no name.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

PARAMETERS = re.compile(r"<dl>(?!\s*<dt)(.*?)</dl>", re.DOTALL)
OPENER = '<summary><span class="toctree-toggle"'
NAMED = '<summary aria-label="Show or hide the pages below"><span class="toctree-toggle"'


def mended(page: str) -> str:
    """The HTML of a page, mended; what is mended already stays as it is."""
    page = PARAMETERS.sub(_as_lines, page)
    page = page.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    return page.replace(OPENER, NAMED)


def _as_lines(found: re.Match[str]) -> str:
    lines = found[1].replace("<dd>", "<span>").replace("</dd>", "</span>")
    return f'<span class="sig-lines">{lines}</span>'


def mend(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        if "_static" in path.relative_to(app.outdir).parts:
            continue
        page = path.read_text(encoding="utf-8")
        if (better := mended(page)) != page:
            path.write_text(better, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", mend, priority=400)  # before the book is marked as built
    return {"parallel_read_safe": True, "parallel_write_safe": True}
