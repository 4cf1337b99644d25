"""The report's figures, each as HTML with a caption and a text for those who cannot see it."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from PIL import Image

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
    stream = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(stream, format="png")
    picture = Image.open(stream).convert("RGB")
    stream = io.BytesIO()
    if photographs:
        picture.save(stream, format="webp", quality=50)
    else:
        # A palette of 64 colours makes a chart a third of its size; there are many run pages.
        picture.quantize(64).save(stream, format="png", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    kind = "webp" if photographs else "png"
    width = round(figure.get_figwidth() * 96)
    return (
        f'<figure class="chart"><img src="data:image/{kind};base64,{data}" width="{width}" '
        f'alt="{html.escape(alt)}"><figcaption>{caption}</figcaption></figure>'
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
    figure, axis = new_figure(6.2, 3.1)
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
    for formatted in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        formatted(StrMethodFormatter("{x:.2g}"))  # 0.2, not 2 x 10^-1
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
    figure, (axis, detail) = new_figure(7.6, 3.6, 1, 2)
    for panel in (axis, detail):
        for i, (network, by_sparsity) in enumerate(cells.items()):
            color, line, marker = STYLES[network]
            x = np.array(list(by_sparsity)) + 0.004 * (i - 1.5)  # so that bars do not hide bars
            mean = np.array([100 * s.mean for s in by_sparsity.values()])
            panel.errorbar(
                x, mean, _half_widths(by_sparsity), color=color, linestyle=line, marker=marker,
                markersize=3.5, linewidth=1.3, capsize=2, label=network,
            )  # fmt: skip
        for network, values in source.items():
            panel.plot(
                list(values), [100 * v for v in values.values()], linestyle="none", marker="x",
                color=STYLES[network][0], markeredgewidth=1.6, markersize=7,
                label=f"source, {network.removesuffix('-kept')}",
            )  # fmt: skip
        panel.set(xlabel="sparsity p (training and test)")
    axis.set(ylabel="test accuracy (%)", title="all sparsities")
    detail.set(xlim=(0.65, 0.97), title="p ≥ 0.7")
    high = [100 * s.mean for by in cells.values() for p, s in by.items() if p >= 0.7]
    high += [100 * v for by in source.values() for p, v in by.items() if p >= 0.7]
    if high:
        detail.set_ylim(min(high) - 2, max(high) + 1)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    told = "; ".join(
        f"{network} from {100 * s[min(s)].mean:.1f} % at p = {min(s):g} to "
        f"{100 * s[max(s)].mean:.1f} % at p = {max(s):g}"
        for network, s in cells.items()
        if s
    )
    return as_html(figure, claim, f"Test accuracy against sparsity: {told}.")


def _half_widths(by_sparsity: dict[float, Summary]) -> np.ndarray | None:
    """Half of each 95 % interval in points, 0 where n is 1; None where no cell has one."""
    half = np.array([100 * (s.high - s.mean) for s in by_sparsity.values()])
    return None if np.isnan(half).all() else np.nan_to_num(half)


def paired_differences(cells: dict[str, dict[float, Summary]], against: str, caption: str) -> str:
    """Accuracy minus that of `against`, paired by seed, in points with 95 % intervals."""
    figure, axis = new_figure(6.4, 3.2)
    axis.axhline(0, color="#444444", linewidth=1)
    for i, (network, by_sparsity) in enumerate(cells.items()):
        color, line, marker = STYLES[network]
        x = np.array(list(by_sparsity)) + 0.006 * (i - 1)
        mean = np.array([100 * s.mean for s in by_sparsity.values()])
        axis.errorbar(
            x, mean, _half_widths(by_sparsity), color=color, linestyle=line, marker=marker,
            markersize=4, linewidth=1.3, capsize=2, label=network,
        )  # fmt: skip
    axis.set(
        xlim=(-0.03, 0.98),
        xlabel="sparsity p (training and test)",
        ylabel=f"points above {against}",
    )
    axis.legend()
    told = "; ".join(
        f"{network} from {min(100 * c.mean for c in s.values()):+.1f} to "
        f"{max(100 * c.mean for c in s.values()):+.1f} points"
        for network, s in cells.items()
        if s
    )
    return as_html(figure, caption, f"Accuracy minus that of {against}, against sparsity: {told}.")
