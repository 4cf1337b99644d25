"""Tables and figures of the chapter on ResNet18, as HTML, made from records."""

import functools
import tomllib
from collections.abc import Mapping, Sequence

import pandas
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor, nn

from sparseconv_lib.masks import bernoulli_field, observed
from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.resnet import STAGES, ResNet18
from sparseconv_lib.study import (
    charts,
    figures,
    ladder,
    numbers,
    records,
    report_ladder,
    tables,
)
from sparseconv_lib.study.grid import EXPERIMENTS, RESNET_SPARSITIES
from sparseconv_lib.study.paths import RESULTS
from sparseconv_lib.study.protocol import Protocol
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import (
    NO_BREAK,
    as_html,
    devices,
    mark,
    note,
    percent,
    points,
    signed,
    source_accuracy,
    spread,
)
from sparseconv_lib.study.report_caltech import TEST_IMAGES
from sparseconv_lib.study.report_ladder import reduced_in_words
from sparseconv_lib.study.statistics import paired_difference, summarise, unpaired_proportions
from sparseconv_lib.study.traced import Traced
from sparseconv_lib.study.training import build

CLAIM = "resnet18-75-to-50"
SPARSE, PLAIN = "SparseConvNet-kept", "ConvNet"

TOLD = {"running": "running means everywhere", "blocks": "the test batch's own in the blocks"}


def architecture_table(protocol: Protocol) -> str:
    """Each part's output and parameters, counted on the networks; those not trained apart."""
    nets = {name: build(protocol, name, 0) for name in NETWORKS}
    side = protocol.side or 224
    rows = []

    def row(part: str, output: str, modules: dict[str, list[nn.Module]]) -> None:
        rows.append([part, output, *(_parameters(found) for found in modules.values())])

    resnets = {name: net for name, net in nets.items() if isinstance(net, ResNet18)}
    row(
        "convolution 7×7, stride 2; BatchNorm",
        f"{STAGES[0]}×{side // 2}×{side // 2}",
        {name: [net.stem, net.norm] for name, net in resnets.items()},
    )
    rows.append(["max pooling 3×3, stride 2", f"{STAGES[0]}×{side // 4}×{side // 4}"])
    rows[-1] += ["0"] * len(resnets)
    for i, channels in enumerate(STAGES):
        size = side // 4 >> i
        row(
            f"stage {i + 1}: two residual blocks",
            f"{channels}×{size}×{size}",
            {name: [net.blocks[2 * i], net.blocks[2 * i + 1]] for name, net in resnets.items()},
        )
    row("mean, linear", "101", {name: [net.linear] for name, net in resnets.items()})
    row("all", "", {name: [net] for name, net in resnets.items()})
    untrained = any("(" in cell for row in rows for cell in row[2:])
    return as_html(
        pandas.DataFrame(rows, columns=["part", "output", *resnets]),
        f"Parameters of each part{'; in brackets those that are not trained' * untrained}.",
    )


def _parameters(modules: Sequence[nn.Module]) -> str:
    parameters = [p for module in modules for p in module.parameters()]
    all_of_them = sum(p.numel() for p in parameters)
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    return f"{all_of_them:,}" + (f" ({frozen:,})" if frozen else "")


def statistics_table(trained: Sequence[Record]) -> str:
    """A page's trainings, each tested with both kinds of BatchNorm statistics."""
    if not trained:
        return "<p>Not run yet.</p>"
    rows = []
    for record in trained:
        key = record.key
        accuracies = {
            told: measured[key.sparsity]
            for kind, told in TOLD.items()
            if (measured := record.with_statistics(kind)) is not None
        }
        rows.append(
            {"network": key.network, "seed": key.seed}
            | {told: percent(accuracy) for told, accuracy in accuracies.items()}
        )
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy by the statistics that BatchNorm uses in testing. The source's sparse "
        "blocks are never switched to their running means.",
    )


