"""Fills and kinds of masks: their numbers are those of the records, paired by seed."""

import itertools

from invented import PLAIN, SPARSE, classified, score, soup
from scipy import stats
from test_invariance_in_words import told_plainly
from test_report_caltech import cells

from sparseconv_lib.study import confound_figures, confounds_in_words, report_confounds
from sparseconv_lib.study.comparisons import Shown
from sparseconv_lib.study.grid import FILLS
from sparseconv_lib.study.marked import Marked
from sparseconv_lib.study.protocol import full_name

MASKED = "ConvNet+mask"
TRAINED_AT, TESTED_AT = (0.5, 0.8), (0.0, 0.5, 0.8, 0.95)
ELSEWHERE = [(p, q) for p, q in itertools.product(TRAINED_AT, TESTED_AT) if p != q]
DEVICE = "an invented processor, 2 cores"


def filled(fill):
    return full_name("fair, invert=true" + (f", fill_from={fill}" if fill != "value" else ""))


def interval(samples):
    """Half of Student's 95 % interval of a mean."""
    n = len(samples)
    mean = sum(samples) / n
    variance = sum((x - mean) ** 2 for x in samples) / (n - 1)
    return stats.t.ppf(0.975, n - 1) * (variance / n) ** 0.5


def signed(value):
    return f"{value:+.1f}".replace("-", "−")


def away(network, other, seeds):
    """What a network has over another on average away from its training, in a loop over cells."""
    return [
        sum(100 * (score(network, p, q, s) - score(other, p, q, s)) for p, q in ELSEWHERE) / 6
        for s in range(seeds)
    ]


def test_fills_are_averaged_over_the_cells_away_from_training(recorded):
    worth = {"value": -0.05, "mean": 0.0, "nearest": 0.03}
    recorded(
        *(classified(SPARSE, p, seed, filled("value"))
          for p in TRAINED_AT for seed in range(3)),
        *(classified(network, p, seed, filled(fill), shift=shift)
          for network in (PLAIN, MASKED) for fill, shift in worth.items()
          for p in TRAINED_AT for seed in range(3)),
    )  # fmt: skip
    own = away(SPARSE, PLAIN, 3)  # the invented ConvNet+mask is as good as the layer
    mean, half = sum(own) / 3, interval(own)
    told = told_plainly(confounds_in_words.fills())
    assert told == (
        "On inverted digits SparseConvNet is shown to be ahead of ConvNet and ConvNet+mask given 0 "
        "and ConvNet given the mean of observed pixels, and behind ConvNet and ConvNet+mask given "
        "the nearest observed pixel. Tested elsewhere than trained, averaged over training at "
        "p = 0.5 and 0.8 and tests at 0, 0.5, 0.8 and 0.95, it has, in points, over ConvNet "
        f"{signed(mean + 5)} ± {half:.1f} given 0 for a missing pixel, {signed(mean)} ± {half:.1f} "
        f"given the mean of observed pixels and {signed(mean - 3)} ± {half:.1f} given the nearest "
        "observed pixel; over ConvNet+mask, given the same in that order, +5.0 ± 0.0, +0.0 ± 0.0 "
        "and −3.0 ± 0.0. (After Holm’s correction over 6 averages, which were chosen with the "
        "records in view; ± half of the 95 % interval, n = 3.)"
    )
    at = told_plainly(confounds_in_words.fills_trained())
    there = [100 * (score(SPARSE, 0.8, 0.8, s) - score(PLAIN, 0.8, 0.8, s)) for s in range(3)]
    assert at.startswith(
        "Trained and tested at p = 0.8 with equal care, SparseConvNet has on inverted digits, in "
        f"points, over ConvNet {signed(5 + sum(there) / 3)} ± {interval(there):.1f} (shown) given "
    )
    assert at.endswith(
        "Shown: after Holm’s correction over all 48 of the table, the others are not; ± half of "
        f"the 95 % interval, n = 3; {DEVICE}.)"
    )


def test_a_seed_that_lacks_a_cell_is_left_out_of_averages(recorded):
    both = [classified(network, p, seed, filled("value"), shift=0.01 * seed * (network == SPARSE))
            for network in (PLAIN, SPARSE) for p in TRAINED_AT for seed in range(2)]  # fmt: skip
    recorded(*both[:-1])  # seed 1 of the last at p = 0.8 is missing
    assert confounds_in_words.fills().endswith(" with the records in view; n = 1.)")
    by_fill = report_confounds.by_fill()

    def gap(ground, where):
        return report_confounds.over_fill(by_fill, ground, PLAIN, "value", where)

    assert len(gap("inverted", ELSEWHERE)) == 1
    assert len(gap("inverted", [(0.5, 0.8)])) == 2
    assert gap("as they are", ELSEWHERE) == []
    recorded(*(record for record in both if record.key.sparsity == 0.8))
    assert "cannot be said yet" in confounds_in_words.fills()  # half of the cells is no average


