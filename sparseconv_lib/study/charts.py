"""Charts that answer when they are pointed at: matplotlib's SVG, inside the page.

Each data point carries a text (`<title>`, which browsers show by themselves), and all that belongs
to one series carries its number. From these `book/_static/interactive.js` makes values on hover, on
touch and by arrow keys, and a legend that hides series. Without the script, and in print, the same
SVG is a still chart.
"""

import html
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseconv_lib.study import numbers

_NAMESPACES = re.compile(r"\{[^}]*\}")
_NUMBER = re.compile(r"\d+\.\d+")
_COMMAND = re.compile(r"\s*([A-Za-z])\s*")  # of a path
_PLACES = {"d", "x", "y", "width", "height", "transform"}  # attributes that say where
_INK = re.compile("#(000000|262626|444444)\\b")  # of text, axes and marks: the page's own colour
_GRID = "#cccccc"
_DASHES = {"-": "", "--": "5 2", "-.": "6 2 1.5 2", ":": "1.5 2"}
_MARKERS = {  # as in matplotlib, around (0, 0)
    "o": '<circle r="3"/>',
    "s": '<path d="M-3-3H3V3H-3z"/>',
    "^": '<path d="M0-3L3 3H-3z"/>',
    "D": '<path d="M0-4L4 0 0 4-4 0z"/>',
    "x": '<path d="M-3-3L3 3M-3 3L3-3"/>',
    "+": '<path d="M-4 0H4M0-4V4"/>',
    "|": '<path d="M0-4V4"/>',
    "*": '<path d="M0-4L2.4 3.2-3.8-1.2H3.8L-2.4 3.2z"/>',
}


@dataclass
class Series:
    """One entry of the legend, and all that was drawn of it, in one axis or in several.

    line, marker: matplotlib's names for them; "none" for no line.
    """

    name: str
    color: str
    line: str
    marker: str
    _artists: list[Artist] = field(default_factory=list)
    _points: list[tuple[Axes, float, float, str]] = field(default_factory=list)

    def draw(
        self,
        axis: Axes,
        x: Sequence[float] | np.ndarray,
        y: Sequence[float] | np.ndarray,
        told: Sequence[str],
        half: np.ndarray | None = None,
        **more: Any,
    ) -> None:
        """Points at (x, y), each with its text; half: of each error bar's length, if any."""
        container = axis.errorbar(
            x, y, half, color=self.color, linestyle=self.line, marker=self.marker,
            **{"markersize": 4, "linewidth": 1.3, "capsize": 2} | more,
        )  # fmt: skip
        line, caps, bars = container
        self._artists += [line, *caps, *bars]
        self._points += [
            (axis, float(a), float(b), numbers.plain(text))
            for a, b, text in zip(x, y, told, strict=True)
        ]

    def _swatch(self) -> str:
        line = ""
        if self.line != "none":
            line = f'<path d="M-14 0H14" stroke-dasharray="{_DASHES[self.line]}"/>'
        return (
            '<svg viewBox="-14 -5 28 10" width="28" height="10" aria-hidden="true" '
            f'stroke="{_ink(self.color)}" fill="{_ink(self.color)}" stroke-width="1.4">'
            f"{line}{_MARKERS[self.marker]}</svg>"
        )


def as_html(panels: Sequence[tuple[Figure, str]], series: Sequence[Series], caption: str) -> str:
    """Panels beside each other, or where the page is narrow below, under one legend and caption.

    panels: figures, each with a text for those who cannot see it.
    """
    salt = numbers.plain(caption)  # marks count what was marked before in this process
    drawn = "".join(_svg(figure, told, series, f"{salt}{told}") for figure, told in panels)
    legend = "".join(
        f'<li><button type="button" aria-pressed="true" data-series="{i}" disabled>'
        f"{one._swatch()}{html.escape(one.name)}</button></li>"
        for i, one in enumerate(series)
    )
    return interactive(drawn, f'<ul class="legend" aria-label="series">{legend}</ul>', caption)


