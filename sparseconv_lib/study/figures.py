"""The report's figures, each as HTML with a caption and a text for those who cannot see it."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from sparseconv_lib.study.records import Record
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
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "figure.dpi": 120,
    "savefig.facecolor": "white",
}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> Any:
    """A figure of width x height inches and its axes, in the book's style; draws on no screen."""
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained", dpi=_RC["figure.dpi"])
        return figure, figure.subplots(rows, columns, **more)


def as_html(figure: Figure, caption: str, alt: str) -> str:
    """The figure as an HTML <figure> with its picture inside it."""
    stream = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(stream, format="png")
    # A palette of 64 colours makes a chart a third of its size; there are many run pages.
    picture = Image.open(stream).convert("RGB").quantize(64)
    stream = io.BytesIO()
    picture.save(stream, format="png", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    width = round(figure.get_figwidth() * 96)
    return (
        f'<figure class="chart"><img src="data:image/png;base64,{data}" width="{width}" '
        f'alt="{html.escape(alt)}"><figcaption>{caption}</figcaption></figure>'
    )


def masked_digits(image: np.ndarray, masks: dict[float, np.ndarray], label: int) -> str:
    """Figures 2 and 3 of the source: one digit at several sparsities.

    image: (H, W), 0 to 255; masks: sparsity -> (H, W), True where observed.
    """
    figure, axes = new_figure(2 * len(masks), 2.3, 1, len(masks), squeeze=False)
    for axis, (sparsity, mask) in zip(axes[0], masks.items(), strict=True):
        # Missing pixels in a colour that no pixel has: for the network they are 0, like black.
        shown = np.repeat(image[..., None], 3, axis=2)
        shown[~mask] = (0, 60, 110)
        axis.imshow(shown)
        axis.set_title(f"p = {sparsity:g}", fontsize=10)
        axis.set_axis_off()
    levels = ", ".join(f"{p:g}" for p in masks)
    return as_html(
        figure,
        f"The first test image, a {label}, at p = {levels}. Missing pixels are blue here; the "
        "network sees 0.",
        f"A handwritten {label} with more and more pixels missing, at p = {levels}.",
    )


def training_curves(trained: Sequence[Record]) -> str:
    """Training loss over the epochs of each record, a point for each twentieth of an epoch."""
    figure, axis = new_figure(6.2, 3.1)
    for record in trained:
        color, line, _ = STYLES[record.key.network]
        curve = record.content["curve"]
        parts = len(curve) / len(record.content["epochs"])
        x = (np.arange(len(curve)) + 0.5) / parts
        label = record.key.network if record.key.seed == trained[0].key.seed else None
        axis.plot(x, curve, color=color, linestyle=line, label=label)
    axis.set(xlabel="epoch", ylabel="training loss (nats)", yscale="log")
    axis.legend()
    ends = "; ".join(
        f"{record.key.network} ends at {record.content['curve'][-1]:.3f}" for record in trained
    )
    return as_html(
        figure,
        f"Training loss, the mean over each {PARTS_OF_AN_EPOCH}th part of an epoch.",
        f"Training loss against epoch on a logarithmic scale. {ends}.",
    )
