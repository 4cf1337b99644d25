"""What the chapter on speed shows: its layers are alike, its counts are right, its words follow."""

import dataclasses
import math
import re

import pytest
import torch
import torch.nn.functional as F
from test_records import a_record

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import benchmark, denominators, operations, records, scaling
from sparseconv_lib.study import report_benchmark as report
from sparseconv_lib.study.denominators import Shape
from sparseconv_lib.study.grid import EXPERIMENTS

SMALL = Shape(2, 3, 4, 8, 3)


@pytest.fixture(scope="module")
def measured():
    """The smallest of everything, measured here."""
    return benchmark.measure(quick=True)


def test_every_layer_has_the_numbers_of_eq_1():
    x, mask, weight = denominators.inputs(SMALL)
    plain, ours, *others = (layer(SMALL, x, mask, weight) for layer in benchmark.LAYERS.values())
    assert torch.equal(plain, F.conv2d(x, weight, padding=1))
    partial = others.pop()
    assert torch.allclose(partial / 9, ours, atol=1e-6)
    for other in others:
        assert torch.allclose(other, ours, atol=1e-6)


def test_ratios_are_of_the_same_round(monkeypatch):
    """A machine that slows down tenfold does not change them."""
    taken = iter([0, 0, *(s for slow in (1, 10, 100) for s in (2 * slow, 3 * slow))])
    clock = [0.0]
    monkeypatch.setattr(benchmark, "_seconds", lambda run: run())
    runs = {"a": lambda: next(taken), "b": lambda: next(taken)}
    told = benchmark.ratios(runs, 3)
    assert told["a"]["time_ratio"] == 1 and told["b"]["time_ratio"] == 1.5
    assert told["b"]["time_ratio_low"] == told["b"]["time_ratio_high"] == 1.5
    assert (told["a"]["seconds"], told["b"]["seconds"]) == (20, 30) and clock == [0.0]


def test_operations_of_a_step_are_those_of_its_convolutions_and_matrices():
    """Counted by hand for one image: forward, and backward twice that but for the first image's
    gradient, which nobody asks for."""
    first = 2 * 28 * 28 * 25 * 6
    rest = 2 * (14 * 14 * 25 * 6 * 16 + 784 * 120 + 120 * 84 + 84 * 10)
    counted, moved = operations.of_step("ConvNet", 8)
    assert counted == 8 * (2 * first + 3 * rest)
    weights = 25 * 6 + 25 * 6 * 16 + 784 * 120 + 120 * 84 + 84 * 10
    assert moved > 4 * weights * 5  # read forward and backward, its gradient made, read, and moved


