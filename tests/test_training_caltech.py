"""What trainings on Caltech-101 add: schedule, split, compounding masks, scaling, precision.

On images of MNIST's size, for which the loop is the same, unless the size itself matters.
"""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from sparseconv_lib.masks import bernoulli_field
from sparseconv_lib.networks import (
    NETWORKS,
    TABLE_1,
    TABLE_2,
    ClassificationNet,
    seed_weights,
    stream_seed,
)
from sparseconv_lib.study import data, training
from sparseconv_lib.study.evaluation import score_images
from sparseconv_lib.study.images import Images, arrange, draw_masks, lost_before, prepare
from sparseconv_lib.study.protocol import Protocol, preset
from sparseconv_lib.study.training import fit

SMALL = data.synthetic(images=40)
TRAIN = Images(SMALL.train_images, SMALL.train_labels)
TEST = Images(SMALL.test_images, SMALL.test_labels)
QUICK = Protocol(epochs=2, batch_size=8, optimiser="adam", learning_rates=(0.01,))


pytestmark = pytest.mark.usefixtures("one_thread")


def changed(protocol=QUICK, **knobs):
    return dataclasses.replace(protocol, **knobs)


def colour(n=6, size=224, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.arange(n) % 3)


# Schedule


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_after_the_drop_a_new_optimiser_goes_on_with_a_tenth(optimiser):
    """The same numbers as two optimisers, one after the other, in a plain loop."""
    protocol = changed(optimiser=optimiser, epochs=3, drop_after=2, learning_rates=(0.02,))
    outcome = fit(protocol, "ConvNet", 0.0, 4, TRAIN, TEST)

    def an_optimiser(rate):
        if optimiser == "adam":
            return torch.optim.Adam(net.parameters(), lr=rate)
        return torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)

    net = ClassificationNet("ConvNet", TABLE_1)
    seed_weights(net, 4)
    order = torch.Generator().manual_seed(stream_seed(4, "order"))
    ones = torch.ones(40, 1, 28, 28)
    for epoch in range(3):
        if epoch in (0, 2):
            step = an_optimiser(0.02 if epoch == 0 else 0.002)
        total = 0.0
        for batch in torch.randperm(40, generator=order).split(8):
            loss = F.cross_entropy(net(TRAIN.pixels[batch] / 255, ones[batch]), TRAIN.labels[batch])
            step.zero_grad()
            loss.backward()
            step.step()
            total += loss.item() * len(batch)
        assert outcome.epochs[epoch]["loss"] == pytest.approx(total / 40, rel=1e-3, abs=1e-5)


def test_without_a_drop_the_rate_stays(monkeypatch):
    rates = []
    adam = torch.optim.Adam

    def spy(parameters, rate, **more):
        rates.append(rate)
        return adam(parameters, rate, **more)

    monkeypatch.setattr(torch.optim, "Adam", spy)
    fit(changed(epochs=3), "ConvNet", 0.0, 0, TRAIN, TEST)
    assert rates == [0.01]
    rates.clear()
    fit(changed(epochs=3, drop_after=1), "ConvNet", 0.0, 0, TRAIN, TEST)
    assert rates == pytest.approx([0.01, 0.001])


# Split