def test_what_inverting_changes_is_told_of_networks_and_leads(recorded):
    recorded(
        *(classified(network, p, seed, protocol, shift=shift + seed * more)
          for protocol, shifts in (("fair", {SPARSE: (0.0, 0.0), PLAIN: (0.0, 0.0)}),
                                   (filled("value"), {SPARSE: (-0.02, 0.001), PLAIN: (-0.1, 0)}))
          for network, (shift, more) in shifts.items() for p in TRAINED_AT for seed in range(3)),
    )  # fmt: skip
    half = interval([0.0, 0.1, 0.2])
    told = told_plainly(confounds_in_words.grounds())
    assert (
        f": ConvNet −10.0 ± 0.0 and SparseConvNet −1.9 ± {half:.1f}; and the lead of SparseConvNet "
        f"over ConvNet by +8.1 ± {half:.1f}. (All are shown, after Holm’s correction over these 2;"
    ) in told


def test_tables_of_fills_tell_each_cell(recorded):
    found = []
    for i, fill in enumerate(FILLS):
        found += [classified(PLAIN, p, protocol=filled(fill), shift=-i / 100) for p in TRAINED_AT]
    recorded(*found, *(classified(SPARSE, p, protocol=filled("value")) for p in TRAINED_AT))
    rows = [row for row in cells(report_confounds.fills_table()) if row["n"] != "0"]
    assert {row["missing pixels"] for row in rows if row["network"] == SPARSE} == {"not looked at"}
    rows = cells(report_confounds.fill_differences_table())
    assert len(rows) == len(TRAINED_AT) * len(FILLS)
    given = {"0": 0, "mean of observed pixels": 1, "nearest observed pixel": 2}
    for row in rows:
        p = float(row["trained at"])
        assert (row["digits"], row["other"]) == ("inverted", PLAIN)
        for q in TESTED_AT:
            gap = 100 * (score(SPARSE, p, q, 0) - score(PLAIN, p, q, 0)) + given[row["given"]]
            assert row[f"tested at {q:g}"] == f"{gap:+.1f}"


def test_charts_hold_a_point_for_each_difference_at_its_height(recorded):
    recorded(
        *(classified(network, p, protocol=filled("value"), shift=0.01 * (network == SPARSE))
          for network in (PLAIN, SPARSE) for p in TRAINED_AT),
        *(classified(network, p, other_masks={"block": 0.5 - shift, "scan_line": 0.4 + shift})
          for network, shift in ((PLAIN, 0.0), (SPARSE, 0.2)) for p in TRAINED_AT),
    )  # fmt: skip
    for chart, places in ((confound_figures.fills, 4), (confound_figures.kinds, 2)):
        page = soup(chart())
        assert len(page.select(".legend button")) == 1  # of three lines that could be
        points = {told_plainly(point.get_text()): point for point in page.select(".point")}
        assert len(points) == len(TRAINED_AT) * places
    begin = "p = 0.8, over ConvNet, trained on single pixels, tested on"
    above, below = (
        float(points[f"{begin} {told} points, n = 1"]["cy"])  # from the top
        for told in ("scan lines: +20.0", "blocks: −20.0")
    )
    assert above < below
    gap = 1 + 100 * (score(SPARSE, 0.5, 0.95, 0) - score(PLAIN, 0.5, 0.95, 0))
    told = told_plainly(soup(confound_figures.fills()).text)
    assert f"given 0, tested at p = 0.95: {gap:+.1f} points, n = 1" in told
    assert "Bars are" not in told  # there are none of one seed


def test_cures_are_held_against_the_layer_trained_at_one_sparsity(recorded):
    rescaled, mixed = full_name("fair, rescale=true"), full_name("fair, mixed_sparsity=true")
    recorded(
        classified(SPARSE, 0.5),
        classified(PLAIN, 0.5),
        classified(PLAIN, 0.5, protocol=rescaled, shift=0.01),
        classified(PLAIN, 0.95, protocol=mixed, shift=0.02),
    )
    texts = {told_plainly(p.get_text()) for p in soup(confound_figures.cures()).select(".point")}
    own = 100 * score(SPARSE, 0.5, 0.8, 0)
    for cure, theirs in {
        "as it is": score(PLAIN, 0.5, 0.8, 0),
        "its input divided by 1 − p": score(PLAIN, 0.5, 0.8, 0) + 0.01,
        "re-estimated statistics": score(PLAIN, 0.5, 0.8, 0) - 0.01,
        "trained at all sparsities": score(PLAIN, 0.95, 0.8, 0) + 0.02,
    }.items():
        assert (
            f"p = 0.5, over ConvNet, ConvNet, {cure}, tested at p = 0.8: "
            f"{signed(own - 100 * theirs)} points, n = 1"
        ) in texts


