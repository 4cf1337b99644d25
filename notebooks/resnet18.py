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
# # Why ResNet18 failed
#
# The source's text has its ResNet18 fall from 75 to 50 % on Caltech-101 when
# its convolutions become sparse, although not one pixel is missing.
# `papermill notebooks/resnet18.ipynb out.ipynb -p sparsity 0.5` runs this
# notebook, training included, at p = 0.5, on small images for a few epochs;
# `-p protocol as_written` trains as long as the source did, which asks for a
# GPU; `-p variant code` trains with every fault of the source's code.

# %% tags=["remove-input"]
import os

from IPython.display import HTML, display

from sparseconv_lib.study import (
    data,
    figures,
    ladder,
    records,
    report,
    report_ladder,
    report_resnet,
    report_walk,
    runner,
)
from sparseconv_lib.study.protocol import check_parameter_names

_before = dict(globals())

# %% tags=["parameters", "hide-input"]
sparsity = 0.0  # share of missing pixels, from 0 to below 1
protocol = "reduced"  # as_written, as_coded; changes after commas
variant = "text"  # code, dense, or faults such as untrained+no_second_norm
networks = "ConvNet, SparseConvNet-kept"  # also ConvNet+mask, SparseConvNet
seed = 0  # the first seed
seeds = 1  # how many seeds, one after the other
source = os.environ.get("SPARSECONV_SOURCE", "train")  # or records

# %% tags=["remove-input"]
check_parameter_names(
    {
        "sparsity",
        "protocol",
        "variant",
        "networks",
        "seed",
        "seeds",
        "source",
    },
    _before,
    dict(globals()),
)
protocol = ladder.with_variant(protocol, variant)
keys, knobs, training = runner.asked(
    "resnet18", sparsity, protocol, networks, seed, seeds, source
)

# %% [markdown] tags=["chapter"]
# ## What was found

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(report_resnet.in_words())))
for base in sorted(
    ladder.BASES, key=lambda base: not report_ladder.has_run(base)
):
    display(HTML(report.paragraph(report_ladder.in_words(base))))
    display(HTML(report.paragraph(report_resnet.sparse_in_words(base))))

# %% [markdown] tags=["chapter"]
# ## What the source saw
#
# It trained ResNet18 with plain and with sparse convolutions, and blamed the
# fall on the mask: "sparse convolutions are used twice in a residual block with
# the same mask", so that the second one works on what the first has already
# repaired {cite:p}`ge2024`.

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(report_resnet.printed_in_words())))

# %% tags=["hide-input", "chapter"]
display(HTML(report_resnet.figure_5()))

# %% [markdown] tags=["chapter"]
# ## Why it cannot be the mask
#
# Figure 5 is drawn at p = 0. No pixel is missing, every mask holds ones and
# nothing else, and whatever the network does with its masks, it gets ones back.
# What follows is computed while this page is built, on noise: none of it needs
# the photographs or a training.

# %% tags=["chapter"]
import torch
import torch.nn.functional as F

from sparseconv_lib.networks import seed_weights
from sparseconv_lib.resnet import ResNet18

noise = torch.Generator().manual_seed(0)
x = torch.randn(4, 3, 64, 64, generator=noise)
whole = torch.ones(4, 1, 64, 64)


def network(name, **options):
    net = ResNet18(name, **options)
    seed_weights(net, 0)
    return net


source_code = network(
    "SparseConvNet-kept", skip="pooled", second_norm=False, train_blocks=False
)
with torch.no_grad():
    for name, _, mask in source_code.stages(x, whole):
        side = mask.shape[-1]
        print(f"{name}: the mask is {side} x {side}, least {mask.min():g}")

# %% [markdown] tags=["chapter"]
# So the rule by which a mask is updated, between the two convolutions of a
# block or anywhere else, cannot matter. It does not, to the last bit:

# %% tags=["chapter"]
outputs = {}
with torch.no_grad():
    for name in ("SparseConvNet-kept", "SparseConvNet"):
        for stride in ("window", "pool"):
            for at_sum in ("union", "intersection"):
                rules = {"mask_at_stride": stride, "mask_at_sum": at_sum}
                net = network(name, skip="pooled", **rules).eval()
                outputs[name, stride, at_sum] = net(x, whole)
first_output = next(iter(outputs.values()))
same = sum(torch.equal(first_output, y) for y in outputs.values())
print(f"{same} of {len(outputs)} rules give the same output, bit for bit")