def test_a_training_is_its_steps():
    one = operations.of_training("ConvNet", batch=64, images=1000, epochs=1)
    assert one["operations"] == 16 * operations.of_step("ConvNet", 64)[0]
    machine = operations.Machine("any", operations=one["operations"] / 2, bytes=one["bytes"] * 10)
    assert operations.floor(one, 3, machine) == pytest.approx(6)  # bound by arithmetic
    machine = dataclasses.replace(machine, operations=math.inf)
    assert operations.floor(one, 3, machine) == pytest.approx(0.3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU its allocator counts")
def test_the_most_memory_is_of_what_lives_at_a_time():
    def run():
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # 8,000 live
        del a
        c = torch.zeros(500)  # 6,000
        return b.sum() + c.sum()

    peak = operations.peak_bytes(run)
    assert 8000 <= peak < 8100


def test_a_layer_takes_no_more_than_the_outputs_it_needs():
    """Beside nn.Conv2d: one output, the gradient before the scale, and some of the image's size."""
    shape = Shape(8, 2, 32, 16, 3)  # whose output is large beside everything else
    rows = {row["layer"]: row["peak_bytes"] for row in benchmark.layers(shape, "cpu", 2)}
    output, image = 8 * 32 * 16 * 16 * 4, 8 * 2 * 16 * 16 * 4
    more = rows["SparseConv2d"] - rows["nn.Conv2d"]
    # Forward, one output: the backward pass holds one that nn.Conv2d has too, and its product.
    assert more <= output + 4 * image
    assert rows["ones, all → all"] > rows["SparseConv2d"]


def test_the_makespan_is_that_of_free_workers():
    assert scaling.makespan([3, 1, 1, 1], 2) == 3
    assert scaling.makespan([1, 1, 3], 2) == 4
    assert scaling.makespan([5, 5, 5], 64) == 5
    assert scaling.makespan([2] * 10, 1) == 20


def test_what_is_not_measured_is_taken_for_its_like(monkeypatch):
    """Of two_epochs' five pages two are measured, on the device in question."""
    pages = list(EXPERIMENTS["two_epochs"].pages())
    found = []
    for page, seconds, device in zip(pages, (10.0, 30.0, 500.0), "aab", strict=False):
        (key,) = page.keys
        record = a_record(key.network, key.sparsity, key.seed)
        record.content["protocol"] = key.protocol
        record.content["provenance"] |= {"seconds": seconds, "device": device}
        found.append(record)
    (key,) = pages[3].keys  # of several as one: no worker's pace
    as_one = a_record(key.network, key.sparsity, key.seed)
    as_one.content["protocol"] = key.protocol
    as_one.content["provenance"] |= {"seconds": 1.0, "device": "a", "together": 9}
    found.append(as_one)
    monkeypatch.setattr(records, "load", lambda name, **_: found if name == "mnist" else [])
    assert scaling.devices() == ["a", "b"]
    told = scaling.estimate("two_epochs", "a")
    assert [seconds - scaling.START_UP for seconds in told.pages] == [10, 30, 20, 20, 20]
    assert told.measured == 2
    assert scaling.estimate("caltech", "a") is None

    # What is lacking is what stands in no folder, whatever was measured before.
    lacks = {pages[1], pages[4]}
    monkeypatch.setattr(scaling, "missing_keys", lambda page: page.keys if page in lacks else [])
    hence = 30 + 20 + 2 * scaling.START_UP
    assert scaling.lack("two_epochs", "a") == scaling.Lack(2, 5, 5, 2, hence)
    assert scaling.lack("two_epochs", "c") == scaling.Lack(2, 5, 5, 0, None)
    lacks.clear()
    assert scaling.lack("two_epochs", "c") == scaling.Lack(0, 5, 5, 0, 0.0)

    table = report.scaling_table()
    assert "two_epochs" in table and "caltech" not in table and "mnist" not in table


def test_what_was_measured_is_whole(measured):
    assert {row["layer"] for row in measured["layers"]} == set(benchmark.LAYERS)
    assert [row["network"] for row in measured["steps"]] == list(NETWORKS)
    few, many = benchmark.SOURCE_BATCH, benchmark.DIGITS.batch_size
    together = [(row["batch"], row["together"]) for row in measured["together"]]
    assert together == [(many, 1), (many, 2), (few, 1), (few, 2)]
    assert len(measured["feeding"]) == 2
    paces = dict(zip(together, (3.0, 6.0, 10.0, 4.0), strict=True))
    invented = [
        {"batch": batch, "together": number, "steps_a_second": pace}
        for (batch, number), pace in paces.items()
    ]
    assert report.together_in_words({**measured, "together": invented}).startswith(
        "2 trainings of SparseConvNet as one make, all counted, 2.0 times (in batches of 64) and "
        "0.4 times (in batches of 4) as many steps a second as one alone. ("
    )
    if benchmark.can_compile(measured["kind"]):
        assert [row["layer"] for row in measured["blocks"]] == ["nn.Conv2d", "SparseConv2d"]
    for table in (
        report.layers_table,
        *([report.blocks_table] if measured["blocks"] else []),
        report.steps_table,
        report.together_table,
        report.feeding_table,
        report.operations_table,
    ):
        html = table(measured, "Now")
        assert "Now: " in html and "<table" in html and "nan" not in html


def test_a_block_is_its_layers():
    """On whole images, and with k² times the weights, both blocks are the same."""
    plain, sparse = benchmark.Block(SMALL, False), benchmark.Block(SMALL, True)
    sparse.load_state_dict(plain.state_dict())
    sparse.convolution.scale = "none"
    x, mask, _ = denominators.inputs(SMALL, "cpu")
    assert torch.allclose(plain(x, mask), sparse(x, torch.ones_like(mask)), atol=1e-6)
    assert not torch.allclose(plain(x, mask), sparse(x, mask), atol=1e-3)


def test_without_a_compiler_no_block_is_timed_and_the_page_says_so(monkeypatch, measured):
    monkeypatch.setattr(benchmark.shutil, "which", lambda name: None)
    assert benchmark.blocks(SMALL, "cpu", 2) == []
    assert "had no compiler" in report.blocks_table({**measured, "blocks": []}, "Now")
    assert report.blocks_in_words({**measured, "blocks": []}) == ""
    shape = measured["layers"][0]["shape"]
    alone = {"layer": "SparseConv2d", "shape": shape, "time_ratio_high": 1.3}
    row = {"layer": "SparseConv2d", "shape": shape, "time_ratio": 1.234, "time_ratio_low": 1.2}
    both = {**measured, "layers": [alone], "blocks": [row]}
    told = report.blocks_in_words(both)
    assert f"1.23 ({shape}). (" in told and "dearer" not in told
    alone["time_ratio_high"] = 1.19
    assert f"1.23 ({shape}). In {shape} that ratio is above the layer's own, not compiled" in (
        report.blocks_in_words(both)
    )
    without = {name: value for name, value in measured.items() if name != "blocks"}
    assert "not measured yet" in report.blocks_table(without, "Now")


def with_ratios(measured, *ratios):
    """The measurement with these 10th percentiles, medians and 90th of the two sparse networks."""
    steps = [dict(row) for row in measured["steps"]]
    for row, (low, middle, high) in zip(steps[2:], ratios, strict=True):
        row |= {"time_ratio": middle, "time_ratio_low": low, "time_ratio_high": high}
    return {**measured, "steps": steps}


def test_the_sentence_on_steps_follows_the_goal(measured):
    within, over, across = (1.01, 1.02, 1.09), (1.11, 1.2, 1.3), (0.9, 1.15, 1.4)
    case = measured["steps"][0]["case"].split(",")[0]
    sparse, kept = f"SparseConvNet ({case})", f"SparseConvNet-kept ({case})"
    goal = "Our goal was 1.1 times at most: "
    told = report.steps_in_words(with_ratios(measured, within, within))
    assert "takes 1.02 to 1.02 times" in told
    assert f"{goal}{sparse} and {kept} meet it in nine of ten rounds or more. (" in told
    told = report.steps_in_words(with_ratios(measured, within, over))
    assert f"{goal}{sparse} meets it in nine of ten rounds or more; {kept} misses it in " in told
    told = report.steps_in_words(with_ratios(measured, across, over))
    assert "takes 1.15 to 1.20 times" in told
    assert f"{goal}{sparse} lies on both sides of it, as rounds scatter; {kept} misses" in told


def test_the_sentence_on_layers_names_each_with_both_numbers(measured):
    told = report.layers_in_words(measured)
    ours, frozen = (
        row["time_ratio"]
        for row in measured["layers"]
        if row["layer"] in ("SparseConv2d", report.FROZEN)
    )
    assert f"{ours:.2f} against {frozen:.2f} ({denominators.SHAPES[0]})" in told


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ((0.9, 1.1, 100), (1.2, 1.4, 200), "ours is faster in 1 of 1 layers; of memory ours takes "
         "less in 1, by up to 50 %."),
        ((1.5, 1.6, 300), (1.2, 1.4, 200), "ours is slower in 1 of 1 layers; of memory ours takes "
         "no less."),
        ((1.1, 1.3, 150), (1.2, 1.4, 200), "in none of 1 layers are the two told apart; of memory "
         "ours takes less in 1, by up to 25 %."),
    ],
)  # fmt: skip
def test_two_designs_are_told_apart_only_by_more_than_rounds_scatter(ours, theirs, told):
    rows = [
        {"shape": "6 → 16", "layer": layer, "time_ratio_low": low, "time_ratio_high": high,
         "peak_bytes": memory}
        for layer, (low, high, memory) in ((report.OURS, ours), (report.FROZEN, theirs))
    ]  # fmt: skip
    said = report._told_apart({"layers": rows}, report.FROZEN)
    assert said == f"By their 10th and 90th percentiles, {told}"


