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
# # Where the first numbers came from
#
# The source's text leaves out what its code decides: how many images a batch
# has, where BatchNorm stands in its block, what BatchNorm uses when it is
# tested, whether a convolution updates the mask. Its notebooks print numbers
# that its Table 3 does not contain. Here every such line is trained both ways,
# on MNIST, and told in points of accuracy. All of it is read from records; to
# train one setting yourself, give it to the notebook of the previous chapter,
# as in `papermill notebooks/mnist.ipynb out.ipynb -p protocol "as_written,
# batch_size=64" -p sparsity 0.8`.

# %% tags=["remove-input"]
from IPython.display import HTML, display

from sparseconv_lib.study import report, report_batch_norm, report_forensics
from sparseconv_lib.study.protocol import check_parameter_names

_before = dict(globals())

# %% tags=["parameters", "remove-input"]
# None: this chapter trains nothing.

# %% tags=["remove-input"]
check_parameter_names(set(), _before, dict(globals()))
found = report_forensics.measured()

# %% [markdown]
# ## Which settings made Table 3?
#
# Batches of 4 (the notebooks `Conv` and `SparseConv`) or 64 (`ACC`); BatchNorm
# before ReLU and pooling, as the text has it, or after them, as the code has
# it; tested with the running statistics, or, because the code never calls
# `eval()`, with those of the test batch itself: eight settings. Each is asked
# whether the source's numbers look like one more run of ours. The rule was
# committed before the first of these runs: one of eight values outside its
# prediction interval, and the setting is ruled out. A setting that is
# *possible* need not be the one that was used.

# %% tags=["hide-input"]
display(HTML(report_forensics.settings_table(found)))

# %% tags=["hide-input"]
display(HTML(report_forensics.settings_figure(found)))

# %% tags=["remove-input"]
display(HTML(report.paragraph(report_forensics.settings_in_words(found))))

# %% [markdown]
# ## What each line of the code costs
#
# A change of settings is worth different amounts in different company, so each
# is told twice: as the first step away from the text, and as the last step to
# the code. The difference between the two is their interaction.

# %% tags=["hide-input"]
display(HTML(report_forensics.costs_table(found, "ConvNet")))

# %% tags=["hide-input"]
display(HTML(report_forensics.costs_table(found, "SparseConvNet-kept")))

# %% [markdown]
# ## The mask, kept or dilated
#
# The original paper dilates the mask with every convolution; the source's code
# leaves it as it is, and so throws away, in its second layer, sums of observed
# pixels: [](maths) counts how many. Its notebook `ACC` shows SparseConvNet
# falling behind ConvNet from p = 0.7 on, and Table 3 at p = 0.9. We trained the
# same with the one line changed.

# %% tags=["hide-input"]
display(HTML(report_forensics.mask_table(found)))

# %% tags=["remove-input"]
for p in (0.8, 0.9):
    display(HTML(report.paragraph(report_forensics.mask_in_words(found, p))))

# %% [markdown]
# ## "Cannot learn anything without BatchNorm"
#
# The source found that SparseConvNet without BatchNorm stays at 10 %, and put
# it down to the division by 25 in each layer. Is it the division, and would a
# larger learning rate, or a scale that keeps the size of the signal, cure it?
# Three scales, three rates, with BatchNorm and without. Where the loss did not
# move with the scale of Eq. 1 in a first look, the trainings go on for ten
# epochs.

# %% tags=["hide-input"]
display(HTML(report_batch_norm.table()))

# %% tags=["hide-input"]
display(HTML(report_batch_norm.figure()))

# %% tags=["remove-input"]
display(HTML(report.paragraph(report_batch_norm.in_words())))

# %% [markdown]
# [](maths) shows why the rate is not the remedy to expect: without BatchNorm,
# two divisions by 25 leave a *signal* 625 times smaller beside biases that are
# not divided, so the fully connected layers see nearly the same features for
# every image; a larger step does not make the features differ. With BatchNorm
# in between, a constant factor is divided out again, and the scale does not
# matter.

# %% [markdown]
# ## The same training, twice
#
# Some settings share their training with `as_written` and differ in how they
# are tested. They were trained anew, by a later version of the code, so they
# also tell whether a training can be repeated.

# %% tags=["remove-input"]
display(HTML(report.paragraph(report_forensics.sameness())))
display(HTML(report.paragraph(report_forensics.provenance_in_words())))
