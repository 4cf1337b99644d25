"""The sparse convolution against Eq. 1 as plain loops, PyTorch's own layer, and its peers."""

import copy
import doctest
import functools
import inspect
import io
import pickle
import re
import shutil

import numpy as np
import oracle
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparseconv_lib import layers
from sparseconv_lib.layers import SparseConv2d, count_observed, max_pool_mask, sparse_conv2d

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SCALES = ("mean", "partial", "none")
NAN, INF = float("nan"), float("inf")
COMPILER = next(filter(shutil.which, ("c++", "g++", "clang++")), None)


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def holes(*shape, share=0.6, seed=0, dtype=torch.float64):
    """A mask of independent pixels, `share` of them missing."""
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) >= share).to(dtype)


def tensor(nested):
    return torch.tensor(nested, dtype=torch.float64)


@st.composite
def cases(draw, largest=6):
    """x, mask, weight, bias and the arguments of a convolution that yields at least one pixel."""
    size = st.integers(1, 4)
    kernel = (draw(size), draw(size))
    one_or_two = st.one_of(st.integers(1, 2), st.tuples(st.integers(1, 2), st.integers(1, 2)))
    stride, dilation = draw(one_or_two), draw(one_or_two)
    padding = draw(
        st.one_of(
            st.integers(0, 3),
            st.tuples(st.integers(0, 3), st.integers(0, 3)),
            st.just("valid"),
            *([st.just("same")] if oracle.pair(stride) == (1, 1) else []),
        )
    )
    added = oracle.pads(padding, kernel, oracle.pair(dilation))
    least = [
        max(1, d * (k - 1) + 1 - sum(p))
        for k, d, p in zip(kernel, oracle.pair(dilation), added, strict=True)
    ]
    height, width = (draw(st.integers(n, max(n, largest))) for n in least)
    groups = draw(st.integers(1, 2))
    inputs, outputs = (groups * draw(st.integers(1, 2)) for _ in range(2))
    images, seed = draw(st.integers(1, 2)), draw(st.integers(0, 2**31))
    share = draw(st.sampled_from([0.0, 0.3, 0.7, 0.95, 1.0]))
    return dict(
        x=rand(images, inputs, height, width, seed=seed),
        mask=holes(images, 1, height, width, share=share, seed=seed + 1),
        weight=rand(outputs, inputs // groups, *kernel, seed=seed + 2),
        bias=draw(st.sampled_from([None, rand(outputs, seed=seed + 3)])),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def as_lists(case):
    return {k: v.tolist() if isinstance(v, torch.Tensor) else v for k, v in case.items()}


# The definition ------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(cases(), st.sampled_from(SCALES))
def test_forward_mask_and_gradients_are_those_of_the_loops(case, scale):
    leaves = [case[k].requires_grad_() for k in ("x", "weight", "bias") if case[k] is not None]
    y, mask = sparse_conv2d(**case, scale=scale)
    gradient = rand(*y.shape, seed=9)
    got = torch.autograd.grad(y, leaves, gradient)
    y_loop, mask_loop, *expected = map(
        tensor,
        oracle.sparse_convolution(**as_lists(case), scale=scale, gradient=gradient.tolist()),
    )
    close = dict(rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(y.detach(), y_loop, **close)
    assert torch.equal(mask, mask_loop)
    torch.testing.assert_close(got, tuple(expected[: len(leaves)]), **close)


@settings(max_examples=30, deadline=None)
@given(cases(largest=3), st.sampled_from(SCALES))
def test_gradcheck(case, scale):
    names = [k for k in ("x", "weight", "bias") if case[k] is not None]

    def y(*leaves):
        return sparse_conv2d(**(case | dict(zip(names, leaves, strict=True))), scale=scale)[0]

    torch.autograd.gradcheck(y, [case[k].requires_grad_() for k in names])


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from(SCALES))
def test_a_kept_mask_changes_only_the_mask(case, scale):
    y, _ = sparse_conv2d(**case, scale=scale)
    if y.shape[2:] == case["x"].shape[2:]:
        kept, mask = sparse_conv2d(**case, scale=scale, mask_update="keep")
        assert torch.equal(kept, y) and torch.equal(mask, case["mask"])
    else:
        with pytest.raises(ValueError, match=r"needs an output as large as its input.*padding"):
            sparse_conv2d(**case, scale=scale, mask_update="keep")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 5]), st.integers(0, 99), st.data())
