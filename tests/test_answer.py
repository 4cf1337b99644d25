"""The short answer against the records' files, read and tested by other code."""

import json
import math
import statistics
from types import SimpleNamespace

from scipy.stats import t, ttest_1samp

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
    text = numbers.plain(answer.at_one_sparsity())
    for own in ("SparseConvNet", "SparseConvNet-kept"):
        expected = []
        for other in ("ConvNet", "ConvNet+mask"):
            gaps = gaps_of("invariance/fair", own, other, SPARSITIES)
            above, below = shown(gaps)
            expected.append(
                f"to beat {other} {told(gaps, above)} and to lose to it {told(gaps, below)}"
                if above or below
                else f"to differ from {other} nowhere"
            )
        assert f"{own} is shown {'; '.join(expected)}" in text
    assert (
        "after Holm’s correction over p = 0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9 and 0.95, n = 5" in text
    )


def test_a_clear_lead_and_a_clear_loss_and_noise(monkeypatch):
    plain = {0.0: [0.0, 0.01, -0.01], 0.5: [0.02, 0.021, 0.019], 0.8: [-0.04, -0.041, -0.039]}
    monkeypatch.setattr(
        answer,
        "diagonal",
        lambda: {
            ("SparseConvNet", "ConvNet"): plain,
            ("SparseConvNet", "ConvNet+mask"): {0.0: [0.5]},  # of one seed, which shows nothing
            ("ConvNet+mask", "ConvNet"): {0.0: [0.5, 0.51, 0.52]},
            ("SparseConvNet-kept", "ConvNet"): {0.0: [0.01, -0.01, 0.0]},
            ("SparseConvNet", "SparseConvNet-kept"): {0.9: [0.5, 0.51, 0.52]},
        },
    )
    assert numbers.plain(answer.at_one_sparsity()) == (
        "On digits, each network trained until held-out images show no improvement and tested at "
        "the sparsity of its training, SparseConvNet is shown to beat ConvNet by 2.0 points at p = "
        "0.5 and to lose to it by 4.0 points at p = 0.8. SparseConvNet-kept is shown to differ "
        "from ConvNet nowhere (after Holm’s correction over p = 0, 0.5 and 0.8, n = 3)."
    )
    monkeypatch.setattr(answer, "diagonal", dict)
    assert "not been trained" in answer.at_one_sparsity()


def test_errors_with_more_pixels_are_multiples_seed_by_seed(monkeypatch):
    """1 and 2 with the few of training become 2 and 2, and 3 and 8: twice and once; 3 and 4."""
    few = {0: 1.0, 1: 2.0}
    cells = {
        ("SparseConvNet", 0.95): few,
        ("SparseConvNet", 0.3): {0: 2.0, 1: 2.0},
        ("ConvNet", 0.95): few,
        ("ConvNet", 0.3): {0: 3.0, 1: 8.0},
    }
    monkeypatch.setattr(depth_in_words, "measured", lambda protocol: cells)
    half = 0.5 / math.sqrt(2) * math.sqrt(2) * t.ppf(0.975, 1)  # both have a half on either side
    assert numbers.plain(depth_in_words.kept_in_short()) == (
        "On synthetic frames of depth along one camera path, the error of the same code with 70 % "
        "of the pixels is, as a multiple of that with the 5 % of its training, SparseConvNet 1.50 "
        f"± {half:.2f} and ConvNet 3.50 ± {half:.2f} (± half of the 95 % interval, n = 2)."
    )
    monkeypatch.setattr(depth_in_words, "measured", lambda protocol: {})
    assert "not been run" in depth_in_words.kept_in_short()


def photographs(sparsities):
    return {
        (split, p): gap
        for split in ("as_written", "as_written-split_by_seed")
        for p, gap in gaps_of(
            f"caltech/{split}", "SparseConvNet-kept", "ConvNet", sparsities
        ).items()
    }


def test_photographs_are_counted_from_their_files():
    gaps = photographs([0, 0.05, *(i / 10 for i in range(1, 10))])
    above, below = shown(gaps)
    means = sorted(100 * statistics.mean(gap) for gap in gaps.values())
    low, high = (f"{mean:+.1f}".replace("-", "−") for mean in (means[0], means[-1]))
    text = numbers.plain(answer.on_photographs())
    assert f", {len(gaps)} differences" in text and f"go from {low} to {high} points: " in text
    assert f"{len(above) or 'none'} shown to be a gain, {len(below) or 'none'} a loss" in text
    # As many as there are sparsities of Table 4, twice, and the whole images.
    assert ("of 21 planned" in text) == (len(gaps) < 21)


def test_a_gain_on_photographs_and_none_at_all(monkeypatch):
    several = {("as_written", 0.5): [0.02, 0.021, 0.019], ("as_written", 0.8): [0.5]}
    monkeypatch.setattr(report_caltech, "gaps", lambda: several)
    assert numbers.plain(answer.on_photographs()) == (
        "On photographs, trained as the source’s text has it, 1 difference (of 21 planned) between "
        "SparseConvNet-kept and ConvNet is +2.0 points: 1 shown to be a gain, none a loss (after "
        "Holm’s correction, n = 3)."
    )
    monkeypatch.setattr(report_caltech, "gaps", dict)
    assert answer.on_photographs() == "Photographs have not been run by two seeds yet."


def test_the_claims_have_the_words_of_their_own_rules(monkeypatch):
    names = ("mnist-no-gain", "caltech-no-gain", "uhrig-invariance", "uhrig-transfers-better")
    words = dict(zip(names, ("one", "two", "three", "four"), strict=True))
    monkeypatch.setattr(ledger, "row_of", lambda name: SimpleNamespace(word=words[name]))
    said = answer.by_the_rules()
    for part in (
        "gains nothing is one on digits and two on photographs",
        "invariant to sparsity is three",
        "given the mask, is four.",
    ):
        assert part in said


def test_a_claim_that_falls_with_one_comparison_is_told_with_it(monkeypatch):
    row = SimpleNamespace(word="not reproduced")
    monkeypatch.setattr(ledger, "row_of", lambda name: row)
    monkeypatch.setattr(ledger, "ours", lambda row, named: f"ours, {named}")
    monkeypatch.setattr(ledger, "turned_by_the_code", lambda row: "The code turns it.")
    end = "is not reproduced. The source’s claim falls on digits by ours, True."
    assert answer.by_the_rules().endswith(f"{end} The code turns it.")
    monkeypatch.setattr(ledger, "turned_by_the_code", lambda row: "")
    assert answer.by_the_rules().endswith(end)
