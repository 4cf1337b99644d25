"""Tables and figures on invariance: their numbers are those of the records, paired by seed."""

import re

import numpy as np
import pytest
from invented import PLAIN, SPARSE, classified, reconstructed, score, soup, the_matrix
from scipy import stats
from test_captions import caption
from test_report_caltech import cells

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import (
    care_in_words,
    confound_figures,
    confounds_in_words,
    cures_in_words,
    depth_in_words,
    invariance_in_words,
    numbers,
    records,
    report_confounds,
    report_depth,
    report_invariance,
    report_summary,
    two_tasks,
    whole_matrix,
)
from sparseconv_lib.study.grid import TEST_SPARSITIES
from sparseconv_lib.study.statistics import summarise


def test_with_nothing_run_everything_says_so(recorded):
    told = [
        *(answer() for answer in invariance_in_words.FINDINGS.values()),
        report_invariance.heat_maps(),
        report_invariance.difference_table(PLAIN),
        report_invariance.averages_table(),
        whole_matrix.table(),
        report_invariance.diagonal_table(),
        report_invariance.gains_table(),
        report_invariance.regret_table(),
        report_invariance.statistics_table(),
        report_invariance.cures_table(),
        report_invariance.rates_table(),
        report_confounds.fills_table(),
        report_confounds.fill_differences_table(),
        report_confounds.kinds_table(),
        report_confounds.kind_differences_table(),
        confound_figures.cures(),
        confound_figures.fills(),
        confound_figures.kinds(),
        report_invariance.run_table([]),
        cures_in_words.cures_far(),
        cures_in_words.mixed_alike(),
        cures_in_words.left(),
        invariance_in_words.checked(),
        depth_in_words.explanation(),
        confounds_in_words.grounds(),
        confounds_in_words.fills_trained(),
        confounds_in_words.kinds_trained(),
        confounds_in_words.kinds_cost(),
        care_in_words.tuning(),
        care_in_words.stopping(),
        care_in_words.patience(),
        *(answer() for answer in depth_in_words.FINDINGS.values()),
        depth_in_words.control_in_words("elevation"),
        report_depth.error_table("elevation"),
        report_depth.error_figure("elevation"),
        two_tasks.errors_table(),
        two_tasks.layer_table(),
        report_depth.run_table([]),
    ]
    for text in told:
        assert re.search(r"[Nn]ot(hing)? (has )?(been )?(run|asked)|yet", text), text


def test_differences_are_paired_by_seed(recorded):
    recorded(*the_matrix(3))
    rows = {row["trained at"]: row for row in cells(report_invariance.difference_table(PLAIN))}
    # By hand, in points: 5 |p − q| and the seeds' own 0, 0.1 and 0.2; t with 2 degrees is 4.303.
    mean, half = 5 * 0.5 + 0.1, 4.303 * 0.1 / 3**0.5
    assert rows["0.5"]["tested at 0"] == f"+{mean:.1f} ± {half:.1f}*"
    assert rows["0.5"]["tested at 0.5"] == f"+0.1 ± {half:.1f}"


def test_the_regret_is_that_of_the_matrix(recorded):
    recorded(*the_matrix(2))
    rows = cells(report_invariance.regret_table())
    row = next(row for row in rows if row["trained at"] == "0.5")
    # Trained at 0.5 the farthest is 0: 10 · 0.5 points, the same for every seed.
    assert row["BatchNorm's statistics"] == "of training" and row[PLAIN] == "5.0 [5.0, 5.0]"
    told = numbers.plain(invariance_in_words.at_worst()).replace("\u00a0", " ")
    assert "trained at p = 0.5, ConvNet 5.0 [5.0, 5.0]" in told
    assert "SparseConvNet 2.5 [2.5, 2.5]" in told
    assert "trained at p = 0.8, ConvNet 8.0 [8.0, 8.0]" in told
    alone = " alone was trained at "
    assert alone not in report_invariance.regret_table()
    assert "n = 2" in told and "test sparsities 0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9 and 0.95, " in told
    assert "as many seeds" not in told


