"""The report's tables, as HTML, made from records and from the committed verdict rules."""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas
import torch
from torch import nn

from sparseconv_lib.networks import NETWORKS, Architecture, ClassificationNet
from sparseconv_lib.study import (
    caltech,
    captions,
    claims,
    deviations,
    examples,
    figures,
    ledger,
    numbers,
    probe,
    provenance,
    records,
    tables,
)
from sparseconv_lib.study.grid import EXPERIMENTS, Grid, grid_of, task_of
from sparseconv_lib.study.images import Images
from sparseconv_lib.study.protocol import Protocol, applicable, preset
from sparseconv_lib.study.records import Key, Record
from sparseconv_lib.study.statistics import Summary, paired_difference, summarise

NO_BREAK = "\u00a0"
IN_A_NAME = re.compile(r"(?<=Sparse)(?=ConvNet)|(?<=\+)(?=mask)")  # where a network's may break
ROUNDED = 1e-6  # records hold accuracies of seven digits: a spread below this is none
HEADLINE_SPARSITY = 0.8  # the one at which the source's text gives its numbers


def as_html(table: pandas.DataFrame, caption: str) -> str:
    """A table under its caption; where the page is narrow the table scrolls, the caption wraps."""
    label = html.escape(numbers.plain(caption).replace("`", ""))
    body = _marked_up(table.to_html(index=False, border=0, escape=True, na_rep="–"))
    for sign in "±([":  # where a cell may break if its table would be too wide
        body = body.replace(f"{NO_BREAK}{sign}", f" {sign}")
    body = re.sub("(?<=<t[hd]>)[^<]+", lambda cell: IN_A_NAME.sub("<wbr>", cell[0]), body)
    body = body.replace("<table", f'<table aria-label="{label}"', 1)
    return (
        f'<p class="table-caption">{_marked_up(html.escape(caption))}</p>'
        f'<div class="table-scroll" tabindex="0" role="region" aria-label="table">{body}</div>'
    )


def _marked_up(escaped: str) -> str:
    """HTML with the links of its numbers, and with what stands in backticks as code."""
    return re.sub("`([^`<]+)`", r"<code>\1</code>", numbers.as_html(escaped))


def without_what_lacks(
    rows: Sequence[dict[str, str]], columns: Sequence[str]
) -> tuple[list[dict[str, str]], str]:
    """The rows of which something was run, and a sentence on the others.

    Rows belong together where they agree in `columns`; a group goes if n is 0 in all of them.
    """
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in columns), []).append(row)
    lacks = [group for group, its in groups.items() if all(row["n"] == "0" for row in its)]
    kept = [row for row in rows if tuple(row[name] for name in columns) not in lacks]
    told = "; ".join(", ".join(group) for group in lacks)
    return kept, f" Not run yet ({', '.join(columns)}): {told}." if lacks else ""


def plotted(rows: Sequence[Mapping[str, str]], caption: str) -> str:
    """The numbers of a chart as a table, folded, to stand below it."""
    return folded("The numbers of this chart", as_html(pandas.DataFrame(rows).fillna("–"), caption))


def folded(summary: str, *parts: str) -> str:
    """Tables or charts that a reader may unfold, if there are any; `summary` says what they are."""
    if not any("<table" in part or "<figure" in part for part in parts):
        return "".join(parts)
    return f"<details><summary>{summary}</summary>{''.join(parts)}</details>"


def accuracies_plotted(
    cells: Mapping[str, Mapping[float, Summary]],
    source: Mapping[str, Mapping[float, float]],
    told: Callable[[Summary], str],
    caption: str,
) -> str:
    """A row for each sparsity, a column for each network of a chart, as `told` tells them.

    source: network -> sparsity -> the source's accuracy, which has columns of its own.
    """
    every = [*cells.values(), *source.values()]
    rows = []
    for p in sorted({p for by_sparsity in every for p in by_sparsity}):
        row = {"p": f"{p:g}"}
        row |= {network: told(by[p]) for network, by in cells.items() if p in by}
        row |= {f"source, {n}": f"{100 * by[p]:.2f}" for n, by in source.items() if p in by}
        rows.append(row)
    return plotted(rows, caption)


