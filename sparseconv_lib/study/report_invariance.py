"""Tables and figures on invariance: train x test matrices, regret, and the confounds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import figures, numbers, records, transfer
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    FILLS,
    PAPERS_NETWORKS,
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
    without_what_lacks,
)
from sparseconv_lib.study.statistics import (
    Summary,
    paired,
    summarise,
)
from sparseconv_lib.study.traced import Traced
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

SPARSE = "SparseConvNet"
STATISTICS = {RUNNING: "of training", REESTIMATED: "re-estimated"}
# Far from training in both directions: (trained at, tested at).
FAR = ((0.5, 0.0), (0.5, 0.95), (0.8, 0.0), (0.8, 0.95))
MIXED = full_name("fair, mixed_sparsity=true")
RESCALED = full_name("fair, rescale=true")
KINDS = {"bernoulli": "single pixels", "block": "blocks", "scan_line": "scan lines"}
NOT_RUN = "<p>Not run yet.</p>"


def heat_maps(statistics: str = RUNNING, protocol: str = "fair") -> str:
    """Mean test accuracy of each network, trained down, tested across."""
    cells = measured(protocol, statistics)
    if not cells:
        return NOT_RUN
    matrices: dict[str, dict[tuple[float, float], Summary]] = {network: {} for network in NETWORKS}
    for (network, p, q), seeds in cells.items():
        if network in matrices and seeds:
            matrices[network][p, q] = summarise(seeds.values())
    told = [
        f"{network} from {min(means):.1f} to {max(means):.1f} %"
        for network, matrix in matrices.items()
        if (means := [100 * summary.mean for summary in matrix.values()])
    ]
    found = records.load(transfer.EXPERIMENT, protocol)
    return figures.accuracy_matrices(
        matrices,
        TEST_SPARSITIES,
        f"{_farthest_below_diagonal(cells)}"
        f"Test accuracy in per cent, mean over seeds ({n_of(cells)}); BatchNorm's statistics are "
        f"those {STATISTICS[statistics]}. On the diagonal, framed, a network is tested where it "
        "was trained; trained at (down), tested at (across); blank cells are not run; all on one "
        "scale of colours. "
        f"Protocol {protocol}; {devices(found)}.{note(found)}",
        f"Four matrices of accuracy, training sparsity by test sparsity: {'; '.join(told)}.",
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


def difference_table(against: str, statistics: str = RUNNING, protocol: str = "fair") -> str:
    """SparseConvNet minus another network in every cell, paired by seed, with 95 % intervals."""
    cells = measured(protocol, statistics)
    rows, lacking = [], []
    for p in TEST_SPARSITIES:
        gaps = {
            q: difference(cells.get((SPARSE, p, q), {}), cells.get((against, p, q), {}))
            for q in TEST_SPARSITIES
        }
        if any(gaps.values()):
            row = {f"tested at {q:g}": points(gap) for q, gap in gaps.items()}
            rows.append({"trained at": f"{p:g}"} | row)
        else:
            lacking.append(f"{p:g}")
    found = [
        record
        for record in records.load(transfer.EXPERIMENT, protocol)
        if record.key.network in (SPARSE, against)
    ]
    if not rows:
        return NOT_RUN
    not_run = f" Not run yet: trained at {', '.join(lacking)}." if lacking else ""
    return as_html(
        pandas.DataFrame(rows),
        f"{SPARSE} minus {against} in points of accuracy, paired by seed, ± half of the 95 % "
        f"interval; BatchNorm's statistics are those {STATISTICS[statistics]}. {n_of(cells)}; "
        f"protocol {protocol}; {devices(found)}.{not_run}{note(found)}",
    )


def averages_table() -> str:
    """Each network's accuracy over all test sparsities together, for each training sparsity."""
    found = [*records.load(transfer.EXPERIMENT, "fair"), *records.load(transfer.EXPERIMENT, MIXED)]
    cells, mixed = measured("fair"), measured(MIXED)
    rows, counts = [], set()
    for network in NETWORKS:
        row = {"network": network}
        for name, its, p in (
            *((f"trained at {p:g}", cells, p) for p in TEST_SPARSITIES),
            ("at all of them, mixed", mixed, PAPERS_SPARSITY),
        ):
            seeds = over_the_row(its, network, p, TEST_SPARSITIES)
            row[name] = percents(seeds)
            counts |= {len(seeds)} - {0}
        rows.append(row)
    if not counts:
        return NOT_RUN
    return as_html(
        pandas.DataFrame(rows),
        f"Accuracy in per cent, averaged over the {len(TEST_SPARSITIES)} test sparsities, each "
        f"counting alike: mean ± standard deviation over seeds; n = {span(counts)}; equal care; "
        f"{devices(found)}.{note(found)}",
    )


