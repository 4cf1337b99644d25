"""Trained at one sparsity, tested at another: the cells of that matrix, and what it costs.

A cell is (network, training sparsity, test sparsity) -> {seed: accuracy}. The regret of having
trained at p is the most that it costs anywhere, against a network that was trained where it is
tested:

    regret(p) = max over q of  accuracy(q -> q) - accuracy(p -> q)
"""

import dataclasses
from collections.abc import Mapping, Sequence

from sparseconv_lib.study import records
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.statistics import Summary, largest_mean
from sparseconv_lib.study.traced import Traced, behind

EXPERIMENT = "invariance"
RUNNING, REESTIMATED = "running", "reestimated"

Cells = dict[tuple[str, float, float], dict[int, float]]


def cells_of(found: Sequence[Record], statistics: str = RUNNING) -> Cells:
    """The matrix of some records; statistics: which of BatchNorm's the networks are tested with."""
    cells: Cells = {}
    for record in found:
        tested = record.with_statistics(statistics) or {}
        for q, accuracy in tested.items():
            cell = (record.key.network, record.key.sparsity, q)
            cells.setdefault(cell, {})[record.key.seed] = accuracy
    return cells


def measured(protocol: str = "fair", statistics: str = RUNNING) -> Cells:
    """The recorded matrix of a protocol."""
    return cells_of(records.load(EXPERIMENT, protocol), statistics)


def shared_diagonal(cells: Mapping[tuple[str, float, float], Mapping[int, float]]) -> list[float]:
    """Two sparsities or more at which every network was trained and tested by the same seeds.

    Those with the most seeds in common, for a regret is told of the seeds that all of them have;
    fewer than two if there are no two.
    """
    networks = {network for network, _, _ in cells}
    seeds = {
        q: len(set.intersection(*(set(cells.get((network, q, q), {})) for network in networks)))
        for _, _, q in cells
    }
    found: list[float] = []
    for least in sorted(set(seeds.values()) - {0}, reverse=True):
        found = sorted(q for q, n in seeds.items() if n >= least)
        if len(found) > 1:
            break
    return found


def averaged(
    cells: Mapping[tuple[str, float, float], Mapping[int, float]],
    network: str,
    where: Sequence[tuple[float, float]],
) -> dict[int, float]:
    """Seed -> mean accuracy over cells (trained at, tested at), each counting alike.

    Of the seeds that have them all; {} where there are no cells.
    """
    its = [cells.get((network, p, q), {}) for p, q in where]
    seeds = sorted(set.intersection(*(set(cell) for cell in its))) if its else []
    return {seed: sum(cell[seed] for cell in its) / len(its) for seed in seeds}


def over_the_row(
    cells: Mapping[tuple[str, float, float], Mapping[int, float]],
    network: str,
    trained_at: float,
    sparsities: Sequence[float],
) -> dict[int, float]:
    """Seed -> mean accuracy of one training over those test sparsities, as `averaged` takes it."""
    return averaged(cells, network, [(trained_at, q) for q in sparsities])


def regret(
    cells: Mapping[tuple[str, float, float], Mapping[int, float]],
    network: str,
    trained_at: float,
    sparsities: Sequence[float],
    confidence: float = 0.95,
) -> Summary | None:
    """The regret of training at one sparsity; None unless some seed has every cell that it needs.

    Differences are paired by seed; low and high are those of `statistics.largest_mean`. The regret
    leans upwards, as a maximum over noisy differences; where p is one of `sparsities` it cannot be
    below 0, for there it is 0.
    """
    matched = [cells.get((network, q, q), {}) for q in sparsities]
    moved = [cells.get((network, trained_at, q), {}) for q in sparsities]
    seeds = sorted(set.intersection(*(set(cell) for cell in (*matched, *moved))))
    if not seeds:
        return None
    samples = [[a[seed] - b[seed] for seed in seeds] for a, b in zip(matched, moved, strict=True)]
    found = largest_mean(samples, confidence)
    asked = [cell[seed] for cell in (*matched, *moved) for seed in seeds]
    return dataclasses.replace(found, mean=Traced(found.mean, behind(asked)))
