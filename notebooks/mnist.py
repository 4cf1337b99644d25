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
# # MNIST
#
# The source's first experiment: digits with missing pixels, classified by a
# small convolutional network and by the same network with sparse convolutions.
# `papermill notebooks/mnist.ipynb out.ipynb -p sparsity 0.5` runs this
# notebook, training included, at p = 0.5.

# %% tags=["remove-input"]
import os

from IPython.display import HTML, display

from sparseconv_lib.networks import TABLE_1
from sparseconv_lib.study import (
    data,
    figures,
    records,
    report,
    report_slider,
    report_summary,
    runner,
)
from sparseconv_lib.study.protocol import check_parameter_names

_before = dict(globals())

# %% tags=["parameters", "hide-input"]
sparsity = 0.8  # share of missing pixels, from 0 to below 1
protocol = "as_written"  # or as_coded, fair; changes stand after commas
networks = "ConvNet, ConvNet+mask, SparseConvNet"  # also SparseConvNet-kept
seed = 0  # the first seed
seeds = 1  # how many seeds, one after the other
source = os.environ.get("SPARSECONV_SOURCE", "train")  # or records

# %% tags=["remove-input"]
check_parameter_names(
    {"sparsity", "protocol", "networks", "seed", "seeds", "source"},
    _before,
    dict(globals()),
)
keys, knobs, training = runner.asked(
    "mnist", sparsity, protocol, networks, seed, seeds, source
)
protocol, sparsity, first = keys[0].protocol, keys[0].sparsity, keys[0].seed

# %% [markdown] tags=["chapter"]
# ## What was found

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(report.verdict_in_words("mnist-no-gain"))))
display(HTML(report.paragraph(report_summary.finding())))

# %% [markdown] tags=["chapter"]
# The source's Table 3 and Figure 4, with p = 0 and p = 0.95 added. The source
# trained each network once. Each of our n trainings has a seed of its own for
# weights, masks and the order of images; with the same seed all networks see
# the same masks in the same order, so that their differences are paired.

# %% tags=["hide-input", "chapter"]
display(HTML(report.source_table("mnist", protocol, "mnist-table-3")))

# %% tags=["hide-input", "chapter"]
display(HTML(report.other_networks_table("mnist", protocol, "mnist-table-3")))

# %% tags=["hide-input", "chapter"]
display(HTML(report.accuracy_figure("mnist", protocol, "mnist-table-3")))

# %% tags=["hide-input", "chapter"]
display(HTML(report.difference_figure("mnist", protocol, "ConvNet")))

# %% tags=["remove-cell", "chapter"]
report.glue("mnist_headline", report_summary.finding())

# %% [markdown] tags=["chapter"]
# ## One digit, from whole to nearly nothing
#
# What is left of one test image as p grows, what the first convolutions make of
# it, and what the networks answer. One image shows how; how often they are
# right is in the tables.

# %% tags=["hide-input", "chapter"]
display(HTML(report_slider.slider("mnist", protocol)))

# %% [markdown] tags=["chapter"]
# ## Verdicts
#
# The claims that these numbers decide. The rules are in [](../claims.md).

# %% tags=["hide-input", "chapter"]
display(HTML(report.verdict_table("mnist")))

# %% [markdown]
# ## Digits with missing pixels
#
# MNIST has 60,000 training and 10,000 test images, 28 × 28 pixels, grey. Pixels
# are scaled to [0, 1], and each is missing with probability $p$, independently:
# the mask is 1 where a pixel is observed. A missing pixel is 0, the value of
# the background. Masks are drawn from the seed. As in the source, an image
# keeps its mask for as long as the training lasts, unless the protocol says
# otherwise.

# %% tags=["hide-input"]
if training:
    dataset = data.load("mnist")
    train, test = len(dataset.train_labels), len(dataset.test_labels)
    print(f"{train:,} training images, {test:,} test images")
    example = figures.masked_pictures(
        *runner.masked_example(dataset, knobs, first, (0.0, 0.5, 0.8))
    )
else:
    example = report.recorded_example("mnist", protocol, (0.0, 0.5, 0.8))
display(HTML(example))

# %% [markdown]
# ## The networks
#
# Table 1 of the source. Each convolution is followed by BatchNorm, ReLU and 2 ×
# 2 max pooling, in the order that the protocol names; between fully connected
# layers stands a ReLU. ConvNet+mask reads the mask as a second input channel.
# SparseConvNet replaces the convolutions by Eq. 1; its mask is dilated by each
# convolution, as in the original paper. SparseConvNet-kept leaves the mask as
# it is and only pools it, which is what the source's text and code do.

# %% tags=["hide-input", "chapter"]
display(HTML(report.architecture_table(TABLE_1, knobs)))

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
# ## The result at this sparsity

# %% tags=["hide-input"]
display(HTML(report.run_table(trained, keys)))

# %% tags=["hide-input", "chapter"]
if training:
    print(report.beside_recorded(trained, "mnist", "mnist-table-3"))

# %% [markdown] tags=["chapter", "probe"]
# ## Does training still work?
#
# Each network is trained for a few seeded steps on generated images. The
# regression tests compare these numbers with the committed ones.

# %% tags=["hide-input", "chapter", "probe"]
print(report.probe_report(protocol))
