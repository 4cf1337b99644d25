"""ResNet18: against torchvision's, against masks counted in loops, and its identities at p = 0."""

import itertools

import pytest
import torch
from torch import nn

from sparseconv_lib.layers import SparseConv2d
from sparseconv_lib.networks import NETWORKS, seed_weights
from sparseconv_lib.resnet import STAGES, ResidualBlock, ResNet18, combine_masks
from sparseconv_lib.study.torchvision_compat import torchvision

SPARSE = ("SparseConvNet", "SparseConvNet-kept")
# Of the source's own network, counted there: what its optimiser saw, and what it did not.
SEEN, BLOCKS = 61_413, 11_169_920


def images(n=2, side=64, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def masks(p, n=2, side=64, seed=1):
    field = torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed))
    return (field >= p).float()


def network(name, seed=0, **options):
    net = ResNet18(name, **options)
    seed_weights(net, seed)
    return net


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_dense_network_is_torchvisions_with_biases():
    theirs = torchvision.models.resnet18(num_classes=101)
    ours = ResNet18("ConvNet")
    pairs = list(zip(in_order(ours), in_order(theirs), strict=True))
    for mine, other in pairs:
        with torch.no_grad():
            mine.weight.copy_(other.weight)
            if isinstance(mine, nn.Conv2d):
                assert (mine.kernel_size, mine.stride, mine.padding) == (
                    other.kernel_size,
                    other.stride,
                    other.padding,
                )
                mine.bias.zero_()  # theirs has none
            else:
                mine.bias.copy_(other.bias)
    x = images()
    for training in (True, False):
        got = ours.train(training)(x, masks(0))
        assert torch.allclose(got, theirs.train(training)(x), atol=1e-5)
    assert len(pairs) == 38  # 20 convolutions, a BatchNorm for all but the skips' three, linear


def in_order(net):
    """Convolutions, BatchNorms and the linear layer, sorted so that both networks' agree."""
    if isinstance(net, ResNet18):
        yield from (net.stem.conv, net.norm)
        for block in net.blocks:
            yield from (block.conv1.conv, block.norm1, block.conv2.conv, block.norm2)
            if block.skip_conv is not None:
                yield block.skip_conv.conv
        yield net.linear
    else:
        yield from (net.conv1, net.bn1)
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            for block in layer:
                yield from (block.conv1, block.bn1, block.conv2, block.bn2)
                if block.downsample is not None:
                    # The source has no BatchNorm there: out of the way.
                    conv, block.downsample[1] = block.downsample[0], nn.Identity()
                    yield conv
        yield net.fc


@pytest.mark.parametrize("name", SPARSE)
def test_the_source_counted_the_same_weights(name):
    net = ResNet18(name, skip="pooled", train_blocks=False)
    assert parameters(net.blocks) == BLOCKS
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == SEEN


def test_only_the_sparse_networks_blocks_can_be_frozen():
    """The source's dense network was trained."""
    for name in NETWORKS:
        frozen = not any(p.requires_grad for p in ResNet18(name, train_blocks=False).parameters())
        blocks = ResNet18(name, train_blocks=False).blocks
        assert not frozen
        assert all(p.requires_grad for p in blocks.parameters()) == (name not in SPARSE)


