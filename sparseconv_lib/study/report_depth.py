"""What the chapter on maps shows: errors of networks and interpolations, by what is observed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogFormatter, NullLocator

from sparseconv_lib.study import (
    charts,
    figures,
    numbers,
    reconstructions,
    records,
)
from sparseconv_lib.study.grid import (
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    grid_of,
)
from sparseconv_lib.study.protocol import preset
from sparseconv_lib.study.records import METHODS, Key, Record
from sparseconv_lib.study.report import (
    NO_BREAK,
    as_html,
    devices,
    mark,
    note,
    paragraph,
)
from sparseconv_lib.study.statistics import Summary, summarise
from sparseconv_lib.study.wording import span

EXPERIMENT = "depth"
PROTOCOLS = {  # the chapter's data, as its pages name it
    "elevation": "elevations",
    "depth_reduced": "depth, at a quarter of the height and width",
    "depth": "depth, all pixels",
    "digits": "digits",
}
UNITS = {"elevation": ("m", 1.0), "depth": ("mm", 1000.0), "digits": ("grey levels of 255", 255.0)}
MAPS = ("depth", "depth_reduced", "elevation")  # the paper's own kind of task
# The original paper tested from 5 % to 70 % observed.
PAPERS_RANGE = (0.3, 0.95)
STYLES = {
    **figures.STYLES,
    "constant": ("#999999", ":", "|"),
    "nearest": ("#000000", "-", "x"),
    "linear": ("#56B4E9", "--", "+"),
    "gaussian": ("#D55E00", "-.", "*"),
}
PLAIN, SPARSE = "ConvNet", "SparseConvNet"
NOT_RUN = "<p>Not run yet.</p>"

Cells = dict[tuple[str, float], dict[int, float]]  # (method, test sparsity) -> seed -> error


def unit_of(protocol: str) -> tuple[str, float]:
    """The unit that the tables of a protocol use, and how many of it a record's unit is."""
    dataset = preset(protocol, EXPERIMENT).dataset
    return UNITS["digits" if dataset == "mnist" else dataset.removesuffix("_reduced")]


def measured(
    protocol: str, trained_at: float = PAPERS_SPARSITY, missing_only: bool = False
) -> Cells:
    """The recorded errors of a protocol, in the unit of its tables."""
    _, factor = unit_of(protocol)
    cells: Cells = {}
    for record in records_of(protocol, trained_at):
        for q in TEST_SPARSITIES:
            if q or not missing_only:
                error = factor * record.error_at(q, missing_only)
                cells.setdefault((record.key.network, q), {})[record.key.seed] = error
    return cells


def records_of(protocol: str, trained_at: float) -> list[Record]:
    return [r for r in records.load(EXPERIMENT, protocol) if r.key.sparsity == trained_at]


def _methods(protocol: str) -> list[str]:
    grid = grid_of(EXPERIMENT, protocol)
    return list(METHODS if grid is None else grid.networks)


def error_table(protocol: str, missing_only: bool = False) -> str:
    """Mean absolute error of every method at every test sparsity."""
    found, (unit, _) = records_of(protocol, PAPERS_SPARSITY), unit_of(protocol)
    if not found:
        return NOT_RUN
    rows = [
        {"method": method} | _error_row(protocol, method, missing_only)
        for method in _methods(protocol)
    ]
    which = "the missing pixels alone" if missing_only else "all known pixels, observed ones too"
    return as_html(
        pandas.DataFrame(rows),
        f"Mean absolute error in {unit} over {which}, by the share of pixels observed, mean ± "
        "standard deviation over n seeds. "
        f"Networks were trained with {1 - PAPERS_SPARSITY:.0%} observed. Protocol {protocol}; "
        f"{devices(found)}.{note(found)}",
    )


def _error_row(protocol: str, method: str, missing_only: bool = False) -> dict[str, str]:
    """How many seeds, and the error of one method at every test sparsity."""
    cells = measured(protocol, missing_only=missing_only)
    some = [r for r in records_of(protocol, PAPERS_SPARSITY) if r.key.network == method]
    row = {"n": f"{len(some)}{mark(some)}"}
    for q in reversed(TEST_SPARSITIES):
        if q or not missing_only:
            row[observed(q).replace(" ", NO_BREAK)] = errors(cells.get((method, q), {}))
    return row


def rescaled(protocol: str) -> str:
    """The protocol whose networks see their input divided by the share that is observed."""
    return f"{protocol}, rescale=true"


