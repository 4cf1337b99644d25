"""Trained at one sparsity, tested at another: the cells of that matrix, and what it costs.

A cell is (network, training sparsity, test sparsity) -> {seed: accuracy}. The regret of having
trained at p is the most that it costs anywhere, against a network that was trained where it is
tested:

    regret(p) = max over q of  accuracy(q -> q) - accuracy(p -> q)
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from sparseconv_lib.study import records
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.statistics import Summary

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


def regret(
    cells: Mapping[tuple[str, float, float], Mapping[int, float]],
    network: str,
    trained_at: float,
    sparsities: Sequence[float],
    confidence: float = 0.95,
) -> Summary | None:
    """The regret of training at one sparsity; None unless some seed has every cell that it needs.

    Seeds are resampled whole, all their trainings together, so that what cells share stays shared;
    mean and maximum are taken anew each time. low and high are percentiles of that bootstrap: of
    all n^n resamples up to n = 5, else of 10,000. sd is its standard deviation. As a maximum over
    noisy differences the regret leans upwards, and it cannot be below 0.
    """
    matched = [cells.get((network, q, q), {}) for q in sparsities]
    moved = [cells.get((network, trained_at, q), {}) for q in sparsities]
    seeds = sorted(set.intersection(*(set(cell) for cell in (*matched, *moved))))
    if not seeds:
        return None
    losses = np.array(
        [[a[seed] - b[seed] for a, b in zip(matched, moved, strict=True)] for seed in seeds]
    )  # (seeds, sparsities)
    n = len(seeds)
    observed = float(losses.mean(0).max())
    if n == 1:
        return Summary(1, observed, np.nan, np.nan, np.nan)
    if n <= 5:
        chosen = np.array(list(itertools.product(range(n), repeat=n)))
    else:
        chosen = np.random.default_rng(0).integers(0, n, (10_000, n))
    values = losses[chosen].mean(1).max(1)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, (tail, 100 - tail))
    return Summary(n, observed, float(values.std(ddof=1)), float(low), float(high))