def test_a_split_by_seed_uses_every_image_once_and_keeps_the_numbers():
    number = torch.arange(50, dtype=torch.uint8)
    every = Images(number.view(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous(), number.long() % 10)
    protocol = changed(split="by_seed")
    parts = [arrange(protocol, 0.5, seed, every[:40], every[40:]) for seed in (0, 0, 1)]
    for train, test in parts:
        assert (len(train), len(test)) == (40, 10)
        shown = [*train.pixels[:, 0, 0, 0].tolist(), *test.pixels[:, 0, 0, 0].tolist()]
        assert sorted(shown) == number.tolist()
        assert [n % 10 for n in shown] == [*train.labels.tolist(), *test.labels.tolist()]
    assert torch.equal(parts[0][1].pixels, parts[1][1].pixels)
    assert not torch.equal(parts[0][1].pixels, parts[2][1].pixels)
    train, test = arrange(changed(), 0.5, 0, every[:40], every[40:])
    assert torch.equal(train.pixels, every.pixels[:40])
    assert torch.equal(test.pixels, every.pixels[40:])


def test_fit_draws_the_split():
    shown = fit(changed(split="by_seed"), "ConvNet", 0.5, 3, TRAIN, TEST)
    train, test = arrange(changed(split="by_seed"), 0.5, 3, TRAIN, TEST)
    apart = fit(changed(), "ConvNet", 0.5, 3, train, test)
    assert torch.equal(shown.correct[0.5], apart.correct[0.5]) and shown.curve == apart.curve
    assert shown.curve != fit(changed(), "ConvNet", 0.5, 3, TRAIN, TEST).curve


# Masks


def test_every_sparsity_starts_from_the_untouched_images():
    """A sweep in any order shows the same images; nothing is left of an earlier sparsity."""
    images = colour(3, 32)
    before = images.pixels.clone()
    protocol = changed(preset("as_written", "caltech101"))

    def shown(p):
        train, _ = arrange(protocol, p, 0, images, images)
        masks = draw_masks(protocol, train, p, 0, "training epoch 0")
        return prepare(train, masks, protocol)

    alone = {p: shown(p) for p in (0.8,)}
    swept = {p: shown(p) for p in (0.3, 0.0, 0.5, 0.9, 0.8)}
    assert torch.equal(alone[0.8][0], swept[0.8][0])
    assert torch.equal(images.pixels, before)
    assert torch.equal(swept[0.0][0], before / 255)
    for p, (x, mask) in swept.items():
        assert mask.shape == (3, 1, 32, 32)
        # One channel: where it is 0 all three colours are, elsewhere the image is untouched.
        assert torch.equal(x, before / 255 * mask)
        assert (1 - mask.mean()).item() == pytest.approx(p, abs=0.03)


def test_what_compounding_masks_leave():
    # Multiplied out: 0.3 is left over from before the sweep, and "p = 0" takes nothing more.
    assert lost_before(0.0) == pytest.approx(0.3)
    assert lost_before(0.05) == pytest.approx(0.3)
    assert lost_before(0.1) == pytest.approx(1 - 0.7 * 0.95)
    assert lost_before(0.15) == pytest.approx(1 - 0.7 * 0.95 * 0.9)
    at_half = (1 - lost_before(0.5)) * 0.5
    assert at_half == pytest.approx(0.0229, abs=5e-5)  # facts.md: "about 2.3 %"
    assert at_half == pytest.approx(0.7 * math.prod(1 - i / 20 for i in range(11)))
    assert 0 < 1 - lost_before(0.95) < 1e-5


def test_compounding_takes_pixels_that_no_mask_tells_of():
    images = Images(torch.full((64, 3, 32, 32), 255, dtype=torch.uint8), torch.zeros(64).long())
    protocol = changed(preset("compounding", "caltech101"))
    left = {}
    for p in (0.0, 0.3, 0.5):
        train, test = arrange(protocol, p, 0, images, images)
        masks = draw_masks(protocol, train, p, 0, "training epoch 0")
        x, mask = prepare(train, masks, protocol)
        left[p] = train.left
        assert torch.equal(mask, masks.float())  # the newest mask alone
        assert mask.mean().item() == pytest.approx(1 - p, abs=0.01)
        # In the source, an image multiplied by one mask after the other.
        assert torch.equal(x, (train.left & masks).float().expand(-1, 3, -1, -1))
        assert x.mean().item() == pytest.approx((1 - lost_before(p)) * (1 - p), abs=0.01)
        assert not torch.equal(train.left, test.left)
        assert torch.equal(train[3:5].left, train.left[3:5])
    # The sweep works on one list: what is lost stays lost.
    assert (left[0.5] <= left[0.3]).all() and (left[0.3] <= left[0.0]).all()
    train, _ = arrange(changed(preset("as_written", "caltech101")), 0.5, 0, images, images)
    assert train.left is None


def test_masks_do_not_depend_on_how_many_are_drawn_at_once():
    images = colour(70)  # large images: 64 at a time
    masks = draw_masks(QUICK, images, 0.5, 7, "test")
    generator = torch.Generator().manual_seed(stream_seed(7, "test masks"))
    assert torch.equal(masks, bernoulli_field(70, 224, 224, generator) >= 0.5)
    assert torch.equal(draw_masks(QUICK, images[:3], 0.5, 7, "test"), masks[:3])


# Scaling


def test_imagenets_scaling_is_torchvisions_and_missing_pixels_are_0():
    from sparseconv_lib.study.torchvision_compat import torchvision

    images = colour(4, 32)
    protocol = preset("as_written, scaling=imagenet", "caltech101")
    masks = draw_masks(protocol, images, 0.5, 0, "test")
    x, _ = prepare(images, masks, protocol)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = normalise(images.pixels / 255)
    observed = masks.expand_as(expected)
    torch.testing.assert_close(x[observed], expected[observed])
    assert (x[~observed] == 0).all()


# Precision


def test_bfloat16_trains_like_float32_with_float32_weights():
    seen = []
    forward = ClassificationNet.forward

    def spy(self, x, mask):
        y = forward(self, x, mask)
        seen.append(y.dtype)
        return y

    for network in NETWORKS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ClassificationNet, "forward", spy)
            coarse = fit(changed(precision="bfloat16"), network, 0.5, 0, TRAIN, TEST)
            assert set(seen) == {torch.bfloat16}
            seen.clear()
        fine = fit(changed(), network, 0.5, 0, TRAIN, TEST)
        assert {w.dtype for name, w in coarse.weights.items() if "tracked" not in name} == {
            torch.float32
        }
        first = coarse.curve[0], fine.curve[0]
        assert first[0] == pytest.approx(first[1], rel=0.02) and first[0] != first[1]


