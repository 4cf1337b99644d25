"""The report's figures, each as HTML with a caption and a text for those who cannot see it."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from PIL import Image

from sparseconv_lib.study import charts, numbers
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.statistics import Summary
from sparseconv_lib.study.training import PARTS_OF_AN_EPOCH

# Okabe and Ito's palette, which people with any colour vision can tell apart; one colour, line
# style and marker for each network, everywhere in the book.
STYLES = {
    "ConvNet": ("#0072B2", "-", "o"),
    "ConvNet+mask": ("#E69F00", "--", "s"),
    "SparseConvNet": ("#009E73", "-.", "^"),
    "SparseConvNet-kept": ("#CC79A7", ":", "D"),
    "source": ("#000000", "none", "x"),
}

_RC: Any = {
    **seaborn.plotting_context("paper"),
    **seaborn.axes_style("whitegrid"),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.dpi": 120,
    "savefig.facecolor": "white",
}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> Any:
    """A figure of width x height inches and its axes, in the book's style; draws on no screen."""
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained", dpi=_RC["figure.dpi"])
        return figure, figure.subplots(rows, columns, **more)


def as_html(figure: Figure, caption: str, alt: str, photographs: bool = False) -> str:
    """The figure as an HTML <figure> with its picture inside it."""
    return pictures([(figure, alt)], caption, photographs)


def pictures(panels: Sequence[tuple[Figure, str]], caption: str, photographs: bool = False) -> str:
    """Figures beside each other, or where the page is narrow below, under one caption.

    panels: figures, each with a text for those who cannot see it.
    """
    shown = "".join(_picture(figure, alt, photographs) for figure, alt in panels)
    if len(panels) > 1:
        shown = f'<div class="plot">{shown}</div>'
    return (
        f'<figure class="chart">{shown}<figcaption>{numbers.as_html(caption)}</figcaption></figure>'
    )


def _picture(figure: Figure, alt: str, photographs: bool) -> str:
    stream = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(stream, format="png")
    picture = Image.open(stream).convert("RGB")
    stream = io.BytesIO()
    if photographs:
        picture.save(stream, format="webp", quality=30, method=6)
    else:
        # Of few colours and without loss a chart has a fourth of its size; there are many pages.
        few = picture.quantize(32).convert("RGB")
        few.save(stream, format="webp", lossless=True, quality=100, method=6)
    data = base64.b64encode(stream.getvalue()).decode()
    width = round(figure.get_figwidth() * 96)
    return (
        f'<img src="data:image/webp;base64,{data}" width="{width}" '
        f'alt="{html.escape(numbers.plain(alt))}">'
    )


def masked_pictures(
    seen: Mapping[float, np.ndarray],
    masks: Mapping[float, np.ndarray],
    label: str,
    missing: str,
) -> str:
    """Figures 2, 3, 6 and 9 of the source: one image at several sparsities.

    seen: sparsity -> (C, H, W), 0 to 255, as the network is shown it; masks: sparsity -> (H, W),
    True where observed; missing: a sentence on what stands where a pixel is missing.
    """
    photograph = len(next(iter(seen.values()))) == 3
    side = 2.3 if photograph else 2
    figure, axes = new_figure(side * len(masks), side + 0.3, 1, len(masks), squeeze=False)
    for axis, (sparsity, mask) in zip(axes[0], masks.items(), strict=True):
        image = seen[sparsity]
        shown = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).copy()
        if not photograph:  # on a digit in a colour that no pixel has; a photograph has them all
            shown[~mask] = (0, 60, 110)
        axis.imshow(shown)
        axis.set_title(f"p = {sparsity:g}", fontsize=10)
        axis.set_axis_off()
    levels = ", ".join(f"{p:g}" for p in masks)
    return as_html(
        figure,
        f"A test image, {label}, at p = {levels}. {missing}",
        f"A picture of {label} with more and more pixels missing, at p = {levels}.",
        photograph,
    )