def _counted() -> str:
    """What no training is needed for: the masks at p = 0, and the weights that were trained."""
    net = ResNet18(SPARSE, skip="pooled", second_norm=False, train_blocks=False)
    frozen = sum(p.numel() for p in net.blocks.parameters())
    every = sum(p.numel() for p in net.parameters())
    return (
        "That the source's sparse ResNet18 falls behind on whole images is not due to a block that "
        "uses its mask twice: at p = 0 every mask holds ones only, and no rule for them can change "
        "anything. Of its "
        f"{every:,} weights {frozen:,}, those of the residual blocks, were never trained."
    )


def in_words() -> str:
    """The chapter's answer that no training is needed for, counted on the networks."""
    return (
        f"{_counted()} What that costs, and what the sparse layer itself costs, the ladder "
        "measures."
    )


def in_short() -> str:
    """The same for the first page, and of what was measured the greatest part."""
    measured = (report_ladder.untrained_in_short(base) for base in ladder.BASES)
    return f"{_counted()} {next(filter(None, measured), '')}".strip()


def taps_table(layers: Sequence[tuple[str, int, int]], side: int) -> str:
    """How unlike its interior a map's border is, layer by layer, counted at p = 0.

    layers: (name, kernel size, stride) of the convolutions in order; side: of the image.
    """
    rows: list[list[str]] = []
    size = side
    for name, kernel, stride in layers:
        if kernel == 1:
            continue  # one tap, and no border
        if "blocks" in name and len(rows) == 1:
            size //= 2  # the max pooling between them
        count = taps(torch.ones(1, 1, size, size), kernel, stride)
        size = shown = count.shape[-1]
        border = (count < kernel * kernel).float().mean().item()
        rows.append(
            [
                _in_words(name),
                f"{kernel}×{kernel}",
                f"{shown}×{shown}",
                f"{kernel * kernel}",
                f"{100 * border:.1f}{NO_BREAK}%",
                f"{kernel * kernel / count[..., 0, shown // 2].item():.2f}",
                f"{kernel * kernel / count.min().item():.2f}",
            ]
        )
    columns = ["layer", "window", "map", "taps", "border", "larger at an edge", "in a corner"]
    return as_html(
        pandas.DataFrame(rows, columns=columns),
        f"Each convolution on whole images of {side} × {side}: how much of its map has taps "
        "outside, and by how much its sum is larger there than in the interior, relative to the "
        "dense convolution. A 3×3 window of stride 2 has taps outside at the upper and left edge "
        "only, the 7×7 of the stem at all four; told is the upper left.",
    )


def _in_words(layer: str) -> str:
    """ "blocks.2.conv1.conv" as "stage 2, block 1, convolution 1"."""
    parts = layer.split(".")
    if parts[0] != "blocks":
        return "stem"
    stage, block = divmod(int(parts[1]), 2)
    return f"stage {stage + 1}, block {block + 1}, convolution {parts[2][-1]}"


def mask_table(sparsities: Sequence[float], images: int = 8, side: int = 224) -> str:
    """Share of the mask that counts as observed after each stage, counted on drawn masks."""
    generator = torch.Generator().manual_seed(0)
    field = bernoulli_field(images, side, side, generator)
    rows = []
    for p in sparsities:
        mask = observed(field, p).float()
        for name in (SPARSE, "SparseConvNet"):
            shares = masks_of(ResNet18(name, skip="pooled"), mask)
            row = {"p": f"{p:g}", "network": name, "image": f"{100 * mask.mean().item():.1f} %"}
            row |= {stage: _share(share) for stage, share in shares.items()}
            rows.append({k: v.replace(" %", f"{NO_BREAK}%") for k, v in row.items()})
    return as_html(
        pandas.DataFrame(rows),
        f"Share of the mask that counts as observed after each stage, on {images} masks of "
        f"{side} × {side} pixels; calculated, without any training.",
    )