def with_interval(summary: Summary) -> str:
    """ "91.20 (90.80 to 91.60), n = 5": in per cent, with the 95 % interval of the mean."""
    told = f"{100 * summary.mean:.2f}"
    if summary.n > 1:
        told += f" ({100 * summary.low:.2f} to {100 * summary.high:.2f})"
    told = f"{told}, n = {summary.n}".replace(" ", NO_BREAK)
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def paragraph(text: str) -> str:
    """Prose that was made from the records."""
    return f"<p>{_marked_up(html.escape(text))}</p>"


def answered(question: str, answer: str) -> str:
    """The same, with the question that it answers before it."""
    return f"<p><strong>{html.escape(question)}</strong> {_marked_up(html.escape(answer))}</p>"


def percent(accuracy: float) -> str:
    return numbers.number(f"{100 * accuracy:.2f}{NO_BREAK}%", accuracy)


def signed(number: float, digits: int) -> str:
    """With its sign, and a minus that is one."""
    return f"{number:+z.{digits}f}".replace("-", "−")


def points(difference: Summary | None, digits: int = 1, of: str = "seeds") -> str:
    """ "+3.1 (+2.0 to +4.2)": in points, with its interval; one seed's alone, or "not run".

    of: what n counts. Where all differ by the same, "+0.9 (the same in each of 3 seeds)".
    """
    if difference is None:
        return "not run"
    told = signed(100 * difference.mean, digits)
    if difference.n > 1 and difference.sd < ROUNDED:  # an interval of no width looks certain
        told += f" (the same in {'both' if difference.n == 2 else f'each of {difference.n}'} {of})"
    elif difference.n > 1:
        told += f" ({signed(100 * difference.low, 1)} to {signed(100 * difference.high, 1)})"
    return numbers.number(
        told.replace(" ", NO_BREAK), difference, f"{100 * difference.sd:.2f} points"
    )


def points_and_n(difference: Summary) -> str:
    """ "+3.1 (+2.0 to +4.2), n = 5"."""
    return f"{points(difference)}, n = {difference.n}".replace(" ", NO_BREAK)


def architecture_table(architecture: Architecture, protocol: Protocol) -> str:
    """Each network's layers' outputs and parameters, counted on the networks themselves."""
    rows = []
    nets = {
        name: ClassificationNet(
            name,
            architecture,
            block_order=protocol.block_order,
            batch_norm=protocol.batch_norm,
            scale=protocol.scale,
        )
        for name in NETWORKS
    }
    size = architecture.size
    for i, (kernel, channels) in enumerate(architecture.convolutions):
        rows.append([f"conv {kernel}×{kernel}, {channels}", f"{channels}×{size}×{size}"])
        rows[-1] += [_parameters(net.convolutions[i]) for net in nets.values()]
        if protocol.batch_norm:
            rows.append([f"BatchNorm, {channels}", f"{channels}×{size}×{size}"])
            rows[-1] += [_parameters(net.norms[i]) for net in nets.values()]
        size //= 2
        rows.append(["max pool 2×2", f"{channels}×{size}×{size}"] + ["0"] * len(nets))
    for i, width in enumerate(architecture.linear):
        rows.append([f"linear, {width}", f"{width}"])
        rows[-1] += [_parameters(net.linear[i]) for net in nets.values()]
    rows.append(["all", ""] + [_parameters(net) for net in nets.values()])
    rows = [[cell.replace(" ", NO_BREAK) for cell in row] for row in rows]
    table = pandas.DataFrame(rows, columns=["layer", "output", *nets])
    if table["SparseConvNet-kept"].equals(table["SparseConvNet"]):  # a rule has no parameters
        table = table.drop(columns="SparseConvNet-kept")
        table = table.rename(columns={"SparseConvNet": "SparseConvNet, SparseConvNet-kept"})
    return as_html(table, "Trainable parameters of each layer.")


def _parameters(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters() if p.requires_grad):,}"