def training_curves(trained: Sequence[Record]) -> str:
    """Training loss over the epochs of each record, a point for each twentieth of an epoch."""
    trained = [record for record in trained if record.content["curve"]]  # no interpolations
    if not trained:
        return "<p>Not run yet.</p>"
    figure, axis = new_figure(4.6, 3.1)
    for record in trained:
        color, line, _ = STYLES[record.key.network]
        curve = [np.nan if x is None else x for x in record.content["curve"]]  # None: not finite
        parts = len(curve) / len(record.content["epochs"])
        x = (np.arange(len(curve)) + 0.5) / parts
        label = record.key.network if record.key.seed == trained[0].key.seed else None
        axis.plot(x, curve, color=color, linestyle=line, label=label)
    classes = trained[0].protocol.objective == "classify"
    unit = "nats" if classes else "squared units of the network"
    axis.set(xlabel="epoch", ylabel=f"training loss ({unit})", yscale="log")
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 4 * low else range(1, 10)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:.2g}"))  # 0.2, not 2 x 10^-1
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.legend()
    ends = "; ".join(
        f"{record.key.network} ends at {record.content['curve'][-1] or np.nan:.3f}"
        for record in trained
    )
    return as_html(
        figure,
        f"Training loss, the mean over each {PARTS_OF_AN_EPOCH}th part of an epoch.",
        f"Training loss against epoch on a logarithmic scale. {ends}.",
    )


def accuracy_by_sparsity(
    cells: dict[str, dict[float, Summary]], source: dict[str, dict[float, float]], claim: str
) -> str:
    """Figure 4 of the source: accuracy against sparsity, ours with 95 % intervals.

    cells: network -> sparsity -> Summary; source: network -> sparsity -> accuracy. `claim` is a
    sentence for the caption.
    """
    whole, axis = new_figure(3.25, 2.9)
    enlarged, detail = new_figure(3.25, 2.9)
    series = []
    for i, (network, by_sparsity) in enumerate(cells.items()):
        ours = charts.Series(network, *STYLES[network])
        x = np.array(list(by_sparsity)) + 0.004 * (i - 1.5)  # so that bars do not hide bars
        mean = np.array([100 * s.mean for s in by_sparsity.values()])
        told = [f"{network}, p = {p:g}: {_accuracy(s)}" for p, s in by_sparsity.items()]
        for panel in (axis, detail):
            ours.draw(panel, x, mean, told, _half_widths(by_sparsity), markersize=3.5)
        series.append(ours)
    for network, values in source.items():
        name = f"source, {network.removesuffix('-kept')}"
        theirs = charts.Series(name, STYLES[network][0], "none", "x")
        told = [f"{name}, p = {p:g}: {100 * v:.2f} %, one run" for p, v in values.items()]
        for panel in (axis, detail):
            theirs.draw(
                panel, list(values), [100 * v for v in values.values()], told,
                markeredgewidth=1.6, markersize=7,
            )  # fmt: skip
        series.append(theirs)
    for panel in (axis, detail):
        panel.set(xlabel="sparsity p (training and test)", ylabel="test accuracy (%)")
    axis.set(title="all sparsities")
    detail.set(xlim=(0.65, 0.97), title="p ≥ 0.7")
    high = [s for by in cells.values() for p, s in by.items() if p >= 0.7]
    seen = [100 * v for by in source.values() for p, v in by.items() if p >= 0.7]
    seen += [100 * x for s in high for x in (s.mean, s.low, s.high) if not np.isnan(x)]
    if seen:
        detail.set_ylim(min(seen) - 1, max(seen) + 1)
    ends = "; ".join(
        f"{network} from {100 * s[min(s)].mean:.1f} % at p = {min(s):g} to "
        f"{100 * s[max(s)].mean:.1f} % at p = {max(s):g}"
        for network, s in cells.items()
        if s
    )
    alt = f"Test accuracy against sparsity: {ends}."
    panels = ((whole, alt), (enlarged, "The same from p = 0.7 on, enlarged."))
    return charts.as_html(panels, series, claim)


def _accuracy(summary: Summary) -> str:
    """ "91.20 ± 0.31 %, n = 5": mean and standard deviation over seeds."""
    spread = "" if summary.n == 1 else f" ± {100 * summary.sd:.2f}"
    return f"{100 * summary.mean:.2f}{spread} %, n = {summary.n}"


