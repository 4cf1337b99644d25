"""What the chapter on maps shows: errors of networks and interpolations, by what is observed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas

from sparseconv_lib.study import data, figures, reconstructions, records, skill
from sparseconv_lib.study.grid import (
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
    grid_of,
)
from sparseconv_lib.study.protocol import BASELINES, preset
from sparseconv_lib.study.records import METHODS, Key, Record
from sparseconv_lib.study.report import NO_BREAK, as_html, devices, mark, note, signed
from sparseconv_lib.study.statistics import Summary, paired_difference, summarise

EXPERIMENT = "depth"
PROTOCOLS = {  # the chapter's data, as its pages name it
    "elevation": "elevation",
    "depth_reduced": "depth, every fourth pixel",
    "depth": "depth",
    "digits": "digits",
}
UNITS = {"elevation": ("m", 1.0), "depth": ("mm", 1000.0), "digits": ("grey levels of 255", 255.0)}
# The original paper tested from 5 % to 70 % observed.
PAPERS_RANGE = (0.3, 0.95)
STYLES = {
    **figures.STYLES,
    "constant": ("#999999", (0, (1, 1)), "|"),
    "nearest": ("#000000", "-", "x"),
    "linear": ("#56B4E9", "--", "+"),
    "gaussian": ("#D55E00", "-.", "*"),
}
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
    for record in _at(protocol, trained_at):
        for q in TEST_SPARSITIES:
            if q or not missing_only:
                error = factor * record.error_at(q, missing_only)
                cells.setdefault((record.key.network, q), {})[record.key.seed] = error
    return cells


def _at(protocol: str, trained_at: float) -> list[Record]:
    return [r for r in records.load(EXPERIMENT, protocol) if r.key.sparsity == trained_at]


def _methods(protocol: str) -> list[str]:
    grid = grid_of(EXPERIMENT, protocol)
    return list(METHODS if grid is None else grid.networks)


def error_table(protocol: str, missing_only: bool = False) -> str:
    """Mean absolute error of every method at every test sparsity."""
    found, (unit, _) = _at(protocol, PAPERS_SPARSITY), unit_of(protocol)
    if not found:
        return NOT_RUN
    cells, rows = measured(protocol, missing_only=missing_only), []
    for method in _methods(protocol):
        some = [record for record in found if record.key.network == method]
        row = {"method": method, "n": f"{len(some)}{mark(some)}"}
        for q in reversed(TEST_SPARSITIES):
            if q or not missing_only:
                row[f"{1 - q:.0%} observed"] = _spread(cells.get((method, q), {}))
        rows.append(row)
    which = "the missing pixels alone" if missing_only else "all known pixels, observed ones too"
    return as_html(
        pandas.DataFrame(rows),
        f"Mean absolute error in {unit} over {which}, mean ± standard deviation over n seeds. "
        f"Networks were trained with {1 - PAPERS_SPARSITY:.0%} observed. Protocol {protocol}; "
        f"{devices(found)}.{note(found)}",
    )


def _spread(seeds: dict[int, float]) -> str:
    if not seeds:
        return "not run"
    summary = summarise(seeds.values())
    spread = "" if summary.n == 1 else f" ± {in_digits(summary.sd)}"
    return f"{in_digits(summary.mean)}{spread}".replace(" ", NO_BREAK)


def in_digits(value: float) -> str:
    """A number with three digits that count."""
    if not np.isfinite(value) or value == 0:
        return f"{value:g}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def error_figure(protocol: str) -> str:
    """Error against the share that is observed, on a logarithmic scale."""
    found, (unit, _) = _at(protocol, PAPERS_SPARSITY), unit_of(protocol)
    if not found:
        return NOT_RUN
    cells = measured(protocol)
    figure, axis = figures.new_figure(6.8, 3.8)
    told = []
    for method in _methods(protocol):
        known = [(q, summarise(cells[method, q].values())) for q in TEST_SPARSITIES
                 if (method, q) in cells and q]  # fmt: skip
        if not known:
            continue
        color, line, marker = STYLES[method]
        x = np.array([100 * (1 - q) for q, _ in known])
        mean = np.array([summary.mean for _, summary in known])
        half = np.nan_to_num([summary.high - summary.mean for _, summary in known])
        axis.errorbar(
            x, mean, np.minimum(half, 0.9 * mean), color=color, linestyle=line, marker=marker,
            markersize=4, linewidth=1.3, capsize=2, label=method,
        )  # fmt: skip
        told.append(f"{method} from {in_digits(mean[-1])} to {in_digits(mean[0])}")
    axis.set(xlabel="pixels observed (%)", ylabel=f"mean absolute error ({unit})", yscale="log")
    figure.legend(loc="outside right upper", fontsize=9)
    n = sorted({len(seeds) for seeds in cells.values()})
    return figures.as_html(
        figure,
        f"Mean absolute error over all known test pixels, n = {_span(n)}, with 95 % intervals of "
        f"the mean where there are several seeds; networks trained with {1 - PAPERS_SPARSITY:.0%} "
        f"observed. Protocol {protocol}.{note(found)}",
        f"Error against the share observed, from few to many pixels: {'; '.join(told)}.",
    )


def _span(n: Sequence[int]) -> str:
    return str(n[0]) if n[0] == n[-1] else f"{n[0]} to {n[-1]}"


def in_words(protocol: str) -> str:
    """Is the layer invariant here, and does any network beat the nearest observed pixel?"""
    cells, (unit, _) = measured(protocol), unit_of(protocol)
    dense, sparse = PAPERS_RANGE
    told = []
    for method in (*PAPERS_NETWORKS, "nearest"):
        few, many = cells.get((method, sparse)), cells.get((method, dense))
        if few and many:
            times = summarise(many.values()).mean / summarise(few.values()).mean
            told.append(f"{method} {_spread(few)} and {_spread(many)}, {times:.2g} times")
    if not told:
        return f"On {PROTOCOLS.get(protocol, protocol)} nothing has been run yet."
    beats = []
    for network in PAPERS_NETWORKS:
        where = [
            f"{1 - q:.0%}"
            for q in reversed(TEST_SPARSITIES)
            if (gap := _gap(cells.get((network, q), {}), cells.get(("nearest", q), {})))
            and gap.mean < 0
            and (gap.n == 1 or gap.high < 0)
        ]
        beats.append(f"{network} {'at ' + ', '.join(where) if where else 'nowhere'}")
    n = sorted({len(seeds) for seeds in cells.values()})
    shown = "beats" if n[0] == 1 else "is shown to beat"  # one seed shows nothing
    return (
        f"On {PROTOCOLS.get(protocol, protocol)}, trained with {1 - PAPERS_SPARSITY:.0%} of the "
        f"pixels, mean absolute errors with {1 - sparse:.0%} and with {1 - dense:.0%} observed, "
        f"in {unit}: {'; '.join(told)} (n = {_span(n)}). A network counts where it {shown} "
        f"the nearest observed pixel: {'; '.join(beats)}."
    )


def _gap(a: dict[int, float], b: dict[int, float]) -> Summary | None:
    return paired_difference(a, b) if a.keys() & b.keys() else None


def terrain_in_words() -> str:
    """What makes the elevations harder than the paper's own data; from the field itself."""
    field = data.load("elevation")
    train, test = (part.double() for part in (field.train_images, field.test_images))
    return (
        f"The land falls from where networks are trained to where they are tested: from a mean of "
        f"{train.mean():.0f} m (standard deviation {train.std():.0f} m) to {test.mean():.0f} m "
        f"({test.std():.0f} m). An interpolation does not care; a network has to."
    )


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
    columns = ["truth", "observed", *shown]
    figure, axes = figures.new_figure(
        1.35 * len(columns), 1.5 * len(first), len(first), len(columns), squeeze=False
    )
    truth = first[reconstructions.SHOWN[0]].truth
    low, high = np.nanmin(truth), np.nanmax(truth)
    for row, q in zip(axes, reconstructions.SHOWN, strict=True):
        observed = np.where(first[q].mask, first[q].truth, np.nan)
        panels = [truth, observed, *(kept[q].answer for kept in shown.values())]
        for axis, title, panel in zip(row, columns, panels, strict=True):
            axis.imshow(np.ma.masked_invalid(panel), vmin=low, vmax=high, cmap="viridis")
            axis.set(xticks=[], yticks=[])
            axis.set_title(title if q == reconstructions.SHOWN[0] else "", fontsize=8)
        row[0].set_ylabel(f"{1 - q:.0%} observed", fontsize=8)
    return figures.as_html(
        figure,
        f"The first test image, seed 0, networks trained with {1 - PAPERS_SPARSITY:.0%} observed. "
        "White: not known, or not observed. All panels share one scale of colours.",
        f"An image of {protocol} as it is, as observed, and as reconstructed by "
        f"{', '.join(shown)}.",
        photographs=True,
    )


