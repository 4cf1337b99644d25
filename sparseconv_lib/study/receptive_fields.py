"""The source's explanation that large receptive fields always catch some features.

What can be calculated is how many of them hold an observed pixel; beside it stands the accuracy
that is left.
"""

import math
from collections.abc import Mapping, Sequence

from sparseconv_lib.networks import TABLE_1, TABLE_2, Architecture
from sparseconv_lib.study import mask_spread, records, tables
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import NO_BREAK, devices, mark, note
from sparseconv_lib.study.statistics import Summary, summarise
from sparseconv_lib.study.traced import behind
from sparseconv_lib.study.wording import HALF, difference, points

NETWORK, PROTOCOL = "ConvNet", "as_written"  # the source's, which knows no mask
SPARSITIES = (0.8, 0.9)  # what the source's text speaks of, and the last of its tables
TASKS = {"mnist": ("digits", TABLE_1), "caltech": ("photographs", TABLE_2)}


def in_words() -> str:
    """How many receptive fields hold an observed pixel, and what the network loses all the same."""
    windows, lost = [], []
    empty = 0.0  # of the second convolution's fields, at most
    gaps: list[Summary] = []
    found: list[Record] = []
    for experiment, (images, architecture) in TASKS.items():
        first, second = zip(*(caught(architecture, p)[:2] for p in SPARSITIES), strict=True)
        empty = max(empty, *(1 - share for share in second))
        kernel = architecture.convolutions[0][0]
        size = f"{kernel}{NO_BREAK}×{NO_BREAK}{kernel}{NO_BREAK}pixels"
        windows.append(f"{_percents(first)} on {images} ({size})")
        told, its_gaps, its_records = _lost(experiment)
        if told:
            lost.append(f"on {images} {told}")
            gaps += its_gaps
            found += its_records
    sentences = [
        f"Large receptive fields nearly always catch a pixel: with {_percents(SPARSITIES, 0)} of "
        f"them missing, the windows of {NETWORK}’s first convolution that hold an observed one are "
        f"{in_a_row(windows)}; of the fields of its second, on average, all but "
        f"{math.ceil(1e5 * empty)} in 100,000 or fewer do (calculated). Whether they catch a "
        "feature is another matter: a missing pixel is 0 to this network, as a black one is, and "
        "most of a digit’s are black."
    ]
    if lost:
        sentences.append(
            f"Against whole images its accuracy changes, in points, {'; '.join(lost)} (trained and "
            f"tested at the same p, {PROTOCOL}; {HALF}, where it has several seeds; "
            f"{devices(found)}).{note(found)}"
        )
    several = [gap for gap in gaps if gap.n > 1]
    if several and all(gap.high < 0 for gap in several):
        sentences.append(
            "So much of the accuracy stays, as the source says, and not all of it, though nearly "
            "every field catches a pixel."
        )
    sentences.append(
        "Kernels of other sizes have not been trained, and digits and photographs differ in more "
        "than the kernel."
    )
    return " ".join(sentences)


def caught(architecture: Architecture, sparsity: float) -> list[float]:
    """Of each convolution, in order: the share of its receptive fields with an observed pixel.

    Whatever that pixel shows. It is the share of ones in a mask that is dilated.
    """
    shares = mask_spread.calculated(architecture, "dilate", sparsity)
    stages = mask_spread.stages(architecture)
    return [
        share
        for stage, share in zip(stages, shares, strict=True)
        if stage.startswith("convolution")
    ]


def _percents(shares: Sequence[float], digits: int = 1) -> str:
    """ "80 and 90 %". What is less than all is never told as 100."""
    told = [f"{100 * share:.{digits}f}" for share in shares]
    told = [
        ">99.9" if text == "100.0" and share < 1 else text
        for text, share in zip(told, shares, strict=True)
    ]
    return f"{in_a_row(told)}{NO_BREAK}%"


def _lost(experiment: str) -> tuple[str, list[Summary], list[Record]]:
    """Accuracy less that on whole images, by seed, at each p: told, as gaps, and their records."""
    trained = records.load(experiment, PROTOCOL)
    cells: Mapping[tuple[str, float, float], Mapping[int, float]] = tables.accuracies(trained)
    whole = cells.get((NETWORK, 0.0, 0.0), {})
    told, gaps = [], []
    for p in SPARSITIES:
        its = cells.get((NETWORK, p, p), {})
        gap = difference(its, whole)
        if gap is not None:
            left = summarise(its[seed] for seed in its.keys() & whole.keys()).mean
            n = f"n{NO_BREAK}={NO_BREAK}{gap.n}"
            told.append(f"by {points(gap)} at {p:g}, to {100 * left:.1f}{NO_BREAK}% ({n})")
            gaps.append(gap)
    keys = behind(gap.mean for gap in gaps)
    compared = [record for record in trained if record.key in keys]
    return f"{in_a_row(told)}{mark(compared)}" if told else "", gaps, compared