# Table 2, whole


@pytest.mark.parametrize("network", NETWORKS)
def test_the_network_of_table_2_trains_on_photographs(network):
    protocol = changed(preset("as_written", "caltech101"), epochs=2, batch_size=3, drop_after=1)
    images = colour(6)
    outcome = fit(protocol, network, 0.5, 0, images, images[:2])
    assert len(outcome.epochs) == 2 and outcome.correct[0.5].shape == (2,)
    shape = outcome.weights["convolutions.0.weight"].shape
    assert tuple(shape) == (6, 4 if network == "ConvNet+mask" else 3, 7, 7)
    assert outcome.weights["linear.0.weight"].shape == (240, 16 * 14 * 14)
    assert outcome.weights["linear.2.weight"].shape == (101, 120)
    assert outcome.epochs[1]["loss"] < outcome.epochs[0]["loss"]


@pytest.mark.parametrize("order", ["text", "code"])
@pytest.mark.parametrize("network", NETWORKS)
def test_relu_and_pooling_commute(network, order):
    """The blocks as the source orders them: same output and gradients, to the last bit."""
    net = ClassificationNet(network, TABLE_2, block_order=order)
    seed_weights(net, 0)
    for norm in net.norms:  # also of the other sign, where BatchNorm turns minima into maxima
        torch.nn.init.uniform_(norm.weight, -1, 1)
    x, mask = prepare(colour(2), torch.rand(2, 1, 224, 224) >= 0.5, QUICK)

    def as_the_source_has_it(net, x, mask):
        if net.mask_as_channel:
            x = torch.cat([x, mask], 1)
        for i, (convolution, norm) in enumerate(zip(net.convolutions, net.norms, strict=True)):
            if net.sparse:
                x, mask = convolution(x, mask)
                mask = F.max_pool2d(mask, 2) if i < 3 else mask
            else:
                x = convolution(x)
            if order == "text":
                x = F.max_pool2d(F.relu(norm(x)), 2)
            else:
                x = norm(F.max_pool2d(F.relu(x), 2))
        x = x.flatten(1)
        for layer in net.linear[:-1]:
            x = F.relu(layer(x))
        return net.linear[-1](x)

    results = []
    for forward in (net, lambda x, mask: as_the_source_has_it(net, x, mask)):
        net.zero_grad()
        y = forward(x, mask)
        y.square().sum().backward()
        results.append([y, *(parameter.grad.clone() for parameter in net.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_large_images_are_tested_a_batch_at_a_time():
    """A thousand at once would take gigabytes; of small images they are tested together."""
    sizes = []
    forward = ClassificationNet.forward

    def spy(self, x, mask):
        sizes.append(len(x))
        return forward(self, x, mask)

    protocol = preset("as_written", "caltech101")
    net = training.build(protocol, "ConvNet", 0)
    images = colour(70)
    masks = draw_masks(protocol, images, 0.5, 0, "test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassificationNet, "forward", spy)
        correct = score_images(net, protocol, images, masks)
    assert sizes == [64, 6] and correct.shape == (70,)