# %% [markdown] tags=["chapter"]
# ## What is proven: most of the network was never trained
#
# The source's sparse network keeps its eight residual blocks in a plain Python
# list. PyTorch finds the parts of a network by looking through its attributes,
# and does not look into lists: `parameters()` leaves the blocks out, the
# optimiser never hears of them, and `eval()` does not reach them. Its dense
# network holds the same blocks in `nn.Sequential`, which is looked into. Here
# the same is done openly: the blocks are told to keep their weights.

# %% tags=["chapter"]
trains = {
    name: sum(p.numel() for p in net.parameters() if p.requires_grad)
    for name, net in {
        "the source's sparse network": source_code,
        "its dense network": network("ConvNet"),
    }.items()
}
in_blocks = sum(p.numel() for p in source_code.blocks.parameters())
normed = network("SparseConvNet-kept", skip="pooled").blocks
never_used = sum(p.numel() for p in normed.parameters()) - in_blocks
for name, count in trains.items():
    print(f"{name}: the optimiser sees {count:,} weights")
print(f"in the residual blocks of the sparse one: {in_blocks:,}")
print(f"and in second BatchNorms that it makes and never uses: {never_used:,}")

before = {n: p.clone() for n, p in source_code.named_parameters()}
seen = [p for p in source_code.parameters() if p.requires_grad]
optimiser = torch.optim.Adam(seen, 1e-3)
labels = torch.arange(4)
F.cross_entropy(source_code.train()(x, whole), labels).backward()
optimiser.step()
moved = {
    n
    for n, p in source_code.named_parameters()
    if not torch.equal(p, before[n])
}
print("one step moves:", ", ".join(sorted(moved)))

# %% [markdown] tags=["chapter"]
# What trains is the first convolution with its BatchNorm and the last linear
# layer; the eight blocks between them keep their random first weights. How much
# of the fall that makes is for trainings to tell: the ladder below.
#
# ## And with all of it mended?
#
# Without the scale of Eq. 1, with the second BatchNorm and the dense network's
# skip, and with the same weights, the sparse network is the dense one:

# %% tags=["chapter"]
dense = network("ConvNet")
sparse = network("SparseConvNet-kept", scale="none")
sparse.load_state_dict(dense.state_dict())
with torch.no_grad():
    for training_mode in (True, False):
        a = dense.train(training_mode)(x, whole)
        b = sparse.train(training_mode)(x, whole)
        when = "training" if training_mode else "testing"
        print(when, "same:", torch.allclose(a, b, rtol=1e-3, atol=1e-3))

# %% [markdown] tags=["chapter"]
# What is left of the sparse convolution at p = 0 is a division by the number of
# taps that lie inside the map: k² in the interior, fewer at the borders, where
# what padding adds counts as missing. A BatchNorm behind it takes the k² away
# again; where the source left out the second one of a block, the block adds to
# its skip at a ninth of its size. The border no BatchNorm takes away: there,
# the sparse convolution is larger than the dense one by the ratio below, and
# the deeper the layer, the more of its map is border.

# %% tags=["chapter"]
rows = []
for name, module in network("SparseConvNet-kept").named_modules():
    if isinstance(module, torch.nn.Conv2d):
        rows.append((name, module.kernel_size[0], module.stride[0]))
display(HTML(report_resnet.taps_table(rows, 224)))

# %% [markdown] tags=["chapter"]
# ## The ladder
#
# The source's sparse network differs from its dense one in seven ways. One of
# them, the mask's rule, changes nothing at p = 0, as shown above. The other six
# are mended one after the other, which shows what each is worth; but what one
# is worth depends on which others are there, so they are mended in one order,
# in the reverse one, and each alone. A *rung* is a network with some of them
# mended. How blocks are tested does not touch their training, so each training
# gives two rungs. The orders were fixed before the first of these networks was
# trained; the reduced protocol's number of seeds, after its first one.

# %% tags=["hide-input", "chapter"]
for base in ladder.BASES:
    display(HTML(report_ladder.waterfall(base)))

# %% tags=["hide-input", "chapter"]
for base in ladder.BASES:
    display(
        HTML(
            report_ladder.way_table(base, ladder.down(), "in the order chosen")
        )
    )

# %% tags=["hide-input", "chapter"]
for base in ladder.BASES:
    display(
        HTML(report_ladder.way_table(base, ladder.up(), "in the reverse order"))
    )

# %% tags=["hide-input", "chapter"]
for base in ladder.BASES:
    display(HTML(report_ladder.alone_table(base)))

