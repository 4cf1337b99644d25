"""What the chapter on invariance adds to a training: fills, mixed sparsity, trials, other tests."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparseconv_lib.networks import ClassificationNet, stream_seed
from sparseconv_lib.study import data, evaluation, images, training
from sparseconv_lib.study.evaluation import reestimated, score_images
from sparseconv_lib.study.images import Images, draw_masks, draw_sparsities, prepare
from sparseconv_lib.study.protocol import ParameterError, Protocol, preset
from sparseconv_lib.study.training import fit

QUICK = Protocol(epochs=2, batch_size=8, learning_rates=(0.01,))


def changed(protocol=QUICK, **knobs):
    return dataclasses.replace(protocol, **knobs)


def generated(name="mnist", n=96, seed=0):
    d = data.synthetic(name, images=n, seed=seed)
    return Images(d.train_images, d.train_labels), Images(d.test_images, d.test_labels)


TRAIN, TEST = generated()


pytestmark = pytest.mark.usefixtures("one_thread")


# What stands where a pixel is missing ------------------------------------------------------------


def test_an_inverted_digit_is_one_minus_it_and_missing_pixels_are_still_the_fill():
    masks = draw_masks(QUICK, TEST, 0.5, 0, "test")
    x, _ = prepare(TEST, masks, changed(invert=True))
    plain = TEST.pixels.double() / 255
    assert torch.allclose(x.double(), torch.where(masks, 1 - plain, 0.0), atol=1e-6)


def test_the_mean_is_that_of_the_images_own_observed_pixels():
    masks = draw_masks(QUICK, TEST, 0.8, 0, "test")
    masks[3] = False
    x, _ = prepare(TEST, masks, changed(fill_from="mean"))
    for image, mask, got in zip(TEST.pixels, masks, x, strict=True):
        observed = [float(v) / 255 for v in image[mask]]
        mean = sum(observed) / len(observed) if observed else 0.0
        assert torch.allclose(got[~mask], torch.tensor(mean), atol=1e-6)
        assert torch.equal(got[mask], image[mask].float() / 255)


def test_the_nearest_is_an_observed_pixel_at_the_least_distance():
    masks = draw_masks(QUICK, TEST[:4], 0.8, 0, "test")
    masks[2] = False
    x, _ = prepare(TEST[:4], masks, changed(fill_from="nearest"))
    assert not x[2].any()  # nothing observed: 0, as for the other fills
    for n in (0, 1, 3):
        seen = torch.nonzero(masks[n, 0])
        for row, column in ((0, 0), (5, 20), (27, 27), (13, 14)):
            away = ((seen - torch.tensor([row, column])) ** 2).sum(1)
            near = seen[away == away.min()]
            assert x[n, 0, row, column].item() in {
                (TEST.pixels[n, 0, a, b].float() / 255).item() for a, b in near
            }


def test_what_missing_pixels_hold_has_no_effect_on_any_fill():
    masks = draw_masks(QUICK, TEST, 0.5, 0, "test")
    spoilt = Images(torch.where(masks, TEST.pixels, 255), TEST.labels)
    for fill in ("value", "mean", "nearest"):
        protocol = changed(fill_from=fill)
        a, b = prepare(TEST, masks, protocol)[0], prepare(spoilt, masks, protocol)[0]
        assert torch.equal(a, b)


def test_rescaling_divides_by_the_share_that_is_observed():
    masks = draw_masks(QUICK, TEST, 0.8, 0, "test")
    x, _ = prepare(TEST, masks, QUICK)
    again, _ = prepare(TEST, masks, changed(rescale=True), 0.8)
    assert torch.allclose(again, x / 0.2)
    each = torch.linspace(0, 0.9, len(TEST))
    again, _ = prepare(TEST, masks, changed(rescale=True), each)
    for n in range(len(TEST)):
        assert torch.allclose(again[n], x[n] / (1 - each[n]))
    with pytest.raises(ValueError, match="sparsity"):
        prepare(TEST, masks, changed(rescale=True))


def test_a_rescaled_training_sees_the_sparsity_that_it_is_tested_at(monkeypatch):
    told = []
    inner = images.prepare

    def spy(shown, masks, protocol, sparsity=None):
        told.append(sparsity)
        return inner(shown, masks, protocol, sparsity)

    for module in (training, evaluation):
        monkeypatch.setattr(module, "prepare", spy)
    protocol = changed(rescale=True, epochs=1)
    fit(protocol, "ConvNet", 0.5, 0, TRAIN, TEST, test_sparsities=(0.0, 0.9))
    assert {0.5, 0.0, 0.9} == set(told)


# Mixed sparsity ----------------------------------------------------------------------------------


def test_each_image_has_its_own_sparsity_up_to_the_trainings():
    protocol = changed(mixed_sparsity=True)
    many = Images(torch.zeros(3000, 1, 28, 28, dtype=torch.uint8), torch.zeros(3000))
    levels = draw_sparsities(protocol, many, 0.8, 0, "training epoch 0")
    assert 0 <= levels.min() and levels.max() < 0.8
    assert levels.mean().item() == pytest.approx(0.4, abs=0.02)
    masks = draw_masks(protocol, many, levels, 0, "training epoch 0")
    missing = 1 - masks.double().mean((1, 2, 3))
    error = (missing - levels).abs().max().item()
    assert error < 6 * math.sqrt(0.25 / 784)
    # The fields are those of a fixed sparsity, cut elsewhere.
    fixed = draw_masks(QUICK, many, 0.8, 0, "training epoch 0")
    assert (masks | ~fixed).all()
    assert draw_sparsities(QUICK, many, 0.8, 0, "training epoch 0") == 0.8


def test_a_mixed_training_draws_new_sparsities_each_epoch_and_tests_at_fixed_ones(monkeypatch):
    seen = []
    inner = training.draw_masks

    def spy(protocol, shown, sparsity, seed, use):
        seen.append((use, sparsity))
        return inner(protocol, shown, sparsity, seed, use)

    monkeypatch.setattr(training, "draw_masks", spy)
    protocol = changed(mixed_sparsity=True, masks="epoch", held_out=16)
    outcome = fit(protocol, "ConvNet", 0.9, 0, TRAIN, TEST, test_sparsities=(0.0, 0.9))
    by_use = dict(seen)
    first, second = by_use["training epoch 0"], by_use["training epoch 1"]
    assert len(first) == len(second) == 80 and not torch.equal(first, second)
    assert len(by_use["held-out"]) == 16
    assert {sparsity for use, sparsity in seen if use == "test"} == {0.0, 0.9}
    assert set(outcome.accuracy) == {0.0, 0.9}


# A trial of learning rates -----------------------------------------------------------------------


def test_after_the_trial_only_the_best_rate_goes_on():
    rates = (0.01, 1e-6, 0.03)
    protocol = changed(epochs=4, learning_rates=rates, trial_epochs=1, held_out=24)
    outcome = fit(protocol, "ConvNet", 0.5, 0, TRAIN, TEST)
    alone = {
        rate: fit(changed(epochs=1, learning_rates=(rate,), held_out=24), "ConvNet", 0.5, 0,
                  TRAIN, TEST).candidates[0]["held_out_accuracy"]
        for rate in rates
    }  # fmt: skip
    winner = max(rates, key=alone.get)  # the first of equals
    assert [c["epochs"] for c in outcome.candidates] == [4 if r == winner else 1 for r in rates]
    for candidate in outcome.candidates:
        if candidate["learning_rate"] != winner:
            assert candidate["held_out_accuracy"] == alone[candidate["learning_rate"]]
    # The winner goes on from where its trial ended, as if there had been none.
    whole = fit(changed(protocol, learning_rates=(winner,), trial_epochs=0), "ConvNet", 0.5, 0,
                TRAIN, TEST)  # fmt: skip
    assert outcome.curve == whole.curve and outcome.accuracy == whole.accuracy


def test_patience_counts_from_the_best_epoch_and_its_weights_are_used():
    protocol = changed(epochs=30, learning_rates=(0.03,), held_out=24, patience=2)
    outcome = fit(protocol, "ConvNet", 0.5, 0, TRAIN, TEST)
    held_out = [epoch["held_out_accuracy"] for epoch in outcome.epochs]
    best = max(range(len(held_out)), key=held_out.__getitem__)
    assert outcome.candidates[0]["best_epoch"] == best
    assert len(held_out) == best + 1 + 2 < 30
    assert outcome.accuracy[0.5] == outcome.epochs[best]["test_accuracy"]


# Other tests of the same network -----------------------------------------------------------------


def test_reestimated_statistics_are_those_of_training_images_at_that_sparsity(monkeypatch):
    monkeypatch.setattr(evaluation, "REESTIMATED_FROM", 64)  # one batch
    outcome = fit(changed(epochs=1), "SparseConvNet", 0.8, 0, TRAIN, TEST)
    net = ClassificationNet("SparseConvNet", training.ARCHITECTURES["mnist"])
    net.load_state_dict(outcome.weights)
    before = copy.deepcopy(net.state_dict())
    again = reestimated(net, QUICK, TRAIN, 0.2, 0)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())

    generator = torch.Generator().manual_seed(stream_seed(0, "re-estimation masks"))
    mask = torch.rand(64, 1, 28, 28, generator=generator) >= 0.2
    x = torch.where(mask, TRAIN.pixels[:64] / 255, 0.0)
    with torch.no_grad():
        convolved, _ = net.convolutions[0](x, mask.float())
    channels = convolved.transpose(0, 1).flatten(1).double()
    assert torch.allclose(again.norms[0].running_mean.double(), channels.mean(1), atol=1e-6)
    assert torch.allclose(again.norms[0].running_var.double(), channels.var(1), rtol=1e-5)
    for (name, a), b in zip(again.named_parameters(), net.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_reestimated_accuracies_stand_beside_the_others():
    tests = (0.0, 0.5)
    a = fit(QUICK, "ConvNet", 0.5, 0, TRAIN, TEST, test_sparsities=tests, reestimate=True)
    b = fit(QUICK, "ConvNet", 0.5, 0, TRAIN, TEST, test_sparsities=tests)
    assert a.accuracy == b.accuracy
    assert list(a.other_statistics) == ["reestimated"]
    assert set(a.other_statistics["reestimated"]) == set(tests)
    net = ClassificationNet("ConvNet", training.ARCHITECTURES["mnist"])
    net.load_state_dict(a.weights)
    again = reestimated(net, QUICK, TRAIN, 0.0, 0)
    masks = torch.ones(len(TEST), 1, 28, 28, dtype=torch.bool)
    expected = score_images(again, QUICK, TEST, masks).double().mean().item()
    assert a.other_statistics["reestimated"][0.0] == expected


def test_other_ways_to_be_missing_are_tested_at_the_training_sparsity():
    outcome = fit(QUICK, "ConvNet", 0.5, 0, TRAIN, TEST, other_masks=("block", "scan_line"))
    net = ClassificationNet("ConvNet", training.ARCHITECTURES["mnist"])
    net.load_state_dict(outcome.weights)
    for kind in ("block", "scan_line"):
        masks = draw_masks(changed(mask_kind=kind), TEST, 0.5, 0, "test")
        expected = score_images(net, QUICK, TEST, masks).double().mean().item()
        assert outcome.other_masks[kind] == expected


# Every pixel -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, protocol",
    [
        ("mnist", changed(objective="reconstruct", optimiser="adam", epochs=1)),
        ("elevation", changed(preset("elevation", "depth"), epochs=1, drop_after=0)),
        ("depth_reduced", changed(preset("depth_reduced", "depth"), epochs=1, drop_after=0)),
    ],
)
@pytest.mark.parametrize("network", ["ConvNet+mask", "SparseConvNet"])
def test_errors_are_mean_absolute_ones_over_known_pixels_in_the_data_sets_unit(
    name, protocol, network
):
    train, test = generated(name, 8 if name != "mnist" else 64)
    outcome = fit(protocol, network, 0.9, 0, train, test, test_sparsities=(0.0, 0.9))
    net = training.build(protocol, network, 0)
    net.load_state_dict(outcome.weights)
    net.eval()
    if name == "mnist":
        truth, offset, unit = test.pixels.double() / 255, 0.0, 1.0
    else:
        truth = test.pixels.double()
        known = train.pixels[~train.pixels.isnan()].double()
        offset, unit = known.mean().item(), known.std().item()
    for q in (0.0, 0.9):
        mask = draw_masks(protocol, test, q, 0, "test") & ~truth.isnan()
        x = torch.where(mask, ((truth - offset) / unit).float(), 0.0)
        with torch.no_grad():
            answer = net(x, mask.float()).reshape(truth.shape).double() * unit + offset
        errors = [
            [abs(float(answer[i] - truth[i])) for i in map(tuple, torch.nonzero(where).tolist())]
            for where in (~truth.isnan(), ~truth.isnan() & ~mask)
        ]
        assert outcome.error[q] == pytest.approx(np.mean(errors[0]), rel=1e-4)
        if q:
            assert outcome.error_missing[q] == pytest.approx(np.mean(errors[1]), rel=1e-4)
        else:
            assert 0.0 not in outcome.error_missing or name == "depth_reduced"


def test_the_loss_is_the_mean_squared_error_over_known_pixels():
    objective = training.OBJECTIVES["reconstruct"]
    target = torch.randn(3, 1, 4, 4)
    target[0, 0, :2] = torch.nan
    outputs = torch.randn(3, 16, requires_grad=True)
    loss = objective.loss(outputs, target)
    known = [(i, j) for i in range(3) for j in range(16) if not target.view(3, 16)[i, j].isnan()]
    expected = sum((outputs[i, j] - target.view(3, 16)[i, j]) ** 2 for i, j in known) / len(known)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert torch.isfinite(outputs.grad).all()
    assert not outputs.grad.view(3, 1, 4, 4)[0, 0, :2].any()  # nothing is asked there


def test_what_is_not_known_of_a_map_is_neither_shown_nor_asked_for():
    protocol = changed(preset("depth_reduced", "depth"), epochs=1, drop_after=0)
    _, test = generated("depth_reduced", 8)
    everything = torch.ones_like(test.pixels, dtype=torch.bool)
    x, mask = prepare(test, everything, protocol)
    assert torch.isfinite(x).all()
    assert test.pixels.isnan().any() and torch.equal(mask == 0, test.pixels.isnan())


def test_maps_are_scaled_by_the_training_maps_alone():
    train, test = generated("elevation", 8)
    protocol = preset("elevation", "depth")
    a, b, unit = images.in_units(protocol, train, test)
    assert a.pixels.mean().item() == pytest.approx(0, abs=1e-4)
    assert a.pixels.std().item() == pytest.approx(1, abs=1e-4)
    assert unit == pytest.approx(train.pixels.double().std().item())
    back = b.pixels.double() * unit + train.pixels.double().mean()
    assert torch.allclose(back, test.pixels.double(), rtol=1e-5)
    a, _, unit = images.in_units(changed(protocol, scaling="unit"), train, test)
    assert a.pixels.max().item() == pytest.approx(1) and unit == train.pixels.max()


def test_held_out_maps_choose_by_the_least_error():
    protocol = changed(
        preset("elevation", "depth"),
        epochs=2,
        drop_after=0,
        learning_rates=(1e-3, 1e-9),
        trial_epochs=1,
        held_out=4,
        batch_size=2,
    )
    train, test = generated("elevation", 12)
    outcome = fit(protocol, "ConvNet", 0.9, 0, train, test)
    assert [c["epochs"] for c in outcome.candidates] == [2, 1]
    best, other = (c["held_out_error"] for c in outcome.candidates)
    assert 0 < best < other
    assert best == min(epoch["held_out_error"] for epoch in outcome.epochs)


# What cannot be asked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "knobs, told",
    [
        ({"fill": 0.5, "fill_from": "mean"}, "fill_from"),
        ({"trial_epochs": 1}, "several learning_rates"),
        ({"trial_epochs": 2, "learning_rates": (0.1, 0.2), "held_out": 9}, "trial_epochs is 2"),
        ({"dataset": "elevation"}, "do not go together"),
        ({"architecture": "uhrig"}, "do not go together"),
        ({"objective": "reconstruct", "evaluation": "batch"}, "evaluation"),
        ({"objective": "reconstruct", "dataset": "caltech101"}, "digits and maps"),
        ({"dataset": "caltech101", "invert": True}, "invert"),
        ({"scaling": "standard"}, "standard"),
        ({"scaling": "imagenet"}, "one channel"),
        ({"fill_from": "median"}, "choose one of"),
        ({"rescale": 1}, "True or False"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(knobs, told):
    with pytest.raises(ParameterError, match=told) as error:
        changed(**knobs)
    assert "\n" not in str(error.value)


def test_a_plain_loop_gives_the_same_network_for_every_pixel():
    """Ten plain lines, on generated elevations."""
    protocol = changed(preset("elevation", "depth"), epochs=1, drop_after=0, batch_size=4)
    train, test = generated("elevation", 8)
    outcome = fit(protocol, "SparseConvNet", 0.9, 0, train, test)
    net = training.build(protocol, "SparseConvNet", 0)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    mean, deviation = train.pixels.double().mean(), train.pixels.double().std()
    target = ((train.pixels - mean) / deviation).float()
    mask = draw_masks(protocol, train, 0.9, 0, "training epoch 0")
    order = torch.Generator().manual_seed(stream_seed(0, "order"))
    for index in torch.randperm(8, generator=order).split(4):
        optimiser.zero_grad()
        shown = torch.where(mask[index], target[index], 0.0)
        F.mse_loss(net(shown, mask[index].float()), target[index]).backward()
        optimiser.step()
    for name, weights in net.state_dict().items():
        assert torch.allclose(weights, outcome.weights[name], atol=2e-5), name
    assert isinstance(net, nn.Module)
