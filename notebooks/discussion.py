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
# # What can be said so far
#
# The source's own discussion explains why sparse convolutions do not help to
# classify. This page says what our records carry of that today, and what they
# do not.

# %% tags=["remove-input"]
from IPython.display import HTML, display

from sparseconv_lib.study import (
    answer,
    confounds_in_words,
    depth_in_words,
    invariance_in_words,
    ladder,
    receptive_fields,
    report,
    report_batch_norm,
    report_caltech,
    report_forensics,
    report_ladder,
    report_resnet,
    report_summary,
    two_tasks,
    whole_matrix,
)
from sparseconv_lib.study.protocol import check_parameter_names

_before = dict(globals())

# %% tags=["parameters", "remove-input"]
# None: this chapter trains nothing.

# %% tags=["remove-input"]
check_parameter_names(set(), _before, dict(globals()))

# %% tags=["remove-input"]
found = report_forensics.measured()
report_summary.glue_in_short()
report.glue("answer", answer.in_plain_words())
for name, told in answer.IN_NUMBERS.items():
    report.glue(name, told())

# %% [markdown]
# ## Does the sparse convolution help, trained and tested at one sparsity?

# %% tags=["remove-input"]
display(HTML(report.paragraph(report_summary.finding())))

# %% [markdown]
# That is a statement about the source's protocol, not about the networks: two
# epochs measure how fast a network starts as much as what it can learn. With
# equal care for every network, if not at a learning rate of its own, the
# numbers of which are in [](invariance.ipynb), and on photographs, of which
# [](caltech.ipynb) tells:

# %% tags=["remove-input"]
display(HTML(report.paragraph(answer.at_one_sparsity())))
display(
    HTML(
        report.paragraph(
            f"{report_caltech.in_short()} {report_caltech.noise_in_short()}"
        )
    )
)

# %% [markdown]
# A plain network is told that a missing pixel is 0, as the ground of these
# digits is. On inverted ones that is nearly always wrong, unless something
# better is filled in:

# %% tags=["remove-input"]
display(HTML(report.paragraph(confounds_in_words.fills_trained())))

# %% [markdown]
# [](maths.ipynb) says where an effect could come from when training and test
# share their sparsity. The expectation that Eq. 1 puts right is then a constant
# factor, which BatchNorm removes as well; what is left are the fluctuations of
# the number of observed pixels, empty windows and borders. The division is made
# for training at one sparsity and testing at another.

# %% [markdown]
# ## Does it help at another sparsity than that of training?
#
# The original paper's claim, which the source did not test. The chapter
# [](invariance.ipynb) tests it on the source's task, also where pixels go
# missing in another way than in training; the chapter [](depth.ipynb) tests it
# on the paper's own task.

# %% tags=["remove-input"]
for sentence in (
    invariance_in_words.claim(),
    invariance_in_words.beats(),
    whole_matrix.in_words(),
    invariance_in_words.elsewhere(),
    invariance_in_words.batch_norm(),
    confounds_in_words.fills(),
    confounds_in_words.kinds(),
    invariance_in_words.photographs(),
    invariance_in_words.photographs_reestimated(),
    invariance_in_words.conditions(),
    *depth_in_words.controls(),
    depth_in_words.one_constant_in_words(),
    depth_in_words.conditions(),
):
    display(HTML(report.paragraph(sentence)))

# %% [markdown]
# ## Which lines of the source's code explain its numbers?
#
# [](forensics.ipynb) trains them both ways, at other sparsities, too, and
# [](caltech.ipynb) with the masks that compound in its sweep over photographs.

# %% tags=["remove-input"]
for sentence in (
    report_forensics.settings_in_short(found),
    report_forensics.costs_in_short(found, report.HEADLINE_SPARSITY),
    report_forensics.mask_in_words(found, report.HEADLINE_SPARSITY),
    report_batch_norm.in_words(),
    report_caltech.compounding_in_words(),
):
    if sentence:
        display(HTML(report.paragraph(sentence)))

# %% [markdown]
# ## The source's own explanations
#
# - *The sum of the mask's entries interferes with the features.* At one
#   sparsity and with BatchNorm, what is left of it are the fluctuations named
#   above ([](maths.ipynb)); what dilating the mask changes is in
#   [](forensics.ipynb).
# - *Making a decision is easier than calculating values, so classification is
#   not sensitive to sparsity.* [](depth.ipynb) asks both of the same images;
#   the answer stands below, and the verdict on it further down.
# - *Large receptive fields always catch some features.* Of pixels this can be
#   calculated ([](maths.ipynb)), of features it is not tested; below, with the
#   accuracy that is left.
# - *ResNet18 fails because a block uses its mask twice.* Not where it was seen
#   to fail: on whole images every mask holds ones, and [](resnet18.ipynb)
#   shows, bit for bit, that no rule for masks changes anything there. What
#   failed was a network whose residual blocks were never trained, so that its
#   fall is no evidence about sparse convolutions. What they do cost a network
#   that is trained is that chapter's next question.

# %% tags=["remove-input"]
display(HTML(report.paragraph(depth_in_words.skill_in_words())))
display(HTML(report.paragraph(depth_in_words.explanation())))
display(HTML(report.paragraph(two_tasks.layer_in_words())))
display(HTML(report.paragraph(receptive_fields.in_words())))
for base in ladder.BASES:
    if told := report_ladder.in_short(base):
        told = f"{told} {report_resnet.sparse_in_short(base)}"
        told = f"{told} {report_ladder.reduced_in_words(base)}"
        display(HTML(report.paragraph(told)))

# %% [markdown]
# ## Every verdict so far

# %% tags=["hide-input"]
display(HTML(report.verdict_table()))

# %% [markdown]
# ## What this cannot show yet
#
# - Every number is conditional on a data set's one split and test set, except
#   under `split=by_seed`, where each seed draws its own; the unit is the
#   training seed.
# - A *possible* setting is not shown to be the source's: a run that is not
#   seeded leaves no trace.
# - On Caltech-101 a difference of two single trainings says little. No claim
#   is judged by fewer seeds than its rule asks for; [](caltech.ipynb) lists
#   what is still to be trained.
# - ResNet18 at the source's length asks for a GPU, and waits for one; what is
#   said of it here comes from a proof, and from a reduced protocol that names
#   itself.
# - Retained skill compares an accuracy with an error; that they are of
#   different kinds is why its margin is wide.
