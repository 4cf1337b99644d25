"""The short answer against the records' files, read and tested by other code."""

import json
import re
import statistics

import pytest
from scipy.stats import ttest_1samp

from sparseconv_lib.study import answer, depth_in_words, ledger, numbers, report_caltech
from sparseconv_lib.study.paths import RESULTS

SPARSITIES = (0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


def by_seed(folder, network, p):
    """Seed -> accuracy, trained and tested at p."""
    files = (RESULTS / folder).glob(f"{network}-p{p:.2f}-seed*.json")
    read = (json.loads(path.read_text("utf-8")) for path in files)
    return {record["seed"]: record["accuracy"][f"{p:g}"] for record in read}


def gaps_of(folder, own, other, sparsities):
    """p -> own minus other, of the seeds that both have; of two seeds or more."""
    found = {}
    for p in sparsities:
        a, b = by_seed(folder, own, p), by_seed(folder, other, p)
        if len(a.keys() & b.keys()) > 1:
            found[p] = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    return found


def shown(gaps):
    """Labels above 0, and below, by t tests and Holm's steps: the least p-value first."""
    p_values = {label: ttest_1samp(gap, 0).pvalue for label, gap in gaps.items()}
    found = set()
    for step, label in enumerate(sorted(p_values, key=p_values.get)):
        if p_values[label] * (len(p_values) - step) >= 0.05:
            break
        found.add(label)
    return tuple(
        {label for label in found if side * statistics.mean(gaps[label]) > 0} for side in (1, -1)
    )


def told(gaps, where):
    if not where:
        return "nowhere"
    sizes = sorted(abs(100 * statistics.mean(gaps[p])) for p in where)
    ends = [f"{size:.1f}" for size in (sizes[0], sizes[-1])][: len(where)]
    *first, last = (f"{p:g}" for p in sorted(where))
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"by {' to '.join(ends)} points at p = {listed}"


def test_what_is_shown_on_digits_is_shown_by_their_files():
    expected = []
    for other in ("ConvNet", "ConvNet+mask"):
        gaps = gaps_of("invariance/fair", "SparseConvNet", other, SPARSITIES)
        above, below = shown(gaps)
        expected.append(
            f"to beat {other} {told(gaps, above)} and to lose to it {told(gaps, below)}"
        )
    text = numbers.plain(answer.at_one_sparsity())
    assert "; ".join(expected) in text
    assert "8 sparsities from p = 0 to 0.95, n = 5" in text


def test_a_clear_lead_and_a_clear_loss_and_noise(monkeypatch):
    plain = {0.0: [0.0, 0.01, -0.01], 0.5: [0.02, 0.021, 0.019], 0.8: [-0.04, -0.041, -0.039]}
    monkeypatch.setattr(
        answer,
        "diagonal",
        lambda: {
            ("SparseConvNet", "ConvNet"): plain,
            ("SparseConvNet", "ConvNet+mask"): {0.0: [0.5]},  # of one seed, which shows nothing
            ("ConvNet+mask", "ConvNet"): {0.0: [0.5, 0.51, 0.52]},
        },
    )
    assert numbers.plain(answer.at_one_sparsity()) == (
        "On digits, trained and tested at one sparsity with equal care, SparseConvNet is shown to "
        "beat ConvNet by 2.0 points at p = 0.5 and to lose to it by 4.0 points at p = 0.8 "
        "(3 sparsities from p = 0 to 0.8, n = 3)."
    )
    monkeypatch.setattr(answer, "diagonal", dict)
    assert "not been trained" in answer.at_one_sparsity()


@pytest.mark.parametrize(
    ("sparse", "plain", "expected"),
    [
        ((1.0, 1.01), (5.0, 5.1), "is shown to keep its error .*, and ConvNet not to"),
        ((1.0, 1.01), (1.0, 1.01), "is shown to keep its error .* in training$"),
        ((2.0, 2.01), (5.0, 5.1), "is shown not to keep its error .* in training$"),
        ((1.0, 1.5), (5.0, 5.1), "is not shown to keep its error .* in training$"),
        ((1.0,), (5.0,), ""),
    ],
)
def test_what_keeping_its_error_is(monkeypatch, sparse, plain, expected):
    """Errors with many pixels, where those with few are 1."""
    dense, few = 0.3, 0.95
    cells = {}
    for network, errors in (("SparseConvNet", sparse), ("ConvNet", plain)):
        cells[network, dense] = dict(enumerate(errors))
        cells[network, few] = dict.fromkeys(range(len(errors)), 1.0)
    monkeypatch.setattr(depth_in_words, "measured", lambda protocol: cells)
    said = depth_in_words.kept_in_short()
    assert re.search(expected, said.removesuffix(".")) if expected else said == ""


def test_photographs_are_counted_from_their_files():
    gaps = {}
    for split in ("as_written", "as_written-split_by_seed"):
        its = gaps_of(
            f"caltech/{split}",
            "SparseConvNet-kept",
            "ConvNet",
            [0, 0.05, *(i / 10 for i in range(1, 10))],
        )
        gaps |= {(split, p): gap for p, gap in its.items()}
    above, below = shown(gaps)
    assert (
        f"better than ConvNet in {len(above) or 'none'} of {len(gaps)} comparisons and worse in "
        f"{len(below) or 'none'}."
    ) in answer.on_photographs()


def test_without_photographs_nothing_is_said_of_them(monkeypatch):
    monkeypatch.setattr(report_caltech, "gaps", dict)
    assert answer.on_photographs() == ""


def test_the_papers_claims_have_the_words_of_the_ledger():
    words = [ledger.row_of(name).word for name in answer.PAPERS_CLAIMS]
    assert (
        re.findall(r"is ((?:not )?(?:reproduced|undecided|yet run))[.;]", answer.of_the_paper())
        == words
    )
