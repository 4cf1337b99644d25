"""The tables and sentences of the chapter on speed, as HTML, from what `benchmark.measure` gave."""

import statistics
import tomllib
from dataclasses import dataclass
from typing import Any

import pandas

from sparseconv_lib.study import benchmark, operations, records, scaling
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import DENSE_NETWORKS, EXPERIMENTS, THREE_NETWORKS
from sparseconv_lib.study.paths import RESULTS
from sparseconv_lib.study.protocol import BASELINES, TRAINING_IMAGES, preset
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import as_html, images_a_second, paragraph

Measured = dict[str, Any]
KINDS = {"cpu": "a CPU", "cuda": "a GPU"}
OURS, FROZEN = "SparseConv2d", "frozen convolution, 1 → 1"
GOAL = 1.1  # of a training step with SparseConv2d, in steps with nn.Conv2d
TRAININGS_EACH = 12 * 10  # of each network: sparsities, seeds
GOAL_SECONDS = 30  # of a GPU, for all trainings of Table 3


def recorded() -> dict[str, Measured | None]:
    """The committed measurement of each kind of device; None where there is none."""
    return {kind: benchmark.load(kind) for kind in KINDS}


def printed_seconds(network: str = "ConvNet") -> float:
    """What the source's notebook printed for one training on digits of a plain network, or of its
    sparse one."""
    printed = "ConvNet" if network in DENSE_NETWORKS else "SparseConvNet-kept"
    with (RESULTS / "source.toml").open("rb") as file:
        return tomllib.load(file)["acc_seconds"][printed]


def missing_in_words(found: dict[str, Measured | None]) -> str:
    """Which kinds of device nothing was measured on, and the command; empty if none."""
    lacking = [KINDS[kind] for kind, measured in found.items() if measured is None]
    if not lacking:
        return ""
    return (
        f"Steps and layers have not been measured on {' or '.join(lacking)} yet: `sparseconv "
        "measure` does it there. Trainings are timed wherever they run."
    )


def steps_in_words(measured: Measured) -> str:
    """What a whole training step with the sparse layer costs, least to most, and the goal."""
    sparse = [row for row in measured["steps"] if row["network"].startswith("SparseConvNet")]
    low, high = (f(row["time_ratio"] for row in sparse) for f in (min, max))
    by: dict[tuple[str, str, str], list[str]] = {}
    for row in sparse:
        verb = (
            ("misses", "miss", "it in nine of ten rounds or more")
            if row["time_ratio_low"] > GOAL
            else ("meets", "meet", "it in nine of ten rounds or more")
            if row["time_ratio_high"] <= GOAL
            else ("lies", "lie", "on both sides of it, as rounds scatter")
        )
        by.setdefault(verb, []).append(f"{row['network']} ({row['case'].split(',')[0]})")
    told = "; ".join(
        f"{in_a_row(names)} {several if len(names) > 1 else one} {rest}"
        for (one, several, rest), names in by.items()
    )
    return (
        f"With SparseConv2d a whole training step takes {low:.2f} to {high:.2f} times that of the "
        f"same network with nn.Conv2d. Our goal was {GOAL:g} times at most: {told}. "
        f"{_where(measured, False)}"
    )


def _where(measured: Measured, brackets: bool = True) -> str:
    threads = measured["threads"]
    spread = "; in brackets their 10th and 90th percentile" if brackets else ""
    return (
        f"({measured['device']}, {threads} thread{'s' * (threads != 1)}, torch "
        f"{measured['versions']['torch']}, medians of {measured['rounds']} rounds in one process, "
        f"of ratios within a round, which need not give the ratio of two medians{spread}.)"
    )


def _ratio(row: dict[str, Any]) -> str:
    if row["time_ratio"] == row["time_ratio_low"] == row["time_ratio_high"] == 1:
        return "1"
    low, high = row["time_ratio_low"], row["time_ratio_high"]
    return f"{row['time_ratio']:.2f} ({low:.2f} to {high:.2f})"


def layers_table(measured: Measured, when: str) -> str:
    """One layer: time and memory of each design over those of nn.Conv2d."""
    plain = {row["shape"]: row for row in measured["layers"] if row["layer"] == "nn.Conv2d"}
    rows = [
        {
            "layer": row["shape"],
            "design": row["layer"],
            "ms": f"{1e3 * row['seconds']:.1f}",
            "time, ratio": _ratio(row),
            "most memory": f"{row['peak_bytes'] / 2**20:.1f} MiB",
            "memory, ratio": f"{row['peak_bytes'] / plain[row['shape']]['peak_bytes']:.2f}",
        }
        for row in measured["layers"]
    ]
    return as_html(
        pandas.DataFrame(rows),
        f"{when}: forward and backward pass of one layer over those of nn.Conv2d. Memory is "
        f"the most that new tensors held at a time. {_where(measured)}",
    )


