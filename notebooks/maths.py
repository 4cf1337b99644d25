# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     notebook_metadata_filter: kernelspec,jupytext,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The maths
#
# What the sparse convolution computes, and what follows from it before anything
# is trained. Each statement is followed by a cell that checks it when this page
# is made; what such a cell prints is compared with the committed output by the
# tests.

# %% tags=["hide-input"]
import itertools
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import HTML, display
from torch import nn

from sparseconv_lib import SparseConv2d, max_pool_mask, observed, sparse_conv2d
from sparseconv_lib.masks import bernoulli_field
from sparseconv_lib.networks import (
    TABLE_1,
    TABLE_2,
    ClassificationNet,
    seed_weights,
)
from sparseconv_lib.study import (
    denominators,
    figures,
    mask_spread,
    report_maths,
)
from sparseconv_lib.study.protocol import check_parameter_names, check_source

_before = dict(globals())

# %% tags=["parameters", "hide-input"]
source = os.environ.get("SPARSECONV_SOURCE", "train")  # or records

# %% tags=["hide-input"]
check_parameter_names({"source"}, _before, dict(globals()))
measuring = check_source(source) == "train"
generator = torch.Generator().manual_seed(0)


def random(*shape):
    """Normal numbers from the page's own seed, float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# %% [markdown]
# ## Eq. 1, written out
#
# An image $x$ and a mask $o$, 1 where a pixel is observed and 0 where it is
# missing. The sparse convolution is the weighted sum of the observed pixels
# under the kernel, divided by their number $n_{u,v}$:
#
# $$
# f_{u,v}(x, o) = \frac{\sum_{i,j} o_{u+i,v+j}\, x_{u+i,v+j}\, w_{i,j}}
# {n_{u,v}} + b, \qquad n_{u,v} = \sum_{i,j} o_{u+i,v+j} .
# $$
#
# The source's Eq. 1 adds a small $\epsilon$ to $n$ so that an empty window
# divides by something. In half precision its $10^{-8}$ is 0, and 0/0 is not a
# number; here an empty window gives $b$. With nothing divided and no mask, this
# is the plain convolution, the source's Eq. 2.
#
# In loops, which is what the layer has to agree with:


# %%
def eq_1(x, o, w, b):
    """One channel: x and o (H, W), w (k, k), b a number -> (H, W)."""
    height, width = x.shape
    r = w.shape[0] // 2
    f = torch.empty_like(x)
    for u, v in itertools.product(range(height), range(width)):
        total, n = 0.0, 0
        for i, j in itertools.product(range(-r, r + 1), repeat=2):
            if (
                0 <= u + i < height
                and 0 <= v + j < width
                and o[u + i, v + j] == 1
            ):
                total += x[u + i, v + j] * w[i + r, j + r]
                n += 1
        f[u, v] = (total / n if n else 0.0) + b
    return f


x, w, b = random(9, 9), random(5, 5), 0.7
o = (torch.rand(9, 9, generator=generator) >= 0.9).double()
y, _ = sparse_conv2d(
    x[None, None], o[None, None], w[None, None], torch.tensor([b]), padding=2
)
print(
    "the layer is Eq. 1:", torch.allclose(y[0, 0], eq_1(x, o, w, b), atol=1e-12)
)
n = F.conv2d(o[None, None], torch.ones_like(w)[None, None], padding=2)
print(
    "windows without an observed pixel, which give b:",
    int((n == 0).sum()),
    "of 81",
)

# %% [markdown]
# ## A quotient of two convolutions
#
# Numerator and denominator are convolutions: of $o \odot x$ with the weights,
# and of $o$ with ones.

# %%
images, weight = random(2, 3, 12, 12), random(4, 3, 5, 5)
mask = (torch.rand(2, 1, 12, 12, generator=generator) >= 0.5).double()
numerator = F.conv2d(images * mask, weight, padding=2)  # (2, 4, 12, 12)
n = F.conv2d(
    mask, torch.ones(1, 1, 5, 5, dtype=mask.dtype), padding=2
)  # (2, 1, 12, 12)
y, _ = sparse_conv2d(images, mask, weight, padding=2)
print("the layer is the quotient:", torch.allclose(y, numerator / n))

# %% [markdown]
# ## One channel is enough for the denominator
#
# The mask is the same for all channels of the image, so a count over all of
# them is the count over one, times their number; and it is the same for every
# output channel. One convolution from one channel to one, without weights to
# store, gives what larger ones give.

# %%
shape = denominators.SHAPES[0]
results = {name: denominators.layer(name, shape, *denominators.inputs(shape))
           for name in denominators.DESIGNS}  # fmt: skip
alike = [torch.allclose(y, results["1 → 1"]) for y in results.values()]
print("all designs give the same output:", all(alike))

# %% [markdown]
# The larger ones cost time, and what is kept for the backward pass: a factor
# for each output channel instead of one. Times are ratios within one process,
# the designs taking turns.

# %% tags=["hide-input"]
display(HTML(report_maths.denominators_table(denominators.load(), "Recorded")))
if measuring:
    now = denominators.measure()
    display(HTML(report_maths.denominators_table(now, "Measured now")))

# %% [markdown]
# The source says that public implementations double the parameters of the
# layer. What those that we know of store, for 16 channels in and out and a
# kernel of 5 × 5:

# %% tags=["hide-input"]
display(HTML(report_maths.implementations_table(16, 16, 5)))

# %% [markdown]
# None of them doubles the parameters. What a count for every channel does cost
# is memory and time.

# %% [markdown]
# ## What the division keeps constant
#
# Let every pixel be missing with probability $p$, independently, and let a
# window of the image have the weighted pixels $z_i = w_i x_i$, $i = 1 \dots
# k^2$. A plain convolution of the image with missing pixels set to 0 gives
#
# $$ \mathbb{E}\,\textstyle\sum_i o_i z_i = (1 - p)\, k^2\, \bar z, $$
#
# which shrinks as pixels go missing. Eq. 1 gives
#
# $$
# \mathbb{E}\left[\frac{\sum_i o_i z_i}{n} \,\middle|\, n > 0\right] = \bar z
# $$
#
# whatever $p$ is: given that $n = m$, each pixel is among the observed with the
# same chance $m/k^2$, so the expected sum is $m \bar z$. Only empty windows, of
# which there are $p^{k^2}$, take something away. For a window of 3 × 3 all 512
# masks can be written down, so this needs no sampling:

# %%
masks = torch.tensor(
    list(itertools.product([0.0, 1.0], repeat=9)), dtype=torch.float64
)  # (512, 9)
z = random(9) + 1
counts = masks.sum(1)
plain = masks @ z
sparse = plain / counts.clamp(min=1)


def moments(values, p):
    """Mean and sd over all masks, each with its probability at p."""
    chance = (1 - p) ** counts * p ** (9 - counts)
    mean = (chance * values).sum()
    return mean.item(), ((chance * (values - mean) ** 2).sum()).sqrt().item()


for p in (0.1, 0.5, 0.9):
    print(
        f"p = {p}:",
        "plain = (1 − p) k² z̄:",
        math.isclose(moments(plain, p)[0], (1 - p) * z.sum()),
        "| sparse = (1 − p^k²) z̄:",
        math.isclose(moments(sparse, p)[0], (1 - p**9) * z.mean()),
    )

# %% tags=["hide-input"]
levels = np.linspace(0, 0.99, 100)
figure, axes = figures.new_figure(7.4, 3.0, 1, 2)
for axis, values, name in (
    (axes[0], plain / 9, "plain convolution ÷ k²"),
    (axes[1], sparse, "Eq. 1"),
):
    mean, sd = (
        100 * np.array(m) / z.mean().item()
        for m in zip(*(moments(values, p) for p in levels))
    )
    axis.fill_between(
        levels,
        mean - sd,
        mean + sd,
        alpha=0.25,
        linewidth=0,
        label="± one sd over masks",
    )
    axis.plot(levels, mean, label="mean")
    axis.axhline(100, color="#444444", linewidth=0.8, linestyle=":")
    axis.set(title=name, xlabel="sparsity p", ylim=(-40, 240))
axes[0].set_ylabel("response, % of that at p = 0")
axes[0].legend(loc="upper right")
display(HTML(figures.as_html(
    figure,
    "Response of one 3 × 3 window over all 512 masks, against sparsity: what "
    "zeros do to a plain convolution, and what the division puts right.",
    "Left: the mean response of a plain convolution falls in a straight line "
    "to 0 as p grows. Right: that of Eq. 1 stays at 100 % until about p = "
    "0.8, while its spread grows.",
)))  # fmt: skip

# %% [markdown]
# **So where could it help?** At one sparsity, $(1 - p) k^2$ is a constant, and
# a BatchNorm behind the convolution divides any constant out again (below). A
# network that is trained and tested at the same $p$ has nothing to gain from an
# expectation that is right: what is left for the division to correct are the
# fluctuations of $n$ around $(1-p)k^2$, of relative size $\sqrt{p / ((1 - p)
# k^2)}$. The case that the division is made for is another one: to train at one
# sparsity and to test at another. The source did not try that.


# %%
def relative_spread(p, k):
    """Of the number of observed pixels in a window: sd over mean."""
    return math.sqrt(p / (1 - p)) / k


field = bernoulli_field(200, 64, 64, generator)
for p in (0.5, 0.8, 0.95):
    n = F.conv2d(observed(field, p).float(), torch.ones(1, 1, 5, 5))
    calculated, measured = relative_spread(p, 5), n.std() / n.mean()
    print(f"p = {p}: calculated {calculated:.2f}, measured {measured:.2f}")

# %% [markdown]
# ## The scale 1/k²
#
# On a whole image $n = k^2$, and the output is that of the plain convolution
# divided by 25 for a kernel of 5 × 5. So are the gradients with respect to the
# weights and to the image. Two such layers pass on a signal that is $25^2 =
# 625$ times smaller, and so is the gradient that reaches the first.


# %%
def gradients(scale, layers=2):
    """Through 5 × 5 layers on a whole image, away from its border."""
    torch.manual_seed(0)
    convolutions = [
        SparseConv2d(1, 1, 5, scale=scale, bias=False).double()
        for _ in range(layers)
    ]
    x = image.clone().requires_grad_()
    y, o = x, torch.ones_like(x)
    for convolution in convolutions:
        y, o = convolution(y, o)
    y.square().sum().sqrt().backward()
    return y.detach(), convolutions[0].weight.grad, x.grad


image = random(1, 1, 20, 20)
names = ("output", "gradient of the first weights", "gradient of the image")
for name, mean, none in zip(names, gradients("mean"), gradients("none")):
    print(f"{name}: {(none.norm() / mean.norm()).item():.6g} times smaller")

# %% [markdown]
# **BatchNorm undoes it.** It subtracts the mean and divides by the standard
# deviation, so $\mathrm{BN}(c\,y) = \mathrm{BN}(y)$ for every $c > 0$. The loss
# then does not depend on the scale, and so neither do its gradients with
# respect to the weights. (A bias in front of BatchNorm is subtracted with the
# mean. What is left is the $\epsilon = 10^{-5}$ in BatchNorm's own denominator,
# next to nothing in the check below; it counts where the variance comes down to
# its size.) What happens without BatchNorm is measured in [](forensics).


# %%
def loss_gradient(scale):
    torch.manual_seed(0)
    convolution = SparseConv2d(1, 6, 5, scale=scale, bias=False).double()
    norm = nn.BatchNorm2d(6, eps=1e-12).double()
    y, _ = convolution(batch, torch.ones_like(batch))
    loss = (norm(y).relu() * target).sum()
    loss.backward()
    return loss.item(), convolution.weight.grad


batch, target = random(8, 1, 12, 12), random(8, 6, 8, 8)
(loss_mean, of_mean), (loss_none, of_none) = (
    loss_gradient("mean"),
    loss_gradient("none"),
)
print("same loss:", math.isclose(loss_mean, loss_none, rel_tol=1e-6))
print(
    "same gradient of the weights:", torch.allclose(of_mean, of_none, rtol=1e-6)
)

# %% [markdown]
# ## Borders and empty windows
#
# Zero padding adds pixels that are not there. To a plain convolution they are
# zeros; Eq. 1 counts them as missing, so at the corner of a whole image it
# divides by 9 where the interior divides by 25. Compared with the interior, a
# border output is larger by the ratio of the two, up to 25/9.

# %%
ones = torch.ones(1, 1, 28, 28)
taps = F.conv2d(ones, torch.ones(1, 1, 5, 5), padding=2)[0, 0]  # (28, 28)
print(
    "taps at corner, edge, interior:",
    *(int(taps[at]) for at in ((0, 0), (0, 14), (14, 14))),
)
over = (taps < 25).float().mean().item()
print(f"outputs whose window reaches over the border: {over:.1%}")

# %% tags=["hide-input"]
figure, axes = figures.new_figure(8.6, 2.6, 1, 4)
example = observed(
    bernoulli_field(1, 28, 28, torch.Generator().manual_seed(3)), 0.9
).float()
for axis, p, mask in zip(axes[:2], (0, 0.9), (ones, example)):
    n = F.conv2d(mask, torch.ones(1, 1, 5, 5), padding=2)[0, 0]
    drawn = axis.imshow(
        np.where(n > 0, n, np.nan), cmap="viridis", vmin=1, vmax=25
    )
    axis.set_title(f"n at p = {p}", fontsize=10)
    axis.set_facecolor("#D55E00")
    axis.set_axis_off() if p == 0 else axis.set(xticks=[], yticks=[])
figure.colorbar(drawn, ax=list(axes[:2]), shrink=0.8)
axes[2].plot(levels, levels**25, label="interior")
axes[2].plot(levels, levels**9, linestyle="--", label="corner")
axes[2].set(title="share of empty windows", xlabel="p")
axes[2].legend()
for k, line in ((3, "-"), (5, "--"), (7, ":")):
    axes[3].plot(
        levels,
        [relative_spread(p, k) for p in levels],
        linestyle=line,
        label=f"k = {k}",
    )
axes[3].set(title="sd of n over its mean", xlabel="p", ylim=(0, 2))
axes[3].legend()
display(HTML(figures.as_html(
    figure,
    "The number n of observed pixels under a 5 × 5 kernel: on a whole image; "
    "at p = 0.9, where orange windows are empty; how often windows are empty; "
    "how much n fluctuates.",
    "Maps of n on a whole image, lower at the border, and at p = 0.9, ragged; "
    "curves of the share of empty windows, p to the power 25 inside and 9 in "
    "a corner, and of the relative spread of n.",
)))  # fmt: skip

# %% [markdown]
# An empty window gives the bias, in every precision, and what missing pixels
# hold never matters:

# %%
layer = SparseConv2d(2, 3, 5, padding=2)
nothing = torch.zeros(1, 1, 9, 9)
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    layer.to(dtype)
    y, _ = layer(
        torch.full((1, 2, 9, 9), torch.nan, dtype=dtype), nothing.to(dtype)
    )
    bias = layer.bias.detach().view(1, 3, 1, 1).expand_as(y)
    print(
        f"{dtype}: an empty image of NaN gives the bias:", torch.equal(y, bias)
    )

# %% [markdown]
# ## How the mask spreads
#
# After a layer, which of its outputs count as observed? Uhrig et al. *dilate*
# the mask: an output counts if its window held an observed pixel. The source's
# code *keeps* the mask, and only pools it with the image. An entry of the mask
# that has looked at $N$ pixels of the image is 0 just where all of them are
# missing, which has the chance $p^N$; so its share of ones is $1 - p^N$, and
# only the rectangles that each entry has looked at have to be counted, cut off
# at the border. The lines are so calculated; the dots are measured on 500 masks
# that went through the layers.

# %%
field = bernoulli_field(500, 28, 28, torch.Generator().manual_seed(0))
levels = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99)
worst = 0.0
spread = {}
for update in ("keep", "dilate"):
    for p in levels:
        calculated = mask_spread.calculated(TABLE_1, update, p)
        measured = mask_spread.measured(TABLE_1, update, observed(field, p))
        spread[update, p] = measured
        worst = max(worst, *(abs(a - b) for a, b in zip(calculated, measured)))
print(
    "calculated and measured shares differ by less than half a point:",
    worst < 0.005,
)

# %% tags=["hide-input"]
fine = np.linspace(0.5, 0.995, 100)
names = mask_spread.stages(TABLE_1)
titles = {
    "keep": "kept (the source's code)",
    "dilate": "dilated (Uhrig et al.)",
}
figure, axes = figures.new_figure(7.6, 3.4, 1, 2, sharey=True)
for axis, update in zip(axes, ("keep", "dilate")):
    lines = np.array([mask_spread.calculated(TABLE_1, update, p) for p in fine])
    for stage in (0, 1, 2, 3):
        color, line, marker = list(figures.STYLES.values())[stage]
        axis.plot(
            fine,
            100 * lines[:, stage],
            color=color,
            linestyle=line,
            label=names[stage],
        )
        dots = [100 * spread[update, p][stage] for p in levels]
        axis.plot(levels, dots, marker, color=color, markersize=3.5)
    axis.set(title=titles[update], xlabel="sparsity p")
axes[0].set_ylabel("share of ones in the mask (%)")
axes[1].legend(title="after", loc="lower left")
display(HTML(figures.as_html(
    figure,
    "How much of the mask is 1 at each stage of the network for MNIST: "
    "calculated (lines) and measured on 500 masks (dots). In the left panel "
    "convolution leaves the mask alone, so two pairs of lines lie on each "
    "other.",
    "Two panels of the share of ones against p. Kept: after pooling 1 about "
    "59 % at p = 0.8 and 34 % at 0.9. Dilated: nearly all ones after the "
    "first convolution up to p = 0.8.",
)))  # fmt: skip
display(HTML(report_maths.mask_spread_table(TABLE_1, (0.5, 0.8, 0.9, 0.95))))

# %% [markdown]
# With the mask kept, the second layer of the network treats outputs of the
# first as missing that are sums of observed pixels: it throws away what it was
# given. How much that costs is in [](forensics).

# %% [markdown]
# ## When both networks are the same function
#
# With a mask of ones and `scale="none"` nothing is left of the sparse
# convolution: ConvNet and SparseConvNet with the same weights are the same
# function, digit for digit.


# %%
def network(name, scale="mean", architecture=TABLE_1, batch_norm=True):
    net = ClassificationNet(
        name, architecture, scale=scale, batch_norm=batch_norm
    )
    seed_weights(net, 0)
    return net.eval()


digits = torch.rand(8, 1, 28, 28, generator=generator)
whole = torch.ones(8, 1, 28, 28)
with torch.no_grad():
    plain = network("ConvNet")(digits, whole)
    for name in ("SparseConvNet", "SparseConvNet-kept"):
        print(
            f"{name}, scale none:",
            torch.equal(network(name, "none")(digits, whole), plain),
        )
        print(
            f"{name}, scale mean:",
            torch.equal(network(name)(digits, whole), plain),
        )

# %% [markdown]
# ## How far the borders carry
#
# With `scale="partial"`, which multiplies by $k^2/n$, the interior of a whole
# image is that of the plain convolution, and only borders differ. They do not
# stay at the border: the next convolution carries them further in, and pooling
# halves the way. The maps show where the outputs of ConvNet and SparseConvNet
# differ, on a whole image, from the same weights.


# %%
def differing(architecture):
    """After each block, where the two networks differ: a list of (H, W)."""
    nets = [network(name, "partial", architecture, batch_norm=False)
            for name in ("ConvNet", "SparseConvNet")]  # fmt: skip
    size = architecture.size
    x = torch.rand(1, architecture.in_channels, size, size, generator=generator)
    outputs = [x, x]
    o = torch.ones(1, 1, size, size)
    maps = []
    for plain, sparse in zip(nets[0].convolutions, nets[1].convolutions):
        outputs = [plain(outputs[0]), sparse(outputs[1], o)[0]]
        outputs = [F.max_pool2d(F.relu(y), 2) for y in outputs]
        o = max_pool_mask(o, 2)
        # Far above rounding: each kernel's own sum of some tens of terms.
        maps.append(((outputs[0] - outputs[1]).abs() > 1e-5).any(1)[0])
    return maps


with torch.no_grad():
    reach = {
        "MNIST (Table 1)": differing(TABLE_1),
        "Caltech-101 (Table 2)": differing(TABLE_2),
    }
for name, maps in reach.items():
    print(
        name + ":",
        *(
            f"after block {i}: {m.float().mean().item():.0%}"
            for i, m in enumerate(maps, 1)
        ),
    )

# %% tags=["hide-input"]
figure, axes = figures.new_figure(8.2, 1.9, 1, 6)
panels = [
    (name, i, m) for name, maps in reach.items() for i, m in enumerate(maps, 1)
]
for axis, (name, i, m) in zip(axes, panels):
    axis.imshow(m, cmap="cividis", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.set_title(
        f"{name.split(' (')[0]}\nblock {i}: {m.float().mean().item():.0%}",
        fontsize=9,
    )
display(HTML(figures.as_html(
    figure,
    "Where (light) ConvNet and SparseConvNet differ on a whole image because "
    "the border counts fewer pixels, after each block of convolution and "
    "pooling.",
    "Maps of the places that the border reaches: a frame that grows from "
    "block to block, until it is most of the map for MNIST and half of it "
    "for Caltech-101.",
)))  # fmt: skip

# %% [markdown]
# So "the 2 nets are equivalent when the images are non-sparse", as the source
# says, holds in the interior, up to a factor that BatchNorm takes out; on an
# image of 28 × 28 pixels little of it is interior by the end of the second
# block.
