"""The built book: whole, readable without a network, on a wide and on a narrow screen.

The tests look at `_build/html`, and build it first if it is missing or older than what it is made
of. Those marked `browser` need Chromium or Chrome; without one they are skipped, or fail where $CI
or $SPARSECONV_REQUIRE_BROWSER is set.
"""

import fcntl
import itertools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
SOURCES = ("_config.yml", "_toc.yml", "book", "notebooks", "results", "sparseconv_lib")
MADE = {"__pycache__", "chapters", ".partial", ".ipynb_checkpoints"}  # not written by hand
LOADING = {  # what makes a browser fetch something to show the page
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest", "font"}
# A path below a folder that only a machine has; not the "/home" of a web address.
MACHINE_PATH = re.compile(r"(?<![\w./:-])(?:/(?:home|root|tmp|work|Users|opt|var)/\w|[A-Z]:\\\w)")


def newest(paths) -> float:
    return max((path.stat().st_mtime for path in paths), default=0.0)


def source_files():
    for name in SOURCES:
        top = ROOT / name
        for path in top.rglob("*") if top.is_dir() else [top]:
            if path.is_file() and not MADE & set(path.relative_to(ROOT).parts):
                yield path


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book, built anew if it is not up to date."""
    (ROOT / "_build").mkdir(exist_ok=True)
    with (ROOT / "_build" / ".lock").open("w") as lock:  # one build at a time under pytest-xdist
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = HTML / ".built"  # made by book/_ext at the end of a build without warnings
        if not built.exists() or built.stat().st_mtime < newest(source_files()):
            if (ROOT / "Makefile").exists():
                command = ["make", "book"]
            else:
                program = Path(sys.executable).with_name("jupyter-book")
                command = [str(program), "build", "-W", "-n", "--keep-going", "."]
            run = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert run.returncode == 0, f"{' '.join(command)}\n{(run.stdout + run.stderr)[-4000:]}"
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


def toc_entries(node) -> list[dict]:
    found = [node]
    for key in ("parts", "chapters", "sections", "subtrees", "entries"):
        for child in node.get(key, []):
            found += toc_entries(child)
    return found


def test_every_page_of_the_contents_exists(html):
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    entries = toc_entries(contents)
    names = [entry["file"] for entry in entries if "file" in entry] + [contents["root"]]
    for pattern in (entry["glob"] for entry in entries if "glob" in entry):
        names += [
            path.relative_to(ROOT).with_suffix("").as_posix()
            for path in ROOT.glob(f"{pattern}.ipynb")
        ]
    missing = [name for name in names if not (html / f"{name}.html").exists()]
    assert not missing
    assert (html / "index.html").exists()


def test_run_pages_have_titles_of_their_own(content_pages):
    titles: dict[str, list[str]] = {}
    for name, page in content_pages.items():
        titles.setdefault(page.h1.get_text().rstrip("#").strip(), []).append(name)
    assert {title: names for title, names in titles.items() if len(names) > 1} == {}


def external(address: str) -> bool:
    return re.match(r"\s*(?:https?:)?//", address) is not None


def test_nothing_is_loaded_from_elsewhere(pages):
    found = []
    for name, page in pages.items():
        for tag, attributes in LOADING.items():
            for element in page.find_all(tag):
                for attribute in attributes:
                    for address in str(element.get(attribute, "")).split(","):
                        if external(address):
                            found.append((name, tag, address))
        for link in page.find_all("link"):
            if LOADING_LINKS & set(link.get("rel", [])) and external(link.get("href", "")):
                found.append((name, "link", link["href"]))
        for style in [*page.find_all("style"), *page.find_all(style=True)]:
            text = style.string or style.get("style", "")
            found += [(name, "style", url) for url in external_in_css(str(text))]
    assert found == []


def external_in_css(text: str) -> list[str]:
    addresses = re.findall(r"url\(\s*['\"]?([^'\")]+)", text)
    addresses += re.findall(r"@import\s+['\"]([^'\"]+)", text)
    return [address for address in addresses if external(address)]


def test_style_sheets_load_nothing_from_elsewhere(html):
    found = {
        path.name: external_in_css(path.read_text("utf-8"))
        for path in (html / "_static").rglob("*.css")
    }
    assert {name: urls for name, urls in found.items() if urls} == {}


def test_mathjax_is_local(pages, html):
    page = pages["book/intro.html"]
    scripts = [s["src"] for s in page.find_all("script", src=True) if "mathjax" in s["src"]]
    assert scripts
    for script in scripts:
        assert (html / "book" / urlsplit(script).path).resolve().is_file()


def test_no_error_output_and_no_path_of_a_machine(content_pages):
    errors, paths = [], []
    for name, page in content_pages.items():
        if page.select(".output.traceback, .cell_output .stderr") or page.find(
            string=re.compile(r"Traceback \(most recent call last\)")
        ):
            errors.append(name)
        if match := MACHINE_PATH.search(page.get_text()):
            paths.append((name, page.get_text()[match.start() : match.end() + 60]))
    assert errors == []
    assert paths == []


def test_no_notebook_holds_an_error():
    found = []
    for path in [*(ROOT / "book").rglob("*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")]:
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            outputs = cell.get("outputs", [])
            if any(output["output_type"] == "error" for output in outputs):
                found.append(path.name)
    assert found == []


def test_every_picture_has_a_text(content_pages):
    without = [
        (name, str(image)[:80])
        for name, page in content_pages.items()
        for image in page.find_all("img")
        if not image.get("alt", "").strip()
    ]
    assert without == []


def test_headings_do_not_skip_a_level(content_pages):
    wrong = []
    for name, page in content_pages.items():
        article = page.select_one("article.bd-article")
        levels = [int(heading.name[1]) for heading in article.find_all(re.compile("^h[1-6]$"))]
        if levels.count(1) != 1 or levels[0] != 1:
            wrong.append((name, "one h1, at the top", levels))
        wrong += [
            (name, f"h{a} then h{b}", levels) for a, b in itertools.pairwise(levels) if b > a + 1
        ]
    assert wrong == []


def test_table_headers(content_pages):
    without = [
        (name, table.get_text()[:60])
        for name, page in content_pages.items()
        for table in page.select("article.bd-article table")
        if not table.find("th")
    ]
    assert without == []


def test_internal_links_and_anchors_resolve(pages, html):
    anchors: dict[Path, set[str]] = {
        (html / name).resolve(): {e["id"] for e in page.find_all(id=True)}
        | {e["name"] for e in page.find_all("a", attrs={"name": True})}
        for name, page in pages.items()
    }
    broken = []
    for name, page in pages.items():
        for link in page.find_all("a", href=True):
            parts = urlsplit(link["href"])
            if parts.scheme or parts.netloc or link["href"] in ("#", ""):
                continue
            here = html / name
            target = (here.parent / unquote(parts.path)).resolve() if parts.path else here.resolve()
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and anchor not in anchors.get(target, set())):
                broken.append((name, link["href"]))
    assert broken == []


def test_search_index_holds_every_page(html, content_pages):
    index = (html / "searchindex.js").read_text("utf-8")
    content = json.loads(index[index.index("{") : index.rindex("}") + 1])
    assert {f"{name}.html" for name in content["docnames"]} >= set(content_pages)


def test_the_ledger_has_every_claim(content_pages):
    from sparseconv_lib.study.claims import load

    claims = load().claims
    table = content_pages["book/intro.html"].select_one("table.ledger")
    assert len(table.tbody.find_all("tr")) == len(claims)
    ids = {e["id"] for e in content_pages["book/claims.html"].find_all("section", id=True)}
    assert {f"claim-{claim.id}" for claim in claims} <= ids


def test_the_deviations_have_every_row(content_pages):
    from sparseconv_lib.study import deviations

    tables = content_pages["book/deviations.html"].select("table.generated")
    assert sum(len(t.tbody.find_all("tr")) for t in tables) == sum(
        len(deviations.rows(dataset)) for dataset in deviations.TEXT
    )


def test_the_code_of_use_runs(tmp_path):
    """What a reader would copy from "use SparseConv2d in your own network"."""
    text = (ROOT / "book" / "use.md").read_text("utf-8")
    blocks = re.findall(r"```\{code-block\} python\n(?::.*\n)*(.*?)```", text, re.DOTALL)
    assert blocks
    program = tmp_path / "use.py"
    program.write_text("\n".join(blocks), "utf-8")
    runpy.run_path(str(program))


# In a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        reason = f"no browser (playwright, and one of {', '.join(names)}, are needed)"
        if os.environ.get("CI") or os.environ.get("SPARSECONV_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Nothing but the page: no update, no metrics, no sandbox (which containers do not allow).
    switches = (
        "no-sandbox disable-gpu disable-quic no-first-run disable-sync "
        "disable-background-networking disable-component-update disable-dev-shm-usage"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[f"--{switch}" for switch in switches.split()]
        )
        yield browser
        browser.close()


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


def shown_pages(content_pages, runs: int = 2) -> list[str]:
    """Every page but the runs, which are all alike: of those the first and the last few."""
    run_pages = [name for name in content_pages if re.match("book/runs/.+/", name)]
    others = [name for name in content_pages if name not in run_pages]
    return others + list(dict.fromkeys(run_pages[: runs // 2] + run_pages[-runs // 2 :]))


def typeset(page) -> None:
    page.wait_for_function("() => !window.MathJax || window.MathJax.startup?.promise")
    page.evaluate("() => window.MathJax?.startup?.promise")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_the_screen_and_maths_is_typeset(width, html, content_pages, opened):
    page = opened(width)
    for name in shown_pages(content_pages):
        page.goto((html / name).as_uri())
        typeset(page)
        wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1], f"{name} is {wide[0]} pixels wide on {wide[1]}"
        formulas = len(content_pages[name].select("article .math"))
        assert page.locator("article mjx-container").count() == formulas, name
        assert page.locator("mjx-merror").count() == 0, name
        broken = page.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        assert broken == [], name
    assert sum(len(p.select("article .math")) for p in content_pages.values())


CONTRAST = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = c => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = c;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = c => c.slice(0, 3)
    .map(x => (x /= 255) <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] > 200) return c;
    }
    return [255, 255, 255, 255];
  };
  const low = [];
  for (const e of document.querySelectorAll(
      'article p, article td, article th, article caption, article figcaption, article a, ' +
      'article .verdict, article dt, article dd, article li, article h1, article h2')) {
    if (!e.checkVisibility() || !e.innerText?.trim()) continue;
    if (e.closest('.headerlink')) continue;
    const [a, b] = [light(rgba(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(1)}: ${e.tagName} ${e.innerText.slice(0, 40)}`);
  }
  return low;
}
"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme, html, content_pages, opened):
    """A contrast of at least 4.5 to 1, as WCAG asks, in light and dark."""
    page = opened(1280, color_scheme=scheme)
    low = {}
    for name in shown_pages(content_pages):
        page.goto((html / name).as_uri())
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        if found := page.evaluate(CONTRAST):
            low[name] = found[:5]
    assert low == {}


@pytest.mark.browser
def test_search_works_from_disk(html, opened):
    page = opened(1280)
    page.goto((html / "search.html").as_uri() + "?q=dilate")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    results = page.locator("#search-results li a").all_inner_texts()
    assert any("layers" in text or "library" in text for text in results), results


@pytest.mark.browser
def test_folded_code_opens(html, content_pages, opened):
    name = next(name for name, p in content_pages.items() if p.select("details.hide"))
    page = opened(1280)
    page.goto((html / name).as_uri())
    fold = page.locator("details.hide").first
    code = fold.locator(".highlight").first
    assert not code.is_visible()
    fold.locator("summary").click()
    assert code.is_visible()