def rescaled_table() -> str:
    """ConvNet with and without its input divided by the share observed, beside the layer."""
    rows, found = [], []
    for name in MAPS:
        if not (its := records_of(rescaled(name), PAPERS_SPARSITY)):
            continue
        shown = (PLAIN, SPARSE, "nearest")
        found += [*its, *(r for r in records_of(name, PAPERS_SPARSITY) if r.key.network in shown)]
        for told, protocol, method in (
            (PLAIN, name, PLAIN),
            (f"{PLAIN}, input / share observed", rescaled(name), PLAIN),
            (SPARSE, name, SPARSE),
            ("nearest", name, "nearest"),
        ):
            maps = f"{PROTOCOLS[name]} ({unit_of(name)[0]})"
            rows.append({"maps": maps, "method": told} | _error_row(protocol, method))
    if not rows:
        return NOT_RUN
    return as_html(
        pandas.DataFrame(rows),
        "Mean absolute error over all known pixels, observed ones too, by the share of pixels "
        "observed, mean ± standard deviation over n seeds. Networks were trained with "
        f"{1 - PAPERS_SPARSITY:.0%} observed. {devices(found)}.{note(found)}",
    )


def section(protocol: str) -> str:
    """All that was found of one data set: errors, also of missing pixels alone, and pictures."""
    if not records_of(protocol, PAPERS_SPARSITY):
        return paragraph(lacking(protocol))
    return "".join(
        (
            error_figure(protocol),
            error_table(protocol),
            error_table(protocol, missing_only=True),
            pictures(protocol),
        )
    )


def errors(seeds: dict[int, float]) -> str:
    """ "24.1 ± 0.3", or "not run"."""
    if not seeds:
        return "not run"
    summary = summarise(seeds.values())
    mean, sd = in_digits(summary.mean), in_digits(summary.sd, summary.mean)
    if summary.sd > 0 and float(sd.replace(",", "")) == 0:  # not of no spread at all
        sd = f"{summary.sd:.1g}"
    told = (mean if summary.n == 1 else f"{mean} ± {sd}").replace(" ", NO_BREAK)
    return numbers.number(told, summary, sd)


def in_digits(value: float, beside: float | None = None) -> str:
    """A number with three digits that count, or with as many decimals as the one it is beside."""
    leads = value if beside is None else beside
    if not np.isfinite(value) or not np.isfinite(leads) or leads == 0:
        return f"{value:.3g}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(leads)))))
    return f"{value:,.{digits}f}"


