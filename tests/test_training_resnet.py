"""Training ResNet18: what is trained, what is tested how, and photographs made small."""

import dataclasses

import pytest
import torch
from torch import nn

from sparseconv_lib.networks import stream_seed
from sparseconv_lib.resnet import ResNet18
from sparseconv_lib.study import data
from sparseconv_lib.study.evaluation import score_images
from sparseconv_lib.study.images import Images, draw_masks, prepare, shrink
from sparseconv_lib.study.protocol import preset
from sparseconv_lib.study.torchvision_compat import torchvision
from sparseconv_lib.study.training import build, fit

DATA = data.synthetic("caltech101", images=24)
TRAIN = Images(DATA.train_images, DATA.train_labels)
TEST = Images(DATA.test_images, DATA.test_labels)


def protocol(changes="", base="as_written", **more):
    found = preset(f"{base}, {changes}" if changes else base, "resnet18")
    short = {"side": 32, "epochs": 2, "batch_size": 8, "drop_after": 0}
    return dataclasses.replace(found, **short | more)


def trained(knobs, network="SparseConvNet-kept", sparsity=0.0, seed=0):
    return fit(knobs, network, sparsity, seed, TRAIN, TEST, device="cpu")


def test_small_photographs_are_those_of_torchvision():
    small = shrink(TRAIN, 64).pixels
    resize = torchvision.transforms.Resize((64, 64), antialias=True)
    # Its own rounding of bytes may differ by one.
    assert (small.int() - resize(TRAIN.pixels).int()).abs().max() <= 1
    assert small.dtype == torch.uint8
    assert torch.equal(shrink(TRAIN, 0).pixels, TRAIN.pixels)
    assert torch.equal(shrink(shrink(TRAIN, 64), 64).pixels, small)
    assert torch.equal(shrink(TRAIN, 64).labels, TRAIN.labels)
    lossy = dataclasses.replace(TRAIN, left=torch.ones(24, 1, 224, 224, dtype=torch.bool))
    with pytest.raises(ValueError, match="before any pixel"):
        shrink(lossy, 64)


def test_pixels_go_missing_after_the_photographs_were_made_small():
    knobs = protocol()
    small = shrink(TRAIN, knobs.side)
    masks = draw_masks(knobs, small, 0.5, 0, "training epoch 0")
    assert masks.shape == (24, 1, 32, 32)
    x, mask = prepare(small, masks, knobs)
    assert (x[(mask == 0).expand_as(x)] == 0).all()
    assert 0.45 < mask.mean() < 0.55


def test_frozen_blocks_keep_their_first_weights():
    outcome = trained(protocol("train_blocks=false"))
    first = build(protocol("train_blocks=false"), "SparseConvNet-kept", 0)
    names = dict(first.named_parameters())
    for name, weight in names.items():
        same = torch.equal(outcome.weights[name], weight)
        assert same == name.startswith("blocks"), name
    # BatchNorm goes on counting in them, as the source's does.
    assert outcome.weights["blocks.0.norm1.num_batches_tracked"] > 0


@pytest.mark.parametrize("network", ["ConvNet", "SparseConvNet-kept"])
def test_with_all_weights_trained_all_move(network):
    outcome = trained(protocol(), network)
    first = build(protocol(), network, 0)
    for name, weight in first.named_parameters():
        if "bias" not in name:  # in front of BatchNorm a bias is asked for nothing
            assert not torch.equal(outcome.weights[name], weight), name


def test_blocks_may_be_tested_in_training_mode():
    knobs = protocol("evaluation=blocks")
    net = build(knobs, "SparseConvNet-kept", 0)
    assert isinstance(net, ResNet18)
    net.norm.running_mean.fill_(0.5)  # statistics that batches do not have
    for block in net.blocks:
        block.norm1.running_mean.fill_(3.0)
    small = shrink(TRAIN, 32)
    masks = draw_masks(knobs, small, 0.5, 0, "test")
    got = score_images(net, knobs, small, masks)

    want = torch.zeros(24, dtype=torch.bool)
    shuffle = torch.Generator().manual_seed(stream_seed(0, "order of test images"))
    for index in torch.randperm(24, generator=shuffle).split(8):
        x, mask = prepare(small[index], masks[index], knobs)
        by_hand = build(knobs, "SparseConvNet-kept", 0)
        by_hand.norm.running_mean.fill_(0.5)
        for module in by_hand.modules():
            module.training = False
        for block in by_hand.blocks:
            for module in block.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.training = True
        want[index] = by_hand(x, mask).argmax(1) == small.labels[index]
    assert torch.equal(got, want)
    assert net.blocks[0].norm1.running_mean.eq(3.0).all()  # no trace of the test


def test_a_dense_network_has_no_blocks_in_training_mode():
    net = build(protocol("evaluation=blocks"), "ConvNet", 0)
    for block in net.blocks:
        block.norm1.running_mean.fill_(3.0)
    small = shrink(TRAIN, 32)
    masks = draw_masks(protocol(), small, 0.0, 0, "test")
    got = score_images(net, protocol("evaluation=blocks"), small, masks)
    assert torch.equal(got, score_images(net, protocol(), small, masks))
    assert trained(protocol(), "ConvNet").other_statistics == {}


def test_one_training_is_tested_both_ways():
    running = trained(protocol("scale=none"))
    blocks = trained(protocol("scale=none, evaluation=blocks"))
    assert all(torch.equal(running.weights[n], w) for n, w in blocks.weights.items())
    assert running.other_statistics == {"blocks": blocks.accuracy}
    assert blocks.other_statistics == {"running": running.accuracy}


def test_without_scale_the_sparse_network_trains_as_the_dense_one_does():
    dense = trained(protocol(), "ConvNet")
    sparse = trained(protocol("scale=none, skip=strided"))
    assert torch.allclose(torch.tensor(dense.curve[:1]), torch.tensor(sparse.curve[:1]), rtol=1e-3)
    scaled = trained(protocol("skip=strided"))
    assert abs(scaled.curve[0] - dense.curve[0]) > 1e-3


def test_biases_may_start_at_zero_in_every_sparse_convolution():
    zero = build(protocol("sparse_bias=zero"), "SparseConvNet-kept", 0)
    usual = build(protocol(), "SparseConvNet-kept", 0)
    names = [name for name, _ in zero.named_parameters() if name.endswith("conv.bias")]
    assert len(names) == 20
    for name in names:
        assert zero.get_parameter(name).eq(0).all()
        assert usual.get_parameter(name).ne(0).any()