def _share(share: float) -> str:
    """Full only where it is."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.99):.2f} %"


@torch.no_grad()
def masks_of(net: ResNet18, mask: Tensor) -> dict[str, float]:
    """Stage -> share of the mask that is 1; what the image holds does not matter."""
    blank = torch.zeros(len(mask), 3, *mask.shape[2:])
    return {name: seen.mean().item() for name, _, seen in net.eval().stages(blank, mask)}


def taps(mask: Tensor, kernel: int, stride: int) -> Tensor:
    """Observed taps of each window: mask (1, 1, H, W) -> (1, 1, H', W')."""
    ones = torch.ones(1, 1, kernel, kernel)
    return F.conv2d(mask, ones, None, stride, kernel // 2)


# Figure 5


@functools.cache
def printed() -> dict[str, list[float]]:
    """Network -> test accuracy after each epoch, as the source's notebooks printed it."""
    with (RESULTS / "source.toml").open("rb") as file:
        return tomllib.load(file)["resnet18"]


def printed_in_words() -> str:
    """What the source's own curves say of its text and of the drop of the learning rate."""
    dense, sparse = printed()[PLAIN], printed()[SPARSE]
    text = source_accuracy(SPARSE, 0.0, CLAIM)
    assert text is not None
    return (
        f"Its notebooks printed {100 * dense[-1]:.1f}{NO_BREAK}% for the dense network after "
        f"{len(dense)} epochs (at most {100 * max(dense):.1f}{NO_BREAK}%), and "
        f"{100 * sparse[-1]:.1f}{NO_BREAK}% for the sparse one (at most "
        f"{100 * max(sparse):.1f}{NO_BREAK}%), where the text says "
        f"{100 * text:.0f}{NO_BREAK}%. The dense network's rate was lowered after {DROP} epochs, "
        f"when it had reached {100 * dense[DROP - 1]:.1f}{NO_BREAK}%: what the drop added to "
        f"that is {100 * (dense[-1] - dense[DROP - 1]):+.1f} points.".replace("-", "−")
    )


DROP = 25  # epochs after which the source's dense notebook lowers the rate


def figure_5() -> str:
    """Accuracy after each epoch: the source's two curves, and ours of both and of the mended."""
    theirs, left = figures.new_figure(3.4, 3.1)
    ours, right = figures.new_figure(3.4, 3.1)
    base = "as_written" if _curves("as_written") else "reduced"
    found, source = _curves(base), {"dense": PLAIN, CODE_LABEL: SPARSE}
    series = {
        label: charts.Series(label, *figures.STYLES[style])
        for label, style in (source | {label: style for label, (style, _) in found.items()}).items()
    }
    told: dict[str, list[str]] = {"source": [], "ours": []}

    def draw(axis: Axes, label: str, curve: Sequence[float], whose: str) -> None:
        percents = [100 * a for a in curve]
        texts = [f"{whose}, {label}, epoch {i}: {a:.1f} %" for i, a in enumerate(percents, 1)]
        size = 1.5 if len(curve) > 10 else 4
        series[label].draw(axis, range(1, len(curve) + 1), percents, texts, markersize=size)
        told[whose].append(f"{label} ends at {percents[-1]:.1f} %")

    for label, network in source.items():
        draw(left, label, printed()[network], "source")
    for label, (_, curve) in found.items():
        draw(right, label, curve, "ours")
    left.axvline(DROP, color="#888888", linewidth=0.8)
    left.annotate(
        "dense: rate / 10", (DROP, 4), xytext=(4, 0), textcoords="offset points", fontsize=8
    )
    left.set(title="as the source drew it")
    right.set(title=f"ours ({base})")
    curves: list[Sequence[float]] = [*printed().values(), *(curve for _, curve in found.values())]
    highest = max(accuracy for curve in curves for accuracy in curve)
    for axis in (left, right):
        axis.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(0, 105 * highest))
        axis.xaxis.get_major_locator().set_params(integer=True)
    if not found:
        right.text(0.5, 0.5, "not run yet", transform=right.transAxes, ha="center")
    return charts.as_html(
        [
            (theirs, f"The source's test accuracy against epoch; {'; '.join(told['source'])}."),
            (ours, f"Ours against epoch; {'; '.join(told['ours']) or 'not run yet'}."),
        ],
        list(series.values()),
        f"{_ends_in_words(found)}Test accuracy on whole images after each epoch. First: what the "
        "source's notebooks printed, one run each. Then: ours, seed 0, all computed by sparse "
        "convolutions; dense is the network with none of the faults, tested with running "
        f"statistics as are the others. {reduced_in_words(base)}",
    )