def test_what_re_estimated_statistics_change_is_told_of_the_cells_that_all_networks_have(recorded):
    """The invented records lose a point with them, everywhere."""
    assert "not been run by two seeds" in invariance_in_words.batch_norm()
    assert report_invariance.gains_table() == report_invariance.NOT_RUN
    recorded(*the_matrix(3))
    told = numbers.plain(invariance_in_words.batch_norm()).replace("\u00a0", " ")
    number = len(TEST_SPARSITIES) * (len(TEST_SPARSITIES) - 1)
    assert told.startswith(
        "BatchNorm’s statistics are not the main reason: with fewer pixels than in training most "
        "of the loss stays with re-estimated ones; with more, they harm ConvNet, ConvNet+mask and "
        "SparseConvNet. Lost on average between p = 0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9 and "
        "0.95, in points "
    )
    # To its own training a network loses 10 or 5 points a unit of |p − q|, in both directions.
    away = np.mean([abs(p - q) for p in TEST_SPARSITIES for q in TEST_SPARSITIES if p != q])
    its = (
        f"ConvNet {10 * away:.1f} and −1.0 ± 0.0; ConvNet+mask {5 * away:.1f} and −1.0 ± 0.0; "
        f"SparseConvNet {5 * away:.1f} and −1.0 ± 0.0."
    )
    assert f" with fewer pixels, {its} With more, {its} By single tests" in told
    checked = numbers.plain(invariance_in_words.checked()).replace("\u00a0", " ")
    assert "average over these sparsities: ConvNet −1.0 ± 0.0, ConvNet+mask −1.0 ± 0.0, " in checked
    every = number * len(NETWORKS)
    assert (
        f"re-estimation helps in 0 of {every} and harms in {every}; by Holm’s correction, in 0"
        in told
    )
    assert told.endswith(f" in 0 and {every}. (± half of the 95 % interval, n = 3.)")
    rows = cells(report_invariance.gains_table())
    assert {row["harmed"] for row in rows} == {f"{number} ({number})"}
    # With them the layer leads by as much as without: 5 |p − q| points and the seeds' own.
    again = invariance_in_words.elsewhere("reestimated")
    ps = sorted(
        2 * stats.t.sf((5 * abs(p - q) + 0.1) / (0.1 / 3**0.5), 2)
        for p in TEST_SPARSITIES for q in TEST_SPARSITIES if p != q
    )  # fmt: skip
    left = next(i for i, p in enumerate(ps) if p * (number - i) >= 0.05)  # Holm, step by step
    assert 0 < left < number
    assert again.startswith(
        "With re-estimated statistics, away from the sparsity of its training SparseConvNet is "
        f"shown to be better than ConvNet in {left} of {number} cells (trained at p = 0, 0.1, "
    )
    # One network alone was trained at 0.1, where it gains; all were trained at 0.5.
    gains = {"0": 0.02, "0.8": 0.003}

    def gaining(network, p, seed):
        plain = {f"{q:g}": score(network, p, q, seed) for q in TEST_SPARSITIES}
        again = {q: plain[q] + gain + seed / 1000 for q, gain in gains.items()}
        return classified(network, p, seed, other_statistics={"reestimated": again})

    pages = [(network, 0.5) for network in NETWORKS] + [(SPARSE, 0.1)]
    recorded(*(gaining(network, p, seed) for network, p in pages for seed in range(3)))
    told = numbers.plain(invariance_in_words.batch_norm())
    # 2.1 ± 0.25 points, p = 0.0008; 0.4 ± 0.25, p = 0.02: of eight, the first four are left.
    assert told == (
        "By single tests re-estimation helps in 8 of 8 and harms in 0; by Holm’s correction, in 4 "
        "and 0. (n = 3.)"
    )
    rows = cells(report_invariance.gains_table())
    assert [row["network"] for row in rows] == list(NETWORKS)
    assert {(row["cells"], row["helped"], row["harmed"]) for row in rows} == {
        ("2", "1 (2)", "0 (0)")
    }
    half = 4.302653 * 0.1 / 3**0.5  # t(2, 97.5 %) · sd 0.1 points / √3
    for name, mean, q in (("least", 0.4, 0.8), ("most", 2.1, 0.0)):
        its = {row[name].replace("\u00a0", " ") for row in rows}
        assert its == {f"+{mean:.1f} ± {half:.1f}, 0.5 → {q:g}"}


def test_stale_statistics_are_cleared_only_if_every_network_is_shown_to_lose_most_without_them():
    def told(fewer, more=()):
        """fewer, more: for each network what it loses and what it gets back, around these."""
        both = (
            {f"network {i}": tuple(summarise([x - noise, x, x + noise]) for x, noise in each)
             for i, each in enumerate(its)}
            for its in (fewer, more)
        )  # fmt: skip
        return invariance_in_words._not_stale_statistics(*both)

    lost, little, half, none = (20, 0.1), (3, 0.1), (10, 0.1), (0, 1)
    assert told([(lost, little), (lost, little)]).endswith(" stays with re-estimated ones. ")
    assert told([(lost, little)], [(lost, little), (lost, (-5, 0.1)), (lost, (-5, 9))]).endswith(
        "; with more, they harm network 1. "
    )
    for other in ((lost, half), (lost, (3, 9)), (none, (-3, 0.1))):
        assert told([(lost, little), other]) == ""
    assert told([]) == ""


