"""Tables and figures on invariance: train x test matrices, regret, and the confounds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import comparisons, figures, numbers, records, transfer
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.comparisons import Shown
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.protocol import full_name
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import (
    NO_BREAK,
    as_html,
    devices,
    mark,
    note,
)
from sparseconv_lib.study.statistics import (
    Summary,
    paired,
    summarise,
)
from sparseconv_lib.study.transfer import (
    REESTIMATED,
    RUNNING,
    Cells,
    measured,
    over_the_row,
    regret,
    shared_diagonal,
)
from sparseconv_lib.study.wording import difference, percents, points, span

SPARSE, KEPT = "SparseConvNet", "SparseConvNet-kept"
# (trained at, tested at): what a reader is told of first, on fuller images and on sparser ones.
FULLER, SPARSER = (0.8, 0.0), (0.5, 0.95)
STATISTICS = {RUNNING: "of training", REESTIMATED: "re-estimated"}
# Far from training in both directions: (trained at, tested at).
FAR = ((0.5, 0.0), (0.5, 0.95), (0.8, 0.0), (0.8, 0.95))
MIXED = full_name("fair, mixed_sparsity=true")
RESCALED = full_name("fair, rescale=true")
NOT_RUN = "<p>Not run yet.</p>"


def heat_maps(statistics: str = RUNNING, protocol: str = "fair") -> str:
    """Mean test accuracy of each network, trained down, tested across."""
    cells = measured(protocol, statistics)
    if not cells:
        return NOT_RUN
    matrices: dict[str, dict[tuple[float, float], Summary]] = {
        network: its
        for network in NETWORKS
        if (
            its := {(p, q): summarise(s.values()) for (n, p, q), s in cells.items() if n == network}
        )
    }
    told = []
    for network, matrix in matrices.items():
        means = [100 * summary.mean for summary in matrix.values()]
        told.append(f"{network} from {min(means):.1f} to {max(means):.1f} %")
    trained = {p for _, p, _ in cells}
    lacking = [f"{p:g}" for p in TEST_SPARSITIES if p not in trained]
    unseen = [network for network in NETWORKS if network not in matrices]
    found = records.load(transfer.EXPERIMENT, protocol)
    return figures.accuracy_matrices(
        matrices,
        TEST_SPARSITIES,
        f"{_farthest_below_diagonal(cells)}"
        f"Test accuracy in per cent, mean over seeds ({n_of(cells)}); BatchNorm's statistics are "
        f"those {STATISTICS[statistics]}. On the diagonal, framed, a network is tested where it "
        "was trained; trained at (down), tested at (across); blank cells are not run; all on one "
        "scale of colours. "
        f"Protocol {protocol}; {devices(found)}.{_not_run(lacking, unseen)}{note(found)}",
        f"Accuracy, training sparsity by test sparsity: {'; '.join(told)}.",
    )


def _farthest_below_diagonal(cells: Cells) -> str:
    """The cell of each network that lies farthest below the diagonal's in its column.

    Of those that all networks have, so that none looks worse for having been run more often.
    """
    lost: dict[str, dict[tuple[float, float], Summary]] = {}
    for (network, p, q), seeds in sorted(cells.items()):
        if p != q and (gap := difference(cells.get((network, q, q), {}), seeds)):
            lost.setdefault(network, {})[p, q] = gap
    shared = set.intersection(*map(set, lost.values())) if lost else set()
    if not shared:
        return ""
    most = {
        network: max(sorted(shared), key=lambda cell: lost[network][cell].mean)
        for network in NETWORKS
        if network in lost
    }
    where = {cell: f" (trained at {cell[0]:g}, tested at {cell[1]:g})" for cell in most.values()}
    told = ", ".join(
        f"{network} {_points_lost(lost[network][cell])}{where[cell] * (len(where) > 1)}"
        for network, cell in most.items()
    )
    (same,) = where.values() if len(where) == 1 else ("",)
    alone = []
    for network, gaps in lost.items():
        _, (p, q) = max((gap.mean, cell) for cell, gap in gaps.items())
        if (p, q) not in shared:
            alone.append(
                f"{network} {_points_lost(gaps[p, q])} (trained at {p:g}, tested at {q:g})"
            )
    own = f"Of all its own: {', '.join(alone)}. " if alone else ""
    return (
        "Of the cells that all networks have, the farthest below the framed one in its column "
        "lies, in points: "
        f"{told}{same}. {own}"
    )


def _points_lost(gap: Summary) -> str:
    return numbers.number(f"{100 * gap.mean:.1f}", gap, f"{100 * gap.sd:.2f} points")


def n_of(cells: Cells) -> str:
    return f"n = {span({len(seeds) for seeds in cells.values()} or {0})}"


def leads(
    cells: Cells,
    trained_at: float,
    tested_at: float,
    others: Sequence[str] = DENSE_NETWORKS,
    network: str = SPARSE,
) -> dict[str, Summary]:
    """Other network -> what `network` has over it in one cell, paired by seed, where both ran."""
    own = cells.get((network, trained_at, tested_at), {})
    gaps = {o: difference(own, cells.get((o, trained_at, tested_at), {})) for o in others}
    return {other: gap for other, gap in gaps.items() if gap}


def by_seed(
    cells: Cells, other: str, network: str = SPARSE
) -> dict[tuple[float, float], list[float]]:
    """(trained at, tested at) -> what `network` has over another there, seed by seed."""
    gaps = {
        (p, q): paired(cells.get((network, p, q), {}), cells.get((other, p, q), {}))
        for p in TEST_SPARSITIES
        for q in TEST_SPARSITIES
    }
    return {cell: gap for cell, gap in gaps.items() if gap}


def shown_elsewhere(cells: Cells, other: str) -> Shown:
    """In which cells off the diagonal SparseConvNet is shown to differ from another network."""
    gaps = by_seed(cells, other).items()
    return comparisons.shown({(p, q): gap for (p, q), gap in gaps if p != q and len(gap) > 1})


SHOWN = "*"
SHOWN_IN_WORDS = f"{SHOWN} shown, after Holm’s correction over"


def starred(gap: Sequence[float], shown: bool) -> str:
    """A difference in points, marked if it is shown."""
    return f"{points(summarise(gap) if gap else None)}{SHOWN * shown}"


def n_of_seeds(gaps: Iterable[Sequence[float]]) -> str:
    return f"n = {span({len(gap) for gap in gaps})}"


def difference_table(against: str, statistics: str = RUNNING, protocol: str = "fair") -> str:
    """SparseConvNet minus another network in every cell, paired by seed, with 95 % intervals."""
    cells = measured(protocol, statistics)
    gaps, shown = by_seed(cells, against), shown_elsewhere(cells, against)
    if not gaps:
        return NOT_RUN
    trained = {p for p, _ in gaps}
    rows = [
        {"trained at": f"{p:g}"}
        | {
            f"tested at {q:g}": starred(gaps.get((p, q), []), (p, q) in shown)
            for q in TEST_SPARSITIES
        }
        for p in TEST_SPARSITIES
        if p in trained
    ]
    found = [
        record
        for record in records.load(transfer.EXPERIMENT, protocol)
        if record.key.network in (SPARSE, against)
    ]
    lacking = [f"{p:g}" for p in TEST_SPARSITIES if p not in trained]
    where = f"the {shown.tested} cells in which they were not trained"
    judged = f"{SHOWN_IN_WORDS} {where}. " if shown.tested else ""
    return as_html(
        pandas.DataFrame(rows),
        f"{SPARSE} minus {against} in points of accuracy, paired by seed, ± half of the 95 % "
        f"interval; BatchNorm's statistics are those {STATISTICS[statistics]}. {judged}"
        f"{n_of_seeds(gaps.values())}; "
        f"protocol {protocol}; {devices(found)}.{_not_run(lacking)}{note(found)}",
    )


def devices_by_row() -> str:
    """Which networks of one training sparsity ran on other devices than the rest; "" if none."""
    told = []
    for p in TEST_SPARSITIES:
        ran: dict[str, list[str]] = {}  # devices -> the networks that ran on them
        for network in NETWORKS:
            some = [r for r in records_at("fair", [(p, p)]) if r.key.network == network]
            if some:
                ran.setdefault(devices(some), []).append(network)
        if len(ran) > 1:
            its = [f"{in_a_row(networks)} on {device}" for device, networks in ran.items()]
            told.append(f"p = {p:g} ({'; '.join(its)})")
    if not told:
        return ""
    return (
        "Masks, order and first weights of a seed are the same on every device; what rounding "
        "makes of them is not, and is one more reason for which trainings differ. Networks that "
        f"are compared were trained on different devices at {in_a_row(told)}."
    )


def averages() -> dict[tuple[str, float], list[float]]:
    """(Other network, trained at) -> what SparseConvNet has over it averaged over all tests.

    Seed by seed, of those that both have at every test sparsity.
    """
    cells = measured("fair")
    gaps = {
        (other, p): paired(*(over_the_row(cells, n, p, TEST_SPARSITIES) for n in (SPARSE, other)))
        for other in DENSE_NETWORKS
        for p in TEST_SPARSITIES
    }
    return {label: gap for label, gap in gaps.items() if gap}


def shown_among(gaps: Mapping[Any, Sequence[float]]) -> Shown:
    """Which differences are shown, after Holm's correction over those of several seeds."""
    return comparisons.shown({label: gap for label, gap in gaps.items() if len(gap) > 1})


