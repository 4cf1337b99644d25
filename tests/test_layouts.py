"""What a training step on photographs costs in each order of channels and precision."""

import json

import pytest
import torch

from sparseconv_lib.networks import TABLE_2, ClassificationNet, seed_weights
from sparseconv_lib.study import layouts, report_caltech


def test_a_measurement_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "step", lambda net, batch, last, half: 2.0 if half else 1.0)
    threads = torch.get_num_threads()
    measured = layouts._measure_here(rounds=2, batch=64)
    torch.set_num_threads(threads)
    assert [(row["network"], row["variant"]) for row in measured["rows"]] == [
        (network, variant) for network in layouts.NETWORKS for variant in layouts.VARIANTS
    ]
    for row in measured["rows"]:
        half = row["variant"].startswith("bfloat16")
        assert row["time_ratio"] == row["time_ratio_high"] == (2.0 if half else 1.0)
        assert row["images_a_second"] == (32 if half else 64)
    path = tmp_path / "layouts.json"
    assert layouts.load(path) is None
    layouts.save(measured, path)
    assert layouts.load(path) == json.loads(json.dumps(measured))


@pytest.mark.parametrize("variant", layouts.VARIANTS)
def test_a_step_trains(variant):
    net = ClassificationNet("SparseConvNet-kept", TABLE_2)
    seed_weights(net, 0)
    before = net.convolutions[0].weight.detach().clone()
    assert layouts.step(net, 2, *layouts.VARIANTS[variant]) > 0
    assert not torch.equal(before, net.convolutions[0].weight)
    assert net.convolutions[0].weight.dtype == torch.float32


def test_the_committed_measurement_is_shown():
    measured = layouts.load()
    assert measured is not None
    assert len(measured["rows"]) == len(layouts.NETWORKS) * len(layouts.VARIANTS)
    table = report_caltech.layouts_table()
    for row in measured["rows"]:
        assert f"{row['time_ratio']:.2f}" in table
    assert measured["device"] in report_caltech.layouts_in_words()
    assert "+" not in measured["commit"]  # of a commit that stands
