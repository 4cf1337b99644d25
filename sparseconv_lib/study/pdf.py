"""`make pdf`: the main pages of the built book as one PDF, printed by Chromium without a network.

`document` puts the articles of the built pages, in the order of the table of contents, into one
HTML page: names of places get their page's name before them, so that links lead within the PDF, and
the code is left out where the book folds it. `write` has Chromium typeset and print it. Run pages
are left out; a link to one is plain text.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag

import yaml

from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.paths import TOP

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Nothing but the page: no update, no metrics, no sandbox (which containers do not allow).
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
)
WIDTH = 680  # CSS pixels between the margins of a sheet of A4
MARGINS: Any = {"top": "18mm", "bottom": "18mm", "left": "15mm", "right": "15mm"}

STYLE = """
@page { size: A4; }
html, body { background: #fff; font-size: 10.5pt; }
body { margin: 0; color: #000; line-height: 1.45; }
.bd-article { padding: 0; max-width: none; }
.chapter { break-before: page; }
h1, h2, h3, h4, .table-caption, caption, figcaption { break-after: avoid; break-inside: avoid; }
h1 { font-size: 1.9em; margin-top: 0; }
h2 { font-size: 1.4em; }
h3 { font-size: 1.15em; }
figure, img, svg, tr, .admonition, mjx-container[display="true"], dl.field-list > dd,
blockquote, .cell_output .output { break-inside: avoid; }
.cell_output .output.text_html { break-inside: auto; }
thead { display: table-header-group; }
p, li { orphans: 3; widows: 3; }
.headerlink, .copybtn, .prev-next-area, button:not(.legend *) { display: none !important; }
.table-scroll, .pst-scrollable-table-container, .cell_output .output.text_html, div.math,
mjx-container[display="true"], .bd-article .highlight pre {
  overflow: visible !important; max-width: none;
}
.bd-article .highlight pre, pre {
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: 8.5pt;
}
table, table.generated { font-size: 8.5pt; line-height: 1.3; min-width: 0 !important; width: auto; }
table.deviations, table.beyond { font-size: 7.5pt; table-layout: fixed; width: 100%; }
table.deviations thead th:first-child { width: 27%; }
table.deviations :is(th, td) { overflow-wrap: anywhere; padding: .2em .4em; }
.title-page { padding-top: 75mm; text-align: center; }
.title-page .title { font-size: 2.4em; font-weight: 600; line-height: 1.2; }
.book-contents { break-before: page; columns: 2; font-size: 9pt; line-height: 1.35; }
.book-contents h1 { column-span: all; }
.book-contents ol { list-style: none; margin: 0; padding-left: 0; }
.book-contents ol ol { padding-left: 1.2em; font-size: .92em; }
.book-contents > ol > li { break-inside: avoid; margin-bottom: .5em; }
.book-contents > ol > li > a { font-weight: 600; }
.book-contents a { color: inherit; text-decoration: none; }
"""

# After typesetting: what is still wider than the sheet becomes as small as it has to be.
SHRINK = """
width => {
  for (const maths of document.querySelectorAll('mjx-container[display="true"]')) {
    const inner = maths.querySelector('mjx-math');
    const wide = inner.getBoundingClientRect().width, room = maths.parentElement.clientWidth;
    if (wide > room) maths.style.fontSize = `${100 * room / wide}%`;
  }
  const start = document.body.getBoundingClientRect().left;
  for (const wide of document.querySelectorAll('table, svg, img, .highlight')) {
    const box = wide.getBoundingClientRect();
    if (!box.width || wide.closest('mjx-container') || wide.parentElement.closest('table, svg'))
      continue;
    const room = width - (box.left - start);
    if (box.width > room) wide.style.zoom = room / box.width;
  }
  return document.documentElement.scrollWidth;
}
"""


class PdfError(OneLineError, RuntimeError):
    """No PDF can be made; the message names the remedy."""


def main_pages(contents: dict[str, Any]) -> Iterator[str]:
    """Every `file:` of a table of contents, in its order: run pages come by `glob:`."""
    if "root" in contents:
        yield contents["root"]
    if "file" in contents:
        yield contents["file"]
    for name in ("parts", "chapters", "sections"):
        for child in contents.get(name, []):
            yield from main_pages(child)


def document(html: Path, names: list[str], place: Path) -> str:
    """The pages `names` of the book in `html` as one page, to be opened as the file `place`.

    Raises PdfError for a page that has not been built.
    """
    from bs4 import BeautifulSoup

    built = {}
    for name in names:
        path = html / f"{name}.html"
        if not path.is_file():
            raise PdfError(f"{path} is not there: run `make book` first")
        built[path.resolve()] = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    articles, contents = [], []
    for path, page in built.items():
        article = page.select_one("article.bd-article")
        assert article is not None  # every page of the theme has one
        _settle(article, path, built, html.resolve(), place)
        articles.append(f'<div class="chapter" id="{_name(path, html)}">{article}</div>')
        contents.append(_contents_of(article, _name(path, html)))
    first = next(iter(built.values()))
    path = next(iter(built))
    head = first.head
    assert head is not None  # and one of these
    for link in head.find_all(["link", "script"]):
        _point(link, "href", path, place)
        _point(link, "src", path, place)
    title = _plain(first.h1)
    announced = first.select_one(".bd-header-announcement")
    note = f"<p>{announced.decode_contents()}</p>" if announced else ""
    style = BeautifulSoup(f"<style>{STYLE}</style>", "html.parser")
    head.append(style)
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light">{head}<body>'
        f'<div class="title-page"><p class="title">{title}</p>{note}</div>'
        '<nav class="book-contents" aria-label="Contents"><h1>Contents</h1>'
        f"<ol>{''.join(contents)}</ol></nav><main>{''.join(articles)}</main></body></html>"
    )


def _name(path: Path, html: Path) -> str:
    return "page-" + "-".join(path.relative_to(html.resolve()).with_suffix("").parts)


def _plain(heading: Any) -> str:
    return heading.get_text().removesuffix("#").strip()


def _contents_of(article: Any, chapter: str) -> str:
    """The chapter's entry in the table of contents, with its sections."""
    inner = [
        f'<li><a href="#{h.find_parent(id=True)["id"]}">{_plain(h)}</a></li>'
        for h in article.find_all("h2")
    ]
    title = _plain(article.h1)
    return f'<li><a href="#{chapter}">{title}</a><ol>{"".join(inner)}</ol></li>'


def _settle(article: Any, path: Path, built: dict[Path, Any], html: Path, place: Path) -> None:
    """Makes the article of one page a part of the whole: its names, its links, its files."""
    # Of the runs there are more than a reader of paper wants listed.
    for fold in article.select("details.hide, script, .headerlink, .copybtn, .toctree-wrapper"):
        fold.decompose()
    for table in article.select("table.runs"):
        table.replace_with("Their table, of a row each, is left out in print.")
    for fold in article.select("details"):
        fold["open"] = ""
    prefix = _name(path, html)
    for element in article.find_all(id=True):
        if element.find_parent("svg"):  # of markers and clips, which are told apart in the book
            continue
        element["id"] = f"{prefix}--{element['id']}"
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        for element in article.find_all(attrs={attribute: True}):
            element[attribute] = f"{prefix}--{element[attribute]}"
    for element in article.find_all("input", attrs={"name": True}):
        element["name"] = f"{prefix}--{element['name']}"
    for element in article.find_all(src=True):
        _point(element, "src", path, place)
    for link in article.find_all("a", href=True):
        address, fragment = urldefrag(link["href"])
        if ":" in address.split("/")[0]:
            continue  # elsewhere
        target = (path.parent / unquote(address)).resolve() if address else path
        if target in built:
            name = _name(target, html)
            link["href"] = f"#{name}--{fragment}" if fragment else f"#{name}"
        else:
            del link["href"]  # a run page, or a file beside the book


def _point(element: Any, attribute: str, page: Path, place: Path) -> None:
    """Makes a relative address of `page` one of `place`."""
    address = element.get(attribute)
    if not address or ":" in address.split("/")[0] or address.startswith("#"):
        return
    file, question, query = address.partition("?")
    target = os.path.relpath(page.parent / unquote(file), place.parent)
    element[attribute] = Path(target).as_posix() + question + query


def find_browser() -> str:
    """The path of a Chromium. Raises PdfError where there is none, or no playwright."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        raise PdfError("a PDF needs the package playwright: run `make setup`") from None
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise PdfError(
            f"a PDF needs a browser, one of {', '.join(BROWSERS)}, on the PATH; on Debian: "
            "apt-get install chromium"
        )
    return found


@contextmanager
def opened_browser() -> Iterator["Browser"]:
    """A Chromium without a window. Raises PdfError where there is none, or no playwright."""
    path = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        try:
            yield browser
        finally:
            browser.close()


def write(page: Path, target: Path, title: str, browser: "Browser") -> None:
    """Prints the HTML in `page` to `target`, whole or not at all. PdfError where maths fails."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 1000}, color_scheme="light", offline=True
    )
    try:
        opened = context.new_page()
        opened.set_default_timeout(600_000)  # a slow machine has much to typeset
        opened.emulate_media(media="print")
        opened.goto(page.as_uri())
        opened.wait_for_function("() => window.MathJax?.startup?.promise")
        opened.evaluate("() => window.MathJax.startup.promise")
        if wrong := opened.locator("mjx-merror").count():
            raise PdfError(f"{wrong} formulas cannot be typeset; mend them in the book")
        opened.evaluate("() => document.fonts.ready.then(() => true)")
        opened.evaluate(SHRINK, WIDTH)
        part = target.with_name(f"{target.name}.part")
        style = "font: 8pt sans-serif; width: 100%; padding: 0 15mm; color: #444"
        opened.pdf(
            path=part,
            format="A4",
            margin=MARGINS,
            print_background=True,
            display_header_footer=True,
            header_template=f'<div style="{style}">{title}</div>',
            footer_template=f'<div style="{style}; text-align: right">'
            '<span class="pageNumber"></span> / <span class="totalPages"></span></div>',
            tagged=True,
            outline=True,
        )
    finally:
        context.close()
    os.replace(part, target)


def make(top: Path = TOP) -> Path:
    """Prints the book that stands built below `top`; returns the path of the PDF."""
    find_browser()  # before anything slow
    html = top / "_build" / "html"
    contents = yaml.safe_load((top / "_toc.yml").read_text(encoding="utf-8"))
    title = yaml.safe_load((top / "_config.yml").read_text(encoding="utf-8"))["title"]
    folder = top / "_build" / "pdf"
    folder.mkdir(parents=True, exist_ok=True)
    page, target = folder / "book.html", folder / "book.pdf"
    page.write_text(document(html, list(main_pages(contents)), page), encoding="utf-8")
    with opened_browser() as browser:
        write(page, target, title, browser)
    return target


def main() -> int:
    try:
        target = make()
    except OneLineError as error:
        print(f"pdf: {error}", file=sys.stderr)
        return 1
    print(f"The report is in {target.relative_to(TOP)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