def test_the_dilated_mask_is_a_max_pooling_with_the_kernels_size(height, width, seed, data):
    share = data.draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    mask = holes(2, 1, 7, 8, share=share, seed=seed)
    conv = SparseConv2d(1, 1, (height, width), padding="same").double()
    _, dilated = conv(torch.ones_like(mask), mask)
    assert torch.equal(dilated, max_pool_mask(mask, (height, width), 1, (height // 2, width // 2)))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 99))
def test_max_pool_mask_is_that_of_the_loops(data, seed):
    kernel, stride = (data.draw(st.tuples(*[st.integers(1, 4)] * 2)) for _ in range(2))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    mask = holes(2, 1, 6, 7, share=0.8, seed=seed)
    expected = tensor(oracle.max_pooling(mask.tolist(), kernel, stride, padding))
    assert torch.equal(max_pool_mask(mask, kernel, stride, padding), expected)


def test_max_pool_mask_strides_by_the_kernel_unless_told():
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., 3, 0] = 1
    assert torch.equal(max_pool_mask(mask, 2), max_pool_mask(mask, (2, 2), (2, 2)))
    assert max_pool_mask(mask, 2).nonzero().tolist() == [[0, 0, 1, 0]]


# What the equation implies -------------------------------------------------------------------


@pytest.mark.parametrize("stride, padding, dilation", [(1, 0, 1), (2, 1, 1), (1, "same", 2)])
def test_all_observed_is_the_convolution_divided_by_the_taps_inside(stride, padding, dilation):
    x, weight, bias = rand(2, 4, 9, 8), rand(6, 2, 3, 3), rand(6)
    mask = torch.ones(2, 1, 9, 8)
    y, new_mask = sparse_conv2d(x, mask, weight, bias, stride, padding, dilation, 2)
    plain = F.conv2d(x, weight, None, stride, padding, dilation, 2)
    one_tap_each = torch.ones_like(weight[:1, :1])
    inside = F.conv2d(torch.ones_like(x[:, :1]), one_tap_each, None, stride, padding, dilation)
    torch.testing.assert_close(y, plain / inside + bias.view(-1, 1, 1))
    assert new_mask.all()
    if padding == 0:
        assert (inside == 9).all()


@pytest.mark.parametrize("missing", [NAN, INF, -INF, 1e38])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_missing_pixels_hold_changes_nothing(missing, scale, dtype):
    mask = holes(2, 1, 8, 8, share=0.7)
    mask[0] = 0  # one image without any observed pixel
    clean = rand(2, 3, 8, 8, seed=1, dtype=dtype) * (mask != 0)
    conv = SparseConv2d(3, 4, 3, padding=1, scale=scale, dtype=dtype)

    def outcome(x):
        x = x.clone().requires_grad_()
        y, new_mask = conv(x, mask)
        return y, new_mask, *torch.autograd.grad(y.square().sum(), [x, conv.weight, conv.bias])

    dirty = torch.where(mask.bool(), clean, missing)
    assert not torch.equal(dirty, clean)
    for got, expected in zip(outcome(dirty), outcome(clean), strict=True):
        assert got.isfinite().all() and torch.equal(got, expected)
    x_gradient = outcome(dirty)[2]
    assert (x_gradient[(mask == 0).expand_as(x_gradient)] == 0).all()
    assert (x_gradient[1] != 0).any()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", (*DTYPES, "autocast"))
def test_an_empty_window_gives_exactly_the_bias(dtype, scale, bias):
    autocast = dtype == "autocast"
    dtype = torch.float32 if autocast else dtype
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., :4] = 1
    x = torch.full((1, 16, 12, 12), 100.0, dtype=dtype)  # large beside the hole: no trace of it
    conv = SparseConv2d(16, 32, 3, padding=1, bias=bias, scale=scale, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y, new_mask = conv(x, mask)
    assert y.dtype == (torch.bfloat16 if autocast else dtype)
    assert y.isfinite().all()
    expected = conv.bias.to(y.dtype).view(1, -1, 1, 1) if bias else torch.zeros(())
    assert (y[..., 5:] == expected).all()
    assert not (y[..., 4] == expected).all()
    assert new_mask[..., :5].all() and not new_mask[..., 5:].any()


@pytest.mark.parametrize("autocast", [False, True])
def test_the_count_is_exact_beyond_256_taps_in_bfloat16(autocast):
    # bfloat16 holds no odd number beyond 256. One pixel is 1, the others 0, so the result is 1/n
    # rounded once; the count rounded first gives another number for many n.
    n = torch.arange(1, 20 * 20)
    observed = (torch.arange(20 * 20) < n[:, None]).view(-1, 1, 20, 20)
    x = torch.zeros(len(n), 1, 20, 20)
    x[:, :, 0, 0] = 1
    weight = torch.ones(1, 1, 20, 20)
    if not autocast:
        x, weight = x.bfloat16(), weight.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y, _ = sparse_conv2d(x, observed, weight)
    expected = (1 / n).bfloat16()
    assert torch.equal(y.flatten(), expected)
    assert not torch.equal((1 / n.bfloat16().float()).bfloat16(), expected)  # it could fail


def test_autocast_can_be_left():
    """By the count, which on a GPU is a convolution that autocast would do in half precision."""
    x = torch.zeros(1)
    with torch.autocast("cpu", torch.bfloat16):
        with layers._without_autocast(x):
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu")
    with layers._without_autocast(x):
        assert not torch.is_autocast_enabled("cpu")


def test_autocast_gives_its_own_dtype_near_the_exact_result():
    x, mask = rand(2, 8, 9, 9, dtype=torch.float32), holes(2, 1, 9, 9)
    conv = SparseConv2d(8, 8, 3, padding=1)
    exact, exact_mask = conv(x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        y, new_mask = conv(x, mask)
        assert torch.is_autocast_enabled("cpu")
        assert conv(x, mask)[0].dtype == torch.bfloat16  # switched off for the count alone
    assert y.dtype == torch.bfloat16 and exact.dtype == torch.float32
    assert torch.equal(new_mask, exact_mask)
    torch.testing.assert_close(y.float(), exact, rtol=0.03, atol=0.03)
    y.float().sum().backward()
    assert conv.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("update", ["dilate", "keep"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, *DTYPES, torch.float64])
def test_the_mask_keeps_its_dtype(dtype, update):
    mask = holes(1, 1, 6, 6).to(dtype)
    conv = SparseConv2d(1, 2, 3, padding=1, mask_update=update)
    y, new_mask = conv(torch.ones(1, 1, 6, 6), mask)
    expected, expected_mask = conv(torch.ones(1, 1, 6, 6), mask.float())
    assert new_mask.dtype == dtype and torch.equal(new_mask.float(), expected_mask)
    assert torch.equal(y, expected)
    pooled = max_pool_mask(mask, 2)
    assert pooled.dtype == dtype and torch.equal(pooled.float(), max_pool_mask(mask.float(), 2))


@pytest.mark.parametrize("scale", SCALES)
def test_no_gradient_flows_into_the_mask(scale):
    x, mask = rand(1, 1, 5, 5).requires_grad_(), torch.ones(1, 1, 5, 5).requires_grad_()
    y, new_mask = sparse_conv2d(x, mask, rand(1, 1, 3, 3), scale=scale)
    y.sum().backward()
    assert x.grad is not None and mask.grad is None and not new_mask.requires_grad


def test_an_empty_batch_passes():
    y, mask = SparseConv2d(2, 3, 3)(torch.ones(0, 2, 5, 6), torch.ones(0, 1, 5, 6))
    assert y.shape == (0, 3, 3, 4) and mask.shape == (0, 1, 3, 4)


# Peers on their own terms --------------------------------------------------------------------


def test_peers():
    x, mask = rand(2, 4, 9, 9), holes(2, 1, 9, 9, share=0.5)
    ones = torch.ones_like(mask)
    weight = rand(6, 4, 3, 3)
    taps, channels = 9, 4
    plain = F.conv2d(x, weight, padding=1)
    interior = (..., slice(1, -1), slice(1, -1))

    def sparse(m, scale):
        return sparse_conv2d(x, m, weight, padding=1, scale=scale)[0]

    # chenxiaoyu523/Sparsity-Invariant-CNNs-pytorch: a frozen one-channel convolution counts.
    def chenxiaoyu523(m):
        return F.conv2d(x * m, weight, padding=1) / (
            F.conv2d(m, torch.ones(1, 1, 3, 3, dtype=m.dtype), padding=1) + 1e-8
        )

    torch.testing.assert_close(sparse(mask, "mean"), chenxiaoyu523(mask), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(sparse(ones, "mean")[interior], plain[interior] / taps)

    # yxgeee/DepthComplete: a full C_in x C_out convolution of ones counts each pixel C times.
    def yxgeee(m):
        count = F.conv2d(m.expand_as(x), torch.ones_like(weight), padding=1)
        return F.conv2d(x * m, weight, padding=1) / count.clamp(min=1e-5)

    torch.testing.assert_close(sparse(mask, "mean") / channels, yxgeee(mask))
    torch.testing.assert_close(yxgeee(ones)[interior], plain[interior] / (channels * taps))

    # NVIDIA/partialconv: k^2 / (count + 1e-8), so that a whole window is a plain convolution.
    def partialconv(m):
        count = F.conv2d(m, torch.ones(1, 1, 3, 3, dtype=m.dtype), padding=1)
        ratio = taps / (count + 1e-8) * count.clamp(0, 1)
        return F.conv2d(x * m, weight, padding=1) * ratio

    torch.testing.assert_close(sparse(mask, "partial"), partialconv(mask), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(sparse(ones, "partial")[interior], plain[interior])
    # partialconv#16, #44: where padding hides taps, 9/6 at an edge and 9/4 in a corner.
    torch.testing.assert_close(sparse(ones, "partial")[..., 0, 3], 1.5 * plain[..., 0, 3])
    torch.testing.assert_close(sparse(ones, "partial")[..., 0, 0], 2.25 * plain[..., 0, 0])


# A drop-in nn.Conv2d -------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_those_of_a_convolution(bias):
    arguments = (4, 6, (3, 5), 1, 0, 1, 2, bias)
    sparse, plain = SparseConv2d(*arguments), nn.Conv2d(*arguments)
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    assert {name: value.shape for name, value in sparse.state_dict().items()} == shapes
    assert list(sparse.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in sparse.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert sum(p.numel() for p in sparse.parameters()) == 6 * 2 * 15 + 6 * bias

    sparse.load_state_dict(plain.state_dict())
    x = rand(2, 4, 9, 9, dtype=torch.float32)
    y, _ = sparse(x, torch.ones(2, 1, 9, 9))
    b = plain.bias.view(-1, 1, 1) if bias else 0
    torch.testing.assert_close(y, (plain(x) - b) / 15 + b)
    plain.load_state_dict(sparse.state_dict())


def test_arguments_stand_in_the_order_of_a_convolutions():
    plain = inspect.signature(nn.Conv2d.__init__).parameters
    sparse = inspect.signature(SparseConv2d.__init__).parameters
    assert list(sparse)[: len(plain)] == list(plain)
    assert all(sparse[name].default == plain[name].default for name in plain)
    rest = [sparse[name] for name in list(sparse)[len(plain) :]]
    assert all(option.kind is inspect.Parameter.KEYWORD_ONLY for option in rest)

    # Every one different from its default, so that none can be lost on the way.
    arguments = (4, 6, (3, 2), (2, 1), (1, 2), (1, 3), 2, False, "zeros", "cpu", torch.float64)
    a, b = SparseConv2d(*arguments), nn.Conv2d(*arguments)
    b.load_state_dict(a.state_dict())
    x, ones = rand(1, 4, 9, 9), torch.ones(1, 1, 9, 9, dtype=torch.float64)
    y, _ = sparse_conv2d(x, ones, a.weight, None, *arguments[3:7], scale="none")
    torch.testing.assert_close(y, b(x))
    for name in ("stride", "padding", "dilation", "groups", "bias", "kernel_size"):
        assert getattr(a, name) == getattr(b, name)


def test_a_layer_passes_all_that_it_was_given():
    x, mask = rand(2, 4, 9, 9), holes(2, 1, 9, 9)
    shape = dict(stride=(2, 1), padding=(1, 2), dilation=(1, 3), groups=2)
    for scale in SCALES:
        conv = SparseConv2d(4, 6, (3, 2), **shape, scale=scale, dtype=torch.float64)
        expected = oracle.sparse_convolution(
            x.tolist(),
            mask.tolist(),
            conv.weight.tolist(),
            conv.bias.tolist(),
            **shape,
            scale=scale,
        )
        torch.testing.assert_close(conv(x, mask), tuple(map(tensor, expected)))
    for scale in SCALES:
        kept, dilated = (
            SparseConv2d(4, 6, 3, padding=1, mask_update=update, scale=scale, dtype=torch.float64)
            for update in ("keep", "dilate")
        )
        dilated.load_state_dict(kept.state_dict())
        assert torch.equal(kept(x, mask)[0], dilated(x, mask)[0])
        assert torch.equal(kept(x, mask)[1], mask)


@pytest.mark.parametrize("update", ["dilate", "keep"])
@pytest.mark.parametrize("scale", SCALES)
def test_shapes_without_numbers(scale, update):
    """On the device "meta", as tools that count operations use it; masked as on a GPU."""
    conv = SparseConv2d(3, 6, 3, padding=1, device="meta", scale=scale, mask_update=update)
    assert conv.weight.device.type == conv.bias.device.type == "meta"
    mask = torch.ones(2, 1, 5, 7, dtype=torch.bool, device="meta")
    y, new_mask = conv(torch.ones(2, 3, 5, 7, device="meta"), mask)
    assert (y.shape, new_mask.shape) == ((2, 6, 5, 7), (2, 1, 5, 7))
    assert (y.dtype, new_mask.dtype) == (torch.float32, torch.bool)


def test_copies_compute_the_same():
    x, mask = rand(1, 2, 6, 6, dtype=torch.float32), holes(1, 1, 6, 6)
    conv = SparseConv2d(2, 3, 3, padding=1, scale="partial", mask_update="keep")
    file = io.BytesIO()
    torch.save(conv.state_dict(), file)
    file.seek(0)
    loaded = SparseConv2d(2, 3, 3, padding=1, scale="partial", mask_update="keep")
    assert not torch.equal(loaded.weight, conv.weight)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for twin in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv)), loaded):
        assert twin is not conv and str(twin) == str(conv)
        assert all(map(torch.equal, twin(x, mask), conv(x, mask)))


def test_its_representation_tells_every_option():
    assert str(SparseConv2d(1, 6, 5, padding="same", scale="partial")) == (
        "SparseConv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=same, "
        "scale='partial', mask_update='dilate')"
    )


def test_the_documented_example():
    tried = doctest.testmod(layers)
    assert tried.attempted >= 3 and tried.failed == 0


# torch.compile -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=pytest.mark.skipif(COMPILER is None, reason="inductor needs a C++ compiler"),
        ),
    ],
)
def test_compiled_without_a_graph_break_it_gives_the_same(backend):
    x, mask = rand(2, 3, 8, 8, dtype=torch.float32), holes(2, 1, 8, 8, dtype=torch.float32)
    x[0, :, mask[0, 0] == 0] = NAN
    mask[1] = 0
    x.requires_grad_()  # as behind another layer
    # Kept, the mask comes back as it is; aot_eager is cheap enough to try that too.
    for update in ("dilate", "keep") if backend == "aot_eager" else ("dilate",):
        eager = SparseConv2d(3, 4, 3, padding=1, mask_update=update)
        twin = copy.deepcopy(eager)
        torch._dynamo.reset()
        compiled = torch.compile(twin, backend=backend, fullgraph=True)
        for conv in (eager, compiled):
            y, new_mask = conv(x, mask)
            (gradient,) = torch.autograd.grad(y.square().sum(), x, retain_graph=True)
            y.square().sum().backward()
            if conv is eager:
                expected, expected_mask, expected_gradient = y.detach(), new_mask, gradient
        torch.testing.assert_close(y.detach(), expected)
        torch.testing.assert_close(gradient, expected_gradient)
        assert torch.equal(new_mask, expected_mask)
        assert torch.equal(y[1], eager.bias.view(-1, 1, 1).expand_as(y[1]))
        torch.testing.assert_close(twin.weight.grad, eager.weight.grad)
        torch.testing.assert_close(twin.bias.grad, eager.bias.grad)
    torch._dynamo.reset()


