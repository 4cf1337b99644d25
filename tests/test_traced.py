"""Floats that remember what they were computed from, through arithmetic and statistics."""

import json
import math
import pickle

import numpy as np
import pytest
from test_records import a_record

from sparseconv_lib.study import tables, transfer
from sparseconv_lib.study.statistics import paired_difference, summarise
from sparseconv_lib.study.traced import Traced, behind

A, B = Traced(0.5, ["a"]), Traced(0.25, ["b", "c"])


@pytest.mark.parametrize(
    ("value", "number", "known"),
    [
        (A + B, 0.75, "abc"),
        (A - B, 0.25, "abc"),
        (A * B, 0.125, "abc"),
        (A / B, 2.0, "abc"),
        (1 + A, 1.5, "a"),
        (1 - A, 0.5, "a"),
        (100 * A, 50.0, "a"),
        (1 / A, 2.0, "a"),
        (A + 1, 1.5, "a"),
        (-A, -0.5, "a"),
        (sum([A, B]), 0.75, "abc"),
    ],
)
def test_arithmetic_remembers(value, number, known):
    assert value == number
    assert value.behind == set(known)


def test_it_is_a_float_to_all_others():
    assert f"{A:.2f}" == "0.50" and json.dumps(A) == "0.5" and repr(A) == "0.5"
    assert np.array([A, B]).dtype == np.float64
    assert isinstance(A * np.ones(2), np.ndarray)
    again = pickle.loads(pickle.dumps(B))
    assert again == B and again.behind == B.behind
    assert behind([A, 1.0, 2]) == {"a"} and behind([]) == frozenset()


def test_a_record_hands_out_its_key():
    record = a_record(other_statistics={"batch": {"0.5": 0.75}})
    assert behind([record.accuracy]) == {record.key}
    assert behind(record.with_statistics("running").values()) == {record.key}
    assert behind(record.with_statistics("batch").values()) == {record.key}


def test_summaries_and_paired_differences_remember():
    found = [a_record(network, seed=s) for network in ("ConvNet", "SparseConvNet") for s in (0, 1)]
    found.append(a_record("ConvNet", seed=7))
    cells = tables.accuracies(found)
    plain, sparse = cells["ConvNet", 0.5, 0.5], cells["SparseConvNet", 0.5, 0.5]
    assert behind([summarise(plain.values()).mean]) == {
        record.key for record in found if record.key.network == "ConvNet"
    }
    difference = paired_difference(sparse, plain)
    assert difference.n == 2
    assert behind([difference.mean]) == {r.key for r in found if r.key.seed < 2}
    assert behind([summarise(iter([0.1, 0.2])).mean]) == frozenset()


def test_the_regret_rests_on_its_row_and_the_diagonal():
    found = [
        a_record(sparsity=p, seed=seed, accuracy={"0": 0.9 - p / 9, "0.5": 0.8 + p / 9})
        for p in (0.0, 0.5)
        for seed in (0, 1)
    ]
    cells = transfer.cells_of(found)
    regret = transfer.regret(cells, "ConvNet", 0.5, (0.0, 0.5))
    assert behind([regret.mean]) == {record.key for record in found}
    assert math.isclose(regret.mean, 0.5 / 9)