def averages_table() -> str:
    """Each network's accuracy over all test sparsities together, by its sparsity of training."""
    found = [*records.load(transfer.EXPERIMENT, "fair"), *records.load(transfer.EXPERIMENT, MIXED)]
    cells, mixed = measured("fair"), measured(MIXED)
    gaps = averages()
    shown = shown_among(gaps)
    rows, counts, lacking = [], set(), []
    for name, its, p in (
        *((f"{p:g}", cells, p) for p in TEST_SPARSITIES),
        ("all, mixed", mixed, PAPERS_SPARSITY),
    ):
        over = {network: over_the_row(its, network, p, TEST_SPARSITIES) for network in NETWORKS}
        if not any(over.values()):
            lacking.append(name)
            continue
        counts |= {len(seeds) for seeds in over.values()} - {0}
        row = {"trained at": name} | {network: percents(seeds) for network, seeds in over.items()}
        for other in DENSE_NETWORKS:
            row[f"{SPARSE} − {other}"] = (
                points(difference(over[SPARSE], over[other]))
                if its is mixed
                else starred(gaps.get((other, p), []), (other, p) in shown)
            )
        rows.append(row)
    if not rows:
        return NOT_RUN
    return as_html(
        pandas.DataFrame(rows),
        f"Accuracy in per cent, averaged over the {len(TEST_SPARSITIES)} test sparsities, each "
        "counting alike: mean ± standard deviation over seeds; differences in points, paired by "
        f"seed, ± half of the 95 % interval. {SHOWN_IN_WORDS} all differences but those of "
        f"mixed training. n = {span(counts)}; equal care; {devices(found)}.{_not_run(lacking)}"
        f"{note(found)}",
    )


