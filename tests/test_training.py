"""One training: exact repetition, honest testing, and the same numbers as ten plain lines."""

import contextlib
import copy
import dataclasses
import inspect
import re
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparseconv_lib.masks import bernoulli_field
from sparseconv_lib.networks import (
    NETWORKS,
    TABLE_1,
    ClassificationNet,
    seed_weights,
    stream_seed,
)
from sparseconv_lib.study import data, training
from sparseconv_lib.study.evaluation import score_images
from sparseconv_lib.study.images import Images, draw_masks
from sparseconv_lib.study.protocol import ParameterError, Protocol
from sparseconv_lib.study.training import build, fit

networks = pytest.mark.parametrize("network", NETWORKS)

QUICK = Protocol(epochs=2, batch_size=8, learning_rates=(0.01,))


def synthetic(n, seed=0):
    d = data.synthetic(images=n, seed=seed)
    return Images(d.train_images, d.train_labels), Images(d.test_images, d.test_labels)


TRAIN, TEST = synthetic(96)


pytestmark = pytest.mark.usefixtures("one_thread")


def changed(protocol=QUICK, **knobs):
    return dataclasses.replace(protocol, **knobs)


def same_weights(a, b):
    assert a.weights.keys() == b.weights.keys()
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def timeless(epochs):
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in epochs]


@pytest.fixture
def seen(monkeypatch):
    """All that networks are shown: (training or not, images, masks), batch by batch."""
    calls = []
    forward = ClassificationNet.forward

    def spy(self, x, mask):
        # Not self.training: with the batch's own statistics a network is tested in that mode.
        calls.append((torch.is_grad_enabled(), x.clone(), mask.clone()))
        return forward(self, x, mask)

    monkeypatch.setattr(ClassificationNet, "forward", spy)
    return calls


# Repetition -----------------------------------------------------------------------------------


@networks
def test_the_same_seed_gives_the_same_weights_bit_for_bit(network):
    torch.manual_seed(1)
    a = fit(QUICK, network, 0.5, 3, TRAIN, TEST)
    torch.manual_seed(2)
    b = fit(QUICK, network, 0.5, 3, TRAIN, TEST)
    assert same_weights(a, b)
    assert timeless(a.epochs) == timeless(b.epochs)
    assert (a.curve, a.accuracy, a.candidates) == (b.curve, b.accuracy, b.candidates)
    assert torch.equal(a.correct[0.5], b.correct[0.5])


def test_the_device_settings_before_do_not_matter():
    a = fit(changed(batch_size=32), "SparseConvNet", 0.5, 3, TRAIN, TEST)
    torch.use_deterministic_algorithms(True)
    try:
        b = fit(changed(batch_size=32), "SparseConvNet", 0.5, 3, TRAIN, TEST)
    finally:
        torch.use_deterministic_algorithms(False)
    assert same_weights(a, b)


