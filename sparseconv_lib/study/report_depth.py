"""What the chapter on maps shows: errors of networks and interpolations, by what is observed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogFormatter, NullLocator

from sparseconv_lib.study import (
    charts,
    data,
    figures,
    ledger,
    numbers,
    reconstructions,
    records,
    skill,
)
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.comparisons import shown
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
    grid_of,
)
from sparseconv_lib.study.protocol import BASELINES, preset
from sparseconv_lib.study.records import METHODS, Key, Record
from sparseconv_lib.study.report import (
    NO_BREAK,
    as_html,
    devices,
    mark,
    note,
    paragraph,
    signed,
    without_what_lacks,
)
from sparseconv_lib.study.statistics import Summary, paired, summarise
from sparseconv_lib.study.wording import difference, points, span

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
STEADY = 1.25  # the factor within which an error is said to be kept, if its interval is
STYLES = {
    **figures.STYLES,
    "constant": ("#999999", ":", "|"),
    "nearest": ("#000000", "-", "x"),
    "linear": ("#56B4E9", "--", "+"),
    "gaussian": ("#D55E00", "-.", "*"),
}
SPARSE = "SparseConvNet"
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
                row[_observed(q).replace(" ", NO_BREAK)] = errors(cells.get((method, q), {}))
        rows.append(row)
    which = "the missing pixels alone" if missing_only else "all known pixels, observed ones too"
    return as_html(
        pandas.DataFrame(rows),
        f"Mean absolute error in {unit} over {which}, by the share of pixels observed, mean ± "
        "standard deviation over n seeds. "
        f"Networks were trained with {1 - PAPERS_SPARSITY:.0%} observed. Protocol {protocol}; "
        f"{devices(found)}.{note(found)}",
    )


def section(protocol: str) -> str:
    """All that was found of one data set: errors, also of missing pixels alone, and pictures."""
    if not _at(protocol, PAPERS_SPARSITY):
        return paragraph(in_words(protocol))
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
    found, (unit, _) = _at(protocol, PAPERS_SPARSITY), unit_of(protocol)
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
    observed = "of the pixels observed the least error is "
    for q in (shared[-1], shared[0]):
        best, of_them = (
            min(names, key=lambda name: drawn[name][q].mean) for names in (drawn, networks)
        )
        its = "" if best == of_them else f", of the networks {of_them}'s"
        told.append(f"with {_observed(q)} {observed * (not told)}{best}'s{its}")
    moved = []
    for network in networks:
        means = [drawn[network][q].mean for q in shared]
        ratio = max(means) / min(means)
        moved.append(f"{network} {numbers.number(f'{ratio:.2g}', ratio)}")
    return (
        f"W{'; '.join(told)[1:]}. From {_observed(shared[-1])} to {_observed(shared[0])} observed "
        f"a network's highest error is so many times its lowest: {', '.join(moved)}. "
    )


def in_words(protocol: str) -> str:
    """Is the layer invariant here, and does any network beat the nearest observed pixel?"""
    cells, (unit, _) = measured(protocol), unit_of(protocol)
    dense, sparse = PAPERS_RANGE
    told = [
        f"{method} {errors(cells[method, sparse])} and {errors(cells[method, dense])}"
        for method in _times(cells)
    ]
    if not told:
        return f"{_begun(PROTOCOLS.get(protocol, protocol))}: not run yet."
    return (
        f"{_trained_with(protocol)}{_moved(_times(cells))}{_beaten(cells)} "
        f"{_beside_nearest(cells, unit)}{_beside_each_other(cells, unit)}Mean absolute errors with "
        f"{_observed(sparse)} and with {_observed(dense)} observed, in {unit}: "
        f"{'; '.join(told)}; n = {_n_of(cells)}; {devices(_at(protocol, PAPERS_SPARSITY))}."
    )


def in_short(protocol: str) -> str:
    """The same without the errors."""
    cells = measured(protocol)
    if not (times := _times(cells)):
        return f"{_begun(PROTOCOLS.get(protocol, protocol))}: not run yet."
    return f"{_trained_with(protocol)}{_moved(times)}{_beaten(cells)} (n = {_n_of(cells)}.)"


def _n_of(cells: Cells) -> str:
    return span({len(seeds) for seeds in cells.values()})


def _trained_with(protocol: str) -> str:
    data = _begun(PROTOCOLS.get(protocol, protocol))
    return f"{data}, trained with {_observed(PAPERS_SPARSITY)} of the pixels. "


def _times(cells: Cells) -> dict[str, Summary]:
    """Method -> its error with the most pixels of the paper's range over that with the fewest.

    Ratios are paired by seed.
    """
    dense, sparse = PAPERS_RANGE
    times = {}
    for method in (*PAPERS_NETWORKS, "nearest", "constant"):
        few, many = cells.get((method, sparse), {}), cells.get((method, dense), {})
        if seeds := sorted(few.keys() & many.keys()):
            times[method] = summarise(many[seed] / few[seed] for seed in seeds)
    return times


def _keeps(ratio: Summary) -> bool:
    return ratio.low > 1 / STEADY and ratio.high < STEADY


def _loses(ratio: Summary) -> bool:
    return ratio.high < 1 / STEADY or ratio.low > STEADY


def _moved(times: Mapping[str, Summary]) -> str:
    """Which networks are shown to keep their error at the other end of the paper's range."""
    networks = {network: times[network] for network in PAPERS_NETWORKS if network in times}
    kept = [network for network, ratio in networks.items() if _keeps(ratio)]
    told = []
    if kept:
        its = in_a_row([_ratio(networks[network]) for network in kept])
        told.append(
            f"{in_a_row(kept)} keep{'s its' if len(kept) == 1 else ' their'} error to within a "
            f"factor of {STEADY:g} ({its} times)"
        )
    for network, ratio in networks.items():
        if ratio.n == 1:
            told.append(f"{network} errs {_ratio(ratio)} times as much in one seed")
        elif _loses(ratio):
            told.append(f"{network} errs {_ratio(ratio)} times as much")
        elif network not in kept:
            told.append(f"{network} is not shown to keep its error ({_ratio(ratio)} times)")
    dense, sparse = PAPERS_RANGE
    where = f"With {_observed(dense)} observed instead of {_observed(sparse)}"
    return f"{where}, {in_a_row(told)}. " if told else ""