def _not_run(lacking: Sequence[str], networks: Sequence[str] = ()) -> str:
    """Training sparsities and networks that have no record, as the end of a caption."""
    what = [f"trained at {', '.join(lacking)}"] if lacking else []
    return f" Not run yet: {'; '.join([*what, *networks])}." if what or networks else ""


COMPARED = (
    *((network, "ConvNet") for network in NETWORKS[1:]),
    *((network, "ConvNet+mask") for network in NETWORKS[2:]),
    (SPARSE, KEPT),
)


def diagonal() -> dict[tuple[str, str], dict[float, list[float]]]:
    """(network, other) -> sparsity of training and test -> their difference, seed by seed."""
    cells = measured("fair")
    return {
        (network, other): {
            p: gap for (p, q), gap in by_seed(cells, other, network).items() if p == q
        }
        for network, other in COMPARED
    }


def diagonal_table() -> str:
    """Differences of networks that were trained and tested at one sparsity, with equal care."""
    compared = diagonal()
    shown = {pair: shown_among(gaps) for pair, gaps in compared.items()}
    trained = {p for gaps in compared.values() for p in gaps}
    if not trained:
        return NOT_RUN
    rows = [
        {"trained and tested at": f"{p:g}"}
        | {
            f"{pair[0]} − {pair[1]}": starred(gaps.get(p, []), p in shown[pair])
            for pair, gaps in compared.items()
        }
        for p in TEST_SPARSITIES
        if p in trained
    ]
    found = records.load(transfer.EXPERIMENT, "fair")
    return as_html(
        pandas.DataFrame(rows),
        "Differences in points of accuracy where networks were trained, paired by seed, ± half of "
        f"the 95 % interval. {SHOWN_IN_WORDS} its column. "
        f"{n_of_seeds(gap for gaps in compared.values() for gap in gaps.values())}; equal care; "
        f"{devices(found)}.{note(found)}",
    )