# Export and trace ----------------------------------------------------------------------------


class TwoLayers(nn.Module):
    """Both kinds of padding, a stride, and a pooling of the mask between."""

    def __init__(self):
        super().__init__()
        self.first = SparseConv2d(3, 4, 3, stride=2, padding=1)
        self.second = SparseConv2d(4, 2, 3, padding="same", scale="partial")

    def forward(self, x, mask):
        y, mask = self.first(x, mask)
        return self.second(y.relu(), max_pool_mask(mask, 3, 1, 1))


def exported(net, example):
    batch = torch.export.Dim("n", min=0)
    height, width = (torch.export.Dim(name, min=4) for name in ("h", "w"))
    sizes = {0: batch, 2: height, 3: width}
    return torch.export.export(net, example, dynamic_shapes=(sizes, sizes)).module()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("frozen", [exported, torch.jit.trace], ids=["export", "trace"])
def test_a_program_of_one_size_serves_others(frozen):
    net = TwoLayers()
    program = frozen(net, (torch.rand(4, 3, 8, 9), torch.ones(4, 1, 8, 9)))
    for n, height, width in ((5, 21, 14), (7, 8, 30), (0, 9, 8)):
        x, mask = rand(n, 3, height, width, dtype=torch.float32), holes(n, 1, height, width)
        x.masked_fill_(mask == 0, NAN)
        y, new_mask = program(x, mask.float())
        expected, expected_mask = net(x, mask.float())
        torch.testing.assert_close(y, expected)
        assert torch.equal(new_mask, expected_mask)


# Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_images_of_other_than_floating_point_raise(dtype):
    message = f"^x is {dtype}; convert it into one of torch.float16, .*, torch.float64$"
    with pytest.raises(ValueError, match=message):
        SparseConv2d(3, 2, 3)(torch.ones(2, 3, 5, 6, dtype=dtype), torch.ones(2, 1, 5, 6))


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1)])
def test_a_bias_of_another_shape_raises(shape):
    message = r"^bias has shape .*; for 2 output channels it must be \(2,\)$"
    with pytest.raises(ValueError, match=message):
        sparse_conv2d(rand(1, 3, 5, 5), holes(1, 1, 5, 5), rand(2, 3, 3, 3), rand(*shape))


@pytest.mark.parametrize(
    "shape", [(2, 3, 5, 6), (1, 1, 5, 6), (2, 5, 6), (2, 1, 6, 5), (2, 1, 1, 6), (5, 6)]
)
def test_a_mask_of_another_shape_raises(shape):
    conv = SparseConv2d(3, 2, 3, padding=1)
    with pytest.raises(ValueError, match=r"mask has shape .* must be \(2, 1, 5, 6\)"):
        conv(torch.ones(2, 3, 5, 6), torch.ones(shape))


@pytest.mark.parametrize("shape", [(3, 5, 6), (5, 6), (1, 2, 3, 5, 6)])
def test_images_without_their_four_dimensions_raise(shape):
    message = (
        r"^x has shape .* must be \(N, C, H, W\): of one image give x\[None\] and mask\[None\]$"
    )
    with pytest.raises(ValueError, match=message):
        SparseConv2d(3, 2, 3)(torch.ones(shape), torch.ones(1, *shape[-2:]))


