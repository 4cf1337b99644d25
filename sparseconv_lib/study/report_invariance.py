"""What the chapter on invariance shows: train x test matrices, regret, and the confounds."""

from collections.abc import Callable, Collection, Iterable, Sequence

import pandas

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import captions, figures, ledger, numbers, records, transfer
from sparseconv_lib.study.claims import NOT_REPRODUCED
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    FILLS,
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TUNING,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.protocol import full_name, preset
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import (
    NO_BREAK,
    as_html,
    devices,
    mark,
    note,
    signed,
    without_what_lacks,
)
from sparseconv_lib.study.statistics import (
    Summary,
    holm,
    p_above,
    p_below,
    paired,
    paired_difference,
    summarise,
)
from sparseconv_lib.study.traced import Traced
from sparseconv_lib.study.transfer import (
    REESTIMATED,
    RUNNING,
    Cells,
    measured,
    regret,
    shared_diagonal,
)

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
        f"Test accuracy in per cent, mean over seeds ({_n_of(cells)}); BatchNorm's statistics are "
        f"those {STATISTICS[statistics]}. On the diagonal, framed, a network is tested where it "
        "was trained; blank cells are not run. "
        f"Protocol {protocol}; {devices(found)}.{note(found)}",
        f"Four matrices of accuracy, training sparsity by test sparsity: {'; '.join(told)}.",
    )


def _farthest_below_diagonal(cells: Cells) -> str:
    """The cell of each network that lies farthest below the diagonal's in its column.

    Of those that all networks have, so that none looks worse for having been run more often.
    """
    lost: dict[str, dict[tuple[float, float], Summary]] = {}
    for (network, p, q), seeds in sorted(cells.items()):
        if p != q and (gap := _difference(cells.get((network, q, q), {}), seeds)):
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
        "Of the cells that all networks have, the farthest below its diagonal lies, in points: "
        f"{told}{same}. {own}"
    )


def _points_lost(gap: Summary) -> str:
    return numbers.number(f"{100 * gap.mean:.1f}", gap, f"{100 * gap.sd:.2f} points")


def _n_of(cells: Cells) -> str:
    return f"n = {_span({len(seeds) for seeds in cells.values()} or {0})}"


def difference_table(against: str, statistics: str = RUNNING, protocol: str = "fair") -> str:
    """SparseConvNet minus another network in every cell, paired by seed, with 95 % intervals."""
    cells = measured(protocol, statistics)
    rows, lacking = [], []
    for p in TEST_SPARSITIES:
        gaps = {
            q: _difference(cells.get((SPARSE, p, q), {}), cells.get((against, p, q), {}))
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
        f"interval; BatchNorm's statistics are those {STATISTICS[statistics]}. {_n_of(cells)}; "
        f"protocol {protocol}; {devices(found)}.{not_run}{note(found)}",
    )


def _difference(a: dict[int, float], b: dict[int, float]) -> Summary | None:
    return paired_difference(a, b) if a.keys() & b.keys() else None


def points(summary: Summary | None) -> str:
    """ "+1.2 ± 0.4": a difference in points and half of its 95 % interval."""
    if summary is None:
        return "not run"
    half = "" if summary.n == 1 else f" ± {100 * (summary.high - summary.mean):.1f}"
    told = f"{signed(100 * summary.mean, 1)}{half}".replace(" ", NO_BREAK)
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def regret_table(protocol: str = "fair") -> str:
    """The regret of each network for each training sparsity, running and re-estimated."""
    found = records.load(transfer.EXPERIMENT, protocol)
    sparsities = shared_diagonal(measured(protocol))
    if len(sparsities) < 2:  # at the only one nothing is lost
        return NOT_RUN
    rows, seeds = [], set()
    for network in NETWORKS:
        for statistics in (RUNNING, REESTIMATED):
            cells = measured(protocol, statistics)
            row = {"network": network, "BatchNorm's statistics": STATISTICS[statistics]}
            for p in TEST_SPARSITIES:
                summary = regret(cells, network, p, sparsities)
                row[f"trained at {p:g}"] = _regret_in_points(summary)
                seeds |= {summary.n} if summary else set()
            rows.append(row)
    return as_html(
        pandas.DataFrame(rows),
        "Regret in points: the most that a training sparsity costs at any test sparsity, against "
        f"the same network trained there; {_sought_over(sparsities)}. In brackets the 95 % "
        "interval, the lower end of "
        "which allows for not knowing where it is the most; not corrected for their number. "
        f"n = {_span(seeds)}; protocol {protocol}; {devices(found)}.{note(found)}",
    )