def regret_table() -> str:
    """The regret of each network for each training sparsity, running and re-estimated."""
    found = records.load(transfer.EXPERIMENT, "fair")
    sparsities = shared_diagonal(measured("fair"))
    if len(sparsities) < 2:  # at the only one nothing is lost
        return NOT_RUN
    rows, seeds, lacking = [], set(), []
    for p in TEST_SPARSITIES:
        for statistics, told in STATISTICS.items():
            cells = measured("fair", statistics)
            regrets = {network: regret(cells, network, p, sparsities) for network in NETWORKS}
            if any(regrets.values()):
                row = {"trained at": f"{p:g}", "BatchNorm's statistics": told}
                rows.append(row | {n: regret_in_points(summary) for n, summary in regrets.items()})
                seeds |= {summary.n for summary in regrets.values() if summary}
            elif statistics == RUNNING:
                lacking.append(f"{p:g}")
    return as_html(
        pandas.DataFrame(rows),
        "Regret in points: the most that a training sparsity costs at any of the test sparsities "
        f"{in_a_row([f'{q:g}' for q in sparsities])}, against the same network trained there."
        f"{not_sought(sparsities)} In brackets the 95 % interval, the lower end of which allows "
        "for not knowing where it is the most; not corrected for their number. "
        f"n = {span(seeds)}; protocol fair; {devices(found)}.{_not_run(lacking)}{note(found)}"
        f"{_alone(sparsities)}",
    )


def _alone(shared: Sequence[float], trained_at: float = TWO_SPARSITIES[0]) -> str:
    """The regret of networks that were trained at more sparsities than the others."""
    cells, told = measured("fair"), []
    for network in NETWORKS:
        its = {key: seeds for key, seeds in cells.items() if key[0] == network}
        sparsities = shared_diagonal(its)
        if len(sparsities) > len(shared) and (
            summary := regret(its, network, trained_at, sparsities)
        ):
            named = in_a_row([f"{q:g}" for q in sparsities])
            told.append(
                f" {network} alone was trained at {named}: its regret over these, trained at "
                f"{trained_at:g}, is {regret_in_points(summary)} (n = {summary.n})."
            )
    return "".join(told)


def not_sought(sparsities: Sequence[float]) -> str:
    """At which test sparsities of the grid a regret was not sought, and what that can change."""
    lacking = [f"{q:g}" for q in TEST_SPARSITIES if q not in sparsities]
    if not lacking:
        return ""
    return (
        f" At {in_a_row(lacking)} not all networks were trained by as many seeds yet; to count "
        "those can only raise it."
    )


def regret_in_points(summary: Summary | None) -> str:
    if summary is None:
        return "not run"
    interval = "" if summary.n == 1 else f" [{100 * summary.low:.1f}, {100 * summary.high:.1f}]"
    told = f"{100 * summary.mean:.1f}{interval}".replace(" ", NO_BREAK)
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def records_at(protocol: str, pairs: Iterable[tuple[float, float]]) -> list[Record]:
    """The records behind cells of those (trained at, tested at)."""
    at = {p for p, _ in pairs}
    return [r for r in records.load(transfer.EXPERIMENT, protocol) if r.key.sparsity in at]


def statistics_gains() -> dict[str, dict[tuple[float, float], list[float]]]:
    """Network -> (trained at, tested at) -> what re-estimated statistics give, seed by seed.

    Off the diagonal, in cells that every network has which was trained with several seeds.
    """
    cells, again = measured("fair"), measured("fair", REESTIMATED)
    gains: dict[str, dict[tuple[float, float], list[float]]] = {}
    for (network, p, q), seeds in sorted(cells.items()):
        gap = paired(again.get((network, p, q), {}), seeds)
        if p != q and len(gap) > 1:
            gains.setdefault(network, {})[p, q] = gap
    shared = set.intersection(*map(set, gains.values())) if gains else set()
    return {
        network: {cell: gains[network][cell] for cell in sorted(shared)}
        for network in NETWORKS
        if network in gains and shared
    }


