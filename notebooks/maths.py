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
# Eq. 1 is the mean of the weighted pixels that were observed: its expected
# value stays the same whatever share of them is missing, where that of a
# plain convolution shrinks by $1 - p$. At one sparsity that is a constant,
# which a BatchNorm behind it takes out as well; so what the division is made
# for is to train at one sparsity and to test at another. On a whole image it
# makes the signal $k^2$ times smaller in each layer, 625 times behind two
# kernels of 5 × 5, which without BatchNorm slows learning. A mask that is
# dilated is soon full: behind one such kernel an entry away from the border
# is 0 with the chance $p^{25}$, at $p = 0.8$ less than one in 250.
#
# Each statement is followed by a cell that checks it when this page is made;
# what such a cell prints is compared with the committed output by the tests.

# %% tags=["hide-input"]
import itertools
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import HTML, display
from torch import nn

from sparseconv_lib import (
    SparseConv2d,
    max_pool_mask,
    observe,
    observed,
    sparse_conv2d,
)
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
    report,
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
# divides by something. In half precision the $10^{-8}$ of its code is 0, and
# 0/0 is not a number; here an empty window gives $b$. With nothing divided and
# no mask, this is the plain convolution, the source's Eq. 2.
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

# %% tags=["remove-input"]
display(HTML(report.paragraph(report_maths.implementations_in_words())))

# %% [markdown]
# DepthComplete computes just the count over all channels that the source
# describes, and stores nothing for it: what such a count costs is memory and
# time, above.

# %% [markdown]
# ## What the division keeps constant
#
# Let every pixel be missing with probability $p$, independently. Take one
# window, with weighted pixels $z_i = w_i x_i$, $i = 1 \dots k^2$, their mean
# $\bar z$ and their variance $s^2$. A plain convolution of the image with
# missing pixels set to 0 gives
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
# which there are $p^{k^2}$, take something away.
#
# Their noise differs, too. Divided by its expected count, the plain sum has the
# variance on the left; Eq. 1, where $n > 0$, has that of a mean of $n$ draws
# without replacement, on the right:
#
# $$
# \frac{p}{(1-p)\,k^2}\,(s^2 + \bar z^2)
# \qquad\text{and}\qquad
# s^2\; \mathbb{E}\left[\frac{1}{n}\,\frac{k^2 - n}{k^2 - 1}
# \,\middle|\, n > 0\right] .
# $$
#
# The division takes out what the fluctuating count does to $\bar z$, and
# changes the share of $s^2$. For a window of 3 × 3 all 512 masks can be written
# down, so none of this needs sampling:

# %%
masks = torch.tensor(
    list(itertools.product([0.0, 1.0], repeat=9)), dtype=torch.float64
)  # (512, 9)
counts = masks.sum(1)
u = random(9)
u = (u - u.mean()) / u.std(correction=0)  # mean 0, variance 1


def chance(p):
    """Of each of the 512 masks."""
    return (1 - p) ** counts * p ** (9 - counts)


def moments(values, weights):
    """Mean and variance of values that have these weights."""
    weights = weights / weights.sum()
    mean = (weights * values).sum()
    return mean.item(), (weights * (values - mean) ** 2).sum().item()


def both(mean, p):
    """Moments of the plain sum ÷ (1 − p) k², and of Eq. 1 where n > 0."""
    total, some = masks @ (mean + u), counts > 0
    return (
        moments(total / ((1 - p) * 9), chance(p)),
        moments(total[some] / counts[some], chance(p)[some]),
    )


some = counts.clamp(min=1)
right = []
for mean, p in itertools.product((0.0, 0.5, 2.0), (0.1, 0.5, 0.9)):
    of_plain, of_sparse = both(mean, p)
    variance = moments((9 - counts) / some / 8, chance(p) * (counts > 0))[0]
    right += [
        math.isclose(of_plain[0], mean, abs_tol=1e-12),
        math.isclose(of_sparse[0], mean, abs_tol=1e-12),
        math.isclose(of_plain[1], p / (1 - p) / 9 * (1 + mean**2)),
        math.isclose(of_sparse[1], variance),
    ]
print(f"means and variances are as written: {sum(right)} of {len(right)}")

