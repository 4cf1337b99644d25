"""What receptive fields catch, against loops; what is lost all the same, of invented runs."""

import numpy as np
import pytest
from invented import content_of
from scipy import stats
from test_invariance_in_words import told_plainly
from test_records import a_record
from test_report_caltech import a_caltech_record

from sparseconv_lib.networks import TABLE_1, TABLE_2
from sparseconv_lib.study import receptive_fields, records, report

PLAIN = "ConvNet"


def made_on(device):
    return {**a_record(PLAIN, 0.0, 0).content["provenance"], "device": device}


def a_digits_record(sparsity, seed, accuracy):
    content = content_of("mnist", "as_written", PLAIN, sparsity, seed)
    return records.validated(content | {"accuracy": {f"{sparsity:g}": accuracy}}, "invented")


@pytest.mark.parametrize("architecture", [TABLE_1, TABLE_2])
@pytest.mark.parametrize("p", receptive_fields.SPARSITIES)
def test_what_is_caught_is_counted_pixel_by_pixel(architecture, p):
    """The pixels that an output depends on, walked backwards along a side from each output."""
    size, (first, _), (second, _) = architecture.size, *architecture.convolutions[:2]

    def window(i, side, kernel):
        return {j for j in range(i - kernel // 2, i + kernel // 2 + 1) if 0 <= j < side}

    one = [len(window(i, size, first)) for i in range(size)]
    two = []
    for i in range(size // 2):
        pooled = window(i, size // 2, second)
        pixels = {c for b in pooled for a in (2 * b, 2 * b + 1) for c in window(a, size, first)}
        two.append(len(pixels))
    expected = [np.mean([1 - p ** (h * w) for h in sides for w in sides]) for sides in (one, two)]
    assert receptive_fields.caught(architecture, p)[:2] == pytest.approx(expected, abs=1e-12)


def told():
    return told_plainly(receptive_fields.in_words())


def on_digits(losses, p=0.8):
    """Invented trainings on whole digits and at p, a loss of accuracy for each seed."""
    return [
        a_digits_record(sparsity, seed, 0.97 + seed / 100 - loss * bool(sparsity))
        for seed, loss in enumerate(losses)
        for sparsity in (0.0, p)
    ]


def on_photographs(whole, at_p, p=0.9, **more):
    return [
        a_caltech_record(PLAIN, sparsity, correct=np.arange(1736) < right, **more)
        for sparsity, right in ((0.0, whole), (p, at_p))
    ]


def test_with_nothing_run_only_what_is_calculated_is_told(recorded):
    recorded()
    alone = told()
    assert "with 80 and 90 % of them missing" in alone
    assert "99.0 and 90.1 % on digits (5 × 5 pixels)" in alone  # 1 − p^25, and less at borders
    assert ">99.9 and 99.3 % on photographs (7 × 7 pixels)" in alone
    assert "all but 4 in 100,000 or fewer" in alone
    assert "accuracy" not in alone
    recorded(a_digits_record(0.8, 0, 0.9))  # nothing to hold it against
    assert told() == alone


def test_what_is_lost_is_told_by_seed(recorded):
    losses = [0.08, 0.05, 0.10]
    recorded(*on_digits(losses))
    half = 100 * stats.t.ppf(0.975, 2) * np.std(losses, ddof=1) / 3**0.5
    left = 100 * (0.98 - np.mean(losses))
    assert (
        f"in points, on digits by −{100 * np.mean(losses):.1f} ± {half:.1f} at 0.8, "
        f"to {left:.1f} % (n = 3) †"
    ) in told()
    assert "on photographs by" not in told()
    recorded(
        *on_digits(losses),
        *on_photographs(1000, 826, provenance=made_on("another device")),
        a_caltech_record(PLAIN, 0.8, 1, provenance=made_on("a third")),  # no seed 1 without p
        a_caltech_record(PLAIN, 0.5, provenance=made_on("a fourth")),
    )
    assert f"; on photographs by −10.0 at 0.9, to {100 * 826 / 1736:.1f} % (n = 1)" in told()
    assert "another device" in told() and "a third" not in told() and "a fourth" not in told()


def test_only_what_other_code_made_is_marked(recorded, monkeypatch):
    monkeypatch.setattr(
        report, "made_by_other_code", lambda record: record.key.experiment == "mnist"
    )
    recorded(*on_digits([0.1]), *on_photographs(1000, 900))
    assert "to 87.0 % (n = 1) †; on photographs" in told()
    assert "to 51.8 % (n = 1) (trained" in told()


@pytest.mark.parametrize(
    ("losses", "concludes"),
    [([0.08, 0.05, 0.10], True), ([0.08], False), ([0.3, 0.0], False), ([-0.01, -0.012], False)],
)
def test_it_concludes_only_from_losses_shown_by_several_seeds(recorded, losses, concludes):
    recorded(*on_digits(losses), *on_photographs(900, 1000))  # one run, the other way
    assert ("not all of it" in told()) is concludes
