"""Protocols and parameters: what no run can use stops it with one line that names the remedy."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import caltech, records
from sparseconv_lib.study.protocol import (
    PRESETS,
    TRAINING_IMAGES,
    ParameterError,
    Protocol,
    check_networks,
    check_parameter_names,
    check_sparsity,
    full_name,
    preset,
    whole_number,
)

NAN, INF = math.nan, math.inf


def refused(call, *named):
    """Calls, expecting a ParameterError of one line that has all of `named` in it."""
    with pytest.raises(ParameterError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 450
    for words in named:
        assert words in message
    # Jupyter shows the line alone, without the stack of calls.
    assert caught.value._render_traceback_() == [f"ParameterError: {message}"]
    assert isinstance(caught.value, ValueError)


BAD_SPARSITIES = [
    1.0,
    1,
    -0.1,
    1.5,
    "abc",
    "0.8",
    NAN,
    INF,
    -INF,
    True,
    False,
    None,
    [0.5],
    0.5j,
]


@pytest.mark.parametrize("value", [*BAD_SPARSITIES, 10**400], ids=lambda p: repr(p)[:9])
def test_bad_sparsities(value):
    remedy = "it must be a number from 0 (nothing missing) to below 1"
    told = f"sparsity is {value!r:.40}; "
    refused(lambda: check_sparsity(value), told, remedy)
    refused(lambda: check_sparsity(value, "test sparsity"), f"test {told}", remedy)


GOOD_SPARSITIES = [0, 0.0, 0.95, np.float64(0.5), np.float32(0.5), np.int64(0), Fraction(1, 2)]


@pytest.mark.parametrize("value", GOOD_SPARSITIES, ids=repr)
def test_good_sparsities_become_floats(value):
    sparsity = check_sparsity(value)
    assert type(sparsity) is float and sparsity == value
    assert str(check_sparsity(-0.0)) == "0.0"  # lest one sparsity has two names


@pytest.mark.parametrize("value", [-1, 1.5, 2.0, "3", None, True, NAN, [1]], ids=repr)
def test_bad_seeds(value):
    remedy = f"seed is {value!r}; it must be a whole number, at least 0"
    refused(lambda: whole_number("seed", value, 0), remedy)


def test_whole_numbers_start_at_the_least():
    assert type(whole_number("seed", np.int64(0), 0)) is int
    assert whole_number("seeds", 1, 1) == 1
    refused(
        lambda: whole_number("seeds", 0, 1), "seeds is 0; it must be a whole number, at least 1"
    )


ALL_NAMES = ", ".join(NETWORKS)


@pytest.mark.parametrize(
    "value, named",
    [
        ("ResNet18", ["network 'ResNet18' does not exist; known: " + ALL_NAMES]),
        (["ConvNet", "convnet"], ["network 'convnet' does not exist; known: " + ALL_NAMES]),
        ("ConvNet,", ["network '' does not exist", ALL_NAMES]),
        ("", ["network '' does not exist", ALL_NAMES]),
        ([None], ["network None does not exist", ALL_NAMES]),
        (["ConvNet", "ConvNet"], ["networks is ", "each only once"]),
        ("ConvNet,SparseConvNet, ConvNet", ["networks is ", "each only once"]),
        ([], ["networks is ", "name at least one"]),
        (None, ["networks is None; give one or more of " + ALL_NAMES]),
        (5, ["networks is 5; give one or more of " + ALL_NAMES]),
    ],
    ids=repr,
)
def test_bad_networks(value, named):
    refused(lambda: check_networks(value), *named)


def test_good_networks():
    assert check_networks("ConvNet") == ("ConvNet",)
    assert check_networks(" SparseConvNet ,ConvNet+mask") == ("SparseConvNet", "ConvNet+mask")
    assert check_networks(list(NETWORKS)) == NETWORKS == check_networks(",".join(NETWORKS))


@pytest.mark.parametrize("name", ["as written", "", None, 3, ["fair"]], ids=repr)
def test_bad_presets(name):
    refused(lambda: preset(name), f"protocol is {name!r}; choose one of as_written, as_coded, fair")


@pytest.mark.parametrize(
    "name, changes, full",
    [
        ("as_written", {}, "as_written"),
        ("as_written,batch_size = 64", {"batch_size": 64}, "as_written, batch_size=64"),
        (
            "as_written, batch_norm=false, epochs=10",  # knobs in their own order
            {"epochs": 10, "batch_norm": False},
            "as_written, epochs=10, batch_norm=false",
        ),
        ("as_coded, batch_size=64, fill=0.5", {"fill": 0.5}, "as_coded, fill=0.5"),
        (
            "fair, learning_rates=1e-2 0.1",
            {"learning_rates": (0.01, 0.1)},
            "fair, learning_rates=0.01 0.1",
        ),
        ("as_written, scale=none", {"scale": "none"}, "as_written, scale=none"),
    ],
)
def test_a_preset_with_changes(name, changes, full):
    base = preset(name.partition(",")[0])
    assert preset(name) == dataclasses.replace(base, **changes)
    assert full_name(name) == full_name(full) == full
    assert preset(full) == preset(name)


@pytest.mark.parametrize(
    "name, named",
    [
        ("as_written, epoch=3", ["'epoch=3' is no change of one knob", "epochs"]),
        ("as_written, epochs", ["'epochs' is no change of one knob"]),
        ("as_written, epochs=2, epochs=3", ["'epochs=3' is no change"]),
        ("as_written,", ["'' is no change"]),
        ("as_written, epochs=2.5", ["epochs is '2.5'; write a whole number"]),
        ("as_written, epochs=0", ["epochs is 0; it must be"]),
        ("as_written, batch_norm=0", ["batch_norm is '0'; write true or false"]),
        ("as_written, momentum=high", ["momentum is 'high'; write a number"]),
        ("as_written, learning_rates=0.1 x", ["learning_rates is '0.1 x'; write a number"]),
        ("as_written, learning_rates=", ["learning_rates is ()"]),
        ("as_written, scale=k", ["scale is 'k'; choose one of 'mean', 'partial', 'none'"]),
        ("epochs=2", ["choose one of as_written, as_coded, fair"]),
    ],
)
def test_bad_changes(name, named):
    refused(lambda: preset(name), *named)
    refused(lambda: full_name(name), *named)


@pytest.mark.parametrize(
    "knobs, named",
    [
        (dict(dataset="cifar"), "dataset is 'cifar'; choose one of 'mnist'"),
        (dict(optimiser="SGD"), "optimiser is 'SGD'; choose one of 'sgd', 'adam'"),
        (dict(block_order="paper"), "block_order is 'paper'; choose one of 'text', 'code'"),
        (dict(scale=None), "scale is None; choose one of 'mean', 'partial', 'none'"),
        (dict(evaluation=[]), "evaluation is []; choose one of 'running', 'batch'"),
        (dict(mask_kind="rows"), "mask_kind is 'rows'; choose one of 'bernoulli', 'block', 'scan_"),
        (dict(masks="never"), "masks is 'never'; choose one of 'image', 'epoch'"),
        (dict(epochs=0), "epochs is 0; it must be a whole number, at least 1"),
        (dict(epochs=2.0), "epochs is 2.0; it must be a whole number, at least 1"),
        (dict(batch_size=0), "batch_size is 0; it must be a whole number, at least 1"),
        (dict(batch_size=True), "batch_size is True; it must be a whole number, at least 1"),
        (dict(held_out=-1), "held_out is -1; it must be a whole number, at least 0"),
        (dict(patience="3"), "patience is '3'; it must be a whole number, at least 0"),
        (dict(learning_rates=()), "learning_rates is (); give one or more positive numbers"),
        (dict(learning_rates=(0.0,)), "learning_rates is (0.0,); give one or more positive"),
        (dict(learning_rates=(0.1, -1.0), held_out=9), "give one or more positive numbers"),
        (dict(learning_rates=(NAN,)), "give one or more positive numbers"),
        (dict(learning_rates=(INF,)), "give one or more positive numbers"),
        (dict(learning_rates=0.1), "give one or more positive numbers"),
        (dict(learning_rates=("a",)), "give one or more positive numbers"),
        (dict(learning_rates=(0.1, 0.2)), "needs held-out images: set held_out"),
        (dict(patience=1), "needs held-out images: set held_out"),
        (dict(drop_after=2), "drop_after is 2, but training ends after 2 epochs: choose fewer, or"),
        (dict(epochs=9, drop_after=12), "choose fewer, or 0 to never drop the rate"),
        (dict(held_out=60_000), "held_out is 60,000, but mnist has 60,000 training images: hold"),
        (
            dict(dataset="caltech101", held_out=10_000),
            "held_out is 10,000, but caltech101 has 6,941 training images: hold out fewer",
        ),
        (dict(momentum=NAN), "momentum is nan"),
        (dict(momentum="0.9"), "momentum is '0.9'"),
        (dict(momentum=-0.1), "momentum is -0.1"),
        (dict(fill=NAN), "fill is nan"),
        (dict(fill="grey"), "fill is 'grey'"),
        (dict(batch_norm="no"), "batch_norm is 'no'"),
    ],
    ids=repr,
)
def test_bad_protocols(knobs, named):
    refused(lambda: Protocol(**knobs), named)


def test_the_last_values_that_mean_something():
    assert Protocol(epochs=2, drop_after=1).drop_after == 1
    assert Protocol(held_out=59_999).held_out == 59_999


def test_the_numbers_of_training_images_are_those_of_the_data_sets():
    parts = [entry.part for entry in caltech.read_manifest()]
    trained = records.find(records.Key("mnist", "as_written", "ConvNet", 0.8, 0))
    assert trained.content["images"]["train"] == TRAINING_IMAGES["mnist"]
    assert TRAINING_IMAGES["caltech101"] == parts.count("train")
    datasets = {each.dataset for presets in PRESETS.values() for each in presets.values()}
    assert set(TRAINING_IMAGES) == datasets


def test_every_knob_has_a_meaning_for_the_page_of_deviations():
    for knob in dataclasses.fields(Protocol):
        assert len(knob.metadata["meaning"]) > 5


def test_protocols_are_frozen_values():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Protocol().epochs = 3
    assert Protocol() == preset("as_written") != preset("as_coded")
    # Those of "invariance" are MNIST's and Caltech-101's own.
    different = [
        preset
        for task, presets in PRESETS.items()
        if task != "invariance"
        for preset in presets.values()
    ]
    assert len({*different, Protocol()}) == len(different)


def test_the_presets_hold_what_the_source_did():
    # facts.md, section 1; the text names neither batch size nor learning rate.
    written = dict(
        dataset="mnist",
        architecture="cnn",
        objective="classify",
        split="standard",
        epochs=2,
        batch_size=4,
        optimiser="sgd",
        learning_rates=(1e-3,),
        trial_epochs=0,
        drop_after=0,
        momentum=0.9,
        block_order="text",
        batch_norm=True,
        second_norm=True,
        skip="strided",
        mask_at_sum="union",
        train_blocks=True,
        scale="mean",
        sparse_bias="default",
        evaluation="running",
        mask_kind="bernoulli",
        mixed_sparsity=False,
        masks="image",
        compounding=False,
        scaling="unit",
        invert=False,
        side=0,
        fill=0.0,
        fill_from="value",
        rescale=False,
        held_out=0,
        patience=0,
        precision="float32",
    )
    # Its ACC notebook: batch 64, BatchNorm behind the pooling, biases from 0, and never eval().
    coded = written | dict(
        batch_size=64, block_order="code", sparse_bias="zero", evaluation="batch"
    )
    assert list(PRESETS["mnist"]) == ["as_written", "as_coded", "fair"]
    assert dataclasses.asdict(preset("as_written")) == written
    assert dataclasses.asdict(preset("as_coded")) == coded
    assert len(preset("fair", "caltech101").learning_rates) > 1
    for task in ("mnist", "caltech101"):
        fair = preset("fair", task)
        assert fair.held_out > 0 and fair.patience > 0
        assert fair.epochs > 10 and fair.evaluation == "running" and fair.masks == "epoch"


def test_the_presets_of_caltech_hold_what_the_source_did():
    # Section 3.4.2, and facts.md, section 1; the text names no batch size.
    written = dataclasses.asdict(Protocol()) | dict(
        dataset="caltech101", epochs=10, batch_size=64, optimiser="adam", drop_after=5
    )
    assert dataclasses.asdict(preset("as_written", "caltech101")) == written
    # Its notebook masks one list of images over and over, and draws an unstratified split.
    coded = dict(split="by_seed", block_order="code", sparse_bias="zero", compounding=True)
    assert dataclasses.asdict(preset("as_coded", "caltech101")) == written | coded
    alone = dict(compounding=True)
    assert dataclasses.asdict(preset("compounding", "caltech101")) == written | alone


def test_the_presets_of_resnet18_hold_what_the_source_did():
    # Section 3.4.1 names the skip alone; the rest is its notebooks', dense and sparse.
    written = dataclasses.asdict(preset("as_written", "caltech101")) | dict(
        architecture="resnet18", epochs=50, drop_after=25, scaling="imagenet", skip="pooled"
    )
    assert dataclasses.asdict(preset("as_written", "resnet18")) == written
    coded = dict(
        split="by_seed",
        drop_after=0,
        second_norm=False,
        train_blocks=False,
        evaluation="blocks",
        sparse_bias="zero",
    )
    assert dataclasses.asdict(preset("as_coded", "resnet18")) == written | coded
    small = dataclasses.asdict(preset("reduced", "resnet18"))
    changed = {knob for knob in written if small[knob] != written[knob]}
    assert changed == {"side", "epochs", "drop_after"}


@pytest.mark.parametrize(
    ("name", "task", "told"),
    [
        ("as_written, skip=pooled", "mnist", "architecture is 'cnn', which has no such choice"),
        ("as_written, side=64", "caltech101", "choose architecture 'resnet18'"),
        ("as_written, evaluation=blocks", "caltech101", "only ResNet18 has residual blocks"),
        ("as_written, batch_norm=false", "resnet18", "choose architecture 'cnn'"),
        ("reduced, side=100", "resnet18", "give a multiple of 32"),
        ("reduced, side=32, batch_size=20", "resnet18", "BatchNorm needs two"),
        ("reduced, side=32, batch_size=1", "resnet18", "choose another batch_size"),
        ("as_written, skip=none", "resnet18", "choose one of 'strided', 'pooled'"),
        ("as_written, mask_at_sum=both", "resnet18", "'union', 'intersection', 'main', 'skip'"),
        ("as_written, architecture=cnn", "resnet18", "is no change of one knob"),
    ],
)
def test_a_knob_that_a_network_does_not_have(name, task, told):
    refused(lambda: preset(name, task), told)


def test_resnet18_takes_photographs():
    refused(lambda: Protocol(architecture="resnet18"), "choose the data set 'caltech101'")


def test_the_knobs_that_are_told_are_those_that_can_be_changed():
    with pytest.raises(ParameterError) as error:
        preset("as_written, a=1")
    assert "block_order" in str(error.value) and "train_blocks" not in str(error.value)
    with pytest.raises(ParameterError) as error:
        preset("as_written, a=1", "resnet18")
    assert "block_order" not in str(error.value) and "train_blocks" in str(error.value)


def test_a_protocol_is_one_of_a_task():
    refused(lambda: preset("compounding"), "choose one of as_written, as_coded, fair")
    name = "as_written, scaling=imagenet"
    assert full_name(name, "caltech101") == name
    assert full_name("as_written, drop_after=5", "caltech101") == "as_written"
    refused(lambda: preset(name), "one channel: choose 'unit'")
    refused(lambda: preset("as_written, dataset=caltech101"), "is no change of one knob")
    refused(lambda: preset("as_written, a=1"), "knobs: split, epochs")


def test_a_parameter_that_the_notebook_does_not_have():
    known, before = ["sparsity", "seeds"], {"preset": len, "__name__": "__main__"}
    now = before | {"sparsity": 0.8, "seeds": 1}
    check_parameter_names(known, before, now)
    jupyters_own = {"_i3": 3, "__": None, "_": None}
    check_parameter_names(known, before, now | jupyters_own)
    refused(
        lambda: check_parameter_names(known, before, now | {"sparcity": 0.5}),
        "unknown parameter sparcity; known: seeds, sparsity",
    )
    refused(
        lambda: check_parameter_names(known, before, {"b": 1, "a": 2, **now}),
        "unknown parameter a, b; known: seeds, sparsity",
    )
    refused(  # a name that the notebook imports, as in `-p preset 5`
        lambda: check_parameter_names(known, before, now | {"preset": 5}),
        "unknown parameter preset; known: seeds, sparsity",
    )