def _sought_over(sparsities: Sequence[float]) -> str:
    """At which test sparsities the worst was sought, and what the others could change."""
    named = _listed(sparsities)
    lacking = [q for q in TEST_SPARSITIES if q not in sparsities]
    if not lacking:
        return f"sought at {named}"
    return (
        f"sought at {named}, where every network was trained by as many seeds, not yet at "
        f"{_listed(lacking)}, which can only raise it"
    )


def _listed(sparsities: Sequence[float]) -> str:
    *first, last = [f"{q:g}" for q in sparsities]
    return f"{', '.join(first)} and {last}" if first else last


def _regret_in_points(summary: Summary | None) -> str:
    if summary is None:
        return "not run"
    span = "" if summary.n == 1 else f" [{100 * summary.low:.1f}, {100 * summary.high:.1f}]"
    told = f"{100 * summary.mean:.1f}{span}".replace(" ", NO_BREAK)
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def invariance_in_words(trained_at: float = 0.5, protocol: str = "fair") -> str:
    """The chapter's first sentence: how each network's regret compares."""
    sparsities = shared_diagonal(measured(protocol))
    if len(sparsities) < 2:
        return (
            "Too little of the train × test matrix has been run yet to tell the most that a "
            "training sparsity costs (its regret, below)."
        )
    told, seeds = [], set()
    for statistics in (RUNNING, REESTIMATED):
        cells = measured(protocol, statistics)
        parts = []
        for network in NETWORKS:
            if summary := regret(cells, network, trained_at, sparsities):
                parts.append(f"{network} {_regret_in_points(summary)}")
                seeds.add(summary.n)
        if parts:
            told.append(f"{', '.join(parts)} with statistics {STATISTICS[statistics]}")
    if not told:
        return f"No network has been trained at p = {trained_at:g} yet."
    return (
        f"Training at p = {trained_at:g} costs at the worst test sparsity, in points against the "
        f"same network trained there: {'; '.join(told)} "
        f"(digits, n = {_span(seeds)}, 95 % intervals in brackets; the worst is "
        f"{_sought_over(sparsities)})."
    )


# What a reader is told of first: (trained at, tested at), to fewer missing pixels and to more.
TOLD = ((0.8, 0.0), (0.5, 0.95))


def far_in_words(pairs: Sequence[tuple[float, float]] = TOLD, protocol: str = "fair") -> str:
    """How networks do far from where they were trained, and what BatchNorm has to do with it.

    pairs: (trained at, tested at).
    """
    cells, again = measured(protocol), measured(protocol, REESTIMATED)
    sentences = []
    for p, q in pairs:
        here = {
            network: cells[network, p, q]
            for network in PAPERS_NETWORKS
            if cells.get((network, p, q))
        }
        if SPARSE not in here:
            continue
        scores = ", ".join(f"{network} {percents(seeds)} %" for network, seeds in here.items())
        gaps = [
            _against(other, gap, fresh)
            for other in DENSE_NETWORKS
            if (gap := _difference(here[SPARSE], here.get(other, {})))
            for fresh in [_difference(again.get((SPARSE, p, q), {}), again.get((other, p, q), {}))]
        ]
        told = f" There SparseConvNet is {'; and '.join(gaps)}." if gaps else ""
        tested, counts = _along_the_row(cells, p)
        told += f" {_elsewhere(tested)} {counts}." if counts else ""
        sentences.append(f"Trained at p = {p:g} and tested at p = {q:g}: {scores}.{told}")
    if not sentences:
        return "No network has been tested far from where it was trained yet."
    return (
        f"{' '.join(sentences)} (Digits, equal care for every network, mean ± standard deviation; "
        f"differences with ± half of the 95 % interval, {_n_of(cells)}; "
        f"{devices(_trained(protocol, pairs))}.)"
    )