def test_the_averages_are_those_of_the_rows(recorded):
    recorded(
        *(classified(network, 0.5, seed) for network in NETWORKS for seed in range(3)),
        *(classified(PLAIN, 0.8, seed) for seed in range(2)),
        *(classified(PLAIN, 0.95, seed, report_invariance.MIXED) for seed in range(2)),
    )
    table = report_invariance.averages_table()
    rows = {row["trained at"]: row for row in cells(table)}

    def by_hand(network, p, seeds):
        each = [
            sum(100 * score(network, p, q, seed) for q in TEST_SPARSITIES) / len(TEST_SPARSITIES)
            for seed in range(seeds)
        ]
        return f"{np.mean(each):.2f} ± {np.std(each, ddof=1):.2f}"

    assert list(rows) == ["0.5", "0.8", "all, mixed"]
    assert rows["0.5"][SPARSE] == by_hand(SPARSE, 0.5, 3)
    assert rows["0.5"][PLAIN] == by_hand(PLAIN, 0.5, 3)
    assert rows["0.8"][PLAIN] == by_hand(PLAIN, 0.8, 2)
    assert rows["all, mixed"][PLAIN] == by_hand(PLAIN, 0.95, 2)
    assert rows["0.8"][SPARSE] == rows["all, mixed"][f"{SPARSE} − {PLAIN}"] == "not run"
    assert "averaged over the 8 test sparsities" in table and "n = 2 to 3" in table
    assert "Not run yet: trained at 0, 0.1, 0.3, 0.7, 0.9, 0.95." in table


def test_what_is_not_run_of_a_matrix_is_said(recorded):
    recorded(classified(PLAIN, 0.5), classified(SPARSE, 0.5))
    rows = {row["trained at"]: row for row in cells(report_invariance.difference_table(PLAIN))}
    assert list(rows) == ["0.5"] and "+" in rows["0.5"]["tested at 0"]
    assert "Not run yet: trained at 0, 0.1, 0.3, 0.7" in report_invariance.difference_table(PLAIN)
    assert report_invariance.regret_table() == report_invariance.NOT_RUN
    matrices = soup(report_invariance.heat_maps()).find_all("table")
    assert [matrix.caption.text for matrix in matrices] == [PLAIN, SPARSE]
    assert [len(matrix.tbody.find_all("td")) for matrix in matrices] == 2 * [len(TEST_SPARSITIES)]
    unseen = "trained at 0, 0.1, 0.3, 0.7, 0.8, 0.9, 0.95; ConvNet+mask; SparseConvNet-kept."
    assert f"Not run yet: {unseen}" in caption(report_invariance.heat_maps())


def test_a_cell_of_the_matrix_tells_its_seeds(recorded):
    recorded(*the_matrix(3))
    figure = soup(report_invariance.heat_maps())
    assert f"{PLAIN} from" in figure.figure["aria-label"]
    matrix = figure.find_all("table")[NETWORKS.index(SPARSE)]
    assert SPARSE in matrix.caption.text
    at = TEST_SPARSITIES.index
    row = matrix.tbody.find_all("tr")[at(0.5)]
    assert row.th.text == "0.5"
    cell = row.find_all("td")[at(0.8)]
    mean = 100 * (score(SPARSE, 0.5, 0.8, 0) + 0.003)
    told = f"{SPARSE}, trained at p = 0.5, tested at 0.8: {mean:.2f} ± 0.30 %, n = 3"
    assert cell.text == f"{mean:.1f}" and cell["title"] == told
    own = [[("own" in cell["class"]) for cell in row.find_all("td")]
           for row in matrix.tbody.find_all("tr")]  # fmt: skip
    assert own == [[i == j for j in range(len(own))] for i in range(len(own))]


def test_statistics_stand_beside_each_other(recorded):
    recorded(*the_matrix(1))
    row = next(
        row
        for row in cells(report_invariance.statistics_table())
        if (row["trained at"], row["tested at"], row["network"]) == ("0.5", "0", PLAIN)
    )
    assert row["of training"] == f"{100 * score(PLAIN, 0.5, 0, 0):.2f}"
    assert row["re-estimated"] == f"{100 * score(PLAIN, 0.5, 0, 0) - 1:.2f}"
    assert row["trained there"] == f"{100 * score(PLAIN, 0, 0, 0):.2f}"