def interactive(plot: str, legend: str, caption: str, alt: str = "") -> str:
    """A <figure> that answers at each element of class "point" in `plot`, which is HTML."""
    label = f' aria-label="{html.escape(numbers.plain(alt))}"' if alt else ""
    return (
        f'<figure class="interactive"{label}><div class="plot">{plot}</div>{legend}'
        f"<figcaption>{numbers.as_html(html.escape(caption))}</figcaption></figure>"
    )


def _svg(figure: Figure, told: str, series: Sequence[Series], salt: str) -> str:
    """The figure as an <svg> for a page: no style sheet, no name that could stand there twice.

    salt: what no other figure of the page has; matplotlib's names are hashes of it.
    """
    figure.set_dpi(72)  # of SVG; what is laid out now is laid out the same when it is saved
    for axis in figure.axes:
        axis.patch.set_visible(False)
    figure.patch.set_visible(False)
    for i, one in enumerate(series):
        for artist in one._artists:
            artist.set_gid(f"series-{i}")
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(stream.getvalue())
    for element in reversed(list(_walk(root))):  # what is in a group before the group
        _adapt(element)
    kept = [child for child in root if child.tag != "metadata" and child.find("style") is None]
    width, height = (round(float(part) * 96 / 72) for part in root.attrib["viewBox"].split()[2:])
    root[:] = kept
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": str(width),
        "height": str(height),
        "role": "img",
        "aria-label": told,
        "stroke-linejoin": "round",
        "font-family": "sans-serif",
    }
    _add_points(root, figure, series)
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")


def _walk(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for element in root.iter():
        if element.text and not element.text.strip():
            element.text = None
        element.tail = None
        yield element


def _adapt(element: ElementTree.Element) -> None:
    """Takes an element out of its file: short names, the page's colours, no fonts."""
    element.tag = _NAMESPACES.sub("", element.tag)
    attributes = {_NAMESPACES.sub("", name): v for name, v in element.attrib.items()}
    if element.tag == "g":  # nothing refers to a group
        name = attributes.pop("id", "")
        if name.startswith("series-"):
            attributes["data-series"] = name.removeprefix("series-")
    for name in _PLACES & attributes.keys():
        attributes[name] = _NUMBER.sub(lambda found: f"{float(found[0]):.1f}", attributes[name])
    if "d" in attributes:
        attributes["d"] = _COMMAND.sub(r"\1", attributes["d"]).strip()
    style = dict(part.split(": ", 1) for part in attributes.pop("style", "").split("; ") if part)
    if element.tag == "text":
        style = {k: v for k, v in style.items() if k in ("font-size", "text-anchor")}
        style["fill"] = "currentColor"
        if attributes.get("transform", "").startswith("rotate(-0 "):
            del attributes["transform"]
    if style.get("stroke") == _GRID:
        style |= {"stroke": "currentColor", "stroke-opacity": ".2"}
    element.attrib = attributes
    element.attrib |= {name: _ink(value) for name, value in style.items()}
    if element.tag == "g":
        _hoist(element)


def _hoist(group: ElementTree.Element) -> None:
    """Gives a group of marks, which all look the same, their look."""
    looks = [{k: v for k, v in mark.items() if k in ("fill", "stroke", "stroke-width")}
             for mark in group]  # fmt: skip
    if len(group) > 1 and all(mark.tag == "use" for mark in group) and looks[1:] == looks[:-1]:
        group.attrib |= looks[0]
        for mark in group:
            for name in looks[0]:
                del mark.attrib[name]


def _ink(color: str) -> str:
    return _INK.sub("currentColor", color)


def _add_points(root: ElementTree.Element, figure: Figure, series: Sequence[Series]) -> None:
    """A circle for each data point in view, with nothing in it but its text."""
    height = figure.get_figheight() * 72
    for i, one in enumerate(series):
        group = ElementTree.SubElement(root, "g", {"data-series": str(i), "fill": "none"})
        for axis, x, y, told in one._points:
            across, up = axis.transData.transform((x, y))
            seen = axis.bbox.padded(1)  # a point on the frame is in view
            if axis.figure is figure and seen.contains(across, up):
                circle = ElementTree.SubElement(
                    group,
                    "circle",
                    {"class": "point", "cx": f"{across:.1f}", "cy": f"{height - up:.1f}", "r": "6"},
                )
                ElementTree.SubElement(circle, "title").text = told