def _against(other: str, gap: Summary, fresh: Summary | None) -> str:
    """What a paired difference shows, in words, with either kind of BatchNorm's statistics."""
    told = f"{_shown(gap)} {other} ({points(gap)} points"
    if fresh is None:
        return f"{told})"
    if _shown(fresh) == _shown(gap):
        return f"{told}; {points(fresh)} with statistics re-estimated there)"
    return f"{told}), but {_shown(fresh)} it with statistics re-estimated there ({points(fresh)})"


def _shown(gap: Summary) -> str:
    if gap.n == 1:
        return "in one seed beside"
    return "better than" if gap.low > 0 else "worse than" if gap.high < 0 else "not told apart from"


def _along_the_row(cells: Cells, p: float) -> tuple[int, str]:
    """At how many other sparsities SparseConvNet, trained at p, is shown to differ from others.

    How many were tested, and the rest of a sentence; (0, "") where none was by several seeds.
    """
    told, tested = [], 0
    for other in DENSE_NETWORKS:
        found = [
            paired(cells.get((SPARSE, p, q), {}), cells.get((other, p, q), {}))
            for q in TEST_SPARSITIES
            if q != p
        ]
        gaps = [gap for gap in found if len(gap) > 1]
        if gaps:
            better, worse = _differing(gaps)
            told.append(f"better than {other} at {better} and worse at {worse}")
            tested = len(gaps)
    return tested, ", ".join(told)


def _differing(gaps: Sequence[Sequence[float]]) -> tuple[str, str]:
    """How many of several paired differences lie above 0, and how many below, by two-sided tests.

    "4 (1)": by single tests at 5 %, and in brackets what Holm's correction over all of them leaves.
    """
    above = [p_above(gap, 0.0) for gap in gaps]
    two_sided = [
        min(1.0, 2 * min(p, p_below(gap, 0.0))) for p, gap in zip(above, gaps, strict=True)
    ]
    corrected = holm(two_sided)
    told = []
    for side in (True, False):
        its = [i for i, p in enumerate(above) if (p < 0.5) == side]
        single = sum(two_sided[i] < 0.05 for i in its)
        told.append(f"{single} ({sum(corrected[i] < 0.05 for i in its)})" if single else "none")
    return told[0], told[1]


def _elsewhere(tested: int) -> str:
    return (
        f"At the {tested} sparsities that it was not trained at, by single 95 % intervals and in "
        f"brackets after Holm’s correction over the {tested}, SparseConvNet is"
    )


def claim_in_words() -> str:
    """What the rule makes of the paper's claim of invariance."""
    (row,) = [row for row in ledger.rows() if row.claim.id == "uhrig-invariance"]
    told = f"That SparseConvNet is invariant to the level of sparsity is {row.word}"
    if not (ours := ledger.ours(row, named=True)):
        return f"{told}."
    cells = row.verdict.cells
    if row.word == NOT_REPRODUCED:
        outside = sum(bool(cell["outside"]) for cell in cells)
        return (
            f"{told}: {outside} of the {len(cells)} comparisons of its rule "
            f"lie{'s' * (outside == 1)} outside its bounds, most surely {ours}."
        )
    return f"{told}; of the {len(cells)} comparisons of its rule the least sure is {ours}."


def equal_care_in_words(p: float) -> str:
    """Every network against ConvNet, trained and tested at p with equal care."""
    cells = measured("fair")
    gaps = [
        f"{network} {points(gap)}"
        for network in ("SparseConvNet-kept", "SparseConvNet", "ConvNet+mask")
        if (gap := _gap_at(cells, network, p))
    ]
    if not gaps:
        return "With equal care for every network nothing has been trained there yet."
    return (
        "With equal care for every network, each trained until it no longer improves, the "
        f"differences are, in points: {', '.join(gaps)} (± half of the 95 % interval, "
        f"{_n_of(cells)}; {devices(_trained('fair', [(p, p)]))})."
    )


def _trained(protocol: str, pairs: Iterable[tuple[float, float]]) -> list[Record]:
    """The records behind cells of those (trained at, tested at)."""
    at = {p for p, _ in pairs}
    return [r for r in records.load(transfer.EXPERIMENT, protocol) if r.key.sparsity in at]