# %% tags=["hide-input"]
levels = np.linspace(0, 0.99, 100)
figure, axes = figures.new_figure(8.4, 3.0, 1, 3)
window = 1.0 + u
for axis, values, name in (
    (axes[0], masks @ window / 9, "plain convolution ÷ k²"),
    (axes[1], masks @ window / some, "Eq. 1"),
):
    mean, variance = (
        np.array(m) for m in zip(*(moments(values, chance(p)) for p in levels))
    )
    band = (100 * (mean - variance**0.5), 100 * (mean + variance**0.5))
    axis.fill_between(
        levels, *band, alpha=0.25, linewidth=0, label="± one sd over masks"
    )
    axis.plot(levels, 100 * mean, label="mean")
    axis.axhline(100, color="#444444", linewidth=0.8, linestyle=":")
    axis.set(title=name, xlabel="sparsity p", ylim=(-40, 240))
axes[0].set_ylabel("response, % of that at p = 0")
axes[0].legend(loc="upper right", fontsize=8)
for mean, line in ((0.0, "-"), (1.0, "--"), (2.0, ":")):
    pairs = [both(mean, p) for p in levels[1:]]
    ratio = [(b[1] / a[1]) ** 0.5 for a, b in pairs]
    axes[2].plot(levels[1:], ratio, linestyle=line, label=f"z̄ = {mean:g} s")
axes[2].axhline(1, color="#444444", linewidth=0.8, linestyle=":")
axes[2].set(title="noise, Eq. 1 ÷ plain", xlabel="sparsity p", ylim=(0, 1.6))
axes[2].legend(fontsize=8)
display(HTML(figures.as_html(
    figure,
    "One 3 × 3 window over all 512 masks, against sparsity. Left and middle: "
    "its response where z̄ = s, empty windows counting as 0. Right: the "
    "standard deviation of Eq. 1 where n > 0 over that of the plain sum "
    "divided by its expected count, for three windows.",
    "Left: the mean response of a plain convolution falls in a straight line "
    "to 0 as p grows. Middle: that of Eq. 1 stays near 100 % until p = 0.6 "
    "and falls where windows are empty, while its spread grows. Right: the "
    "ratio of noise, below 1 for large means, and for a window with mean 0 "
    "above 1 until many windows are empty.",
)))  # fmt: skip

# %% [markdown]
# **So where could it help?** At one sparsity, $(1 - p) k^2$ is a constant, and
# a BatchNorm behind the convolution divides a constant out again (below). A
# network that is trained and tested at the same $p$ gains nothing from a mean
# that is right. What it gains or loses there must come from what differs
# between windows of one image: their counts, which fluctuate around $(1-p)k^2$
# by the relative size $\sqrt{p / ((1 - p) k^2)}$, the empty ones, and the
# borders. The noise is less where $\bar z$ is large beside $s$, as under a
# blurring kernel, and more where the weighted pixels cancel, as under an edge
# detector. (That the chart's ratio falls below 1 there comes from empty
# windows, which count for the plain convolution alone; in windows with an
# observed pixel Eq. 1 has more noise, as the last lines below say.) The case
# that the division is made for is another one: to train at one sparsity and to
# test at another. The source did not try that.


# %%
def relative_spread(p, k):
    """Of the number of observed pixels in a window: sd over mean."""
    return math.sqrt(p / (1 - p)) / k


field = bernoulli_field(200, 64, 64, generator)
for p in (0.5, 0.8, 0.95):
    n = F.conv2d(observed(field, p).float(), torch.ones(1, 1, 5, 5))
    calculated, measured = relative_spread(p, 5), n.std() / n.mean()
    print(f"p = {p}: calculated {calculated:.2f}, measured {measured:.2f}")
some, cancels = counts > 0, masks @ u  # a window of 3 × 3 whose pixels cancel
for p in (0.5, 0.8, 0.95):
    weights = chance(p)[some]
    left, _ = moments(counts[some], weights)
    of_plain = moments(cancels[some] / left, weights)
    of_sparse = moments(cancels[some] / counts[some], weights)
    ratio = (of_sparse[1] / of_plain[1]) ** 0.5
    seen = f"p = {p}, windows with any: {left:.1f} of 9 observed"
    print(f"{seen}, noise of Eq. 1 over plain {ratio:.2f}")

# %% [markdown]
# ## The scale 1/k²
#
# On a whole image $n = k^2$, and the output is that of the plain convolution
# divided by 25 for a kernel of 5 × 5. For the same gradient from above, and
# without biases, so are the gradients with respect to the weights and to the
# image. Two such layers pass on a signal that is $25^2 = 625$ times smaller,
# and so is the gradient that reaches the first.


# %%
def gradients(scale, layers):
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
for layers in (1, 2):
    pairs = zip(names, gradients("mean", layers), gradients("none", layers))
    told = (
        f"{name} {(b.norm() / a.norm()).item():.6g}" for name, a, b in pairs
    )
    print(f"{layers} layers, times smaller: {', '.join(told)}")

