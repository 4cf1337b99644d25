"""What tests share: one thread for those that train, the pages of the built book, one browser.

The book is built first if it is missing or older than what it is made of. Tests that are marked
`browser` need Chromium or Chrome; without one they are skipped, or fail where $CI or
$SPARSECONV_REQUIRE_BROWSER is set.
"""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest
import torch

from sparseconv_lib.study import pdf, records

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
SOURCES = ("_config.yml", "_toc.yml", "book", "notebooks", "results", "sparseconv_lib")
MADE = {"__pycache__", "chapters", ".partial", ".ipynb_checkpoints"}  # not written by hand


def newest(paths) -> float:
    return max((path.stat().st_mtime for path in paths), default=0.0)


def source_files():
    for name in SOURCES:
        top = ROOT / name
        for path in top.rglob("*") if top.is_dir() else [top]:
            if path.is_file() and not MADE & set(path.relative_to(ROOT).parts):
                yield path


@pytest.fixture(scope="module")
def one_thread():
    """As trainings have: small batches gain nothing from more, and lose much on shared cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book, built anew if it is not up to date."""
    (ROOT / "_build").mkdir(exist_ok=True)
    with (ROOT / "_build" / ".lock").open("w") as lock:  # one build at a time under pytest-xdist
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = HTML / ".built"  # made by book/_ext at the end of a build without warnings
        if not built.exists() or built.stat().st_mtime < newest(source_files()):
            run = subprocess.run(
                ["make", "book"], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
    return HTML


@pytest.fixture(scope="session")
def pages(html):
    """Path below the book -> the parsed page, for every page of the book."""
    from bs4 import BeautifulSoup

    return {
        path.relative_to(html).as_posix(): BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in sorted(html.rglob("*.html"))
        if "_static" not in path.parts and path != html / "index.html"
    }


@pytest.fixture(scope="session")
def content_pages(pages):
    """Those pages that we wrote: not the search or the indices."""
    return {name: page for name, page in pages.items() if name.startswith("book/")}


@pytest.fixture(scope="session")
def browser():
    """One for all tests of a process: playwright lets itself be started only once."""
    try:
        pdf.find_browser()
    except pdf.PdfError as reason:
        if os.environ.get("CI") or os.environ.get("SPARSECONV_REQUIRE_BROWSER"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    with pdf.opened_browser() as browser:
        yield browser


@pytest.fixture
def opened(browser):
    """Opens pages with the network off; afterwards no request and no error may have been seen."""
    problems: list[str] = []
    contexts = []

    def listen(page):
        def note_console(message):
            if message.type in ("error", "warning"):
                problems.append(f"{page.url}: console: {message.text}")

        def note_request(request):
            if not request.url.startswith(("file:", "data:", "blob:")):
                problems.append(f"{page.url}: asked for {request.url}")

        page.on("console", note_console)
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        page.on("request", note_request)
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))

    def open_pages(width, **more):
        context = browser.new_context(viewport={"width": width, "height": 900}, **more)
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        listen(page)
        return page

    yield open_pages
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def recorded(monkeypatch):
    """A function: these are all the records there are."""

    def install(*found):
        def load(experiment, protocol=None, folder=None):
            return [
                record
                for record in found
                if record.key.experiment == experiment and protocol in (None, record.key.protocol)
            ]

        by_key = {record.key: record for record in found}
        monkeypatch.setattr(records, "load", load)
        monkeypatch.setattr(records, "find", lambda key, folder=None: by_key.get(key))

    install()
    return install
