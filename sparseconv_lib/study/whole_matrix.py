"""The whole train × test matrix in few numbers: what the sparse layer has on average, and where.

Averages are over pairs of those sparsities at which every network was trained by the same seeds,
each pair counting alike, and are compared seed by seed.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pandas

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import records, transfer
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import DENSE_NETWORKS, TEST_SPARSITIES, TWO_SPARSITIES
from sparseconv_lib.study.report import as_html, devices, note
from sparseconv_lib.study.report_invariance import (
    NOT_RUN,
    SHOWN_IN_WORDS,
    SPARSE,
    STATISTICS,
    averages,
    n_of_seeds,
    records_at,
    shown_among,
    starred,
)
from sparseconv_lib.study.statistics import paired, summarise
from sparseconv_lib.study.transfer import RUNNING, averaged, measured, shared_diagonal
from sparseconv_lib.study.wording import HALF, percents, points

LOW = TWO_SPARSITIES[0]
WHERE_TRAINED = "with as many"
# Tested how, beside training: does a pair (trained at, tested at) belong?
PARTS: dict[str, Callable[[float, float], bool]] = {
    "with more pixels than in training": lambda p, q: q < p,
    "with fewer": lambda p, q: q > p,
    f"with either, trained at p = {LOW:g} or below": lambda p, q: p != q and p <= LOW,
    "with either, trained above": lambda p, q: p != q and p > LOW,
    WHERE_TRAINED: lambda p, q: p == q,
}
IN_SHORT = ("with more pixels than in training", "with fewer", WHERE_TRAINED)


@dataclass(frozen=True)
class Part:
    """A part of the matrix: how many cells it has, and each network's average by seed."""

    cells: int
    average: Mapping[str, Mapping[int, float]]


def parts(statistics: str = RUNNING) -> dict[str, Part]:
    """The parts of the matrix that have cells; {} where no two sparsities are shared."""
    cells = measured("fair", statistics)
    shared = shared_diagonal(cells)
    if len(shared) < 2:
        return {}
    found = {}
    for name, belongs in PARTS.items():
        where = [(p, q) for p in shared for q in shared if belongs(p, q)]
        average = {network: averaged(cells, network, where) for network in NETWORKS}
        if any(average.values()):
            found[name] = Part(len(where), average)
    return found


def leads(of: Mapping[str, Part]) -> dict[tuple[str, str], list[float]]:
    """(Part, plain network) -> what SparseConvNet has over it there, seed by seed."""
    gaps = {
        (name, other): paired(part.average[SPARSE], part.average[other])
        for name, part in of.items()
        for other in DENSE_NETWORKS
    }
    return {label: gap for label, gap in gaps.items() if gap}


def table(statistics: str = RUNNING) -> str:
    """Each network's accuracy averaged over parts of the matrix, and the layer's leads."""
    found = parts(statistics)
    gaps = leads(found)
    if not gaps:
        return NOT_RUN
    shown = shown_among(gaps)
    rows = [
        {"tested": name, "cells": str(part.cells)}
        | {network: percents(seeds) for network, seeds in part.average.items()}
        | {
            f"{SPARSE} − {other}": starred(gaps.get((name, other), []), (name, other) in shown)
            for other in DENSE_NETWORKS
        }
        for name, part in found.items()
    ]
    ran = records.load(transfer.EXPERIMENT, "fair")
    return as_html(
        pandas.DataFrame(rows),
        "Accuracy in per cent, averaged over pairs of a training and a test sparsity out of "
        f"{in_a_row(_shared(statistics))}, each counting alike: mean ± standard deviation over "
        "seeds; differences in points, paired by seed, ± half of the 95 % interval. BatchNorm's "
        f"statistics are those {STATISTICS[statistics]}. {SHOWN_IN_WORDS} all differences. "
        f"{n_of_seeds(gaps.values())}; equal care; {devices(ran)}.{_across_devices()}{note(ran)}",
    )