def test_another_seed_gives_other_weights_masks_and_order(seen):
    one = changed(epochs=1)
    a, b = (fit(one, "ConvNet", 0.5, seed, TRAIN, TEST) for seed in (3, 4))
    assert not same_weights(a, b)
    half = len(seen) // 2
    first, second = seen[:half], seen[half:]
    assert not torch.equal(first[0][2], second[0][2])
    seen.clear()
    for seed in (3, 4):  # nothing missing: what differs is the order
        fit(one, "ConvNet", 0.0, seed, TRAIN, TEST)
    assert not torch.equal(seen[0][1], seen[half][1])
    starts = [build(QUICK, "ConvNet", seed).linear[0].weight for seed in (3, 3, 4)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("masks", ["image", "epoch"])
def test_all_networks_see_the_same_images_in_the_same_order_with_the_same_masks(seen, masks):
    shown = []
    for network in NETWORKS:
        fit(changed(masks=masks, held_out=16), network, 0.6, 1, TRAIN, TEST)
        shown.append(list(seen))
        seen.clear()
    for others in shown[1:]:
        for one, other in zip(shown[0], others, strict=True):
            assert one[0] == other[0]
            assert torch.equal(one[1], other[1]) and torch.equal(one[2], other[2])


# The loop -------------------------------------------------------------------------------------


@networks
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("masks", ["image", "epoch"])
def test_the_recorded_loss_is_that_of_a_plain_loop(network, optimiser, masks):
    rate, size, p, seed = 1e-3, 6, 0.5, 5
    images, labels = TRAIN.pixels[:40], TRAIN.labels[:40]  # 6 batches of 6, and one of 4
    protocol = changed(
        batch_size=size, learning_rates=(rate,), optimiser=optimiser, masks=masks, fill=0.25
    )
    outcome = fit(protocol, network, p, seed, Images(images, labels), TEST)

    net = ClassificationNet(network, TABLE_1)
    seed_weights(net, seed)
    step = (
        torch.optim.Adam(net.parameters(), lr=rate)
        if optimiser == "adam"
        else torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    )
    order = torch.Generator().manual_seed(stream_seed(seed, "order"))
    for epoch in range(2):
        of = epoch if masks == "epoch" else 0
        stream = torch.Generator().manual_seed(stream_seed(seed, f"training epoch {of} masks"))
        mask = (bernoulli_field(40, 28, 28, stream) >= p).float()
        losses = []
        for batch in torch.randperm(40, generator=order).split(size):
            x = images[batch] / 255 * mask[batch] + 0.25 * (1 - mask[batch])
            loss = F.cross_entropy(net(x, mask[batch]), labels[batch])
            step.zero_grad()
            loss.backward()
            step.step()
            losses += [loss.item()] * len(batch)
        assert outcome.epochs[epoch]["loss"] == pytest.approx(sum(losses) / 40, abs=1e-6)
    if optimiser == "sgd":  # Adam blows up the rounding of the gradients that BatchNorm cancels
        for name, value in net.state_dict().items():
            torch.testing.assert_close(outcome.weights[name], value, rtol=1e-3, atol=1e-4)


@networks
def test_a_training_learns(network):
    train, test = synthetic(320)
    outcome = fit(changed(batch_size=4), network, 0.5, 0, train, test)
    first, last = outcome.epochs
    assert last["loss"] < first["loss"] / 3
    assert last["train_accuracy"] > first["train_accuracy"]
    assert outcome.accuracy[0.5] > 0.8 and last["test_accuracy"] > 0.8  # by chance: 0.1


def test_every_image_is_seen_once_an_epoch_in_an_order_of_its_own(seen):
    number = torch.arange(43, dtype=torch.uint8)  # batches of 8: five, and one of 3
    pixels = number.view(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous()
    train = Images(pixels, number.long() % 10)
    fit(QUICK, "ConvNet", 0.0, 0, train, TEST)
    batches = [(x[:, 0, 0, 0] * 255).round().long().tolist() for training, x, _ in seen if training]
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 8, 3] * 2
    first, second = (list(chain(*epoch)) for epoch in (batches[:6], batches[6:]))
    assert sorted(first) == sorted(second) == number.tolist()
    assert first != second and first != sorted(first)


@pytest.mark.parametrize("masks, kept", [("image", True), ("epoch", False)])
@pytest.mark.parametrize("kind", ["bernoulli", "block", "scan_line"])
def test_an_image_keeps_its_mask_or_draws_one_each_epoch(seen, masks, kept, kind):
    number = torch.arange(16, dtype=torch.uint8)
    train = Images(number.view(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous(), number.long() % 10)
    fit(changed(masks=masks, mask_kind=kind, fill=1.0), "ConvNet", 0.5, 0, train, TEST)
    epochs = [{}, {}]
    for i, (_, x, mask) in enumerate(call for call in seen if call[0]):
        for image, m in zip(x, mask, strict=True):
            shown = image[m == 1]  # the grey that tells the image; missing pixels hold the fill
            assert image[m == 0].eq(1).all() and shown.unique().numel() == 1
            epochs[i // 2][round(shown[0].item() * 255)] = m
    same = [torch.equal(epochs[0][i], epochs[1][i]) for i in range(16)]
    assert all(same) if kept else not any(same)
    assert not torch.equal(epochs[0][0], epochs[0][1])
    rows_agree = all((m == m[..., :1]).all() for m in epochs[0].values())
    assert rows_agree == (kind == "scan_line")


def test_a_last_batch_of_one_image():
    outcome = fit(QUICK, "SparseConvNet", 0.5, 0, TRAIN[:17], TEST[:9])
    assert torch.tensor([epoch["loss"] for epoch in outcome.epochs]).isfinite().all()
    assert outcome.correct[0.5].shape == (9,)


@pytest.mark.parametrize("n", [16, 96, 90])
def test_the_curve_is_the_loss_in_parts(n):
    outcome = fit(changed(batch_size=2, epochs=1), "ConvNet", 0.5, 0, TRAIN[:n], TEST)
    batches = n // 2
    part = max(1, -(-batches // 20))  # in batches: at most twenty parts
    sizes = [2 * min(part, batches - start) for start in range(0, batches, part)]
    assert len(outcome.curve) == len(sizes) <= 20
    mean = sum(loss * size for loss, size in zip(outcome.curve, sizes, strict=True)) / n
    assert outcome.epochs[0]["loss"] == pytest.approx(mean, rel=1e-6)


# Testing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluation", ["running", "batch"])
def test_testing_leaves_no_trace(evaluation):
    protocol = changed(evaluation=evaluation)
    net = build(protocol, "SparseConvNet", 0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    masks = draw_masks(protocol, TEST, 0.5, 0, "test")
    for mode in (True, False):
        net.train(mode)
        score_images(net, protocol, TEST, masks)
        assert all(module.training == mode for module in net.modules())
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("evaluation", ["running", "batch"])
def test_how_much_is_tested_does_not_change_the_training(evaluation):
    protocol = changed(evaluation=evaluation, epochs=2)
    few = fit(protocol, "SparseConvNet", 0.5, 0, TRAIN, TEST[:3])
    many = fit(protocol, "SparseConvNet", 0.5, 0, TRAIN, TEST, test_sparsities=(0.0, 0.5, 0.9))
    assert same_weights(few, many)


@pytest.fixture(scope="module")
def trained():
    outcome = fit(changed(epochs=1), "SparseConvNet", 0.5, 0, TRAIN, TEST)
    net = ClassificationNet("SparseConvNet", TABLE_1)
    net.load_state_dict(outcome.weights)
    images, _ = synthetic(96, seed=1)
    return net, images, draw_masks(QUICK, images, 0.8, 0, "test")


@torch.no_grad()
def test_with_batch_statistics_an_image_is_judged_among_its_neighbours(trained):
    net, images, masks = trained
    x, m = images.pixels / 255 * masks, masks.float()
    results = []
    for size in (3, 32):
        got = score_images(net, changed(evaluation="batch", batch_size=size), images, masks)
        twin = copy.deepcopy(net).train()
        labels = [
            twin(*batch).argmax(1) for batch in zip(x.split(size), m.split(size), strict=True)
        ]
        assert torch.equal(got, torch.cat(labels) == images.labels)
        results.append(got)
    assert not torch.equal(*results)


@torch.no_grad()
def test_with_running_statistics_an_image_is_judged_alone(trained):
    net, images, masks = trained
    x, m = images.pixels / 255 * masks, masks.float()
    twin = copy.deepcopy(net).eval()
    alone = torch.cat([twin(*one).argmax(1) for one in zip(x.split(1), m.split(1), strict=True)])
    for size in (3, 32):
        got = score_images(net, changed(batch_size=size), images, masks)
        assert torch.equal(got, alone == images.labels)
        few = score_images(net, changed(batch_size=size), images[:5], masks[:5])
        assert torch.equal(few, got[:5])
    among = score_images(net, changed(batch_size=32, evaluation="batch"), images, masks)
    assert not torch.equal(got, among)


@pytest.mark.parametrize("evaluation", ["running", "batch"])
def test_every_training_is_tested_with_both_kinds_of_statistics(evaluation):
    """The weights are the same, so the other kind is what that protocol would have measured."""
    other = "batch" if evaluation == "running" else "running"
    a, b = (
        fit(
            changed(evaluation=kind), "SparseConvNet", 0.5, 0, TRAIN, TEST, test_sparsities=(0, 0.5)
        )
        for kind in (evaluation, other)
    )
    assert same_weights(a, b)
    assert (
        a.other_statistics == {other: b.accuracy} and b.other_statistics[evaluation] == a.accuracy
    )
    assert a.accuracy != b.accuracy


def test_without_batch_norm_there_are_no_other_statistics():
    outcome = fit(changed(batch_norm=False, epochs=1), "ConvNet", 0.5, 0, TRAIN, TEST)
    assert outcome.other_statistics == {}


def test_more_test_images_than_fit_at_once(seen):
    many = Images(TEST.pixels.repeat(50, 1, 1, 1), TEST.labels.repeat(50))  # 1200
    net = build(QUICK, "ConvNet", 0)
    masks = torch.ones(1200, 1, 28, 28, dtype=torch.bool)
    got = score_images(net, QUICK, many, masks)
    assert torch.equal(got, score_images(net, QUICK, TEST, masks[:24]).repeat(50))
    assert max(len(x) for _, x, _ in seen) < 1200


def test_masks_are_the_seeds_however_many_are_drawn():
    images = Images(torch.zeros(4100, 1, 4, 4, dtype=torch.uint8), torch.zeros(4100))
    masks = draw_masks(QUICK, images, 0.5, 7, "test")  # drawn in two parts
    stream = torch.Generator().manual_seed(stream_seed(7, "test masks"))
    assert torch.equal(masks, bernoulli_field(4100, 4, 4, stream) >= 0.5)
    assert masks.dtype == torch.bool
    assert not torch.equal(masks, draw_masks(QUICK, images, 0.5, 7, "training epoch 0"))
    assert not torch.equal(masks, draw_masks(QUICK, images, 0.5, 8, "test"))


def test_at_several_sparsities():
    sparsities = (0.0, 0.5, 0.9, 0.99)
    protocol = changed(batch_size=4, epochs=5)
    outcome = fit(protocol, "SparseConvNet", 0.5, 2, TRAIN, TEST, test_sparsities=sparsities)
    assert tuple(outcome.accuracy) == tuple(outcome.correct) == sparsities
    net = ClassificationNet("SparseConvNet", TABLE_1).eval()
    net.load_state_dict(outcome.weights)
    stream = torch.Generator().manual_seed(stream_seed(2, "test masks"))
    field = bernoulli_field(len(TEST), 28, 28, stream)  # one field, cut at each sparsity
    for p in sparsities:
        mask = (field >= p).float()
        correct = net(TEST.pixels / 255 * mask, mask).argmax(1) == TEST.labels
        assert torch.equal(outcome.correct[p], correct)
        assert outcome.accuracy[p] == pytest.approx(correct.double().mean().item())
    assert outcome.accuracy[0.5] == outcome.epochs[-1]["test_accuracy"]
    assert outcome.accuracy[0.0] > outcome.accuracy[0.99]
    alone = fit(protocol, "SparseConvNet", 0.5, 2, TRAIN, TEST)
    assert alone.accuracy == {0.5: outcome.accuracy[0.5]}


# Choosing on held-out images ------------------------------------------------------------------


def test_held_out_images_are_never_trained_on(seen):
    number = torch.arange(50, dtype=torch.uint8)
    train = Images(number.view(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous(), number.long() % 10)
    protocol = changed(held_out=12, learning_rates=(0.01, 0.02))
    nothing = Images(torch.full((2, 1, 28, 28), 255, dtype=torch.uint8), torch.zeros(2).long())
    fit(protocol, "ConvNet", 0.0, 0, train, nothing)
    trained, tested = [], []
    for training_now, x, _ in seen:
        (trained if training_now else tested).extend((x[:, 0, 0, 0] * 255).round().long().tolist())
    held_out = set(tested) - {255}
    assert len(held_out) == 12 and len(set(trained)) == 38
    assert held_out | set(trained) == set(number.tolist())
    assert len(trained) == 4 * 38  # two epochs at two rates
    assert held_out != set(range(12)) and held_out != set(range(38, 50))  # drawn at random

    seen.clear()
    fit(protocol, "ConvNet", 0.0, 1, train, nothing)
    other = {round(v * 255) for now, x, _ in seen if not now for v in x[:, 0, 0, 0].tolist()}
    assert other - {255} != held_out  # of another seed, others


def test_the_test_images_decide_nothing():
    protocol = changed(held_out=24, learning_rates=(1e-3, 0.02), patience=1, epochs=3)
    wrong = Images(TEST.pixels, (TEST.labels + 1) % 10)
    right, misled = (fit(protocol, "ConvNet", 0.5, 0, TRAIN, test) for test in (TEST, wrong))
    assert same_weights(right, misled) and right.candidates == misled.candidates


@pytest.mark.parametrize("rates", [(0.02, 1e-6), (1e-6, 0.02, 1e-7)])
def test_the_best_rate_on_held_out_images_wins(rates):
    protocol = changed(held_out=32, batch_size=4)
    outcome = fit(changed(protocol, learning_rates=rates), "SparseConvNet", 0.5, 0, TRAIN, TEST)
    alone = fit(changed(protocol, learning_rates=(0.02,)), "SparseConvNet", 0.5, 0, TRAIN, TEST)
    tried = {c["learning_rate"]: c["held_out_accuracy"] for c in outcome.candidates}
    assert tuple(tried) == rates and max(tried, key=tried.get) == 0.02
    assert same_weights(outcome, alone) and outcome.accuracy == alone.accuracy
    assert timeless(outcome.epochs) == timeless(alone.epochs) and outcome.curve == alone.curve


def test_the_weights_are_those_of_the_best_epoch():
    # A rate so high that the accuracy jumps up and down.
    protocol = changed(held_out=48, batch_size=16, learning_rates=(0.3,), epochs=6)
    outcome = fit(protocol, "ConvNet", 0.7, 1, TRAIN, TEST)
    (candidate,) = outcome.candidates
    accuracies = [epoch["held_out_accuracy"] for epoch in outcome.epochs]
    assert candidate["epochs"] == len(accuracies) == 6
    best = accuracies.index(max(accuracies))
    assert best < 5 and accuracies[5] < max(accuracies)  # else this shows nothing
    assert candidate["best_epoch"] == best
    assert candidate["held_out_accuracy"] == max(accuracies)
    shorter = fit(changed(protocol, epochs=best + 1), "ConvNet", 0.7, 1, TRAIN, TEST)
    assert same_weights(outcome, shorter)
    assert outcome.accuracy[0.7] == outcome.epochs[best]["test_accuracy"]


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_a_training_that_no_longer_improves(patience):
    # Without BatchNorm and at no rate to speak of, the accuracy stays what it is.
    protocol = changed(
        held_out=24, patience=patience, epochs=9, learning_rates=(1e-12,), batch_norm=False
    )
    outcome = fit(protocol, "ConvNet", 0.5, 0, TRAIN, TEST)
    assert len(outcome.epochs) == 1 + patience and outcome.candidates[0]["best_epoch"] == 0


def test_no_held_out_images_the_last_epoch_counts():
    outcome = fit(QUICK, "ConvNet", 0.5, 0, TRAIN, TEST)
    assert [c["best_epoch"] for c in outcome.candidates] == [1]
    assert "held_out_accuracy" not in outcome.epochs[0]


# What others notice ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "knobs",
    [
        dict(),
        dict(batch_size=7),  # the last part of an epoch is not a whole one
        dict(held_out=24, learning_rates=(1e-3, 1e-2, 0.1), patience=1, epochs=4),
    ],
    ids=str,
)
def test_progress_rises_to_one(knobs):
    shares = []
    fit(changed(**knobs), "ConvNet", 0.5, 0, TRAIN[:90], TEST, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and shares[0] > 0
    assert len({*shares}) >= 6
    silent = fit(changed(**knobs), "ConvNet", 0.5, 0, TRAIN[:90], TEST)
    heard = fit(changed(**knobs), "ConvNet", 0.5, 0, TRAIN[:90], TEST, progress=lambda _: None)
    assert same_weights(silent, heard)


def switches():
    return dict(
        deterministic=torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        fill=torch.utils.deterministic.fill_uninitialized_memory,
        benchmark=torch.backends.cudnn.benchmark,
        onednn=torch.backends.mkldnn.enabled,
        grad=torch.is_grad_enabled(),
        threads=torch.get_num_threads(),
        dtype=torch.get_default_dtype(),
    )


@pytest.fixture(params=["usual", "unusual"])
def surroundings(request):
    """Switches as PyTorch sets them, and all the other way round."""
    before = switches()
    # Set in both cases: a training that leaks its switches would otherwise pass for the usual.
    unusual = request.param == "unusual"
    torch.use_deterministic_algorithms(unusual, warn_only=unusual)
    torch.utils.deterministic.fill_uninitialized_memory = not unusual
    torch.backends.cudnn.benchmark = unusual
    with torch.backends.mkldnn.flags(enabled=not unusual):
        yield switches()
    torch.use_deterministic_algorithms(before["deterministic"], warn_only=before["warn_only"])
    torch.utils.deterministic.fill_uninitialized_memory = before["fill"]
    torch.backends.cudnn.benchmark = before["benchmark"]


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("size", [8, 32])  # on either side of the switch of kernels
@pytest.mark.parametrize("interrupted", [False, True])
def test_switches_are_put_back(surroundings, size, interrupted):
    within = []

    def progress(share):
        within.append(switches())
        if interrupted:
            raise Interrupted

    with contextlib.suppress(Interrupted):
        fit(changed(batch_size=size), "ConvNet", 0.5, 0, TRAIN, TEST, progress=progress)
    assert switches() == surroundings
    assert within[0]["deterministic"] and not within[0]["warn_only"]
    assert within[0]["onednn"] == (surroundings["onednn"] and size > 16)


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_global_generator_is_left_alone(interrupted):
    def progress(share):
        if interrupted:
            raise Interrupted

    state = torch.get_rng_state()
    with contextlib.suppress(Interrupted):
        fit(QUICK, "SparseConvNet", 0.5, 0, TRAIN, TEST, progress=progress)
    assert torch.equal(torch.get_rng_state(), state)


def test_images_and_weights_stay_the_callers():
    before = TRAIN.pixels.clone(), TRAIN.labels.clone(), TEST.pixels.clone()
    outcome = fit(changed(epochs=1), "ConvNet", 0.5, 0, TRAIN, TEST)
    assert all(map(torch.equal, before, (TRAIN.pixels, TRAIN.labels, TEST.pixels)))
    assert all(not v.requires_grad and v.device.type == "cpu" for v in outcome.weights.values())
    ClassificationNet("ConvNet", TABLE_1).load_state_dict(outcome.weights)
    assert outcome.seconds > 0 and outcome.epochs[0]["seconds"] > 0


# Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1.0, -0.1, "abc", float("nan"), True, None])
def test_a_bad_sparsity_stops_before_anything_slow(p, monkeypatch):
    monkeypatch.setattr(training, "build", lambda *_: pytest.fail("too late"))
    with pytest.raises(ParameterError, match="^sparsity is .* from 0 .* to below 1$"):
        fit(QUICK, "ConvNet", p, 0, TRAIN, TEST)
    with pytest.raises(ParameterError, match="^test sparsity is .* from 0 .* to below 1$"):
        fit(QUICK, "ConvNet", 0.5, 0, TRAIN, TEST, test_sparsities=(0.5, p))


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None])
def test_a_bad_seed_stops_before_anything_slow(seed, monkeypatch):
    monkeypatch.setattr(training, "build", lambda *_: pytest.fail("too late"))
    with pytest.raises(ParameterError, match="^seed is .* whole number, at least 0$"):
        fit(QUICK, "ConvNet", 0.5, seed, TRAIN, TEST)


def test_an_unknown_network_and_too_many_held_out_images():
    with pytest.raises(ValueError, match="network is 'LeNet'; choose one of ConvNet, "):
        fit(QUICK, "LeNet", 0.5, 0, TRAIN, TEST)
    for n in (96, 97):
        with pytest.raises(ValueError, match=f"cannot hold out {n} of 96 images"):
            fit(changed(held_out=n), "ConvNet", 0.5, 0, TRAIN, TEST)


def test_every_knob_of_the_network_reaches_it():
    for knobs in (dict(block_order="code"), dict(batch_norm=False), dict(scale="none")):
        net = build(changed(**knobs), "SparseConvNet", 4)
        options = {"block_order": "text", "batch_norm": True, "scale": "mean"} | knobs
        twin = ClassificationNet("SparseConvNet", TABLE_1, **options)
        seed_weights(twin, 4)
        x = TEST.pixels[:4] / 255
        mask = torch.ones_like(x)
        assert torch.equal(net.train()(x, mask), twin.train()(x, mask))
        plain = build(QUICK, "SparseConvNet", 4)
        assert not torch.equal(plain.train()(x, mask), net(x, mask))
    assert isinstance(build(changed(batch_norm=False), "ConvNet", 0).norms[0], nn.Identity)


def test_the_sparse_bias_starts_where_the_protocol_says():
    """All else is as it was, so that trainings stay paired; plain convolutions are left alone."""
    for network in NETWORKS:
        plain = build(QUICK, network, 3).state_dict()
        zero = build(changed(sparse_bias="zero"), network, 3).state_dict()
        for name, value in plain.items():
            if network.startswith("Sparse") and re.fullmatch(r"convolutions\.\d\.bias", name):
                assert value.abs().max() > 0 and torch.equal(zero[name], torch.zeros_like(value))
            else:
                assert torch.equal(zero[name], value)


def test_before_batch_norm_the_bias_does_not_matter():
    """BatchNorm subtracts the mean, and every bias with it."""
    a, b = (
        fit(changed(sparse_bias=bias), "SparseConvNet", 0.5, 0, TRAIN, TEST)
        for bias in ("default", "zero")
    )
    assert a.curve == pytest.approx(b.curve, rel=1e-4)


def test_momentum_reaches_the_optimiser():
    a, b = (fit(changed(momentum=m), "ConvNet", 0.5, 0, TRAIN[:32], TEST) for m in (0.9, 0.0))
    assert not same_weights(a, b)


def test_fit_asks_for_nothing_but_the_key_and_the_data():
    parameters = inspect.signature(fit).parameters.values()
    needed = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    assert needed == ["protocol", "network", "sparsity", "seed", "train", "test"]
