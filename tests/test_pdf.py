"""The book as one PDF: what is put together, that links stay inside, that nothing wide is cut."""

import re

import pytest
import yaml
from bs4 import BeautifulSoup

from sparseconv_lib.study import pdf
from sparseconv_lib.study.paths import ROOT

PAGE = """<!DOCTYPE html><html><head><title>{title}</title>
<script>window.MathJax = {{startup: {{promise: Promise.resolve()}}}}</script>
<link href="{up}_static/book.css?v=1" rel="stylesheet"></head><body>
<article class="bd-article"><section id="top"><h1>{title}<a class="headerlink">#</a></h1>
<details class="hide above-input"><summary>Show the code</summary>secret</details>
<section id="part"><h2>A part</h2>{body}</section></section></article></body></html>"""


@pytest.fixture
def book(tmp_path):
    """A book of two pages, in `html`, and the file to put together in `pdf`."""
    html = tmp_path / "html"
    (html / "book" / "chapters").mkdir(parents=True)
    body = (
        '<p><a href="chapters/two.html#part">there</a> <a href="#part">here</a> '
        '<a href="runs/a.html">a run</a> <a href="https://example.org/x">out</a></p>'
        '<img src="../_images/a.png" alt="a"><svg><defs><path id="m1"/><clipPath id="c1"/></defs>'
        '<g clip-path="url(#c1)"><use href="#m1"/></g></svg>'
        '<div><table class="runs"><tr><td>a row of many</td></tr></table></div>'
    )
    (html / "book" / "one.html").write_text(PAGE.format(title="One", up="../", body=body))
    (html / "book" / "chapters" / "two.html").write_text(
        PAGE.format(title="Two", up="../../", body='<p><a href="../one.html">back</a></p>')
    )
    (tmp_path / "pdf").mkdir()
    return tmp_path


def put_together(book):
    page = book / "pdf" / "book.html"
    page.write_text(pdf.document(book / "html", ["book/one", "book/chapters/two"], page), "utf-8")
    return page


def test_pages_become_one(book):
    page = BeautifulSoup(put_together(book).read_text("utf-8"), "html.parser")
    assert [h.get_text() for h in page.select("main h1")] == ["One", "Two"]
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    links = {a.get_text(): a.get("href") for a in page.select("main a")}
    assert links == {
        "there": "#page-book-chapters-two--part",
        "here": "#page-book-one--part",
        "a run": None,
        "out": "https://example.org/x",
        "back": "#page-book-one",
    }
    inside = [a["href"] for a in page.find_all("a", href=re.compile("^#"))]
    assert {address[1:] for address in inside} <= set(ids)
    assert [a.get_text() for a in page.select("nav a")] == ["One", "A part", "Two", "A part"]
    assert "secret" not in page.get_text()
    assert "a row of many" not in page.get_text() and "left out in print" in page.get_text()
    assert page.svg.use["href"][1:] in ids  # a chart keeps its markers and its clips
    assert page.svg.g["clip-path"] == f"url(#{page.find('clippath')['id']})"
    assert page.img["src"] == "../html/_images/a.png"
    assert page.head.link["href"] == "../html/_static/book.css?v=1"


def test_a_page_that_is_not_built(book):
    with pytest.raises(pdf.PdfError, match="make book"):
        pdf.document(book / "html", ["book/three"], book / "pdf" / "book.html")


def test_main_pages_are_those_of_the_contents_but_the_runs():
    names = list(pdf.main_pages(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))))
    assert names[0] == "book/intro"
    assert {"book/chapters/mnist", "book/limitations", "book/bibliography"} <= set(names)
    assert len(names) == len(set(names))
    assert not [name for name in names if "*" in name]


def test_without_a_browser_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert pdf.main() == 1
    out, errors = capsys.readouterr()
    assert out == "" and len(errors.splitlines()) == 1
    assert "chromium" in errors or "playwright" in errors


@pytest.mark.browser
def test_it_prints_and_cuts_nothing(book, browser):
    page = put_together(book)
    wide = "<table><tr>" + "<td>unbreakable</td>" * 40 + "</tr></table>"
    page.write_text(page.read_text("utf-8").replace("</main>", f"{wide}</main>"), "utf-8")
    target = book / "pdf" / "book.pdf"
    pdf.write(page, target, "A title", browser)
    content = target.read_bytes()
    assert content.startswith(b"%PDF")
    # A title, the contents, and two chapters; what is too wide makes no pages of its own.
    assert len(re.findall(rb"/Type /Page\b", content)) == 4
    assert not list(target.parent.glob("*.part"))


@pytest.mark.browser
def test_what_is_too_wide_is_made_smaller(browser):
    page = browser.new_page(viewport={"width": pdf.WIDTH, "height": 800})
    cells = "<td>unbreakable</td>" * 12
    page.set_content(f"<body style='margin: 0'><table><tr>{cells}</tr></table></body>")
    before = page.evaluate("document.documentElement.scrollWidth")
    after = page.evaluate(pdf.SHRINK, pdf.WIDTH)
    page.close()
    assert before > pdf.WIDTH + 1 >= after


@pytest.mark.browser
def test_a_chart_keeps_its_legend_and_nothing_else_to_press(browser):
    page = browser.new_page()
    button = '<button type="button">ConvNet</button>'
    page.set_content(f"<style>{pdf.STYLE}</style>{button}<ul class='legend'><li>{button}</ul>")
    widths = page.evaluate("[...document.querySelectorAll('button')].map(b => b.offsetWidth)")
    page.close()
    assert widths[0] == 0 < widths[1]