def statistics_gains(protocol: str = "fair") -> dict[str, dict[tuple[float, float], list[float]]]:
    """Network -> (trained at, tested at) -> what re-estimated statistics give, seed by seed.

    Off the diagonal, in cells that every network has which was trained with several seeds.
    """
    cells, again = measured(protocol), measured(protocol, REESTIMATED)
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


def statistics_in_words(protocol: str = "fair") -> str:
    """Whether re-estimated statistics help plain networks, off the sparsity of their training."""
    gains = statistics_gains(protocol)
    if not gains:
        return "What re-estimating BatchNorm’s statistics gives has not been run by two seeds yet."
    told = [
        f"{network} better in {better} and worse in {worse}"
        for network, gaps in gains.items()
        for better, worse in [_differing(list(gaps.values()))]
    ]
    number = len(next(iter(gains.values())))
    return (
        f"Of the {number} cells off the diagonal that all networks have, re-estimated statistics "
        "make, by single 95 % intervals and in brackets after Holm’s correction over the "
        f"{number}: {'; '.join(told)}. ({_seeds_of(gains)}; {devices(_of_gains(gains, protocol))}.)"
    )


def _seeds_of(gains: dict[str, dict[tuple[float, float], list[float]]]) -> str:
    return f"n = {_span({len(gap) for gaps in gains.values() for gap in gaps.values()})}"


def _of_gains(
    gains: dict[str, dict[tuple[float, float], list[float]]], protocol: str
) -> list[Record]:
    return _trained(protocol, {cell for gaps in gains.values() for cell in gaps})


def gains_table(protocol: str = "fair") -> str:
    """The least and the most that re-estimated statistics give each network."""
    rows = []
    for network, gaps in statistics_gains(protocol).items():
        row = {"network": network}
        for choose, name in ((min, "least"), (max, "most")):
            p, q = choose(gaps, key=lambda cell: summarise(gaps[cell]).mean)
            row[name] = f"{points(summarise(gaps[p, q]))}, {p:g} → {q:g}"
        rows.append(row)
    if not rows:
        return NOT_RUN
    gains = statistics_gains(protocol)
    found = _of_gains(gains, protocol)
    return as_html(
        pandas.DataFrame(rows),
        "The least and the most that re-estimating BatchNorm’s statistics gives a network, in "
        "points of accuracy, ± half of the 95 % interval, and where: trained at → tested at. "
        "Picked from all cells off the diagonal that all networks have, and not corrected for "
        f"that. {_seeds_of(gains)}; {devices(found)}.{note(found)}",
    )


def statistics_table(protocol: str = "fair") -> str:
    """Cells far from the diagonal with each kind of BatchNorm's statistics."""
    found = records.load(transfer.EXPERIMENT, protocol)
    if not found:
        return NOT_RUN
    by_kind = {kind: measured(protocol, kind) for kind in STATISTICS}
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
        f"same network trained at the test sparsity. {_n_of(by_kind[RUNNING])}; {devices(found)}."
        f"{note(found)}",
    )


def percents(seeds: dict[int, float]) -> str:
    """ "91.20 ± 0.31", or "not run"."""
    if not seeds:
        return "not run"
    summary = summarise(seeds.values())
    spread = "" if summary.n == 1 else f" ± {100 * summary.sd:.2f}"
    told = f"{100 * summary.mean:.2f}{spread}".replace(" ", NO_BREAK)
    return numbers.number(told, summary, f"{100 * summary.sd:.2f} points")


def cures_table() -> str:
    """Cheap cures beside the sparse convolution: accuracy at each test sparsity."""
    rows, found = [], []
    asked: list[tuple[str, str, str, float, str]] = []
    for p in TWO_SPARSITIES:
        asked += [
            (f"trained at {p:g}", "fair", "ConvNet", p, RUNNING),
            (f"trained at {p:g}, input × 1/(1 − p)", RESCALED, "ConvNet", p, RUNNING),
            (f"trained at {p:g}, statistics re-estimated", "fair", "ConvNet", p, REESTIMATED),
            (f"trained at {p:g}", "fair", SPARSE, p, RUNNING),
            (f"trained at {p:g}, statistics re-estimated", "fair", SPARSE, p, REESTIMATED),
        ]
    asked += [
        (f"trained at 0 to {PAPERS_SPARSITY:g}, mixed", MIXED, network, PAPERS_SPARSITY, RUNNING)
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
        row = {"network": network, "how": told, "n": f"{len(some)}{mark(some)}"}
        for q in TEST_SPARSITIES:
            seeds = cells.get((network, p, q), {})
            row[f"{q:g}"] = percents(seeds)
        rows.append(row)
    if not found:
        return NOT_RUN
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy in per cent at each test sparsity, mean ± standard deviation over n seeds. "
        f"{devices(found)}.{note(found)}",
    )