# %% [markdown]
# **Without BatchNorm**, Eq. 1 with weights $w$ on a whole image is a plain
# convolution with $v = w / k^2$. The gradient of $w$ is $1/k^2$ of that of $v$,
# so a step of gradient descent at the rate $\eta$ moves $v$ as a plain
# convolution would at the rate $\eta / k^4$. With a kernel of 5 × 5: first
# weights 25 times smaller, learning 625 times more slowly, in each layer, while
# the fully connected layers learn as ever. A larger rate for all layers does
# not mend that; multiplying the output by $k^2$, as `scale="partial"` does, is
# the same as not dividing.

# %%
step = 0.1
plain = nn.Conv2d(1, 1, 5, bias=False).double()
divided = SparseConv2d(1, 1, 5, bias=False).double()
divided.weight.data = 25 * plain.weight.data  # so that both give the same
for convolution, rate in ((plain, step), (divided, 625 * step)):
    y = convolution(image) if convolution is plain else convolution(
        image, torch.ones_like(image)
    )[0]  # fmt: skip
    y.square().mean().backward()
    convolution.weight.data -= rate * convolution.weight.grad
print("one step at 625 times the rate keeps them the same:",
      torch.allclose(divided.weight / 25, plain.weight))  # fmt: skip

# %% [markdown]
# **BatchNorm undoes it**, where it stands right behind the convolution, as in
# the source's text. It subtracts the mean, and any bias with it, and divides by
# the standard deviation, so $\mathrm{BN}(c\,y) = \mathrm{BN}(y)$ for every $c >
# 0$: the loss does not depend on the scale, and so neither do its gradients
# with respect to the weights. In the order of the source's code, ReLU and
# pooling come first; they let a factor through, but not past a bias, so there
# the scale matters unless the bias is 0.
#
# One thing is left: the $\epsilon = 10^{-5}$ in BatchNorm's own denominator. It
# is not small beside what Eq. 1 makes of a digit.


# %%
def loss_gradient(scale):
    torch.manual_seed(0)
    convolution = SparseConv2d(1, 6, 5, scale=scale).double()
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
print(
    "next to no ε, same loss:", math.isclose(loss_mean, loss_none, rel_tol=1e-6)
)
print("and gradient:", torch.allclose(of_mean, of_none, rtol=1e-5))

digit = report_maths.recorded_digit()  # (1, 1, 28, 28), the first test image
for scale in ("mean", "none"):
    torch.manual_seed(0)
    first = SparseConv2d(1, 6, 5, padding=2, scale=scale)
    with torch.no_grad():
        variance = first(digit, torch.ones_like(digit))[0].var((0, 2, 3))
    kept = (variance / (variance + 1e-5)).sqrt().median().item()
    print(
        f"scale {scale}: variance {variance.median().item():.0e} on a digit,",
        f"of whose root BatchNorm keeps {kept:.0%}",
    )

# %% [markdown]
# ## Borders and empty windows
#
# Zero padding adds pixels that are not there. To a plain convolution they are
# zeros; Eq. 1 counts them as missing, so at the corner of a whole image it
# divides by 9 where the interior divides by 25. Beside a plain convolution
# divided by 25, a border output is larger by up to 25/9.

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
half = observed(torch.rand(1, 1, 9, 9, generator=generator), 0.5).float()
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    layer.to(dtype)
    nan = torch.full((1, 2, 9, 9), torch.nan, dtype=dtype)
    y, _ = layer(nan, torch.zeros_like(half))
    bias = layer.bias.detach().view(1, 3, 1, 1).expand_as(y)
    x = torch.rand(1, 2, 9, 9, generator=generator).to(dtype)
    with_nan, with_zero = (observe(x, half, fill) for fill in (torch.nan, 0.0))
    same = torch.equal(layer(with_nan, half)[0], layer(with_zero, half)[0])
    print(f"{dtype}: empty gives the bias: {torch.equal(y, bias)};",
          f"NaN changes nothing: {same}")  # fmt: skip

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
# given. How much that costs is in [](forensics.ipynb).

# %% [markdown]
# ## When both networks are the same function
#
# With a mask of ones and `scale="none"` nothing is left of the sparse
# convolution: ConvNet and SparseConvNet with the same weights are the same
# function, up to rounding (a relative 1e-4 here), in training and in testing.
# With Eq. 1's scale they are not. Below: the same output as ConvNet, with scale
# none and with Eq. 1's mean?


# %%
def network(name, scale="mean", architecture=TABLE_1, batch_norm=True):
    net = ClassificationNet(
        name, architecture, scale=scale, batch_norm=batch_norm
    )
    seed_weights(net, 0)
    return net


