"""axe-core finds nothing serious in the built book, in light and dark, on a phone and a desk.

axe-core is fetched by `npm install --no-save --no-package-lock axe-core@4.10.3`, as .ci/run does.
"""

import pytest
from test_book import ROOT, shown_pages, typeset

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
RUN = """
rules => axe.run(document, {
    resultTypes: ['violations'],
    preload: false,  // else it asks for the style sheets, which a page from disk cannot
    ...(rules ? {runOnly: rules} : {}),
  })
  .then(found => found.violations
    .filter(v => ['serious', 'critical'].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.length} times, first ${v.nodes[0].html.slice(0, 200)}: `
      + v.nodes[0].failureSummary))
"""


@pytest.fixture(scope="module")
def axe():
    if not AXE.is_file():
        pytest.skip("no axe-core: npm install --no-save --no-package-lock axe-core@4.10.3")
    return AXE.read_text("utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("scheme, width", [("light", 1280), ("light", 390), ("dark", 1280)])
def test_nothing_serious(scheme, width, axe, html, content_pages, opened):
    page = opened(width, color_scheme=scheme)
    # What is dark differs in its colours only.
    rules = ["color-contrast"] if scheme == "dark" else None
    found = {}
    for name in [*shown_pages(content_pages), "search.html", "genindex.html"]:
        page.goto((html / name).as_uri())
        typeset(page)
        page.evaluate(axe)
        if wrong := page.evaluate(RUN, rules):
            found[name] = wrong
    assert found == {}


@pytest.mark.browser
def test_axe_would_find_something(axe, opened):
    page = opened(1280)
    page.set_content('<html lang="en"><title>x</title><main><img src="data:,"></main></html>')
    page.evaluate(axe)
    assert any("image-alt" in line for line in page.evaluate(RUN, None))