def layers_in_words(measured: Measured) -> str:
    """Ours beside the frozen one-channel convolution, layer by layer."""
    times = {(row["shape"], row["layer"]): row["time_ratio"] for row in measured["layers"]}
    told = [
        f"{times[shape, 'SparseConv2d']:.2f} against {times[shape, FROZEN]:.2f} ({shape})"
        for shape in dict.fromkeys(row["shape"] for row in measured["layers"])
    ]
    apart = _told_apart(measured, FROZEN)
    return (
        "In times of nn.Conv2d, forward and backward, SparseConv2d takes, against a frozen "
        f"convolution from one channel to one: {'; '.join(told)}. {apart} {_where(measured, False)}"
    )


def _told_apart(measured: Measured, other: str) -> str:
    """In which layers ours and another design differ by more than rounds scatter; memory, too."""
    rows = {(row["shape"], row["layer"]): row for row in measured["layers"]}
    shapes = list(dict.fromkeys(shape for shape, _ in rows))
    faster = [s for s in shapes
              if rows[s, OURS]["time_ratio_high"] < rows[s, other]["time_ratio_low"]]  # fmt: skip
    slower = [s for s in shapes
              if rows[s, OURS]["time_ratio_low"] > rows[s, other]["time_ratio_high"]]  # fmt: skip
    parts = [
        f"ours is {word} in {len(found)} of {len(shapes)} layers"
        for word, found in (("faster", faster), ("slower", slower))
        if found
    ]
    time = in_a_row(parts) if parts else f"in none of {len(shapes)} layers are the two told apart"
    less = [s for s in shapes if rows[s, OURS]["peak_bytes"] < rows[s, other]["peak_bytes"]]
    saved = [1 - rows[s, OURS]["peak_bytes"] / rows[s, other]["peak_bytes"] for s in less]
    memory = (
        f"; of memory ours takes less in {len(less)}, by up to {100 * max(saved):.0f} %"
        if less
        else "; of memory ours takes no less"
    )
    return f"By their 10th and 90th percentiles, {time}{memory}."


def steps_table(measured: Measured, when: str) -> str:
    """A training step of each network over that of ConvNet."""
    rows = [
        {
            "networks": row["case"],
            "network": row["network"],
            "ms": f"{1e3 * row['seconds']:.1f}",
            "time, ratio": _ratio(row),
        }
        for row in measured["steps"]
    ]
    return as_html(
        pandas.DataFrame(rows),
        f"{when}: a training step, its optimiser's included, over that of ConvNet. "
        f"{_where(measured)}",
    )


def blocks_table(measured: Measured, when: str) -> str:
    """A compiled block of convolution, BatchNorm and ReLU with either layer."""
    found = measured.get("blocks", [])
    if not found:
        why = "torch.compile had no compiler" if "blocks" in measured else "not measured yet"
        return paragraph(f"{when}: no compiled block; {why}. {_where(measured)}")
    rows = [
        {
            "block": row["shape"],
            "layer": row["layer"],
            "ms": f"{1e3 * row['seconds']:.2f}",
            "time, ratio": _ratio(row),
        }
        for row in found
    ]
    return as_html(
        pandas.DataFrame(rows),
        f"{when}: convolution, BatchNorm and ReLU compiled as one by torch.compile, forward and "
        f"backward, over the same with nn.Conv2d. {_where(measured)}",
    )


def blocks_in_words(measured: Measured) -> str:
    """What compiling leaves of the layer's cost, block by block."""
    told = [
        f"{row['time_ratio']:.2f} ({row['shape']})"
        for row in measured.get("blocks", [])
        if row["layer"] == "SparseConv2d"
    ]
    if not told:
        return ""
    alone = {row["shape"]: row for row in measured["layers"] if row["layer"] == OURS}
    worse = [
        row["shape"]
        for row in measured["blocks"]
        if row["layer"] == OURS and row["time_ratio_low"] > alone[row["shape"]]["time_ratio_high"]
    ]
    lost = (
        f" In {in_a_row(worse)} that ratio is above the layer's own, not compiled: there compiling "
        "makes it dearer beside nn.Conv2d."
        if worse
        else ""
    )
    return (
        "Compiled together with BatchNorm and ReLU, what the layer does beside its convolution "
        "could be fused with what follows. In times of the same block with nn.Conv2d it then takes "
        f"{', '.join(told)}.{lost} {_where(measured, False)}"
    )


def _over_one_alone(measured: Measured) -> list[float]:
    """Of each row, the steps a second of all its trainings over those of one alone."""
    paces = {(r["batch"], r["together"]): r["steps_a_second"] for r in measured["together"]}
    return [pace / paces[batch, 1] for (batch, _), pace in paces.items()]