# %% [markdown] tags=["chapter"]
# One step depends on the length of a training: lowering the rate halfway acts
# on what a network still does by then. The source's dense network had long
# stopped changing when its rate was lowered, as its curve above shows, while
# its sparse one was still rising. What this fault is worth in the short
# trainings of the reduced protocol says little of what it was worth to the
# source; the full protocol will tell.
#
# `papermill notebooks/resnet18.ipynb out.ipynb -p variant code` trains the
# source's faults under the reduced protocol, `-p variant dense` none of them,
# `-p variant untrained+layer` those two. `-p protocol as_written` does so at
# full length.
#
# ## Where the data really are sparse
#
# The source's explanation may still hold where pixels are missing. Does a
# sparse ResNet18 match the dense one, and the one that reads the mask, if its
# blocks are trained and have their BatchNorms? (Its skip is the text's: max
# pooling, then a 1 × 1 convolution.) And does it cost anything there to use one
# mask twice in a block?
#
# Part of the answer needs no training. How much of the mask counts as observed
# at each stage:

# %% tags=["hide-input", "chapter"]
display(HTML(report_resnet.mask_table((0.3, 0.5, 0.8, 0.95, 0.99))))

# %% [markdown] tags=["chapter"]
# Stem and pooling together look at windows of at least 6 × 6 pixels, one of
# which is almost always observed: behind them next to nothing counts as missing
# up to p = 0.8, whatever the rule. There the source's explanation is void, for
# no block sees a mask with holes to speak of. Only p = 0.95 is left to ask what
# one mask used twice costs, and there the rule changes what the stem hands on,
# too, so that the difference is that of the rule as a whole. At the sum of a
# block two masks meet, that of its convolutions and that of its skip. Their
# union is the mask of the convolutions and their intersection that of the skip,
# because what the skip has observed lies inside what the windows have.

# %% tags=["hide-input", "chapter"]
for base in ladder.BASES:
    display(HTML(report_resnet.sparse_table(base)))

# %% tags=["hide-input", "chapter"]
for base in ladder.BASES:
    display(HTML(report_resnet.difference_table(base)))

# %% [markdown] tags=["chapter"]
# ## One photograph, stage by stage

# %% tags=["hide-input", "chapter"]
display(HTML(report_walk.panels((0.0, 0.3, 0.5, 0.8, 0.95))))

# %% [markdown] tags=["chapter"]
# ## Verdicts
#
# The claims that this chapter decides. The rules are in [](../claims.md).

# %% tags=["hide-input", "chapter"]
display(HTML(report.verdict_table("resnet18")))

# %% [markdown]
# ## The photographs
#
# Those of the chapter on Caltech-101, a fifth of each class kept for testing,
# scaled by ImageNet's mean and deviation, so that a missing pixel is filled
# with ImageNet's mean colour. What the protocol makes smaller is averaged down
# before pixels go missing.

# %% tags=["hide-input"]
if training:
    dataset = data.load("caltech101")
    train, test = len(dataset.train_labels), len(dataset.test_labels)
    print(f"{train:,} training images, {test:,} test images")

# %% [markdown]
# ## The networks
#
# He et al.'s ResNet18 as the source wrote it, with a bias in each convolution.
# SparseConvNet replaces all its convolutions by Eq. 1; the mask is dilated by
# every window. SparseConvNet-kept leaves the mask alone, and max pools it where
# the map is halved, as the source's code does. ConvNet+mask reads the mask as a
# fourth channel.

# %% tags=["hide-input"]
display(HTML(report_resnet.architecture_table(knobs)))

# %% [markdown]
# ## Training

# %% tags=["hide-input"]
display(HTML(report.protocol_table(protocol, knobs)))

# %% tags=["hide-input"]
if training:
    trained = list(runner.run(keys, knobs, dataset).values())
else:
    trained = [record for key in keys if (record := records.find(key))]
display(HTML(figures.training_curves(trained)))

# %% [markdown]
# ## The result

# %% tags=["hide-input"]
display(HTML(report.run_table(trained, keys, report_resnet.CLAIM)))

# %% [markdown]
# The same training, tested with the other kind of BatchNorm statistics in the
# residual blocks.

# %% tags=["hide-input"]
display(HTML(report_resnet.statistics_table(trained)))

# %% [markdown] tags=["chapter"]
# ## What is missing

# %% tags=["hide-input", "chapter"]
display(HTML(report_resnet.coverage_table()))

# %% [markdown] tags=["chapter", "probe"]
# ## Does training still work?
#
# Each network is trained for a few seeded steps on generated images. The
# regression tests compare these numbers with the committed ones.

# %% tags=["hide-input", "chapter", "probe"]
print(report.probe_report(protocol, "resnet18"))
