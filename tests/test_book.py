"""The built book: whole, readable without a network, on a wide and on a narrow screen.

What the tests share, conftest.py has.
"""

import csv
import itertools
import json
import re
import runpy
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
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
    from sparseconv_lib.study import ledger
    from sparseconv_lib.study.claims import load

    claims = load().claims
    table = content_pages["book/intro.html"].select_one("table.ledger")
    assert len(table.tbody.find_all("tr")) == len(claims)
    ids = {e["id"] for e in content_pages["book/claims.html"].find_all("section", id=True)}
    assert {f"claim-{claim.id}" for claim in claims} <= ids
    told = content_pages["book/claims.html"].get_text().count("Trained on")
    assert 0 < told == sum(bool(ledger.devices(row)) for row in ledger.rows())


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


def known_runs(html):
    """What numbers.js is told: runs.js, read."""
    text = (html / "_static" / "runs.js").read_text("utf-8")
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def test_every_number_leads_to_runs_that_are_known(html, content_pages):
    from sparseconv_lib.study.numbers import from_short

    known = known_runs(html)["cells"]
    seeds = {name: {run[0] for run in runs} for name, runs in known.items()}
    numbers = {name: page.select("article a.number") for name, page in content_pages.items()}
    for name in ("book/intro.html", "book/chapters/mnist.html", "book/chapters/discussion.html"):
        assert numbers[name], name
    for name, links in numbers.items():
        for link in links:
            assert re.fullmatch(r"(\.\./)*runs/\w+/[^/]+\.html", link["href"]), (name, link["href"])
            for key in from_short(link["data-runs"]):
                cell = f"{key.experiment};{key.protocol};{key.network};{key.sparsity:g}"
                assert key.seed in seeds[cell], (name, str(key))