def run_table(trained: Sequence[Record], keys: Sequence[Key], claim: str = "mnist-table-3") -> str:
    """One row for each training of a page: its accuracy beside the source's, and where it ran.

    claim: the one that holds the source's table.
    """
    by_key = {record.key: record for record in trained}
    rows = []
    where_from: set[str] = set()
    for key in keys:
        source = source_accuracy(key.network, key.sparsity, claim)
        row = {"network": key.network, "seed": key.seed}
        if key in by_key:
            content = by_key[key].content
            where = content["provenance"]
            row |= {
                "test accuracy": percent(by_key[key].accuracy),
                "source": percent(source) if source is not None else "–",
                "last training loss": f"{content['epochs'][-1]['loss']:.4f}",
                "seconds": f"{where['seconds']:.0f}",
                "images/s": f"{images_a_second(by_key[key]):,.0f}",
            }
            where_from.add(f"{where['device']}; commit {short(where['commit'])}")
        else:
            row |= {"test accuracy": "not run"}
        rows.append(row)
    return as_html(
        pandas.DataFrame(rows).fillna("–"),
        f"Test accuracy at p = {keys[0].sparsity:g} after training at the same p. "
        "The source has one run of each network that it trained. Images a second are those trained "
        "on, testing "
        f"after each epoch included. {' / '.join(sorted(where_from))}",
    )


def images_a_second(record: Record) -> float:
    """Training images, each counted in every epoch, over the seconds of training and testing."""
    content = record.content
    epochs = sum(candidate["epochs"] for candidate in content["candidates"])
    trained_on = content["images"]["train"] - content["knobs"].get("held_out", 0)
    return epochs * trained_on / content["provenance"]["seconds"]


def short(commit: str) -> str:
    """The first ten digits of a commit, with "+changes" where it has that."""
    head, plus, changes = commit.partition("+")
    return head[:10] + plus + changes


def protocol_table(name: str, protocol: Protocol) -> str:
    """Every knob of a protocol, with its meaning."""
    rows = [
        (knob.name, deviations.words(getattr(protocol, knob.name)), knob.metadata["meaning"])
        for knob in applicable(protocol)
    ]
    table = pandas.DataFrame(rows, columns=["knob", "value", "meaning"])
    return as_html(table, f"The protocol {name}.")


def source_accuracy(network: str, sparsity: float, claim: str = "mnist-table-3") -> float | None:
    """What the source's table says, in [0, 1]; None where it says nothing."""
    source = claims.load()[claim].source
    value = source.value(network, sparsity) if source else None
    return None if value is None else value / 100


def recorded_example(
    experiment: str, protocol: str, sparsities: Sequence[float], network: str = NETWORKS[0]
) -> str:
    """One test image with its masks, as the runs of seed 0 left them beside their records."""
    found = {
        p: example
        for p in sparsities
        if (example := examples.read(example_path(experiment, protocol, network, p)))
    }
    if not found:
        return f"<p>No run of {protocol} has left an example yet.</p>"
    one, knobs = next(iter(found.values())), preset(protocol, task_of(experiment))
    images = Images(torch.from_numpy(one.image)[None], torch.tensor([one.label]))
    masks = {p: example.mask for p, example in found.items()}
    seen = {
        p: examples.as_seen(images, torch.from_numpy(mask)[None, None], knobs)
        for p, mask in masks.items()
    }
    label = class_names(experiment)[one.label]
    return figures.masked_pictures(seen, masks, label, examples.missing_in_words(knobs))


def example_path(experiment: str, protocol: str, network: str, sparsity: float) -> Path:
    """Where a training of seed 0 leaves its example."""
    return Key(experiment, protocol, network, sparsity, 0).path().with_suffix(".npz")


def class_names(experiment: str) -> tuple[str, ...]:
    """The classes of an experiment's data set, without the data."""
    if task_of(experiment) == "mnist":
        return tuple("0123456789")
    return caltech.classes(caltech.read_manifest())