def test_the_floor_of_table_3(measured):
    told = report.floor_in_words(measured)
    # 120 trainings at 7.3 s and 240 at 8.2 s.
    assert "360 trainings" in told and "47 minutes" in told
    counted = {row["network"]: row for row in measured["operations"]}
    least = sum(operations.floor(counted[n], 120) for n in report.THREE_NETWORKS)
    assert re.search(rf"H200 that is never idle {least:.0f} s, run eagerly, bound by memory", told)


def test_missing_devices_are_told():
    assert "a CPU or a GPU" in report.missing_in_words({"cpu": None, "cuda": None})
    assert "on a GPU yet: `sparseconv measure`" in report.missing_in_words(
        {"cpu": {}, "cuda": None}
    )
    assert report.missing_in_words({"cpu": {}, "cuda": {}}) == ""


def test_the_committed_measurement_is_of_todays_layers_and_networks():
    measured = benchmark.load("cpu")
    assert measured is not None and measured["kind"] == "cpu" and measured["rounds"] >= 20
    shapes = [str(shape) for shape in denominators.SHAPES]
    assert [(row["shape"], row["layer"]) for row in measured["layers"]] == [
        (shape, layer) for shape in shapes for layer in benchmark.LAYERS
    ]
    assert {row["network"] for row in measured["steps"]} == set(NETWORKS)
    assert {row["batch"] for row in measured["together"]} == {4, 64}
    assert len({row["case"] for row in measured["steps"]}) == len(benchmark.cases("cpu"))
    for row in measured["operations"]:
        again = operations.of_training(row["network"])
        assert row["operations"] == again["operations"]


