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
# # What the paper claimed: invariance
#
# Uhrig et al. claim that a network with sparse convolutions works at
# sparsities that it was not trained at. The source trained and tested at one
# sparsity, and so never asked. Here a network that is trained at one sparsity
# is tested at eight.
#
# *ConvNet* is the source's plain network, *ConvNet+mask* the same with the mask
# as one more input channel. *SparseConvNet* has sparse convolutions and dilates
# its mask from layer to layer; *SparseConvNet-kept* leaves it as it is, as the
# source's code does. *Equal care*, below, is what every network was trained
# with.
# `papermill notebooks/invariance.ipynb out.ipynb -p sparsity 0.5` runs this
# notebook, training included, at p = 0.5.

# %% tags=["remove-input"]
import os

from IPython.display import HTML, display

from sparseconv_lib.study import (
    care_in_words,
    confound_figures,
    confounds_in_words,
    cures_in_words,
    data,
    figures,
    invariance_in_words,
    records,
    report,
    report_confounds,
    report_invariance,
    runner,
    transfer,
    whole_matrix,
)
from sparseconv_lib.study.protocol import check_parameter_names

_before = dict(globals())

# %% tags=["parameters", "hide-input"]
sparsity = 0.5  # share of missing pixels in training, from 0 to below 1
protocol = "fair"  # or caltech101; changes stand after commas
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
    "invariance", sparsity, protocol, networks, seed, seeds, source
)
protocol = keys[0].protocol

# %% [markdown] tags=["chapter"]
# ## What was found

# %% tags=["remove-input", "chapter"]
for question, answer in invariance_in_words.FINDINGS.items():
    display(HTML(report.answered(question, answer())))
display(HTML(report.paragraph(invariance_in_words.conditions())))
for name, answer in (
    ("averaged", whole_matrix.in_short),
    ("conditions", invariance_in_words.conditions),
    ("photographs", invariance_in_words.photographs),
):
    report.glue(name, answer())
report.glue(
    "equal_care",
    invariance_in_words.equal_care(report.HEADLINE_SPARSITY),
)

# %% [markdown] tags=["chapter"]
# ## Trained at one sparsity, tested at another
#
# One training serves all test sparsities. Networks of one seed see the same
# masks, and masks nest: what is missing at 0.5 is missing at 0.8. In the matrix
# of an invariant network every cell is as good as the framed one in its column,
# which was trained where it is tested.

# %% tags=["hide-input", "chapter"]
display(HTML(report_invariance.heat_maps()))

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(report_invariance.devices_by_row())))

# %% tags=["hide-input", "chapter"]
for other in ("ConvNet", "ConvNet+mask", "SparseConvNet-kept"):
    display(HTML(report_invariance.difference_table(other)))

# %% [markdown] tags=["chapter"]
# The matrix in few numbers: averages over parts of it, and, folded, over each
# of its rows. They were chosen with these records in view, so they describe
# them, and no verdict rests on them. Averages hide rows: a ConvNet+mask that is
# trained on whole images, for one, never sees a 0 in its mask.

# %% tags=["hide-input", "chapter"]
display(HTML(whole_matrix.table()))
display(HTML(report.paragraph(whole_matrix.on_one_device())))

# %% tags=["hide-input", "chapter"]
averages = report_invariance.averages_table()
display(HTML(report.folded("Averages over each row", averages)))

# %% [markdown] tags=["chapter"]
# One number for invariance is the *regret* of a training sparsity p: the most
# that it costs at any test sparsity q, against the same network trained at q,
#
# $$\max_q \; \bigl[\,\mathrm{acc}(q \to q) - \mathrm{acc}(p \to q)\,\bigr].$$
#
# Its interval is made of Student's t, corrected for the search at its lower
# end; to resample five seeds, the obvious way, covers the truth too rarely.

# %% tags=["hide-input", "chapter"]
display(HTML(report_invariance.regret_table()))

# %% [markdown] tags=["chapter"]
# ## Is BatchNorm a confound?
#
# BatchNorm's running statistics come from the training sparsity, and need not
# fit at another. Hence the same networks once more, their weights untouched,
# with the mean and variance of every channel re-estimated on 5,000 training
# images at the test sparsity. One expects that to help a plain convolution,
# whose outputs shrink or grow as p moves, and not a sparse one, since Eq. 1
# divides that factor out. What the records show:

# %% tags=["hide-input", "chapter"]
display(HTML(report_invariance.gains_table()))

# %% [markdown] tags=["chapter"]
# The counts and averages above once more, with re-estimated statistics. A
# difference grows where one network gains, and also where the other loses: the
# networks' own columns tell which.

# %% tags=["remove-input", "chapter"]
told = invariance_in_words.elsewhere(transfer.REESTIMATED)
display(HTML(report.paragraph(told)))
display(HTML(report.paragraph(invariance_in_words.checked())))
if told := invariance_in_words.below_chance():
    display(HTML(report.paragraph(told)))

# %% tags=["hide-input", "chapter"]
display(HTML(whole_matrix.table(transfer.REESTIMATED)))