def on_kind(network, p, seed, trained, block, scan_line, own=0.0):
    """A training on masks of a kind, tested on others with these accuracies."""
    protocol = "fair" if trained == "bernoulli" else full_name(f"fair, mask_kind={trained}")
    others = {"bernoulli": 0.7, "block": block, "scan_line": scan_line}
    del others[trained]
    return classified(network, p, seed, protocol, shift=own, other_masks=others)


def test_kinds_of_masks_are_those_of_the_records(recorded):
    recorded(*(on_kind(PLAIN, 0.8, seed, "bernoulli", 0.5 + seed / 100, 0.6) for seed in range(2)),
             *(on_kind(PLAIN, 0.8, seed, "block", None, 0.6) for seed in range(2)))  # fmt: skip
    single, blocks = [row for row in cells(report_confounds.kinds_table()) if row["n"][0] == "2"]
    assert single["tested on blocks"] == "50.50 ± 0.71"
    own = [100 * score(PLAIN, 0.8, 0.8, seed) for seed in range(2)]
    assert blocks["tested on blocks"].startswith(f"{sum(own) / 2:.2f}")
    assert blocks["tested on single pixels"] == "70.00 ± 0.00"
    half = interval([own[0] - 50, own[1] - 51])
    assert told_plainly(confounds_in_words.kinds_cost()) == (
        "Training on single pixels instead of the kind tested costs, in points, at p = 0.8, "
        f"ConvNet {signed(sum(own) / 2 - 50.5)} ± {half:.1f} on blocks. (All are shown, after "
        f"Holm’s correction over this one; ± half of the 95 % interval, n = 2; {DEVICE}.)"
    )
    assert "has not been run yet" in confounds_in_words.kinds()  # there is no layer to compare


def test_the_layer_is_compared_on_kinds_met_in_training_and_on_others(recorded):
    recorded(
        *(on_kind(PLAIN, p, seed, "bernoulli", 0.5 + seed / 100, 0.6)
          for p in TRAINED_AT for seed in range(2)),
        *(on_kind(SPARSE, p, seed, "bernoulli", 0.4 + seed / 10, 0.6 + p / 10)
          for p in TRAINED_AT for seed in range(2)),
        *(on_kind(network, 0.8, seed, "block", None, 0.6 - 0.1 * (network == SPARSE),
                  own=0.0224 * (network == SPARSE))
          for network in (PLAIN, SPARSE) for seed in range(2)),
    )  # fmt: skip
    # On scan lines the layer has 5 and 8 points, and −10 after training on blocks, by every seed;
    # on blocks −10 and −1, which shows nothing.
    told = told_plainly(confounds_in_words.kinds())
    assert told == (
        "Trained with pixels missing in one way (single pixels and blocks) and tested with as "
        "large a share missing in another, p = 0.5 and 0.8, SparseConvNet is shown to be better "
        "than ConvNet in 2 of 6 and worse in 1 (differences go from −10.0 ± 0.0 to +8.0 ± 0.0 "
        "points). (After Holm’s correction over the 7 differences of the table; ± half of the "
        "95 % interval, n = 2.)"
    )
    own = [2.24 + 100 * (score(SPARSE, 0.8, 0.8, s) - score(PLAIN, 0.8, 0.8, s)) for s in (0, 1)]
    told = told_plainly(confounds_in_words.kinds_trained())
    assert f"at p = 0.8, over ConvNet +{sum(own) / 2:.1f} ± {interval(own):.1f} on blocks" in told
    assert "p = 0.5" not in told and "over all 7 of the table" in told
    rows = cells(report_confounds.kind_differences_table())
    assert [(row["trained on"], row["p"]) for row in rows] == [
        ("single pixels", "0.5"), ("single pixels", "0.8"), ("blocks", "0.8"),
    ]  # fmt: skip
    assert rows[0]["tested on single pixels"] == "as above"  # it is in the matrix
    assert rows[0]["tested on blocks"] == f"−5.5 ± {interval([-10, -1]):.1f}"
    assert rows[1]["tested on scan lines"] == "+8.0 ± 0.0*"
    assert rows[2]["tested on blocks"].startswith(f"+{sum(own) / 2:.1f} ± ")


def test_a_mark_is_explained_as_it_is_used():
    gaps = {"a": [0.01, 0.02], "b": [0.03, 0.04]}

    def meaning(tested, *above):
        return Marked(gaps, Shown(tested, above, (), (), ())).meaning()

    after = "after Holm’s correction over"
    assert meaning(2, "a") == f"Shown: {after} these 2, the others are not"
    assert meaning(2, "a", "b") == f"All are shown, {after} these 2"
    assert meaning(9, "c") == f"None is shown, {after} all 9 of the table"
    assert meaning(0) == ""
    some = Marked(gaps, Shown(2, ("a",), (), (), ()))
    assert some["a"].endswith(" (shown)") and "shown" not in some["b"]
    both = Marked(gaps, Shown(2, ("a",), ("b",), (), ()))
    assert "shown" not in both["a"] + both["b"]  # it is said once of all