def _half_widths(by_sparsity: dict[float, Summary]) -> np.ndarray | None:
    """Half of each 95 % interval in points, NaN where n is 1; None where no cell has one."""
    half = np.array([100 * (s.high - s.mean) for s in by_sparsity.values()])
    return None if np.isnan(half).all() else half


def paired_differences(cells: dict[str, dict[float, Summary]], against: str, caption: str) -> str:
    """Accuracy minus that of `against`, paired by seed, in points with 95 % intervals."""
    figure, axis = new_figure(4.4, 3.1)
    axis.axhline(0, color="#444444", linewidth=1)
    series = []
    for i, (network, by_sparsity) in enumerate(cells.items()):
        x = np.array(list(by_sparsity)) + 0.006 * (i - 1)
        mean = np.array([100 * s.mean for s in by_sparsity.values()])
        told = [f"{network}, p = {p:g}: {_difference(s)}" for p, s in by_sparsity.items()]
        series.append(charts.Series(network, *STYLES[network]))
        series[-1].draw(axis, x, mean, told, _half_widths(by_sparsity))
    axis.set(
        xlim=(-0.03, 0.98),
        xlabel="sparsity p (training and test)",
        ylabel=f"points above {against}",
    )
    ends = "; ".join(
        f"{network} from {min(100 * c.mean for c in s.values()):+.1f} to "
        f"{max(100 * c.mean for c in s.values()):+.1f} points"
        for network, s in cells.items()
        if s
    )
    alt = f"Accuracy minus that of {against}, against sparsity: {ends}."
    return charts.as_html([(figure, alt)], series, caption)


def _difference(summary: Summary) -> str:
    """ "−0.52 ± 0.31 points, n = 5": mean and standard deviation of paired differences."""
    spread = "" if summary.n == 1 else f" ± {100 * summary.sd:.2f}"
    return f"{100 * summary.mean:+.2f}{spread} points, n = {summary.n}".replace("-", "−")


def accuracy_matrices(
    matrices: Mapping[str, Mapping[tuple[float, float], Summary]],
    sparsities: Sequence[float],
    caption: str,
    alt: str,
) -> str:
    """A coloured table for each network: trained at a row's sparsity, tested at a column's.

    matrices: network -> (training sparsity, test sparsity) -> Summary; a cell that is not there is
    blank, and a row that no network has is left out. Colours are on one scale for all.
    """
    means = [100 * summary.mean for matrix in matrices.values() for summary in matrix.values()]
    lowest = 10 * (min(means, default=0) // 10)
    trained = {p for matrix in matrices.values() for p, _ in matrix}
    head = "".join(f'<th scope="col">{q:g}</th>' for q in sparsities)
    tables = []
    for i, (network, matrix) in enumerate(matrices.items()):
        rows = []
        for p in filter(trained.__contains__, sparsities):
            row = "".join(_cell(network, p, q, matrix.get((p, q)), lowest) for q in sparsities)
            rows.append(f'<tr><th scope="row">{p:g}</th>{row}</tr>')
        tables.append(
            f'<table class="matrix" data-series="{i}"><caption>{html.escape(network)}'
            f"</caption><thead><tr><td></td>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table>"
        )
    return charts.interactive("".join(tables), "", caption, alt)


def _cell(network: str, p: float, q: float, summary: Summary | None, lowest: float) -> str:
    if summary is None:
        return "<td></td>"
    red, green, blue, _ = colormaps["viridis"]((100 * summary.mean - lowest) / (100 - lowest))
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    luminance = np.dot(linear, (0.2126, 0.7152, 0.0722))  # as WCAG has it
    ink = "#000" if luminance > 0.179 else "#fff"  # where both contrasts are alike
    told = f"{network}, trained at p = {p:g}, tested at {q:g}: {_accuracy(summary)}"
    own = " own" if p == q else ""
    shown = numbers.as_html(numbers.number(f"{100 * summary.mean:.1f}", summary))
    return (
        f'<td class="point{own}" style="background:{to_hex((red, green, blue))};color:{ink}" '
        f'title="{html.escape(told)}">{shown}</td>'
    )