# %% tags=["hide-input", "chapter"]
far = report_invariance.statistics_table()
cells = [
    report_invariance.heat_maps(transfer.REESTIMATED),
    *(
        report_invariance.difference_table(other, transfer.REESTIMATED)
        for other in ("ConvNet", "ConvNet+mask")
    ),
]
display(HTML(report.folded("Far from training, both ways", far)))
display(HTML(report.folded("Every cell, re-estimated", *cells)))

# %% [markdown] tags=["chapter"]
# ## Cheap cures, tried
#
# The obvious one for a plain network is to divide its input by $1 - p$; another
# is to train it at many sparsities at once, each image at its own; the third
# are the statistics re-estimated above.

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(cures_in_words.cures_far())))
display(HTML(report.paragraph(cures_in_words.mixed_alike())))

# %% tags=["hide-input", "chapter"]
display(HTML(confound_figures.cures()))
accuracies = report_invariance.cures_table()
display(HTML(report.folded("The accuracies behind it", accuracies)))

# %% [markdown] tags=["chapter"]
# ## Equal care for every network
#
# Two epochs measure the optimiser as much as the network.
# The protocol `fair` trains every network until two epochs have brought nothing
# better on 5,000 held-out training images, uses the weights of the best epoch,
# and draws new masks in every epoch, at one learning rate for all. What this
# book says about networks, rather than about the source, rests on it as far as
# it has been run. Two epochs without gain often come early. Where chance ends a
# training early, those that went on are the better ones, and a network's spread
# over seeds is in part that of when its training stopped.

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(care_in_words.tuning())))
display(HTML(report.paragraph(care_in_words.stopping())))
display(HTML(report.paragraph(care_in_words.patience())))

# %% tags=["hide-input", "chapter"]
display(HTML(report.difference_figure("invariance", "fair", "ConvNet")))
display(HTML(report_invariance.diagonal_table()))

# %% tags=["hide-input", "chapter"]
rates = report_invariance.rates_table()
display(HTML(report.folded("What was chosen for each network", rates)))

# %% [markdown] tags=["chapter"]
# ## What stands where a pixel is missing
#
# The ground of a digit is 0, and a missing pixel is 0: the guess is right for
# the ground, most of an image. With dark digits on a bright ground it is nearly
# always wrong. A sparse convolution does not look at missing pixels; only where
# a window holds no pixel at all does it answer as if 0 stood there. To a plain
# one, better guesses can be given.

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(confounds_in_words.grounds())))
display(HTML(report.paragraph(confounds_in_words.fills_trained())))

# %% tags=["hide-input", "chapter"]
display(HTML(confound_figures.fills()))
display(HTML(report_confounds.fill_differences_table()))

# %% tags=["hide-input", "chapter"]
accuracies = report_confounds.fills_table()
display(HTML(report.folded("The accuracies behind it", accuracies)))

# %% [markdown] tags=["chapter"]
# ## Other ways to be missing
#
# A scanner misses whole lines, an occlusion whole blocks. At one sparsity, as
# many pixels are missing, in squares of 4 × 4 or in rows.

# %% tags=["remove-input", "chapter"]
display(HTML(report.paragraph(confounds_in_words.kinds_trained())))
display(HTML(report.paragraph(confounds_in_words.kinds_cost())))

# %% tags=["hide-input", "chapter"]
display(HTML(confound_figures.kinds()))
display(HTML(report_confounds.kind_differences_table()))

# %% tags=["hide-input", "chapter"]
accuracies = report_confounds.kinds_table()
display(HTML(report.folded("The accuracies behind it", accuracies)))

# %% [markdown] tags=["chapter"]
# ## On photographs
#
# The same matrix on Caltech-101 with the source's simple network, as the
# source's text trains it.

# %% tags=["hide-input", "chapter"]
display(HTML(report_invariance.heat_maps(protocol="caltech101")))

# %% tags=["hide-input", "chapter"]
for other in ("ConvNet", "ConvNet+mask"):
    differences = report_invariance.difference_table(
        other, protocol="caltech101"
    )
    display(HTML(differences))

# %% tags=["remove-input", "chapter"]
told = invariance_in_words.photographs_reestimated()
display(HTML(report.paragraph(told)))

# %% tags=["hide-input", "chapter"]
cells = [
    report_invariance.heat_maps(transfer.REESTIMATED, "caltech101"),
    *(
        report_invariance.difference_table(
            other, transfer.REESTIMATED, "caltech101"
        )
        for other in ("ConvNet", "ConvNet+mask")
    ),
]
display(HTML(report.folded("Every cell, re-estimated", *cells)))

# %% [markdown] tags=["chapter"]
# ## Verdicts
#
# The rules are in [](../claims.md).

# %% tags=["hide-input", "chapter"]
display(HTML(report.verdict_table("invariance")))

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
display(HTML(report_invariance.run_table(trained)))

# %% tags=["hide-input", "chapter"]
if training:
    print(report_invariance.beside_recorded(trained))

# %% [markdown] tags=["chapter", "probe"]
# ## Does training still work?
#
# Each network is trained for a few seeded steps on generated images. The
# regression tests compare these numbers with the committed ones.

# %% tags=["hide-input", "chapter", "probe"]
print(report.probe_report(protocol, "invariance"))