def spread(summary: Summary) -> str:
    """ "91.20 ± 0.31 %, n = 10": mean and standard deviation over seeds; breaks before the n."""
    deviation = "" if summary.n == 1 else f" ± {100 * summary.sd:.2f}"
    accuracy, n = f"{100 * summary.mean:.2f}{deviation} %,", f"n = {summary.n}"
    told = " ".join(part.replace(" ", NO_BREAK) for part in (accuracy, n))
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def beside_recorded(trained: Sequence[Record], experiment: str, claim: str) -> str:
    """A line for each run: its accuracy; all recorded seeds of the same cell; the source's."""
    lines = []
    for record in trained:
        key = record.key
        cells = tables.accuracies(records.load(experiment, key.protocol))
        seeds = cells.get((key.network, key.sparsity, key.sparsity))
        recorded = spread(summarise(list(seeds.values()))) if seeds else "not run"
        source = source_accuracy(key.network, key.sparsity, claim)
        told = f"source {percent(source)}" if source is not None else "not in the source"
        lines.append(
            f"{key.network}, seed {key.seed}: {percent(record.accuracy)}; "
            f"recorded {recorded}; {told}"
        )
    return numbers.plain("\n".join(lines)) or "Not run at this sparsity, protocol and seed."


def _grid(experiment: str, protocol: str) -> Grid:
    """The protocol's own grid, or that of the experiment's first for one that is not published."""
    return grid_of(experiment, protocol) or EXPERIMENTS[experiment].grids[0]


def _summaries(experiment: str, protocol: str) -> dict[str, dict[float, Summary]]:
    """Network -> sparsity -> Summary of the accuracies at the training sparsity."""
    cells = tables.accuracies(records.load(experiment, protocol))
    return {
        network: {
            p: summarise(list(seeds.values()))
            for (name, p, q), seeds in sorted(cells.items())
            if name == network and p == q
        }
        for network in NETWORKS
    }


def source_table(experiment: str, protocol: str, claim: str) -> str:
    """The source's table beside ours, for the networks that the source trained."""
    asked = _grid(experiment, protocol).networks
    networks = [network for network in _source_networks(claim) if network in asked]

    def row(p: float, cells: dict[str, Summary | None], marks: dict[str, str]) -> list[str]:
        told = []
        for network in networks:
            summary, source = cells[network], source_accuracy(network, p, claim)
            told.append(_cell(summary, marks[network]))
            told.append(f"{100 * source:.2f}" if source is not None else "–")
            difference = summary.mean - source if summary and source is not None else None
            told.append(
                "–"
                if difference is None
                else numbers.number(signed(100 * difference, 2), difference)
            )
        return told

    return _grid_table(
        experiment,
        protocol,
        [heading for network in networks for heading in (network, "source", "difference")],
        row,
        "Test accuracy in per cent, mean ± standard deviation over seeds, beside the source's "
        "single runs; differences in points. The source's SparseConvNet keeps its mask and stands "
        "beside SparseConvNet-kept.",
    )


def other_networks_table(experiment: str, protocol: str, claim: str) -> str:
    """The grid's networks that the source did not train."""
    networks = _grid(experiment, protocol).networks
    others = [n for n in networks if n not in _source_networks(claim)]
    summaries = _summaries(experiment, protocol)
    if others and not any(summaries[network] for network in others):
        told = f"{' and '.join(others)}, which the source did not train, have"
        return paragraph(f"{told} not been run for this table yet.")

    def row(p: float, cells: dict[str, Summary | None], marks: dict[str, str]) -> list[str]:
        return [_cell(cells[network], marks[network]) for network in others]

    return _grid_table(
        experiment,
        protocol,
        others,
        row,
        "Test accuracy in per cent, mean ± standard deviation over seeds, of the networks that the "
        "source did not train. At p = 0 SparseConvNet is SparseConvNet-kept: no mask has a hole "
        "that a rule could close.",
    )


def _source_networks(claim: str) -> list[str]:
    source = claims.load()[claim].source
    return [n for n in NETWORKS if source and source.value(n, source.sparsities[0]) is not None]


