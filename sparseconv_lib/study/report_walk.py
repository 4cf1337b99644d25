"""One photograph's way through ResNet18, networks side by side, as HTML, from the runs' assets."""

import html

import numpy as np
import pandas

from sparseconv_lib.study import figures, ladder, report, stages
from sparseconv_lib.study.report import NO_BREAK, as_html
from sparseconv_lib.study.stages import Walk
from sparseconv_lib.study.stepper import stepper

NETWORKS = ("ConvNet", "SparseConvNet-kept", "SparseConvNet")


def protocols(base: str) -> dict[str, tuple[str, str]]:
    """What is walked through: label -> (protocol, network); three of the ladder's among them."""
    return {
        "the source's code": (ladder.trained_as(base, ladder.CODE), ladder.NETWORK),
        "sparse, mended": (ladder.protocol_of(base, ladder.LAYER_ONLY), ladder.NETWORK),
        "dense": (ladder.protocol_of(base, ladder.DENSE), ladder.NETWORK),
    } | {network: (base, network) for network in NETWORKS}


def walks(sparsity: float, base: str) -> dict[str, Walk]:
    """Label -> the walk of seed 0 at a sparsity, of what has been run."""
    found = {}
    for label, (protocol, network) in protocols(base).items():
        path = report.example_path("resnet18", protocol, network, sparsity)
        if walk := stages.read(path):
            found[label] = walk
    return found


def panels(sparsities: tuple[float, ...]) -> str:
    """A panel for each sparsity that was run, under a slider."""
    for base in ladder.BASES:  # the source's length first
        shown = {p: found for p in sparsities if (found := walks(p, base))}
        if shown:
            break
    else:
        return "<p>No run has left its way through the network yet.</p>"
    named = {f"p = {p:g}": _picture(p, by, base) + _table(p, by) for p, by in shown.items()}
    return stepper("walk", "Sparsity", named, next(iter(named)), still=named.keys())


def _picture(sparsity: float, found: dict[str, Walk], base: str) -> str:
    names = [stage.name for stage in next(iter(found.values())).stages]
    figure, axes = figures.new_figure(
        1.15 * (len(names) + 1), 1.25 * len(found) + 0.3, len(found), len(names) + 1, squeeze=False
    )
    for row, (label, walk) in zip(axes, found.items(), strict=True):
        seen = walk.image.transpose(1, 2, 0).copy()
        seen[~walk.mask] = 0
        row[0].imshow(seen)
        row[0].set_ylabel(label.replace("-kept", "\nkept"), fontsize=7)
        for axis, stage in zip(row[1:], walk.stages, strict=True):
            axis.imshow(stage.maps[0], cmap="cividis")
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
    for axis, name in zip(axes[0], ["image", *names], strict=True):
        axis.set_title(name, fontsize=8)
    classes = report.class_names("resnet18")
    one = next(iter(found.values()))
    return figures.as_html(
        figure,
        f"A test photograph of a {html.escape(classes[one.label])} at p = {sparsity:g}, and the "
        "first channel of the map after each stage, each map between its own darkest and "
        f"brightest value. Trained at the same p under {base}, seed 0. Missing pixels are black "
        "here; the network sees ImageNet's mean.",
        f"Rows of small pictures, one row for each of {', '.join(found)}; what they show is in the "
        "table below.",
        photographs=True,
    )


def _table(sparsity: float, found: dict[str, Walk]) -> str:
    classes = report.class_names("resnet18")
    rows = []
    for label, walk in found.items():
        right = "right" if walk.guess == walk.label else f"wrong: {classes[walk.guess]}"
        valid = ["–" if s.valid is None else f"{100 * s.valid:.0f} %" for s in walk.stages]
        scale = [f"{s.scale:.2g}" for s in walk.stages]
        answer = f"{right}, {100 * walk.confidence:.0f} % sure"
        rows.append([label, "mask", f"{100 * np.mean(walk.mask):.0f} %", *valid, ""])
        rows.append(["", "scale", "", *scale, answer])
    names = [stage.name for stage in next(iter(found.values())).stages]
    table = pandas.DataFrame(rows, columns=["network", "", "image", *names, "answer"])
    return as_html(
        table.map(lambda cell: str(cell).replace(" %", f"{NO_BREAK}%")),
        f"p = {sparsity:g}. Mask: share of the map that counts as observed. Scale: root mean "
        "square of the activations. Answer: tested with running statistics everywhere.",
    )
