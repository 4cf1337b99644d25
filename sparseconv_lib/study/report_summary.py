"""What was found, in one table and one sentence, for the first page of the book."""

from collections.abc import Mapping

import pandas

from sparseconv_lib.study import records, report, report_depth, tables, wording
from sparseconv_lib.study.grid import grid_of
from sparseconv_lib.study.protocol import preset
from sparseconv_lib.study.transfer import measured

P = report.HEADLINE_SPARSITY
METHODS = {
    "ConvNet": "",
    "ConvNet+mask": "the mask as one more channel",
    "SparseConvNet": "the layer as in the original paper",
    "SparseConvNet-kept": "the layer as the source built it",
    "nearest": "the nearest observed point, no network",
    "linear": "interpolated between observed points, no network",
}
Cells = Mapping[tuple[str, float, float], Mapping[int, float]]


def in_short() -> str:
    """A row for each network, a column for each question: accuracies and errors, with their n."""
    dense, sparse = report_depth.PAPERS_RANGE
    run = [name for name in report_depth.MAPS if report_depth.measured(name)]
    maps = run[0] if run else report_depth.MAPS[-1]
    unit, _ = report_depth.unit_of(maps)
    of_maps = {(m, sparse, q): seeds for (m, q), seeds in report_depth.measured(maps).items()}
    asked_for = report_depth.PROTOCOLS[maps]
    fair, few = measured("fair"), f"{1 - sparse:.0%}"
    source = tables.accuracies(records.load("mnist", "as_written"))
    written = preset("as_written")
    found = [
        record
        for experiment, protocol, p in (
            ("mnist", "as_written", P),
            ("invariance", "fair", P),
            (report_depth.EXPERIMENT, maps, sparse),
        )
        for record in records.load(experiment, protocol)
        if record.key.sparsity == p
    ]
    where = f" {report.devices(found)}." if found else ""
    columns: list[tuple[str, Cells, float, float]] = [
        (
            f"digits, p = {P:g}, {written.epochs} epochs, batches of {written.batch_size}: "
            "accuracy, %",
            source,
            P,
            P,
        ),
        (f"digits, p = {P:g}, equal care: accuracy, %", fair, P, P),
        (f"digits, trained at p = {P:g}, tested whole: accuracy, %", fair, P, 0.0),
        (
            f"{asked_for}, trained and tested with {few} observed: error, {unit}",
            of_maps,
            sparse,
            sparse,
        ),
        (
            f"{asked_for}, trained with {few}, tested with {1 - dense:.0%} observed: error, {unit}",
            of_maps,
            sparse,
            dense,
        ),
    ]
    rows = [
        {"network": f"{method}: {what}".removesuffix(": ")}
        | {
            f"{asked}, {_n(cells, p, q)}": _told(cells.get((method, p, q), {}), asked)
            for asked, cells, p, q in columns
        }
        for method, what in METHODS.items()
    ]
    return report.as_html(
        pandas.DataFrame(rows),
        "What was found, in short: mean ± standard deviation over n seeds; higher accuracies and "
        "lower errors are better. p is the share of missing pixels, in training and test alike "
        f"where one is given.{where}",
    )


def finding() -> str:
    """Each network that was run as written, against ConvNet."""
    protocol = "as_written"
    found = [r for r in records.load("mnist", protocol) if r.key.sparsity == P]
    cells = tables.accuracies(found)
    plain = cells.get(("ConvNet", P, P), {})
    gaps = {
        network: gap
        for network in ("SparseConvNet-kept", "SparseConvNet", "ConvNet+mask")
        if (gap := wording.difference(cells.get((network, P, P), {}), plain))
    }
    if not gaps:
        return f"No two networks have been trained at p = {P:g} yet."
    n, grid = {gap.n for gap in gaps.values()}, grid_of("mnist", protocol)
    assert grid is not None
    planned = f" of {grid.seeds} planned" if min(n) < grid.seeds else ""
    told = ", ".join(f"{network} {wording.points(gap)}" for network, gap in gaps.items())
    return (
        "Trained as the source's text has it (two epochs; from its code one learning rate for all "
        f"and batches of {preset(protocol).batch_size}, chosen because they come near its Table 3) "
        "on digits, "
        f"with {100 * P:g} % of the pixels missing in training and test alike, the differences "
        f"from ConvNet are, in points: {told} ({wording.with_intervals(wording.UNCORRECTED, n)}"
        f"{planned}; {report.devices(found)})."
    )


def _told(seeds: Mapping[int, float], asked: str) -> str:
    if not seeds:
        return "–"
    told = wording.percents if asked.endswith("%") else report_depth.errors
    return told(dict(seeds))


def _n(cells: Cells, p: float, q: float) -> str:
    """The seeds of a column: "n = 5", or "n = 3 to 5"."""
    n = sorted({len(cells.get((method, p, q), {})) for method in METHODS} - {0})
    return "not run" if not n else f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"


def glue_in_short() -> None:
    """Gives the table to the book's first page."""
    import myst_nb  # only where chapters are made
    from IPython.display import HTML

    myst_nb.glue("in_short", HTML(in_short()), display=False)