def _ratio(ratio: Summary) -> str:
    """ "17 ± 9": with half of its 95 % interval."""
    if ratio.n == 1:
        return numbers.number(f"{ratio.mean:.2g}", ratio)
    half = ratio.high - ratio.mean
    decimals = 0 if ratio.mean >= 10 else 2
    return numbers.number(f"{ratio.mean:.{decimals}f} ± {half:.{decimals}f}", ratio)


def control_in_words(protocol: str = "elevation") -> str:
    """What the control says of the layer's code, and whether its network counts."""
    cells = measured(protocol)
    times = {n: ratio for n, ratio in _times(cells).items() if n in PAPERS_NETWORKS}
    sparse = times.pop(SPARSE, None)
    if sparse is None or sparse.n == 1 or not times:
        return "The control has not been run by two seeds yet."
    lost = [network for network, ratio in times.items() if _loses(ratio)]
    begin = f"Asked for {PROTOCOLS.get(protocol, protocol)}, SparseConvNet"
    if _loses(sparse):
        told = f"{begin} does not keep its error: a fault of its code is likely."
    elif not _keeps(sparse):
        told = f"{begin} is not shown to keep its error: a fault of its code is not ruled out."
    elif not lost:
        told = f"{begin} keeps its error, but no plain convolution is shown to lose its own."
    else:
        told = (
            f"Asked for {PROTOCOLS.get(protocol, protocol)}, SparseConvNet’s error depends little "
            f"on how many pixels are observed, and that of {in_a_row(lost)} much"
        )
        if _beating(cells, SPARSE, "nearest"):
            told += "; and it is shown to beat the nearest observed pixel."
        else:
            told = (
                "The control does not count: SparseConvNet is not shown to beat the nearest "
                f"observed pixel at any density. {told}: that speaks against a gross fault of its "
                "code, and for nothing more."
            )
    return f"{told} (n = {sparse.n}.)"


