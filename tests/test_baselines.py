"""What needs no network, scored by hand; and the files of reconstructions that are left."""

import dataclasses

import numpy as np
import pytest
import torch

from sparseconv_lib.study import baselines, data, reconstructions, training
from sparseconv_lib.study.images import Images, draw_masks
from sparseconv_lib.study.interpolation import nearest
from sparseconv_lib.study.protocol import BASELINES, preset
from sparseconv_lib.study.records import Key


def generated(name, n):
    d = data.synthetic(name, images=n, seed=0)
    return Images(d.train_images, d.train_labels), Images(d.test_images, d.test_labels)


@pytest.mark.parametrize("protocol", ["elevation", "depth_reduced", "digits"])
def test_errors_of_the_nearest_pixel_are_counted_by_hand(protocol):
    knobs = preset(protocol, "depth")
    train, test = generated(knobs.dataset, 8)
    outcome = baselines.evaluate(knobs, "nearest", 3, train, test, (0.0, 0.9))
    truth = test.pixels[:, 0].double().numpy()
    truth = truth / 255 if protocol == "digits" else truth
    known = ~np.isnan(truth)
    mask = draw_masks(knobs, test, 0.9, 3, "test")[:, 0].numpy() & known
    error = np.abs(nearest(np.nan_to_num(truth), mask) - truth)
    assert outcome.error[0.9] == pytest.approx(error[known].mean(), rel=1e-4)
    assert outcome.error_missing[0.9] == pytest.approx(error[known & ~mask].mean(), rel=1e-4)
    assert outcome.error[0.0] == pytest.approx(0, abs=1e-6) and 0.0 not in outcome.error_missing
    assert outcome.epochs == outcome.curve == outcome.candidates == []


def test_the_constant_is_the_training_images_median_whatever_is_observed():
    knobs = preset("elevation", "depth")
    train, test = generated("elevation", 9)
    outcome = baselines.evaluate(knobs, "constant", 0, train, test, (0.5, 0.9))
    median = np.median(train.pixels[:, 0].double().numpy(), axis=0)  # of an odd number
    expected = np.abs(median - test.pixels[:, 0].double().numpy()).mean()
    assert outcome.error[0.5] == pytest.approx(expected, rel=1e-4)
    assert outcome.error[0.5] == outcome.error[0.9]


@pytest.mark.parametrize("method", BASELINES)
def test_each_gives_whole_images_even_of_nothing(method):
    knobs = preset("digits", "depth")
    train, test = generated("mnist", 32)
    masks = draw_masks(knobs, test, 0.9, 0, "test")
    masks[1] = False
    filled = baselines.complete(knobs, method, 0, train, test, masks, 0.9)
    assert filled.shape == (8, 28, 28) and np.isfinite(filled).all()


def test_another_method_is_refused():
    knobs = preset("digits", "depth")
    train, test = generated("mnist", 32)
    masks = draw_masks(knobs, test, 0.9, 0, "test")
    with pytest.raises(ValueError, match="choose one of constant, nearest"):
        baselines.complete(knobs, "cubic", 0, train, test, masks, 0.9)


@pytest.mark.parametrize("protocol", ["elevation", "digits"])
@pytest.mark.parametrize("method", ["SparseConvNet", "ConvNet+mask", "nearest"])
def test_what_is_left_is_what_a_test_saw(protocol, method, tmp_path):
    knobs = dataclasses.replace(
        preset(protocol, "depth"), epochs=1, drop_after=0, trial_epochs=0,
        learning_rates=(1e-3,), held_out=0, patience=0,
    )  # fmt: skip
    train, test = generated(knobs.dataset, 8)
    key = Key("depth", protocol, method, 0.95, 0)
    tests = reconstructions.SHOWN
    if method in BASELINES:
        outcome = baselines.evaluate(knobs, method, 0, train, test[:1], tests)
    else:
        outcome = training.fit(knobs, method, 0.95, 0, train, test[:1], test_sparsities=tests)
    path = tmp_path / "one.npz"
    reconstructions.leave(path, key, knobs, outcome.weights, train, test)
    found = reconstructions.read(path)
    assert set(found) == set(tests)
    unit = 1.0 if protocol == "digits" else train.pixels.double().std().item()
    for q, kept in found.items():
        error = np.abs(kept.answer - kept.truth).mean() * unit
        assert error == pytest.approx(outcome.error[q], rel=5e-3)  # kept with three digits
        mask = draw_masks(knobs, test[:1], q, 0, "test")[0, 0].numpy()
        assert np.array_equal(kept.mask, mask)
    assert reconstructions.read(tmp_path / "none.npz") == {}
    assert torch.get_default_dtype() == torch.float32
