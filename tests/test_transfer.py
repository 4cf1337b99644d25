"""Train x test matrices: the regret against its definition, in loops."""

import numpy as np
import pytest
from scipy import stats

from sparseconv_lib.study import data, skill, transfer
from sparseconv_lib.study.records import Key, Record

SPARSITIES = (0.0, 0.5, 0.9)


def matrix(seeds, network="ConvNet", generator=None):
    generator = generator or np.random.default_rng(0)
    return {
        (network, p, q): {seed: float(generator.uniform(0.5, 1)) for seed in range(seeds)}
        for p in SPARSITIES
        for q in SPARSITIES
    }


def by_hand(cells, p, seeds):
    losses = []
    for q in SPARSITIES:
        own = sum(cells["ConvNet", q, q][s] for s in seeds) / len(seeds)
        moved = sum(cells["ConvNet", p, q][s] for s in seeds) / len(seeds)
        losses.append(own - moved)
    return max(losses)


@pytest.mark.parametrize("seeds", [1, 2, 4])
@pytest.mark.parametrize("p", SPARSITIES)
def test_regret_is_the_most_that_a_training_sparsity_costs(seeds, p):
    cells = matrix(seeds)
    got = transfer.regret(cells, "ConvNet", p, SPARSITIES)
    assert got.n == seeds
    assert got.mean == pytest.approx(by_hand(cells, p, range(seeds)))
    assert got.mean >= 0  # it costs nothing where it was trained


def test_its_interval_is_that_of_the_largest_of_paired_differences():
    cells, seeds = matrix(4), range(4)
    got = transfer.regret(cells, "ConvNet", 0.5, SPARSITIES, confidence=0.9)
    losses = np.array([[cells["ConvNet", q, q][s] - cells["ConvNet", 0.5, q][s] for s in seeds]
                       for q in SPARSITIES])  # fmt: skip
    error = losses.std(1, ddof=1) / 2
    assert got.low == pytest.approx(max(losses.mean(1) - stats.t.isf(0.05 / 3, 3) * error))
    assert got.high == pytest.approx(max(losses.mean(1) + stats.t.isf(0.05, 3) * error))
    assert got.low >= 0  # since at q = p nothing is lost


def test_a_seed_counts_only_where_it_has_every_cell():
    cells = matrix(3)
    whole = transfer.regret(cells, "ConvNet", 0.5, SPARSITIES)
    del cells["ConvNet", 0.9, 0.9][2]
    assert whole.n == 3
    fewer = transfer.regret(cells, "ConvNet", 0.5, SPARSITIES)
    assert fewer.n == 2 and fewer.mean == pytest.approx(by_hand(cells, 0.5, (0, 1)))
    del cells["ConvNet", 0.9, 0.9]
    assert transfer.regret(cells, "ConvNet", 0.5, SPARSITIES) is None
    assert transfer.regret(cells, "SparseConvNet", 0.5, SPARSITIES) is None


def test_the_worst_is_sought_where_every_network_was_trained():
    cells = matrix(3) | matrix(3, "SparseConvNet")
    assert transfer.shared_diagonal(cells) == [0, 0.5, 0.9]
    del cells["SparseConvNet", 0.9, 0.9][1]  # fewer seeds than the others: not at the cost of n
    assert transfer.shared_diagonal(cells) == [0, 0.5]
    del cells["ConvNet", 0.5, 0.9], cells["ConvNet", 0.0, 0.5]  # off the diagonal
    assert transfer.shared_diagonal(cells) == [0, 0.5]
    del cells["ConvNet", 0.0, 0.0]  # fewer seeds than a regret over one sparsity, which is none
    assert transfer.shared_diagonal(cells) == [0.5, 0.9]
    del cells["ConvNet", 0.9, 0.9]
    assert transfer.shared_diagonal(cells) == [0.5]
    assert transfer.shared_diagonal({}) == []
    assert transfer.shared_diagonal({("ConvNet", 0.5, 0.9): {0: 0.5}}) == []