@pytest.mark.parametrize("mask", [None, np.ones((2, 1, 5, 6)), [[1.0]]])
def test_a_mask_that_is_no_tensor_raises(mask):
    message = (
        f"^mask is a {type(mask).__name__}; it must be a tensor of shape \\(N, 1, H, W\\): where "
        "no pixel is missing, ones$"
    )
    with pytest.raises(TypeError, match=message):
        SparseConv2d(3, 2, 3)(torch.ones(2, 3, 5, 6), mask)


@pytest.mark.parametrize(
    "option, value, known",
    [
        ("scale", "sum", "'mean', 'partial', 'none'"),
        ("mask_update", "grow", "'dilate', 'keep'"),
        ("scale", None, "'mean', 'partial', 'none'"),
    ],
)
def test_unknown_options_raise(option, value, known):
    message = f"{option} is {value!r}; choose one of {known}"
    with pytest.raises(ValueError, match=message):
        SparseConv2d(1, 1, 3, **{option: value})
    with pytest.raises(ValueError, match=message):
        sparse_conv2d(
            torch.ones(1, 1, 3, 3),
            torch.ones(1, 1, 3, 3),
            torch.ones(1, 1, 1, 1),
            **{option: value},
        )


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_only_zero_padding_is_known(mode):
    message = (
        f"^padding_mode is '{mode}'; SparseConv2d knows only 'zeros', which pads with missing "
        "pixels: pad the image and its mask yourself for another mode$"
    )
    with pytest.raises(ValueError, match=message):
        SparseConv2d(1, 1, 3, padding=1, padding_mode=mode)