def error_figure(protocol: str) -> str:
    """Error against the share that is observed, on a logarithmic scale."""
    found, (unit, _) = records_of(protocol, PAPERS_SPARSITY), unit_of(protocol)
    if not found:
        return NOT_RUN
    cells = measured(protocol)
    figure, axis = figures.new_figure(4.6, 3.6)
    told, series = [], []
    drawn: dict[str, dict[float, Summary]] = {}
    for method in _methods(protocol):
        known = [(q, summarise(cells[method, q].values())) for q in TEST_SPARSITIES
                 if (method, q) in cells and q]  # fmt: skip
        if not known:
            continue
        drawn[method] = dict(known)
        x = np.array([100 * (1 - q) for q, _ in known])
        mean = np.array([summary.mean for _, summary in known])
        half = np.nan_to_num([summary.high - summary.mean for _, summary in known])
        texts = [
            f"{method}, {1 - q:.0%} observed: {errors(cells[method, q])} {unit}, n = {summary.n}"
            for q, summary in known
        ]
        series.append(charts.Series(method, *STYLES[method]))
        series[-1].draw(axis, x, mean, texts, np.minimum(half, 0.9 * mean))
        told.append(f"{method} from {in_digits(mean[-1])} to {in_digits(mean[0])}")
    axis.set(xlabel="pixels observed (%)", ylabel=f"mean absolute error ({unit})")
    axis.set(xscale="log", yscale="log")
    axis.xaxis.set_major_locator(FixedLocator([100 * (1 - q) for q in TEST_SPARSITIES if q]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FormatStrFormatter("%.0f"))
    axis.yaxis.set_major_formatter(LogFormatter())  # 100, not 10 with a raised 2
    axis.yaxis.set_minor_formatter(LogFormatter())
    n = sorted({len(seeds) for seeds in cells.values()})
    alt = f"Error against the share observed, from few to many pixels: {'; '.join(told)}."
    return charts.as_html(
        [(figure, alt)],
        series,
        f"{_least_and_flattest(drawn)}Mean absolute error over all known test pixels, "
        f"n = {span(n)}, with 95 % intervals of the mean where there are several seeds; networks "
        f"trained with {1 - PAPERS_SPARSITY:.0%} observed. With all observed, interpolations have "
        f"no error, and a logarithm no place for them. Protocol {protocol}.{note(found)}",
    )


def _least_and_flattest(drawn: Mapping[str, Mapping[float, Summary]]) -> str:
    """Who errs least with the fewest and the most pixels observed, and whose error moves least.

    drawn: method -> test sparsity -> its error over seeds.
    """
    shared = sorted(set.intersection(*map(set, drawn.values()))) if drawn else []
    networks = [network for network in PAPERS_NETWORKS if network in drawn]
    if len(shared) < 2 or len(drawn) < 2 or not networks:
        return ""
    told: list[str] = []
    least = "of the pixels observed the least error is "
    for q in (shared[-1], shared[0]):
        best, of_them = (
            min(names, key=lambda name: drawn[name][q].mean) for names in (drawn, networks)
        )
        its = "" if best == of_them else f", of the networks {of_them}'s"
        told.append(f"with {observed(q)} {least * (not told)}{best}'s{its}")
    moved = []
    for network in networks:
        means = [drawn[network][q].mean for q in shared]
        ratio = max(means) / min(means)
        moved.append(f"{network} {numbers.number(f'{ratio:.2g}', ratio)}")
    return (
        f"W{'; '.join(told)[1:]}. From {observed(shared[-1])} to {observed(shared[0])} observed "
        f"a network's highest error is so many times its lowest: {', '.join(moved)}. "
    )


def observed(sparsity: float) -> str:
    """ "5 %": the share that is not missing."""
    return f"{100 * (1 - sparsity):.0f} %"


def lacking(protocol: str) -> str:
    name = PROTOCOLS.get(protocol, protocol)
    return f"{name[:1].upper()}{name[1:]}: not run yet."


def pictures(protocol: str) -> str:
    """One test image with few and with many pixels observed, and what each method makes of it."""
    shown = {
        method: kept
        for method in _methods(protocol)
        if (kept := reconstructions.read(example_path(protocol, method)))
    }
    if not shown:
        return NOT_RUN
    first = next(iter(shown.values()))
    truth = first[reconstructions.SHOWN[0]].truth
    columns = {
        "truth": dict.fromkeys(reconstructions.SHOWN, truth),
        "observed": {q: np.where(kept.mask, kept.truth, np.nan) for q, kept in first.items()},
    } | {method: {q: its.answer for q, its in kept.items()} for method, kept in shown.items()}
    low, high = np.nanmin(truth), np.nanmax(truth)
    panels = []
    for title, by_sparsity in columns.items():  # each a picture of its own: they wrap
        figure, axes = figures.new_figure(1.25, 1.25 * len(first) + 0.2, len(first), 1)
        for axis, q in zip(axes, reconstructions.SHOWN, strict=True):
            axis.imshow(np.ma.masked_invalid(by_sparsity[q]), vmin=low, vmax=high, cmap="viridis")
            axis.set(xticks=[], yticks=[])
            axis.set_ylabel(f"{1 - q:.0%} observed", fontsize=8)
        axes[0].set_title(title, fontsize=9)
        panels.append((figure, f"An image of {protocol}, from few and from many pixels: {title}."))
    return figures.pictures(
        panels,
        f"The first test image, seed 0, networks trained with {1 - PAPERS_SPARSITY:.0%} observed. "
        "White: not known, or not observed. All panels share one scale of colours.",
        photographs=True,
    )


def example_path(protocol: str, method: str) -> Path:
    """Where a training of seed 0 leaves its reconstruction."""
    return Key(EXPERIMENT, protocol, method, PAPERS_SPARSITY, 0).path().with_suffix(".npz")


def log_ratio(a: Mapping[int, float], b: Mapping[int, float]) -> list[float]:
    """How much more a errs than b, seed by seed: the logarithm of their ratio.

    Errors spread in proportion to their size; where one of them is 0, their difference.
    """
    both = [(a[seed], b[seed]) for seed in a if seed in b]
    if all(x > 0 and y > 0 for x, y in both):
        return [math.log(x / y) for x, y in both]
    return [x - y for x, y in both]


def run_table(trained: Sequence[Record]) -> str:
    """A page's own trainings: error at each test sparsity, over all pixels and the missing ones."""
    if not trained:
        return NOT_RUN
    unit, factor = unit_of(trained[0].key.protocol)
    rows = []
    for record in trained:
        for name, told in (("error", "all known"), ("error_missing", "missing")):
            row = {"method": record.key.network, "seed": str(record.key.seed), "pixels": told}
            for text, error in record.content[name].items():
                row[text] = numbers.of_trainings(in_digits(factor * error), [record.key])
            rows.append(row)
    content = trained[0].content["provenance"]
    seconds = sum(record.content["provenance"]["seconds"] for record in trained)
    return as_html(
        pandas.DataFrame(rows).fillna("–"),
        f"Mean absolute error in {unit} at each test sparsity, after training at "
        f"p = {trained[0].key.sparsity:g}. {content['device']}; commit {content['commit'][:10]}; "
        f"{seconds:.0f} seconds in all.",
    )


def beside_recorded(trained: Sequence[Record]) -> str:
    """A line for each training: its error at each test sparsity beside the recorded mean."""
    lines = []
    for record in trained:
        _, factor = unit_of(record.key.protocol)
        cells = measured(record.key.protocol, record.key.sparsity)
        parts = []
        for text, error in record.content["error"].items():
            seeds = cells.get((record.key.network, float(text)))
            mean = in_digits(summarise(seeds.values()).mean) if seeds else "not run"
            parts.append(f"{text}: {in_digits(factor * error)} ({mean})")
        lines.append(f"{record.key.network}, seed {record.key.seed}: {', '.join(parts)}")
    return "\n".join(lines) or "Not run at this sparsity, protocol and seed."
