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
# # How fast it is

# %% tags=["remove-input"]
import os

from IPython.display import HTML, display

from sparseconv_lib.study import benchmark, report, report_benchmark
from sparseconv_lib.study.protocol import (
    ParameterError,
    check_parameter_names,
    check_source,
)

_before = dict(globals())

# %% tags=["parameters", "hide-input"]
source = os.environ.get("SPARSECONV_SOURCE", "train")  # or records
quick = False  # the smallest of everything, to see that it runs

# %% tags=["hide-input"]
check_parameter_names({"source", "quick"}, _before, dict(globals()))
if quick not in (True, False):
    raise ParameterError(f"quick is {quick!r}; write True or False")
shown = [
    ("Recorded", each) for each in report_benchmark.recorded().values() if each
]
if check_source(source) == "train":
    shown.append(("Measured now", benchmark.measure(quick=quick)))


def tables(table):
    """That table of all that was recorded, and of what was measured now."""
    for when, measured in shown:
        display(HTML(table(measured, when)))


# %% tags=["remove-input"]
for _, measured in shown[-1:]:
    display(HTML(report.paragraph(report_benchmark.steps_in_words(measured))))
lacking = report_benchmark.missing_in_words(report_benchmark.recorded())
display(HTML(report.paragraph(lacking)))

# %% [markdown]
# Times are ratios. What is compared takes turns in one process, round after
# round, so that whatever else the machine does falls on all alike. Papermill
# measures anew, on the CPU or GPU that it finds:
#
# ```console
# $ .venv/bin/papermill notebooks/benchmark.ipynb out.ipynb
# ```
#
# ## A training step
#
# What counts is the whole step: forward, backward, and the optimiser.

# %% tags=["hide-input"]
tables(report_benchmark.steps_table)

# %% [markdown]
# ## The layer
#
# Beside nn.Conv2d and ours: a convolution of the mask with one channel, frozen,
# as some public implementations have it; one of ones from all channels to all;
# and the scale $k^2 / \sum o$ with an updated mask, as partial convolution has
# it. All are written by us from their description.
#
# A convolution from one channel to one leaves a CPU's vector units, which are
# filled by channels, mostly idle. So ours adds up bytes: rows first, then
# columns, $2k$ additions of whole images instead of $k^2$ multiplications. The
# count stays exact. Missing pixels are cut out by their bits, which keeps NaN
# out, and division and bias are one pass.

# %% tags=["remove-input"]
for _, measured in shown[-1:]:
    display(HTML(report.paragraph(report_benchmark.layers_in_words(measured))))

# %% tags=["hide-input"]
tables(report_benchmark.layers_table)

# %% tags=["remove-input"]
for _, measured in shown[-1:]:
    display(HTML(report.paragraph(report_benchmark.blocks_in_words(measured))))

# %% tags=["hide-input"]
tables(report_benchmark.blocks_table)

# %% [markdown]
# ## Many trainings as one
#
# A network of the source is so small that a GPU mostly waits for the next
# instruction. `sparseconv sweep` therefore trains there all seeds and
# sparsities of a network as one: their weights are stacked, `torch.vmap` makes
# one network of them, and images, order and masks remain each training's own. A
# test holds each to the same training alone, within rounding. A step's hundred
# short kernels are captured once as a CUDA graph and then replayed, the
# networks are tested as one as well, and the random fields of the masks are
# drawn ahead, in other threads. On a CPU it is done where `--together` asks for
# it.

# %% tags=["remove-input"]
display(HTML(report.paragraph(report_benchmark.paces_in_words())))

# %% tags=["hide-input"]
display(HTML(report_benchmark.paces_table()))

# %% [markdown]
# Measured apart from any training, a step of many networks as one:

# %% tags=["remove-input"]
for _, measured in shown[:1]:
    display(
        HTML(report.paragraph(report_benchmark.together_in_words(measured)))
    )

# %% tags=["hide-input"]
tables(report_benchmark.together_table)

# %% tags=["remove-input"]
for _, measured in shown[:1]:
    display(HTML(report.paragraph(report_benchmark.floor_in_words(measured))))

# %% tags=["hide-input"]
for when, measured in shown[:1]:
    display(HTML(report_benchmark.operations_table(measured, when)))

# %% [markdown]
# ## Feeding
#
# The source's notebooks hand over an image at a time, made into floats and
# masked when it is asked for. Here the data set stays on the device in bytes,
# and a twentieth of an epoch at a time is masked and scaled at once.

# %% tags=["hide-input"]
tables(report_benchmark.feeding_table)

# %% [markdown]
# ## More machines
#
# `sparseconv sweep ... --scheduler tcp://host:8786` runs the same grid on a
# dask cluster. What that gains ends at the longest page, because a page, one
# executed notebook, is one job.

# %% tags=["hide-input"]
display(HTML(report_benchmark.scaling_table()))