def together_in_words(measured: Measured) -> str:
    """For which batches running as one is faster, by the most that was measured."""
    most = max(row["together"] for row in measured["together"])
    told = [
        f"{ratio:.1f} times (in batches of {row['batch']})"
        for row, ratio in zip(measured["together"], _over_one_alone(measured), strict=True)
        if row["together"] == most
    ]
    return (
        f"{most} trainings of SparseConvNet as one make, all counted, {in_a_row(told)} as many "
        f"steps a second as one alone. {_where(measured, False)}"
    )


def together_table(measured: Measured, when: str) -> str:
    """Steps a second as the number of trainings grows that run as one."""
    rows = [
        {
            "batch": row["batch"],
            "trainings as one": row["together"],
            "steps a second, all counted": f"{row['steps_a_second']:.0f}",
            "over one alone": f"{ratio:.2f}",
        }
        for row, ratio in zip(measured["together"], _over_one_alone(measured), strict=True)
    ]
    return as_html(
        pandas.DataFrame(rows),
        f"{when}: steps of SparseConvNet (Table 1) a second. {_where(measured, False)}",
    )


def feeding_table(measured: Measured, when: str) -> str:
    """Images a second that reach a network in two ways."""
    rows = [
        {
            "way": row["feeding"],
            "images a second": f"{row['images_a_second']:,.0f}",
            "time, ratio": _ratio(row),
        }
        for row in measured["feeding"]
    ]
    return as_html(
        pandas.DataFrame(rows),
        f"{when}: digits, masked and in batches of 64, nothing trained. {_where(measured)}",
    )


def operations_table(measured: Measured, when: str) -> str:
    """What a training of Table 3 must compute and move, and the floor of all of them."""
    rows = [
        {
            "network": row["network"],
            "operations": f"{row['operations'] / 1e9:.0f} · 10⁹",
            "bytes": f"{row['bytes'] / 1e9:.0f} · 10⁹",
            f"{TRAININGS_EACH} trainings": f"{operations.floor(row, TRAININGS_EACH):.1f} s",
        }
        for row in measured["operations"]
    ]
    machine = operations.H200
    return as_html(
        pandas.DataFrame(rows),
        f"{when}: counted for one training on MNIST ({measured['operations'][0]['epochs']} epochs, "
        f"batch {measured['operations'][0]['batch']}), every kernel reading and writing what it "
        f"does when run eagerly on a CPU; and the time that an {machine.name} takes for that if it "
        f"is never idle, whose maker says {machine.operations / 1e12:.0f} · 10¹² operations and "
        f"{machine.bytes / 1e12:.2f} · 10¹² bytes a second.",
    )


def floor_in_words(measured: Measured) -> str:
    """Table 3's trainings: the floor, beside what the source's own pace would take."""
    counted = {row["network"]: row for row in measured["operations"]}
    least = sum(operations.floor(counted[n], TRAININGS_EACH) for n in THREE_NETWORKS)
    trainings = TRAININGS_EACH * len(THREE_NETWORKS)
    binding = {
        "memory"
        if row["bytes"] / operations.H200.bytes > row["operations"] / operations.H200.operations
        else "arithmetic"
        for row in (counted[n] for n in THREE_NETWORKS)
    }
    printed = {network: printed_seconds(network) for network in THREE_NETWORKS}
    theirs = TRAININGS_EACH * sum(printed.values())
    plain, sparse = printed["ConvNet"], printed["SparseConvNet"]
    return (
        f"Table 3 with {in_a_row(THREE_NETWORKS)}, 12 sparsities and 10 seeds is "
        f"{trainings} trainings: at the paces that the source's notebook printed ({plain} s a "
        f"plain network, {sparse} s a sparse one) {theirs / 60:.0f} minutes, and on an "
        f"{operations.H200.name} that is never idle {least:.0f} s, run eagerly, bound by "
        f"{' and '.join(sorted(binding))}; fused kernels would move less."
    )


@dataclass(frozen=True)
class Pace:
    """What trainings of one kind of network on one data set took on one device."""

    data_set: str
    network: str
    batch: int
    device: str
    trainings: int
    together: int  # the most that ran as one
    on_gpu: bool
    images_a_second: float  # of training, the median; the time of the tests is in it
    seconds: float  # of all