def ran(network, seed, seconds, device="a GPU", together=1):
    record = a_record(network, 0.5, seed)
    source = record.content["provenance"] | {"device": device, "seconds": seconds}
    if device == "a GPU":
        source["versions"] = {**source["versions"], "cuda": "13.0"}
    record.content["provenance"] = source | ({"together": together} if together > 1 else {})
    record.content["knobs"] = {**record.content["knobs"], "batch_size": 64}  # as the source's
    return record


def test_paces_are_of_each_device_by_the_median(monkeypatch):
    found = [ran("ConvNet", seed, seconds, together=3) for seed, seconds in enumerate((1, 2, 9))]
    found.append(ran("ConvNet", 3, 100, "a CPU"))
    found += [ran("ConvNet", seed, 40, "a CPU", together=9) for seed in range(4, 8)]
    monkeypatch.setattr(
        records, "load", lambda experiment, *_: found if experiment == "mnist" else []
    )
    content = found[0].content
    images = sum(c["epochs"] for c in content["candidates"]) * content["images"]["train"]
    slow, stacked, fast = report.paces()
    assert (slow.device, slow.trainings, slow.together) == ("a CPU", 1, 1)
    assert (stacked.device, stacked.trainings, stacked.together) == ("a CPU", 4, 9)
    assert (fast.device, fast.trainings, fast.together) == ("a GPU", 3, 3)
    assert fast.images_a_second == images / 2 and slow.images_a_second == images / 100
    assert fast.seconds == 12
    told = report.paces_in_words()
    # The source's notebook printed 7.3 s for two epochs of ConvNet, 8.2 s for its sparse network.
    sparse = [report.printed_seconds(name) for name in ("SparseConvNet", "SparseConvNet-kept")]
    assert (report.printed_seconds("ConvNet+mask"), *sparse) == (7.3, 8.2, 8.2)
    times = images / 2 / (2 * 60_000 / 7.3)
    assert f" and {times:.0f} times as many as in the source's notebook" in told
    assert "a GPU 3 trainings" in told and "50 (a CPU) times as many as one thread" in told
    assert "Table 3" not in told  # of which the other two networks have not run there
    found.append(ran("SparseConvNet", 0, 4, together=3))
    found.append(ran("SparseConvNet-kept", 0, 8, together=3))
    # A processor's trainings in other batches are left out.
    found.append(ran("ConvNet", 9, 1, "another CPU"))
    found[-1].content["knobs"] = {**found[-1].content["knobs"], "batch_size": 4}
    told = report.paces_in_words()
    table_3 = 120 * 2 * 60_000 * (2 + 4 + 8) / images
    assert f"would take {table_3:.0f} s in such batches" in told
    assert "another CPU" not in told


def test_without_stacks_no_pace_is_told(monkeypatch):
    monkeypatch.setattr(records, "load", lambda *_: [])
    assert "No trainings have been run as one" in report.paces_in_words()
