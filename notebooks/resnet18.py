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
# The source's ResNet18 falls from 75 to 50 % on Caltech-101 when its
# convolutions become sparse, although not one pixel is missing.
# `papermill notebooks/resnet18.ipynb out.ipynb -p sparsity 0.5` runs this
# notebook, training included, at p = 0.5, on small images for a few epochs;
# `-p protocol as_written` trains as long as the source did, which asks for a
# GPU; `-p variant code` trains with every fault of the source's code.

# %% tags=["hide-input"]
import os

from IPython.display import HTML, display

from sparseconv_lib.study import (
    data,
    figures,
    ladder,
    records,
    report,
    report_resnet,
    runner,
)
from sparseconv_lib.study.protocol import (
    check_networks,
    check_parameter_names,
    check_source,
    check_sparsity,
    preset,
    whole_number,
)
from sparseconv_lib.study.records import Key

_before = dict(globals())

# %% tags=["parameters", "hide-input"]
sparsity = 0.0  # share of missing pixels, from 0 to below 1
protocol = "reduced"  # as_written, as_coded; changes after commas
variant = "text"  # code, dense, or faults such as untrained+no_second_norm
networks = "ConvNet, SparseConvNet-kept"  # also ConvNet+mask, SparseConvNet
seed = 0  # the first seed
seeds = 1  # how many seeds, one after the other
source = os.environ.get("SPARSECONV_SOURCE", "train")  # or records

# %% tags=["hide-input"]
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
sparsity = check_sparsity(sparsity)
protocol = ladder.with_variant(protocol, variant)
knobs = preset(protocol, "resnet18")
networks = check_networks(networks)
first = whole_number("seed", seed, 0)
keys = [
    Key("resnet18", protocol, network, sparsity, first + i)
    for i in range(whole_number("seeds", seeds, 1))
    for network in networks
]
training = check_source(source) == "train"

# %% [markdown]
# ## The photographs
#
# Those of [](caltech.ipynb), a fifth of each class kept for testing, scaled by
# ImageNet's mean and deviation, so that a missing pixel is filled with
# ImageNet's mean colour. What the protocol makes smaller is averaged down
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
display(
    HTML(figures.training_curves(trained) if trained else "<p>Not run yet.</p>")
)

# %% [markdown]
# ## The result

# %% tags=["hide-input"]
display(HTML(report.run_table(trained, keys, report_resnet.CLAIM)))

# %% [markdown]
# The same training, tested with the other kind of BatchNorm statistics in the
# residual blocks.

# %% tags=["hide-input"]
display(HTML(report_resnet.statistics_table(trained)))