def given_back(towards_fewer: bool) -> dict[str, tuple[list[float], list[float]]]:
    """Network -> what it loses away from its training, and what re-estimated statistics give back.

    Seed by seed, averaged over the cells between `shared_diagonal`'s sparsities in which it is
    tested with fewer pixels than in training, or with more; the loss is against itself trained
    where it is tested, with the statistics of training.
    """
    cells, again = measured("fair"), measured("fair", REESTIMATED)
    shared = shared_diagonal(cells)
    asked = [(p, q) for p in shared for q in shared if (p < q if towards_fewer else p > q)]
    found = {}
    for network in NETWORKS:
        rows = [
            [its.get((network, *at), {}) for its, at in ((cells, (q, q)), (cells, (p, q)),
                                                         (again, (p, q)))]
            for p, q in asked
        ]  # fmt: skip
        every = [set(cell) for row in rows for cell in row]
        seeds = sorted(set.intersection(*every)) if every else []
        if seeds:
            found[network] = (
                [sum(own[s] - moved[s] for own, moved, _ in rows) / len(rows) for s in seeds],
                [sum(new[s] - moved[s] for _, moved, new in rows) / len(rows) for s in seeds],
            )
    return found


def seeds_of(gains: Mapping[str, Mapping[Any, Sequence[float]]]) -> str:
    """ "n = 5": over how many seeds differences were taken; network -> where -> seed by seed."""
    return f"n = {span({len(gap) for gaps in gains.values() for gap in gaps.values()})}"


def gains_behind(gains: Mapping[str, Mapping[tuple[float, float], object]]) -> list[Record]:
    """The records behind those cells; network -> (trained at, tested at)."""
    return records_at("fair", {cell for gaps in gains.values() for cell in gaps})


def gains_table() -> str:
    """In how many cells re-estimated statistics help a network, and what they give it."""
    rows, gains = [], statistics_gains()
    together = comparisons.shown(
        {(network, *cell): gap for network, its in gains.items() for cell, gap in its.items()}
    )
    for network, gaps in gains.items():
        row = {"network": network, "cells": str(len(gaps))}
        for name, corrected, single in (
            ("helped", together.above, together.above_uncorrected),
            ("harmed", together.below, together.below_uncorrected),
        ):
            its, more = (sum(cell[0] == network for cell in cells) for cells in (corrected, single))
            row[name] = f"{its} ({its + more})"
        for choose, name in ((min, "least"), (max, "most")):
            p, q = choose(gaps, key=lambda cell: summarise(gaps[cell]).mean)
            row[name] = f"{points(summarise(gaps[p, q]))}, {p:g} → {q:g}"
        rows.append(row)
    if not rows:
        return NOT_RUN
    found = gains_behind(gains)
    return as_html(
        pandas.DataFrame(rows),
        "In how many cells off the diagonal, of those that all networks have, re-estimating "
        "BatchNorm’s statistics is shown to help a network and to harm it, after Holm’s correction "
        "over the cells of all of them (in brackets: by tests of single cells); and the least and "
        "the most that it gives, in points of accuracy, ± half of the 95 % interval, picked and "
        "not corrected for that, with where: trained at → tested at. "
        f"{seeds_of(gains)}; {devices(found)}.{note(found)}",
    )


def statistics_table() -> str:
    """Cells far from the diagonal with each kind of BatchNorm's statistics."""
    found = records.load(transfer.EXPERIMENT, "fair")
    if not found:
        return NOT_RUN
    by_kind = {kind: measured("fair", kind) for kind in STATISTICS}
    rows = []
    for p, q in FAR:
        for network in NETWORKS:
            row = {"trained at": f"{p:g}", "tested at": f"{q:g}", "network": network}
            for kind, told in STATISTICS.items():
                row[told] = percents(by_kind[kind].get((network, p, q), {}))
            row["trained there"] = percents(by_kind[RUNNING].get((network, q, q), {}))
            rows.append(row)
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy in per cent, mean ± standard deviation over seeds, far from where a network "
        "was trained, by the statistics that BatchNorm uses in testing. The last column is the "
        f"same network trained at the test sparsity. {n_of(by_kind[RUNNING])}; {devices(found)}."
        f"{note(found)}",
    )


