"""What a training step on photographs costs in each order of channels and precision."""

import json

import pytest
import torch
from test_report_caltech import a_caltech_record, cells

from sparseconv_lib.networks import TABLE_2, ClassificationNet, seed_weights
from sparseconv_lib.study import layouts, records, report_caltech


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


def a_measurement(*variants):
    """Invented, with a ratio of its own in every row."""
    rows = [
        {
            "network": network,
            "variant": variant,
            "images_a_second": 100 * i + 10.04,
            "time_ratio": i + 1.5,
            "time_ratio_low": i + 1.25,
            "time_ratio_high": i + 1.75,
        }
        for i, (network, variant) in enumerate((n, v) for n in layouts.NETWORKS for v in variants)
    ]
    return {
        "device": "an invented processor",
        "threads": 1,
        "versions": {"torch": "2.13.0"},
        "rounds": 5,
        "batch": 64,
        "rows": rows,
    }


OLD = [variant for variant in layouts.VARIANTS if variant != "bfloat16"]


@pytest.mark.parametrize("variants", [list(layouts.VARIANTS), OLD], ids=["all", "as first made"])
def test_a_measurement_is_shown_as_it_is(variants, monkeypatch):
    measured = a_measurement(*variants)
    monkeypatch.setattr(layouts, "load", lambda: measured)
    shown = [tuple(row.values()) for row in cells(report_caltech.layouts_table())]
    assert shown == [
        (
            row["network"],
            row["variant"],
            f"{100 * i + 10}.0",
            f"{i + 1}.50",
            f"{i + 1}.25 to {i + 1}.75",
        )
        for i, row in enumerate(measured["rows"])
    ]
    told = report_caltech.layouts_in_words()
    for i, variant in enumerate(variants[1:], 1):
        # From the lowest of the first network to the highest of the second.
        assert f"in {variant}, {i + 1}.25 to {i + len(variants) + 1}.75" in told
    assert ("Not measured there: bfloat16." in told) == (variants == OLD)


def test_bfloat16_is_told_as_trainings_do_it(monkeypatch):
    """With the channels first, and of unknown accuracy until a record has it."""
    asked = []
    monkeypatch.setattr(records, "load", lambda *_: asked)
    assert "on record: none, so that" in report_caltech.layouts_in_words()
    half = a_caltech_record("ConvNet", 0.0)
    half.content["knobs"]["precision"] = "bfloat16"
    asked += [half, a_caltech_record("ConvNet", 0.5)]
    assert "on record: 1." in report_caltech.layouts_in_words()


def test_the_committed_measurement_is_shown():
    measured = layouts.load()
    assert measured is not None
    assert {row["network"] for row in measured["rows"]} == set(layouts.NETWORKS)
    assert set(OLD) <= {row["variant"] for row in measured["rows"]} <= set(layouts.VARIANTS)
    shown = cells(report_caltech.layouts_table())
    assert [(row["network"], row["step"]) for row in shown] == [
        (row["network"], row["variant"]) for row in measured["rows"]
    ]
    assert [list(row.values())[3] for row in shown] == [
        f"{row['time_ratio']:.2f}" for row in measured["rows"]
    ]
    assert measured["device"] in report_caltech.layouts_in_words()
    assert "+" not in measured["commit"]  # of a commit that stands