def test_one_more_seed_at_one_sparsity_takes_no_regret_away():
    cells = matrix(2)
    cells["ConvNet", 0.5, 0.5][2] = 0.5
    assert transfer.shared_diagonal(cells) == list(SPARSITIES)


def test_over_fewer_test_sparsities_the_regret_is_that_of_their_worst():
    cells, seeds = matrix(4), range(4)
    gap = sum(cells["ConvNet", 0.9, 0.9][s] - cells["ConvNet", 0.5, 0.9][s] for s in seeds) / 4
    fewer = transfer.regret(cells, "ConvNet", 0.5, (0.5, 0.9))
    assert fewer.mean == pytest.approx(max(0.0, gap))


def test_one_seed_has_no_interval():
    got = transfer.regret(matrix(1), "ConvNet", 0.0, SPARSITIES)
    assert np.isnan([got.sd, got.low, got.high]).all()


def test_a_network_that_is_invariant_has_no_regret():
    cells = {
        ("ConvNet", p, q): dict.fromkeys(range(3), 0.9 - q / 10)
        for p in SPARSITIES
        for q in SPARSITIES
    }
    got = transfer.regret(cells, "ConvNet", 0.5, SPARSITIES)
    assert (got.mean, got.low, got.high) == (0, 0, 0)


# Records stand for themselves here: of their content, what is read.


def record(network, p, seed, experiment="invariance", protocol="fair", **content):
    knobs = {"evaluation": "running"}
    fields = dict(zip(("experiment", "protocol", "network", "sparsity", "seed"),
                      (experiment, protocol, network, p, seed), strict=True))  # fmt: skip
    found = Record({**fields, "knobs": knobs, **content})
    assert found.key == Key(experiment, protocol, network, p, seed)
    return found


def test_cells_are_read_with_the_statistics_asked_for():
    found = [
        record("ConvNet", 0.5, seed, accuracy={"0": 0.9 + seed / 100, "0.5": 0.8},
               other_statistics={"reestimated": {"0": 0.95, "0.5": 0.85}})
        for seed in range(2)
    ]  # fmt: skip
    running, again = (transfer.cells_of(found, kind) for kind in ("running", "reestimated"))
    assert running["ConvNet", 0.5, 0.0] == {0: 0.9, 1: 0.91}
    assert again["ConvNet", 0.5, 0.5] == {0: 0.85, 1: 0.85}


def test_retained_skill_is_what_the_rule_says():
    decisions = [record("ConvNet", p, seed, accuracy={f"{p:g}": accuracy})
                 for seed in range(2)
                 for p, accuracy in ((0.0, 0.99), (0.5, 0.95 + seed / 50))]  # fmt: skip
    decisions.append(record("SparseConvNet", 0.5, 0, accuracy={"0.5": 0.1}))
    values = [record("ConvNet", p, seed, "depth", "digits", error={f"{p:g}": error})
              for seed in range(2) for p, error in ((0.0, 0.02), (0.5, 0.05))]  # fmt: skip
    values += [record("constant", 0.95, seed, "depth", "digits", error={"0.95": 0.1})
               for seed in range(1)]  # fmt: skip
    cells = skill.retained(decisions, values)
    expected = {s: (0.95 + s / 50 - 0.1135) / (0.99 - 0.1135) for s in range(2)}
    assert cells[skill.DECISION, 0.5, 0.5] == pytest.approx(expected)
    # Without the constant's record a seed has no skill.
    assert cells[skill.VALUES, 0.5, 0.5] == pytest.approx({0: (0.1 - 0.05) / (0.1 - 0.02)})
    assert set(cells) == {(skill.DECISION, 0.5, 0.5), (skill.VALUES, 0.5, 0.5)}
    assert skill.retained([], []) == {}


def test_the_best_constant_decision_is_the_most_frequent_digit():
    labels = data.load("mnist").test_labels
    assert labels.bincount().max().item() / len(labels) == skill.MOST_FREQUENT