def paces() -> list[Pace]:
    """Every Pace in the records, from the trainings' own times."""
    groups: dict[tuple[str, str, int, str, bool], list[Record]] = {}
    for experiment in {each.notebook: None for each in EXPERIMENTS.values()}:
        for record in records.load(experiment):
            protocol, device = record.protocol, record.content["provenance"]["device"]
            if record.key.network in BASELINES or protocol.objective != "classify":
                continue
            name = {"resnet18": "ResNet18 on "}.get(protocol.architecture, "")
            size = f", {protocol.side} pixels a side" if protocol.side else ""
            stacked = "together" in record.content["provenance"]
            data_set = f"{name}{protocol.dataset}{size}"
            group = (data_set, record.key.network, protocol.batch_size, device, stacked)
            groups.setdefault(group, []).append(record)
    return [
        Pace(
            *group[:4],
            len(found),
            max(record.content["provenance"].get("together", 1) for record in found),
            "cuda" in found[0].content["provenance"]["versions"],
            statistics.median(images_a_second(record) for record in found),
            sum(record.content["provenance"]["seconds"] for record in found),
        )
        for group, found in sorted(groups.items())
    ]


def paces_table() -> str:
    """Images of training a second, by data set, network and device, as the records have them."""
    rows = [
        {
            "data set": pace.data_set,
            "network": pace.network,
            "batch": pace.batch,
            "device": pace.device,
            "trainings": pace.trainings,
            "as one": pace.together,
            "images a second": f"{pace.images_a_second:,.0f}",
        }
        for pace in paces()
    ]
    return as_html(
        pandas.DataFrame(rows),
        "Images of training a second, each counted in every epoch: medians over all recorded "
        "trainings that classify, the time of their tests included. "
        "A processor's are of one thread, while others ran beside it; where trainings ran as one, "
        "each has its share of the time.",
    )


def paces_in_words() -> str:
    """What running as one has brought on a GPU, against one thread and the source's own pace.

    All in batches as large as those of the source's notebook.
    """
    batch = preset("as_coded", "mnist").batch_size
    found = [pace for pace in paces() if (pace.data_set, pace.batch) == ("mnist", batch)]
    stacked = [pace for pace in found if pace.together > 1 and pace.on_gpu]
    if not stacked:
        return "No trainings have been run as one on a GPU yet."
    fast = max(stacked, key=lambda pace: pace.trainings)
    slow = [
        f"{fast.images_a_second / pace.images_a_second:.0f} ({pace.device})"
        for pace in found
        if (pace.together, pace.network) == (1, fast.network) and not pace.on_gpu
    ]
    every = [pace for pace in paces() if pace.device == fast.device]
    epochs, images = preset("as_written", "mnist").epochs, TRAINING_IMAGES["mnist"]
    theirs = epochs * images / printed_seconds(fast.network)
    trainings = TRAININGS_EACH * len(THREE_NETWORKS)
    own = {p.network: p.images_a_second for p in stacked if p.device == fast.device}
    beside = f", {' or '.join(slow)} times as many as one thread of a processor" if slow else ""
    counted, minutes = (sum(p.trainings for p in every), sum(p.seconds for p in every) / 60)
    pace = fast.images_a_second
    table_3 = ""
    if own.keys() >= {*THREE_NETWORKS}:
        would = sum(TRAININGS_EACH * epochs * images / own[network] for network in THREE_NETWORKS)
        table_3 = (
            f" At such paces the {trainings} trainings of Table 3, {TRAININGS_EACH} each of "
            f"{in_a_row(THREE_NETWORKS)}, would take {would:.0f} s in such batches; our goal was "
            f"{GOAL_SECONDS} s."
        )
    return (
        f"On {fast.device} {counted} trainings that classify took {minutes:.0f} minutes, up to "
        f"{fast.together} running as one. In batches of {batch} {fast.network} goes through "
        f"{pace:,.0f} digits a second there{beside} and {pace / theirs:.0f} times as many as in "
        f"the source's notebook.{table_3}"
    )


def scaling_table() -> str:
    """What each experiment of the grid takes on several workers like each device."""
    rows = []
    for name in EXPERIMENTS:
        for device in scaling.devices():
            found = scaling.estimate(name, device)
            if found is None:
                continue
            rows.append(
                {
                    "experiment": name,
                    "device": f"{device}{', trainings alone' * found.stacked}",
                    "pages": len(found.pages),
                    "measured": found.measured,
                    **{
                        f"{workers} worker{'s' * (workers > 1)}": _duration(
                            scaling.makespan(found.pages, workers)
                        )
                        for workers in scaling.WORKERS
                    },
                    "longest page": _duration(max(found.pages)),
                }
            )
    return as_html(
        pandas.DataFrame(rows),
        "Calculated: each experiment on several workers, each as fast as one process of the "
        "device. A page is one executed notebook, with the trainings of one protocol, sparsity and "
        "seed. Measured are the pages of which every training has been run there; any other is "
        "taken to last as the median of its like. Where the longest page is reached, more workers "
        "gain nothing. On a GPU trainings run as one, and a processor executes the pages "
        "meanwhile.",
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