def cures_far_in_words(p: float = TOLD[0][0], q: float = TOLD[0][1]) -> str:
    """What each cure gives ConvNet far from where it was trained, in points, paired by seed."""
    plain = measured("fair").get(("ConvNet", p, q), {})
    cures = {
        "dividing its input": measured(RESCALED).get(("ConvNet", p, q), {}),
        "re-estimating BatchNorm's statistics": measured("fair", REESTIMATED).get(
            ("ConvNet", p, q), {}
        ),
        "training at all sparsities": measured(MIXED).get(("ConvNet", PAPERS_SPARSITY, q), {}),
    }
    gaps = {cure: gap for cure, seeds in cures.items() if (gap := _difference(seeds, plain))}
    if not gaps:
        return "No cure has been run yet."
    told = "; ".join(f"{cure} {points(gap)}" for cure, gap in gaps.items())
    n = min(gap.n for gap in gaps.values())
    return (
        f"What a cure gives ConvNet, trained at p = {p:g} and tested at p = {q:g}, in points, ± "
        f"half of the 95 % interval: {told} (n = {n})."
    )


def cures_in_words() -> str:
    """Whether training at many sparsities makes the layer needless."""
    mixed, told = measured(MIXED), []
    for network in NETWORKS[1:]:
        gaps = [
            _difference(
                mixed.get((network, PAPERS_SPARSITY, q), {}),
                mixed.get(("ConvNet", PAPERS_SPARSITY, q), {}),
            )
            for q in TEST_SPARSITIES
        ]
        known = [(q, gap) for q, gap in zip(TEST_SPARSITIES, gaps, strict=True) if gap]
        if known:
            low = min(known, key=lambda pair: pair[1].mean)
            high = max(known, key=lambda pair: pair[1].mean)
            told.append(
                f"{network} lies between {points(low[1])} points (p = {low[0]:g}) and "
                f"{points(high[1])} (p = {high[0]:g}) of ConvNet"
            )
    if not told:
        return "Training at mixed sparsities has not been run yet."
    return f"Trained at all sparsities at once, {'; '.join(told)} ({_n_of(mixed)})."


def rates_table(protocol: str = "fair") -> str:
    """Which learning rates were chosen, how long trainings went on, and what they reached."""
    found = records.load(transfer.EXPERIMENT, protocol)
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
                        "epochs": _span([u[1] for u in used]),
                        "best epoch": _span([u[2] for u in used]),
                        "accuracy %": percents({r.key.seed: r.accuracy for r in some}),
                    }
                )
    return as_html(
        pandas.DataFrame(rows),
        "What equal care came to: the learning rate, the epochs until nothing had improved on "
        "held-out training images any more, the epoch whose weights were used, and the accuracy on "
        f"the test images, trained and tested at p. {devices(found)}.{note(found)}",
    )


def chosen(record: Record) -> tuple[float, int, int]:
    """The learning rate that a training used, its epochs, and its best epoch, from 1."""
    used = max(record.content["candidates"], key=lambda each: each["held_out_accuracy"])
    return used["learning_rate"], used["epochs"], used["best_epoch"] + 1


def _sorted(values: Iterable[float]) -> list[float]:
    return sorted(set(values))


