"""The ways to count: alike in what they give, different in what they cost; what others store."""

import json

import pytest
import torch

from sparseconv_lib import sparse_conv2d
from sparseconv_lib.study import denominators, implementations, report_maths
from sparseconv_lib.study.claims import NOT_REPRODUCED, REPRODUCED
from sparseconv_lib.study.denominators import DESIGNS, SHAPES, Shape

SMALL = Shape(2, 3, 4, 8, 3)


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_is_the_layer(design):
    x, mask, weight = denominators.inputs(SMALL)
    expected, _ = sparse_conv2d(x, mask, weight, padding=1)
    found = denominators.layer(design, SMALL, x, mask, weight)
    assert torch.allclose(found, expected, atol=1e-6)


def test_weights_are_those_of_the_counting_convolution():
    counted = {design: denominators.weights(design, SMALL) for design in DESIGNS}
    assert counted == {"1 → 1": 9, "1 → all": 4 * 9, "all → all": 3 * 4 * 9}


def test_what_is_kept_for_the_backward_pass():
    """The masked image, the weights, and the factor: one channel of it, or one for each output."""
    floats = {
        "x · o": 2 * 3 * 8 * 8, "o": 2 * 8 * 8, "w": 4 * 3 * 9, "factor": 2 * 8 * 8,
    }  # fmt: skip
    one = 4 * sum(floats.values())
    assert denominators.kept_bytes("1 → 1", SMALL) == one
    more = 4 * (2 * 3 * 8 * 8)  # four channels of the factor instead of one
    for design in ("1 → all", "all → all"):
        assert denominators.kept_bytes(design, SMALL) == one + more


def test_a_measurement_is_whole(monkeypatch, tmp_path):
    monkeypatch.setattr(denominators, "SHAPES", (SMALL,))
    measured = denominators.measure(rounds=3)
    assert [row["design"] for row in measured["rows"]] == list(DESIGNS)
    for row in measured["rows"]:
        assert row["time_ratio_low"] <= row["time_ratio"] <= row["time_ratio_high"]
        assert row["seconds"] > 0 and row["kept_bytes"] > 0
    assert measured["rows"][0]["time_ratio"] == 1
    path = tmp_path / "denominators.json"
    assert denominators.load(path) is None
    denominators.save(measured, path)
    assert denominators.load(path) == json.loads(json.dumps(measured))
    assert list(tmp_path.iterdir()) == [path]


def test_the_committed_measurement_is_of_todays_shapes():
    measured = denominators.load()
    assert measured is not None
    told = [(row["shape"], row["design"], row["weights"]) for row in measured["rows"]]
    assert told == [
        (str(shape), design, denominators.weights(design, shape))
        for shape in SHAPES
        for design in DESIGNS
    ]
    assert [row["kept_bytes"] for row in measured["rows"]] == [
        denominators.kept_bytes(design, shape) for shape in SHAPES for design in DESIGNS
    ]
    assert measured["rounds"] >= 20


def test_implementations_store_what_their_shapes_say():
    """For 16 → 16 and k = 5, as counted when they were read and run."""
    counted = {each.repository: each.weights(16, 16, 5) for each in implementations.load()}
    assert counted == {
        "chenxiaoyu523/Sparsity-Invariant-CNNs-pytorch": 6400 + 25,
        "yxgeee/DepthComplete": 6400,
        "NVIDIA/partialconv": 6400,
        "PeterTor/sparse_convolution": 6400 + 400,
        "abdo-eldesokey/nconv": 6400,
        "keyu-tian/SparK": 6400,
    }


def test_the_verdict_on_double_parameters(monkeypatch):
    word, reason = implementations.verdict()
    assert word == NOT_REPRODUCED
    assert report_maths.implementations_in_words().startswith(
        f"The claim, by its rule: {word}. 0 of"
    )
    assert reason.startswith("0 of 6 ") and "1.06 times, in PeterTor" in reason

    def doubled(n):
        full = ("c_out", "c_in", "k", "k")
        return [
            implementations.Implementation(f"a/{i}", "full", full if i < n else (), False)
            for i in range(4)
        ]

    for n, expected in ((2, NOT_REPRODUCED), (3, REPRODUCED)):  # more than half
        monkeypatch.setattr(implementations, "load", lambda n=n: doubled(n))
        assert implementations.verdict()[0] == expected