def _shared(statistics: str = RUNNING) -> list[str]:
    return [f"{p:g}" for p in shared_diagonal(measured("fair", statistics))]


def in_short() -> str:
    """`in_words` without the parts that tell where it was trained."""
    return in_words(IN_SHORT)


def in_words(told_parts: Collection[str] = tuple(PARTS)) -> str:
    """What the layer has over plain networks on average, away from its training and at it."""
    gaps = leads(parts())
    shown = shown_among(gaps)
    if not shown.tested:
        return "What the layer is worth over the whole matrix has not been run by two seeds yet."
    told: list[str] = []
    named: list[str] = []  # the networks that the part before was held against, in this order
    for name in told_parts:
        its = {other: gaps[name, other] for other in DENSE_NETWORKS if (name, other) in gaps}
        each = [
            f"{points(summarise(gap))}{f' over {other}' * (named != [*its])}"
            f"{' (shown)' * ((name, other) in shown)}"
            for other, gap in its.items()
        ]
        if each:
            told.append(f"{name}, {in_a_row(each)}")
            named = [*its]
    rows = shown_among(averages())
    also = len(rows.above) + len(rows.below)
    all_told = len(told_parts) == len(PARTS)
    told_of = sum(name in told_parts for name, _ in gaps)
    over = (
        f"these {shown.tested}" if all_told else f"{shown.tested} leads, these {told_of} among them"
    )
    shared = _shared()
    out_of = "" if len(shared) == len(TEST_SPARSITIES) else f" out of {in_a_row(shared)}"
    return (
        f"Averaged over pairs of a training and a test sparsity{out_of}, each counting alike, "
        f"SparseConvNet has, in points, tested {'; '.join(told)}. Averaged for each training "
        f"sparsity, {also or 'none'} of {rows.tested} differences {'are' if also > 1 else 'is'} "
        f"shown. (Shown: after Holm’s correction over {over}, the others are not; "
        f"averages were chosen with the records in view; {HALF}, {n_of_seeds(gaps.values())}.)"
    )


def on_one_device() -> str:
    """The leads over the rows alone in which the layer and plain networks ran on one device."""
    other_device = _rows_across_devices()
    cells = measured("fair")
    shared = shared_diagonal(cells)
    rows = [p for p in shared if p not in other_device]
    if not other_device or not rows:
        return ""
    told, taken = [], []
    for name in [*PARTS][:2]:
        where = [(p, q) for p in rows for q in shared if PARTS[name](p, q)]
        gaps = {
            other: paired(*(averaged(cells, network, where) for network in (SPARSE, other)))
            for other in DENSE_NETWORKS
        }
        its = [f"{points(summarise(gap))} over {other}" for other, gap in gaps.items() if gap]
        if its:
            told.append(f"{name}, {in_a_row(its)}")
            taken += [gap for gap in gaps.values() if gap]
    if not told:
        return ""
    return (
        f"Over the rows alone in which these ran on one device (trained at "
        f"{in_a_row([f'{p:g}' for p in rows])}), SparseConvNet has, in points, tested "
        f"{'; '.join(told)} ({HALF}, {n_of_seeds(taken)})."
    )


def _rows_across_devices() -> list[float]:
    """The training sparsities at which the layer ran on another device than plain networks."""
    where = []
    for p in TEST_SPARSITIES:
        found = records_at("fair", [(p, p)])
        own = {devices([r]) for r in found if r.key.network == SPARSE}
        others = {devices([r]) for r in found if r.key.network in DENSE_NETWORKS}
        if own and others and own != others:
            where.append(p)
    return where


def _across_devices() -> str:
    """ " Trained at 0 and 0.3, SparseConvNet ran on another device than plain networks."."""
    where = [f"{p:g}" for p in _rows_across_devices()]
    if not where:
        return ""
    return f" Trained at {in_a_row(where)}, {SPARSE} ran on another device than plain networks."