CODE_LABEL = "sparse, the source's code"


def _ends_in_words(found: Mapping[str, tuple[str, Sequence[float]]]) -> str:
    """Where our networks end, and how far from the dense one."""
    ends = {label: curve[-1] for label, (_, curve) in found.items()}
    if "dense" not in ends or len(ends) == 1:
        return ""
    dense = ends.pop("dense")
    told = "; ".join(
        f"{label}: {numbers.number(f'{signed(100 * (end - dense), 1)} points', end - dense)}"
        for label, end in ends.items()
    )
    return f"Of ours, one run each, dense ends at {percent(dense)}; against it, {told}. "


def _curves(base: str) -> dict[str, tuple[str, list[Traced]]]:
    """Label -> (style, accuracy after each epoch) of seed 0 on whole images."""
    wanted = {
        "dense": (PLAIN, ladder.protocol_of(base, ladder.DENSE)),
        "sparse, mended": ("SparseConvNet", ladder.protocol_of(base, ladder.LAYER_ONLY)),
        CODE_LABEL: (SPARSE, ladder.trained_as(base, ladder.CODE)),
    }
    found = {}
    for label, (style, protocol) in wanted.items():
        record = records.find(records.Key("resnet18", protocol, ladder.NETWORK, 0.0, 0))
        if record:
            curve = [Traced(e["test_accuracy"], (record.key,)) for e in record.content["epochs"]]
            found[label] = (style, curve)
    return found


# Where the data are sparse


def sparse_table(base: str) -> str:
    """ResNet18 where pixels are missing: four networks, and differences from the dense one."""
    cells = _cells(base)
    networks = (PLAIN, "ConvNet+mask", SPARSE, "SparseConvNet")
    found = records.load("resnet18", base)
    rows = []
    for p in (0.0, *RESNET_SPARSITIES):
        row = {"p": f"{p:g}"}
        for network in networks:
            seeds = cells.get((network, p, p), {})
            its = [r for r in found if (r.key.network, r.key.sparsity) == (network, p)]
            row[network] = spread(summarise(seeds.values())) + mark(its) if seeds else "not run"
        rows.append(row)
    return as_html(
        pandas.DataFrame(rows),
        f"Test accuracy of ResNet18, trained and tested at p. {reduced_in_words(base)} "
        f"{devices(found) or 'not run'}.{note(found)}",
    )


# In the stem as well as in the blocks, so that it is more than one mask used twice.
MASK_RULE = "mask kept − dilated, in stem and blocks"
ASKED = {  # of networks where pixels are missing: question -> the two that answer it
    "sparse − dense": ("SparseConvNet", PLAIN),
    "sparse − ConvNet+mask": ("SparseConvNet", "ConvNet+mask"),
    "kept − dense": (SPARSE, PLAIN),
    MASK_RULE: (SPARSE, "SparseConvNet"),
}


def sparse_in_words(base: str) -> str:
    """Where pixels are missing: does the layer help ResNet18, and what does its mask's rule do?"""
    if not (told := sparse_in_short(base)):
        return f"Under {base}, no two networks have been trained where pixels are missing yet."
    return f"{told} {reduced_in_words(base)}"


