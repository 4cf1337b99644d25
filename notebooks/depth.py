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
# # The control: the paper's own task
#
# Uhrig et al. made the sparse convolution for maps of depth: few pixels in,
# every pixel out. Here, too, networks are trained at one sparsity and tested at
# others: on maps with few pixels, then with more, never with fewer; on digits
# that are asked for every pixel, with fewer as well. If the same code is not
# invariant on maps, a fault in it is likely. If it is, a fault of the layer's
# code is unlikely to be why it is not in classification; the task may be, or
# what else differs: the network for maps has no BatchNorm and no pooling.
# `papermill notebooks/depth.ipynb out.ipynb -p protocol elevation` runs this
# notebook, training included, on a field of elevations that matplotlib ships.

# %% tags=["remove-input"]
import os

from IPython.display import HTML, display

from sparseconv_lib.study import (
    data,
    depth_in_words,
    figures,
    records,
    report,
    report_depth,
    runner,
    two_tasks,
)
from sparseconv_lib.study.protocol import check_parameter_names

_before = dict(globals())

# %% tags=["parameters", "hide-input"]
sparsity = 0.95  # share of missing pixels in training, from 0 to below 1
protocol = "elevation"  # or depth_reduced, depth, digits; changes after commas
networks = "ConvNet, SparseConvNet, nearest"  # also linear, gaussian, constant
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
    "depth", sparsity, protocol, networks, seed, seeds, source
)
protocol = keys[0].protocol

# %% [markdown] tags=["chapter"]
# ## What was found

# %% tags=["remove-input", "chapter"]
for question, answer in depth_in_words.FINDINGS.items():
    display(HTML(report.answered(question, answer())))
display(HTML(report.paragraph(depth_in_words.conditions())))
report.glue("control", depth_in_words.control_in_short())

# %% [markdown]
# ## The maps and the network
#
# *Elevation* is one field of 344 × 403 heights in metres; its left part is
# trained on in overlapping tiles of 64 × 64, its right part is tested on, and
# between them lies a gap. *Depth* is 240 synthetic frames along one camera
# path; the first are trained on, the last tested on, and
# those between left out. Pixels beyond 10 m are clipped there: they are not
# known, never observed and never asked for. Where a GPU is lacking every fourth
# pixel each way is used, a sixteenth of them.
#
# The network is the original paper's: six convolutions of size 11, 7, 5, 3, 3
# and 1 with 16 channels, ReLU between them, no BatchNorm, no pooling; Adam at a
# rate of 0.001 on the squared error. All networks see the same masks; observed
# pixels are asked for, too. Maps are scaled to mean 0 and deviation 1, so that
# a missing pixel, which is 0, is the mean.

# %% [markdown] tags=["chapter"]
# ## Elevation
#
# Beside the networks stands what needs none: one map for all (each pixel's
# median over the training maps), the nearest observed pixel, linear
# interpolation between observed pixels, and their average weighted by a
# Gaussian, whose width is chosen on training maps. A network's result counts
# only if it beats the nearest pixel. To keep an error is no merit by itself:
# one map for all does. Every network is trained for the same number of epochs,
# at one rate;
# there are no held-out maps, so this is not *equal care*.

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(depth_in_words.terrain_in_words())))

# %% tags=["hide-input", "chapter"]
display(HTML(report_depth.error_figure("elevation")))

# %% tags=["hide-input", "chapter"]
display(HTML(report_depth.error_table("elevation")))

# %% [markdown] tags=["chapter"]
# Interpolations return what was observed, and networks do not; hence the same
# over the missing pixels alone.

# %% tags=["hide-input", "chapter"]
display(HTML(report_depth.error_table("elevation", missing_only=True)))

# %% tags=["hide-input", "chapter"]
display(HTML(report_depth.pictures("elevation")))

# %% [markdown] tags=["chapter"]
# Scaled by their largest value instead, maps lie in [0, 1] and a missing pixel
# is the lowest ground:

# %% tags=["hide-input", "chapter"]
display(HTML(report_depth.error_table("elevation, scaling=unit")))

# %% [markdown] tags=["chapter"]
# ## Depth

# %% tags=["hide-input", "chapter"]
for data_set in ("depth_reduced", "depth"):
    display(HTML(report_depth.section(data_set)))

# %% [markdown] tags=["chapter"]
# ## One constant for all windows
#
# With 70 % observed instead of 5 %, the sums of a plain network's first layer
# are 14 times as large, and nothing behind them takes that back. A plain
# network can be told the share, and its input be divided by it: 20 times as
# large an input in training, sums of one size everywhere. This was asked once
# the results above were known.

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(depth_in_words.one_constant_in_words())))

# %% tags=["hide-input", "chapter"]
display(HTML(report_depth.rescaled_table()))

# %% [markdown] tags=["chapter"]
# ## One data set, two tasks
#
# Maps and digits differ in more than the question asked of them. So the digits
# of [](invariance.ipynb) are asked for every pixel, by the same convolutions,
# BatchNorm and fully connected layers, of which the last has an output for each
# pixel instead of each class; the protocol is `fair`, with Adam. Networks are
# trained on the squared error and judged by the absolute one, for which each
# pixel's median, *constant*, is the best map for all: that leans towards it.

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(two_tasks.cost_in_words())))
display(HTML(report.paragraph(two_tasks.layer_in_words())))

# %% tags=["hide-input", "chapter"]
display(HTML(report_depth.error_figure("digits")))
display(HTML(two_tasks.layer_table()))

# %% tags=["hide-input", "chapter"]
display(HTML(two_tasks.errors_table()))

# %% tags=["hide-input", "chapter"]
display(HTML(report_depth.pictures("digits")))

# %% [markdown] tags=["chapter"]
# The source explains its result by decisions being easier than values. The rule
# by which that is judged was committed before the first run: the share of its
# skill that ConvNet keeps as pixels go missing, in both tasks.

# %% tags=["hide-input", "chapter"]
display(HTML(report.verdict_table("discussion")))

# %% [markdown]
# ## Training

# %% tags=["hide-input"]
display(HTML(report.protocol_table(protocol, knobs)))

# %% tags=["hide-input"]
if training:
    dataset = data.load(knobs.dataset)
    trained = list(runner.run(keys, knobs, dataset).values())
else:
    trained = [record for key in keys if (record := records.find(key))]
display(HTML(figures.training_curves(trained)))

# %% [markdown]
# ## The result, trained at this sparsity

# %% tags=["hide-input"]
display(HTML(report_depth.run_table(trained)))

# %% tags=["hide-input", "chapter"]
if training:
    print(report_depth.beside_recorded(trained))

# %% [markdown] tags=["chapter", "probe"]
# ## Does training still work?
#
# Each network is trained for a few seeded steps on generated maps. The
# regression tests compare these numbers with the committed ones.

# %% tags=["hide-input", "chapter", "probe"]
print(report.probe_report(protocol, "depth"))