def example_path(protocol: str, method: str) -> Path:
    """Where a training of seed 0 leaves its reconstruction."""
    return Key(EXPERIMENT, protocol, method, PAPERS_SPARSITY, 0).path().with_suffix(".npz")


def tasks_table() -> str:
    """Digits asked for every pixel, trained at one sparsity, tested at others."""
    rows, found = [], []
    for p in (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY):
        cells, some = measured("digits", p), _at("digits", p)
        found += some
        for method in PAPERS_NETWORKS:
            own = [record for record in some if record.key.network == method]
            row = {"trained at": f"{p:g}", "network": method, "n": f"{len(own)}{mark(own)}"}
            for q in TEST_SPARSITIES:
                row[f"tested at {q:g}"] = _spread(cells.get((method, q), {}))
            rows.append(row)
    if not found:
        return NOT_RUN
    cells = measured("digits")
    for method in BASELINES:
        if any(name == method for name, _ in cells):
            row = {"trained at": "–", "network": method, "n": str(len(cells[method, 0.0]))}
            for q in TEST_SPARSITIES:
                row[f"tested at {q:g}"] = _spread(cells.get((method, q), {}))
            rows.append(row)
    unit, _ = unit_of("digits")
    return as_html(
        pandas.DataFrame(rows),
        f"MNIST, asked for every pixel: mean absolute error in {unit}, mean ± standard deviation "
        f"over n seeds. Protocol digits; {devices(found)}.{note(found)}",
    )