def test_lists_are_taken_as_conv2d_takes_them():
    x, mask, weight = rand(2, 3, 9, 8), holes(2, 1, 9, 8), rand(2, 3, 3, 3)
    for arguments in ([[2, 1], [1, 0], [1, 2]], [[2], [1], [1]]):
        found = sparse_conv2d(x, mask, weight, None, *arguments)
        expected = sparse_conv2d(x, mask, weight, None, *map(tuple, arguments))
        assert all(map(torch.equal, found, expected))
    assert torch.equal(max_pool_mask(mask, [3, 2], [2, 1]), max_pool_mask(mask, (3, 2), (2, 1)))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", [dict(padding=0), dict(padding=1, stride=2), dict(padding=3)])
def test_a_mask_can_only_be_kept_where_the_size_is(shape, scale):
    conv = SparseConv2d(1, 1, 3, **shape, scale=scale, mask_update="keep")
    size = tuple(nn.Conv2d(1, 1, 3, **shape)(torch.ones(1, 1, 8, 9)).shape[2:])
    message = re.escape(
        "mask_update='keep' needs an output as large as its input, but (8, 9) "
        f"became {size}; use stride 1 and padding 'same', or 'dilate'"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        conv(torch.ones(1, 1, 8, 9), torch.ones(1, 1, 8, 9))


@pytest.mark.parametrize("update", ["dilate", "keep"])
@pytest.mark.parametrize("scale", SCALES)
def test_pixels_are_counted_only_where_the_count_is_used(scale, update, monkeypatch):
    counted = []

    def count(*arguments):
        counted.append(arguments)
        return count_observed(*arguments)

    monkeypatch.setattr(layers, "count_observed", count)
    x, mask = rand(1, 2, 6, 6), holes(1, 1, 6, 6)
    sparse_conv2d(x, mask, rand(3, 2, 3, 3), padding=1, scale=scale, mask_update=update)
    assert len(counted) == (scale != "none" or update == "dilate")


# Transforms -----------------------------------------------------------------------------------


def a_layer(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 7, 6, generator=generator, dtype=dtype)
    mask = (torch.rand(2, 1, 7, 6, generator=generator) < 0.4).to(dtype)
    weight = torch.randn(4, 3, 3, 3, generator=generator, dtype=dtype)
    bias = torch.randn(4, generator=generator, dtype=dtype)
    return x, mask, weight, bias


def test_gradients_of_gradients_batches_of_gradients_and_forward_mode():
    x, mask, weight, bias = (t.requires_grad_(i != 1) for i, t in enumerate(a_layer()))

    def layer(x, weight, bias):
        return sparse_conv2d(x, mask, weight, bias, padding=1)[0]

    inputs = (x, weight, bias)
    assert torch.autograd.gradcheck(layer, inputs, check_batched_grad=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(layer, inputs)


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_vmap_over_each_argument_alone(which):
    arguments = list(a_layer(torch.float32))
    several = arguments[which], arguments[which].flip(0), arguments[which].roll(1, -1)
    others = torch.stack(several, 1)
    dims = [1 if i == which else None for i in range(4)]
    layer = functools.partial(sparse_conv2d, padding=1)
    found, masks = torch.vmap(layer, tuple(dims))(
        *arguments[:which], others, *arguments[which + 1 :]
    )
    for i, one in enumerate(several):
        arguments[which] = one
        y, new = layer(*arguments)
        assert torch.allclose(found[i], y, atol=1e-5) and torch.equal(masks[i], new)


def test_channels_last_slices_and_views_are_as_good():
    x, mask, weight, bias = a_layer()
    expected = sparse_conv2d(x, mask, weight, bias, padding=1)
    wide = torch.nan * torch.ones(2, 3, 14, 12, dtype=x.dtype)
    wide[:, :, ::2, ::2] = x
    for image in (x.contiguous(memory_format=torch.channels_last), wide[:, :, ::2, ::2]):
        turned = mask.transpose(2, 3).contiguous().transpose(2, 3)
        found = sparse_conv2d(image, turned, weight, bias, padding=1)
        assert torch.allclose(found[0], expected[0]) and torch.equal(found[1], expected[1])


@pytest.mark.parametrize(
    "kernel, stride, padding, dilation",
    [
        (3, 1, 1, 1), (5, 2, 2, 1), (2, 1, "same", 1), (4, 1, "same", 2), (3, 3, "valid", 1),
        ((1, 5), (2, 1), (0, 2), (1, 2)), ((3,), (1,), (1,), (1,)), (16, 1, 8, 1), (17, 1, 8, 1),
    ],
)  # fmt: skip
def test_counts_are_those_of_a_convolution_of_ones(kernel, stride, padding, dilation):
    """Up to 255 pixels in bytes, beyond in whole numbers."""
    observed = torch.rand(2, 1, 21, 20, generator=torch.Generator().manual_seed(0)) < 0.7
    size = (kernel * 2)[:2] if isinstance(kernel, tuple) else (kernel, kernel)
    expected = F.conv2d(observed.float(), torch.ones(1, 1, *size), None, stride, padding, dilation)
    found = count_observed(observed, size, stride, padding, dilation)
    assert torch.equal(found.float(), expected)
    plain = F.conv2d(observed.float(), torch.ones(1, 1, *size))
    assert torch.equal(count_observed(observed, size).float(), plain)


def test_counts_where_a_byte_would_not_hold_them():
    for height, width in ((16, 16), (300, 1), (1, 300)):
        observed = torch.ones(1, 1, height, width, dtype=torch.bool)
        assert count_observed(observed, (height, width)).item() == height * width


def test_counts_by_convolution_have_the_same_shape():
    """As elsewhere than on a CPU; here without numbers."""
    observed = torch.ones(2, 1, 21, 20, dtype=torch.bool)
    for arguments in (((5, 5),), ((3, 2), (2, 1), (1, 2), (2, 3)), ((3, 3), 1, "same", 2)):
        expected = count_observed(observed, *arguments)
        assert count_observed(observed.to("meta"), *arguments).shape == expected.shape


def test_counts_by_convolution_are_in_float32_whatever_the_default(monkeypatch):
    """As elsewhere than on a CPU, where a convolution takes two tensors of one dtype."""
    seen, convolution = [], F.conv2d

    def observing(x, weight, *arguments):
        seen.append((x.dtype, weight.dtype))
        return convolution(x, weight, *arguments)

    monkeypatch.setattr(F, "conv2d", observing)
    usual = torch.get_default_dtype()
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            count_observed(torch.ones(1, 1, 5, 5, dtype=torch.bool, device="meta"), (3, 3))
        finally:
            torch.set_default_dtype(usual)
    assert seen == [(torch.float32, torch.float32)] * 2


def test_an_image_with_a_lazy_minus_is_as_good():
    z = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    x, mask = z.conj().imag, (torch.arange(72).view(2, 1, 6, 6) % 3 > 0).float()
    assert x.is_neg()
    weight = rand(4, 3, 3, 3, dtype=torch.float32)
    assert torch.equal(
        sparse_conv2d(x, mask, weight)[0], sparse_conv2d(x.resolve_neg(), mask, weight)[0]
    )


@pytest.mark.parametrize("upstream", [1.0, -1.0, INF, -INF, NAN])
def test_a_compiler_sees_the_same_numbers_and_gradients(upstream, monkeypatch):
    """Also where training overflows: what is missing has no gradient, not even then."""
    x, mask, weight, bias = a_layer()
    x[:, :, 0] = torch.nan
    mask[:, :, 0] = 0

    def results():
        leaf = x.clone().requires_grad_()
        y, new_mask = sparse_conv2d(leaf, mask, weight, bias, padding=1)
        y.backward(torch.full_like(y, upstream))
        return y, new_mask, leaf.grad, leaf.grad.signbit()

    here = results()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for a, b in zip(here, results(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    missing = (mask == 0).expand_as(x)
    assert (here[2][missing] == 0).all() and not here[3][missing].any()


def test_a_pooling_that_does_not_fit_is_refused():
    for kernel in (5, (5, 1), (1, 5), (4, 1), (1, 4), 4):
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        message = (
            f"^a window of {height} x {width} pixels does not fit into 3 x 3, padding included; "
            "use a smaller kernel, or more padding$"
        )
        with pytest.raises(ValueError, match=message):
            max_pool_mask(torch.ones(2, 1, 3, 3), kernel)
    for padding in (2, (2, 0), (0, 2), -1, (0, -1)):
        with pytest.raises(ValueError, match="at most half of 2"):
            max_pool_mask(torch.ones(2, 1, 9, 9), 2, padding=padding)
    for shape in ((1, 9, 9), (1, 2, 9, 9)):
        with pytest.raises(ValueError, match=r"it must be \(N, 1, H, W\)"):
            max_pool_mask(torch.ones(shape), 2)
    for kernel in (0, (0, 1), (1, -1)):
        with pytest.raises(ValueError, match="kernel_size is .*; it must be at least 1"):
            max_pool_mask(torch.ones(2, 1, 9, 9), kernel)
    for stride in (0, -1, (1, 0), (0, 1)):
        with pytest.raises(ValueError, match=r"^stride is .*; it must be at least 1$"):
            max_pool_mask(torch.ones(2, 1, 9, 9), 2, stride)