def regret_table() -> str:
    """The regret of each network for each training sparsity, running and re-estimated."""
    found = records.load(transfer.EXPERIMENT, "fair")
    sparsities = shared_diagonal(measured("fair"))
    if len(sparsities) < 2:  # at the only one nothing is lost
        return NOT_RUN
    rows, seeds = [], set()
    for network in NETWORKS:
        for statistics in (RUNNING, REESTIMATED):
            cells = measured("fair", statistics)
            row = {"network": network, "BatchNorm's statistics": STATISTICS[statistics]}
            for p in TEST_SPARSITIES:
                summary = regret(cells, network, p, sparsities)
                row[f"trained at {p:g}"] = regret_in_points(summary)
                seeds |= {summary.n} if summary else set()
            rows.append(row)
    return as_html(
        pandas.DataFrame(rows),
        "Regret in points: the most that a training sparsity costs at any of the test sparsities "
        f"{in_a_row([f'{q:g}' for q in sparsities])}, against the same network trained there."
        f"{not_sought(sparsities)} In brackets the 95 % interval, the lower end of which allows "
        "for not knowing where it is the most; not corrected for their number. "
        f"n = {span(seeds)}; protocol fair; {devices(found)}.{note(found)}{_alone(sparsities)}",
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
        f" At {in_a_row(lacking)} not every network has been trained by as many seeds yet; that "
        "can only raise it."
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


def seeds_of(gains: Mapping[str, Mapping[Any, Sequence[float]]]) -> str:
    """ "n = 5": over how many seeds differences were taken; network -> where -> seed by seed."""
    return f"n = {span({len(gap) for gaps in gains.values() for gap in gaps.values()})}"


def gains_behind(gains: Mapping[str, Mapping[tuple[float, float], object]]) -> list[Record]:
    """The records behind those cells; network -> (trained at, tested at)."""
    return records_at("fair", {cell for gaps in gains.values() for cell in gaps})


def gains_table() -> str:
    """The least and the most that re-estimated statistics give each network."""
    rows = []
    for network, gaps in statistics_gains().items():
        row = {"network": network}
        for choose, name in ((min, "least"), (max, "most")):
            p, q = choose(gaps, key=lambda cell: summarise(gaps[cell]).mean)
            row[name] = f"{points(summarise(gaps[p, q]))}, {p:g} → {q:g}"
        rows.append(row)
    if not rows:
        return NOT_RUN
    gains = statistics_gains()
    found = gains_behind(gains)
    return as_html(
        pandas.DataFrame(rows),
        "The least and the most that re-estimating BatchNorm’s statistics gives a network, in "
        "points of accuracy, ± half of the 95 % interval, and where: trained at → tested at. "
        "Picked from all cells off the diagonal that all networks have, and not corrected for "
        f"that. {seeds_of(gains)}; {devices(found)}.{note(found)}",
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


def fill_protocol(ground: str, fill: str) -> str:
    changes = ["invert=true"] * (ground == "inverted") + [f"fill_from={fill}"] * (fill != "value")
    return full_name(", ".join(["fair", *changes]))


def fills_table() -> str:
    """Digits as they are and inverted, by what stands where a pixel is missing."""
    rows, found = [], []
    for ground in ("as they are", "inverted"):
        for p in TWO_SPARSITIES:
            for network in PAPERS_NETWORKS:
                for fill in FILLS if network in DENSE_NETWORKS else FILLS[:1]:
                    protocol = fill_protocol(ground, fill)
                    some = [
                        record
                        for record in records.load(transfer.EXPERIMENT, protocol)
                        if record.key.network == network and record.key.sparsity == p
                    ]
                    found += some
                    cells = transfer.cells_of(some)
                    row = {
                        "digits": ground,
                        "trained at": f"{p:g}",
                        "network": network,
                        "missing pixels": {"value": "0"}.get(fill, f"{fill} observed"),
                        "n": f"{len(some)}{mark(some)}",
                    }
                    if network == SPARSE:
                        row["missing pixels"] = "not looked at"
                    for q in (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY):
                        row[f"tested at {q:g}"] = percents(cells.get((network, p, q), {}))
                    rows.append(row)
    if not found:
        return NOT_RUN
    rows, lacks = without_what_lacks(rows, ["digits", "missing pixels"])
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy in per cent, mean ± standard deviation over n seeds. 0 is the ground of a "
        "digit as it is, and the ink of an inverted one; mean and nearest are those of the image's "
        f"observed pixels. {devices(found)}.{lacks}{note(found)}",
    )


def kinds_table() -> str:
    """Trained with pixels missing in one way, tested in another, at the same sparsity."""
    rows, found = [], []
    for kind, told in KINDS.items():
        protocol = "fair" if kind == "bernoulli" else full_name(f"fair, mask_kind={kind}")
        for p in TWO_SPARSITIES:
            for network in PAPERS_NETWORKS:
                some = [
                    record
                    for record in records.load(transfer.EXPERIMENT, protocol)
                    if record.key.network == network and record.key.sparsity == p
                ]
                found += some
                row = {"trained on": told, "p": f"{p:g}", "network": network}
                row["n"] = f"{len(some)}{mark(some)}"
                for other, name in KINDS.items():
                    row[f"tested on {name}"] = percents(
                        on_masks_by_seed(protocol, network, p, other)
                    )
                rows.append(row)
    if not found:
        return NOT_RUN
    rows, lacks = without_what_lacks(rows, ["trained on"])
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy in per cent, mean ± standard deviation over n seeds, by how pixels go "
        "missing: one by one, in squares of 4 × 4, or in whole rows as a laser scanner leaves "
        f"them. {devices(found)}.{lacks}{note(found)}",
    )


def on_masks_by_seed(protocol: str, network: str, sparsity: float, kind: str) -> dict[int, float]:
    """Seed -> accuracy at the training sparsity with masks of that kind."""
    return {
        record.key.seed: score
        for record in records.load(transfer.EXPERIMENT, protocol)
        if (record.key.network, record.key.sparsity) == (network, sparsity)
        and (score := on_masks(record, kind)) is not None
    }


def on_masks(record: Record, kind: str) -> float | None:
    """A record's accuracy at its sparsity with masks of that kind; None if not tested."""
    if kind == record.protocol.mask_kind:
        return record.accuracy
    found = record.content.get("other_masks", {}).get(kind)
    return None if found is None else Traced(found, (record.key,))


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