def _cell(summary: Summary | None, mark: str) -> str:
    if summary is None:
        return "not run"
    spread = "" if summary.n == 1 else f" ± {100 * summary.sd:.2f}"
    told = f"{100 * summary.mean:.2f}{spread}{mark}".replace(" ", NO_BREAK)
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def _grid_table(
    experiment: str,
    protocol: str,
    headings: list[str],
    row: Callable[..., list[str]],
    caption: str,
) -> str:
    """A row for each sparsity of the grid, run or not, with n; a dagger marks other code."""
    if not headings:
        return f"<p>The published grid of {html.escape(protocol)} has no such network.</p>"
    grid, summaries = _grid(experiment, protocol), _summaries(experiment, protocol)
    found = [r for r in records.load(experiment, protocol) if r.key.network in headings]
    stale = {(r.key.network, r.key.sparsity) for r in found if made_by_other_code(r)}
    rows = []
    for p in grid.sparsities:
        cells = {network: summaries[network].get(p) for network in grid.networks}
        marks = {network: " †" * ((network, p) in stale) for network in grid.networks}
        shown = [summary for network, summary in cells.items() if network in headings]
        n = sorted({summary.n if summary else 0 for summary in shown})
        seeds = str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
        rows.append([f"{p:g}", seeds, *row(p, cells, marks)])
    made_on = devices_by_seed(records.load(experiment, protocol)) or "not run"
    caption += f" n is the number of seeds. Protocol {protocol}; {made_on}.{note(found)}"
    return as_html(pandas.DataFrame(rows, columns=["p", "n", *headings]), caption)


def made_by_other_code(record: Record) -> bool:
    """Whether today's code is not known to give this record's numbers."""
    return not probe.same_numbers(
        record.content["identity"]["code"],
        task_of(record.key.experiment),
        record.key.protocol,
        record.key.network,
    )


def mark(found: Iterable[Record]) -> str:
    """A dagger for what rests on these records, if other code made one of them; else nothing."""
    return f"{NO_BREAK}†" if any(map(made_by_other_code, found)) else ""


def note(found: Iterable[Record]) -> str:
    """The sentence of a caption that explains the daggers of these records; empty without one."""
    return " † made by other code than today's." if mark(found) else ""


def accuracy_figure(experiment: str, protocol: str, claim: str) -> str:
    """Figure 4 of the source with ours."""
    summaries, found = _summaries(experiment, protocol), records.load(experiment, protocol)
    source_cells = claims.load()[claim].source
    source = {
        network: {
            p: value
            for p in (source_cells.sparsities if source_cells else ())
            if (value := source_accuracy(network, p, claim)) is not None
        }
        for network in NETWORKS
    }
    source = {network: values for network, values in source.items() if values}
    run = {network: cells for network, cells in summaries.items() if cells}
    chart = figures.accuracy_by_sparsity(
        run,
        source,
        f"{captions.accuracies(run)}Test accuracy against sparsity, {_seeds(summaries)}; bars are "
        "95 % intervals of the mean where there are several. Crosses are the source's single runs. "
        f"{devices_by_seed(found) or 'Not run'}.",
    )
    return chart + accuracies_plotted(
        run, source, with_interval, "Test accuracy in per cent, with 95 % intervals of the mean."
    )


def difference_figure(experiment: str, protocol: str, against: str) -> str:
    """Every network minus `against`, paired by seed."""
    found = records.load(experiment, protocol)
    cells = tables.accuracies(found)
    grid = _grid(experiment, protocol)
    differences: dict[str, dict[float, Summary]] = {}
    for network in grid.networks:
        if network == against:
            continue
        for p in grid.sparsities:
            a, b = cells.get((network, p, p), {}), cells.get((against, p, p), {})
            if a.keys() & b.keys():
                differences.setdefault(network, {})[p] = paired_difference(a, b)
    chart = figures.paired_differences(
        differences,
        against,
        f"{captions.differences(differences, against)}Test accuracy minus that of {against} with "
        f"the same seed, masks and order of images, {_seeds(differences)}; bars are 95 % intervals "
        "of the mean difference where there are several, not corrected for their number. "
        f"{devices_by_seed(found) or 'Not run'}.",
    )
    return chart + accuracies_plotted(
        differences, {}, points_and_n, f"Points above {against}, with 95 % intervals."
    )


def _seeds(summaries: dict[str, dict[float, Summary]]) -> str:
    """ "5 seeds", or "3 to 5 seeds" where cells differ."""
    n = {summary.n for cells in summaries.values() for summary in cells.values()}
    if not n:
        return "no seeds yet"
    least, most = min(n), max(n)
    return f"{most} seed{'s' * (most > 1)}" if least == most else f"{least} to {most} seeds"