def cures_table() -> str:
    """Cheap cures beside the sparse convolution: accuracy at each test sparsity."""
    rows, found = [], []
    asked: list[tuple[str, str, str, float, str]] = []
    for p in TWO_SPARSITIES:
        asked += [
            (f"{p:g}", "fair", "ConvNet", p, RUNNING),
            (f"{p:g}, input × 1/(1 − p)", RESCALED, "ConvNet", p, RUNNING),
            (f"{p:g}, re-estimated", "fair", "ConvNet", p, REESTIMATED),
            (f"{p:g}", "fair", SPARSE, p, RUNNING),
            (f"{p:g}, re-estimated", "fair", SPARSE, p, REESTIMATED),
        ]
    asked += [
        (f"0 to {PAPERS_SPARSITY:g}, mixed", MIXED, network, PAPERS_SPARSITY, RUNNING)
        for network in NETWORKS
    ]
    for told, protocol, network, p, statistics in asked:
        some = [
            record
            for record in records.load(transfer.EXPERIMENT, protocol)
            if record.key.network == network and record.key.sparsity == p
        ]
        found += some
        cells = transfer.cells_of(some, statistics)
        row = {"network": network, "trained at": told, "n": f"{len(some)}{mark(some)}"}
        for q in TEST_SPARSITIES:
            seeds = cells.get((network, p, q), {})
            row[f"{q:g}"] = percents(seeds)
        rows.append(row)
    if not found:
        return NOT_RUN
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy in per cent at each test sparsity, mean ± standard deviation over n seeds. "
        "Re-estimated: with BatchNorm’s statistics of training images at the test sparsity. "
        f"{devices(found)}.{note(found)}",
    )


def rates_table() -> str:
    """Which learning rates were chosen, how long trainings went on, and what they reached."""
    found = records.load(transfer.EXPERIMENT, "fair")
    if not found:
        return NOT_RUN
    rows = []
    for network in NETWORKS:
        for p in TEST_SPARSITIES:
            some = [r for r in found if (r.key.network, r.key.sparsity) == (network, p)]
            if some:
                used = [chosen(record) for record in some]
                rows.append(
                    {
                        "network": network,
                        "p": f"{p:g}",
                        "n": str(len(some)),
                        "learning rates": ", ".join(
                            f"{rate:g}" for rate in _sorted(u[0] for u in used)
                        ),
                        "epochs": span([u[1] for u in used]),
                        "best epoch": span([u[2] for u in used]),
                        "accuracy %": percents({r.key.seed: r.accuracy for r in some}),
                    }
                )
    return as_html(
        pandas.DataFrame(rows),
        "What equal care came to: the learning rate, the epochs until two had brought "
        "nothing better on held-out training images, the epoch whose weights were used, and the "
        f"accuracy on the test images, trained and tested at p. {devices(found)}.{note(found)}",
    )


def chosen(record: Record) -> tuple[float, int, int]:
    """The learning rate that a training used, its epochs, and its best epoch, from 1."""
    used = max(record.content["candidates"], key=lambda each: each["held_out_accuracy"])
    return used["learning_rate"], used["epochs"], used["best_epoch"] + 1


def _sorted(values: Iterable[float]) -> list[float]:
    return sorted(set(values))


def run_table(trained: Sequence[Record]) -> str:
    """A page's own trainings: accuracy at each test sparsity and with each statistics."""
    if not trained:
        return NOT_RUN
    rows = []
    for record in trained:
        for kind in STATISTICS:
            if (tested := record.with_statistics(kind)) is not None:
                row = {
                    "network": record.key.network,
                    "seed": str(record.key.seed),
                    "BatchNorm's statistics": STATISTICS[kind],
                }
                told = {q: numbers.number(f"{100 * a:.2f}", a) for q, a in sorted(tested.items())}
                rows.append(row | {f"{q:g}": text for q, text in told.items()})
    p = trained[0].key.sparsity
    content = trained[0].content["provenance"]
    seconds = sum(record.content["provenance"]["seconds"] for record in trained)
    return as_html(
        pandas.DataFrame(rows).fillna("–"),
        f"Test accuracy in per cent at each test sparsity, after training at p = {p:g}. "
        f"{content['device']}; commit {content['commit'][:10]}; {seconds:.0f} seconds in all.",
    )


def beside_recorded(trained: Sequence[Record]) -> str:
    """A line for each training: its accuracy at each test sparsity beside the recorded mean."""
    lines = []
    for record in trained:
        cells = measured(record.key.protocol)
        parts = []
        for text, accuracy in record.content["accuracy"].items():
            seeds = cells.get((record.key.network, record.key.sparsity, float(text)))
            mean = f"{100 * summarise(seeds.values()).mean:.2f}" if seeds else "not run"
            parts.append(f"{text}: {100 * accuracy:.2f} ({mean})")
        lines.append(f"{record.key.network}, seed {record.key.seed}: {', '.join(parts)}")
    return "\n".join(lines) or "Not run at this sparsity, protocol and seed."