def _span(values: Collection[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def tuning_in_words() -> str:
    """Whether the one learning rate of `fair` is a good one for every network."""
    (rate,), told = preset("fair", "invariance").learning_rates, []
    tuned = records.load(transfer.EXPERIMENT, TUNING)
    for record in tuned:
        scores = {
            each["learning_rate"]: each["held_out_accuracy"]
            for each in record.content["candidates"]
        }
        listed = ", ".join(
            f"{numbers.of_trainings(f'{100 * score:.2f}', [record.key])} ({r:g})"
            for r, score in sorted(scores.items())
        )
        best = [f"{r:g}" for r, score in sorted(scores.items()) if score == max(scores.values())]
        if lost := max(scores.values()) - scores[rate]:
            listed += f" ({rate:g} costs it {100 * lost:.2f} points)"
        else:
            listed += f" ({captions.in_a_row(best)} {'are' if len(best) > 1 else 'is'} the best)"
        told.append(f"{record.key.network} {listed}")
    if not told:
        return "Whether that rate is a good one for every network has not been run yet."
    return (
        "Held-out accuracy in per cent by learning rate, each trained until nothing improved, at "
        f"p = {tuned[0].key.sparsity:g}, seed 0, n = 1: {'; '.join(told)}. ({devices(tuned)}.)"
    )


def fair_in_words(protocol: str = "fair") -> str:
    """Trained and tested at one sparsity with equal care: does the layer help?"""
    cells, told = measured(protocol), []
    for network in NETWORKS[1:]:
        gaps = [(p, gap) for p in TEST_SPARSITIES if (gap := _gap_at(cells, network, p))]
        if gaps:
            parts = ", ".join(f"{points(gap)} (p = {p:g})" for p, gap in gaps)
            told.append(f"{network} {parts}")
    if not told:
        return "The fair protocol has not been run yet."
    return (
        "With equal care for every network, trained and tested at one sparsity, in points against "
        f"ConvNet: {'; '.join(told)} ({_n_of(cells)})."
    )


def fair_in_short(protocol: str = "fair") -> str:
    """The same without its numbers: at which sparsities a network is told apart from ConvNet."""
    cells = measured(protocol)
    gaps = {
        network: {p: gap for p in TEST_SPARSITIES if (gap := _gap_at(cells, network, p))}
        for network in NETWORKS[1:]
    }
    tried = sorted({p for by in gaps.values() for p in by})
    if not tried:
        return "The fair protocol has not been run yet."
    return (
        f"{captions.differences(gaps, 'ConvNet')}(Tried at p = "
        f"{captions.in_a_row([f'{p:g}' for p in tried])}; {_n_of(cells)}.)"
    )


def _gap_at(cells: Cells, network: str, p: float) -> Summary | None:
    """A network against ConvNet, both trained and tested at p."""
    return _difference(cells.get((network, p, p), {}), cells.get(("ConvNet", p, p), {}))


def far_in_short(protocol: str = "fair") -> str:
    """At how many test sparsities the layer is shown to differ from networks without it."""
    told: list[str] = []
    for statistics in STATISTICS:
        cells = measured(protocol, statistics)
        rows = {p: _along_the_row(cells, p) for p in TWO_SPARSITIES}
        parts = [f"trained at p = {p:g}, {counts}" for p, (_, counts) in rows.items() if counts]
        if parts:
            tested = max(n for n, _ in rows.values())
            begin = f"With BatchNorm’s statistics {STATISTICS[statistics]}:" if told else ""
            told.append(f"{begin or f'{_elsewhere(tested)},'} {'; '.join(parts)}.")
    if not told:
        return "No network has been tested far from where it was trained yet."
    return f"{' '.join(told)} ({_n_of(cells)}.)"


def _fill_protocol(ground: str, fill: str) -> str:
    changes = ["invert=true"] * (ground == "inverted") + [f"fill_from={fill}"] * (fill != "value")
    return full_name(", ".join(["fair", *changes]))


def fills_table() -> str:
    """Digits as they are and inverted, by what stands where a pixel is missing."""
    rows, found = [], []
    for ground in ("as they are", "inverted"):
        for p in TWO_SPARSITIES:
            for network in PAPERS_NETWORKS:
                for fill in FILLS if network in DENSE_NETWORKS else FILLS[:1]:
                    protocol = _fill_protocol(ground, fill)
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


def fills_in_words() -> str:
    """Whether SparseConvNet wins where 0 is a bad guess, and against a better fill."""
    told = []
    for ground in ("as they are", "inverted"):
        sparse = measured(_fill_protocol(ground, "value"))
        for fill in FILLS:
            dense = measured(_fill_protocol(ground, fill))
            gaps = [
                f"{points(gap)} at p = {p:g}"
                for p in TWO_SPARSITIES
                if (
                    gap := _difference(
                        sparse.get((SPARSE, p, p), {}), dense.get(("ConvNet", p, p), {})
                    )
                )
            ]
            if gaps:
                name = {"value": "0"}.get(fill, f"the {fill} observed pixels")
                name = name.replace("nearest observed pixels", "nearest observed pixel")
                name = name.replace("mean observed pixels", "mean of the observed pixels")
                told.append(f"digits {ground}, ConvNet given {name}: {' and '.join(gaps)}")
    if not told:
        return "What the fill is worth has not been run yet."
    return (
        f"SparseConvNet minus ConvNet, in points, ± half of the 95 % interval: {'; '.join(told)} "
        f"({_n_of(sparse)})."
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
                        {record.key.seed: score for record in some
                         if (score := on_masks(record, other)) is not None}
                    )  # fmt: skip
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


def on_masks(record: Record, kind: str) -> float | None:
    """A record's accuracy at its sparsity with masks of that kind; None if not tested."""
    if kind == record.protocol.mask_kind:
        return record.accuracy
    found = record.content.get("other_masks", {}).get(kind)
    return None if found is None else Traced(found, (record.key,))


def kinds_in_words(sparsity: float = 0.8) -> str:
    """What moving from one way to be missing to another costs each network."""
    told: list[str] = []
    n: set[int] = set()
    for network in PAPERS_NETWORKS:
        parts = []
        for kind in ("block", "scan_line"):
            own = _by_seed(full_name(f"fair, mask_kind={kind}"), network, sparsity, kind)
            moved = _by_seed("fair", network, sparsity, kind)
            if gap := _difference(moved, own):
                parts.append(f"{points(gap)} on {KINDS[kind]}")
                n.add(gap.n)
        if parts:
            told.append(f"{network} {' and '.join(parts)}")
    if not told:
        return _kinds_so_far(sparsity)
    return (
        f"Trained on single missing pixels at p = {sparsity:g} and tested on another kind, in "
        f"points against the same network trained on that kind, ± half of the 95 % interval: "
        f"{'; '.join(told)}.{_moved_alike(sparsity)} (n = {_span(n)}.)"
    )


def _moved_alike(sparsity: float) -> str:
    """SparseConvNet against the others, all trained on single pixels and tested on another kind."""
    told = []
    for kind in ("block", "scan_line"):
        sparse = _by_seed("fair", SPARSE, sparsity, kind)
        gaps = [
            f"{points(gap)} against {other}"
            for other in DENSE_NETWORKS
            if (gap := _difference(sparse, _by_seed("fair", other, sparsity, kind)))
        ]
        if gaps:
            told.append(f"{' and '.join(gaps)} on {KINDS[kind]}")
    return f" Of networks moved so, SparseConvNet has {'; '.join(told)}." if told else ""


def _kinds_so_far(sparsity: float) -> str:
    """The same before any network has been trained on another kind."""
    told = []
    for network in PAPERS_NETWORKS:
        block, line = (_by_seed("fair", network, sparsity, kind) for kind in ("block", "scan_line"))
        if block and line:
            told.append(f"{network} {percents(block)} and {percents(line)}")
    lacking = "Training on blocks or scan lines has not been run yet."
    if not told:
        return lacking
    return (
        f"Trained on single missing pixels at p = {sparsity:g}, tested with as many missing in "
        f"blocks and in scan lines, accuracies in per cent, mean ± standard deviation, are: "
        f"{'; '.join(told)}. {lacking}"
    )


def _by_seed(protocol: str, network: str, sparsity: float, kind: str) -> dict[int, float]:
    return {
        record.key.seed: score
        for record in records.load(transfer.EXPERIMENT, protocol)
        if (record.key.network, record.key.sparsity) == (network, sparsity)
        and (score := on_masks(record, kind)) is not None
    }


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


SENTENCES: tuple[Callable[[], str], ...] = (
    claim_in_words,
    far_in_words,
    invariance_in_words,
    cures_in_words,
    fair_in_words,
    fills_in_words,
    kinds_in_words,
)  # one to quote for each question of the chapter