def tasks_in_words(trained_at: float = 0.5) -> str:
    """The same images, convolutions and masks, asked for the pixels: is the layer invariant?"""
    cells, told = measured("digits", trained_at), []
    for method in PAPERS_NETWORKS:
        parts = []
        for q in (0.0, 0.8):
            own = measured("digits", q).get((method, q), {})
            if gap := _gap(cells.get((method, q), {}), own):
                relative = gap.mean / summarise(own.values()).mean
                parts.append(f"{signed(100 * relative, 0)} % at p = {q:g}")
        if parts:
            told.append(f"{method} {' and '.join(parts)}")
    if not told:
        return "Digits have not been asked for their pixels yet."
    return (
        f"Asked for every pixel of the same digits, a network trained at p = {trained_at:g} errs "
        f"more than the same network trained where it is tested, by {'; '.join(told)}."
    )


def skill_in_words() -> str:
    """Decisions and values: what each keeps of its skill as pixels go missing."""
    skills, told = skill.retained(), []
    for p in TWO_SPARSITIES:
        parts = [
            f"{summary.mean:.0%} of the skill at {what}"
            + (
                ""
                if summary.n == 1
                else f" (95 % interval {summary.low:.0%} to {summary.high:.0%})"
            )
            for name, what in ((skill.DECISION, "decisions"), (skill.VALUES, "values"))
            if (seeds := skills.get((name, p, p))) and (summary := summarise(seeds.values()))
        ]
        if parts:
            told.append(f"at p = {p:g} {' and '.join(parts)}")
    if not told:
        return "What decisions and values keep of their skill cannot be said yet."
    n = sorted({len(seeds) for seeds in skills.values()})
    return (
        f"{skill.NETWORK}, trained and tested at one sparsity, keeps, of what it does better than "
        f"the best constant answer on whole digits: {'; '.join(told)} (n = {_span(n)})."
    )


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
                row[text] = in_digits(factor * error)
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