def test_no_mark_of_a_number_is_left(html, pages):
    files = [*(html / name for name in pages), ROOT / "README.md"]
    files += [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book" / "chapters").glob("*.ipynb")]
    for path in files:
        text = path.read_text("utf-8")
        assert not re.search("[\ue000-\ue002]|\\\\ue00[0-2]", text), path


def test_the_table_of_runs_has_every_page_and_the_sidebar_none(content_pages):
    runs = {
        path.relative_to(ROOT / "book" / "runs").with_suffix("").as_posix()
        for path in (ROOT / "book" / "runs").glob("*/*.ipynb")
    }
    links = content_pages["book/runs/index.html"].select("table.runs tbody tr td:first-child a")
    assert {link["href"].removesuffix(".html") for link in links} == runs
    assert len(links) == len(runs)
    for name, page in content_pages.items():
        sidebar = [a["href"] for a in page.select("#pst-primary-sidebar a[href]")]
        assert sidebar
        listed = [href for href in sidebar if re.search(r"-seed\d+\.html", href)]
        assert listed == [], name


def test_the_page_on_provenance_has_its_parts(content_pages):
    from sparseconv_lib.study.grid import EXPERIMENTS

    page = content_pages["book/provenance.html"]
    tables = page.select("table.provenance")
    assert len(tables) >= 5
    missing = next(t for t in tables if "Missing" in t.thead.get_text())
    assert len(missing.tbody.find_all("tr")) == len(EXPERIMENTS)
    assert page.find("section", id="changes-between-releases").get_text().strip()


# In a browser --------------------------------------------------------------------------------


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
@pytest.mark.parametrize("width", [1280, 390])
def test_a_number_shows_its_trainings(width, html, opened):
    page = opened(width, has_touch=width == 390)
    page.goto((html / "book/chapters/mnist.html").as_uri())
    box, numbers = page.locator(".number-box"), page.locator("td a.number")
    number = numbers.nth(2)
    number.scroll_into_view_if_needed()
    number.tap() if width == 390 else number.hover()
    box.wait_for(state="visible")
    assert number.get_attribute("aria-expanded") == "true"
    for id_ in number.get_attribute("aria-describedby").split():
        assert page.locator(f"#{id_}").inner_text().strip()
    text = box.inner_text()
    for told in (
        "n = ",
        "Device",
        "Seconds",
        "Commit",
        "papermill notebooks/mnist.ipynb out.ipynb",
    ):
        assert told in text, text
    assert number.inner_text() in text
    left, right = box.evaluate(
        "b => [b.getBoundingClientRect().left, b.getBoundingClientRect().right]"
    )
    assert left >= 0 and right <= width
    run = box.locator("a").first
    assert "seed" in run.inner_text()
    address = run.get_attribute("href")
    page.keyboard.press("Escape")
    box.wait_for(state="hidden")
    page.goto(address)
    assert page.locator("article h1").inner_text()


@pytest.mark.browser
def test_numbers_by_keyboard(html, opened):
    page = opened(1280)
    page.goto((html / "book/chapters/mnist.html").as_uri())
    box = page.locator(".number-box")
    table = page.locator("table:has(a.number)").first
    assert table.locator('a.number[tabindex="0"]').count() == 1  # one stop for each table
    first = table.locator("a.number").first
    page.keyboard.press("Tab")  # from here on the keyboard is in use
    first.focus()
    box.wait_for(state="visible")
    page.keyboard.press("ArrowRight")
    second = table.locator("a.number").nth(1)
    page.wait_for_function(
        "n => n.getAttribute('aria-expanded') === 'true'", arg=second.element_handle()
    )
    assert page.locator('a.number[aria-expanded="true"]').count() == 1
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.className === 'number-box'")
    page.keyboard.press("Escape")
    box.wait_for(state="hidden")
    assert second.evaluate("n => n === document.activeElement")


@pytest.mark.browser
def test_without_script_a_number_is_a_link_with_a_title(html, browser):
    context = browser.new_context(java_script_enabled=False)  # which blocks requests for scripts
    context.set_offline(True)
    page = context.new_page()
    page.goto((html / "book/chapters/mnist.html").as_uri())
    number = page.locator("td a.number").first
    assert "n = " in number.get_attribute("title")
    number.click()
    assert "/book/runs/mnist/" in page.url
    page.goto((html / "book/runs/index.html").as_uri())
    assert page.locator("table.runs tbody tr").first.is_visible()
    context.close()


@pytest.mark.browser
def test_tables_are_offered_as_csv(html, opened):
    page = opened(1280, accept_downloads=True)
    page.goto((html / "book/chapters/mnist.html").as_uri())
    page.locator("td a.number").first.click()  # what it shows is not part of the table
    page.locator(".number-box").wait_for(state="visible")
    page.keyboard.press("Escape")
    with page.expect_download() as download:
        page.locator("p.csv a").first.click()
    assert re.fullmatch(r"mnist-[a-z0-9-]+\.csv", download.value.suggested_filename)
    rows = list(csv.reader(Path(download.value.path()).read_text("utf-8").splitlines()))
    shown = page.locator("article table").first
    assert len(rows) == shown.locator("tr").count()
    assert len({len(row) for row in rows}) == 1
    header = [text.strip() for text in shown.locator("thead th").all_inner_texts()]
    assert rows[0] == header
    assert rows[1][2] == shown.locator("tbody tr").first.locator("td").nth(2).inner_text().replace(
        "\u00a0", " "
    )


@pytest.mark.browser
def test_the_runs_sort_and_filter(html, opened):
    page = opened(1280)
    page.goto((html / "book/runs/index.html").as_uri() + "?network=ConvNet")
    rows, count = page.locator("table.runs tbody tr:visible"), page.locator("output")
    every = page.locator("table.runs tbody tr").count()
    networks = rows.locator("td:nth-child(4)").all_inner_texts()
    assert 0 < len(networks) < every and all("ConvNet" in text.split(", ") for text in networks)
    assert count.inner_text() == f"{len(networks)} of {every} run pages"
    page.locator("select[name=sparsity]").select_option("0.8")
    assert set(rows.locator("td:nth-child(6)").all_inner_texts()) == {"0.8"}
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(
        "n => document.querySelector('output').innerText.startsWith(n)", arg=f"{every} of"
    )
    seconds = page.locator("table.runs th").nth(8)
    for direction, reverse in (("ascending", False), ("descending", True)):
        seconds.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert seconds.get_attribute("aria-sort") == direction
        found = [float(text) for text in rows.locator("td:nth-child(9)").all_inner_texts()]
        assert len(found) == every and found == sorted(found, reverse=reverse)


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