def _beating(cells: Cells, one: str, other: str) -> list[float]:
    """The test sparsities at which one method is shown to err less than another.

    After Holm's correction over all of them; by one seed alone where there is no other.
    """
    gaps = {
        q: paired(cells.get((other, q), {}), cells.get((one, q), {}))
        for q in reversed(TEST_SPARSITIES)
    }
    gaps = {q: gap for q, gap in gaps.items() if gap}
    if _one_seed(cells):
        return [q for q, (gap,) in gaps.items() if gap > 0]
    return list(shown(gaps).above)


def _one_seed(cells: Cells) -> bool:
    return min(len(seeds) for seeds in cells.values()) == 1  # which shows nothing


def _beside_nearest(cells: Cells, unit: str) -> str:
    """How networks stand against the nearest pixel where they were trained."""
    gaps = {network: _error_gap(cells, network, "nearest") for network in PAPERS_NETWORKS}
    told = [f"{network} {gap}" for network, gap in gaps.items() if gap]
    if not told:
        return ""
    return (
        f"A network’s error minus that of the nearest pixel, with {_observed(PAPERS_SPARSITY)} "
        f"observed, in {unit}, ± half of the 95 % interval: {', '.join(told)}. "
    )


def _beside_each_other(cells: Cells, unit: str) -> str:
    """How the layer stands against plain networks where all were trained."""
    gaps = {other: _error_gap(cells, SPARSE, other) for other in DENSE_NETWORKS}
    told = [f"{gap} against {other}’s" for other, gap in gaps.items() if gap]
    return f"SparseConvNet’s error there is {in_a_row(told)}. " if told else ""


def _error_gap(cells: Cells, one: str, other: str) -> str:
    """One method's error minus another's where networks were trained; "" if one seed or none."""
    few, beside = (cells.get((method, PAPERS_SPARSITY), {}) for method in (one, other))
    gap = difference(few, beside)
    if gap is None or gap.n == 1:
        return ""
    scale = summarise(beside.values()).mean
    mean, half = (in_digits(abs(x), scale) for x in (gap.mean, gap.high - gap.mean))
    text = f"{'−' if gap.mean < 0 else '+'}{mean} ± {half}"
    return numbers.number(text.replace(" ", NO_BREAK), gap)


def _beaten(cells: Cells) -> str:
    """At which densities a network beats the nearest observed pixel, and where it beats all."""
    alike: dict[str, list[str]] = {}  # densities -> the networks that beat it there
    for network in PAPERS_NETWORKS:
        if wins := [_observed(q) for q in _beating(cells, network, "nearest")]:
            alike.setdefault(in_a_row(wins), []).append(network)
    verbs = ("beats", "beat") if _one_seed(cells) else ("is shown to beat", "are shown to beat")
    if not alike:
        return (
            f"No network {verbs[0]} the nearest observed pixel at any density, which is what it "
            "would take for its error to count."
        )
    lost = [
        _observed(q)
        for q in _beating(cells, "nearest", PAPERS_NETWORKS[0])
        if all(q in _beating(cells, "nearest", network) for network in PAPERS_NETWORKS)
    ]
    told = [
        f"{in_a_row(networks)} {verbs[len(networks) > 1]} the nearest observed pixel with {where} "
        "observed."
        for where, networks in alike.items()
    ]
    if lost:
        told.append(f"The nearest pixel {verbs[0]} all of them with {in_a_row(lost)}.")
    return " ".join(told)


def _observed(sparsity: float) -> str:
    return f"{100 * (1 - sparsity):.0f} %"


def _begun(data: str) -> str:
    return data[:1].upper() + data[1:]


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
                row[f"{q:g}"] = errors(cells.get((method, q), {}))
            rows.append(row)
    if not found:
        return NOT_RUN
    cells = measured("digits")
    for method in BASELINES:
        if any(name == method for name, _ in cells):
            row = {"trained at": "–", "network": method, "n": str(len(cells[method, 0.0]))}
            for q in TEST_SPARSITIES:
                row[f"{q:g}"] = errors(cells.get((method, q), {}))
            rows.append(row)
    unit, _ = unit_of("digits")
    rows, lacks = without_what_lacks(rows, ["trained at"])
    return as_html(
        pandas.DataFrame(rows),
        f"MNIST, asked for every pixel: mean absolute error in {unit} by the sparsity tested at "
        "(0.95 is 5 % observed), mean ± standard deviation over n seeds. Protocol digits; "
        f"{devices(found)}.{lacks}{note(found)}",
    )