def verdict_in_words(name: str) -> str:
    """What is made of a claim of the source, by its id; of one whose title begins with a name."""
    row = ledger.row_of(name)
    told = f"The source’s claim that {row.claim.title} is {row.word}. {row.reason} "
    return f"{told}{ledger.remarks(row)}".rstrip()


def verdict_table(experiment: str | None = None) -> str:
    """The claims that this experiment decides, or all of them, with their verdicts so far."""
    rows = [
        {
            "claim": row.claim.title,
            "source": row.claim.numbers,
            "verdict": row.word,
            "why": f"{row.reason} {ledger.remarks(row)}".strip() or "–",
            "device": ledger.devices(row) or "–",
        }
        for row in ledger.rows()
        if experiment in (None, row.claim.experiment)
    ]
    return as_html(
        pandas.DataFrame(rows),
        "Verdicts, by rules of which each was committed before the first run that it judges.",
    )


def time_in_words(experiment: str, protocol: str) -> str:
    """What a training took on one core: "29 to 46 minutes (6 trainings of 10 epochs, a CPU)"."""
    found = [
        where
        for record in records.load(experiment, protocol)
        if "cuda" not in (where := record.content["provenance"])["versions"]
        and "together" not in where  # whose seconds are a share of the time of several
    ]
    if not found:
        return "a time that has not been recorded yet"
    seconds = [where["seconds"] for where in found]
    per, unit = (1, "s") if max(seconds) < 300 else (60, "minutes")
    where = "; ".join(sorted({where["device"] for where in found}))
    return (
        f"{min(seconds) / per:.0f} to {max(seconds) / per:.0f} {unit} ({len(found)} trainings of "
        f"{preset(protocol, task_of(experiment)).epochs} epochs, {where})"
    )


def probe_report(protocol: str, task: str = "mnist") -> str:
    """Whether a short training of each network gives today the digits that are committed."""
    committed = probe.load().get(provenance.code_identity(), {})
    lines = []
    for network in NETWORKS:
        digits = probe.run(preset(protocol, task), network)
        name = probe.probe_name(task, protocol, network)
        if name not in committed:
            told = "no numbers are committed for this code; run `sparseconv probe`"
        elif probe.as_committed(name, digits):
            told = "trains, and gives the committed numbers"
        else:
            told = f"differs from the committed numbers: {digits} instead of {committed[name]}"
        lines.append(f"{network}: {told}")
    return "\n".join(lines)


def glue(name: str, sentence: str) -> None:
    """Gives a sentence of a chapter a name, by which other pages of the book hold it."""
    import myst_nb  # only where chapters are made
    from IPython.display import HTML

    myst_nb.glue(name, HTML(numbers.as_html(html.escape(sentence))), display=False)


def devices(found: Sequence[Record]) -> str:
    """Every device that made these records."""
    return "; ".join(sorted({record.content["provenance"]["device"] for record in found}))


def devices_by_seed(found: Sequence[Record]) -> str:
    """Each device with its seeds, if every seed ran on one and there are several; or `devices`."""
    seeds: dict[str, set[int]] = {}
    for record in found:
        seeds.setdefault(record.content["provenance"]["device"], set()).add(record.key.seed)
    if len(seeds) < 2 or sum(map(len, seeds.values())) > len(set.union(*seeds.values())):
        return devices(found)
    return "; ".join(
        f"{device} (seed{'s' * (len(its) > 1)} {captions.in_a_row([f'{s}' for s in sorted(its)])})"
        for device, its in sorted(seeds.items(), key=lambda each: min(each[1]))
    )


def difference_in_words(difference: Summary) -> str:
    """ "1.5 points worse (1.2 to 1.8)", in points of accuracy with the 95 % interval."""
    mean, low, high = (100 * x for x in (difference.mean, difference.low, difference.high))
    word = "worse" if mean < 0 else "better"
    if difference.n == 1:
        return "not judged yet (n = 1)"
    near, far = sorted((abs(low), abs(high)))
    told = f"{abs(mean):.1f} points {word} ({near:.1f} to {far:.1f})"
    if low <= 0 <= high:
        told = f"not told apart from it ({signed(low, 1)} to {signed(high, 1)} points)"
    around = f"{100 * difference.sd:.2f} points around a mean of {signed(mean, 2)}"
    return numbers.number(told, difference, around)