digits = torch.rand(8, 1, 28, 28, generator=generator)
whole = torch.ones(8, 1, 28, 28)
with torch.no_grad():
    for training in (True, False):
        plain = network("ConvNet").train(training)(digits, whole)
        for name in ("SparseConvNet", "SparseConvNet-kept"):
            same = {
                scale: torch.allclose(
                    network(name, scale).train(training)(digits, whole),
                    plain,
                    rtol=1e-4,
                    atol=1e-4,
                )
                for scale in ("none", "mean")
            }
            print(
                f"{name}, {'training' if training else 'testing'}:",
                f"none {same['none']}, mean {same['mean']}",
            )

# %% [markdown]
# ## How far the borders carry
#
# With `scale="partial"`, which multiplies by $k^2/n$, the interior of a whole
# image is that of the plain convolution, and only borders differ. They do not
# stay at the border: the next convolution carries them further in, and pooling
# halves the way. Where a border can reach is a matter of counting; that ConvNet
# and SparseConvNet, from the same weights and without BatchNorm, differ nowhere
# else is checked on noise.


# %%
def reach(architecture):
    """After each block, the places that a border can reach: list of (H, W)."""
    touched = torch.zeros(1, 1, architecture.size, architecture.size)
    maps = []
    for kernel, _ in architecture.convolutions:
        outside = F.pad(touched, [kernel // 2] * 4, value=1.0)
        touched = F.max_pool2d(outside, kernel, 1)
        touched = F.max_pool2d(touched, 2)
        maps.append(touched[0, 0] > 0)
    return maps


@torch.no_grad()
def outputs_of_blocks(name, architecture, x):
    net = network(name, "partial", architecture, batch_norm=False)
    o = torch.ones(x.shape[0], 1, *x.shape[2:])
    for convolution in net.convolutions:
        x = convolution(x, o)[0] if net.sparse else convolution(x)
        x, o = F.max_pool2d(F.relu(x), 2), max_pool_mask(o, 2)
        yield x


reached = {}
for name, architecture in (("MNIST", TABLE_1), ("Caltech-101", TABLE_2)):
    shape = (1, architecture.in_channels, architecture.size, architecture.size)
    noise = torch.rand(shape, generator=generator)
    pairs = zip(*(outputs_of_blocks(net, architecture, noise)
                  for net in ("ConvNet", "SparseConvNet")))  # fmt: skip
    reached[name] = reach(architecture)
    inside = [
        torch.allclose(a[..., ~m], b[..., ~m], rtol=1e-4, atol=1e-6)
        for m, (a, b) in zip(reached[name], pairs)
    ]
    shares = ", ".join(f"{m.float().mean().item():.0%}" for m in reached[name])
    print(f"{name}: within reach {shares}; same elsewhere: {all(inside)}")

# %% [markdown]
# How much it matters depends on what lies near the border. A digit has an empty
# margin, and there the two differ less than on noise:

# %%
for name, x in (("digit", digit), ("noise", digits[:1])):
    pairs = zip(*(outputs_of_blocks(net, TABLE_1, x)
                  for net in ("ConvNet", "SparseConvNet")))  # fmt: skip
    told = (f"{((a - b).norm() / a.norm()).item():.0%}" for a, b in pairs)
    print(f"{name}: difference after each block, relative: {', '.join(told)}")

# %% tags=["hide-input"]
figure, axes = figures.new_figure(8.2, 1.9, 1, 6)
panels = [
    (name, i, m)
    for name, maps in reached.items()
    for i, m in enumerate(maps, 1)
]
for axis, (name, i, m) in zip(axes, panels):
    axis.imshow(m, cmap="cividis", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    share = f"{m.float().mean().item():.0%}"
    axis.set_title(f"{name}\nblock {i}: {share}", fontsize=9)
display(HTML(figures.as_html(
    figure,
    "The places (light) that the border of the image can reach after each "
    "block of convolution and pooling: an upper bound of where the two "
    "networks differ.",
    "Maps of the places that the border reaches: a frame that grows from block "
    "to block, until it is most of the map for MNIST and half of it for "
    "Caltech-101.",
)))  # fmt: skip

# %% [markdown]
# So "the 2 nets are equivalent when the images are non-sparse", as the source
# says, holds away from the border, but for BatchNorm's $\epsilon$. What the
# border carries in makes them differ by the shares above, and in training,
# where BatchNorm's statistics are taken over borders, too, a little of it
# reaches every place. Whether they come to the same accuracy is another
# question, for [](mnist.ipynb).