def test_frozen_blocks_do_not_move_in_a_step_and_the_rest_does():
    net = network("SparseConvNet-kept", train_blocks=False)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3)
    nn.functional.cross_entropy(net(images(), masks(0)), torch.tensor([0, 1])).backward()
    optimiser.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert not any(name.startswith("blocks") for name in moved)
    # Not because the loss asks nothing of them.
    net.requires_grad_(True)
    nn.functional.cross_entropy(net(images(), masks(0)), torch.tensor([0, 1])).backward()
    assert all(p.grad.abs().max() > 0 for name, p in net.named_parameters() if "weight" in name)


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("training", [True, False])
def test_without_a_scale_and_with_whole_images_sparse_is_dense(name, training):
    dense, sparse = network("ConvNet"), network(name, scale="none")
    assert dense.state_dict().keys() == sparse.state_dict().keys()
    sparse.load_state_dict(dense.state_dict())
    x = images(4)
    want = dense.train(training)(x, masks(0, 4))
    got = sparse.train(training)(x, masks(0, 4))
    assert torch.allclose(got, want, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(network(name).train(training)(x, masks(0, 4)), want, rtol=1e-3)


RULES = [
    {},
    {"mask_at_stride": "window"},
    {"mask_at_stride": "pool"},
    {"mask_at_pooling": "all"},
    *({"mask_at_sum": rule} for rule in ("intersection", "main", "skip")),
]


@pytest.mark.parametrize("skip", ["strided", "pooled"])
def test_no_rule_of_the_mask_matters_where_nothing_is_missing(skip):
    x, whole = images(), masks(0)
    want = None
    for name in SPARSE:
        for rules in RULES:
            net = network(name, skip=skip, **rules).eval()
            with torch.no_grad():
                assert all(mask.min() == 1 for _, _, mask in net.stages(x, whole))
                got = net(x, whole)
            want = got if want is None else want
            assert torch.equal(got, want)  # bit for bit


def test_the_rules_do_matter_where_pixels_are_missing():
    x, mask = images(), masks(0.99)
    outputs = []
    for name, rules in [
        ("SparseConvNet", {}),
        ("SparseConvNet-kept", {}),
        ("SparseConvNet", {"mask_at_stride": "pool"}),
        ("SparseConvNet", {"mask_at_pooling": "all"}),
        ("SparseConvNet", {"mask_at_sum": "intersection"}),
    ]:
        with torch.no_grad():
            outputs.append(network(name, **rules).eval()(x, mask))
    for a, b in itertools.combinations(outputs, 2):
        assert not torch.equal(a, b)


# Masks, against loops.


def seen(mask, kernel, stride):
    """(H, W) of 0s and 1s -> 1 where the window around an output's place holds a 1, in loops."""
    side, reach = len(mask), kernel // 2
    out = torch.zeros(side // stride, side // stride)
    for i, j in itertools.product(range(side // stride), repeat=2):
        for di, dj in itertools.product(range(-reach, reach + 1), repeat=2):
            u, v = i * stride + di, j * stride + dj
            if 0 <= u < side and 0 <= v < side and mask[u, v]:
                out[i, j] = 1
    return out


def pooled(mask, size):
    side = len(mask)
    out = torch.zeros(side // size, side // size)
    for i, j in itertools.product(range(side), repeat=2):
        if mask[i, j]:
            out[i // size, j // size] = 1
    return out


def walked(name, p, **options):
    mask = masks(p, 1)
    with torch.no_grad():
        found = {n: m[0, 0] for n, _, m in network(name, **options).eval().stages(images(1), mask)}
    return mask[0, 0], found


def test_a_dilated_mask_goes_through_every_window():
    mask, found = walked("SparseConvNet", 0.99)
    want = seen(mask, 7, 2)
    assert torch.equal(found["stem"], want)
    want = seen(want, 3, 2)
    assert torch.equal(found["pooling"], want)
    assert 0 < want.mean() < 1
    for i in range(4):
        for block in range(2):
            stride = 2 if i and not block else 1
            want = seen(seen(want, 3, stride), 3, 1)  # the skip's lies inside it
        assert torch.equal(found[f"stage {i + 1}"], want)


def test_a_kept_mask_is_only_pooled():
    mask, found = walked("SparseConvNet-kept", 0.99, skip="pooled")
    want = pooled(mask, 2)
    assert torch.equal(found["stem"], want)
    want = seen(want, 3, 2)
    assert torch.equal(found["pooling"], want)
    for i in range(4):
        want = pooled(want, 2) if i else want
        assert torch.equal(found[f"stage {i + 1}"], want)
    assert 0 < found["stage 1"].mean() < 1  # else nothing could have gone wrong


def test_under_dilation_the_skip_is_observed_only_where_the_main_branch_is():
    """So a union is the main branch's mask, and an intersection the skip's."""
    for skip, stage in itertools.product(("strided", "pooled"), ("stage 1", "stage 2")):
        found = {
            rule: walked("SparseConvNet", 0.997, skip=skip, mask_at_sum=rule)[1][stage]
            for rule in ("union", "main", "intersection", "skip")
        }
        assert torch.equal(found["union"], found["main"])
        assert torch.equal(found["intersection"], found["skip"])
        assert found["union"].sum() > found["intersection"].sum()


@pytest.mark.parametrize("name", SPARSE)
def test_up_to_four_fifths_missing_no_block_sees_a_hole(name):
    """So what a block does with its mask cannot matter there; see the chapter."""
    net = network(name, skip="pooled").eval()
    with torch.no_grad():
        for p, least in ((0.3, 1.0), (0.5, 1.0), (0.8, 0.998)):
            for stage, _, mask in net.stages(images(4), masks(p, 4)):
                assert stage == "stem" or mask.mean() >= least, (p, stage)


def test_an_intersection_keeps_the_mask_from_growing():
    _, found = walked("SparseConvNet", 0.995, mask_at_sum="intersection")
    assert torch.equal(found["stage 1"], found["pooling"])
    _, grown = walked("SparseConvNet", 0.995)
    assert grown["stage 1"].sum() > grown["pooling"].sum()


def test_pooling_may_ask_that_every_pixel_is_observed():
    mask, found = walked("SparseConvNet", 0.97, mask_at_pooling="all")
    stem = seen(mask, 7, 2)
    padded = nn.functional.pad(stem, (1, 1, 1, 1), value=1.0)
    want = torch.stack([
        torch.stack([padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3].min() for j in range(16)])
        for i in range(16)
    ])  # fmt: skip
    assert torch.equal(found["pooling"], want)
    assert 0 < want.mean() < 1


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
@pytest.mark.parametrize("rule", ["any", "all"])
def test_a_mask_of_any_dtype_gives_the_same(dtype, rule):
    net = network("SparseConvNet", mask_at_pooling=rule).eval()
    with torch.no_grad():
        want = net(images(), masks(0.97))
        assert torch.equal(net(images(), masks(0.97).to(dtype)), want)


def test_a_sum_of_masks():
    a, b = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[0.0, 1, 0, 1]])
    want = {
        "union": [0, 1, 1, 1],
        "intersection": [0, 0, 0, 1],
        "main": [0, 0, 1, 1],
        "skip": [0, 1, 0, 1],
    }
    for rule, row in want.items():
        assert combine_masks(a, b, rule).tolist() == [row]


# What missing pixels hold, the variants, and errors.


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("rules", [{}, {"mask_at_sum": "intersection"}, {"skip": "pooled"}])
def test_missing_pixels_have_no_effect(name, rules):
    x, mask = images(), masks(0.7)
    net = network(name, **rules).eval()
    hidden = torch.where(mask != 0, x, float("nan"))
    with torch.no_grad():
        assert torch.equal(net(hidden, mask), net(x, mask))


def test_the_mask_is_a_channel_of_convnet_mask_and_nothing_to_convnet():
    x = images()
    dense = network("ConvNet").eval()
    with_mask = network("ConvNet+mask").eval()
    with torch.no_grad():
        assert torch.equal(dense(x, masks(0)), dense(x, masks(0.5)))
        assert not torch.equal(with_mask(x, masks(0)), with_mask(x, masks(0.5)))
    assert with_mask.stem.conv.in_channels == 4


def test_options_change_the_sparse_blocks_only():
    sparse = ResNet18("SparseConvNet-kept", second_norm=False, skip="pooled")
    dense = ResNet18("ConvNet", second_norm=False, skip="pooled")
    assert all(isinstance(block.norm2, nn.Identity) for block in sparse.blocks)
    assert all(isinstance(block.norm2, nn.BatchNorm2d) for block in dense.blocks)
    assert sum(isinstance(m, SparseConv2d) for m in sparse.modules()) == 20
    assert not any(isinstance(m, SparseConv2d) for m in dense.modules())
    halving = [block for block in sparse.blocks if block.skip_conv is not None]
    assert [block.skip_conv.conv.stride for block in halving] == [(1, 1)] * (len(STAGES) - 1)


def test_a_pooled_skip_takes_the_largest_of_four():
    block = ResidualBlock(
        1, 1, 2, second_norm=True, skip="pooled", mask_at_sum="union", sparse=True, scale="mean",
        mask_update="keep", mask_at_stride="pool",
    ).eval()  # fmt: skip
    with torch.no_grad():
        for convolution in (block.conv1, block.conv2):
            convolution.conv.weight.zero_()
            convolution.conv.bias.zero_()
        block.skip_conv.conv.weight.fill_(1.0)
        block.skip_conv.conv.bias.zero_()
        x = torch.arange(16.0).view(1, 1, 4, 4)
        mask = torch.ones_like(x)
        mask[0, 0, 2:, 2:] = 0
        y, y_mask = block(x, mask)
    assert y[0, 0].tolist() == [[5, 7], [13, 0]]
    assert y_mask[0, 0].tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_and_its_digits_are_seeded(name):
    a, b = network(name, 3), network(name, 3)
    x, mask = images(), masks(0.3)
    assert torch.equal(a.train()(x, mask), b.train()(x, mask))
    loss = nn.functional.cross_entropy(a(x, mask), torch.tensor([5, 100]))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in a.parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": "ResNet"}, "choose one of ConvNet, ConvNet"),
        ({"skip": "none"}, "skip is 'none'; choose one of 'strided', 'pooled'"),
        ({"mask_at_sum": "both"}, "choose one of 'union', 'intersection', 'main', 'skip'"),
        ({"mask_at_stride": "any"}, "choose one of 'window', 'pool'"),
        ({"mask_at_stride": ""}, "mask_at_stride is ''; choose one of 'window', 'pool'"),
        ({"mask_at_pooling": "some"}, "choose one of 'any', 'all'"),
        ({"scale": "k"}, "scale is 'k'; choose one of"),
        ({"name": "ConvNet", "scale": "k"}, "scale is 'k'; choose one of"),
    ],
)
def test_wrong_options_name_the_right_ones(options, told):
    with pytest.raises(ValueError, match=told):
        ResNet18(**{"name": "SparseConvNet", **options})


def test_a_side_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        network("ConvNet")(images(side=100), masks(0, side=100))