def sparse_in_short(base: str) -> str:
    """The same without what makes the protocol smaller; "" if not run."""
    cells, told = _cells(base), []
    n: set[int] = set()
    for question in ("sparse − dense", MASK_RULE):
        a, b = ASKED[question]
        gaps = {
            p: paired_difference(cells[a, p, p], cells[b, p, p])
            for p in RESNET_SPARSITIES
            if cells.get((a, p, p), {}).keys() & cells.get((b, p, p), {}).keys()
        }
        if gaps:
            n |= {gap.n for gap in gaps.values()}
            parts = ", ".join(
                f"{SAME if _trained_alike(base, a, b, p) else points(gap)} at p = {p:g}"
                for p, gap in gaps.items()
            )
            told.append(f"{question}: {parts}")
    if not told:
        return ""
    chance = ""
    if min(n) == 1:
        half, _ = unpaired_proportions(0.5, 0.5, TEST_IMAGES)
        chance = (
            " Where n = 1 there is no interval. Two networks of equal worth that are tested on "
            f"different images would differ by up to {100 * half:.1f} points in 19 of 20 cases; "
            "these share their images, which makes it less, and the luck of a training comes on "
            "top."
        )
    return (
        f"ResNet18 trained and tested at one sparsity, in points of accuracy. {'; '.join(told)} "
        f"(n = {' to '.join(map(str, sorted({min(n), max(n)})))}).{chance}"
    )


def difference_table(base: str) -> str:
    """The questions asked of these accuracies, each a difference paired by seed."""
    cells, rows = _cells(base), []
    for question, (a, b) in ASKED.items():
        row = {"difference": question}
        for p in RESNET_SPARSITIES:
            pair = cells.get((a, p, p), {}), cells.get((b, p, p), {})
            shared = pair[0].keys() & pair[1].keys()
            row[f"p = {p:g}"] = (
                f"{SAME if _trained_alike(base, a, b, p) else points(paired_difference(*pair))}, "
                f"n{NO_BREAK}={NO_BREAK}{len(shared)}"
                if shared
                else "not run"
            )
        rows.append(row)
    return as_html(
        pandas.DataFrame(rows),
        "Differences of test accuracy in points, paired by seed, with 95 % intervals where there "
        "are several seeds. Sparse is SparseConvNet, whose mask every window dilates; kept is "
        f"SparseConvNet-kept. {reduced_in_words(base)}",
    )


SAME = "no difference in any loss"


def _trained_alike(protocol: str, a: str, b: str, p: float) -> bool:
    """Whether two networks' trainings agree in all they tell, so that no difference is measured.

    Behind ResNet18's first pooling a mask of few missing pixels is full, whatever its rule.
    """
    told: dict[str, dict[int, list[float]]] = {a: {}, b: {}}
    for record in records.load("resnet18", protocol):
        if record.key.network in told and record.key.sparsity == p:
            losses = [epoch["loss"] for epoch in record.content["epochs"]]
            told[record.key.network][record.key.seed] = [*losses, record.accuracy]
    shared = told[a].keys() & told[b].keys()
    return bool(shared) and all(told[a][seed] == told[b][seed] for seed in shared)


def _cells(protocol: str) -> Mapping[tuple[str, float, float], Mapping[int, float]]:
    return tables.accuracies(records.load("resnet18", protocol))


def coverage_table() -> str:
    """What the published grid asks of ResNet18, and how much of it has been trained."""
    ladders = {name for base in ladder.BASES for name in ladder.protocols(base)}
    counts: dict[tuple[str, str], list[bool]] = {}
    for name in ("resnet18", "resnet18_reduced"):
        for page in EXPERIMENTS[name].pages():
            for key in page.keys:
                what = "the ladder" if key.protocol in ladders else key.protocol
                done = key.path().exists()
                counts.setdefault((name, what), []).append(done)
    rows = [[*which, f"{sum(done)} of {len(done)}"] for which, done in counts.items()]
    return as_html(
        pandas.DataFrame(rows, columns=["experiment", "what", "trained"]),
        "Trainings that the published grid asks for. `sparseconv sweep resnet18` runs what is "
        "missing on a GPU, `sparseconv sweep resnet18_reduced` on a CPU.",
    )