def tasks_in_words(trained_at: float = 0.5) -> str:
    """The same images, convolutions and masks, asked for the pixels: is the layer invariant?"""
    cells, told = measured("digits", trained_at), []
    n: set[int] = set()
    beside = {trained_at}
    for method in PAPERS_NETWORKS:
        parts = []
        for q in (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY):
            own = measured("digits", q).get((method, q), {})
            if q != trained_at and (gap := difference(cells.get((method, q), {}), own)):
                half = "" if gap.n == 1 else f" ± {gap.high - gap.mean:.1f}"
                text = f"{signed(gap.mean, 1)}{half}".replace(" ", NO_BREAK)
                parts.append(f"{numbers.number(text, gap)} at p = {q:g}")
                n.add(gap.n)
                beside.add(q)
        if parts:
            told.append(f"{method} {in_a_row(parts)}")
    if not told:
        return f"After training at p = {trained_at:g} digits have not been asked for pixels yet."
    unit, _ = unit_of("digits")
    return (
        f"Asked for every pixel of the same digits, the error of a network trained at "
        f"p = {trained_at:g} minus that of the same network trained where it is tested is, in "
        f"{unit}, ± half of the 95 % interval: {'; '.join(told)} (n = {span(n)}; "
        f"{devices([record for p in sorted(beside) for record in _at('digits', p)])})."
    )


def skill_in_words() -> str:
    """Decisions and values: what each keeps of its skill as pixels go missing, and the verdict."""
    skills, told, gaps = skill.retained(), [], []
    for p in TWO_SPARSITIES:
        by = {
            what: seeds
            for name, what in ((skill.DECISION, "decisions"), (skill.VALUES, "values"))
            if (seeds := skills.get((name, p, p)))
        }
        parts = [_kept(summarise(seeds.values()), what) for what, seeds in by.items()]
        if parts:
            told.append(f"at p = {p:g} {' and '.join(parts)}")
        if gap := difference(by.get("decisions", {}), by.get("values", {})):
            gaps.append(f"{points(gap)} points at p = {p:g}")
    if not told:
        return "What decisions and values keep of their skill cannot be said yet."
    n = sorted({len(skills[key]) for key in skills if key[1] in TWO_SPARSITIES})
    judged = ""
    if gaps:
        row = ledger.row_of("decisions-easier-than-values")
        margins = sorted({f"{contrast.low:g}" for contrast in row.claim.contrasts()})
        judged = (
            f" Decisions keep {in_a_row(gaps)} more (± half of the 95 % interval). The claim’s "
            f"rule asks for {in_a_row(margins)} points at each of "
            f"{in_a_row([f'{p:g}' for p in TWO_SPARSITIES])}: {row.word}."
        )
    return (
        f"{skill.NETWORK}, trained and tested at one sparsity, keeps, of what it does better than "
        f"the best constant answer on whole digits: {'; '.join(told)}.{judged} (n = {span(n)}.)"
    )


def _kept(summary: Summary, what: str) -> str:
    interval = f" (95 % interval {100 * summary.low:.0f} to {100 * summary.high:.0f} %)"
    return f"{_share(summary)} of the skill at {what}{interval if summary.n > 1 else ''}"


def _share(summary: Summary) -> str:
    told = f"{100 * summary.mean:.0f}{NO_BREAK}%"
    return numbers.number(told, summary, f"{100 * summary.sd:.1f} points")


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


def _of(protocol: str) -> Callable[[], str]:
    """`in_words` of that protocol, to be called later."""
    return lambda: in_words(protocol)


# The chapter's questions, and what answers each in words that may be quoted.
FINDINGS: dict[str, Callable[[], str]] = {
    "Does the layer do what it is for?": control_in_words,
    "And on elevations, in numbers?": _of("elevation"),
    "On maps of depth, at a fourth of the pixels?": _of("depth_reduced"),
    "On maps of depth, whole?": _of("depth"),
    "On digits, asked for every pixel?": _of("digits"),
    "And trained at other sparsities?": tasks_in_words,
    "Are decisions easier than values?": skill_in_words,
}