def test_cures_are_read_from_their_own_protocols(recorded):
    recorded(
        classified(PLAIN, 0.5),
        classified(PLAIN, 0.5, protocol=report_invariance.RESCALED, shift=0.01),
        *(classified(network, 0.95, protocol=report_invariance.MIXED) for network in NETWORKS),
    )
    rows = cells(report_invariance.cures_table())
    plain, rescaled = (
        next(r for r in rows if r["network"] == PLAIN and r["trained at"].startswith(how))
        for how in ("0.5", "0.5, input")
    )
    assert float(rescaled["0"]) == pytest.approx(float(plain["0"]) + 1)
    alone = numbers.plain(cures_in_words.mixed())  # nothing was trained at 0.8 alone
    assert "over ConvNet" in alone and "Such plain networks" not in alone
    told = numbers.plain(cures_in_words.mixed_alike()).replace("\u00a0", " ")
    gap = 100 * (score(SPARSE, 0.95, 0, 0) - score(PLAIN, 0.95, 0, 0))
    assert told.startswith(
        "Where both are trained at all sparsities, SparseConvNet has over ConvNet "
        f"+{gap:.1f} at 0, "
    )
    assert " gives, over" not in told
    recorded(
        *(classified(network, 0.95, protocol=report_invariance.MIXED) for network in NETWORKS),
        classified(PLAIN, 0.8),
        classified(SPARSE, 0.8),
    )
    told = numbers.plain(cures_in_words.mixed_alike()).replace("\u00a0", " ")
    price = 100 * (score(PLAIN, 0.95, 0.8, 0) - score(PLAIN, 0.8, 0.8, 0))
    assert f"over a network’s own there, ConvNet −{-price:.1f}, SparseConvNet " in told
    assert "n = 1; " in told
    told = numbers.plain(cures_in_words.mixed()).replace("\u00a0", " ")

    def average(network, p):
        return 100 * np.mean([score(network, p, q, 0) for q in TEST_SPARSITIES])

    lead = average(SPARSE, 0.95) - average(PLAIN, 0.95)
    instead = average(PLAIN, 0.95) - average(SPARSE, 0.8)
    assert f"averaged over the 8 test sparsities, +{lead:.1f} over ConvNet and " in told
    assert f"trained at p = 0.8 alone: ConvNet −{-instead:.1f}, ConvNet+mask " in told
    assert "n = 1" in told and "a SparseConvNet trained there" not in told
    recorded(
        classified(PLAIN, 0.95, protocol=report_invariance.MIXED, shift=-0.03),
        classified(SPARSE, 0.95),
    )
    told = numbers.plain(cures_in_words.mixed()).replace("\u00a0", " ")
    assert told.endswith(
        "Tested at p = 0.95, against a SparseConvNet trained there: ConvNet −3.0. (In points; "
        "n = 1.)"
    )


def test_rates_tell_what_was_chosen(recorded):
    recorded(classified(PLAIN, 0.5))
    (row,) = cells(report_invariance.rates_table())
    assert (row["learning rates"], row["epochs"], row["best epoch"]) == ("0.03", "7", "5")


def test_a_page_shows_its_own_trainings(recorded):
    trained = [classified(network, 0.5) for network in (PLAIN, SPARSE)]
    rows = cells(report_invariance.run_table(trained))
    assert len(rows) == 4
    assert rows[0]["0.5"] == f"{100 * score(PLAIN, 0.5, 0.5, 0):.2f}"
    recorded(*trained)
    assert "0.5: 85.00 (85.00)" in report_invariance.beside_recorded(trained[:1])


def test_the_heat_maps_open_with_the_cells_farthest_below_the_diagonal(recorded):
    def opening():
        return caption(report_invariance.heat_maps()).split("Test accuracy in")[0]

    # Trained at 0.5 and tested at 0.8: 3 points lost to the way, and 2 fewer on the diagonal there.
    both = [
        classified(network, p, seed, shift=-0.02 * (p == 0.8))
        for network in (PLAIN, SPARSE)
        for p in (0.5, 0.8)
        for seed in range(2)
    ]
    recorded(*both, classified(SPARSE, 0.0))  # a cell that the other network has not is left out
    assert opening() == (
        "Of the cells that all networks have, the farthest below the framed one in its column "
        "lies, in points: ConvNet 5.0, SparseConvNet 3.5 (trained at 0.8, tested at 0.5). "
        "Of all its own: SparseConvNet 6.0 (trained at 0.8, tested at 0). "
    )
    recorded(*both[:2])  # nothing to compare with
    assert opening() == ""


def test_the_books_first_table_names_the_devices_of_its_cells(recorded):
    assert soup(report_summary.in_short()).p.text.endswith("where one is given.")

    def on(device, record):
        provenance = {**record.content["provenance"], "device": device}
        return records.Record({**record.content, "provenance": provenance})

    recorded(on("one", classified(PLAIN, 0.8)), on("another", classified(PLAIN, 0.95)),
             on("third", reconstructed(PLAIN, 0.95)))  # fmt: skip
    assert soup(report_summary.in_short()).p.text.endswith("where one is given. one; third.")
